"""This trainer beside RecBole's GRU4Rec and the official GRU4Rec: targets a second, and seconds to the same ranking.

Run: .venv/bin/python scripts/benchmarks/libraries.py [--data DIR] [--threads 2] [--gru4rec DIR] [--write]

The same log (leave-one-out), the same hidden size and count of threads, one after the other, each in a process of its
own. A target is one position that a model learns to predict; all three have nearly the same ones. RecBole 1.2.1 runs in
an environment of its own, which the first run makes under --results (PyTorch as here; it needs NumPy 1), reads the last
50 events of each prefix and has its own defaults otherwise. The official GRU4Rec has no package: clone its authors'
repository (GRU4Rec_PyTorch_Official) and give its folder, else it is left out. It samples its softmax (512 negatives
beside the batch's own, with log-q correction), which saves it most of the work the other two do; it drops a fifth of
the hidden units and has its own defaults otherwise (batches of 64, Adagrad with .05).

After each epoch all are asked the same: ndcg_at_10 of every user's last but one event, the whole catalogue ranked, seen
items removed. Seconds are of training alone. Ratios are to the first row, this trainer's `control`; its time to a score
is taken at the best that the other row reached.
"""

import json
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import publish, script_parser, table

from hrnn_hpo.data.prepared import load_dataset

RIVALS = Path(__file__).parent / "rivals"
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
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    environment |= {"OMP_NUM_THREADS": str(settings["threads"]), "THP_MEM_ALLOC_ENABLE": "1"}
    command = [str(python), "-W", "ignore", str(RIVALS / driver)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(settings["log"]).parent,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(settings))
        process.stdin.close()
        epochs: Epochs = []
        for line in process.stdout:
            if not line.startswith("EPOCH "):
                continue
            epochs.append(json.loads(line.removeprefix("EPOCH ")))
            told = epochs[-1]
            print(
                f"H={settings['hidden']} {name}: epoch {told['epoch']}, {told['seconds']:.1f} s, "
                f"{told['targets_per_second']:,.0f} targets/s, ndcg_at_10 {told['ndcg_at_10']:.4f}",
                file=sys.stderr,
                flush=True,
            )
    if process.returncode or len(epochs) != settings["epochs"]:
        raise SystemExit(f"{driver} told {len(epochs)} epochs of {settings['epochs']}: exit code {process.returncode}.")
    return epochs


def speed(epochs: Epochs) -> float:
    """Return the median targets a second, the first epoch left out."""
    return statistics.median(epoch["targets_per_second"] for epoch in epochs[1:])


def seconds_to(epochs: Epochs, score: float) -> float | None:
    """Return the training seconds after which a validation score was reached."""
    return next((epoch["total_seconds"] for epoch in epochs if epoch["ndcg_at_10"] >= score), None)


def cells(hidden: int, name: str, epochs: Epochs, ours: Epochs) -> list[object]:
    best = max(epoch["ndcg_at_10"] for epoch in epochs)
    theirs, here = seconds_to(epochs, best), seconds_to(ours, best)
    same = f"{theirs:.1f} / {here:.1f} s, {theirs / here:.0f} times" if theirs and here else f"{theirs:.1f} s / never"
    return [
        hidden,
        name,
        f"{speed(epochs):,.0f}",
        f"{speed(ours) / speed(epochs):.1f}",
        f"{max(epoch['peak_mib'] for epoch in epochs):,.0f}",
        f"{best:.4f} ({len(epochs)} epochs)",
        "" if epochs is ours else same,
    ]


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", default="64,128", help="hidden sizes, separated by commas")
    parser.add_argument("--epochs", type=int, default=20, help="of the trainers that take seconds for one")
    parser.add_argument("--recbole-epochs", type=int, default=8, help="of RecBole, which takes up to a minute for one")
    parser.add_argument("--gru4rec", type=Path, help="folder with the official GRU4Rec's repository")
    parser.add_argument("--results", type=Path, default=Path("results/libraries"), help="for RecBole's environment")
    options = parser.parse_args()
    folder: Path = options.results.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    python = recbole_python(folder)
    dataset = load_dataset(options.data)
    log = folder / "log.npz"
    np.savez(log, items=dataset.items, offsets=dataset.user_offsets, n_items=dataset.n_items)
    common = {"log": str(log), "threads": options.threads, "seed": 1, "epochs": options.epochs}
    hrnn = {"data": str(options.data.absolute()), "batch_size": 64, "learning_rate": 0.003}
    rows: list[list[object]] = []
    verdicts = []
    for hidden in (int(size) for size in options.hidden.split(",")):
        base = common | {"hidden": hidden}
        runs = {
            name: train(name, sys.executable, "ours.py", base | hrnn | {"architecture": name.split(", ")[1]})
            for name in (OURS, OURS_TWO_LEVELS)
        }
        if options.gru4rec:
            settings = {"negatives": 512, "batch_size": 64, "learning_rate": 0.05, "dropout": 0.2}
            runs[OFFICIAL] = train(
                OFFICIAL, sys.executable, "official_gru4rec.py", base | settings, options.gru4rec.absolute()
            )
        settings = {"last_events": 50, "learning_rate": 0.001, "epochs": options.recbole_epochs}
        runs[RECBOLE] = train(RECBOLE, python, "recbole_gru4rec.py", base | settings)
        rows += [cells(hidden, name, epochs, runs[OURS]) for name, epochs in runs.items()]
        ratio, goal = speed(runs[OURS]) / speed(runs[RECBOLE]), GOALS.get(hidden)
        if goal:
            reached = "reached" if ratio >= goal else "missed"
            verdicts.append(f"- H = {hidden}: {ratio:.0f} times RecBole's targets a second (goal: {goal}, {reached}).")
    columns = ["H", "trainer", "targets/s", "ours / theirs", "peak MiB", "best validation ndcg_at_10",
               "seconds to that score, theirs / ours"]  # fmt: skip
    body = table(columns, rows) + "\n\n" + "\n".join(verdicts)
    command = f"scripts/benchmarks/libraries.py --threads {options.threads} --hidden {options.hidden}"
    command += " --gru4rec GRU4Rec_PyTorch_Official" if options.gru4rec else ""
    publish(f"Training speed beside other libraries, {options.threads} thread(s)", command, body, write=options.write)


if __name__ == "__main__":
    main()
