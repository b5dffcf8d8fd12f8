"""`--deterministic`: trials in batches of four, of which samplers and pruners see the earlier batches alone.

So a trial's proposal and its end depend on the study's seed and its number, not on how many workers ran its batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

BATCH = 4
Ordinals = Callable[[list[FrozenTrial]], dict[int, int]]  # trial number -> its place when retries are not counted


class BatchSampler(BaseSampler):
    """A sampler that draws from the trials of earlier batches."""

    def __init__(self, inner: BaseSampler, ordinals: Ordinals) -> None:
        self._inner = inner
        self._ordinals = ordinals

    def __str__(self) -> str:
        return f"BatchSampler({self._inner})"

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(earlier_batches(study, trial, self._ordinals), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(earlier_batches(study, trial, self._ordinals), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        view = earlier_batches(study, trial, self._ordinals)
        return self._inner.sample_independent(view, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)


class BatchPruner(BasePruner):
    """A pruner that compares a trial with those of earlier batches."""

    def __init__(self, inner: BasePruner, ordinals: Ordinals) -> None:
        self._inner = inner
        self._ordinals = ordinals

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return self._inner.prune(earlier_batches(study, trial, self._ordinals), trial)


def earlier_batches(study: Study, trial: FrozenTrial, ordinals: Ordinals) -> Study:
    """Return the study as it looks to a trial: without its own batch and the later ones."""
    places = ordinals(study.get_trials(deepcopy=False))
    place = places.get(trial.number, len(set(places.values())))
    first = place - place % BATCH
    return cast(Study, _View(study, {number for number, other in places.items() if other < first}))


def batch_to_start(trials: list[FrozenTrial], ordinals: Ordinals) -> tuple[bool, bool]:
    """Return whether the next trial may start, its batch's predecessors having ended, and whether it opens a batch.

    A trial that waits behind the next one, because its worker was killed, holds up nobody: Optuna takes them in order.
    """
    places = ordinals(trials)
    following = next((trial.number for trial in trials if trial.state == TrialState.WAITING), len(trials))
    place = places.get(following, len(set(places.values())))
    first = place - place % BATCH
    ahead = (trial for trial in trials if places[trial.number] < first and trial.number < following)
    return all(trial.state.is_finished() for trial in ahead), place == first


class _View:
    """A study with some of its trials."""

    def __init__(self, study: Study, numbers: set[int]) -> None:
        self._whole = study
        self._numbers = numbers

    def get_trials(self, *args: Any, **options: Any) -> list[FrozenTrial]:
        return [trial for trial in self._whole.get_trials(*args, **options) if trial.number in self._numbers]

    def _get_trials(self, *args: Any, **options: Any) -> list[FrozenTrial]:  # what Optuna's own samplers call
        return [trial for trial in self._whole._get_trials(*args, **options) if trial.number in self._numbers]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)
