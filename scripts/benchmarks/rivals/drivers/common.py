"""What the driver of each trainer shares: the log it reads, the score its epochs get, and the lines it answers with.

A driver runs in an environment of its own, which need not know this project: this file needs NumPy alone.
"""

import json
import resource
import sys
from dataclasses import dataclass, field

import numpy as np

K = 10
PEAK_UNITS_A_MIB = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there and in KiB elsewhere


@dataclass
class Log:
    """Leave-one-out data of U users: all events but the last two train, the one before the last is the target."""

    items: np.ndarray  # (N,) codes in [0, V), by user and time
    offsets: np.ndarray  # (U + 1,)
    n_items: int

    @classmethod
    def read(cls, file: str) -> "Log":
        with np.load(file) as arrays:
            return cls(arrays["items"], arrays["offsets"], int(arrays["n_items"]))

    def history(self, user: int) -> np.ndarray:
        """Return the whole history, test item included."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    def ndcg_at_10(self, scores: np.ndarray) -> float:
        """Return the mean over users for scores (U, V): one target each, full ranking, seen items removed.

        Equal scores count against the ranker, and a target that was seen before is a miss.
        """
        gains = []
        for user in range(self.n_users):
            history, row = self.history(user), scores[user].astype(np.float64)
            target = history[-2]
            row[history[:-2]] = -np.inf
            rank = int((row >= row[target]).sum())
            gains.append(1 / np.log2(1 + rank) if rank <= K else 0.0)
        return float(np.mean(gains))


@dataclass
class Driver:
    """One training under way: reads its settings from standard input, and tells each epoch on standard output."""

    settings: dict = field(default_factory=lambda: json.load(sys.stdin))
    seconds: float = 0.0
    epoch: int = 0

    def tell(self, seconds: float, n_targets: int, ndcg: float) -> None:
        """Tell an epoch: its training seconds (validation excluded), its targets, its validation ndcg_at_10."""
        self.epoch += 1
        self.seconds += seconds
        line = {
            "epoch": self.epoch,
            "seconds": seconds,
            "total_seconds": self.seconds,
            "targets_per_second": n_targets / seconds,
            "ndcg_at_10": ndcg,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / PEAK_UNITS_A_MIB,
        }
        print("EPOCH " + json.dumps(line), flush=True)
