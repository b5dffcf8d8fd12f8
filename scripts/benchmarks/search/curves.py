"""Learning curves, recorded once, that pruning.py and races.py replay: what every user scored after each epoch.

Run: .venv/bin/python scripts/benchmarks/search/curves.py LOG [--data data] [--most N]

A recording trains configurations that are spread evenly (QMC) over a space of small models, each for all its epochs,
one thread, and goes on after the last one that is finished. The logs:

- ml-100k: leave-one-out, so that every user validates. 100 configurations, some 40 minutes.
- personalize: ml-100k with three draws of the 94 validation users, each with a training of its own. 60 configurations,
  some 70 minutes.
- journey: a fifth of complete-journey's households and their frequent products, leave-one-out. 60 configurations, some
  150 minutes.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from filelock import FileLock
from numpy.typing import NDArray

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.search.space import SearchSpace, Value, load_space
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.propose.samplers import make_sampler
from hrnn_hpo.study.seeds import trial_seed
from scripts.benchmarks.kit.logs import fifth_of_journey, write_copy

OBJECTIVE = "ndcg_at_10"
EPOCHS = 18
WORK = Path("results/curves")
Users = NDArray[np.float64]  # (configurations, epochs, users)


@dataclass(frozen=True)
class Curve:
    """A recorded training: the searched values, and the validation score after each epoch, a mean over the draws."""

    values: dict[str, Value]
    scores: list[float]


@dataclass(frozen=True)
class Log:
    """What is recorded of a log: under which protocol, how many configurations, how many draws of users each."""

    source: str  # a folder of --data
    protocol: Protocol
    n_curves: int
    n_draws: int = 1
    make: Callable[[pd.DataFrame], pd.DataFrame] | None = None  # the copy that is trained; None: the log itself


LOGS = {
    "ml-100k": Log("ml-100k", "leave-one-out", 100),
    "personalize": Log("ml-100k", "personalize", 60, n_draws=3),
    "journey": Log("complete-journey", "leave-one-out", 60, make=fifth_of_journey),
}


def benchmark_space() -> SearchSpace:
    """Return a space of small models, good ones and bad ones."""
    return load_space("hrnn").narrow(
        {
            "hidden_dimension": {"range": [16, 64], "log": True, "default": 24},
            "learning_rate": {"range": [0.0005, 0.03], "log": True, "default": 0.003},
            "output_dropout": {"range": [0.0, 0.6], "default": 0.2},
        },
        {
            "recency_mask": False,
            "architecture": "control",
            "n_blocks": 1,
            "feed_forward": 2,
            "item_start": "random",
            "bptt": 32,
            "input_dropout": 0.2,
            "hidden_dropout": 0.1,
            "session_gap": 1800,
            "batch_size": 64,
            "weight_decay": 0.01,
            "weight_averaging": 0.9,
            "epochs": EPOCHS,
            "patience": EPOCHS,
        },
        "curves.py",
    )


def record(name: str, data: Path, work: Path, most: int | None = None) -> list[Curve]:
    """Return a log's learning curves, training those that `work` lacks, `most` of them at most.

    Processes that share `work` record one after the other.
    """
    with FileLock(work / f"{name}.lock"):
        return _record(name, data, work, most)


def _record(name: str, data: Path, work: Path, most: int | None) -> list[Curve]:
    log, file = LOGS[name], work / f"{name}.json"
    curves = [Curve(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []
    wanted = log.n_curves if most is None else min(len(curves) + most, log.n_curves)
    space = benchmark_space()
    points = _points(space, log.n_curves)
    assert all(curve.values == point for curve, point in zip(curves, points, strict=False)), f"{file}: another space"
    dataset = _dataset(log, data, work) if len(curves) < wanted else None
    torch.set_num_threads(1)
    for number in range(len(curves), wanted):
        assert dataset
        scores = []
        for draw in range(log.n_draws):
            figures = _train(dataset, log, space, points[number], number, draw)  # (epochs, users)
            users = users_file(work, name, number, draw)
            users.parent.mkdir(parents=True, exist_ok=True)
            np.save(users, figures.astype(np.float16))
            scores.append(figures.mean(axis=1))
        curves.append(Curve(points[number], [float(score) for score in np.mean(scores, axis=0)]))
        draft = file.with_suffix(".partial")
        draft.write_text(json.dumps([asdict(curve) for curve in curves], indent=1), encoding="utf-8")
        draft.replace(file)
        print(f"{name} {len(curves)}/{log.n_curves}  {points[number]}  {max(curves[-1].scores):.4f}", flush=True)
    return curves


def _points(space: SearchSpace, n: int) -> list[dict[str, Value]]:
    points = []
    with optuna_quiet():
        study = optuna.create_study(sampler=make_sampler("qmc", 0, space))
        for _ in range(n):
            trial = study.ask()
            points.append(space.varied(space.suggest(trial)))
            study.tell(trial, 0.0)
    return points


def _dataset(log: Log, data: Path, work: Path) -> Dataset:
    if log.make is None:
        return load_dataset(data / log.source)
    copy = work / f"{log.source}-copy" / "interactions.csv"
    return load_dataset(write_copy(data / log.source / "interactions.csv", copy, log.make).parent)


def _train(dataset: Dataset, log: Log, space: SearchSpace, values: dict[str, Value], number: int, draw: int) -> Users:
    """Return what each validation user scored after each epoch, (epochs, users)."""
    configuration = Configuration(
        hyperparameters=space.resolve(values), protocol=log.protocol, seed=trial_seed(0, number, stream=1), n_threads=1
    )
    figures: dict[int, Any] = {}
    run_experiment(
        prepare_experiment(dataset, configuration, train_seed=draw if log.n_draws > 1 else None),
        device="cpu",
        objective=OBJECTIVE,
        on_users=figures.__setitem__,
    )
    return np.stack([figures[epoch] for epoch in sorted(figures)])


def users_file(work: Path, name: str, number: int, draw: int = 0) -> Path:
    """Return the file with one recorded training's figures of each user, (epochs, users)."""
    ending = f"-draw-{draw}" if LOGS[name].n_draws > 1 else ""
    return work / name / f"users-{number:03d}{ending}.npy"


def recorded_users(work: Path, name: str, n_curves: int) -> list[Users]:
    """Return what each user scored, for each draw of users."""
    return [
        np.stack([np.load(users_file(work, name, number, draw)).astype(np.float64) for number in range(n_curves)])
        for draw in range(LOGS[name].n_draws)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", choices=LOGS)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the fetched logs")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of the recordings; default: {WORK}")
    parser.add_argument("--most", type=int, metavar="N", help="train N more of the curves that are missing, not all")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    record(options.log, options.data.absolute(), options.work.absolute(), options.most)


if __name__ == "__main__":
    main()
