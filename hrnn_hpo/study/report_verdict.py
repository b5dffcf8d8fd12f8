"""Whether tuning paid, as far as the study knows: the words and the table at the head of a report."""

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.evaluation.metrics import METRICS
from hrnn_hpo.study.leaderboard import DEFAULTS, WINNER, Leaderboard, openings, read_leaderboard
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.report_page import Html, element, section, table


def verdict(study: Study, record: StudyRecord, best: FrozenTrial | None) -> Html:
    """Return what is known of "better than the defaults", and what weakens it."""
    board = read_leaderboard(study)
    n_openings = openings(study)
    texts = [element("p", _words(board, record, best), "verdict")]
    texts += [element("p", text, "warning") for text in _warnings(board, best, n_openings)]
    times = {0: "have not been looked at", 1: "have been looked at once"}
    looked = times.get(n_openings, f"have been looked at {n_openings} times")
    texts.append(element("p", f"The test users {looked}.", "note"))
    return section("Verdict", *texts)


def leaderboard_table(board: Leaderboard | None, record: StudyRecord) -> Html:
    """Return the test figures of winner, defaults and baselines, and the winner's gain; empty before they exist."""
    if board is None:
        return Html("")
    known = [name for name in METRICS if any(name in metrics for metrics in board.metrics.values())]
    others = sorted({name for metrics in board.metrics.values() for name in metrics} - set(known))
    columns = list(dict.fromkeys([record.objective, *known, *others]))
    rows = [[name, *(metrics.get(column) for column in columns)] for name, metrics in board.metrics.items()]
    top = set()
    for j in range(1, len(columns) + 1):
        values = {i: value for i, row in enumerate(rows) if isinstance(value := row[j], float)}
        top |= {(i, j) for i, value in values.items() if value == max(values.values())}
    tuned, defaults = board.metrics.get(WINNER, {}), board.metrics.get(DEFAULTS)
    if defaults is not None:
        gains = [tuned[c] - defaults[c] if c in tuned and c in defaults else None for c in columns]
        rows.append(["tuned − defaults", *("–" if gain is None else f"{gain:+.4f}" for gain in gains)])
    return section(
        "Leaderboard",
        f"{board.n_test_users} test users, protocol {record.protocol}, seen items: {record.seen}. "
        f"Tuned is trial {board.winner}, the best of {board.n_done} on the validation users. Bold: the highest.",
        table(["", *columns], rows, marked=0, top=frozenset(top)),
    )


def _words(board: Leaderboard | None, record: StudyRecord, best: FrozenTrial | None) -> str:
    objective = record.objective
    if best is None:
        return "No trial is complete yet."
    value = f"{objective} {best.value:.4f} on the validation users"
    if board is None:
        return f"No verdict yet: the test users are still closed. Best so far is trial {best.number} with {value}."
    tuned, defaults = board.metrics.get(WINNER, {}).get(objective), board.metrics.get(DEFAULTS, {}).get(objective)
    if tuned is None or defaults is None:
        return f"No comparison with the defaults is recorded. Best is trial {best.number} with {value}."
    if board.metrics[WINNER] == board.metrics[DEFAULTS]:
        return (
            f"Tuning found nothing better: the defaults won on the validation users, after {board.n_done} trials. "
            f"{objective} on {board.n_test_users} test users: {tuned:.4f}."
        )
    change = f", {tuned / defaults - 1:+.1%}" if defaults > 0 else ""
    word = "above" if tuned > defaults else "below" if tuned < defaults else "equal to"
    return (
        f"Tuned is {word} the defaults on the test users: {objective} {tuned:.4f} against {defaults:.4f} "
        f"({tuned - defaults:+.4f}{change}), {board.n_test_users} users. One training each and no test of "
        "significance: whether it is better stays undecided."
    )


def _warnings(board: Leaderboard | None, best: FrozenTrial | None, n_openings: int) -> list[str]:
    if board is None:
        return ["The test part was opened, but no figures were kept: the process ended before."] if n_openings else []
    found = []
    if n_openings > 1:
        found.append(f"The test users have been looked at {n_openings} times: these figures flatter the winner.")
    if best is not None and best.number != board.winner:
        found.append(
            f"The test figures are those of trial {board.winner}, best after {board.n_done} trials, when the test "
            f"users were opened. Trial {best.number} is ahead now."
        )
    return found
