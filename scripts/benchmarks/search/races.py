"""How soon a search has a truly good incumbent when few users judge it: recorded curves, replayed user by user.

Run: .venv/bin/python scripts/benchmarks/search/races.py [--data data] [--rows 'personalize-*'] [--seeds N]

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
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler

from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.forecast.simulation import simulate
from hrnn_hpo.study.propose.pruners import epochs_before_pruning, make_pruner
from hrnn_hpo.study.propose.samplers import make_sampler
from hrnn_hpo.study.seeds import ordinal
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table
from scripts.benchmarks.search.curves import EPOCHS, LOGS, WORK, Curve, Users, benchmark_space, record, recorded_users
from scripts.benchmarks.search.known_noise import NOISES, NoiseToldSampler, posterior_means
from scripts.benchmarks.search.pruning import MOST_TRIALS, N_RANDOM, thawing, until

CLOSE = 0.002
KEEP = 5
PRUNERS = ("none", "median", "hyperband", "epochs:1", "epochs:3", "wilcoxon", "paired")
THAWING = ("median", "hyperband", "wilcoxon", "paired")  # whose pruned trials the product may take up again
SEARCHES: dict[str, dict[str, Any]] = {  # what is asked of each, by the end of its row's name
    f"{sampler}-{pruner}": {"sampler": sampler, "pruner": pruner}
    for sampler, pruners in (
        ("tpe", PRUNERS),
        ("random", PRUNERS),
        ("gp", ("none", "wilcoxon")),
        ("gp-paired", ("none", "wilcoxon")),
        ("gp-whole", ("none",)),
        ("gp-fitted", ("none",)),
    )
    for pruner in pruners
}
SEARCHES |= {
    f"{sampler}-{pruner}-thaw": {"sampler": sampler, "pruner": pruner, "thaw": True}
    for sampler, pruner in itertools.product(("tpe", "random"), THAWING)
}
SEARCHES |= {
    f"{sampler}-none-posterior": {"sampler": sampler, "pruner": "none", "incumbent": "posterior"}
    for sampler in ("tpe", "random", "gp-paired")
}
SHARES = (0.25, 1.0)  # of the random search's epochs, after which an incumbent is looked at
N_MEASURED = 5  # study seeds whose epochs are counted
N_SEEN = {"ml-100k-94": 94, "ml-100k-all": None, "personalize": None, "journey": 250}  # users; None: every one


class Step(NamedTuple):
    """A trial's end in a replay; one that went on has the epochs of its continuation."""

    index: int  # of its recorded configuration
    pruned: bool
    n_epochs: int
    went_on: bool


@dataclass
class Replay:
    """One study seed's view of the recorded curves: what its users score, and what the others do."""

    curves: list[Curve]
    seen: Users
    truth: NDArray[np.float64]  # (configurations, epochs)
    seed: int
    scores: NDArray[np.float64] = field(init=False)  # (configurations, epochs)
    chosen: dict[int, int] = field(default_factory=dict)  # the configuration of each trial, by its place

    def __post_init__(self) -> None:
        self.scores = self.seen.mean(axis=2)

    def true_score(self, index: int) -> float:
        """Return the truth about a configuration's model: that of its best epoch, as the study sees epochs."""
        return float(self.truth[index, int(self.scores[index].argmax())])

    def trials(
        self, sampler: str, pruner: str, space: SearchSpace | None = None, *, thaw: bool = False
    ) -> Iterator[Step]:
        """Yield the trials of a study in a space; with `thaw` those too that the product takes up again."""
        space = space or benchmark_space()
        self.chosen = {}

        def curve(trial: optuna.Trial) -> list[float]:
            values = space.suggest(trial)
            place = ordinal(trial.study, trial.study.get_trials(deepcopy=False)[trial.number])
            distances = [space.distance(one.values, values) for one in self.curves]
            self.chosen[place] = int(np.argmin(distances))
            return [float(score) for score in self.scores[self.chosen[place]]]

        made: BaseSampler
        if sampler in NOISES:
            made = NoiseToldSampler(space, self.seed, self.figures, NOISES[sampler])
        else:
            made = make_sampler(sampler, self.seed, space)
        found = simulate(
            curve,
            sampler=made,
            pruner=make_pruner(pruner, EPOCHS, figures=self.figures),
            patience=EPOCHS,
            study=f"races-{self.seed}",
            first=space.varied(space.defaults()),
            before_trial=thawing(sampler, pruner) if thaw else None,
        )
        for trial in found:
            yield Step(self.chosen[trial.place], trial.pruned, trial.n_epochs, trial.went_on)

    def figures(self, place: int, epoch: int) -> NDArray[np.float64]:
        """Return what the users score in a trial after an epoch."""
        return self.seen[self.chosen[place], epoch - 1]


def incumbents(replay: Replay, sampler: str, pruner: str, *, thaw: bool = False) -> Iterator[tuple[int, int]]:
    """Yield the configuration with the best score each time it changes, with the epochs spent until then."""
    spent, best = 0, -math.inf
    n_epochs = epochs_before_pruning(pruner)
    halted: list[int] = []
    # `epochs:K` finishes the best when its trials are used up; a process takes its time, with the cube of its trials.
    most = N_RANDOM if n_epochs is not None or (sampler in NOISES and pruner == "none") else MOST_TRIALS
    for step in until(replay.trials(sampler, pruner, thaw=thaw), most):
        spent += step.n_epochs
        if step.pruned:
            halted.append(step.index)
        elif replay.scores[step.index].max() > best:
            best = replay.scores[step.index].max()
            yield step.index, spent
    if n_epochs is None:
        return
    ranked = sorted(halted, key=lambda index: -replay.scores[index, :n_epochs].max())
    for index in ranked[:KEEP]:
        spent += EPOCHS - n_epochs
        if replay.scores[index].max() > best:
            best = replay.scores[index].max()
            yield index, spent


def smoothed_incumbents(replay: Replay, sampler: str, pruner: str) -> Iterator[tuple[int, int]]:
    """Yield the complete trial with the best posterior mean each time it changes, with the epochs spent until then.

    A configuration counts once: what a replay answers twice is no second opinion.
    """
    spent, incumbent = 0, None
    complete: dict[int, NDArray[np.float64]] = {}  # what the users scored in the best epoch
    for step in until(replay.trials(sampler, pruner), N_RANDOM):
        spent += step.n_epochs
        if step.pruned or step.index in complete:
            continue
        complete[step.index] = replay.seen[step.index, int(replay.scores[step.index].argmax())]
        means = posterior_means(
            benchmark_space(), [replay.curves[index].values for index in complete], np.stack(list(complete.values()))
        )
        best = list(complete)[int(means.argmax())]
        if best != incumbent:
            incumbent = best
            yield best, spent


@dataclass(frozen=True)
class Course:
    """How a search fares beside the random search of 40 trials: shares are of its epochs, scores true ones."""

    share: float  # until the search arrives; inf for never
    missing: dict[float, float]  # what its incumbent lacks to the best of the random search, by the share spent


def course(replay: Replay, found: Iterator[tuple[int, int]]) -> Course:
    """Return the course of a search from its incumbents and the epochs spent until each."""
    budget = N_RANDOM * EPOCHS
    target = max(replay.true_score(step.index) for step in until(replay.trials("random", "none"), N_RANDOM))
    share, missing = math.inf, dict.fromkeys(SHARES, math.nan)
    for index, spent in found:
        lacks = target - replay.true_score(index)
        missing |= {one: lacks for one in SHARES if spent <= one * budget}
        if lacks <= CLOSE and share == math.inf:
            share = spent / budget
    return Course(share, missing)


def share_of_epochs(replay: Replay, sampler: str, pruner: str) -> float:
    """Return the epochs until a search arrives, as a share of the random search's; inf for never."""
    return course(replay, incumbents(replay, sampler, pruner)).share


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


def measure(found: list[Replay], sampler: str, pruner: str, *, thaw: bool = False, incumbent: str = "score") -> Figures:
    """Return the shares of a sampler and a pruner by study seed, None for never, and what its incumbents lack."""
    if incumbent == "posterior":
        courses = [course(one, smoothed_incumbents(one, sampler, pruner)) for one in found]
    else:
        courses = [course(one, incumbents(one, sampler, pruner, thaw=thaw)) for one in found]
    epochs = 0
    for one in found[:N_MEASURED]:
        epochs += sum(step.n_epochs for step in until(one.trials(sampler, pruner, thaw=thaw), N_RANDOM))
    return told(courses) | {"epochs_per_trial": epochs / (N_RANDOM * len(found[:N_MEASURED]))}


def told(courses: list[Course]) -> Figures:
    """Return what a row keeps of the courses of some study seeds."""
    shares = [one.share for one in courses]
    median = statistics.median(shares)
    return {
        "median_share": median if math.isfinite(median) else None,
        "n_arrived": sum(math.isfinite(share) for share in shares),
        "shares": [share if math.isfinite(share) else None for share in shares],
        "missing": {str(share): [one.missing[share] for one in courses] for share in SHARES},
    }


def report(rows: Rows) -> str:
    """Return a table of all rows, one line each."""
    lines: list[list[object]] = []
    for row in rows.values():
        asked, found = row.settings, row.figures
        share = math.inf if found["median_share"] is None else float(found["median_share"])
        arrived = f"{found['n_arrived']} of {asked['seeds']}"
        missing = ["–"] * len(SHARES)  # of rows from before it was kept
        if "missing" in found:
            missing = [f"{statistics.mean(found['missing'][str(one)]):.4f}" for one in SHARES]
        pruner = asked["pruner"] + (", thaw" if asked.get("thaw") else "")
        pruner += ", posterior" if asked.get("incumbent") == "posterior" else ""
        lines.append([asked["log"], asked["sampler"], pruner, share, arrived, *missing, found["epochs_per_trial"]])
    columns = ["log, users seen", "sampler", "pruner", "median share of epochs", "seeds that arrive"]
    columns += [f"missing after {one:g}" for one in SHARES] + ["epochs a trial"]
    explained = (
        f"Epochs until a search's incumbent is truly within {CLOSE} of the best of {N_RANDOM} random trials, as a "
        f"share of their epochs; then what the incumbent lacks to that best, in the mean, when so many of these epochs "
        f"are spent. `epochs:K` stops after {N_RANDOM} trials and the {KEEP} that it finishes, `posterior` and the "
        f"unpruned ones that are told their noise after {N_RANDOM}, the others after {MOST_TRIALS}. `thaw`: with the "
        f"pruned trials that the product takes up again. `posterior`: the incumbent is the complete trial with the "
        f"best posterior mean, not the best score. `gp` is Optuna's process; those of known_noise.py are told the "
        f"error that ranks trials (`gp-paired`), the whole standard error (`gp-whole`) or none (`gp-fitted`)."
    )
    return f"{explained}\n\n{table(columns, lines)}"


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

    def run(log: str, **asked: Any) -> Figures:
        return measure(replayed(log), **asked)

    results = Results("races", options)
    results.run(
        {
            f"{log}-{name}": Cell({"log": log, "seeds": options.seeds, **asked}, partial(run, log, **asked))
            for log, (name, asked) in itertools.product(N_SEEN, SEARCHES.items())
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
