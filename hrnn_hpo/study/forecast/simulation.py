"""A search whose trainings are curves instead of models: the same sampler, the same pruner, the same early stopping.

It tells what a pruner will make of a budget before anything is trained (forecast.py), and replays recorded trainings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from hrnn_hpo.study.attributes import TAKEN_UP
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.seeds import ordinal


@dataclass(frozen=True)
class SimulatedTrial:
    """How one trial went: epochs run, its best score, whether it was cut short by the pruner.

    One that was taken up again has the epochs from there on and its original's place.
    """

    params: dict[str, Any]
    n_epochs: int
    value: float
    pruned: bool
    best_epoch: int = 0
    place: int = 0
    went_on: bool = False


def simulate(
    curve_of: Callable[[Trial], Sequence[float]],
    *,
    sampler: BaseSampler,
    pruner: BasePruner,
    patience: int,
    study: str = "simulation",
    first: dict[str, Any] | None = None,
    before_trial: Callable[[Study], None] | None = None,
) -> Iterator[SimulatedTrial]:
    """Yield the trials of a study one after the other, without end.

    `curve_of` proposes a trial's parameters and returns its score after each epoch. A trial ends with its curve, after
    `patience` epochs without a better score, or by the pruner; trial 0 is never pruned, as in a real study. `first` are
    its parameters. The study's name decides which bracket of Hyperband a trial is in. `before_trial` may queue a pruned
    trial, which then goes on to its end, as run/continuing.py says.
    """
    with optuna_quiet():
        found = optuna.create_study(study_name=study, direction="maximize", sampler=sampler, pruner=pruner)
    if first is not None:
        found.enqueue_trial(first)
    while True:
        if before_trial is not None:
            before_trial(found)
        trial = found.ask()
        curve = curve_of(trial)
        before = found.get_trials(deepcopy=False)[trial.number]
        done, went_on = len(before.intermediate_values), TAKEN_UP in before.user_attrs
        best, best_epoch, pruned, epoch = -float("inf"), 0, False, 0
        for epoch, score in enumerate(curve, start=1):
            if epoch > done:
                trial.report(score, step=epoch - 1)
            if score > best:
                best, best_epoch = score, epoch
            if epoch <= done:
                continue
            if epoch - best_epoch >= patience:
                break
            if epoch < len(curve) and trial.number > 0 and not went_on and trial.should_prune():
                pruned = True
                break
        place = trial.number if before_trial is None else ordinal(found, before)
        if pruned:
            found.tell(trial, state=TrialState.PRUNED)
        else:
            found.tell(trial, best)
        yield SimulatedTrial(trial.params, epoch - done, best, pruned, best_epoch, place, went_on)
