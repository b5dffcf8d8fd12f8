"""When a search has done enough before its trials or its time are used up: a value good enough, or no better one.

The rules stand in the study's budget, where every worker reads them.
"""

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.study.attributes import TAKEN_UP
from hrnn_hpo.study.request.budget import Budget, read_budget
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.trials import DONE, best_trial, last_attempts


def rule_that_stops(study: Study) -> str | None:
    """Return which rule of its budget ends a study's search, in words; None to go on."""
    budget = read_budget(study)
    if budget is None or (budget.patience_trials is None and budget.target is None):
        return None
    return rule_reached(budget, last_attempts(study))


def rule_reached(budget: Budget, trials: list[FrozenTrial]) -> str | None:
    """Return which rule the trials (in order, retried attempts left out) have reached; None to go on."""
    best = best_trial(trials)
    if best is None:
        return None
    if budget.target is not None and (best.value or 0.0) >= budget.target:
        return f"trial {best.number} has reached the target {budget.target:g} with {best.value:.4f}"
    # One that was taken up again became the best in its last attempt; a retry stands for the attempt that died.
    began = best.number if TAKEN_UP in best.user_attrs else original_number(best)
    n_since = sum(trial.state in DONE and original_number(trial) > began for trial in trials)
    if budget.patience_trials is not None and n_since >= budget.patience_trials:
        return f"no better value in {n_since} trials since trial {best.number}"
    return None
