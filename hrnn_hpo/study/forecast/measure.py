"""How long an epoch takes: the defaults train one on the real data, other configurations a slice of one."""

import contextlib
import math
import statistics
import time
from dataclasses import dataclass

import optuna
from optuna.samplers import RandomSampler

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import HRNNError
from hrnn_hpo.experiment import Device, prepare_experiment, run_experiment
from hrnn_hpo.search.space import SearchSpace, Value
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.seeds import TRAINING_STREAM, trial_seed
from hrnn_hpo.training.progress import EpochReport

MAX_SECONDS = 60.0  # of one epoch; a longer one is extrapolated
N_DRAWS = 6  # configurations beside the defaults
MIN_UPDATES = 4
SLICE = 0.15  # of the defaults' epoch, for each draw
SHORT = 2.0  # seconds: an epoch below this is measured once more, since a first one also warms up


@dataclass(frozen=True)
class Measure:
    """Seconds, on this machine with a trial's number of threads."""

    epoch_seconds: float  # an epoch of the mean configuration, validation included
    defaults_epoch_seconds: float  # an epoch of the defaults, validation included
    setup_seconds: float  # before a trial's first epoch
    measured_share: float  # of the defaults' epoch; below 1 its validation is not known either
    validation_seconds: float = 0.0  # of an epoch


def measure(
    dataset: Dataset, space: SearchSpace, record: StudyRecord, *, device: Device = "auto", n_threads: int | None = None
) -> Measure:
    """Return how long an epoch takes, of the defaults and of the mean of some random configurations. Keeps nothing."""

    def run(values: dict[str, Value], max_seconds: float) -> _Clock:
        configuration = record.configuration(
            space.resolve(values), seed=trial_seed(record.seed, 0, stream=TRAINING_STREAM), n_threads=n_threads
        )
        clock = _Clock(max_seconds)
        experiment = prepare_experiment(dataset, configuration, record.seen)
        clock.n_targets = experiment.training.n_targets
        with contextlib.suppress(_EnoughError):
            run_experiment(experiment, device=device, on_update=clock.on_update, on_epoch=clock.on_epoch)
        return clock

    defaults = run({}, MAX_SECONDS)
    epoch_seconds, validation = defaults.epoch_seconds(), defaults.validation_seconds
    head = defaults.head(SLICE * epoch_seconds)
    with optuna_quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=0))
    draws = [space.varied(space.suggest(study.ask())) for _ in range(N_DRAWS)] if space.searched else []
    ratios = []
    for draw in draws:
        with contextlib.suppress(HRNNError):  # one that breaks a rule between hyperparameters fails as a trial, too
            ratios.append(run(draw, SLICE * epoch_seconds).head() / head)
    return Measure(
        epoch_seconds=epoch_seconds * (statistics.mean(ratios) if ratios else 1.0) + validation,
        defaults_epoch_seconds=epoch_seconds + validation,
        setup_seconds=defaults.setup_seconds,
        measured_share=defaults.share(),
        validation_seconds=validation,
    )


class _EnoughError(Exception):
    """Ends a training that has shown its speed."""


class _Clock:
    """Watches a training's first epoch, and its second where the first is short, and ends it."""

    def __init__(self, max_seconds: float) -> None:
        self.n_targets = 0
        self.setup_seconds = 0.0
        self.validation_seconds = 0.0
        self._max_seconds = max_seconds
        self._began = time.perf_counter()
        self._updates: list[tuple[float, int]] = []  # when, targets learned from by then
        self._whole: float | None = None

    def on_update(self, n_done: int) -> None:
        now = time.perf_counter()
        if self._updates and n_done <= self._updates[-1][1]:  # the next epoch has begun
            self._updates.clear()
        self._updates.append((now, n_done))
        if len(self._updates) == 1 and self._whole is None:
            self.setup_seconds = now - self._began
        if len(self._updates) > MIN_UPDATES and now - self._updates[0][0] > self._max_seconds:
            raise _EnoughError

    def on_epoch(self, report: EpochReport) -> None:
        self._whole, self.validation_seconds = report.seconds, report.validation_seconds
        if report.epoch > 1 or report.seconds > SHORT:
            raise _EnoughError

    def epoch_seconds(self) -> float:
        """Return the seconds of an epoch's training."""
        return self._whole if self._whole is not None else self.head() * self.n_targets

    def head(self, seconds: float = math.inf) -> float:
        """Return the seconds per target in the first seconds of the epoch, its first update left out."""
        if len(self._updates) < 2:
            return (self._whole or 0.0) / self.n_targets
        (began, first), *rest = self._updates
        when, n_done = [at for i, at in enumerate(rest) if i < MIN_UPDATES or at[0] - began <= seconds][-1]
        return (when - began) / (n_done - first)

    def share(self) -> float:
        """Return how much of the epoch was measured."""
        return 1.0 if self._whole is not None else self._updates[-1][1] / self.n_targets
