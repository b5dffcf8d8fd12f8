"""Whether tuning paid, as far as the study knows: the words and the table at the head of a report."""

from collections.abc import Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.evaluation.baselines import constants_note, left_out_note
from hrnn_hpo.evaluation.metrics import APART_METRICS, METRICS
from hrnn_hpo.pages.page import Html, element, section, table
from hrnn_hpo.study.confirm.leaderboard import (
    DEFAULTS,
    WINNER,
    Leaderboard,
    baselines_ahead,
    ensemble_note,
    read_leaderboard,
)
from hrnn_hpo.study.confirm.test_part import openings
from hrnn_hpo.study.confirmation import sentences
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.trials import read_confirmation


def verdict(study: Study, record: StudyRecord, best: FrozenTrial | None) -> Html:
    """Return what is known of "better than the defaults", and what weakens it; `best` is the study's winner."""
    board = read_leaderboard(study)
    n_openings = openings(study)
    confirmation = read_confirmation(study)
    told = sentences(confirmation) if confirmation is not None else []
    told.append(_words(board, record, best, confirmed=confirmation is not None))
    texts = [element("p", told[0], "verdict"), *(element("p", text) for text in told[1:])]
    texts += [element("p", text, "warning") for text in _warnings(board, record, best, n_openings)]
    times = {0: "have not been looked at", 1: "have been looked at once"}
    looked = times.get(n_openings, f"have been looked at {n_openings} times")
    texts.append(element("p", f"The test users {looked}.", "note"))
    return section("Verdict", *texts)


def confirmation_table(study: Study) -> Html:
    """Return the confirmed configurations with the scores of their runs; empty without a confirmation."""
    found = read_confirmation(study)
    if found is None:
        return Html("")
    rows: list[list[Any]] = []
    for one in found.contenders:
        name = f"trial {one.trial}" + (" (defaults)" if one.trial == found.defaults else "")
        interval = None if one.low is None else f"[{one.low:+.4f}, {one.high:+.4f}]"
        gain = None if one.difference is None else f"{one.difference:+.4f}"
        rows.append([name, one.search_value, one.mean, gain, interval, one.p_holm, one.best_epoch, *one.scores])
    users = "" if not found.n_users else f" {found.n_users} different validation users answered."
    redrawn = "training and validation users drawn anew for each" if found.redrawn else "the same users in each"
    if not found.redrawn and found.doubt is None:
        redrawn = "on users who were held back from the search"
    columns = ["", "search", "confirmed", "minus defaults", found.interval, "p (Holm)", "epochs"]
    return section(
        "Confirmation",
        f"{found.objective} of configurations trained again on {found.n_seeds} fresh seeds, {redrawn}.{users} "
        "Intervals hold for all challengers at once and count users and runs as drawn by chance; p is of a paired test "
        "over users.",
        table([*columns, *(f"run {r}" for r in range(1, found.n_seeds + 1))], rows, marked=0),
    )


def leaderboard_table(board: Leaderboard | None, record: StudyRecord) -> Html:
    """Return the test figures of winner, defaults and baselines, and the winner's gain; empty before they exist."""
    if board is None:
        return Html("")
    wanted = (*APART_METRICS, *METRICS)
    known = [name for name in wanted if any(name in metrics for metrics in board.metrics.values())]
    others = sorted({name for metrics in board.metrics.values() for name in metrics} - set(known))
    columns = list(dict.fromkeys([record.objective, *known, *others]))
    rows: list[list[Any]] = [
        [name, *(metrics.get(column) for column in columns)] for name, metrics in board.metrics.items()
    ]
    top = set()
    for j in range(1, len(columns) + 1):
        values = {i: value for i, row in enumerate(rows) if isinstance(value := row[j], float)}
        top |= {(i, j) for i, value in values.items() if value == max(values.values())}
    tuned, defaults = board.metrics.get(WINNER, {}), board.metrics.get(DEFAULTS)
    if defaults is not None:
        gains = [tuned[c] - defaults[c] if c in tuned and c in defaults else None for c in columns]
        rows.append(["tuned − defaults", *("–" if gain is None else f"{gain:+.4f}" for gain in gains)])
    chosen = f"the best of {board.n_done} on the validation users"
    if board.refit:
        chosen = f"the confirmed best of {board.n_done}; every row learned from the validation users too"
    if board.intervals:
        columns.insert(1, "95 % interval")
        for row in rows:
            low, high = board.intervals.get(row[0], {}).get(record.objective, (None, None))
            row.insert(2, None if low is None else f"[{low:.4f}, {high:.4f}]")
        if board.gain:
            rows[-1][2] = f"[{board.gain['low']:+.4f}, {board.gain['high']:+.4f}]"
        top = {(i, j if j == 1 else j + 1) for i, j in top}
    if board.differences:
        at = 2 if board.intervals else 1  # beside the objective
        columns[at:at] = ["tuned minus (95 %)", "p"]
        for row in rows:
            found = board.differences.get(row[0])
            row[at + 1 : at + 1] = (
                ["{difference:+.4f} [{low:+.4f}, {high:+.4f}]".format(**found), found["p"]] if found else [None] * 2
            )
        top = {(i, j if j <= at else j + 2) for i, j in top}
    notes = [ensemble_note(board), constants_note(board.constants), left_out_note(board.left_out), _apart_note(known)]
    return section(
        "Leaderboard",
        f"{board.n_test_users} test users, protocol {record.protocol}, seen items: {record.seen}. "
        f"Tuned is trial {board.winner}, {chosen}. Bold: the highest.",
        table(["", *columns], rows, marked=0, top=frozenset(top)),
        *(note for note in notes if note is not None),
    )


def _apart_note(known: Sequence[str]) -> str | None:
    """Return what the figures for repeats and new items are of, None where there are none."""
    if not set(APART_METRICS) & set(known):
        return None
    return (
        "_repeats: the truth items that the user had in the input, in the list as it is. _new: the others, in the list "
        "without the user's own items. Users without such a truth item are left out."
    )


def _words(board: Leaderboard | None, record: StudyRecord, best: FrozenTrial | None, *, confirmed: bool) -> str:
    objective = record.objective
    if best is None:
        return "No trial is complete yet."
    value = f"{objective} {best.value:.4f} on the validation users"
    if board is None and confirmed:
        return f"The test users are still closed. The winner is trial {best.number} with {value} in the search."
    if board is None:
        return f"No verdict yet: the test users are still closed. Best so far is trial {best.number} with {value}."
    tuned, defaults = board.metrics.get(WINNER, {}).get(objective), board.metrics.get(DEFAULTS, {}).get(objective)
    if tuned is None or defaults is None:
        return f"No comparison with the defaults is recorded. Best is trial {best.number} with {value}."
    if board.metrics[WINNER] == board.metrics[DEFAULTS] and confirmed:
        return f"The defaults themselves won. {objective} on {board.n_test_users} test users: {tuned:.4f}."
    if board.metrics[WINNER] == board.metrics[DEFAULTS]:
        return (
            f"Tuning found nothing better: the defaults won on the validation users, after {board.n_done} trials. "
            f"{objective} on {board.n_test_users} test users: {tuned:.4f}."
        )
    change = f", {tuned / defaults - 1:+.1%}" if defaults > 0 else ""
    word = "above" if tuned > defaults else "below" if tuned < defaults else "equal to"
    doubt = " One training each and no confirmation on fresh seeds: whether it is better stays undecided."
    if confirmed:
        doubt = (
            " {low:+.4f} to {high:+.4f} is the gain's 95 % interval, p {p:.3f}.".format(**board.gain)
            if board.gain
            else ""
        )
    return (
        f"Tuned is {word} the defaults on the test users: {objective} {tuned:.4f} against {defaults:.4f} "
        f"({tuned - defaults:+.4f}{change}), {board.n_test_users} users.{doubt}"
    )


def _warnings(board: Leaderboard | None, record: StudyRecord, best: FrozenTrial | None, n_openings: int) -> list[str]:
    if board is None:
        return ["The test part was opened, but no figures were kept: the process ended before."] if n_openings else []
    found = []
    if ahead := baselines_ahead(board, record.objective):
        found.append(ahead)
    if n_openings > 1:
        found.append(f"The test users have been looked at {n_openings} times: these figures flatter the winner.")
    if best is not None and best.number != board.winner:
        found.append(
            f"The test figures are those of trial {board.winner}, best after {board.n_done} trials, when the test "
            f"users were opened. Trial {best.number} is ahead now."
        )
    return found
