"""What a verdict gains where each run asks the held-back users at another moment: ml-100k, leave-one-out.

Run: .venv/bin/python scripts/benchmarks/moments.py [--rows 'same-*,others-*'] [--data data]

A row is run r of a confirmation: the defaults of `hrnn` and search_spaces/best/ml-100k.yaml are trained on its seed and
judged on the 189 users that a study holds back. `same-r` asks every run about the newest validation event of each,
`others-r` about the one r events before, as the product does. Two to three minutes a row on a quiet core.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import ROOT, Cell, Figures, Results, Rows, script_parser
from tables import table

from hrnn_hpo.config import Configuration, Hyperparameters, load_configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import make_split, n_to_hold_back
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.search.space import load_space
from hrnn_hpo.study.confirm.figures import as_text, from_text, user_figures
from hrnn_hpo.study.confirm.intervals import crossed_intervals
from hrnn_hpo.study.resolution import Design, detectable_gain, spread_of
from hrnn_hpo.study.seeds import CONFIRMATION_STREAM, trial_seed

N_RUNS = 5
METRIC = "ndcg_at_10"
MOMENTS = ("same", "others")


def contenders(n_held_back: int) -> dict[str, Configuration]:
    """Return the two configurations of a run."""
    space = load_space("hrnn")
    facts: dict[str, Any] = {"protocol": "leave-one-out", "n_threads": 1, "n_held_back": n_held_back}
    best = load_configuration(ROOT / "search_spaces" / "best" / "ml-100k.yaml").hyperparameters
    found: dict[str, Hyperparameters] = {"defaults": space.resolve(space.defaults()), "best": best}
    return {name: Configuration(hyperparameters=one, **facts) for name, one in found.items()}


def measure(dataset: Dataset, n_held_back: int, run: int, n_steps_back: int) -> Figures:
    """Return what the users of a run score under both configurations."""
    found: Figures = {}
    for name, configuration in contenders(n_held_back).items():
        seeded = configuration.model_copy(update={"seed": trial_seed(0, run, CONFIRMATION_STREAM)})
        experiment = prepare_experiment(dataset, seeded, n_steps_back=n_steps_back)
        users, figures = user_figures(experiment, run_experiment(experiment, device="cpu"), METRIC)
        found |= {"users": as_text(users), name: as_text(figures), f"mean_{name}": float(figures.mean())}
    return found


def report(rows: Rows) -> str:
    """Return a line for each way to ask whose runs are all finished."""
    lines: list[list[object]] = []
    for moments in MOMENTS:
        own = [rows[f"{moments}-{run}"].figures for run in range(N_RUNS) if f"{moments}-{run}" in rows]
        if len(own) < N_RUNS:
            continue
        users = np.concatenate([from_text(one["users"], np.int64) for one in own])
        differences = np.concatenate([_figures(one, "best") - _figures(one, "defaults") for one in own])[None]
        runs = np.repeat(np.arange(N_RUNS), len(users) // N_RUNS)
        [interval] = crossed_intervals(differences, users, runs, level=0.95)
        spread = spread_of(differences, users, runs)
        assert interval is not None
        assert spread is not None
        n_users = len(np.unique(users))
        seen = detectable_gain(Design(n_users, n_users), spread, N_RUNS)
        low, high = interval
        deviations = [f"{one:.3f}" for one in (spread.user, spread.run, spread.rest)]
        lines.append([moments, f"{differences.mean():+.4f} [{low:+.4f}, {high:+.4f}]", *deviations, f"{seen:.4f}"])
    columns = ["events asked about", "gain (95 %)", "user", "run", "rest", "smallest gain seen"]
    note = (
        f"{METRIC} of the best/ configuration minus the defaults', {N_RUNS} runs of the same held-back users; the "
        "deviations of a paired difference, and the gain that such a confirmation sees with 80 % power."
    )
    return f"{table(columns, lines)}\n\n{note}" if lines else "no way to ask has all its runs"


def _figures(one: Figures, name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = from_text(one[name], np.float64)
    return found


def main() -> None:
    parser = script_parser(__doc__, "moments")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the public logs lie")
    options = parser.parse_args()
    results = Results("moments", options)
    dataset = load_dataset(options.data / "ml-100k")
    n_held_back = n_to_hold_back(make_split(dataset, "leave-one-out", 0))
    settings = {"data_hash": dataset.content_hash, "n_held_back": n_held_back}
    cells = {
        f"{moments}-{run}": Cell(
            settings | {"moments": moments, "run": run},
            partial(measure, dataset, n_held_back, run, run if moments == "others" else 0),
        )
        for run in range(N_RUNS)
        for moments in MOMENTS
    }
    results.run(cells)
    results.show(report)


if __name__ == "__main__":
    main()
