"""Pruned trials that go on after all: which ones, and how one is queued again ("thaw").

A continuation is another attempt at the same trial, as a retry is: it has the original's number for whoever counts,
its parameters, seed, epochs, checkpoint and MLflow run. Where the checkpoint is gone it trains from the first epoch, to
the same figures. Who asks holds the lock to start a trial.
"""

import copy
import math

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import ADVANCE, STARTS, TAKEN_UP, epochs_of
from hrnn_hpo.study.propose.pruners import PRUNERS, epochs_before_pruning
from hrnn_hpo.study.request.budget import read_budget
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.storage.stale_trials import retry_stale_trial
from hrnn_hpo.study.trials import DONE, best_trial, last_attempts

N_FROZEN = 8  # pruned trials that keep their checkpoints
TRIALS_A_THAW = 5


def to_finish(study: Study) -> list[FrozenTrial]:
    """Return the pruned trials that the end of the search takes up again, in order; empty once all have ended.

    They are those of `epochs:K` among the `keep` best after K epochs; what has failed since is replaced by the next.
    """
    budget = read_budget(study)
    n_epochs = epochs_before_pruning(budget.pruner) if budget is not None else None
    if budget is None or n_epochs is None or not budget.keep:
        return []
    best = best_after(n_epochs, last_attempts(study))[: budget.keep]
    return [trial for trial in best if trial.state == TrialState.PRUNED]


def cut_too_early(study: Study) -> list[FrozenTrial]:
    """Return the pruned trials that scored at least as well as the best complete one had after as many epochs.

    They were compared with others then; now the incumbent's own curve says that such a start may end well. The best of
    them comes first. Each is taken up once, to its end, and only what `may_go_on` keeps is; at most one trial in
    `TRIALS_A_THAW` goes on that way, since an incumbent that started slowly would call all of them.
    """
    trials = last_attempts(study)
    best = best_trial(trials)
    thawed = [trial for trial in trials if TAKEN_UP in trial.user_attrs]
    n_begun = sum(trial.state in DONE or trial in thawed for trial in trials)
    if best is None or len(thawed) >= n_begun // TRIALS_A_THAW:
        return []
    return [
        trial
        for trial in may_go_on(study, trials)
        if score_after(len(trial.intermediate_values), trial) >= score_after(len(trial.intermediate_values), best)
    ]


def may_go_on(study: Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the pruned trials whose checkpoints are kept in case they go on, the best first: `N_FROZEN` at most."""
    budget = read_budget(study)
    if budget is None or budget.pruner not in PRUNERS:  # `epochs:K` has its own rule, and so may code of one's own
        return []
    pruned = [t for t in trials if t.state == TrialState.PRUNED and TAKEN_UP not in t.user_attrs]
    pruned = [trial for trial in pruned if trial.intermediate_values]
    pruned.sort(key=lambda trial: (-score_after(len(trial.intermediate_values), trial), trial.number))
    return pruned[:N_FROZEN]


def best_after(n_epochs: int, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the complete and pruned trials by their best score of the first `n_epochs`, of equals the earlier one."""
    ended = [trial for trial in trials if trial.state in DONE]
    return sorted(ended, key=lambda trial: (-score_after(n_epochs, trial), original_number(trial)))


def score_after(n_epochs: int, trial: FrozenTrial) -> float:
    """Return a trial's best score of its first `n_epochs`; minus infinity without any."""
    reached = [value for step, value in trial.intermediate_values.items() if step < n_epochs]
    return max((value for value in reached if not math.isnan(value)), default=-math.inf)


def take_up(study: Study, trials: list[FrozenTrial]) -> None:
    """Queue pruned trials again; a process that dies on the way leaves the rest for whoever asks next."""
    for trial in trials:
        again = copy.deepcopy(trial)
        again.user_attrs.pop(ADVANCE, None)  # which counts the starts until then
        again.user_attrs |= {TAKEN_UP: len(epochs_of(trial)), STARTS: []}
        retry_stale_trial(study, again)
