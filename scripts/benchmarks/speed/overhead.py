"""What a study costs beside its training: Optuna's TPE, MLflow and checkpoints, in percent of trials of 20 seconds.

Run: .venv/bin/python scripts/benchmarks/speed/overhead.py [--data DIR] [--trials 24] [--seconds 20]

One epoch is measured first, then a study runs whose trials take so many epochs. The cost is the time from the first
trial's start to the last one's end that no epoch accounts for (training and validation are in an epoch). It includes
what a training alone needs as well, such as making the model and writing it, so it is an upper bound. Target: 3 %.
"""

from functools import partial
from pathlib import Path

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune
from scripts.benchmarks.kit.machine import own_stores
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

FIXED = {"hidden_dimension": 64, "bptt": 32, "architecture": "control", "n_blocks": 1, "recency_mask": False}
SPACE = """extends: hrnn
tune:
  learning_rate: {{range: [0.001, 0.02]}}
fix: {{hidden_dimension: 64, bptt: 32, architecture: control, n_blocks: 1, recency_mask: false, epochs: {epochs},
  item_start: random, patience: {epochs}}}
"""
TARGET = 0.03


def epoch_seconds(data: Path) -> float:
    """Return the seconds of the second epoch of the study's model, validation included."""
    configuration = Configuration(hyperparameters=parse_hyperparameters(FIXED, "benchmark"), n_threads=1)
    experiment = prepare_experiment(load_dataset(data), configuration)
    last = run_experiment(experiment, device="cpu", fixed_epochs=2).history[-1]
    return last.seconds + last.validation_seconds


def measure(data: Path, n_trials: int, seconds: float) -> Figures:
    """Return what a study of trials of so many seconds spent, and how much of it in epochs."""
    with own_stores():
        n_epochs = max(1, round(seconds / epoch_seconds(data)))
        Path("space.yaml").write_text(SPACE.format(epochs=n_epochs), encoding="utf-8")
        tune(data, study="overhead", space=Path("space.yaml"), n_trials=n_trials, n_threads=1, pruner="none", confirm=0)
        trials = last_attempts(load_study("overhead", open_storage()))
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    whole = (ended - begun).total_seconds()
    trained = sum(
        figures["seconds"] + figures["validation_seconds"] for trial in trials for figures in epochs_of(trial).values()
    )
    return {
        "n_trials": len(trials),
        "n_epochs": n_epochs,
        "seconds_per_trial": whole / len(trials),
        "seconds_in_epochs": trained / len(trials),
        "seconds_beside": (whole - trained) / len(trials),
        "share": (whole - trained) / whole,
    }


def report(rows: Rows) -> str:
    lines = []
    for row in rows.values():
        told = row.figures
        seconds = (
            f"{told['seconds_per_trial']:.1f}",
            f"{told['seconds_in_epochs']:.1f}",
            f"{told['seconds_beside']:.2f}",
        )
        lines.append([told["n_trials"], told["n_epochs"], *seconds, f"{told['share']:.1%}"])
    reached = all(row.figures["share"] <= TARGET for row in rows.values())
    columns = ["trials", "epochs a trial", "seconds a trial", "in epochs", "beside them", "share"]
    return f"{table(columns, lines)}\n\nTarget (at most {TARGET:.0%}): {verdict(reached)}."


def main() -> None:
    parser = script_parser(__doc__, "overhead")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a trial")
    options = parser.parse_args()
    results = Results("overhead", options)
    settings = {"data": options.data.name, "trials": options.trials, "seconds": options.seconds}
    work = partial(measure, options.data.absolute(), options.trials, options.seconds)
    results.run({f"{options.trials}-trials-{options.seconds:g}-s": Cell(settings, work)})
    results.show(report)


if __name__ == "__main__":
    main()
