"""How near the plan before a study comes to what the study then takes, on quiet cores.

Run: .venv/bin/python scripts/benchmarks/plan.py [--data DIR] [--space NAME] [--trials 12] [--write]

Each study plans, runs, and is compared from its first trial's start to its last one's end, as the storage has them.
Target: within 25 %. About three minutes a study on two quiet cores; a machine that others use too breaks any plan.
"""

from pathlib import Path

from machine import own_stores, publish, script_parser, table

from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.forecast.forecast import FORECAST_KEY
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

STUDIES = ((1, "none"), (2, "median"), (2, "hyperband"))  # workers of one thread each, pruner
TARGET = 0.25


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--space", default="quickstart")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = options.data.absolute()
    rows: list[list[object]] = []
    misses = []
    with own_stores():
        for workers, pruner in STUDIES:
            name = f"{workers}-{pruner}"
            tune(
                data,
                study=name,
                space=options.space,
                n_trials=options.trials,
                n_workers=workers,
                n_threads=1,
                pruner=pruner,
                seed=options.seed,
                confirm=0,
            )
            study = load_study(name, open_storage())
            trials = last_attempts(study)
            begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
            ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
            planned, real = study.user_attrs[FORECAST_KEY], (ended - begun).total_seconds()
            epochs = sum(len(epochs_of(trial)) for trial in trials) / len(trials)
            misses.append(planned["seconds"] / real - 1)
            rows.append(
                [workers, pruner, f"{planned['epochs_per_trial']:.1f}", f"{epochs:.1f}", f"{planned['seconds']:.0f}",
                 f"{real:.0f}", f"{misses[-1]:+.0%}"]
            )  # fmt: skip
            print(rows[-1], flush=True)
    columns = ["workers", "pruner", "epochs a trial, planned", "ran", "seconds, planned", "took", "off by"]
    body = table(columns, rows)
    body += f"\n\nTarget (within {TARGET:.0%}): met by {sum(abs(miss) <= TARGET for miss in misses)} of {len(misses)}."
    command = f"scripts/benchmarks/plan.py --space {options.space} --trials {options.trials} --seed {options.seed}"
    publish("The plan against the study", command, body, write=options.write)


if __name__ == "__main__":
    main()
