"""What other processes do to a study, told to an observer as the storage shows it."""

from dataclasses import fields

from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.objectives import leading
from hrnn_hpo.study.run.observer import Observer
from hrnn_hpo.study.storage.stale_trials import is_lost
from hrnn_hpo.training.progress import EpochReport

_REPORTED = {one.name for one in fields(EpochReport)} - {"epoch", "is_best"}


class Watcher:
    """Tells an observer what other processes do, as the storage shows it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._epochs: dict[int, int] = {}
        self._ended: set[int] = set()
        self._first = True

    def look(self, trials: list[FrozenTrial]) -> None:
        for trial in trials:
            number = trial.number
            if trial.state == TrialState.WAITING or number in self._ended:
                continue
            if self._first and trial.state.is_finished():
                self._ended.add(number)  # of an earlier command
                continue
            if number not in self._epochs:
                self._epochs[number] = 0
                self._observer.trial_started(number, trial.params)
            for epoch, figures in epochs_of(trial).items():
                if epoch > self._epochs[number]:
                    self._epochs[number] = epoch
                    known = {name: figures[name] for name in figures if name in _REPORTED}
                    self._observer.epoch_ended(number, EpochReport(epoch=epoch, is_best=False, **known))
            if trial.state.is_finished():
                self._ended.add(number)
                if is_lost(trial):
                    self._observer.trial_stopped(trial)
                else:
                    self._observer.trial_ended(leading(trial))
        self._first = False
