"""What validation after each epoch costs beside the epoch itself, on ml-100k and ml-1m, one thread.

Run: .venv/bin/python scripts/benchmarks/speed/validation.py [--epochs 3] [--data ml-100k,ml-1m]

The shipped configurations of both data sets train a few epochs under `personalize` (goal: at most 10 % of the epoch)
and `leave-one-out` (goal: at most 20 %: every user is validated). The share is the median over epochs. Takes about
ten minutes on a quiet core with three epochs, nearly all of it ml-1m; `--epochs 1` a third of that.
"""

import statistics
from functools import partial
from pathlib import Path

import torch

from hrnn_hpo.config import load_configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

GOALS = {"personalize": 0.1, "leave-one-out": 0.2}
NAMES = ("ml-100k", "ml-1m")
CONFIGURATIONS = Path("search_spaces/best")


def measure(data: Path, protocol: str, n_epochs: int) -> Figures:
    """Return the median seconds of an epoch and of its validation, and the median share of the second in the first."""
    torch.set_num_threads(1)
    configuration = load_configuration(CONFIGURATIONS / f"{data.name}.yaml").model_copy(
        update={"protocol": protocol, "n_threads": 1, "data_hash": None}
    )
    experiment = prepare_experiment(load_dataset(data), configuration)
    history = run_experiment(experiment, device="cpu", fixed_epochs=n_epochs).history
    assert experiment.split.validation is not None
    return {
        "n_users": len(experiment.split.validation),
        "epoch_seconds": statistics.median(report.seconds for report in history),
        "validation_seconds": statistics.median(report.validation_seconds for report in history),
        "share": statistics.median(report.validation_seconds / report.seconds for report in history),
    }


def report(rows: Rows) -> str:
    lines = []
    for row in rows.values():
        told, goal = row.figures, GOALS[row.settings["protocol"]]
        known = [told.get(name, "") for name in ("n_users", "epoch_seconds", "validation_seconds")]
        reached = f"at most {goal:.0%}: {verdict(told['share'] <= goal)}"
        lines.append([row.settings["data"], row.settings["protocol"], *known, f"{told['share']:.1%}", reached])
    return table(["data", "protocol", "validated users", "epoch, s", "validation, s", "share", "goal"], lines)


def main() -> None:
    parser = script_parser(__doc__, "validation")
    parser.add_argument("--folder", type=Path, default=Path("data"), help="where the data sets lie")
    parser.add_argument("--data", default=",".join(NAMES), help="data sets, separated by commas")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    names = options.data.split(",")
    if unknown := set(names) - set(NAMES):
        parser.error(f"--data: {', '.join(sorted(unknown))}: must be among {', '.join(NAMES)}.")
    results = Results("validation", options)
    results.run(
        {
            f"{name}-{protocol}": Cell(
                {"data": name, "protocol": protocol, "epochs": options.epochs},
                partial(measure, options.folder / name, protocol, options.epochs),
            )
            for name in names
            for protocol in GOALS
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
