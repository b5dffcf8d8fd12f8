"""What ends a search before its budget does: a value that is good enough, or none that is better for some trials."""

from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from hrnn_hpo.study.attributes import TAKEN_UP
from hrnn_hpo.study.request.budget import Budget
from hrnn_hpo.study.run.stop_rules import rule_reached

PATIENT = Budget(None, "tpe", "median", patience_trials=3)


def ended(number: int, value: float, of: int | None = None, **attributes: Any) -> FrozenTrial:
    """Return a complete trial, or the last attempt at trial `of`."""
    retried = {} if of is None else {"failed_trial": of, "retry_history": [of]}
    trial = create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attributes, system_attrs=retried)
    trial.number = number
    return trial


def test_patience_counts_the_trials_after_the_best() -> None:
    trials = [ended(0, 0.1), ended(1, 0.2), ended(2, 0.15), ended(3, 0.15)]
    assert rule_reached(PATIENT, trials) is None
    assert rule_reached(PATIENT, [*trials, ended(4, 0.2)]) == "no better value in 3 trials since trial 1"


def test_a_pruned_trial_that_became_the_best_counts_from_its_last_attempt() -> None:
    trials = [ended(0, 0.1), ended(5, 0.2, of=1, **{TAKEN_UP: 2}), *(ended(number, 0.1) for number in (2, 3, 4))]
    assert rule_reached(PATIENT, trials) is None
    trials += [ended(number, 0.1) for number in (6, 7, 8)]
    assert rule_reached(PATIENT, trials) == "no better value in 3 trials since trial 5"


def test_a_retry_counts_from_its_original_so_that_a_worker_that_dies_changes_nothing() -> None:
    trials = [ended(0, 0.1), ended(4, 0.2, of=1), ended(2, 0.1), ended(3, 0.1), ended(5, 0.1)]
    assert rule_reached(PATIENT, trials) == "no better value in 3 trials since trial 4"


def test_a_target_ends_the_search_with_the_trial_that_reaches_it() -> None:
    trials = [ended(0, 0.1), ended(1, 0.3)]
    assert rule_reached(Budget(None, "tpe", "median", target=0.3), trials) == (
        "trial 1 has reached the target 0.3 with 0.3000"
    )
