"""This trainer beside RecBole's GRU4Rec and the official GRU4Rec: targets a second, and seconds to the same ranking.

Run: .venv/bin/python scripts/benchmarks/rivals/libraries.py [--data DIR] [--threads 2] [--gru4rec DIR]

The same log (leave-one-out), the same hidden size and count of threads, one after the other, each in a process of its
own. A target is one position that a model learns to predict; all three have nearly the same ones. RecBole 1.2.1 runs in
an environment of its own, which the first run makes under --work (PyTorch as here; it needs NumPy 1), reads the last
50 events of each prefix and has its own defaults otherwise. The official GRU4Rec has no package: clone its authors'
repository (GRU4Rec_PyTorch_Official) and give its folder, else it is left out. It samples its softmax (512 negatives
beside the batch's own, with log-q correction), which saves it most of the work the other two do; it drops a fifth of
the hidden units and has its own defaults otherwise (batches of 64, Adagrad with .05).

After each epoch all are asked the same: ndcg_at_10 of every user's last but one event, the whole catalogue ranked, seen
items removed. Seconds are of training alone. Ratios are to the first row, this trainer's `control`; its time to a score
is taken at the best that the other row reached.
"""

import statistics
import subprocess
import sys
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrnn_hpo.data.prepared import load_dataset
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict
from scripts.benchmarks.rivals.driving import EPOCH, told_by

OURS, OURS_TWO_LEVELS, RECBOLE, OFFICIAL = "hrnn-hpo, control", "hrnn-hpo, hierarchical", "RecBole", "official GRU4Rec"
GOALS = {64: 30, 128: 20}  # hidden size: times RecBole's targets a second
RECBOLE_NEEDS = ("torch==2.13.0", "recbole==1.2.1", "numpy<2", "pandas<3", "setuptools<81")

Epochs = list[dict[str, float]]


def recbole_python(folder: Path) -> Path:
    """Return the interpreter of RecBole's environment, made when it is not there."""
    environment = folder / "recbole-environment"
    python = environment / "bin" / "python"
    ready = environment / "ready"
    if not ready.exists():
        print("making RecBole's environment …", file=sys.stderr, flush=True)
        venv.create(environment, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *RECBOLE_NEEDS], check=True)
        ready.touch()
    return python


def train(name: str, python: Path | str, driver: str, settings: dict[str, Any], path: Path | None = None) -> Epochs:
    """Return what a driver tells of its epochs; it runs where the log is, since RecBole leaves files behind."""
    environment: dict[str, str | None] = {"OMP_NUM_THREADS": str(settings["threads"]), "THP_MEM_ALLOC_ENABLE": "1"}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    epochs: Epochs = []
    for kind, told in told_by(driver, python, settings, environment, Path(settings["log"]).parent):
        if kind != EPOCH:
            continue
        epochs.append(told)
        print(
            f"H={settings['hidden']} {name}: epoch {told['epoch']}, {told['seconds']:.1f} s, "
            f"{told['targets_per_second']:,.0f} targets/s, ndcg_at_10 {told['ndcg_at_10']:.4f}",
            file=sys.stderr,
            flush=True,
        )
    if len(epochs) != settings["epochs"]:
        raise SystemExit(f"{driver} told {len(epochs)} epochs of {settings['epochs']}.")
    return epochs


def speed(epochs: Epochs) -> float:
    """Return the median targets a second, the first epoch left out."""
    return statistics.median(epoch["targets_per_second"] for epoch in epochs[1:])


def seconds_to(epochs: Epochs, score: float) -> float | None:
    """Return the training seconds after which a validation score was reached."""
    return next((epoch["total_seconds"] for epoch in epochs if epoch["ndcg_at_10"] >= score), None)


def figures_of(epochs: Epochs) -> Figures:
    """Return what is told of a training: speed, memory, best score, and the epochs themselves."""
    best = max(epoch["ndcg_at_10"] for epoch in epochs)
    return {
        "targets_per_second": speed(epochs),
        "peak_mib": max(epoch["peak_mib"] for epoch in epochs),
        "best": best,
        "n_epochs": len(epochs),
        "seconds_to_best": seconds_to(epochs, best),
        "epochs": epochs,
    }


def line(row: Row, ours: Row | None) -> list[object]:
    """Return a line of the table; `ours` is the first trainer's row with the same hidden size."""
    told = row.figures
    ratio = "" if ours is None else f"{ours.figures['targets_per_second'] / told['targets_per_second']:.1f}"
    return [
        row.settings["threads"],
        row.settings["hidden"],
        row.settings["trainer"],
        f"{told['targets_per_second']:,.0f}",
        ratio,
        f"{told['peak_mib']:,.0f}",
        f"{told['best']:.4f} ({told['n_epochs']} epochs)",
        "" if ours is None or row is ours else seconds_beside(told, ours.figures),
    ]


def seconds_beside(theirs: Figures, ours: Figures) -> str:
    """Return the seconds that both need for the best score of `theirs`, or those that were published."""
    seconds = theirs["seconds_to_best"]
    if "epochs" in theirs and "epochs" in ours:
        here = seconds_to(ours["epochs"], theirs["best"])
        times = seconds / here if here else None
    else:
        here, times = theirs.get("ours_seconds_to_best"), theirs.get("times")
    return f"{seconds:.1f} / {here:.1f} s, {times:.0f} times" if here and times else f"{seconds:.1f} s / never"


def report(rows: Rows) -> str:
    lines = []
    verdicts = []
    for asked in dict.fromkeys((row.settings["threads"], row.settings["hidden"]) for row in rows.values()):
        threads, hidden = asked
        runs = {
            row.settings["trainer"]: row
            for row in rows.values()
            if (row.settings["threads"], row.settings["hidden"]) == asked
        }
        ours = runs.get(OURS)
        lines += [line(row, ours) for row in runs.values()]
        goal = GOALS.get(hidden)
        if goal and ours is not None and RECBOLE in runs:
            ratio = ours.figures["targets_per_second"] / runs[RECBOLE].figures["targets_per_second"]
            told = f"{ratio:.0f} times RecBole's targets a second (goal: {goal}, {verdict(ratio >= goal)})"
            verdicts.append(f"- H = {hidden}, {threads} thread{'s' * (threads != 1)}: {told}.")
    columns = ["threads", "H", "trainer", "targets/s", "ours / theirs", "peak MiB", "best validation ndcg_at_10",
               "seconds to that score, theirs / ours"]  # fmt: skip
    return table(columns, lines) + "\n\n" + "\n".join(verdicts)


def main() -> None:
    parser = script_parser(__doc__, "libraries")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", default="64,128", help="hidden sizes, separated by commas")
    parser.add_argument("--epochs", type=int, default=20, help="of the trainers that take seconds for one")
    parser.add_argument("--recbole-epochs", type=int, default=8, help="of RecBole, which takes up to a minute for one")
    parser.add_argument("--gru4rec", type=Path, help="folder with the official GRU4Rec's repository")
    options = parser.parse_args()
    results = Results("libraries", options)
    results.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    dataset = load_dataset(options.data)
    log = results.work / "log.npz"
    np.savez(log, items=dataset.items, offsets=dataset.user_offsets, n_items=dataset.n_items)
    cells: dict[str, Cell] = {}

    def add(hidden: int, trainer: str, n_epochs: int, run: Callable[[dict[str, Any]], Epochs]) -> None:
        settings = {
            "data": options.data.name,
            "threads": options.threads,
            "hidden": hidden,
            "epochs": n_epochs,
            "seed": 1,
        }
        cells[f"{options.threads}-{hidden}-{trainer.replace(', ', '-').replace(' ', '-')}"] = Cell(
            settings | {"trainer": trainer},
            lambda: figures_of(run(settings | {"log": str(log)})),
            threads=options.threads,
        )

    for hidden in (int(size) for size in options.hidden.split(",")):
        for name in (OURS, OURS_TWO_LEVELS):
            add(hidden, name, options.epochs, partial(train_ours, name, options.data.absolute()))
        if options.gru4rec:
            add(hidden, OFFICIAL, options.epochs, partial(train_official, options.gru4rec.absolute()))
        add(hidden, RECBOLE, options.recbole_epochs, partial(train_recbole, results.work))
    results.run(cells)
    results.show(report)


def train_ours(name: str, data: Path, settings: dict[str, Any]) -> Epochs:
    ours = {"data": str(data), "batch_size": 64, "learning_rate": 0.003, "architecture": name.split(", ")[1]}
    return train(name, sys.executable, "ours.py", settings | ours)


def train_official(repository: Path, settings: dict[str, Any]) -> Epochs:
    theirs = {"negatives": 512, "batch_size": 64, "learning_rate": 0.05, "dropout": 0.2}
    return train(OFFICIAL, sys.executable, "official_gru4rec.py", settings | theirs, repository)


def train_recbole(work: Path, settings: dict[str, Any]) -> Epochs:
    theirs = {"last_events": 50, "learning_rate": 0.001}
    return train(RECBOLE, recbole_python(work), "recbole_gru4rec.py", settings | theirs)


if __name__ == "__main__":
    main()
