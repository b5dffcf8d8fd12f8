"""How much of the scores' variation each hyperparameter explains."""

from optuna.study import Study
from optuna.trial import TrialState

from hrnn_hpo.study.optuna_quiet import experimental_allowed
from hrnn_hpo.study.trials import last_attempts

MIN_TRIALS_FOR_IMPORTANCE = 4


def importances(study: Study) -> dict[str, float]:
    """Return how much of the score's variation each hyperparameter explains, largest first; empty with few trials."""
    complete = [trial for trial in last_attempts(study) if trial.state == TrialState.COMPLETE]
    if len(complete) < MIN_TRIALS_FOR_IMPORTANCE or len({trial.value for trial in complete}) < 2:
        return {}
    from optuna.importance import (  # imports scikit-learn: two seconds that no worker needs
        FanovaImportanceEvaluator,
        get_param_importances,
    )

    try:
        with experimental_allowed():
            # Seeded, so that a report drawn again says the same.
            evaluator = FanovaImportanceEvaluator(seed=0)
            return dict(get_param_importances(study, evaluator=evaluator, target=lambda trial: trial.values[0]))
    except (ValueError, RuntimeError):  # nothing varied, or no parameter that all trials share
        return {}
