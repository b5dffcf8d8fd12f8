"""Training with the defaults on ml-100k, on all cores and on one, while each core has other work and while none has.

Run: .venv/bin/python scripts/benchmarks/speed/busy_cores.py [--data DIR] [--rounds N]

On busy cores a process that computes without end is pinned to each core. Each training is a process of its own, and a
round takes the ways to wait in turn, so that a drifting machine meets all alike. `GNU's default` is what OpenMP does
unless told: 300,000 turns of a loop before a waiting thread sleeps. The quiet rows want a machine without other work.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

ONE, OURS, GNU = "one thread", "the product's default", "GNU's default"
WAYS: dict[str, dict[str, str]] = {
    ONE: {},
    OURS: {},
    GNU: {"GOMP_SPINCOUNT": "300000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "no turns": {"GOMP_SPINCOUNT": "0"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
}
N_EPOCHS = 4  # the first does not count
GOALS = {"busy": (ONE, 0.8), "quiet": (GNU, 0.95)}  # the default's speed against another's


def report(rows: Rows) -> str:
    """Return the median speeds of all rounds, and what the goals find."""
    speeds: dict[tuple[str, str], list[float]] = {}
    for row in rows.values():
        for way, found in row.figures.items():
            speeds.setdefault((row.settings["cores"], way), []).extend(found)
    medians = {key: statistics.median(found) for key, found in speeds.items()}
    states = [state for state in GOALS if (state, OURS) in medians]
    lines = [[way, *(f"{medians[state, way]:,.0f}" for state in states)] for way in WAYS]
    text = table(["threads wait by", *(f"targets/s, {state} cores" for state in states)], lines)
    for state in states:
        other, goal = GOALS[state]
        ratio = medians[state, OURS] / medians[state, other]
        text += f"\n\nOn {state} cores the default has {ratio:.2f} of the speed of {other}; "
        text += f"the goal is {goal:.2f}: {verdict(ratio >= goal)}."
    return text


def measure(data: Path, state: str) -> Figures:
    """Return the targets a second of each epoch but the first, for each way to wait."""
    with other_work() if state == "busy" else contextlib.nullcontext():
        return {way: speeds_of(data, 1 if way == ONE else n_cores(), waiting) for way, waiting in WAYS.items()}


def speeds_of(data: Path, n_threads: int, waiting: dict[str, str]) -> list[float]:
    """Return the speeds that a process finds whose environment says nothing else of threads."""
    environment = {key: text for key, text in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, __file__, "--data", str(data), "--train-on", str(n_threads)]
    done = subprocess.run(command, env=environment | waiting, stdout=subprocess.PIPE, text=True, check=True)
    speeds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return speeds[1:]


def train(data: Path, n_threads: int) -> None:
    """Train the defaults and print each epoch's speed: the work of the child processes."""
    from hrnn_hpo.config import Configuration
    from hrnn_hpo.data.prepared import load_dataset
    from hrnn_hpo.experiment import prepare_experiment, run_experiment

    experiment = prepare_experiment(load_dataset(data), Configuration(n_threads=n_threads))
    result = run_experiment(experiment, device="cpu", fixed_epochs=N_EPOCHS, validate=False)
    print(json.dumps([report.targets_per_second for report in result.history]))


@contextlib.contextmanager
def other_work() -> Iterator[None]:
    """Keep every core busy with a process of its own."""
    others = [multiprocessing.Process(target=_compute, args=(core,), daemon=True) for core in os.sched_getaffinity(0)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.terminate()
            other.join()


def n_cores() -> int:
    return len(os.sched_getaffinity(0))


def _compute(core: int) -> None:
    os.sched_setaffinity(0, {core})
    while True:
        pass


def main() -> None:
    parser = script_parser(__doc__, "busy_cores")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train-on", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train_on is not None:
        train(options.data, options.train_on)
        return
    results = Results("busy_cores", options)
    results.run(
        {
            f"{state}-{turn}": Cell(
                {"cores": state, "round": turn, "epochs": N_EPOCHS},
                partial(measure, options.data.absolute(), state),
                threads=n_cores(),
            )
            for turn in range(options.rounds)
            for state in GOALS
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
