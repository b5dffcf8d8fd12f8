"""How far a trial has come inside an epoch, for whoever asks whether its starts lead anywhere.

An epoch can take longer than a machine is there. Training keeps what it did of one, so a trial that gets further with
each start is not one that kills its workers.
"""

import time

from optuna.trial import FrozenTrial, Trial

from hrnn_hpo.study.attributes import ADVANCE, STARTS
from hrnn_hpo.training.keeping import SECONDS_BETWEEN_CHECKPOINTS


class Advance:
    """Writes down how far the running epoch is, about when training keeps it, if no start has come so far before.

    It counts what was learned from and not the time: where no checkpoint is left, the same way again is no advance.
    """

    def __init__(self, trial: Trial, before: FrozenTrial, n_epochs: int) -> None:
        """Go on after `n_epochs`; `before` is the trial as an earlier start left it."""
        self._trial = trial
        self._n_starts = len(before.user_attrs.get(STARTS, [])) + 1  # with this one
        self._furthest: list[int] = before.user_attrs.get(ADVANCE, {}).get("furthest", [0, 0])
        self._n_epochs = n_epochs
        self._written: float | None = None  # the clock starts with the first update, as that of the checkpoints

    def epoch_ended(self, n_epochs: int) -> None:
        """Go on after `n_epochs`."""
        self._n_epochs = n_epochs

    def updated(self, n_targets: int) -> None:
        """Note that the running epoch has learned from so many targets."""
        now = time.monotonic()
        self._written = now if self._written is None else self._written
        if now - self._written < SECONDS_BETWEEN_CHECKPOINTS:
            return
        self._written = now
        if [self._n_epochs, n_targets] > self._furthest:
            self._furthest = [self._n_epochs, n_targets]
            self._trial.set_user_attr(ADVANCE, {"furthest": self._furthest, "n_starts": self._n_starts})
