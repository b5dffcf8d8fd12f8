"""When a search has done enough before its trials or its time are used up: a value good enough, or no better one.

The limits stand in the study's budget, where every worker reads them.
"""

from dataclasses import dataclass

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.study.attributes import best_trial, last_attempts

BUDGET_KEY = "budget"


@dataclass(frozen=True)
class Limits:
    """`patience_trials`: trials in a row, complete or pruned, without a better value. `target`: the value to reach."""

    patience_trials: int | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        if self.patience_trials is not None and self.patience_trials < 1:
            raise ConfigError(f"`--patience-trials > 0` must hold, but got {self.patience_trials}.")

    def reached(self, trials: list[FrozenTrial]) -> str | None:
        """Return which limit the trials (in order, retried attempts left out) have reached; None to go on."""
        best = best_trial(trials)
        if best is None:
            return None
        if self.target is not None and (best.value or 0.0) >= self.target:
            return f"trial {best.number} has reached the target {self.target:g} with {best.value:.4f}"
        since = trials[trials.index(best) + 1 :]
        n_since = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in since)
        if self.patience_trials is not None and n_since >= self.patience_trials:
            return f"no better value in {n_since} trials since trial {best.number}"
        return None


NO_LIMITS = Limits()


def limits_of(study: Study) -> Limits:
    """Return the limits in a study's budget."""
    budget = study.user_attrs.get(BUDGET_KEY, {})
    return Limits(budget.get("patience_trials"), budget.get("target"))


def limit_reached(study: Study) -> str | None:
    """Return which limit of its budget a study has reached, None to go on."""
    limits = limits_of(study)
    return limits.reached(last_attempts(study)) if limits != NO_LIMITS else None
