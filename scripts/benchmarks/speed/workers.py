"""What a second worker brings: trials an hour of 1 x 1, 2 x 1 and 1 x 2 (workers x threads) on two quiet cores.

Run: .venv/bin/python scripts/benchmarks/speed/workers.py [--data DIR] [--trials 24] [--epochs 8]

The same configurations each time (random search, one seed, no pruning), so the trials cost the same. Counted from the
first trial's start to the last one's end, as the storage has them: the start of the processes is left out. Targets:
2 x 1 at least 1.7 times 1 x 1, and more than 1 x 2.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path

from optuna.trial import TrialState

from hrnn_hpo.study.storage.database import load_study, open_storage
from scripts.benchmarks.kit.machine import own_stores
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

SPACE = """extends: hrnn
tune:
  learning_rate: {{range: [0.001, 0.02]}}
  output_dropout: {{range: [0.0, 0.5]}}
fix:
  {{hidden_dimension: 64, bptt: 32, architecture: control, n_blocks: 1, recency_mask: false, session_gap: 1800,
   item_start: random,
   input_dropout: 0.2, hidden_dropout: 0.2, weight_decay: 0.01, weight_averaging: 0.0, epochs: {epochs},
   patience: {epochs}}}
"""
PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")
TEAMS = ((1, 1), (2, 1), (1, 2))  # workers, threads each
SPEED_UP = 1.7  # of a second worker on a second core


def trials_per_hour(data: Path, workers: int, threads: int, n_trials: int) -> float:
    """Return the throughput of a study of its own."""
    study = f"{workers}x{threads}"
    command = [
        PROGRAM,
        "tune",
        str(data),
        "--study",
        study,
        "--space",
        "space.yaml",
        "--device",
        "cpu",
        "--confirm",
        "0",
    ]
    command += ["--sampler", "random", "--pruner", "none", "--workers", str(workers), "--threads", str(threads)]
    subprocess.run([*command, "--n-trials", str(n_trials)], check=True, stdout=subprocess.DEVNULL)
    trials = load_study(study, open_storage()).get_trials(states=(TrialState.COMPLETE,))
    assert len(trials) == n_trials
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    return 3600 * n_trials / (ended - begun).total_seconds()


def measure(data: Path, workers: int, threads: int, n_trials: int, n_epochs: int) -> Figures:
    with own_stores():
        Path("space.yaml").write_text(SPACE.format(epochs=n_epochs), encoding="utf-8")
        return {"trials_per_hour": trials_per_hour(data, workers, threads, n_trials)}


def report(rows: Rows) -> str:
    speed = {
        (row.settings["workers"], row.settings["threads"]): row.figures["trials_per_hour"] for row in rows.values()
    }
    one = speed.get((1, 1))
    lines = [
        [workers, threads, f"{found:.0f}", f"{found / one:.2f}" if one else ""]
        for (workers, threads), found in speed.items()
    ]
    text = table(["workers", "threads each", "trials an hour", "against one worker of one thread"], lines)
    if len(speed) == len(TEAMS):
        reached = speed[2, 1] >= SPEED_UP * speed[1, 1] and speed[2, 1] > speed[1, 2]
        text += f"\n\nTarget (2 x 1 at least {SPEED_UP} times 1 x 1, and above 1 x 2): {verdict(reached)}."
    return text


def main() -> None:
    parser = script_parser(__doc__, "workers")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    results = Results("workers", options)
    settings = {"trials": options.trials, "epochs": options.epochs}
    results.run(
        {
            f"{workers}x{threads}": Cell(
                settings | {"workers": workers, "threads": threads},
                partial(measure, options.data.absolute(), workers, threads, options.trials, options.epochs),
                threads=workers * threads,
            )
            for workers, threads in TEAMS
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
