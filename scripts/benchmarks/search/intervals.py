"""How often an interval of a confirmation misses: runs that differ by luck alone, as much as their users, or not.

Run: .venv/bin/python scripts/benchmarks/search/intervals.py [--studies 1000]

The true difference is 0. A user's part and the rest deviate by .15 each; 94 users a run, others in each run or the
same. `ours` is the product's interval (confirm/intervals.py), `bootstrap` the percentiles of means with users and runs
both drawn anew (Owen 2007), `users alone` takes runs as given. An interval of 95 % should lie above the truth in .025
of all studies. Luck is a run's deviation. Some ten minutes of one core in all.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hrnn_hpo.study.confirm.intervals import crossed_intervals
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table

LEVEL = 0.95
N_USERS, POOL = 94, 9  # users a run, and how many times as many there are to draw from
DEVIATION = 0.15  # of a user's part, and of the rest
LUCK = (0.0, 0.01, 0.02, 0.04, 0.1)
RUNS = (3, 5, 10)
N_RESAMPLES = 600
WAYS = ("ours", "bootstrap", "users alone")


def measure(again: bool, n_runs: int, luck: float, n_studies: int) -> Figures:
    """Return in how many studies each interval lies above the truth."""
    missed = dict.fromkeys(WAYS, 0)
    for study in range(n_studies):
        generator = np.random.default_rng([study, n_runs])
        users, runs, differences = simulate(generator, again, n_runs, luck)
        [ours] = crossed_intervals(differences[None], users, runs, level=LEVEL)
        assert ours is not None
        missed["ours"] += ours[0] > 0
        missed["bootstrap"] += bootstrap_low(generator, differences, users, runs) > 0
        missed["users alone"] += users_low(differences, users) > 0
    return {way: count / n_studies for way, count in missed.items()}


def simulate(
    generator: np.random.Generator, again: bool, n_runs: int, luck: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return users, runs and differences (N,) of one study; `again`: each run has the same users."""
    tastes = generator.normal(0, DEVIATION, N_USERS * POOL)
    drawn = [np.arange(N_USERS) if again else generator.permutation(len(tastes))[:N_USERS] for _ in range(n_runs)]
    users, runs = np.concatenate(drawn), np.repeat(np.arange(n_runs), N_USERS)
    rest = generator.normal(0, DEVIATION, len(users))
    return users, runs, tastes[users] + generator.normal(0, luck, n_runs)[runs] + rest


def bootstrap_low(
    generator: np.random.Generator, differences: NDArray[np.float64], users: NDArray[np.int64], runs: NDArray[np.int64]
) -> float:
    """Return the lower end of the percentile interval of means when users and runs are drawn anew."""
    _, rows = np.unique(users, return_inverse=True)
    n_users, n_runs = int(rows.max()) + 1, int(runs.max()) + 1
    sums, counts = np.zeros((2, n_users, n_runs))
    sums[rows, runs], counts[rows, runs] = differences, 1.0
    of_users = generator.multinomial(n_users, np.full(n_users, 1 / n_users), N_RESAMPLES).astype(np.float64)
    of_runs = generator.multinomial(n_runs, np.full(n_runs, 1 / n_runs), N_RESAMPLES)
    means = ((of_users @ sums) * of_runs).sum(axis=1) / ((of_users @ counts) * of_runs).sum(axis=1)
    return float(np.quantile(means, (1 - LEVEL) / 2))


def users_low(differences: NDArray[np.float64], users: NDArray[np.int64]) -> float:
    """Return the lower end of the normal interval whose clusters are the users."""
    mean = differences.mean()
    sums = np.bincount(users, weights=differences - mean)
    return float(mean - stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(sums @ sums) / len(differences))


def report(rows: Rows) -> str:
    lines = [
        [
            "the same" if row.settings["again"] else "others",
            row.settings["runs"],
            row.settings["luck"] or "none",
            *(f"{row.figures[way]:.3f}" for way in WAYS),
        ]
        for row in rows.values()
    ]
    worst = {way: max(row.figures[way] for row in rows.values()) for way in WAYS}
    least = {way: min(row.figures[way] for row in rows.values()) for way in WAYS}
    told = ", ".join(f"{way} {least[way]:.3f} to {worst[way]:.3f}" for way in WAYS)
    counts = " or ".join(f"{n:,}" for n in sorted({row.settings["studies"] for row in rows.values()}))
    return (
        f"{table(['users in each run', 'runs', 'luck of a run', *WAYS], lines)}\n\n"
        f"Share of {counts} simulated studies whose 95 % interval lies above the truth; .025 is right. In all: {told}."
    )


def main() -> None:
    parser = script_parser(__doc__, "intervals")
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies of each row")
    options = parser.parse_args()
    results = Results("intervals", options)
    cells = {
        f"{'same' if again else 'others'}-{n_runs}-{luck}": Cell(
            {"again": again, "runs": n_runs, "luck": luck, "studies": options.studies},
            partial(measure, again, n_runs, luck, options.studies),
        )
        for again in (False, True)
        for n_runs in RUNS
        for luck in LUCK
    }
    results.run(cells)
    results.show(report)


if __name__ == "__main__":
    main()
