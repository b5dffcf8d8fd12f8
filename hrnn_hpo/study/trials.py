"""Reading a study's trials: the last attempt of each, the best, the defaults, the winner, how many in which state."""

from dataclasses import dataclass

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import CONFIRMATION, ROLE
from hrnn_hpo.study.confirmation import Confirmation, confirmation_from
from hrnn_hpo.study.objectives import leading
from hrnn_hpo.study.seeds import original_number

DONE = (TrialState.COMPLETE, TrialState.PRUNED)  # what counts towards --n-trials


def best_trial(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the best value, the earliest of equals; None where none is complete."""
    return next(iter(best_trials(trials)), None)


def best_trials(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the complete trials, best value first; of equals the earlier one."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))


def winner_trial(study: Study) -> FrozenTrial | None:
    """Return the trial that a study stands for: the confirmed winner, the best of the search before there is one."""
    trials = last_attempts(study)
    confirmation = read_confirmation(study)
    if confirmation is None:
        return best_trial(trials)
    return next(trial for trial in trials if trial.number == confirmation.winner)


def read_confirmation(study: Study) -> Confirmation | None:
    """Return what the newest finished confirmation of a study found."""
    content = study.user_attrs.get(CONFIRMATION)
    return confirmation_from(content) if content else None


def defaults_trial(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """Return the newest trial that runs the defaults: the original, or the last retry of it."""
    return next((trial for trial in reversed(trials) if trial.user_attrs.get(ROLE) == "defaults"), None)


def last_attempts(study: Study) -> list[FrozenTrial]:
    """Return the trials of a study without those that were retried: the table that a reader wants.

    Of several objectives, `value` is the first one's.
    """
    last = {original_number(trial): leading(trial) for trial in study.get_trials(deepcopy=False)}
    return [last[number] for number in sorted(last)]


def progress_of(study: Study) -> "Progress":
    """Return the number of a study's trials by state; one that was retried or taken up again counts once."""
    return count_trials(last_attempts(study))


@dataclass(frozen=True)
class Progress:
    """How many trials of a study are in which state."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def done(self) -> int:
        """Trials that count towards --n-trials."""
        return self.complete + self.pruned


def count_trials(trials: list[FrozenTrial]) -> Progress:
    """Return the number of trials by state."""
    states = [trial.state for trial in trials]
    return Progress(
        complete=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        running=states.count(TrialState.RUNNING),
        waiting=states.count(TrialState.WAITING),
    )
