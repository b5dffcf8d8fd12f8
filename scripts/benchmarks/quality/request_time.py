"""What the time of a request tells: ml-100k, leave-one-out, by the parts of it that the model reads, three seeds.

Run: .venv/bin/python scripts/benchmarks/quality/request_time.py [--rows 'none-*,gap+session+clock-*']

The configuration is search_spaces/best/ml-100k.yaml; variants differ in `request_time` alone, and `quarter-unknown` in
the share of the training steps that are not told the time. Each model is asked twice, with the time of the truth event
and without it; early stopping knows the answers without it alone. The same seeds draw all variants, so differences to
`none` are paired. Two to four minutes a row on a quiet core; an interrupted row resumes from its last epoch.
"""

from pathlib import Path
from typing import Any
from unittest import mock

from hrnn_hpo.config import Configuration, load_configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.training import targets
from scripts.benchmarks.kit.rows import ROOT, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import all_of, mean_and_error, of_seeds, paired_gain, table
from scripts.benchmarks.kit.trainings import variant_cells

SEEDS = (0, 1, 2)
METRIC = "ndcg_at_10"
ALL = "gap+session+clock"
KNOWN = "test, request time known"
VARIANTS = {
    "none": "none",
    ALL: ALL,
    "gap+session": "gap+session",
    "gap+clock": "gap+clock",
    "session+clock": "session+clock",
    "gap": "gap",
    "session": "session",
    "clock": "clock",
    "quarter-unknown": ALL,
}

PATCHES = {"quarter-unknown": lambda: mock.patch.object(targets, "SHARE_UNKNOWN", 0.25)}


def configuration_of(variant: str, seed: int) -> Configuration:
    best = load_configuration(ROOT / "search_spaces" / "best" / "ml-100k.yaml")
    changed = best.with_hyperparameters({"request_time": VARIANTS[variant]}, "request_time.py")
    return changed.model_copy(update={"protocol": "leave-one-out", "seed": seed, "n_threads": 1})


def report(rows: Rows) -> str:
    """Return the table of the variants whose seeds are all finished."""
    base = [figure_of(row, "test") for row in of_seeds(rows, "none", SEEDS)]
    lines: list[list[object]] = []
    for variant in VARIANTS:
        done = of_seeds(rows, variant, SEEDS)
        if not done:
            continue
        unknown, known = ([figure_of(row, role) for row in done] for role in ("test", KNOWN))
        lines.append(
            [
                variant,
                mean_and_error([row.figures["validation"][METRIC] for row in done]),
                mean_and_error(unknown),
                mean_and_error(known) if None not in known else "",
                paired_gain(unknown, base) if variant != "none" else "",
                paired_gain(known, base) if variant != "none" else "",
                ", ".join(str(epoch) for epoch in all_of(done, "best_epoch", "best_epochs")),
                f"{sum(row.figures['targets_per_second'] for row in done) / len(done):,.0f}",
            ]
        )
    columns = [
        *("request_time", "validation, unknown", "test, unknown", "test, known", "unknown minus none"),
        *("known minus none", "best epochs", "targets/s"),
    ]
    note = f"{METRIC}, seen items removed, mean ± standard error over {len(SEEDS)} seeds."
    return table(columns, lines) + f"\n\n{note}"


def figure_of(row: Row, role: str) -> Any:
    """Return a row's metric on the test users, None where the model is not asked that way."""
    return row.figures[role]["remove"][METRIC] if role in row.figures else None


def main() -> None:
    parser = script_parser(__doc__, "request_time")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    options = parser.parse_args()
    results = Results("request_time", options)
    dataset = load_dataset(options.data)
    results.run(variant_cells(results.work, dataset, VARIANTS, SEEDS, configuration_of, PATCHES))
    results.show(report)


if __name__ == "__main__":
    main()
