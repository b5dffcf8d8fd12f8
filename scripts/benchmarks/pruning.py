"""How many epochs pruning saves: learning curves recorded once, then replayed under the product's samplers and pruners.

Run: .venv/bin/python scripts/benchmarks/pruning.py DATA [--curves FILE] [--seeds N] [--real PRUNER]

Recording trains 100 configurations, spread evenly (QMC) over a space of small models, for all their epochs (about 40
minutes of one core on ml-100k) and resumes after the last one that is finished. The protocol is leave-one-out: with
every user in the validation part, scores tell configurations apart. The replay asks the product's own sampler for
configurations and its pruner after every epoch; the answer is the curve of the recorded configuration that lies
nearest.
"""

import itertools
import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from filelock import FileLock
from machine import own_stores
from rows import Cell, Figures, Results, Rows, script_parser
from scipy.stats import spearmanr
from tables import table

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


def record(data: Path, file: Path, most: int = N_CURVES) -> list[Curve]:
    """Return the learning curves, training those that the file lacks, `most` of them at most."""
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
    for number in range(len(curves), min(len(curves) + most, N_CURVES)):
        assert dataset
        figures: dict[int, Any] = {}  # of each user, by epoch
        configuration = Configuration(
            hyperparameters=space.resolve(points[number]),
            protocol="leave-one-out",
            seed=trial_seed(0, number, stream=1),
            n_threads=1,
        )
        result = run_experiment(
            prepare_experiment(dataset, configuration),
            device="cpu",
            objective=OBJECTIVE,
            on_users=figures.__setitem__,
        )
        users = users_file(file, number)
        users.parent.mkdir(parents=True, exist_ok=True)
        np.save(users, np.stack([figures[epoch] for epoch in sorted(figures)]).astype(np.float16))
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


def users_file(file: Path, number: int) -> Path:
    """Return the file beside the curves with one curve's figures of each user, (epochs, users)."""
    return file.with_suffix("") / f"users-{number:03d}.npy"


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


def replay(curves: list[Curve], sampler: str, pruner: str, n_seeds: int) -> Figures:
    """Return the shares of a sampler and a pruner by study seed, None for never, and the epochs of a trial."""
    shares = [share_of_epochs(curves, sampler, pruner, seed) for seed in range(n_seeds)]
    epochs = [t.n_epochs for t in itertools.islice(trials_of(curves, sampler, pruner, 0), N_RANDOM)]
    return {
        "median_share": _finite(statistics.median(shares)),
        "n_reached": sum(math.isfinite(share) for share in shares),
        "epochs_per_trial": statistics.mean(epochs),
        "shares": [_finite(share) for share in shares],
    }


def _finite(share: float) -> float | None:
    return share if math.isfinite(share) else None


def describe(curves: list[Curve]) -> Figures:
    """Return the curves' best scores, and how well the best score so far ranks configurations at some epochs.

    The ranks are Spearman's, with the final best.
    """
    scores = np.array([curve.scores for curve in curves])
    ranks = {n: float(spearmanr(scores[:, :n].max(axis=1), scores.max(axis=1))[0]) for n in (1, 2, 3, 6, 9, 12, 15)}
    best = sorted(max(curve.scores) for curve in curves)
    return {
        "least": best[0],
        "median": best[len(best) // 2],
        "most": best[-1],
        "rank_correlations": {str(n): rank for n, rank in ranks.items()},
    }


def real_study(data: Path, pruner: str, seed: int) -> Figures:
    """Return the epochs of a real random search and those of a pruned TPE study that is to reach its best score."""
    common: dict[str, Any] = {"protocol": "leave-one-out", "objective": OBJECTIVE, "n_threads": 1, "confirm": 0}
    with own_stores():
        space = benchmark_space()
        found = tune(
            data, study="random", space=space, sampler="random", pruner="none", n_trials=N_RANDOM, seed=seed, **common
        )
        best = found.best_value
        assert best is not None
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
        random, pruned = (last_attempts(load_study(name, open_storage())) for name in ("random", "tpe"))
        random_epochs, epochs = (sum(len(epochs_of(trial)) for trial in trials) for trials in (random, pruned))
    return {
        "random_best": best,
        "random_epochs": random_epochs,
        "best": max(trial.value for trial in pruned if trial.value),
        "n_trials": len(pruned),
        "epochs": epochs,
    }


def report(rows: Rows) -> str:
    """Return the table of the replay, what the curves tell, and the real studies beside it."""
    replays = [row for row in rows.values() if "sampler" in row.settings]
    lines: list[list[object]] = []
    for row in replays:
        asked, told = row.settings, row.figures
        share = math.inf if told["median_share"] is None else float(told["median_share"])
        reached = f"{told['n_reached']} of {asked['seeds']}"
        lines.append([asked["sampler"], asked["pruner"], share, reached, told["epochs_per_trial"]])
    columns = ["sampler", "pruner", "median share of epochs", "seeds that reach it", "epochs a trial"]
    parts = []
    if lines:
        parts.append(
            f"Epochs until a search reaches the best validation {OBJECTIVE} of an unpruned random search of {N_RANDOM} "
            f"trials, as a share of that search's epochs, over {replays[0].settings['seeds']} study seeds; the target "
            "is 1/3 for TPE with a pruner."
        )
        parts.append(table(columns, lines))
    if "curves" in rows:
        told = rows["curves"].figures
        ranks = ", ".join(f"{rank:.2f} after {n}" for n, rank in told["rank_correlations"].items())
        parts.append(
            f"{N_CURVES} configurations, {EPOCHS} epochs each, best scores from {told['least']:.3f} to "
            f"{told['most']:.3f} (median {told['median']:.3f}). Rank correlation of the best score so far with the "
            f"final one, by epoch: {ranks}."
        )
    parts += [tell_real(row.settings, row.figures) for name, row in rows.items() if name.startswith("real-")]
    return "\n\n".join(parts)


def tell_real(asked: Figures, told: Figures) -> str:
    ending = f"{told['best']:.4f} after {told['n_trials']} trials and {told['epochs']} epochs"
    if told["best"] >= told["random_best"]:
        ending = f"reached {ending}, {told['epochs'] / told['random_epochs']:.2f} of them"
    else:
        ending = f"did not reach it: {ending}"
    return (
        f"A real study, seed {asked['seed']}: {N_RANDOM} random trials had {told['random_best']:.4f} after "
        f"{told['random_epochs']} epochs; TPE with the pruner {asked['pruner']} {ending}."
    )


def main() -> None:
    parser = script_parser(__doc__, "pruning")
    parser.add_argument("data", type=Path)
    parser.add_argument("--curves", type=Path, help="file of the recorded curves; default: curves.json in --work")
    parser.add_argument("--record", type=int, metavar="N", help="only train N more of the curves that are missing")
    parser.add_argument("--seeds", type=int, default=20, help="study seeds")
    parser.add_argument("--real", metavar="PRUNER", choices=PRUNERS, help="run a real study with this pruner instead")
    parser.add_argument("--seed", type=int, default=0, help="of the real study")
    options = parser.parse_args()
    results = Results("pruning", options)
    data = options.data.absolute()
    if options.record:
        record(data, options.curves or results.work / "curves.json", options.record)
        return
    if options.real:
        settings = {"data": data.name, "pruner": options.real, "seed": options.seed}
        work = partial(real_study, data, options.real, options.seed)
        results.run({f"real-{options.real}-{options.seed}": Cell(settings, work)})
    else:
        curves = options.curves or results.work / "curves.json"

        @cache
        def recorded() -> list[Curve]:
            with FileLock(results.work / "recording.lock"):  # processes that share the rows record once
                return record(data, curves)

        cells = {
            f"{sampler}-{pruner}": Cell(
                {"data": data.name, "sampler": sampler, "pruner": pruner, "seeds": options.seeds},
                lambda sampler=sampler, pruner=pruner: replay(recorded(), sampler, pruner, options.seeds),
            )
            for sampler, pruner in itertools.product(("tpe", "random"), PRUNERS)
        }
        results.run(cells | {"curves": Cell({"data": data.name}, lambda: describe(recorded()))})
    results.show(report)


if __name__ == "__main__":
    main()
