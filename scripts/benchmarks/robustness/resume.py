"""A study that is stopped and goes on: 30 trials at once against 7 + 11 + 12 in three commands, table against table.

Run: .venv/bin/python scripts/benchmarks/robustness/resume.py [--data DIR] [--parts 7,11,12] [--sampler tpe]

Each part is a process of its own, one worker, one thread. Equal means every hyperparameter, training seed, state, epoch
and validation score to the last digit.
"""

import argparse
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from hrnn_hpo.study.attributes import CONFIGURATION, epochs_of
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from scripts.benchmarks.kit.machine import own_stores
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table

SPACE = """extends: hrnn
tune:
  hidden_dimension: {range: [16, 32]}
  learning_rate: {range: [0.001, 0.02]}
  output_dropout: {range: [0.0, 0.5]}
fix: {epochs: 6, patience: 6, batch_size: 64, feed_forward: 0, item_start: random,
  max_user_history_length_percentile: 0.5}
"""
PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")


def run(data: Path, study: str, n_trials: int, options: argparse.Namespace) -> None:
    """Bring a study to so many trials."""
    command = [PROGRAM, "tune", str(data), "--study", study, "--space", "space.yaml", "--device", "cpu"]
    command += ["--threads", "1", "--sampler", options.sampler, "--pruner", options.pruner, "--seed", "1"]
    subprocess.run([*command, "--n-trials", str(n_trials)], check=True, stdout=subprocess.DEVNULL)


def rows_of(study: str) -> list[tuple[Any, ...]]:
    """Return what is compared, a row per trial."""
    return [
        (
            trial.params,
            trial.user_attrs[CONFIGURATION]["seed"],
            trial.state.name,
            trial.value,
            [figures["metrics"] for figures in epochs_of(trial).values()],
        )
        for trial in last_attempts(load_study(study, open_storage()))
    ]


def measure(data: Path, parts: list[int], options: argparse.Namespace) -> Figures:
    """Return the figures of a study at once beside one in parts; a difference between them ends the script."""
    seconds = {}
    with own_stores():
        Path("space.yaml").write_text(SPACE, encoding="utf-8")
        for study, steps in (("whole", [sum(parts)]), ("parts", parts)):
            began = time.monotonic()
            for done in range(1, len(steps) + 1):
                run(data, study, sum(steps[:done]), options)
            seconds[study] = time.monotonic() - began
        whole, resumed = rows_of("whole"), rows_of("parts")
    assert len(whole) == sum(parts)
    different = [number for number, rows in enumerate(zip(whole, resumed, strict=True)) if rows[0] != rows[1]]
    assert not different, f"these trials differ: {different}"
    states = [row[2] for row in whole]
    return {
        "complete": states.count("COMPLETE"),
        "pruned": states.count("PRUNED"),
        "different": len(different),
        "seconds_at_once": seconds["whole"],
        "seconds_in_parts": seconds["parts"],
    }


def report(rows: Rows) -> str:
    columns = ["sampler", "pruner", "parts", "complete", "pruned", "rows that differ", "at once", "in parts"]
    lines = []
    for row in rows.values():
        asked, told = row.settings, row.figures
        counts = told["complete"], told["pruned"], told["different"]
        seconds = f"{told['seconds_at_once']:.0f} s", f"{told['seconds_in_parts']:.0f} s"
        lines.append([asked["sampler"], asked["pruner"], " + ".join(map(str, asked["parts"])), *counts, *seconds])
    return table(columns, lines)


def main() -> None:
    parser = script_parser(__doc__, "resume")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--parts", default="7,11,12", help="trials of each command")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--pruner", default="median")
    options = parser.parse_args()
    parts = [int(part) for part in options.parts.split(",")]
    results = Results("resume", options)
    settings = {"sampler": options.sampler, "pruner": options.pruner, "parts": parts}
    work = partial(measure, options.data.absolute(), parts, options)
    results.run({f"{options.sampler}-{options.pruner}-{options.parts.replace(',', '-')}": Cell(settings, work)})
    results.show(report)


if __name__ == "__main__":
    main()
