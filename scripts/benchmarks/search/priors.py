"""What a prior brings to a search, and what a wrong one costs it: recorded configurations, replayed trial by trial.

Run: .venv/bin/python scripts/benchmarks/search/priors.py [--data data] [--rows 'ml-100k-*'] [--seeds N]

The configurations and their users are those of races.py: a study sees some users, the truth about a configuration is
what others score, and a search has arrived when its incumbent's truth is within .002 of the best among 40 random
trials' of the same seed. Nothing is pruned, so what counts is trials. The priors: around the truly best recorded
configuration; a width beside it in every number, as a good guess is; and around the truly worst one. Target: half the
trials with a good prior, at most ten more with a bad one.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hrnn_hpo.search.parameter import DEFAULT_WIDTH
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.search.values import Value
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table
from scripts.benchmarks.search.curves import LOGS, WORK, Curve, Users, benchmark_space, record, recorded_users
from scripts.benchmarks.search.pruning import MOST_TRIALS, N_RANDOM
from scripts.benchmarks.search.races import CLOSE, N_SEEN, Replay, replays

PRIORS = ("none", "best", "beside", "worst")
HALF, MOST_LOST = 0.5, 10.0  # of the trials without a prior; more than them


def with_prior(center: dict[str, Value] | None, *, apart: float = 0.0) -> SearchSpace:
    """Return the replayed space with a prior around some values, or without one.

    `apart` moves the center by so many shares of the range, on its scale, away from the nearer end.
    """
    space = benchmark_space()
    if center is None:
        return space
    told: dict[str, Any] = {}
    for name, parameter in space.searched.items():
        low, high, value = parameter.low, parameter.high, float(center[name])
        scale, back = (np.log, np.exp) if parameter.log else (float, float)
        place = (scale(value) - scale(low)) / (scale(high) - scale(low))
        place += apart if place < 0.5 else -apart
        moved = float(back(scale(low) + place * (scale(high) - scale(low))))
        told[name] = {"prior": {"center": min(max(moved, low), high), "width": DEFAULT_WIDTH}}
    return space.narrow(told, {}, "priors.py")


def centers(curves: Sequence[Curve], draws: list[Users]) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return the values of the best and of the worst recorded configuration, by what all users score."""
    scores = np.mean([users.mean(axis=2).max(axis=1) for users in draws], axis=0)
    return curves[int(scores.argmax())].values, curves[int(scores.argmin())].values


def trials_until(replay: Replay, space: SearchSpace) -> float:
    """Return how many trials a TPE search in a space takes until it has arrived; inf for never."""
    random = itertools.islice(replay.trials("random", "none"), N_RANDOM)
    target = max(replay.true_score(step.index) for step in random) - CLOSE
    best = -math.inf
    for n, step in enumerate(itertools.islice(replay.trials("tpe", "none", space), MOST_TRIALS), start=1):
        if replay.scores[step.index].max() > best:
            best = float(replay.scores[step.index].max())
            if replay.true_score(step.index) >= target:
                return n
    return math.inf


def measure(found: list[Replay], space: SearchSpace) -> Figures:
    """Return the trials of a search by study seed, None for never."""
    trials = [trials_until(one, space) for one in found]
    median = statistics.median(trials)
    return {
        "median_trials": median if math.isfinite(median) else None,
        "n_arrived": sum(math.isfinite(n) for n in trials),
        "trials": [n if math.isfinite(n) else None for n in trials],
    }


def report(rows: Rows) -> str:
    """Return a table of all rows with what a prior changes, and whether the target is met."""
    lines: list[list[object]] = []
    met: list[str] = []
    for log in dict.fromkeys(row.settings["log"] for row in rows.values()):
        mine = {row.settings["prior"]: row for row in rows.values() if row.settings["log"] == log}
        without = _median(mine["none"].figures) if "none" in mine else math.nan
        for name, row in mine.items():
            trials = _median(row.figures)  # inf - inf is NaN, which is not finite either
            change = "–" if name == "none" or not math.isfinite(trials - without) else f"{trials - without:+g}"
            arrived = f"{row.figures['n_arrived']} of {row.settings['seeds']}"
            lines.append([log, row.settings["configurations"], name, f"{trials:g}", change, arrived])
        if set(PRIORS) <= set(mine) and math.isfinite(without):
            ratios = ", ".join(f"{_median(mine[name].figures) / without:.2f} {name}" for name in ("best", "beside"))
            lost = _median(mine["worst"].figures) - without
            good = _median(mine["beside"].figures) <= HALF * without
            met.append(
                f"{log}: {ratios} of the trials without a prior ({'met' if good else 'missed'}), {lost:+g} trials "
                f"with the worst ({'met' if lost <= MOST_LOST else 'missed'})"
            )
    told = (
        f"Trials until a TPE search's incumbent is truly within {CLOSE} of the best of {N_RANDOM} random trials; "
        f"medians over the study seeds, {MOST_TRIALS} trials at most. Priors lie around the best recorded "
        f"configuration, {DEFAULT_WIDTH} of every range beside it, and around the worst."
    )
    columns = ["log, users seen", "configurations", "prior", "median trials", "more than without", "seeds that arrive"]
    target = f"Target (beside: {HALF} of the trials, worst: at most {MOST_LOST:.0f} more). " + "; ".join(met) + "."
    return f"{told}\n\n{table(columns, lines)}\n\n{target}"


def _median(told: Figures) -> float:
    return math.inf if told["median_trials"] is None else float(told["median_trials"])


def main() -> None:
    parser = script_parser(__doc__, "priors")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the fetched logs")
    parser.add_argument("--curves", type=Path, default=WORK, help=f"folder of the recordings; default: {WORK}")
    parser.add_argument("--seeds", type=int, default=20, help="study seeds")
    parser.add_argument("--recorded", action="store_true", help="replay what is recorded, and record nothing")
    options = parser.parse_args()
    data, work = options.data.absolute(), options.curves.absolute()

    @cache
    def recorded(name: str) -> tuple[list[Curve], list[Users]]:
        curves = record(name, data, work, 0 if options.recorded else None)
        return curves, recorded_users(work, name, len(curves)) if curves else []

    def run(log: str, prior: str) -> Figures:
        curves, draws = recorded(_log(log))
        best, worst = centers(curves, draws)
        center = {"none": None, "best": best, "beside": best, "worst": worst}[prior]
        space = with_prior(center, apart=DEFAULT_WIDTH if prior == "beside" else 0.0)
        return measure(list(replays(curves, draws, N_SEEN[log], options.seeds)), space)

    results = Results("priors", options)
    results.run(
        {
            f"{log}-{prior}": Cell(
                {
                    "log": log,
                    "prior": prior,
                    "seeds": options.seeds,
                    "configurations": len(recorded(_log(log))[0]) if options.recorded else LOGS[_log(log)].n_curves,
                },
                partial(run, log, prior),
            )
            for log, prior in itertools.product(N_SEEN, PRIORS)
            if not options.recorded or recorded(_log(log))[0]
        }
    )
    results.show(report)


def _log(log: str) -> str:
    return next(name for name in LOGS if log.startswith(name))


if __name__ == "__main__":
    main()
