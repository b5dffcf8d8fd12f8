"""Whether tuning paid, as far as the study knows: the words and the table at the head of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.errors import counted
from hrnn_hpo.evaluation.baselines import constants_note, left_out_note
from hrnn_hpo.evaluation.metrics import APART_METRICS, METRICS
from hrnn_hpo.pages.page import Html, element, folded, section, table
from hrnn_hpo.study.confirm.leaderboard import (
    DEFAULTS,
    WINNER,
    Leaderboard,
    baselines_ahead,
    ensemble_note,
    read_leaderboard,
)
from hrnn_hpo.study.confirm.test_part import openings, outdated
from hrnn_hpo.study.confirmation import Confirmation, sentences
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.trials import defaults_trial, last_attempts, read_confirmation


def verdict(study: Study, record: StudyRecord, best: FrozenTrial | None) -> Html:
    """Return what is known of "better than the defaults", and what weakens it; `best` is the study's winner."""
    board = read_leaderboard(study)
    n_openings = openings(study)
    confirmation = read_confirmation(study)
    told = sentences(confirmation) if confirmation is not None else []
    told.append(_words(study, board, record, best, confirmed=confirmation is not None))
    texts = [element("p", told[0], "verdict"), *(element("p", text) for text in told[1:])]
    texts += [element("p", text, "warning") for text in _warnings(study, board, record, n_openings)]
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
    screened: list[Html | str] = [_screening_note(found), _screening_table(found)] if found.screened else []
    columns = ["", "search", "confirmed", "minus defaults", found.interval, "p (Holm)", "epochs"]
    return section(
        "Confirmation",
        f"{found.objective} of configurations trained again on {counted(found.n_seeds, 'fresh seed')}, "
        f"{redrawn}.{users} Intervals hold for all challengers at once and count users and runs as drawn by chance; "
        "p is of a paired test over users.",
        table([*columns, *(f"run {r}" for r in range(1, found.n_seeds + 1))], rows, marked=0),
        *screened,
    )


def _screening_note(found: Confirmation) -> str:
    return (
        f"Before that, the best {len(found.screened)} of the search were screened: trained again in rounds, on other "
        "seeds and draws of users, which the verdict does not read. The better half went on, by the mean of these runs "
        "and of the search's score, unless that learned from a part of the users."
    )


def _screening_table(found: Confirmation) -> Html:
    """Return the screened trials with the scores of their runs, and how far each came."""
    confirmed = {one.trial for one in found.contenders}
    n_rounds = max(len(one.scores) for one in found.screened)
    rows: list[list[Any]] = []
    for one in found.screened:
        end = (
            "a run failed" if one.failed else "confirmed" if one.trial in confirmed else f"out after {len(one.scores)}"
        )
        scores = [*one.scores, *[None] * (n_rounds - len(one.scores))]
        rows.append([f"trial {one.trial}", one.search_value, *scores, one.mean, end])
    return table(["", "search", *(f"run {r}" for r in range(1, n_rounds + 1)), "mean", ""], rows)


def leaderboard_table(board: Leaderboard | None, record: StudyRecord) -> Html:
    """Return the test figures of winner, defaults and baselines, and the winner's gain; empty before they exist.

    The objective stands with its intervals and differences; the other metrics open with a click.
    """
    if board is None:
        return Html("")
    wanted = (*APART_METRICS, *METRICS)
    known = [name for name in wanted if any(name in metrics for metrics in board.metrics.values())]
    others = sorted({name for metrics in board.metrics.values() for name in metrics} - set(known))
    shown = [name for name in known if name in (f"{record.objective}_repeats", f"{record.objective}_new")]
    objective = [_metric(board, record.objective), *_intervals(board, record.objective), *_differences(board)]
    rest = [_metric(board, name) for name in [*known, *others] if name not in (record.objective, *shown)]
    chosen = f"the best of {board.n_done} on the validation users"
    if board.refit:
        chosen = f"the confirmed best of {board.n_done}; every row learned from the validation users too"
    notes = [ensemble_note(board), constants_note(board.constants), left_out_note(board.left_out), _apart_note(known)]
    return section(
        "Leaderboard",
        f"{counted(board.n_test_users, 'test user')}, protocol {record.protocol}, seen items: {record.seen}. "
        f"Tuned is trial {board.winner}, {chosen}. Bold: the highest.",
        _table(board, [*objective, *(_metric(board, name) for name in shown)]),
        *(note for note in notes if note is not None),
        folded("All metrics", _table(board, rest)) if rest else "",
    )


@dataclass(frozen=True)
class _Column:
    title: str
    cells: list[Any]  # a row for each model, then one for the gain over the defaults where these are there
    highest: frozenset[int] = frozenset()  # rows


def _table(board: Leaderboard, columns: Sequence[_Column]) -> Html:
    names = [*board.metrics, *(["tuned − defaults"] if DEFAULTS in board.metrics else [])]
    rows = [[name, *cells] for name, *cells in zip(names, *(column.cells for column in columns), strict=True)]
    top = frozenset((i, j) for j, column in enumerate(columns, start=1) for i in column.highest)
    return table(["", *(column.title for column in columns)], rows, marked=0, top=top)


def _metric(board: Leaderboard, name: str) -> _Column:
    cells: list[Any] = [metrics.get(name) for metrics in board.metrics.values()]
    values = {i: value for i, value in enumerate(cells) if isinstance(value, float)}
    highest = frozenset(i for i, value in values.items() if value == max(values.values()))
    if DEFAULTS in board.metrics:
        tuned, defaults = (board.metrics.get(row, {}).get(name) for row in (WINNER, DEFAULTS))
        cells.append("–" if tuned is None or defaults is None else f"{tuned - defaults:+.4f}")
    return _Column(name, cells, highest)


def _intervals(board: Leaderboard, objective: str) -> list[_Column]:
    """Return the column of the objective's intervals, none where the board has none."""
    if not board.intervals:
        return []
    known = [board.intervals.get(name, {}).get(objective) for name in board.metrics]
    cells = [None if found is None else "[{:.4f}, {:.4f}]".format(*found) for found in known]
    if DEFAULTS in board.metrics:
        cells.append("[{low:+.4f}, {high:+.4f}]".format(**board.gain) if board.gain else None)
    return [_Column("95 % interval", cells)]


def _differences(board: Leaderboard) -> list[_Column]:
    """Return the columns of what the winner is ahead of each row, none where the board has none."""
    if not board.differences:
        return []
    known = [board.differences.get(name) for name in board.metrics]
    gaps = [None if found is None else "{difference:+.4f} [{low:+.4f}, {high:+.4f}]".format(**found) for found in known]
    chances = [None if found is None else found["p"] for found in known]
    last = [None] if DEFAULTS in board.metrics else []
    return [_Column("tuned minus (95 %)", [*gaps, *last]), _Column("p", [*chances, *last])]


def _apart_note(known: Sequence[str]) -> str | None:
    """Return what the figures for repeats and new items are of, None where there are none."""
    if not set(APART_METRICS) & set(known):
        return None
    return (
        "_repeats: the truth items that the user had in the input, in the list as it is. _new: the others, in the list "
        "without the user's own items. Users without such a truth item are left out."
    )


def _words(
    study: Study, board: Leaderboard | None, record: StudyRecord, best: FrozenTrial | None, *, confirmed: bool
) -> str:
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
    trial = defaults_trial(last_attempts(study))
    defaults_won = trial is not None and trial.number == board.winner  # others may have their figures, of few users
    if defaults_won and confirmed:
        return f"The defaults themselves won. {objective} on {counted(board.n_test_users, 'test user')}: {tuned:.4f}."
    if defaults_won:
        return (
            "Tuning found nothing better: the defaults won on the validation users, after "
            f"{counted(board.n_done, 'trial')}. {objective} on {counted(board.n_test_users, 'test user')}: {tuned:.4f}."
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
        f"({tuned - defaults:+.4f}{change}), {counted(board.n_test_users, 'user')}.{doubt}"
    )


def _warnings(study: Study, board: Leaderboard | None, record: StudyRecord, n_openings: int) -> list[str]:
    if board is None:
        return ["The test part was opened, but no figures were kept: the process ended before."] if n_openings else []
    found = []
    if ahead := baselines_ahead(board, record.objective):
        found.append(ahead)
    if n_openings > 1:
        found.append(f"The test users have been looked at {n_openings} times: these figures flatter the winner.")
    if other := outdated(study):
        found.append(other)
    return found
