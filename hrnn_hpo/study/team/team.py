"""The worker processes of one command, of whatever kind: what they are told, and what they promise."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from optuna.study import Study

from hrnn_hpo.experiment import Device


@dataclass(frozen=True)
class Addresses:
    """What a worker is told besides the study's name."""

    data: Path
    storage: str
    tracking_uri: str
    device: Device
    n_threads: int | None = None


class Team(Protocol):
    """The worker processes of one command, each in a seat that is filled again when its process dies."""

    def start(self, study: Study) -> None:
        """Fill the empty seats with workers of a study."""

    def running(self) -> bool:
        """Return whether anyone is at work."""

    def collect(self) -> list[str]:
        """Empty the seats of those who have ended; return how the ones ended that were killed.

        Raises RunFailedError for a worker that reported a failed study.
        """

    def stop(self) -> None:
        """Ask the workers to stop after their epoch, and wait; kill them when this process is interrupted again."""

    def last_words(self) -> str:
        """Return what the worker that died last had to say."""

    def close(self) -> None:
        """Let go of what the team was started on."""
