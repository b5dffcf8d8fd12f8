"""What a second worker brings: trials an hour of 1 x 1, 2 x 1 and 1 x 2 (workers x threads) on two quiet cores.

Run: .venv/bin/python scripts/benchmarks/workers.py [--data DIR] [--trials 24] [--epochs 8] [--write]

The same configurations each time (random search, one seed, no pruning), so the trials cost the same. Counted from the
first trial's start to the last one's end, as the storage has them: the start of the processes is left out. Targets:
2 x 1 at least 1.7 times 1 x 1, and more than 1 x 2.
"""

import subprocess
import sys
from pathlib import Path

from machine import own_stores, publish, script_parser, table
from optuna.trial import TrialState

from hrnn_hpo.study.storage.database import load_study, open_storage

SPACE = """extends: hrnn
tune:
  learning_rate: {{range: [0.001, 0.02]}}
  output_dropout: {{range: [0.0, 0.5]}}
fix:
  {{hidden_dimension: 64, bptt: 32, architecture: control, n_blocks: 1, recency_mask: false, session_gap: 1800,
   input_dropout: 0.2, hidden_dropout: 0.2, weight_decay: 0.01, weight_averaging: 0.0, epochs: {epochs},
   patience: {epochs}}}
"""
PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")
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


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    data = options.data.absolute()
    with own_stores():
        Path("space.yaml").write_text(SPACE.format(epochs=options.epochs), encoding="utf-8")
        speed = {
            (workers, threads): trials_per_hour(data, workers, threads, options.trials)
            for workers, threads in ((1, 1), (2, 1), (1, 2))
        }
    gain = speed[2, 1] / speed[1, 1]
    rows: list[list[object]] = [
        [workers, threads, f"{found:.0f}", f"{found / speed[1, 1]:.2f}"] for (workers, threads), found in speed.items()
    ]
    body = table(["workers", "threads each", "trials an hour", "against one worker of one thread"], rows)
    reached = gain >= SPEED_UP and speed[2, 1] > speed[1, 2]
    body += (
        f"\n\nTarget (2 x 1 at least {SPEED_UP} times 1 x 1, and above 1 x 2): {'reached' if reached else 'missed'}."
    )
    command = f"scripts/benchmarks/workers.py --trials {options.trials} --epochs {options.epochs}"
    publish("Workers and threads on two cores", command, body, write=options.write)


if __name__ == "__main__":
    main()
