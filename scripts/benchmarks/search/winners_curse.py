"""How much a confirmation is worth: regret of the confirmed winner against that of the raw best trial, in simulation.

Run: .venv/bin/python scripts/benchmarks/search/winners_curse.py [--repeats 4000]

A configuration's true quality is drawn from N(0, 1), and each training of it shows that quality plus N(0, noise). With
a budget of so many trainings, the raw search spends all of them on configurations and takes the best score; the
confirmed one keeps some to screen its best and (K + 1) x 5 for confirmation runs of the K that are left and of the
defaults (the first configuration). Who goes on in which round, and who wins, the product's own functions say. Regret is
how far the pick's true quality lies below the best of all configurations that the raw search tried, so a smaller search
counts against the confirmation.

Beside it stands an allocation that knows the deviations of quality and noise and hands out the same trainings one at a
time, each where the expected gain is largest (knowledge gradient; Frazier, Powell and Dayanik 2008): about as good as
any way to spend them.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hrnn_hpo.study.confirm.screening import CONFIRMED_OF_SCREENED, RunKey, default_n_screened, round_sizes, screen
from hrnn_hpo.study.confirm.verdict import default_n_confirmed, rank_by_confirmed_mean
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import table

N_SEEDS = 5
NOISES = (0.25, 0.5, 1.0, 2.0)
SEARCHES = (20, 30, 40, 60, 100)  # trials of the search that is confirmed
TARGET = 0.75  # at noise 1, for the default screening and K


def measure(noise: float, n_search: int, n_screened: int, k: int, n_repeats: int) -> Figures:
    n_runs = sum(round_sizes(n_screened, k)) + k * N_SEEDS  # beside the defaults'
    raw, confirmed, ahead, optimism = simulate(noise, n_search, n_screened, k, n_repeats)
    yes = ahead > stats.norm.isf(0.025 / k) * noise * np.sqrt(2 / N_SEEDS)
    bound = best_allocation(noise, n_search, n_runs, n_repeats) if n_screened else None
    ratio, error = ratio_of_means(confirmed, raw)
    return {
        "budget": n_search + n_runs + N_SEEDS,
        "screening_runs": n_runs - k * N_SEEDS,
        "regret_raw": float(raw.mean()),
        "regret_confirmed": float(confirmed.mean()),
        "ratio": {"mean": ratio, "error": error},
        "bound": bound,
        "yes": float(yes.mean()),
        "optimism": optimism,
    }


def report(rows: Rows) -> str:
    lines = []
    for row in rows.values():
        told = row.figures
        regrets = f"{told['regret_raw']:.3f}", f"{told['regret_confirmed']:.3f}"
        ratio = f"{told['ratio']['mean']:.2f} ± {told['ratio']['error']:.2f}"
        bound = "–" if told.get("bound") is None else f"{told['bound']:.2f}"
        screened = f"{row.settings['screened']} ({told['screening_runs']} runs)" if row.settings["screened"] else "none"
        asked = f"{row.settings['noise']:g}", told["budget"], row.settings["searched"], screened, row.settings["k"]
        lines.append([*asked, *regrets, ratio, bound, f"{told['yes']:.2f}", f"{told['optimism']:.2f}"])
    columns = ["noise sd / quality sd", "budget", "searched", "screened", "K"]
    columns += ["regret of raw best", "of confirmed winner", "ratio", "bound", "yes", "optimism of the search"]
    repeats = ", ".join(str(n) for n in dict.fromkeys(row.settings["repeats"] for row in rows.values()))
    return (
        f"{table(columns, lines)}\n\n"
        f"{repeats} simulated studies a line; K and who is screened are what `tune` takes for the searched trials, "
        f"with and without screening. Each of K configurations and the defaults runs {N_SEEDS} times to be confirmed; "
        "the raw search spends all these runs on more trials. Bound: the ratio of an allocation that knows both "
        f"deviations and hands out the same runs one at a time, after the search and the defaults' {N_SEEDS}. Target: "
        f"at most {TARGET} where noise and quality have the same deviation; {_verdict(list(rows.values()))}. "
        "Yes: how often a z test at 5 % calls the winner better than the defaults, corrected for K."
    )


def _verdict(rows: list[Row]) -> str:
    default = [row for row in rows if row.settings["noise"] == 1 and row.settings["screened"] and row.settings["k"] > 1]
    missed = [row for row in default if row.figures["ratio"]["mean"] > TARGET]
    told = [
        f"{row.figures['ratio']['mean']:.2f} after {row.settings['searched']} trials, where the bound is "
        f"{row.figures['bound']:.2f}"
        for row in missed
    ]
    return f"missed with {' and '.join(told)}" if told else "kept"


def main() -> None:
    parser = script_parser(__doc__, "winners_curse")
    parser.add_argument("--repeats", type=int, default=4000, help="simulated studies for each line")
    options = parser.parse_args()
    results = Results("winners_curse", options)
    results.run(
        {
            f"{noise:g}-{n_search}-{kind}": Cell(
                {"noise": noise, "searched": n_search, "screened": screened, "k": k, "repeats": options.repeats},
                partial(measure, noise, n_search, screened, k, options.repeats),
            )
            for noise in NOISES
            for n_search in SEARCHES
            for kind, screened, k in designs(noise, n_search)
        }
    )
    results.show(report)


def designs(noise: float, n_search: int) -> list[tuple[str, int, int]]:
    """Return what is simulated after a search: (name, how many are screened, how many confirmed)."""
    screened = default_n_screened(n_search)
    found = [("plain", 0, default_n_confirmed(n_search, N_SEEDS)), ("screened", screened, CONFIRMED_OF_SCREENED)]
    return [*found, ("one", screened, 1)] if noise == 1 else found


def simulate(
    noise: float, n_search: int, n_screened: int, k: int, n_repeats: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Return the regrets of raw best and winner, the winner's lead on the defaults, and the search's mean optimism.

    The first three are (n_repeats,) each. The optimism is that of the contender with the best search score.
    """
    generator = np.random.default_rng([n_search, n_screened, round(100 * noise)])
    budget = n_search + sum(round_sizes(n_screened, k)) + (k + 1) * N_SEEDS
    raw, confirmed, ahead, optimism = (np.empty(n_repeats) for _ in range(4))
    for i in range(n_repeats):
        quality = generator.normal(size=budget)
        score = quality + noise * generator.normal(size=budget)
        best = quality.max()
        raw[i] = best - quality[score.argmax()]
        # Trial 0 is the defaults, and always runs again.
        ranked = [int(trial) for trial in np.argsort(-score[1:n_search]) + 1][: max(n_screened, k)]
        scores = {trial: float(score[trial]) for trial in ranked}
        results: dict[RunKey, float | None] = {}
        found = screen(ranked, k, results, scores)
        while found.chosen is None:
            results |= {(t, run): quality[t] + noise * generator.normal() for t, run in found.runs}
            found = screen(ranked, k, results, scores)
        runs = {t: quality[t] + noise * generator.normal(size=N_SEEDS) for t in [0, *found.chosen]}
        means = {trial: float(shown.mean()) for trial, shown in runs.items()}
        winner = rank_by_confirmed_mean(means)[0]
        confirmed[i], ahead[i] = best - quality[winner], means[winner] - means[0]
        raw_best = max(means, key=lambda trial: score[trial])
        optimism[i] = score[raw_best] - means[raw_best]
    return raw, confirmed, ahead, float(optimism.mean())


def best_allocation(noise: float, n_search: int, n_runs: int, n_repeats: int) -> float:
    """Return the ratio of regrets where each of `n_runs` runs goes to the largest expected gain of the best mean."""
    generator = np.random.default_rng([n_search, n_runs, round(100 * noise)])
    quality = generator.normal(size=(n_repeats, n_search + n_runs + N_SEEDS))
    score = quality + noise * generator.normal(size=quality.shape)
    rows = np.arange(n_repeats)
    best = quality.max(axis=1)
    raw = best - quality[rows, score.argmax(axis=1)]
    quality = quality[:, :n_search]
    count, total = np.ones(quality.shape), score[:, :n_search].copy()
    count[:, 0] += N_SEEDS
    total[:, 0] += N_SEEDS * quality[:, 0] + np.sqrt(N_SEEDS) * noise * generator.normal(size=n_repeats)
    for _ in range(n_runs):
        mean, variance = total / (count + noise**2), noise**2 / (count + noise**2)  # after the prior N(0, 1)
        moves = np.sqrt(variance - noise**2 / (count + 1 + noise**2))  # deviation of the mean after one more run
        first = mean.max(axis=1, keepdims=True)
        second = np.partition(mean, -2, axis=1)[:, -2:-1]
        z = -np.abs(mean - np.where(mean >= first, second, first)) / moves
        chosen = (moves * (z * stats.norm.cdf(z) + stats.norm.pdf(z))).argmax(axis=1)
        total[rows, chosen] += quality[rows, chosen] + noise * generator.normal(size=n_repeats)
        count[rows, chosen] += 1
    found = quality[rows, (total / (count + noise**2)).argmax(axis=1)]
    return float((best - found).mean() / raw.mean())


def ratio_of_means(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean(a) / mean(b) and its standard error (delta method)."""
    ratio = float(a.mean() / b.mean())
    return ratio, float(np.std(a - ratio * b, ddof=1) / np.sqrt(len(a)) / b.mean())


if __name__ == "__main__":
    main()
