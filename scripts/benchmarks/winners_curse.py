"""How much a confirmation is worth: regret of the confirmed winner against that of the raw best trial, in simulation.

Run: .venv/bin/python scripts/benchmarks/winners_curse.py [--repeats 4000]

A configuration's true quality is drawn from N(0, 1), and each training of it shows that quality plus N(0, noise). With
a budget of so many trainings, the raw search spends all of them on configurations and takes the best score; the
confirmed one keeps (K + 1) x 5 of them for confirmation runs of its K best and of the defaults (the first
configuration), and takes what the product's own function ranks first. Regret is how far the pick's true quality lies
below the best of all configurations that the raw search tried, so a smaller search counts against the confirmation.
"""

from functools import partial

import numpy as np
from rows import Cell, Figures, Results, Rows, script_parser
from tables import table

from hrnn_hpo.study.confirm.verdict import default_n_confirmed, rank_by_confirmed_mean

N_SEEDS = 5
NOISES = (0.25, 0.5, 1.0, 2.0)
SEARCHES = (20, 30, 40, 60, 100)  # trials of the search that is confirmed
TARGET = 0.75  # at noise 1, for the default K of a full study


def measure(noise: float, n_search: int, n_repeats: int) -> Figures:
    k = default_n_confirmed(n_search, N_SEEDS)
    raw, confirmed, optimism = simulate(noise, n_search, k, n_repeats)
    ratio, error = ratio_of_means(confirmed, raw)
    return {
        "budget": n_search + (k + 1) * N_SEEDS,
        "k": k,
        "regret_raw": float(raw.mean()),
        "regret_confirmed": float(confirmed.mean()),
        "ratio": {"mean": ratio, "error": error},
        "optimism": optimism,
    }


def report(rows: Rows) -> str:
    lines = []
    for row in rows.values():
        told = row.figures
        regrets = f"{told['regret_raw']:.3f}", f"{told['regret_confirmed']:.3f}"
        ratio = f"{told['ratio']['mean']:.2f} ± {told['ratio']['error']:.2f}"
        asked = f"{row.settings['noise']:g}", told["budget"], row.settings["searched"], told["k"]
        lines.append([*asked, *regrets, ratio, f"{told['optimism']:.2f}"])
    columns = ["noise sd / quality sd", "budget", "searched", "K", "regret of raw best", "of confirmed winner", "ratio"]
    repeats = ", ".join(str(n) for n in dict.fromkeys(row.settings["repeats"] for row in rows.values()))
    return (
        f"{table([*columns, 'optimism of the search'], lines)}\n\n"
        f"{repeats} simulated studies a line; K is what `tune --confirm` takes for the searched trials, "
        f"each of K configurations and the defaults runs {N_SEEDS} times, and the raw search spends those runs on more "
        f"trials. Target: a ratio of at most {TARGET} where noise and quality have the same deviation."
    )


def main() -> None:
    parser = script_parser(__doc__, "winners_curse")
    parser.add_argument("--repeats", type=int, default=4000, help="simulated studies for each line")
    options = parser.parse_args()
    results = Results("winners_curse", options)
    results.run(
        {
            f"{noise:g}-{n_search}": Cell(
                {"noise": noise, "searched": n_search, "repeats": options.repeats},
                partial(measure, noise, n_search, options.repeats),
            )
            for noise in NOISES
            for n_search in SEARCHES
        }
    )
    results.show(report)


def simulate(noise: float, n_search: int, k: int, n_repeats: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the regrets of raw best and confirmed winner, (n_repeats,) each, and the search's mean optimism."""
    generator = np.random.default_rng([n_search, round(100 * noise)])
    budget = n_search + (k + 1) * N_SEEDS
    raw, confirmed, optimism = np.empty(n_repeats), np.empty(n_repeats), np.empty(n_repeats)
    for i in range(n_repeats):
        quality = generator.normal(size=budget)
        score = quality + noise * generator.normal(size=budget)
        best = quality.max()
        raw[i] = best - quality[score.argmax()]
        # Trial 0 is the defaults, and always runs again.
        challengers = [int(trial) for trial in np.argsort(-score[1:n_search])[:k] + 1]
        runs = {t: quality[t] + noise * generator.normal(size=N_SEEDS) for t in [0, *challengers]}
        means = {trial: float(scores.mean()) for trial, scores in runs.items()}
        confirmed[i] = best - quality[rank_by_confirmed_mean(means)[0]]
        raw_best = max(means, key=lambda trial: score[trial])
        optimism[i] = score[raw_best] - means[raw_best]
    return raw, confirmed, float(optimism.mean())


def ratio_of_means(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return mean(a) / mean(b) and its standard error (delta method)."""
    ratio = float(a.mean() / b.mean())
    return ratio, float(np.std(a - ratio * b, ddof=1) / np.sqrt(len(a)) / b.mean())


if __name__ == "__main__":
    main()
