"""What a study costs beside its training: Optuna's TPE, MLflow and checkpoints, in percent of trials of 20 seconds.

Run: .venv/bin/python scripts/benchmarks/overhead.py [--data DIR] [--trials 24] [--seconds 20] [--write]

One epoch is measured first, then a study runs whose trials take so many epochs. The cost is the time from the first
trial's start to the last one's end that no epoch accounts for (training and validation are in an epoch). It includes
what a training alone needs as well, such as making the model and writing it, so it is an upper bound. Target: 3 %.
"""

from pathlib import Path

from machine import own_stores, publish, script_parser, table

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

FIXED = {"hidden_dimension": 64, "bptt": 32, "architecture": "control", "n_blocks": 1, "recency_mask": False}
SPACE = """extends: hrnn
tune:
  learning_rate: {{range: [0.001, 0.02]}}
fix: {{hidden_dimension: 64, bptt: 32, architecture: control, n_blocks: 1, recency_mask: false, epochs: {epochs},
  patience: {epochs}}}
"""
TARGET = 0.03


def epoch_seconds(data: Path) -> float:
    """Return the seconds of the second epoch of the study's model, validation included."""
    configuration = Configuration(hyperparameters=parse_hyperparameters(FIXED, "benchmark"), n_threads=1)
    experiment = prepare_experiment(load_dataset(data), configuration)
    last = run_experiment(experiment, device="cpu", fixed_epochs=2).history[-1]
    return last.seconds + last.validation_seconds


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a trial")
    options = parser.parse_args()
    data = options.data.absolute()
    with own_stores():
        epochs = max(1, round(options.seconds / epoch_seconds(data)))
        Path("space.yaml").write_text(SPACE.format(epochs=epochs), encoding="utf-8")
        tune(
            data,
            study="overhead",
            space=Path("space.yaml"),
            n_trials=options.trials,
            n_threads=1,
            pruner="none",
            confirm=0,
        )
        trials = last_attempts(load_study("overhead", open_storage()))
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    whole = (ended - begun).total_seconds()
    trained = sum(
        figures["seconds"] + figures["validation_seconds"] for trial in trials for figures in epochs_of(trial).values()
    )
    cost = (whole - trained) / whole
    body = table(
        ["trials", "epochs a trial", "seconds a trial", "in epochs", "beside them", "share"],
        [[len(trials), epochs, f"{whole / len(trials):.1f}", f"{trained / len(trials):.1f}",
          f"{(whole - trained) / len(trials):.2f}", f"{cost:.1%}"]],
    )  # fmt: skip
    body += f"\n\nTarget (at most {TARGET:.0%}): {'reached' if cost <= TARGET else 'missed'}."
    command = f"scripts/benchmarks/overhead.py --trials {options.trials} --seconds {options.seconds:g}"
    publish("Cost of a study beside its training", command, body, write=options.write)


if __name__ == "__main__":
    main()
