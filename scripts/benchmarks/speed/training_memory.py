"""How the memory of training grows with the events of a log that keeps its users and items.

Run: .venv/bin/python scripts/benchmarks/speed/training_memory.py [--rows '10M*']

Each row trains 200 updates with 1,024 sampled negatives on a log of 5 million users and a million items, in a process
of its own, and reads its anonymous memory from the system ten times a second: the log itself is mapped and not counted.
What grows with the log is made before the first update. In `repeats` half of the events take one of their user's first
three items, and the mixture with the user's own items is on. Goal: 100 million events take at most 1.3 times the memory
of 10 million.

A row takes two to four minutes and 1.4 GB of disk in --work at 100 million events.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from scripts.benchmarks.kit.machine import most_memory
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

SIZES = {"10M": 10_000_000, "100M": 100_000_000}
LOG = {"users": 5_000_000, "items": 1_000_000}
KINDS = {"plain": "ignored", "repeats": "mixed"}  # the hyperparameter `repeats`
UPDATES = 200
N_NEGATIVES = 1024
MOST = 1.3
MIB = 1024**2
_USERS_AT_ONCE = 100_000


class Enough(Exception):
    """Ends a training after its last update."""


def main() -> None:
    parser = script_parser(__doc__, "training_memory")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        folder, repeats, updates = options.measure
        print(json.dumps(train(Path(folder), repeats, int(updates))))
        return
    results = Results("training_memory", options)
    cells = {
        f"{size}-{kind}": Cell(
            {"events": n_events, **LOG, "repeats": repeats, "updates": UPDATES},
            partial(measure, n_events, repeats, results.work),
        )
        for kind, repeats in KINDS.items()
        for size, n_events in SIZES.items()
    }
    results.run(cells)
    results.show(report)


def measure(n_events: int, repeats: str, work: Path) -> Figures:
    """Return the memory of one training; its log is removed afterwards."""
    folder = work / f"log-{n_events}-{repeats}"
    shutil.rmtree(folder, ignore_errors=True)
    write_log(folder, LOG["users"], n_events // LOG["users"], LOG["items"], repeats == "mixed")
    command = [sys.executable, __file__, "--measure", str(folder), repeats, str(UPDATES)]
    try:
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found: Figures = json.loads(answer)
    print(f"{n_events:,} events, repeats {repeats}: {found}", flush=True)
    return found


def write_log(folder: Path, n_users: int, length: int, n_items: int, repeating: bool, seed: int = 0) -> None:
    """Write the arrays of a log of equal histories, an hour between events; some users at a time."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    items = np.lib.format.open_memmap(folder / "items.npy", "w+", np.int32, (n_users * length,))
    times = np.lib.format.open_memmap(folder / "timestamps.npy", "w+", np.int64, (n_users * length,))
    for first in range(0, n_users, _USERS_AT_ONCE):
        n = min(_USERS_AT_ONCE, n_users - first)
        some = generator.integers(0, n_items, (n, length), dtype=np.int32)
        if repeating:
            again = np.take_along_axis(some, generator.integers(0, min(3, length), (n, length)), axis=1)
            some = np.where(generator.random((n, length)) < 0.5, again, some)
        rows = slice(first * length, (first + n) * length)
        items[rows] = some.ravel()
        times[rows] = np.tile(3600 * np.arange(length), n)
    items.flush()
    times.flush()
    np.save(folder / "user_offsets.npy", np.arange(n_users + 1, dtype=np.int64) * length)
    np.save(folder / "user_ids.npy", np.arange(n_users).astype("U8"))
    np.save(folder / "item_ids.npy", np.arange(n_items).astype("U8"))


def train(folder: Path, repeats: str, updates: int) -> dict[str, float]:
    """Return the most anonymous and resident memory (MiB) of so many updates; called in a process of its own."""
    n_done = 0

    def stop_after_the_last(n_targets: int) -> None:
        nonlocal n_done
        n_done += 1
        if n_done == updates:
            raise Enough

    with most_memory() as most, contextlib.suppress(Enough):
        arrays = {file.stem: np.load(file, mmap_mode="r") for file in folder.glob("*.npy")}
        values = {"n_negatives": N_NEGATIVES, "repeats": repeats, "max_user_history_length_percentile": 1.0}
        hyperparameters = parse_hyperparameters(values, "training_memory.py")
        configuration = Configuration(hyperparameters=hyperparameters, n_threads=1)
        experiment = prepare_experiment(Dataset(**arrays, content_hash="made up"), configuration, "keep")
        run_experiment(experiment, device="cpu", fixed_epochs=1, validate=False, on_update=stop_after_the_last)
    return {"anonymous": most["RssAnon"] / MIB, "resident": most["VmRSS"] / MIB, "updates": n_done}


def report(rows: Rows) -> str:
    """Return the table, and how much more the larger log of each kind takes."""
    lines = [
        [f"{row.settings['events']:,}", row.settings["repeats"]]
        + [f"{row.figures[name]:,.0f}" for name in ("anonymous", "resident")]
        for row in rows.values()
    ]
    said = []
    small, large = SIZES.values()
    for repeats in KINDS.values():
        found = {
            row.settings["events"]: row.figures["anonymous"]
            for row in rows.values()
            if row.settings["repeats"] == repeats
        }
        if {small, large} <= found.keys():
            ratio = found[large] / found[small]
            said.append(
                f"- repeats {repeats}: {large:,} events take {ratio:.2f} times the anonymous memory of {small:,} "
                f"(goal: at most {MOST}, {verdict(ratio <= MOST)})."
            )
    shown = table(["events", "repeats", "anonymous MiB", "resident MiB"], lines)
    return "\n\n".join([shown, "\n".join(said)]) if said else shown


if __name__ == "__main__":
    main()
