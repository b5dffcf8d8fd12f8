"""How near the plan before a study comes to what the study then takes, on quiet cores.

Run: .venv/bin/python scripts/benchmarks/search/plan.py [--data DIR] [--space NAME] [--trials 12]

Each study plans, runs, and is compared from its first trial's start to its last one's end, as the storage has them.
Target: within 25 %. About three minutes a study on two quiet cores; a machine that others use too breaks any plan.
"""

import argparse
from functools import partial
from pathlib import Path

from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.forecast.forecast import FORECAST_KEY
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune
from scripts.benchmarks.kit.machine import own_stores
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table

STUDIES = ((1, "none"), (2, "median"), (2, "hyperband"))  # workers of one thread each, pruner
TARGET = 0.25


def measure(data: Path, workers: int, pruner: str, options: argparse.Namespace) -> Figures:
    """Return what was planned for a study and what it took."""
    with own_stores():
        tune(
            data,
            study="plan",
            space=options.space,
            n_trials=options.trials,
            n_workers=workers,
            n_threads=1,
            pruner=pruner,
            seed=options.seed,
            confirm=0,
        )
        study = load_study("plan", open_storage())
    trials = last_attempts(study)
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    planned, seconds = study.user_attrs[FORECAST_KEY], (ended - begun).total_seconds()
    return {
        "planned_epochs_per_trial": planned["epochs_per_trial"],
        "epochs_per_trial": sum(len(epochs_of(trial)) for trial in trials) / len(trials),
        "planned_seconds": planned["seconds"],
        "seconds": seconds,
        "off_by": planned["seconds"] / seconds - 1,
    }


def report(rows: Rows) -> str:
    lines = []
    misses = []
    for row in rows.values():
        told = row.figures
        misses.append(told["off_by"])
        epochs = f"{told['planned_epochs_per_trial']:.1f}", f"{told['epochs_per_trial']:.1f}"
        seconds = f"{told['planned_seconds']:.0f}", f"{told['seconds']:.0f}"
        lines.append([row.settings["workers"], row.settings["pruner"], *epochs, *seconds, f"{misses[-1]:+.0%}"])
    columns = ["workers", "pruner", "epochs a trial, planned", "ran", "seconds, planned", "took", "off by"]
    met = sum(abs(miss) <= TARGET for miss in misses)
    return f"{table(columns, lines)}\n\nTarget (within {TARGET:.0%}): met by {met} of {len(misses)}."


def main() -> None:
    parser = script_parser(__doc__, "plan")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--space", default="quickstart")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results = Results("plan", options)
    settings = {"space": options.space, "trials": options.trials, "seed": options.seed}
    results.run(
        {
            f"{workers}-{pruner}": Cell(
                settings | {"workers": workers, "pruner": pruner},
                partial(measure, options.data.absolute(), workers, pruner, options),
            )
            for workers, pruner in STUDIES
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
