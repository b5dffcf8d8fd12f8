"""The search as one process runs it: start a trial, wait, or stop, until the study's budget is used up.

Any number of processes may run this loop on one study; they agree through the storage alone.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.study.attributes import FAILURE
from hrnn_hpo.study.objectives import leading
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.propose.deterministic import batch_to_start
from hrnn_hpo.study.propose.distinct import is_exhausted
from hrnn_hpo.study.run.continuing import cut_too_early, take_up, to_finish
from hrnn_hpo.study.run.recovery import Recovery
from hrnn_hpo.study.run.stop_rules import rule_that_stops
from hrnn_hpo.study.run.trial import Objective
from hrnn_hpo.study.run.trial_files import drop_files
from hrnn_hpo.study.storage.locks import study_lock
from hrnn_hpo.study.storage.stale_trials import is_lost, retry_stale_trial
from hrnn_hpo.study.trials import progress_of

MAX_FAILURES_IN_A_ROW = 5
RECOVERY_SECONDS = 20.0
POLL_SECONDS = 0.5
Callback = Callable[[Study, FrozenTrial], None]


class Loop:
    """Runs trials of one study in this process until `n_trials` are complete or pruned, or `control` says stop."""

    def __init__(
        self,
        study: Study,
        storage: RDBStorage,
        objective: Objective,
        n_trials: int | None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self._study = study
        self._storage = storage
        self._objective = objective
        self._control = objective.context.control
        self._n_trials = n_trials
        self._callbacks = callbacks
        self._recovery = Recovery(study.study_name, storage)
        self._failures = 0
        self._start_lock = study_lock(study.study_name, storage, "start")
        objective.claimed = self._release

    def run(self) -> str:
        """Run trials and return why it ended.

        Raises RunFailedError after five failed trials in a row, with the last one's reason.
        """
        try:
            with self._recovering(), optuna_quiet():
                if self._may_start():
                    self._optimize()
        finally:
            self._release()
            drop_files(self._study)
        return self._control.reason or "the sampler has proposed every configuration there is"

    def _optimize(self) -> None:
        while True:
            try:
                self._study.optimize(self._objective, catch=(Exception,), callbacks=[self._after_trial])
                return
            except (ValueError, OptunaError, AssertionError):
                # Another process took this one for dead, a machine that slept for example, and has ended its trial.
                # To a score that comes too late Optuna's answer is a failed assertion.
                if not self._current_has_ended():
                    raise
                self._objective.current = None
                if not self._may_start():
                    return

    def _after_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._release()  # where the trial failed before it had its parameters
        observer, stopped = self._objective.context.observer, is_lost(trial)
        if stopped:
            observer.trial_stopped(trial)
            retry_stale_trial(study, trial)
        else:
            observer.trial_ended(leading(trial))
        self._objective.current = None
        self._objective.context.runs.end_trial(trial)
        drop_files(study)
        if not stopped:
            self._count_failure(trial)
            for callback in self._callbacks:
                callback(study, trial)
        if not self._may_start():
            study.stop()

    def _may_start(self) -> bool:
        """Return whether to start another trial, holding the start lock; wait while others may still fail theirs."""
        while True:
            self._control.look_for_request(self._study)
            if self._control.reason is not None:
                return False
            with contextlib.ExitStack() as stack:
                self._start_lock.acquire()
                stack.callback(self._start_lock.release)
                room = self._has_room()
                if room:
                    stack.pop_all()
                if room is not None:
                    return room
            time.sleep(POLL_SECONDS)
            self._recovery.run()

    def _has_room(self) -> bool | None:
        """Return whether another trial belongs to the budget; None while that depends on the running ones."""
        counts = progress_of(self._study)
        may_start, may_end = True, True
        if self._objective.context.record.deterministic:
            # A batch runs whole whoever runs it, so a limit that is reached within ends the search after it.
            may_start, may_end = batch_to_start(self._study.get_trials(deepcopy=False))
        if not may_start and (self._n_trials is None or counts.done < self._n_trials):
            return None
        reason = rule_that_stops(self._study) if may_end else None
        if reason is not None:
            self._control.stop(reason)
            return False
        if may_end and not counts.waiting and self._go_on_with_pruned(cut_too_early(self._study)[:1]):
            return True
        if self._n_trials is not None and counts.done >= self._n_trials:
            if self._go_on_with_pruned(to_finish(self._study)):
                return True
            self._control.stop("all trials are done")
            return False
        if not counts.waiting and is_exhausted(self._study, self._objective.context.space):
            if counts.running:
                return None  # one that fails may be queued again
            if self._go_on_with_pruned(to_finish(self._study)):
                return True
            self._control.stop("every configuration of the space has been tried")
            return False
        return True if self._n_trials is None or counts.done + counts.running < self._n_trials else None

    def _go_on_with_pruned(self, trials: list[FrozenTrial]) -> bool:
        """Queue pruned trials again; return whether there are any."""
        if trials:
            take_up(self._study, trials)
        return bool(trials)

    def _current_has_ended(self) -> bool:
        number = self._objective.current
        return number is not None and self._study.get_trials(deepcopy=False)[number].state.is_finished()

    def _release(self) -> None:
        self._start_lock.release()

    def _count_failure(self, trial: FrozenTrial) -> None:
        self._failures = self._failures + 1 if trial.state == TrialState.FAIL else 0
        if self._failures >= MAX_FAILURES_IN_A_ROW:
            reason = trial.user_attrs.get(FAILURE, {}).get("reason", "unknown")
            raise RunFailedError(
                f"{self._failures} trials in a row failed, the last one (trial {trial.number}) with: {reason}\n"
                "Its traceback is in the trial's attributes and in MLflow (failure.txt)."
            )

    @contextlib.contextmanager
    def _recovering(self) -> Iterator[None]:
        """Look for lost trials now and then while trials run, and once more at the end.

        Then the trial is queued again that a second Ctrl-C cut off.
        """
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(RECOVERY_SECONDS):
                with contextlib.suppress(Exception):  # a lost connection: the next round tries again
                    self._recovery.run()

        self._recovery.run()
        thread = threading.Thread(target=watch, name="recovery", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._recovery.run()
