"""How training speed and memory grow with items, H, users and history length, on made-up logs, one thread.

Run: .venv/bin/python scripts/benchmarks/speed/scale.py [--part items,hidden,users,length]

Each point is a process of its own: it trains a few epochs with validation after each and reports the median speed of
all but the first, and the largest memory the process ever held. Items are drawn by a power law (exponent 1), so a long
tail is hardly ever seen, as in real catalogues. `items` compares the full softmax with 1,024 sampled negatives and
looks for the catalogue size at which sampling overtakes; at a million items the memory must stay below model +
optimizer state + 1 GiB, interpreter and libraries included, and the speed within a factor of 3 of 10,000 items.

All parts together should take about six minutes on a quiet core (an estimate from points run on a busy one).
"""

import argparse
import json
import math
import resource
import subprocess
import sys
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

MIB = 1024**2
N_NEGATIVES = 1024
SMALL, LARGE = 10_000, 1_000_000
POINT = {"items": 2000, "hidden": 64, "users": 1000, "length": 100, "negatives": 0, "epochs": 3}
PARTS: dict[str, list[dict[str, int]]] = {
    "items": [
        *({"items": items} for items in (1000, 3000, SMALL)),
        {"items": 30_000, "users": 200},
        *({"items": items, "negatives": N_NEGATIVES} for items in (1000, 3000, SMALL, 30_000, 100_000, LARGE)),
        *({"items": items, "negatives": N_NEGATIVES, "hidden": 128} for items in (SMALL, LARGE)),
    ],
    "hidden": [{"hidden": hidden} for hidden in (32, 64, 128, 256)],
    "users": [{"users": users} for users in (200, 1000, 5000)],
    "length": [{"length": length, "users": 100_000 // length} for length in (20, 100, 500)],
}


def made_up_log(n_users: int, length: int, n_items: int, seed: int = 0) -> Dataset:
    """Return histories of `length` events, a minute apart, item k drawn in proportion to 1 / k."""
    generator = np.random.default_rng(seed)
    cumulative = np.cumsum(1.0 / np.arange(1, n_items + 1))
    draws = generator.random(n_users * length) * cumulative[-1]
    return Dataset(
        user_offsets=np.arange(n_users + 1, dtype=np.int64) * length,
        items=generator.permutation(n_items).astype(np.int32)[np.searchsorted(cumulative, draws)],
        timestamps=np.tile(60 * np.arange(length, dtype=np.int64), n_users),
        user_ids=np.array([f"u{user:08d}" for user in range(n_users)]),
        item_ids=np.array([f"i{item:08d}" for item in range(n_items)]),
        content_hash="made up",
    )


def run_point(point: dict[str, int]) -> dict[str, float]:
    """Return speed, validation time and memory of one point; called in a process of its own."""
    torch.set_num_threads(1)
    values = {
        "hidden_dimension": point["hidden"],
        "n_negatives": point["negatives"],
        "max_user_history_length_percentile": 1.0,
        "repeats": "ignored",  # what grows here is the catalogue
    }
    hyperparameters = parse_hyperparameters(values, "scale.py")
    experiment = prepare_experiment(
        made_up_log(point["users"], point["length"], point["items"]),
        Configuration(hyperparameters=hyperparameters, n_threads=1),
        "remove",
    )
    result = run_experiment(experiment, device="cpu", fixed_epochs=point["epochs"])
    model = sum(p.numel() * p.element_size() for p in result.model.parameters())
    return {
        "speed": float(np.median([report.targets_per_second for report in result.history[1:]])),
        "model": model / MIB,
        "optimizer": 2 * model / MIB,  # Adam's two moments
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # Linux counts in KiB
    }


def measure(changes: dict[str, int]) -> Figures:
    """Return a point's speed and memory from a fresh process."""
    command = [sys.executable, __file__, "--point", json.dumps({**POINT, **changes})]
    found: Figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    found["over"] = found["peak"] - found["model"] - found["optimizer"]
    print(f"{changes}: {found['speed']:,.0f} targets/s, peak {found['peak']:,.0f} MiB", flush=True)
    return found


def overtaken_at(full: list[dict[str, float]], sampled: list[dict[str, float]]) -> str:
    """Return where the speeds of full and sampled softmax cross, between points on logarithmic axes."""
    speed = {point["items"]: point["speed"] for point in sampled}
    ratios = [(point["items"], math.log(speed[point["items"]] / point["speed"])) for point in full]
    if ratios[0][1] >= 0:
        return f"below {ratios[0][0]:,} items"
    for (low, below), (high, above) in pairwise(ratios):
        if above >= 0:
            return f"at about {math.exp(math.log(low) + math.log(high / low) * below / (below - above)):,.0f} items"
    return f"above {ratios[-1][0]:,} items"


def conclusions(points: list[dict[str, float]]) -> str:
    """Return what the `items` part says: the crossing, and both goals at a million items; of points that are there."""
    plain = [point for point in points if point["hidden"] == POINT["hidden"]]
    full = [point for point in plain if not point["negatives"]]
    few = [point for point in plain if point["negatives"]]
    lines = []
    if {point["items"] for point in full} <= {point["items"] for point in few} and full:
        lines.append(
            f"- {N_NEGATIVES} sampled negatives overtake the full softmax {overtaken_at(full, few)} "
            f"(H = {POINT['hidden']})."
        )
    sampled = {(point["hidden"], point["items"]): point for point in points if point["negatives"]}
    for hidden in sorted({hidden for hidden, _ in sampled}):
        if not {(hidden, SMALL), (hidden, LARGE)} <= sampled.keys():
            continue
        small, large = sampled[hidden, SMALL], sampled[hidden, LARGE]
        factor = small["speed"] / large["speed"]
        lines.append(
            f"- H = {hidden}: {LARGE:,} items are {factor:.2f} times slower than {SMALL:,} (goal: at most 3, "
            f"{verdict(factor <= 3)}); the peak is {large['over']:,.0f} MiB above model and "
            f"optimizer state (goal: below 1,024, {verdict(large['over'] < 1024)})."
        )
    return "\n".join(lines)


def report(rows: Rows) -> str:
    """Return a table for each part, and what `items` says."""
    text = ""
    for part in PARTS:
        points = [row.settings | row.figures for row in rows.values() if row.settings["part"] == part]
        if not points:
            continue
        columns = ["items", "hidden", "users", "length", "negatives"]
        lines = [
            [*(f"{point[name]:,}" for name in columns), f"{point['speed']:,.0f}"]
            + [f"{point[name]:,.0f}" for name in ("peak", "model", "optimizer", "over")]
            for point in points
        ]
        memory = ["peak MiB", "model", "optimizer state", "peak above both"]
        text += f"#### Growth with {part}\n\n{table([*columns, 'targets/s', *memory], lines)}\n\n"
        if part == "items":
            text += conclusions(points) + "\n\n"
    return text


def main() -> None:
    parser = script_parser(__doc__, "scale")
    parser.add_argument("--part", default=",".join(PARTS), help="what to vary, separated by commas")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(run_point(json.loads(options.point))))
        return
    parts = options.part.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--part: {', '.join(sorted(unknown))}: must be among {', '.join(PARTS)}.")
    results = Results("scale", options)
    results.run(
        {
            name_of(part, changes): Cell({"part": part, **POINT, **changes}, partial(measure, changes))
            for part in parts
            for changes in PARTS[part]
        }
    )
    results.show(report)


def name_of(part: str, changes: dict[str, int]) -> str:
    """Return the name of a point's row, such as `items-items=30000-users=200`."""
    return "-".join([part, *(f"{key}={value}" for key, value in changes.items())])


if __name__ == "__main__":
    main()
