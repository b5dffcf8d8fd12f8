"""What a study will take: seconds a trial, trials within the budget, where the pruner cuts, when it ends.

Before the first trial an epoch is measured (measure.py), and what the pruner makes of it is simulated on curves like
those that trainings show. While trials run, their own durations take over.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import Trial

from hrnn_hpo.study.forecast.measure import Measure
from hrnn_hpo.study.forecast.simulation import SimulatedTrial, simulate
from hrnn_hpo.study.propose.pruners import (
    BY_USER,
    ETA,
    WARMUP_EPOCHS,
    count_brackets,
    epochs_before_pruning,
    make_pruner,
)
from hrnn_hpo.study.propose.samplers import name_of
from hrnn_hpo.study.request.check import CheckedRequest
from hrnn_hpo.study.resolution import Resolution

FORECAST_KEY = "forecast"
PRIOR_TRIALS = 3  # so many finished trials weigh as much as the forecast
# Curves as recorded trainings on ml-100k show them (scripts/benchmarks/search/pruning.py): half of the final score is
# there at once, the rest comes with a time constant of a fifth of the epochs; scores differ by a tenth and wobble by
# 3 %.
DEPTH, RISE, SPREAD, WOBBLE = 0.5, 1 / 5, 0.1, 0.03
# The standard deviation of a user's difference between two such trainings, as a share of the score: 1.5 on ml-100k
# where one event is to be found, 1.0 where a tenth of the history is.
OF_A_USER = 1.2
MOST_DRAWN = 400  # users of a simulated trial
N_SIMULATED = 60  # trials; further ones are taken to be like the last third
N_REPEATS = 3
MAX_COUNTED = 100_000  # trials; a budget for more is as good as endless


@dataclass(frozen=True)
class Forecast:
    """What is expected of a study's trials that are still to come."""

    seconds_per_epoch: float
    epochs_per_trial: float  # pruning and early stopping included
    max_epochs: int
    seconds_per_trial: float
    n_trials: int | None  # still to come within the budget; None where only luck limits them
    n_workers: int
    seconds: float | None  # until the last of them has ended
    confirm_runs: int  # trainings after the search that the verdict reads
    confirm_seconds: float  # of all trainings after the search, the workers side by side
    rungs: list[list[int]]  # epochs after which the pruner compares trials, a list per bracket; empty: after every one
    pruner: str
    measure: dict[str, float]
    resolution: Resolution | None = None  # what the confirmation can tell apart; None where it has no users to tell by
    keep: int | None = None  # trials that the pruner `epochs:K` finishes at the end
    challengers: int = 0  # that are confirmed beside the defaults; 0: nothing is
    refits: int = 0  # trainings at the end, validation users included: of winner, defaults, an ensemble's members
    refit_seconds: float = 0.0  # of all of them, one after the other
    screening_runs: int = 0  # trainings after the search that choose who is confirmed

    def content(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Trainings:
    """The trainings after a search. A round of screening begins when the one before is over."""

    rounds: list[int] = field(default_factory=list)  # of screening
    confirming: int = 0  # begun after the rounds, apart from
    at_any_time: int = 0  # of them, the defaults', which keep busy whom a round leaves idle

    def turns(self, n_workers: int) -> int:
        """Return how many trainings one after the other the busiest worker runs."""
        rounds = sum(math.ceil(size / n_workers) for size in self.rounds)
        idle = rounds * n_workers - sum(self.rounds)
        return rounds + math.ceil((self.confirming - min(idle, self.at_any_time)) / n_workers)


def forecast(
    checked: CheckedRequest,
    measured: Measure,
    study: str,
    n_users: int = 0,  # who validate, and whose figures pruners of BY_USER compare; 0: there are none
    *,
    n_done: int = 0,
    to_come: Callable[[int | None], Trainings] = lambda _: Trainings(),
) -> Forecast:
    """Return what to expect of the trials after the first `n_done`, and of what is `to_come` after so many in total."""
    epochs = checked.space.max_epochs
    seconds_of = [
        [measured.setup_seconds + measured.epoch_seconds * n for n in simulated]
        for simulated in (_simulated(checked, study, seed, n_users) for seed in range(N_REPEATS))
    ]
    n_trials, seconds = _within_budget(checked, seconds_of, n_done)
    after = to_come(None if n_trials is None else n_done + n_trials)
    per_trial = float(np.mean([_extended(run, n_done + (n_trials or N_SIMULATED))[n_done:] for run in seconds_of]))
    return Forecast(
        seconds_per_epoch=measured.epoch_seconds,
        epochs_per_trial=(per_trial - measured.setup_seconds) / measured.epoch_seconds,
        max_epochs=epochs,
        seconds_per_trial=per_trial,
        n_trials=n_trials,
        n_workers=checked.n_workers,
        seconds=seconds,
        confirm_runs=after.confirming,
        screening_runs=sum(after.rounds),
        confirm_seconds=after.turns(checked.n_workers) * _unpruned_seconds(checked, measured, study),
        rungs=rungs(checked.pruner, epochs),
        pruner=name_of(checked.pruner),
        measure=asdict(measured),
        keep=checked.keep,
    )


def stored_measure(study: Study) -> Measure | None:
    """Return what was measured when a study began, None where nothing was."""
    content = study.user_attrs.get(FORECAST_KEY)
    return Measure(**content["measure"]) if content else None


def seconds_per_trial(study: Study, durations: Sequence[float]) -> float | None:
    """Return what a trial takes, by the forecast and the durations so far; None without either."""
    prior = study.user_attrs.get(FORECAST_KEY, {}).get("seconds_per_trial")
    if prior is None:
        return sum(durations) / len(durations) if durations else None
    return float((PRIOR_TRIALS * prior + sum(durations)) / (PRIOR_TRIALS + len(durations)))


def rungs(pruner: str | BasePruner, epochs: int) -> list[list[int]]:
    """Return the epochs at which each bracket of Hyperband or successive halving compares trials."""
    first = {"hyperband": range(count_brackets(epochs, ETA)), "successive-halving": range(1)}.get(name_of(pruner))
    start = 1 if name_of(pruner) == "hyperband" else WARMUP_EPOCHS
    n_epochs = epochs_before_pruning(name_of(pruner))
    if n_epochs is not None:
        return [[n_epochs]]
    if first is None:
        return []
    return [[n for n in (start * ETA**k for k in range(bracket, 40)) if n < epochs] for bracket in first]


def seconds_per_refit(checked: CheckedRequest, measured: Measure, study: str) -> float:
    """Return what a refit takes: a training on all users, validation's too, for its best epochs alone."""
    epochs = float(np.mean([t.best_epoch for t in itertools.islice(_trials(checked, "none", study, 0), N_SIMULATED)]))
    training = (measured.epoch_seconds - measured.validation_seconds) / (checked.record.user_fraction or 1.0)
    return measured.setup_seconds + epochs * training


def _unpruned_seconds(checked: CheckedRequest, measured: Measure, study: str) -> float:
    """Return what a training on all users takes that nothing but early stopping ends."""
    epochs = float(np.mean([t.n_epochs for t in itertools.islice(_trials(checked, "none", study, 0), N_SIMULATED)]))
    training = (measured.epoch_seconds - measured.validation_seconds) / (checked.record.user_fraction or 1.0)
    return measured.setup_seconds + epochs * (training + measured.validation_seconds)


def _simulated(checked: CheckedRequest, study: str, seed: int, n_users: int) -> list[float]:
    """Return the epochs of each trial of one simulated study; the last ones stand for those that go on at its end."""
    pruned = _trials(checked, checked.pruner, study, seed, n_users if name_of(checked.pruner) in BY_USER else 0)
    found: list[float] = [trial.n_epochs for trial in itertools.islice(pruned, N_SIMULATED)]
    if checked.keep is None:
        return found
    whole = [trial.n_epochs for trial in itertools.islice(_trials(checked, "none", study, seed), checked.keep)]
    return [*_extended(found, max((checked.n_trials or N_SIMULATED) - checked.keep, 1)), *whole]


def _trials(
    checked: CheckedRequest, pruner: str | BasePruner, study: str, seed: int, n_users: int = 0
) -> Iterator[SimulatedTrial]:
    """Yield the trials of one simulated study. With `n_users` its scores are means over so many, and vary with them."""
    epochs, patience = checked.space.max_epochs, checked.space.most("patience")
    generator = np.random.default_rng(seed)
    curves: list[NDArray[np.float64]] = []

    def of_users(place: int) -> NDArray[np.float64]:
        """Return what each user scores beyond the trial's curve and what is alike in all trials.

        Of very many a part stands for all, with figures that deviate as much less as makes their mean as sure.
        """
        n_drawn = min(n_users, MOST_DRAWN)
        deviation = OF_A_USER / math.sqrt(2.0) * math.sqrt(n_drawn / max(n_users, 1))
        found: NDArray[np.float64] = np.random.default_rng([seed, place]).normal(0.0, deviation, n_drawn)
        return found

    def curve(trial: Trial) -> list[float]:
        final = 1.0 + SPREAD * generator.standard_normal()
        rise = epochs * RISE * np.exp(0.4 * generator.standard_normal())
        shape = final * (1.0 - DEPTH * np.exp(-np.arange(1, epochs + 1) / rise))
        curves.append(shape + WOBBLE * generator.standard_normal(epochs))
        luck = float(of_users(trial.number).mean()) if n_users else 0.0
        return [float(score) + luck for score in curves[-1]]

    def figures(place: int, epoch: int) -> NDArray[np.float64]:
        found: NDArray[np.float64] = curves[place][epoch - 1] + of_users(place)
        return found

    made = make_pruner(pruner, epochs, figures=figures if n_users else None)
    yield from simulate(curve, sampler=RandomSampler(seed=seed), pruner=made, patience=patience, study=study)


def _within_budget(checked: CheckedRequest, runs: list[list[float]], n_done: int) -> tuple[int | None, float | None]:
    """Return how many more trials the budget pays for, and the seconds until they have ended (means over the runs)."""
    most, timeout, n_workers = checked.n_trials, checked.request.timeout, checked.n_workers
    size = checked.space.cardinality()
    if size is not None:
        most = size if most is None else min(most, size)
    if timeout is None:
        if most is None:
            return None, None
        left = max(most - n_done, 0)
        return left, float(np.mean([max(_ends(run, n_done, left, n_workers), default=0.0) for run in runs]))
    counts, seconds = [], []
    for run in runs:
        # As many as fit if all were the shortest: more cannot end in time.
        fit = min(int(timeout * n_workers / min(run)) + 1, MAX_COUNTED)
        ends = _ends(run, n_done, fit if most is None else min(fit, max(most - n_done, 0)), n_workers)
        inside = [end for end in ends if end <= timeout]
        counts.append(len(inside))
        seconds.append(max(inside, default=0.0) if most is not None and len(inside) == len(ends) else timeout)
    return round(float(np.mean(counts))), float(np.mean(seconds))


def _ends(run: list[float], n_done: int, n: int, n_workers: int) -> list[float]:
    """Return when each of n trials ends, the first at 0 and each worker taking the next one when it is free."""
    free = [0.0] * n_workers
    ends = []
    for seconds in _extended(run, n_done + n)[n_done:]:
        end = heapq.heappop(free) + seconds
        ends.append(end)
        heapq.heappush(free, end)
    return ends


def _extended(run: Sequence[float], n: int) -> list[float]:
    """Return the first n durations; those beyond the simulated ones repeat its last third."""
    last = run[-max(len(run) // 3, 1) :]
    return [*run, *itertools.islice(itertools.cycle(last), max(n - len(run), 0))][:n]
