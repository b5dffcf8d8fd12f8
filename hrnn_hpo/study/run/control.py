"""When a worker stops: Ctrl-C, a request from another process, the clock.

A trial is asked to stop between two epochs only, where its checkpoint is fresh.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from optuna.study import Study

from hrnn_hpo.study.attributes import STOP_KEY


class StopTrialError(Exception):
    """Raised between two epochs of a trial that is to be continued later."""


class Control:
    """Whether this process is to stop, and why; set by a signal, the clock or another process."""

    def __init__(self, timeout: float | None = None, parent: int | None = None) -> None:
        self.requested = False  # by `studies stop`
        self._parent = parent
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._reason: str | None = None
        self._interrupted = threading.Event()

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked to stop."""
        return self._interrupted.is_set()

    @property
    def ended(self) -> bool:
        """Whether the whole command is to end, by a signal or a request, and not one phase's budget."""
        return self.interrupted or self.requested

    @property
    def reason(self) -> str | None:
        """Why to stop; None to go on."""
        if self._reason is None and self._deadline is not None and time.monotonic() >= self._deadline:
            self._reason = "the time budget is used up"
        return self._reason

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the deadline, None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def stop(self, reason: str) -> None:
        """Ask to stop; the first reason counts."""
        self._reason = self._reason or reason

    def begin_next_phase(self) -> None:
        """Go on after a phase that has used up its budget; what asked to stop the whole command still holds."""
        self._deadline = None
        if not self.ended:
            self._reason = None

    def interrupt(self) -> None:
        """Ask to stop as Ctrl-C does."""
        self._interrupted.set()
        self.stop("interrupted")

    def look_for_request(self, study: Study) -> None:
        """Stop where `studies stop` asked for it, or where the process that started this worker is gone."""
        if study.user_attrs.get(STOP_KEY):
            self.requested = True
            self.stop("stopped by `hrnn-hpo studies stop`")
        if self._parent is not None and os.getppid() != self._parent:
            self.interrupt()


@contextmanager
def signals_ask(control: Control, announce: str = "") -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a request to stop, the second into KeyboardInterrupt at once.

    Does nothing outside the main thread, where Python delivers no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if control.interrupted:
            raise KeyboardInterrupt
        control.interrupt()
        if announce:
            import sys

            print(announce, file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
