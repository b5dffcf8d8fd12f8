"""What the benchmark scripts share beside their rows: repeated timing, memory watched, and stores of their own."""

import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path


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


@contextlib.contextmanager
def most_memory() -> Iterator[dict[str, int]]:
    """Watch this process, ten times a second: the most resident and anonymous memory in bytes, whole at the end."""
    most = {"VmRSS": 0, "RssAnon": 0}
    over = threading.Event()

    def watch() -> None:
        done = False
        while not done:  # a last look at the end: a short work would have none
            done = over.wait(0.1)
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                name, _, rest = line.partition(":")
                if name in most:
                    most[name] = max(most[name], int(rest.split()[0]) * 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()
