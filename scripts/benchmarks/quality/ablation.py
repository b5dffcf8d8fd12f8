"""What each part of the model and of its training is worth: ml-100k, leave-one-out, one change at a time, three seeds.

Run: .venv/bin/python scripts/benchmarks/quality/ablation.py [--rows 'base-*,one-block-0,…']

The base is two blocks of 64 units. Every variant differs from it by what its name says and trains once a seed, until
validation stops it. Choices belong to the validation column: the test column is there to see whether they hold. The
same seeds draw all variants, so the difference to the base is paired. Some of the last ones are not options of the
product but patches of it (tricks.py): a learning rate that falls to a tenth, label smoothing, Adagrad, late targets
that weigh more, gated branches, cosine scores, item tables with a gate, and an attention head over the last 50 states.
About a minute a row on a quiet core; an interrupted row resumes from its last epoch.
"""

from pathlib import Path
from typing import Any

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from scripts.benchmarks.kit.rows import Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import all_of, mean_and_error, of_seeds, table
from scripts.benchmarks.kit.trainings import variant_cells
from scripts.benchmarks.quality import tricks

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
    "no-event-inputs": {"event_inputs": False},
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
    "gated-branches": {},
    "cosine-scores": {},
    "gated-tables": {},
    "new-order-of-ties": {"shuffle_ties": True},
    "attention-head": {},
}
TRICKS = {  # what the product does not have
    "decay": lambda: tricks.decay(0.1),
    "label-smoothing-.1": lambda: tricks.label_smoothing(0.1),
    "adagrad-.05": lambda: tricks.adagrad(0.05),
    "late-targets-.98": lambda: tricks.late_targets(0.98),
    "gated-branches": tricks.gated_branches,
    "cosine-scores": tricks.cosine_scores,
    "gated-tables": tricks.gated_tables,
    "attention-head": tricks.attention_head,
}


def configuration_of(variant: str, seed: int) -> Configuration:
    hyperparameters = parse_hyperparameters(BASE | VARIANTS[variant], "ablation.py")
    return Configuration(hyperparameters=hyperparameters, protocol="leave-one-out", seed=seed, n_threads=1)


def report(rows: Rows) -> str:
    """Return the table of the variants whose seeds are all finished."""
    base = of_seeds(rows, "base", SEEDS)
    lines: list[list[object]] = []
    for variant in VARIANTS:
        done = of_seeds(rows, variant, SEEDS)
        if done:
            lines.append(
                [
                    variant,
                    mean_and_error([row.figures["validation"][METRIC] for row in done]),
                    mean_and_error(gains) if (gains := gains_of(done, base)) else "",
                    mean_and_error([row.figures["test"]["remove"][METRIC] for row in done]),
                    ", ".join(str(epoch) for epoch in all_of(done, "best_epoch", "best_epochs")),
                    f"{sum(row.figures['targets_per_second'] for row in done) / len(done):,.0f}",
                ]
            )
    columns = ["variant", "validation", "difference to the base", "test", "best epochs", "targets/s"]
    return table(columns, lines) + f"\n\n{METRIC}, seen items removed, mean ± standard error over {len(SEEDS)} seeds."


def gains_of(done: list[Row], base: list[Row]) -> list[Any]:
    """Return what a variant gains over the base, by seed or as published; empty where seeds are not known."""
    if "gain" in done[0].figures:
        return [done[0].figures["gain"]]
    if done == base or len(base) != len(done):
        return []
    return [
        row.figures["validation"][METRIC] - own.figures["validation"][METRIC]
        for row, own in zip(done, base, strict=True)
    ]


def main() -> None:
    parser = script_parser(__doc__, "ablation")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    options = parser.parse_args()
    results = Results("ablation", options)
    dataset = load_dataset(options.data)
    results.run(variant_cells(results.work, dataset, VARIANTS, SEEDS, configuration_of, TRICKS))
    results.show(report)


if __name__ == "__main__":
    main()
