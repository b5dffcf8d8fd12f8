"""Confirmation runs: the best configurations and the defaults train again, on fresh seeds and redrawn users.

The runs are the trials of a companion study in the same storage, one per (configuration, run), queued before the first
one starts. So workers, checkpoints, heartbeats and retries are those of the search: a killed confirmation goes on with
the runs that are left, from their last epoch. What the runs prove is verdict.py's business.
"""

import base64
import logging
import time
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from optuna.exceptions import TrialPruned
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from hrnn_hpo.config import Configuration
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.experiment import Experiment, ExperimentResult, evaluate_model, prepare_experiment
from hrnn_hpo.stores import study_folder
from hrnn_hpo.study.attributes import (
    CANDIDATE,
    CONFIGURATION,
    CONFIRMATION,
    FIGURES,
    REPEAT,
    ROLE,
    SUMMARY,
    TRAIN_SEED,
    best_trials,
    defaults_trial,
    last_attempts,
    read_confirmation,
)
from hrnn_hpo.study.control import STOP_KEY, count_trials
from hrnn_hpo.study.files import drop_all_files
from hrnn_hpo.study.limits import BUDGET_KEY
from hrnn_hpo.study.loop import Loop
from hrnn_hpo.study.objective import Objective
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.samplers import trial_seed
from hrnn_hpo.study.storage import create_study, has_study, load_study
from hrnn_hpo.study.verdict import Confirmation, RunScores, default_n_confirmed, judge

CONFIRMS = "confirms"  # in a companion: the study whose configurations it runs
SETTINGS = "confirm"  # in a study: what was asked for, kept for the next command
DEFAULT_SEEDS = 5
REDRAWN_PROTOCOLS = ("personalize", "personalize-last")  # the others cut every user in time: nothing to redraw


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How much to confirm: `k` configurations beside the defaults, None for verdict.default_n_confirmed."""

    k: int | None = None
    n_seeds: int = DEFAULT_SEEDS


def check_settings(k: int | None, n_seeds: int | None) -> None:
    """Raise ConfigError for numbers of configurations or seeds that cannot be."""
    if k is not None and k < 0:
        raise ConfigError(f"`--confirm >= 0` must hold, but got {k}.")
    if n_seeds is not None and n_seeds < 2:
        raise ConfigError(f"`--confirm-seeds >= 2` must hold (one run says nothing about chance), but got {n_seeds}.")


def require_confirmation(k: int | None, record: StudyRecord) -> None:
    """Raise ConfigError where a study that searches on a part of the users is not to be confirmed on all."""
    if k == 0 and record.user_fraction is not None:
        raise ConfigError("A search on a part of the users must be confirmed on all: `--confirm >= 1`, but got 0.")


def companion_name(study: str) -> str:
    """Return the name of the study that holds a study's confirmation runs."""
    return f"{study} (confirmation)"


def companion_of(study: Study, storage: RDBStorage) -> Study | None:
    """Return the study with a study's confirmation runs, None where none was begun."""
    name = companion_name(study.study_name)
    return load_study(name, storage) if has_study(name, storage) else None


def settle(study: Study, k: int | None, n_seeds: int | None) -> Settings:
    """Return what to confirm, and remember what was asked for: None takes what an earlier command said."""
    settings = wanted_settings(study, k, n_seeds)
    study.set_user_attr(SETTINGS, asdict(settings))
    return settings


def wanted_settings(study: Study | None, k: int | None, n_seeds: int | None) -> Settings:
    """Return what to confirm by what is asked for now and what a study was told before."""
    told = study.user_attrs.get(SETTINGS, {}) if study is not None else {}
    asked = {"k": k, "n_seeds": n_seeds}
    return Settings(**{**told, **{name: value for name, value in asked.items() if value is not None}})


def n_confirmed(settings: Settings, n_trials: int, record: StudyRecord) -> int:
    """Return how many configurations beside the defaults are confirmed after a search of so many trials."""
    if settings.k is not None:
        return settings.k
    k = default_n_confirmed(n_trials, settings.n_seeds)
    return k if record.user_fraction is None else max(k, 1)  # scores and epoch counts are those of less data


def begin_confirmation(study: Study, record: StudyRecord, storage: RDBStorage, settings: Settings) -> Study | None:
    """Return the companion study with every run queued that is still to be done; None where nothing is to confirm.

    Runs that were done for an earlier confirmation stay, and their configurations stay in the contest.
    """
    trials = last_attempts(study)
    defaults = defaults_trial(trials)
    k = n_confirmed(settings, count_trials(trials).done, record)
    challengers = _challengers(trials, defaults, k)
    if defaults is None or SUMMARY not in defaults.user_attrs or not challengers:
        if settings.k:
            _log.warning("Nothing was confirmed: that takes the defaults and another configuration, both complete.")
        return None
    folder = study_folder(study.study_name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "setup.lock"):
        companion = create_study(companion_name(study.study_name), storage)
        companion.set_user_attr(CONFIRMS, study.study_name)
        companion.set_user_attr(STOP_KEY, False)
        runs = confirmation_runs(companion)
        # A run that failed for a reason of its own is tried again by the next command, until the verdict is there.
        over = {TrialState.COMPLETE, TrialState.WAITING, TrialState.RUNNING}
        there = {_key(run) for run in runs if run.state in over}
        known = read_confirmation(study)
        out = known.failed if known is not None else []
        wanted = [defaults.number, *challengers, *(run.user_attrs[CANDIDATE] for run in runs)]
        wanted = [number for number in dict.fromkeys(wanted) if number not in out]
        # All configurations of one seed first: a confirmation that is looked at half-way is balanced.
        for repeat in range(settings.n_seeds):
            for number in wanted:
                if (number, repeat) not in there:
                    companion.enqueue_trial({}, user_attrs=_attributes(trials, number, repeat, record))
        budget = {"n_trials": len(wanted) * settings.n_seeds, "deadline": None, "sampler": "random", "pruner": "none"}
        companion.set_user_attr(BUDGET_KEY, budget)
    return companion


def conclude(study: Study, record: StudyRecord, companion: Study, settings: Settings) -> Confirmation | None:
    """Return the verdict on the finished runs and write it into the study; None while runs are left.

    A configuration of which a run failed is out of the contest; without the defaults there is no contest.
    """
    runs = {_key(run): run for run in confirmation_runs(companion) if run.user_attrs[REPEAT] < settings.n_seeds}
    if runs_left(companion):
        return None
    numbers = sorted({number for number, _ in runs})
    scored: dict[int, list[RunScores]] = {}
    failed = []
    for number in numbers:
        mine = [runs.get((number, repeat)) for repeat in range(settings.n_seeds)]
        ended = [run for run in mine if run is not None and run.state == TrialState.COMPLETE]
        if len(ended) == settings.n_seeds:
            scored[number] = [_scores(run) for run in ended]
        else:
            failed.append(number)
    trials = last_attempts(study)
    defaults = defaults_trial(trials)
    if defaults is None or defaults.number not in scored:
        return None
    confirmation = judge(
        scored,
        defaults.number,
        {trial.number: trial.value for trial in trials if trial.state == TrialState.COMPLETE},
        objective=record.objective,
        redrawn=record.protocol in REDRAWN_PROTOCOLS,
        failed=failed,
        comparable=record.user_fraction is None,
    )
    stored = read_confirmation(study)
    if stored is not None and replace(confirmation, time=stored.time) == stored:
        return stored
    confirmation = replace(confirmation, time=round(time.time(), 3))
    study.set_user_attr(CONFIRMATION, confirmation.content())
    drop_all_files(companion.study_name)
    return confirmation


def confirmation_runs(companion: Study) -> list[FrozenTrial]:
    """Return the runs of a confirmation without those that were retried, or queued again after a failure."""
    return list({_key(run): run for run in last_attempts(companion) if CANDIDATE in run.user_attrs}.values())


def runs_left(companion: Study) -> int:
    """Return how many confirmation runs are queued or running."""
    return sum(not run.state.is_finished() for run in confirmation_runs(companion))


@dataclass
class ConfirmObjective(Objective):
    """Trains a configuration of the search again, with the seed and the split of its run; keeps its users' figures."""

    def _configuration(self, trial: Trial) -> Configuration:
        if CANDIDATE not in trial.user_attrs:  # a worker of another machine took the last queued run
            raise TrialPruned("nothing is queued any more")
        return Configuration.model_validate({**trial.user_attrs[CONFIGURATION], "n_threads": self.n_threads})

    def _experiment(self, trial: FrozenTrial, configuration: Configuration) -> Experiment:
        train_seed = trial.user_attrs[TRAIN_SEED]
        return prepare_experiment(self.dataset, configuration, self.record.seen, train_seed=train_seed)

    def _keep(self, trial: Trial, experiment: Experiment, result: ExperimentResult, folder: Path) -> None:
        users, figures = user_figures(experiment, result, self)
        trial.set_user_attr(FIGURES, {"users": pack(users), "figures": pack(figures)})


class ConfirmLoop(Loop):
    """Runs what is queued in a companion study, and waits for what others run: they may still lose it."""

    def _has_room(self) -> bool | None:
        counts = count_trials(self._study.get_trials(deepcopy=False))
        if counts.waiting:
            return True
        if counts.running:
            return None
        self._control.stop("all confirmation runs are done")
        return False

    def _after_trial(self, study: Study, trial: FrozenTrial) -> None:
        if CANDIDATE in trial.user_attrs:
            super()._after_trial(study, trial)
        else:
            self._release()
            if not self._may_start():
                study.stop()


def user_figures(
    experiment: Experiment, result: ExperimentResult, objective: Objective
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the validation users of a run and the objective's figure of each; empty where it has none per user."""
    part = experiment.split.validation
    assert part is not None
    evaluation = evaluate_model(result.model, experiment, part, extra_metrics=objective.extra_metrics)
    figures = evaluation.per_user.get(objective.record.objective)
    if figures is None:
        return np.empty(0, dtype=np.int64), np.empty(0)
    return evaluation.users, figures


def pack(values: NDArray[Any]) -> str:
    """Return an array of int64 or float64 as short text: a run's figures take few distinct values."""
    return base64.b85encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 9)).decode("ascii")


def unpack(text: str, dtype: type[np.int64] | type[np.float64]) -> NDArray[Any]:
    """Return the array that `pack` made."""
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype=dtype)


def _challengers(trials: list[FrozenTrial], defaults: FrozenTrial | None, k: int) -> list[int]:
    """Return the `k` best complete trials whose configurations differ from the defaults and from each other."""
    seen = [_hyperparameters(defaults)] if defaults is not None else []
    found: list[int] = []
    for trial in best_trials(trials):
        if len(found) < k and _hyperparameters(trial) not in seen:
            seen.append(_hyperparameters(trial))
            found.append(trial.number)
    return found


def _hyperparameters(trial: FrozenTrial) -> Any:
    return trial.user_attrs.get(CONFIGURATION, {}).get("hyperparameters")


def _attributes(trials: list[FrozenTrial], number: int, repeat: int, record: StudyRecord) -> dict[str, Any]:
    trial = next(trial for trial in trials if trial.number == number)
    configuration = Configuration.model_validate(trial.user_attrs[CONFIGURATION])
    fresh = configuration.model_copy(
        update={
            "seed": trial_seed(record.seed, repeat, stream=2),
            "best_epoch": None,
            "n_threads": None,
            "user_fraction": None,
        }
    )
    return {
        ROLE: "confirmation",
        CANDIDATE: number,
        REPEAT: repeat,
        TRAIN_SEED: trial_seed(record.seed, repeat, stream=3),
        CONFIGURATION: fresh.model_dump(exclude_none=True),
    }


def _key(run: FrozenTrial) -> tuple[int, int]:
    return run.user_attrs[CANDIDATE], run.user_attrs[REPEAT]


def _scores(run: FrozenTrial) -> RunScores:
    packed = run.user_attrs[FIGURES]
    assert run.value is not None
    return RunScores(
        score=run.value,
        best_epoch=run.user_attrs[SUMMARY]["best_epoch"],
        users=unpack(packed["users"], np.int64),
        figures=unpack(packed["figures"], np.float64),
    )
