"""What the benchmark scripts share: repeated timing, the machine's description, and where results are written."""

import argparse
import contextlib
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


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


def describe_machine() -> str:
    """Return date, processor, threads and PyTorch version in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {model}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} thread(s), PyTorch {torch.__version__}"
    )


def script_parser(doc: str | None, write: str = "put the result into docs/benchmarks.md") -> argparse.ArgumentParser:
    """Return a parser that shows a script's own text as its help, and knows --write."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=write)
    return parser


def publish(title: str, command: str, body: str, *, write: bool) -> None:
    """Print a result with the machine it comes from; with `write` put it into docs/benchmarks.md too."""
    print(describe_machine(), body, sep="\n\n")
    if write:
        write_section(title, command, body)


def write_section(title: str, command: str, body: str) -> None:
    """Put a section into docs/benchmarks.md, in place of an older one with the same title."""
    heading = f"## {title}\n"
    section = f"{heading}\n{describe_machine()}\n\n    {command}\n\n{body.strip()}\n"
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Benchmarks\n"
    before, found, after = text.partition(heading)
    if found:
        _, next_heading, rest = after.partition("\n## ")
        text = before + section + (f"\n## {rest}" if next_heading else "")
    else:
        text = text.rstrip() + "\n\n" + section
    RESULTS.write_text(text, encoding="utf-8")


def table(columns: list[str], rows: list[list[object]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += [
        "| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |"
        for row in rows
    ]
    return "\n".join(lines)


def mean_and_error(values: Sequence[float]) -> str:
    """Return "mean ± standard error", the error a dash for a single value."""
    error = f"{statistics.stdev(values) / math.sqrt(len(values)):.4f}" if len(values) > 1 else "–"
    return f"{statistics.mean(values):.4f} ± {error}"
