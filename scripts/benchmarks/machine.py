"""What the benchmark scripts share beside their rows: repeated timing, and stores of their own."""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator


def median_seconds(work: Callable[[], object], repeats: int = 9) -> float:
    """Return the median wall time of `work` over some repeats, after two that do not count."""
    times = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


@contextlib.contextmanager
def own_stores() -> Iterator[None]:
    """Work in an empty folder with stores of its own, whatever the environment names."""
    for name in ("HRNN_HPO_STORAGE", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["HRNN_HPO_HOME"] = folder
        yield
