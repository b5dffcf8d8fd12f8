"""What Optuna says that no user needs to hear: experimental features, and its log of every trial."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import ExperimentalWarning


@contextmanager
def experimental_allowed() -> Iterator[None]:
    """Silence Optuna's ExperimentalWarning: QMC, brute force, patience, heartbeats and retries are marked so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


class optuna_quiet:
    """Keep Optuna's log of each trial off the screen: progress is shown elsewhere, tracebacks are stored."""

    def __enter__(self) -> None:
        self._before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def __exit__(self, *_: object) -> None:
        optuna.logging.set_verbosity(self._before)
