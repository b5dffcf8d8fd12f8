"""What a study brings into a comparison: its winner, the figures that speak for it, and who was chosen by them.

Read from Optuna's storage alone. How two studies are set against each other is pairs.py's work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.errors import StudyError
from hrnn_hpo.study.attributes import CANDIDATE, SUMMARY, TRAIN_SEED
from hrnn_hpo.study.confirm.agenda import confirmation_runs, run_key
from hrnn_hpo.study.confirm.conclude import run_scores
from hrnn_hpo.study.confirm.intervals import crossed_intervals
from hrnn_hpo.study.confirm.leaderboard import Leaderboard, read_leaderboard
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.confirm.test_part import figures_on_test_users
from hrnn_hpo.study.confirm.verdict import RunScores, side_by_side
from hrnn_hpo.study.confirmation import Confirmation, Contender
from hrnn_hpo.study.record import StudyRecord, read_record
from hrnn_hpo.study.seeds import ordinals, split_seed_of_run
from hrnn_hpo.study.storage.user_figures import UserFigures, has_figures
from hrnn_hpo.study.trials import DONE, best_trial, last_attempts, read_confirmation

Evidence = Literal["confirmation", "search"]
SAME = ("data_hash", "protocol", "split_seed", "seen", "objective")  # what two studies must share
_NOBODY = np.empty(0, dtype=np.int64), np.empty(0)


@dataclass(frozen=True)
class Entry:
    """A study in a comparison. `mean` is the winner's over its confirmation's runs, its search score without one."""

    study: str
    trial: int  # the winner
    evidence: Evidence
    mean: float
    low: float | None  # 95 % interval of the mean, users and runs drawn by chance; None without a confirmation
    high: float | None
    n_runs: int
    n_users: int  # different ones over all runs; 0 where there is no figure per user
    n_contenders: int  # among which the winner was chosen by these very figures
    best_trial: int  # of the search
    best_value: float
    n_trials: int  # complete and pruned, among which the best was chosen
    doubt: str | None  # why the winner's users are those that chose it
    test: dict[str, float] = field(default_factory=dict)  # the objective on test users, where they were opened


@dataclass(frozen=True)
class Entrant:
    """An entry with what it rests on. `runs` are the winner's by the seed that drew each run's split."""

    entry: Entry
    record: StudyRecord
    runs: Mapping[int, RunScores]
    test_figures: tuple[NDArray[np.int64], NDArray[np.float64]] | None  # test users, the winner's figure of each
    # What each validation user of the search scores in its best trial after that one's best epoch; None where no
    # figures were kept. The same users in the same order in every study of the same data and split.
    search_figures: NDArray[np.float64] | None = None


def read_entrant(study: Study, storage: RDBStorage) -> Entrant:
    """Return what a study brings. Raises StudyError for one without a complete trial, or of other software."""
    record = read_record(study)
    trials = last_attempts(study)
    best = best_trial(trials)
    if best is None or best.value is None:
        raise StudyError(f"Study {study.study_name!r} has no complete trial yet: there is nothing to compare.")
    confirmation = read_confirmation(study)
    runs = _runs_of_winner(study, storage, record, confirmation)
    low, high = interval_of_mean(list(runs.values())) if runs else (None, None)
    board = read_leaderboard(study)
    entry = Entry(
        study=study.study_name,
        trial=best.number if confirmation is None else confirmation.winner,
        evidence="search" if confirmation is None else "confirmation",
        mean=best.value if confirmation is None else confirmation.contender(confirmation.winner).mean,
        low=low,
        high=high,
        n_runs=len(runs),
        n_users=len(np.unique(np.concatenate([run.users for run in runs.values()]))) if runs else 0,
        n_contenders=1 if confirmation is None else len(confirmation.contenders),
        best_trial=best.number,
        best_value=best.value,
        n_trials=sum(trial.state in DONE for trial in trials),
        doubt=None if confirmation is None else confirmation.doubt,
        test=_test_row(board, record.objective),
    )
    opened = figures_on_test_users(study) if board is not None else None
    return Entrant(entry, record, runs, opened, _search_figures(study, storage, record, best))


def require_same_data(entrants: list[Entrant]) -> None:
    """Raise StudyError, with every difference, unless all studies rank the same users by the same objective."""
    facts = {name: {one.entry.study: getattr(one.record, name) for one in entrants} for name in SAME}
    # Version 0.1.0 wrote no number; where users are drawn anew nobody is held back under any version.
    facts["n_held_back"] = {one.entry.study: one.record.n_held_back or 0 for one in entrants}
    lines = [
        f"  {name}: " + ", ".join(f"{value} in {study!r}" for study, value in values.items())
        for name, values in facts.items()
        if len(set(values.values())) > 1
    ]
    if lines:
        raise StudyError(
            "Studies can be compared on the same data, split and objective alone, but these differ:\n"
            + "\n".join(lines)
        )


def interval_of_mean(runs: list[RunScores]) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of a configuration's mean over users and runs, or over runs alone; None by one user."""
    figures, users, index = side_by_side([runs])
    [interval] = crossed_intervals(figures, users, index, level=0.95)
    return interval or (None, None)


def _search_figures(
    study: Study, storage: RDBStorage, record: StudyRecord, trial: FrozenTrial
) -> NDArray[np.float64] | None:
    epoch = trial.user_attrs.get(SUMMARY, {}).get("best_epoch")
    if epoch is None or not has_figures(storage):
        return None
    place = ordinals(study.get_trials(deepcopy=False))[trial.number]
    return UserFigures(storage, record.uid, study.study_name, record.search_space().max_epochs).read(place, epoch)


def _runs_of_winner(
    study: Study, storage: RDBStorage, record: StudyRecord, confirmation: Confirmation | None
) -> dict[int, RunScores]:
    """Return the winner's runs by the seed of their split; the scores alone where the runs themselves are gone."""
    if confirmation is None:
        return {}
    winner = confirmation.contender(confirmation.winner)
    companion = companion_of(study, storage)
    if companion is None:
        return _scores_alone(winner, record)
    found = {
        run.user_attrs[TRAIN_SEED]: run_scores(run)
        for run in sorted(confirmation_runs(companion), key=run_key)
        if run.user_attrs[CANDIDATE] == winner.trial and run.state == TrialState.COMPLETE
    }
    judged = {split_seed_of_run(record.seed, repeat) for repeat in range(confirmation.n_seeds)}
    runs = {seed: run for seed, run in found.items() if seed in judged}
    return runs if len(runs) == confirmation.n_seeds else _scores_alone(winner, record)


def _scores_alone(winner: Contender, record: StudyRecord) -> dict[int, RunScores]:
    return {
        split_seed_of_run(record.seed, repeat): RunScores(score, winner.best_epoch, *_NOBODY)
        for repeat, score in enumerate(winner.scores)
    }


def _test_row(board: Leaderboard | None, objective: str) -> dict[str, float]:
    if board is None or objective not in board.metrics.get("tuned", {}):
        return {}
    row = {"value": board.metrics["tuned"][objective], "trial": board.winner, "opening": board.opening}
    interval = board.intervals.get("tuned", {}).get(objective)
    return row if interval is None else row | {"low": interval[0], "high": interval[1]}
