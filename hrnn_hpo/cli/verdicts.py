"""How a study's end is told on the screen: the verdict on its winner, and the leaderboard of the test users."""

from typing import TYPE_CHECKING

from hrnn_hpo.cli.output import print_table, results
from hrnn_hpo.cli.rankers import interval, show_baseline_notes, show_rankers
from hrnn_hpo.errors import counted

if TYPE_CHECKING:
    from hrnn_hpo.study.confirm.leaderboard import Leaderboard
    from hrnn_hpo.study.confirmation import Confirmation
    from hrnn_hpo.study.record import StudyRecord


def show_confirmation(confirmation: "Confirmation") -> None:
    """Print verdict, optimism and a row per confirmed configuration."""
    from hrnn_hpo.study.confirmation import sentences

    for sentence in sentences(confirmation):
        results.print(sentence, soft_wrap=True)
    if confirmation.screened:
        _show_screening(confirmation)
    rows = []
    for one in confirmation.contenders:
        name = f"trial {one.trial}" + (" (defaults)" if one.trial == confirmation.defaults else "")
        gain = "-" if one.difference is None else interval(one.difference, one.low, one.high, sign="+")
        rows.append([name, one.search_value, one.mean, gain, one.p_holm, str(one.best_epoch)])
    users = f", {counted(confirmation.n_users, 'user')}" if confirmation.n_users else ""
    print_table(
        f"{confirmation.objective} on {counted(confirmation.n_seeds, 'fresh seed')}{users}",
        ["", "search", "confirmed", f"minus defaults ({confirmation.interval})", "p (Holm)", "epochs"],
        rows,
    )


def _show_screening(confirmation: "Confirmation") -> None:
    confirmed = {one.trial for one in confirmation.contenders}
    rows = []
    for one in confirmation.screened:
        end = "a run failed" if one.failed else "confirmed" if one.trial in confirmed else "out"
        rows.append([f"trial {one.trial}", one.search_value, one.mean, str(len(one.scores)), end])
    print_table(
        f"Screening: {confirmation.objective} of the best of the search, trained again",
        ["", "search", "mean", "runs", ""],
        rows,
    )


def show_leaderboard(board: "Leaderboard", record: "StudyRecord") -> None:
    """Print the test figures: the objective with its interval, and the others."""
    from hrnn_hpo.study.confirm.leaderboard import baselines_ahead, ensemble_note

    trained = ", trained on validation users too" if board.refit else ""
    title = f"{counted(board.n_test_users, 'test user')}, {record.protocol}, seen items: {record.seen}{trained}"
    own = {name: row[record.objective] for name, row in board.intervals.items() if record.objective in row}
    show_rankers(title, board.metrics, objective=record.objective, intervals=own, differences=board.differences)
    show_baseline_notes(board.constants, board.left_out)
    if board.gain:
        gain = interval(board.gain["difference"], board.gain["low"], board.gain["high"], sign="+")
        results.print(f"Tuned minus defaults on the test users: {gain}, p {board.gain['p']:.3f}.", soft_wrap=True)
    if told := ensemble_note(board):
        results.print(told, soft_wrap=True)
    if ahead := baselines_ahead(board, record.objective):
        results.print(ahead, soft_wrap=True)
