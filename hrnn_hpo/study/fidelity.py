"""May a search train on a part of the users? Configurations that train on the part and on all must rank alike.

They are compared before a study with `--user-fraction` begins. What is done of the comparison is kept in the study's
folder, so that an interrupted one goes on, and in the study once that exists.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage
from optuna.study import Study
from scipy.stats import spearmanr

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.experiment import Device, prepare_experiment, run_experiment
from hrnn_hpo.search.space import SearchSpace, Value
from hrnn_hpo.stores import study_folder
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.samplers import trial_seed
from hrnn_hpo.study.storage import has_study, load_study, optuna_quiet

FIDELITY = "fidelity"  # attribute of a study: the comparison that allowed its fraction
N_COMPARED = 8  # configurations, the defaults among them
# Chance alone reaches this rank correlation for 8 configurations in one case of 20 (Spearman's test, one-sided).
LEAST_CORRELATION = 0.643
STREAM = 4  # of the seeds of these trainings

_log = logging.getLogger(__name__)
Score = float | None  # None: the training failed, which ranks last


@dataclass(frozen=True)
class Fidelity:
    """Best validation scores of the same configurations, trained on a part of the users and on all of them."""

    user_fraction: float
    objective: str
    part: list[Score]
    whole: list[Score]

    @property
    def rank_correlation(self) -> float:
        """Spearman's, 0 where one side tells no configurations apart."""
        sides = [[-1.0 if score is None else score for score in scores] for scores in (self.part, self.whole)]
        if any(len(set(side)) < 2 for side in sides):
            return 0.0
        return float(spearmanr(*sides)[0])

    def sentence(self) -> str:
        """Return what was found in words."""
        return (
            f"Searched on {self.user_fraction:.0%} of the training users, which rank {len(self.part)} configurations "
            f"as all users do (rank correlation {self.rank_correlation:.2f} in {self.objective}); confirmed on all."
        )

    def content(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "rank_correlation": self.rank_correlation}


def read_fidelity(study: Study) -> Fidelity | None:
    """Return the comparison that allowed a study's fraction of the users, None where it searches on all."""
    content = study.user_attrs.get(FIDELITY)
    return None if content is None else Fidelity(**{k: v for k, v in content.items() if k != "rank_correlation"})


def was_compared(study: str, storage: RDBStorage) -> bool:
    """Return whether a study exists and its fraction was found to stand for all users."""
    return has_study(study, storage) and read_fidelity(load_study(study, storage)) is not None


def check_fidelity(
    dataset: Dataset,
    study: str,
    space: SearchSpace,
    record: StudyRecord,
    *,
    device: Device = "auto",
    n_threads: int | None = None,
    compared: Callable[[int, int, Score, Score], None] = lambda *_: None,
) -> Fidelity:
    """Return the comparison for the record's fraction; `compared` is told number, of how many, and both scores.

    Raises ConfigError where the two rankings agree too little for the fraction to stand for all users.
    """
    assert record.user_fraction is not None
    points = _points(space, record.seed)
    folder = study_folder(study)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"fidelity-{_digest(record, points)}.json"
    with FileLock(f"{file}.lock"):
        done: list[list[Score]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        for number in range(len(done), len(points)):
            scores: list[Score] = []
            for fraction in (record.user_fraction, None):
                configuration = Configuration(
                    hyperparameters=space.resolve(points[number]),
                    protocol=record.protocol,
                    split_seed=record.split_seed,
                    seed=trial_seed(record.seed, number, stream=STREAM),
                    n_threads=n_threads,
                    user_fraction=fraction,
                )
                checkpoint = file.with_suffix(f".{number}-{'whole' if fraction is None else 'part'}.safetensors")
                scores.append(_score(dataset, configuration, record, device, checkpoint))
            done.append(scores)
            draft = file.with_suffix(".partial")
            draft.write_text(json.dumps(done), encoding="utf-8")
            draft.replace(file)
            for checkpoint in folder.glob(f"{file.stem}.{number}-*"):
                checkpoint.unlink()
            compared(number + 1, len(points), *scores)
    found = Fidelity(record.user_fraction, record.objective, [part for part, _ in done], [whole for _, whole in done])
    if found.rank_correlation < LEAST_CORRELATION:
        raise ConfigError(
            f"--user-fraction {record.user_fraction}: {len(points)} configurations trained on that part of the users "
            f"and on all must rank alike, rank correlation at least {LEAST_CORRELATION}, but it is "
            f"{found.rank_correlation:.2f}. Take a larger part, or leave the option out. No trial was started."
        )
    return found


def _score(
    dataset: Dataset, configuration: Configuration, record: StudyRecord, device: Device, checkpoint: Path
) -> Score:
    experiment = prepare_experiment(dataset, configuration, record.seen)
    try:
        result = run_experiment(experiment, device=device, objective=record.objective, checkpoint=checkpoint)
    except RunFailedError as error:
        _log.warning("One of the compared configurations cannot be trained, and ranks last: %s", error)
        return None
    return result.metrics[record.objective]


def _points(space: SearchSpace, seed: int) -> list[dict[str, Value]]:
    """Return the defaults and random draws."""
    with optuna_quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=trial_seed(seed, 0, stream=STREAM)))
    draws = [space.varied(space.suggest(study.ask())) for _ in range(N_COMPARED - 1)]
    return [space.varied(space.defaults()), *draws]


def _digest(record: StudyRecord, points: list[dict[str, Value]]) -> str:
    """Return what tells comparisons of different settings apart."""
    names = ("data_hash", "space_fingerprint", "protocol", "split_seed", "seen", "objective", "seed", "user_fraction")
    settings = {**{name: getattr(record, name) for name in names}, "points": points}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
