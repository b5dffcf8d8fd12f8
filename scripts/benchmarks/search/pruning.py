"""How many epochs pruning saves: learning curves recorded once, then replayed under the product's samplers and pruners.

Run: .venv/bin/python scripts/benchmarks/search/pruning.py [--data data] [--seeds N] [--real PRUNER]

The curves are those of curves.py on ml-100k, recorded where they are missing. The protocol is leave-one-out: with every
user in the validation part, scores tell configurations apart. The replay asks the product's own sampler for
configurations and its pruner after every epoch; the answer is the curve of the recorded configuration that lies
nearest.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import optuna
from scipy.stats import spearmanr

from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.forecast.simulation import SimulatedTrial, simulate
from hrnn_hpo.study.propose.pruners import BY_USER, PRUNERS, make_pruner
from hrnn_hpo.study.propose.samplers import make_sampler
from hrnn_hpo.study.request.budget import Budget, read_budget, write_budget
from hrnn_hpo.study.run.continuing import cut_too_early, take_up
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune
from scripts.benchmarks.kit.machine import own_stores
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table
from scripts.benchmarks.search.curves import EPOCHS, LOGS, OBJECTIVE, WORK, Curve, benchmark_space, record

LOG = "ml-100k"
OF_MEANS = [pruner for pruner in PRUNERS if pruner not in BY_USER]  # races.py has the others
N_RANDOM = 40  # trials of the unpruned random search whose best score is to be reached
MOST_TRIALS = 100  # of the search that has to reach it


class Ended(Protocol):
    """What counts trials needs to know of one."""

    @property
    def went_on(self) -> bool: ...


Trial = TypeVar("Trial", bound=Ended)


def thawing(sampler: str, pruner: str) -> Callable[[optuna.Study], None]:
    """Return what queues a pruned trial again before another one starts, where the product would."""

    def before_trial(study: optuna.Study) -> None:
        if read_budget(study) is None:
            write_budget(study, Budget(None, sampler, pruner))
        take_up(study, cut_too_early(study)[:1])

    return before_trial


def trials_of(
    curves: list[Curve], sampler: str, pruner: str, seed: int, *, thaw: bool = False
) -> Iterator[SimulatedTrial]:
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
        before_trial=thawing(sampler, pruner) if thaw else None,
    )


def until(trials: Iterator[Trial], n_trials: int) -> Iterator[Trial]:
    """Yield the first trials of a study, with those among them that go on: they are none of their own."""
    n_begun = 0
    for trial in trials:
        n_begun += not trial.went_on
        if n_begun > n_trials:
            return
        yield trial


def share_of_epochs(curves: list[Curve], sampler: str, pruner: str, seed: int, *, thaw: bool = False) -> float:
    """Return the epochs until the random search's best score is reached, as a share of its own; inf for never."""
    random = list(itertools.islice(trials_of(curves, "random", "none", seed), N_RANDOM))
    best, used = max(trial.value for trial in random), 0
    for trial in until(trials_of(curves, sampler, pruner, seed, thaw=thaw), MOST_TRIALS):
        used += trial.n_epochs
        if not trial.pruned and trial.value >= best:
            return used / sum(trial.n_epochs for trial in random)
    return math.inf


def replay(curves: list[Curve], sampler: str, pruner: str, n_seeds: int, *, thaw: bool = False) -> Figures:
    """Return the shares of a sampler and a pruner by study seed, None for never, and the epochs of a trial."""
    shares = [share_of_epochs(curves, sampler, pruner, seed, thaw=thaw) for seed in range(n_seeds)]
    epochs = sum(trial.n_epochs for trial in until(trials_of(curves, sampler, pruner, 0, thaw=thaw), N_RANDOM))
    return {
        "median_share": _finite(statistics.median(shares)),
        "n_reached": sum(math.isfinite(share) for share in shares),
        "epochs_per_trial": epochs / N_RANDOM,
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
        pruner = asked["pruner"] + (", thaw" if asked.get("thaw") else "")
        lines.append([asked["sampler"], pruner, share, reached, told["epochs_per_trial"]])
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
            f"{LOGS[LOG].n_curves} configurations, {EPOCHS} epochs each, best scores from {told['least']:.3f} to "
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
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the fetched logs")
    parser.add_argument("--curves", type=Path, default=WORK, help=f"folder of the recordings; default: {WORK}")
    parser.add_argument("--seeds", type=int, default=20, help="study seeds")
    parser.add_argument("--real", metavar="PRUNER", choices=PRUNERS, help="run a real study with this pruner instead")
    parser.add_argument("--seed", type=int, default=0, help="of the real study")
    options = parser.parse_args()
    results = Results("pruning", options)
    data, work = options.data.absolute(), options.curves.absolute()
    if options.real:
        settings = {"data": LOG, "pruner": options.real, "seed": options.seed}
        measure = partial(real_study, data / LOG, options.real, options.seed)
        results.run({f"real-{options.real}-{options.seed}": Cell(settings, measure)})
    else:
        recorded = cache(partial(record, LOG, data, work))
        cells = {
            f"{sampler}-{pruner}{'-thaw' if thaw else ''}": Cell(
                {"data": LOG, "sampler": sampler, "pruner": pruner, "seeds": options.seeds, **thaw},
                lambda sampler=sampler, pruner=pruner, thaw=thaw: replay(
                    recorded(), sampler, pruner, options.seeds, **thaw
                ),
            )
            for thaw, sampler, pruner in itertools.product(({}, {"thaw": True}), ("tpe", "random"), OF_MEANS)
            if not (thaw and pruner == "none")
        }
        results.run(cells | {"curves": Cell({"data": LOG}, lambda: describe(recorded()))})
    results.show(report)


if __name__ == "__main__":
    main()
