"""How many validation users a study should hold back: the winner's quality and how often "yes" is said, simulated.

Run: .venv/bin/python scripts/benchmarks/search/held_back.py [--studies 1500]

A configuration's quality is drawn from N(0, .006), the defaults' is a step below the mean, and the figure of a user
for a configuration deviates by taste (.023), which comes back in every run on this user, and by the luck of the run
(.144). These are the deviations of configurations of ml-100k under leave-one-out (docs/benchmarks.md). The search
scores every trial by the users it has, the product's own rounds screen the best of them by the same users on other
seeds, and five runs of those that are left and of the defaults are judged by the held-back users alone. "Yes" is a z
test at 5 %, corrected for the challengers.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from hrnn_hpo.study.confirm.screening import CONFIRMED_OF_SCREENED, RunKey, default_n_screened, screen
from hrnn_hpo.study.confirm.verdict import default_n_confirmed
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table

QUALITY, TASTE, LUCK = 0.006, 0.023, 0.144  # deviations, in ndcg_at_10
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6)
USERS = (300, 943, 3_000)
SEARCHES = (12, 20, 40)
STEPS = (0.0, 0.01)  # of the defaults below the mean configuration
N_SEEDS = 5


@dataclass(frozen=True)
class Design:
    """A simulated study: its validation users, finished trials, and how far the defaults lie below the mean."""

    n_users: int
    n_trials: int
    step: float

    @property
    def n_screened(self) -> int:
        return default_n_screened(self.n_trials)

    @property
    def k(self) -> int:
        return CONFIRMED_OF_SCREENED if self.n_screened else max(default_n_confirmed(self.n_trials, N_SEEDS), 1)


def measure(design: Design, n_studies: int) -> Figures:
    """Return the mean quality of the winner and the share of "yes", for each share of the users held back."""
    found: Figures = {"quality": {}, "yes": {}}
    for share in SHARES:
        generator = np.random.default_rng([design.n_users, design.n_trials, round(1000 * design.step)])
        studies = [simulate(design, share, generator) for _ in range(n_studies)]
        quality, yes = (np.array(one, dtype=float) for one in zip(*studies, strict=True))
        found["quality"][str(share)] = {"mean": float(quality.mean()), "error": float(stats.sem(quality))}
        found["yes"][str(share)] = float(yes.mean())
    return found


def simulate(design: Design, share: float, generator: np.random.Generator) -> tuple[float, bool]:
    """Return the winner's quality in one study, and whether it is called better than the defaults."""
    n_judging = round(share * design.n_users)
    n_searching = design.n_users - n_judging
    quality = generator.normal(0.0, QUALITY, design.n_trials)
    quality[0] = -design.step
    seen = quality + generator.normal(0.0, TASTE / np.sqrt(n_searching), design.n_trials)

    def score(trial: int) -> float:
        return float(seen[trial] + generator.normal(0.0, LUCK / np.sqrt(n_searching)))

    searched = {trial: score(trial) for trial in range(1, design.n_trials)}
    candidates = sorted(searched, key=lambda trial: -searched[trial])[: max(design.n_screened, design.k)]
    results: dict[RunKey, float | None] = {}
    while (standing := screen(candidates, design.k, results, searched)).chosen is None:
        results |= {key: score(key[0]) for key in standing.runs}
    error = np.sqrt((TASTE**2 + LUCK**2 / N_SEEDS) / n_judging)  # of a configuration's confirmed mean
    confirmed = {trial: quality[trial] + generator.normal(0.0, error) for trial in [0, *standing.chosen]}
    winner = max(confirmed, key=lambda trial: confirmed[trial])
    lead = confirmed[winner] - confirmed[0]
    return float(quality[winner]), bool(lead > stats.norm.isf(0.025 / design.k) * np.sqrt(2.0) * error)


def report(rows: Rows) -> str:
    lines: list[list[object]] = []
    for row in rows.values():
        asked = [f"{row.settings['n_users']:,}", row.settings["n_trials"], f"{row.settings['step']:g}"]
        found = row.figures
        cells = [f"{found['yes'][share]:.2f}, {1000 * found['quality'][share]['mean']:.2f}" for share in found["yes"]]
        lines.append([*asked, *cells])
    columns = ["validation users", "trials", "defaults below the mean by", *(f"{share:.0%}" for share in SHARES)]
    errors = [one["error"] for row in rows.values() for one in row.figures["quality"].values()]
    studies = ", ".join(f"{n:,}" for n in dict.fromkeys(row.settings["studies"] for row in rows.values()))
    return (
        f'{table(columns, lines)}\n\nBy the share held back: how often "yes" is said, and the winner\'s quality above '
        f"the mean configuration, in thousandths (± {1000 * max(errors):.2f} at most). {studies} studies a line."
    )


def main() -> None:
    parser = script_parser(__doc__, "held_back")
    parser.add_argument("--studies", type=int, default=1500, help="simulated studies for each line and share")
    options = parser.parse_args()
    results = Results("held_back", options)
    cells = {}
    for n_users in USERS:
        for n_trials in SEARCHES:
            for step in STEPS:
                settings = {"n_users": n_users, "n_trials": n_trials, "step": step, "studies": options.studies}
                design = Design(n_users, n_trials, step)
                cells[f"{n_users}-{n_trials}-{step:g}"] = Cell(settings, partial(measure, design, options.studies))
    results.run(cells)
    results.show(report)


if __name__ == "__main__":
    main()
