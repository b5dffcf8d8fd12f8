"""How many epochs pruning saves: learning curves recorded once, then replayed under the product's samplers and pruners.

Run: .venv/bin/python scripts/benchmarks/pruning.py DATA [--curves FILE] [--seeds N] [--write]

Recording trains 100 configurations, spread evenly (QMC) over a space of small models, for all their epochs (about 40
minutes of one core on ml-100k) and goes on where it was stopped. The protocol is leave-one-out: with every user in the
validation part, scores tell configurations apart. The replay asks the product's own sampler for configurations and its
pruner after every epoch; the answer is the curve of the recorded configuration that lies nearest.
"""

import itertools
import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from machine import own_stores, publish, script_parser, table
from scipy.stats import spearmanr

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.search.space import SearchSpace, Value, load_space
from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.forecast.simulation import SimulatedTrial, simulate
from hrnn_hpo.study.optuna_quiet import optuna_quiet
from hrnn_hpo.study.propose.pruners import PRUNERS, make_pruner
from hrnn_hpo.study.propose.samplers import make_sampler
from hrnn_hpo.study.seeds import trial_seed
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

OBJECTIVE = "ndcg_at_10"
EPOCHS = 18
N_RANDOM = 40  # trials of the unpruned random search whose best score is to be reached
MOST_TRIALS = 100  # of the search that has to reach it
N_CURVES = 100


@dataclass(frozen=True)
class Curve:
    """A recorded training: the searched values, and the validation score after each epoch."""

    values: dict[str, Value]
    scores: list[float]


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
        "pruning.py",
    )


def record(data: Path, file: Path) -> list[Curve]:
    """Return the learning curves, training those that the file lacks."""
    curves = [Curve(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []
    space = benchmark_space()
    points: list[dict[str, Value]] = []
    with optuna_quiet():
        study = optuna.create_study(sampler=make_sampler("qmc", 0, space))
        for _ in range(N_CURVES):
            trial = study.ask()
            points.append(space.varied(space.suggest(trial)))
            study.tell(trial, 0.0)
    assert all(curve.values == point for curve, point in zip(curves, points, strict=False)), f"{file}: another space"
    dataset = load_dataset(data) if len(curves) < N_CURVES else None
    torch.set_num_threads(1)
    for number in range(len(curves), N_CURVES):
        assert dataset
        configuration = Configuration(
            hyperparameters=space.resolve(points[number]),
            protocol="leave-one-out",
            seed=trial_seed(0, number, stream=1),
            n_threads=1,
        )
        result = run_experiment(prepare_experiment(dataset, configuration), device="cpu", objective=OBJECTIVE)
        curves.append(Curve(points[number], [report.metrics[OBJECTIVE] for report in result.history]))
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".partial")
        draft.write_text(json.dumps([asdict(curve) for curve in curves], indent=1), encoding="utf-8")
        draft.replace(file)
        print(
            f"{len(curves)}/{N_CURVES}  {points[number]}  {max(curves[-1].scores):.4f}  {result.seconds:.0f} s",
            flush=True,
        )
    return curves


def trials_of(curves: list[Curve], sampler: str, pruner: str, seed: int) -> Iterator[SimulatedTrial]:
    """Yield the trials of a study that the product's sampler and pruner run on the recorded curves."""
    space = benchmark_space()

    def curve(trial: optuna.Trial) -> list[float]:
        values = space.suggest(trial)
        return min(curves, key=lambda one: space.distance(one.values, values)).scores

    return simulate(
        curve,
        sampler=make_sampler(sampler, seed, space),
        pruner=make_pruner(pruner, EPOCHS),
        patience=EPOCHS,
        study=f"pruning-{seed}",
        first=space.varied(space.defaults()),
    )


def share_of_epochs(curves: list[Curve], sampler: str, pruner: str, seed: int) -> float:
    """Return the epochs until the random search's best score is reached, as a share of its own; inf for never."""
    random = list(itertools.islice(trials_of(curves, "random", "none", seed), N_RANDOM))
    best, used = max(trial.value for trial in random), 0
    for trial in itertools.islice(trials_of(curves, sampler, pruner, seed), MOST_TRIALS):
        used += trial.n_epochs
        if not trial.pruned and trial.value >= best:
            return used / sum(trial.n_epochs for trial in random)
    return math.inf


def replay(curves: list[Curve], n_seeds: int) -> str:
    """Return the table of every sampler and pruner over some study seeds."""
    rows: list[list[object]] = []
    for sampler, pruner in itertools.product(("tpe", "random"), PRUNERS):
        shares = [share_of_epochs(curves, sampler, pruner, seed) for seed in range(n_seeds)]
        epochs = [t.n_epochs for t in itertools.islice(trials_of(curves, sampler, pruner, 0), N_RANDOM)]
        reached = f"{sum(math.isfinite(share) for share in shares)} of {n_seeds}"
        rows.append([sampler, pruner, statistics.median(shares), reached, statistics.mean(epochs)])
    return table(["sampler", "pruner", "median share of epochs", "seeds that reach it", "epochs a trial"], rows)


def informative(curves: list[Curve]) -> str:
    """Return how well the best score so far ranks configurations at some epochs (Spearman, with the final best)."""
    scores = np.array([curve.scores for curve in curves])
    ranks = {n: float(spearmanr(scores[:, :n].max(axis=1), scores.max(axis=1))[0]) for n in (1, 2, 3, 6, 9, 12, 15)}
    return ", ".join(f"{rank:.2f} after {n}" for n, rank in ranks.items())


def real_study(data: Path, pruner: str, seed: int) -> str:
    """Return how a real pruned TPE study compares with a real random search: epochs until the same best score."""
    common: dict[str, Any] = {"protocol": "leave-one-out", "objective": OBJECTIVE, "n_threads": 1, "confirm": 0}
    with own_stores():
        space = benchmark_space()
        found = tune(
            data, study="random", space=space, sampler="random", pruner="none", n_trials=N_RANDOM, seed=seed, **common
        )
        best = found.best_value
        tune(
            data,
            study="tpe",
            space=space,
            sampler="tpe",
            pruner=pruner,
            n_trials=MOST_TRIALS,
            seed=seed,
            target=best,
            **common,
        )
        random, pruned = (
            sum(len(epochs_of(trial)) for trial in last_attempts(load_study(name, open_storage())))
            for name in ("random", "tpe")
        )
        reached = max(trial.value for trial in last_attempts(load_study("tpe", open_storage())) if trial.value)
        n_trials = len(last_attempts(load_study("tpe", open_storage())))
    assert best is not None
    told = f"reached {reached:.4f} after {n_trials} trials and {pruned} epochs, {pruned / random:.2f} of them"
    if reached < best:
        told = f"did not reach it: {reached:.4f} after {n_trials} trials and {pruned} epochs"
    return (
        f"A real study, seed {seed}: {N_RANDOM} random trials had {best:.4f} after {random} epochs; "
        f"TPE with the pruner {pruner} {told}."
    )


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--curves", type=Path, default=Path("results/pruning-curves.json"))
    parser.add_argument("--seeds", type=int, default=20, help="study seeds")
    parser.add_argument("--real", metavar="PRUNER", help="run two real studies instead, TPE's with this pruner")
    parser.add_argument("--seed", type=int, default=0, help="of the real studies")
    options = parser.parse_args()
    if options.real:
        print(real_study(options.data.absolute(), options.real, options.seed))
        return
    curves = record(options.data, options.curves)
    best = sorted(max(curve.scores) for curve in curves)
    body = (
        f"Epochs until a search reaches the best validation {OBJECTIVE} of an unpruned random search of {N_RANDOM} "
        f"trials, as a share of that search's epochs, over {options.seeds} study seeds; the target is 1/3 for TPE "
        f"with a pruner. {N_CURVES} configurations, {EPOCHS} epochs each, best scores from {best[0]:.3f} to "
        f"{best[-1]:.3f} (median {best[50]:.3f}).\n\n{replay(curves, options.seeds)}\n\n"
        f"Rank correlation of the best score so far with the final one, by epoch: {informative(curves)}."
    )
    publish(
        "Pruning", f"scripts/benchmarks/pruning.py {options.data} --seeds {options.seeds}", body, write=options.write
    )


if __name__ == "__main__":
    main()
