"""How soon a search has a truly good incumbent when few users judge it: recorded curves, replayed user by user.

Run: .venv/bin/python scripts/benchmarks/races.py [--data data] [--rows 'personalize-*'] [--seeds N]

The curves are those of curves.py, recorded where they are missing. A study sees the figures of some users alone, and
the truth about a configuration is what other users score: under leave-one-out those that the study does not see, 94 of
them seen on ml-100k (as many as `personalize` gives it) and half of the households, drawn anew for each study seed;
under `personalize` one of three draws of the validation users is seen, and the mean over all three is true. A search
has arrived when its incumbent's truth is within .002 of the best among 40 random trials' of the same seed; what counts
are the epochs until then, as a share of theirs.
"""

import itertools
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
import optuna
from curves import EPOCHS, LOGS, WORK, Curve, Users, benchmark_space, record, recorded_users
from numpy.typing import NDArray
from pruning import MOST_TRIALS, N_RANDOM
from rows import Cell, Figures, Results, Rows, script_parser
from tables import table

from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.forecast.simulation import simulate
from hrnn_hpo.study.propose.pruners import epochs_before_pruning, make_pruner
from hrnn_hpo.study.propose.samplers import make_sampler

CLOSE = 0.002
KEEP = 5
PRUNERS = ("none", "median", "hyperband", "epochs:1", "epochs:3", "wilcoxon", "paired")
N_SEEN = {"ml-100k-94": 94, "ml-100k-all": None, "personalize": None, "journey": 250}  # users; None: every one


@dataclass
class Replay:
    """One study seed's view of the recorded curves: what its users score, and what the others do."""

    curves: list[Curve]
    seen: Users
    truth: NDArray[np.float64]  # (configurations, epochs)
    seed: int
    scores: NDArray[np.float64] = field(init=False)  # (configurations, epochs)
    chosen: list[int] = field(default_factory=list)  # the configuration of each trial

    def __post_init__(self) -> None:
        self.scores = self.seen.mean(axis=2)

    def true_score(self, index: int) -> float:
        """Return the truth about a configuration's model: that of its best epoch, as the study sees epochs."""
        return float(self.truth[index, int(self.scores[index].argmax())])

    def trials(self, sampler: str, pruner: str, space: SearchSpace | None = None) -> Iterator[tuple[int, bool, int]]:
        """Yield the trials of a study in a space: configuration, whether it was pruned, epochs."""
        space = space or benchmark_space()
        self.chosen = []

        def curve(trial: optuna.Trial) -> list[float]:
            values = space.suggest(trial)
            distances = [space.distance(one.values, values) for one in self.curves]
            self.chosen.append(int(np.argmin(distances)))
            return [float(score) for score in self.scores[self.chosen[-1]]]

        found = simulate(
            curve,
            sampler=make_sampler(sampler, self.seed, space),
            pruner=make_pruner(pruner, EPOCHS, figures=self.figures),
            patience=EPOCHS,
            study=f"races-{self.seed}",
            first=space.varied(space.defaults()),
        )
        for trial in found:
            yield self.chosen[-1], trial.pruned, trial.n_epochs

    def figures(self, place: int, epoch: int) -> NDArray[np.float64]:
        """Return what the users score in a trial after an epoch."""
        return self.seen[self.chosen[place], epoch - 1]


def incumbents(replay: Replay, sampler: str, pruner: str) -> Iterator[tuple[int, int]]:
    """Yield the configuration of the incumbent each time it may have changed, with the epochs spent until then."""
    spent, best = 0, -math.inf
    n_epochs = epochs_before_pruning(pruner)
    halted: list[int] = []
    most = MOST_TRIALS if n_epochs is None else N_RANDOM  # `epochs:K` finishes the best when its trials are used up
    for index, pruned, epochs in itertools.islice(replay.trials(sampler, pruner), most):
        spent += epochs
        if pruned:
            halted.append(index)
        elif replay.scores[index].max() > best:
            best = replay.scores[index].max()
            yield index, spent
    if n_epochs is None:
        return
    ranked = sorted(halted, key=lambda index: -replay.scores[index, :n_epochs].max())
    for index in ranked[:KEEP]:
        spent += EPOCHS - n_epochs
        if replay.scores[index].max() > best:
            best = replay.scores[index].max()
            yield index, spent


def share_of_epochs(replay: Replay, sampler: str, pruner: str) -> float:
    """Return the epochs until a search arrives, as a share of the random search's; inf for never."""
    random = [index for index, _, _ in itertools.islice(replay.trials("random", "none"), N_RANDOM)]
    target = max(replay.true_score(index) for index in random) - CLOSE
    for index, spent in incumbents(replay, sampler, pruner):
        if replay.true_score(index) >= target:
            return spent / (N_RANDOM * EPOCHS)
    return math.inf


def replays(curves: list[Curve], draws: list[Users], n_users: int | None, n_seeds: int) -> Iterator[Replay]:
    """Yield a replay for each study seed, with users of its own: of one draw some, or one of several draws."""
    for seed in range(n_seeds):
        if len(draws) > 1:
            yield Replay(
                curves, draws[seed % len(draws)], np.mean([users.mean(axis=2) for users in draws], axis=0), seed
            )
            continue
        [users] = draws
        order = np.random.default_rng([seed, 16]).permutation(users.shape[2])
        seen, others = order[:n_users], order if n_users is None else order[n_users:]
        yield Replay(curves, users[:, :, seen], users[:, :, others].mean(axis=2), seed)


def measure(found: list[Replay], sampler: str, pruner: str) -> Figures:
    """Return the shares of a sampler and a pruner by study seed, None for never."""
    shares = [share_of_epochs(one, sampler, pruner) for one in found]
    spent = []
    for one in found[:5]:
        spent += [epochs for _, _, epochs in itertools.islice(one.trials(sampler, pruner), N_RANDOM)]
    median = statistics.median(shares)
    return {
        "median_share": median if math.isfinite(median) else None,
        "n_arrived": sum(math.isfinite(share) for share in shares),
        "epochs_per_trial": statistics.mean(spent),
        "shares": [share if math.isfinite(share) else None for share in shares],
    }


def report(rows: Rows) -> str:
    """Return a table of all rows, one line each."""
    lines: list[list[object]] = []
    for row in rows.values():
        asked, told = row.settings, row.figures
        share = math.inf if told["median_share"] is None else float(told["median_share"])
        arrived = f"{told['n_arrived']} of {asked['seeds']}"
        lines.append([asked["log"], asked["sampler"], asked["pruner"], share, arrived, told["epochs_per_trial"]])
    columns = ["log, users seen", "sampler", "pruner", "median share of epochs", "seeds that arrive", "epochs a trial"]
    told = (
        f"Epochs until a search's incumbent is truly within {CLOSE} of the best of {N_RANDOM} random trials, as a "
        f"share of their epochs. `epochs:K` stops after {N_RANDOM} trials and the {KEEP} that it finishes, the others "
        f"after {MOST_TRIALS} trials."
    )
    return f"{told}\n\n{table(columns, lines)}"


def main() -> None:
    parser = script_parser(__doc__, "races")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the fetched logs")
    parser.add_argument("--curves", type=Path, default=WORK, help=f"folder of the recordings; default: {WORK}")
    parser.add_argument("--seeds", type=int, default=20, help="study seeds")
    options = parser.parse_args()
    data, work = options.data.absolute(), options.curves.absolute()

    @cache
    def replayed(log: str) -> list[Replay]:
        name = next(name for name in LOGS if log.startswith(name))
        curves = record(name, data, work)
        return list(replays(curves, recorded_users(work, name, len(curves)), N_SEEN[log], options.seeds))

    def run(log: str, sampler: str, pruner: str) -> Figures:
        return measure(replayed(log), sampler, pruner)

    results = Results("races", options)
    results.run(
        {
            f"{log}-{sampler}-{pruner}": Cell(
                {"log": log, "sampler": sampler, "pruner": pruner, "seeds": options.seeds},
                partial(run, log, sampler, pruner),
            )
            for log, sampler, pruner in itertools.product(N_SEEN, ("tpe", "random"), PRUNERS)
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
