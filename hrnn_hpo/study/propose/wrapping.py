"""A sampler around another one: what samplers that change a part of a proposal have in common."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class WrappingSampler(BaseSampler):
    """Propose what `inner` does. Subclasses say which of the study it sees, and change what they are for."""

    def __init__(self, inner: BaseSampler) -> None:
        self._inner = inner

    def __str__(self) -> str:
        return f"{type(self).__name__}({self._inner})"

    def _seen(self, study: Study, trial: FrozenTrial) -> Study:
        """Return the study that `inner` draws from for a trial."""
        return study

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(self._seen(study, trial), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(self._seen(study, trial), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(self._seen(study, trial), trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)
