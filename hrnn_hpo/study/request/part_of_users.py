"""May a search train on a part of the users? Configurations that train on the part and on all must rank alike.

A study with `--user-fraction` compares them before its first trial. Each result goes into the study at once, so an
interrupted comparison goes on, on any machine; workers are refused until it has passed.
"""

import logging
import math
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage
from optuna.study import Study
from scipy.stats import spearmanr

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, HRNNError, StudyError
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment import Device, prepare_experiment, run_experiment, training_digest
from hrnn_hpo.search.space import SearchSpace, Value
from hrnn_hpo.study.folders import checkpoint_file, study_folder
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.seeds import PART_OF_USERS_STREAM, trial_seed
from hrnn_hpo.study.storage.locks import holding

FIDELITY = "fidelity"  # attribute of a study: what was compared so far
N_COMPARED = 8  # configurations, the defaults among them
# Chance alone reaches this rank correlation of 8 configurations in one case of 20 (Spearman's test, one-sided).
LEAST_CORRELATION = 0.642

_log = logging.getLogger(__name__)
Score = float | None  # None: the training failed, which ranks last


@dataclass(frozen=True)
class Fidelity:
    """Best validation scores of the same configurations, trained on a part of the users and on all of them."""

    user_fraction: float
    objective: str
    part: list[Score] = field(default_factory=list)
    whole: list[Score] = field(default_factory=list)

    @property
    def rank_correlation(self) -> float:
        """Spearman's, 0 where one side tells no configurations apart."""
        sides = [[-math.inf if score is None else score for score in scores] for scores in (self.part, self.whole)]
        if any(len(set(side)) < 2 for side in sides):
            return 0.0
        return float(spearmanr(*sides)[0])

    @property
    def passed(self) -> bool:
        """Whether the comparison is complete and lets the part stand for all users."""
        return len(self.whole) == N_COMPARED and self.rank_correlation >= LEAST_CORRELATION

    def sentence(self) -> str:
        """Return what was found in words."""
        return (
            f"Searched on {self.user_fraction:.0%} of the training users, which rank {len(self.part)} configurations "
            f"as all users do (rank correlation {self.rank_correlation:.2f} in {self.objective}); confirmed on all."
        )


def read_fidelity(study: Study) -> Fidelity | None:
    """Return what a study has compared so far, None where nothing was: it searches on all users, or has just begun."""
    content = study.user_attrs.get(FIDELITY)
    return None if content is None else Fidelity(**content)


def require_compared(study: Study, record: StudyRecord) -> None:
    """Raise StudyError for a study whose part of the users was not found to stand for all of them."""
    found = read_fidelity(study)
    if record.user_fraction is not None and (found is None or not found.passed):
        raise StudyError(
            f"Study {study.study_name!r} has no trials to run: whether {record.user_fraction:.0%} of the users stand "
            "for all is still being compared by `tune`, or was denied."
        )


def check_fidelity(
    study: Study,
    storage: RDBStorage,
    record: StudyRecord,
    dataset: Dataset,
    space: SearchSpace,
    *,
    device: Device = "auto",
    n_threads: int | None = None,
    extra_metrics: Mapping[str, UserMetric] | None = None,
    compared: Callable[[int, int, Score, Score], None] = lambda *_: None,
) -> None:
    """Compare what is left to compare; `compared` is told number, of how many, and both scores.

    Raises StudyError where the two rankings agree too little for the record's fraction to stand for all users.
    """
    assert record.user_fraction is not None
    points = _points(space, record.seed)
    folder = study_folder(study)
    with holding(study.study_name, storage, "compare"):
        found = read_fidelity(study) or Fidelity(record.user_fraction, record.objective)
        for number in range(len(found.whole), N_COMPARED):
            scores: list[Score] = []
            for side, fraction in (("part", record.user_fraction), ("whole", None)):
                try:
                    configuration = record.configuration(
                        space.resolve(points[number]),
                        seed=trial_seed(record.seed, number, stream=PART_OF_USERS_STREAM),
                        n_threads=n_threads,
                        user_fraction=fraction,
                    )
                except ConfigError as error:  # a rule between hyperparameters, by which a trial would fail
                    scores.append(_last(error))
                    continue
                place = folder / "compared" / f"{number}-{side}"
                scores.append(_score(dataset, configuration, record, device, place, extra_metrics))
            found = replace(found, part=[*found.part, scores[0]], whole=[*found.whole, scores[1]])
            study.set_user_attr(FIDELITY, asdict(found))
            compared(number + 1, N_COMPARED, *scores)
        shutil.rmtree(folder / "compared", ignore_errors=True)
    if not found.passed:
        raise StudyError(
            f"--user-fraction {record.user_fraction}: {N_COMPARED} configurations trained on that part of the users "
            f"and on all must rank alike, rank correlation at least {LEAST_CORRELATION}, but it is "
            f"{found.rank_correlation:.2f}. No trial was started. Take a larger part or leave the option out, under "
            f"another name or after `hrnn-hpo studies delete {shlex.quote(study.study_name)}`."
        )


def _score(
    dataset: Dataset,
    configuration: Configuration,
    record: StudyRecord,
    device: Device,
    folder: Path,
    extra_metrics: Mapping[str, UserMetric] | None,
) -> Score:
    try:
        experiment = prepare_experiment(dataset, configuration, record.seen)
        result = run_experiment(
            experiment,
            device=device,
            objective=record.objective,
            checkpoint=checkpoint_file(folder, training_digest(experiment, record.objective, "compare")),
            extra_metrics=extra_metrics,
        )
    except (HRNNError, RuntimeError, MemoryError) as error:  # what fails a trial
        return _last(error)
    return result.metrics[record.objective]


def _last(error: Exception) -> Score:
    _log.warning("One of the compared configurations cannot be trained, and ranks last: %s", error)
    return None


def _points(space: SearchSpace, seed: int) -> list[dict[str, Value]]:
    """Return the defaults and random draws."""
    with optuna_quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=trial_seed(seed, 0, stream=PART_OF_USERS_STREAM)))
    draws = [space.varied(space.suggest(study.ask())) for _ in range(N_COMPARED - 1)]
    return [space.varied(space.defaults()), *draws]
