"""What validation after each epoch costs beside the epoch itself, on ml-100k and ml-1m, one thread.

Run: .venv/bin/python scripts/benchmarks/validation.py [--epochs 3] [--data ml-100k,ml-1m] [--write]

The shipped configurations of both data sets train a few epochs under `personalize` (goal: at most 10 % of the epoch)
and `leave-one-out` (goal: at most 20 %: every user is validated). The share is the median over epochs. Takes about
ten minutes on a quiet core with three epochs, nearly all of it ml-1m; `--epochs 1` a third of that.
"""

import statistics
from pathlib import Path

import torch
from machine import publish, script_parser, table

from hrnn_hpo.config import load_configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment

GOALS = {"personalize": 0.1, "leave-one-out": 0.2}
NAMES = ("ml-100k", "ml-1m")
CONFIGURATIONS = Path("search_spaces/best")


def measure(data: Path, protocol: str, n_epochs: int) -> list[object]:
    """Return the row of one data set and protocol."""
    configuration = load_configuration(CONFIGURATIONS / f"{data.name}.yaml").model_copy(
        update={"protocol": protocol, "n_threads": 1, "data_hash": None}
    )
    experiment = prepare_experiment(load_dataset(data), configuration)
    history = run_experiment(experiment, device="cpu", fixed_epochs=n_epochs).history
    share = statistics.median(report.validation_seconds / report.seconds for report in history)
    assert experiment.split.validation is not None
    return [
        data.name,
        protocol,
        len(experiment.split.validation),
        statistics.median(report.seconds for report in history),
        statistics.median(report.validation_seconds for report in history),
        f"{share:.1%}",
        f"at most {GOALS[protocol]:.0%}: {'reached' if share <= GOALS[protocol] else 'missed'}",
    ]


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data"), help="where the data sets lie")
    parser.add_argument("--data", default=",".join(NAMES), help="data sets, separated by commas")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.data.split(",")
    if unknown := set(names) - set(NAMES):
        parser.error(f"--data: {', '.join(sorted(unknown))}: must be among {', '.join(NAMES)}.")
    rows = []
    for name in names:
        for protocol in GOALS:
            rows.append(measure(options.folder / name, protocol, options.epochs))
            print(*rows[-1], flush=True)
    columns = ["data", "protocol", "validated users", "epoch, s", "validation, s", "share", "goal"]
    body = table(columns, rows) + f"\n\nMedians over {options.epochs} epochs."
    command = f"scripts/benchmarks/validation.py --epochs {options.epochs} --data {options.data}"
    publish("What validation costs", command, body, write=options.write)


if __name__ == "__main__":
    main()
