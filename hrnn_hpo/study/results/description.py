"""What MLflow's page of a study begins with: what it searched, whether tuning paid, the test figures, where to look."""

from optuna.study import Study

from hrnn_hpo.errors import counted
from hrnn_hpo.evaluation.metrics import APART_METRICS, METRICS
from hrnn_hpo.study.confirm.leaderboard import WINNER, Leaderboard, baselines_ahead, read_leaderboard
from hrnn_hpo.study.confirmation import sentences
from hrnn_hpo.study.record import StudyRecord, read_record
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.track.markdown import escaped, table
from hrnn_hpo.study.track.study_runs import StudyRuns
from hrnn_hpo.study.trials import count_trials, last_attempts, read_confirmation, winner_trial

REPORT = "report.html"  # the artifact that holds the whole study
MAX_COLUMNS = 4  # of the table, which MLflow's narrow pages must hold; the report has all


def description(study: Study, runs: StudyRuns) -> str:
    """Return a study's description as Markdown; links lead to the runs that MLflow has of it."""
    record, counts = read_record(study), count_trials(last_attempts(study))
    board, confirmation, winner = read_leaderboard(study), read_confirmation(study), winner_trial(study)
    parts = [
        f"Study {escaped(study.study_name)}: space {escaped(str(record.space.get('name', '')))} on "
        f"{escaped(record.data)}, protocol {record.protocol}, objective {escaped(record.objective)}. "
        f"{counted(counts.complete, 'trial')} complete, {counts.pruned} pruned, {counts.failed} failed."
    ]
    if confirmation is not None:
        verdict, *rest = sentences(confirmation)
        parts += [f"**{escaped(verdict)}**", *([" ".join(map(escaped, rest))] if rest else [])]
    elif winner is not None:
        parts.append("**Better than the defaults: not confirmed.**")
    if board is not None:
        parts += _test_figures(board, record)
    links = [] if winner is None else [runs.link(f"trial {winner.number}", "trial", trial=str(original_number(winner)))]
    if board is not None:
        links.append(runs.link("the tuned model", "final", contender=WINNER))
    links.append(runs.artifact_link("the whole study as one page", REPORT))
    parts.append(f"See {', '.join(links)}.")
    return "\n\n".join(parts)


def _test_figures(board: Leaderboard, record: StudyRecord) -> list[str]:
    known = {name for metrics in board.metrics.values() for name in metrics}
    columns = list(
        dict.fromkeys([record.objective, *(name for name in (*APART_METRICS[:2], *METRICS) if name in known)])
    )[:MAX_COLUMNS]
    rows = [[name, *(metrics.get(column) for column in columns)] for name, metrics in board.metrics.items()]
    told = [f"{counted(board.n_test_users, 'test user')}, seen items: {record.seen}.", table(["", *columns], rows)]
    ahead = baselines_ahead(board, record.objective)
    return [*told, escaped(ahead)] if ahead else told
