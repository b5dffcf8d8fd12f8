"""What item embeddings gain that start near those of like items: ml-100k, leave-one-out and personalize.

Run: .venv/bin/python scripts/benchmarks/quality/item_start.py [--rows 'random-*,users-*']

The configuration is search_spaces/best/ml-100k.yaml with what the variant says. `neighbours` adds vectors of deviation
.1 to the random start of .02, and so does `users`; `-.05` and `-.2` are other sizes of them, and `random-.1` is a
random start of their size. Three seeds under leave-one-out, and five splits under personalize (rows `personalize-…`),
whose 94 validation and 94 test users are others each time. The same seeds draw all variants, so differences to `random`
are paired. One to two minutes a row on a quiet core; an interrupted row resumes from its last epoch.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from hrnn_hpo.config import Configuration, load_configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.model import hrnn
from scripts.benchmarks.kit.rows import ROOT, Cell, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import all_of, mean_and_error, of_seeds, paired_gain, table
from scripts.benchmarks.kit.trainings import variant_cells

SEEDS, SPLITS = (0, 1, 2), (0, 1, 2, 3, 4)
SPLIT = "personalize-"  # begins the names of variants under that protocol
METRIC = "ndcg_at_10"
NEIGHBOURS, USERS = {"item_start": "neighbours"}, {"item_start": "users"}
VARIANTS: dict[str, dict[str, Any]] = {
    "random": {"item_start": "random"},
    "random-.1": {"item_start": "random"},
    "neighbours": NEIGHBOURS,
    "neighbours-.05": NEIGHBOURS,
    "neighbours-.2": NEIGHBOURS,
    "users": USERS,
    "users-.05": USERS,
    "users-.2": USERS,
    "shuffled-ties": {"item_start": "random", "shuffle_ties": True},
    "neighbours+shuffled-ties": NEIGHBOURS | {"shuffle_ties": True},
    "users+shuffled-ties": USERS | {"shuffle_ties": True},
}
SPLIT_VARIANTS = {SPLIT + name: VARIANTS[name] for name in ("random", "neighbours", "users", "users+shuffled-ties")}
PATCHES = {"random-.1": lambda: mock.patch.object(hrnn, "RANDOM_START", 0.1)} | {
    f"{start}-{str(size)[1:]}": partial(mock.patch.object, hrnn, "ITEM_START", size)
    for start in ("neighbours", "users")
    for size in (0.05, 0.2)
}


def configuration_of(variant: str, seed: int) -> Configuration:
    best = load_configuration(ROOT / "search_spaces" / "best" / "ml-100k.yaml")
    changed = best.with_hyperparameters((VARIANTS | SPLIT_VARIANTS)[variant], "item_start.py")
    protocol = (
        {"protocol": "personalize", "split_seed": seed} if variant in SPLIT_VARIANTS else {"protocol": "leave-one-out"}
    )
    return changed.model_copy(update={**protocol, "seed": seed, "n_threads": 1})


def report(rows: Rows) -> str:
    """Return the tables of the variants whose seeds are all finished, a table for each protocol."""
    parts = [
        ("leave-one-out", f"{len(SEEDS)} seeds", _table(rows, VARIANTS, SEEDS, "")),
        ("personalize", f"{len(SPLITS)} splits", _table(rows, SPLIT_VARIANTS, SPLITS, SPLIT)),
    ]
    return "\n\n".join(
        f"**{protocol}**\n\n{text}\n\n{METRIC}, seen items removed, mean ± standard error over {drawn}."
        for protocol, drawn, text in parts
        if text
    )


def _table(rows: Rows, variants: Iterable[str], seeds: Sequence[int], prefix: str) -> str:
    base = _values(rows, f"{prefix}random", seeds)
    lines: list[list[object]] = []
    for variant in variants:
        found = _values(rows, variant, seeds)
        name = variant.removeprefix(prefix)
        if not found["test"]:
            continue
        gains = [paired_gain(found[role], base[role]) if base["test"] and name != "random" else "" for role in found]
        epochs = all_of(of_seeds(rows, variant, seeds), "best_epoch", "best_epochs")
        cells = [cell for role, gain in zip(found, gains, strict=True) for cell in (mean_and_error(found[role]), gain)]
        lines.append([name, *cells, ", ".join(map(str, epochs))])
    columns = ["variant", "validation", "minus random", "test", "minus random", "best epochs"]
    return table(columns, lines) if lines else ""


def _values(rows: Rows, variant: str, seeds: Sequence[int]) -> dict[str, list[float]]:
    done = of_seeds(rows, variant, seeds)
    return {
        "validation": [row.figures["validation"][METRIC] for row in done],
        "test": [row.figures["test"]["remove"][METRIC] for row in done],
    }


def main() -> None:
    parser = script_parser(__doc__, "item_start")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    options = parser.parse_args()
    results = Results("item_start", options)
    dataset = load_dataset(options.data)
    cells: dict[str, Cell] = {}
    for variants, seeds in ((VARIANTS, SEEDS), (SPLIT_VARIANTS, SPLITS)):
        cells |= variant_cells(results.work, dataset, variants, seeds, configuration_of, PATCHES)
    results.run(cells)
    results.show(report)


if __name__ == "__main__":
    main()
