"""What each part of the model and of its training is worth: ml-100k, leave-one-out, one change at a time, three seeds.

Run: .venv/bin/python scripts/benchmarks/ablation.py [--rows base,one-block,…] [--write]

The base is two blocks of 64 units. Every variant differs from it by what its name says and trains once a seed, until
validation stops it. Choices belong to the validation column: the test column is there to see whether they hold. The
same seeds draw all variants, so the difference to the base is paired. The last ones are not options of the product
but patches of it (tricks.py): a learning rate that falls to a tenth, label smoothing, Adagrad, and late targets that
weigh more. About a minute a row on a quiet core, rows are kept in --results, and an interrupted run goes on.
"""

import contextlib
from pathlib import Path
from typing import Any

import torch
import tricks
from machine import mean_and_error, script_parser, table, write_section
from rows import Figures, read_row, run_row, run_rows, wanted_rows

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset

SEEDS = (0, 1, 2)
METRIC = "ndcg_at_10"
BASE: dict[str, Any] = {
    "hidden_dimension": 64,
    "bptt": 64,
    "max_user_history_length_percentile": 1.0,
    "n_blocks": 2,
    "epochs": 60,
    "patience": 6,
    "batch_size": 64,
    "learning_rate": 0.003,
    "weight_averaging": 0.98,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "one-block": {"n_blocks": 1},
    "three-blocks": {"n_blocks": 3},
    "no-feed-forward": {"feed_forward": 0},
    "no-time-gaps": {"time_gaps": False},
    "no-control-signal": {"control_signal": False},
    "hierarchical-init": {"architecture": "hierarchical"},
    "hierarchical-all": {"architecture": "hierarchical", "hierarchy": "all"},
    "no-input-dropout": {"input_dropout": 0.0},
    "no-hidden-dropout": {"hidden_dropout": 0.0},
    "no-output-dropout": {"output_dropout": 0.0},
    "output-dropout-.5": {"output_dropout": 0.5},
    "no-averaging": {"weight_averaging": 0.0},
    "bptt-8": {"bptt": 8},
    "recency-mask-30-days": {"recency_mask": True},
    "recency-mask-365-days": {"recency_mask": True, "recency_half_life": 365.0},
    "256-negatives": {"n_negatives": 256, "weight_averaging": 0.0},
    "batches-of-256": {"batch_size": 256},
    "decay": {"epochs": 30},
    "label-smoothing-.1": {},
    "adagrad-.05": {},
    "late-targets-.98": {},
}
TRICKS = {  # what the product does not have
    "decay": lambda: tricks.decay(0.1),
    "label-smoothing-.1": lambda: tricks.label_smoothing(0.1),
    "adagrad-.05": lambda: tricks.adagrad(0.05),
    "late-targets-.98": lambda: tricks.late_targets(0.98),
}


def configuration_of(variant: str, seed: int) -> Configuration:
    hyperparameters = parse_hyperparameters(BASE | VARIANTS[variant], "ablation.py")
    return Configuration(hyperparameters=hyperparameters, protocol="leave-one-out", seed=seed, n_threads=1)


def report(folder: Path) -> str:
    """Return the table of the variants whose seeds are all finished."""
    rows: list[list[object]] = []
    base: list[Figures] = []
    for variant in VARIANTS:
        done = [figures for seed in SEEDS if (figures := read_row(folder, f"{variant}-{seed}")) is not None]
        if len(done) < len(SEEDS):
            continue
        base = base or done
        validation = [run["validation"][METRIC] for run in done]
        test = [run["test"]["remove"][METRIC] for run in done]
        gains = [value - own["validation"][METRIC] for value, own in zip(validation, base, strict=True)]
        rows.append(
            [
                variant,
                mean_and_error(validation),
                mean_and_error(gains) if done is not base else "",
                mean_and_error(test),
                ", ".join(str(run["best_epoch"]) for run in done),
                f"{sum(run['targets_per_second'] for run in done) / len(done):,.0f}",
            ]
        )
    columns = ["variant", "validation", "difference to the base", "test", "best epochs", "targets/s"]
    return table(columns, rows) + f"\n\n{METRIC}, seen items removed, mean ± standard error over {len(SEEDS)} seeds."


def main() -> None:
    parser = script_parser(__doc__, write="put the finished rows into docs/benchmarks.md; run none")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--rows", help="the variants to run, separated by commas; all unless given")
    parser.add_argument("--results", type=Path, default=Path("results/ablation"), help="where rows are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.write:
        dataset = load_dataset(options.data)

        def run(variant: str, seed: int) -> Figures:
            with TRICKS.get(variant, contextlib.nullcontext)():
                return run_row(options.results, f"{variant}-{seed}", dataset, configuration_of(variant, seed))

        work = {
            f"{variant}-{seed}": lambda variant=variant, seed=seed: run(variant, seed)
            for variant in wanted_rows(options.rows, list(VARIANTS))
            for seed in SEEDS
        }
        run_rows(options.results, work)
    body = report(options.results)
    print(body)
    if options.write:
        write_section("Ablations on ml-100k, leave-one-out", "scripts/benchmarks/ablation.py", body)


if __name__ == "__main__":
    main()
