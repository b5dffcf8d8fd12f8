"""Whether the quickstart shows tuning paying: its study on five seeds, with verdict, gain and time.

Run: .venv/bin/python scripts/benchmarks/search/quickstart.py --data data/ml-100k [--seeds 0,1,2,3,4]

A row per study seed, as `scripts/quickstart.sh` runs it: trial 0 has Amazon's published defaults. Seconds are of the
whole command, confirmation, refit and test users included. Target: four of five verdicts are "yes", each in six minutes
on two quiet cores.
"""

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from scripts.benchmarks.kit.machine import own_stores
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")
STUDY = ["--space", "quickstart", "--n-trials", "8", "--confirm", "1", "--workers", "2"]  # as in quickstart.sh
SECONDS, MOST_YES, N_SEEDS = 360, 4, 5


def measure(data: Path, seed: int) -> Figures:
    """Return what the study of a seed found."""
    with own_stores():
        began = time.perf_counter()
        command = [PROGRAM, "tune", str(data), "--study", "quickstart", *STUDY, "--seed", str(seed), "--json"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        seconds = time.perf_counter() - began
    confirmation, board = found["confirmation"], found["leaderboard"]
    winner = next(one for one in confirmation["contenders"] if one["trial"] == confirmation["winner"])
    return {
        "seconds": round(seconds, 1),
        "verdict": confirmation["verdict"],
        "winner": winner["trial"],
        **{name: winner.get(name) for name in ("mean", "difference", "low", "high", "p_holm")},
        "optimism": confirmation["optimism"],
        "test": {name: row["ndcg_at_10"] for name, row in board["metrics"].items()},
        "test_gain": board["gain"],
    }


def report(rows: Rows) -> str:
    lines = []
    for row in rows.values():
        found = row.figures
        bounds = [found[name] for name in ("difference", "low", "high")]
        gain = "" if None in bounds else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*bounds)
        test = {name: f"{value:.4f}" for name, value in found["test"].items()}
        lines.append(
            [
                row.settings["seed"],
                found["verdict"],
                f"trial {found['winner']}",
                gain,
                test["tuned"],
                test.get("defaults", ""),
                test["popularity"],
                test["item_knn"],
                f"{found['seconds']:.0f}",
            ]
        )
    columns = ["study seed", "better than the defaults", "winner", "gain, confirmed (95 %)"]
    text = table([*columns, "test: tuned", "defaults", "popularity", "item_knn", "s"], lines)
    n_yes = sum(row.figures["verdict"] == "yes" for row in rows.values())
    slowest = max(row.figures["seconds"] for row in rows.values())
    told = f"{n_yes} of {len(rows)} verdicts are yes; the slowest study took {slowest:.0f} s."
    n_left = N_SEEDS - len(rows)
    if n_left:
        told += f" {n_left} of {N_SEEDS} study seeds are not measured yet"
        told += f" (targets: {MOST_YES} of {N_SEEDS} yes, {SECONDS} s)."
    else:
        told += f" Targets: {MOST_YES} of {N_SEEDS}: {verdict(n_yes >= MOST_YES)};"
        told += f" {SECONDS} s: {verdict(slowest <= SECONDS)}."
    return f"{text}\n\n{told}"


def main() -> None:
    parser = script_parser(__doc__, "quickstart")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    options = parser.parse_args()
    data = options.data.absolute()
    results = Results("quickstart", options)
    results.run(
        {
            f"seed-{seed}": Cell({"seed": seed, "study": STUDY}, partial(measure, data, seed), threads=2)
            for seed in map(int, options.seeds.split(","))
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
