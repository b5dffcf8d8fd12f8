"""`--deterministic`: trials in batches of four, of which samplers and pruners see the earlier batches alone.

So a trial's proposal and its end depend on the study's seed and its place, not on how many workers ran its batch, nor
on how many of them died.
"""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import TAKEN_UP
from hrnn_hpo.study.propose.views import in_its_place, view_of
from hrnn_hpo.study.seeds import ordinals

BATCH = 4


class BatchSampler(BaseSampler):
    """A sampler that draws from the trials of earlier batches."""

    def __init__(self, inner: BaseSampler) -> None:
        self._inner = inner

    def __str__(self) -> str:
        return f"BatchSampler({self._inner})"

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(earlier_batches(study, trial), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(earlier_batches(study, trial), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(earlier_batches(study, trial), trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)


class BatchPruner(BasePruner):
    """A pruner that compares a trial with those of earlier batches."""

    def __init__(self, inner: BasePruner) -> None:
        self._inner = inner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return self._inner.prune(earlier_batches(study, trial), trial)


def earlier_batches(study: Study, trial: FrozenTrial) -> Study:
    """Return the study as it looks to a trial: without its own batch and the later ones."""
    place = in_its_place(study, trial).number
    first = place - place % BATCH
    return view_of(study, lambda other: other.number < first)


def batch_to_start(trials: list[FrozenTrial]) -> tuple[bool, bool]:
    """Return whether the next trial may start, its batch's predecessors having ended, and whether it opens a batch.

    A trial that waits behind the next one, because its worker was killed, holds up nobody: Optuna takes them in order.
    """
    places = ordinals(trials)
    waiting = next((trial for trial in trials if trial.state == TrialState.WAITING), None)
    if waiting is not None and TAKEN_UP in waiting.user_attrs:  # its end is no longer a matter of what others did
        return True, False
    following = waiting.number if waiting is not None else len(trials)
    place = places.get(following, len(set(places.values())))
    first = place - place % BATCH
    ahead = (trial for trial in trials if places[trial.number] < first and trial.number < following)
    return all(trial.state.is_finished() for trial in ahead), place == first
