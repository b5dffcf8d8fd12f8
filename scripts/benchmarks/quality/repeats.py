"""What the softmax beside the mixture learns: complete-journey's baskets, new products and repeats apart.

Run: .venv/bin/python scripts/benchmarks/quality/repeats.py [--users 0.1] [--epochs 4] [--rows 'own-1-*,…']

Where the household's own products are mixed in, a repeat gives the softmax nearly no gradient: new products are
learned from new targets alone. The variants are patches of the product that add W times a loss of the softmax's own:
`own-W` on every target, `new-W` on new products alone, and `cut-W` on every target while the mixture's gradient to the
softmax is cut (its gate's to the states stays). `drop-P` lets a share P of the steps, drawn in each update, see no own
products, so that the softmax must answer there alone. Variants without a patch change hyperparameters: `ahead-K` is
`targets_ahead` (1 unless named, `auto` looks two baskets ahead), `batch-B` takes B households an update, B / 64 of the
targets and so many more updates, `dropout-P` is each of the three dropouts, and `users` is `item_start: users`, a table
that starts at what the households' sets of products hold. `mixed` has the mixture alone, `ignored` has none. The log
is hierarchy.py's (baskets of frequent products in random order, protocol `newest-tenth`), H = 64, 1,024 negatives.
Every epoch is run, so that one sees when each part is at its best; `best_epoch` is the best on all validation truths.
`baselines` have no training, and validation households choose their constants. About half a minute a row at 0.1 of the
households, on one core.
"""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hrnn_hpo.config import AUTO, Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.evaluation.protocols import ScoreRows, rank
from hrnn_hpo.evaluation.untrained.ease import ease
from hrnn_hpo.evaluation.untrained.popular import popularity
from hrnn_hpo.experiment import (
    Experiment,
    compare_baselines,
    evaluate_model,
    prepare_experiment,
    run_experiment,
    test_part,
)
from hrnn_hpo.model.encode import score_rows
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.model.losses import Shares, sampled_softmax_cross_entropy
from hrnn_hpo.training import criterion
from hrnn_hpo.training.criterion import NegativeSampler
from scripts.benchmarks.kit.logs import write_copy
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import all_of, mean_and_error, of_seeds, table
from scripts.benchmarks.quality.hierarchy import COMMON, make_log

SEEDS = (0, 1)
ROLES = ("validation", "test")
METRIC = "ndcg_at_10"
PARTS = ("", "_repeats", "_new")
VARIANTS = (
    *("mixed", "own-1", "own-3", "new-1", "cut-1", "drop-0.5", "batch-8", "ahead-auto", "ahead-64"),
    *("ahead-auto-batch-8", "ahead-64-batch-8", "ahead-auto-batch-8-dropout-0.5", "ahead-auto-batch-8-users"),
    *("ignored", "batch-8-ignored"),
)
PATCHES = ("own", "new", "cut", "drop")
HYPERPARAMETERS = {
    "ahead": ("targets_ahead",),
    "batch": ("batch_size",),
    "dropout": ("input_dropout", "hidden_dropout", "output_dropout"),
}
BASELINES = "baselines"
LISTED = 10  # new products whose likeness to popularity's list is told


def changes_of(variant: str) -> list[tuple[str, str]]:
    """Return the (name, value) pairs that a variant's name is made of; words without a value make none."""
    words = variant.split("-")
    return [
        (name, value)
        for name, value in itertools.pairwise(words)
        if name.isalpha() and (value == AUTO or not value.isalpha())
    ]


@contextlib.contextmanager
def patched(variant: str) -> Iterator[None]:
    """Have training minimize what a variant makes of the mixture's loss."""
    kind, weight = next(((one, number) for one, number in changes_of(variant) if one in PATCHES), ("", ""))
    plain = criterion.sampled_softmax

    def both(
        model: HRNN,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        sampler: NegativeSampler,
        rng: np.random.Generator,
        shares: Shares | None,
    ) -> Tensor:
        assert shares is not None
        if kind == "drop":
            seen = torch.from_numpy(rng.random(len(targets)) >= float(weight))
            shares = (torch.where(seen, shares[0], 0.0), torch.where(seen, shares[1], float("-inf")))
            return plain(model, outputs, targets, weights, sampler, rng, shares)
        drawn, log_q = sampler.draw(rng)
        negatives, own = torch.from_numpy(drawn), model.item_embedding
        bias = model.score_bias()
        scored = (F.embedding(targets, own, sparse=True), bias[targets])
        scored += (F.embedding(negatives, own, sparse=True), bias[negatives])
        rest = (targets, negatives, torch.from_numpy(log_q))
        counted = (shares[1] == float("-inf")).float() if kind == "new" else torch.ones(len(targets))
        alone = sampled_softmax_cross_entropy(outputs, *scored, *rest, counted)
        if kind == "cut":
            outputs, scored = outputs.detach(), tuple(one.detach() for one in scored)
        return sampled_softmax_cross_entropy(outputs, *scored, *rest, weights, shares) + float(weight) * alone

    criterion.sampled_softmax = both if weight else plain
    try:
        yield
    finally:
        criterion.sampled_softmax = plain


def configuration_of(variant: str, seed: int, epochs: int) -> Configuration:
    words = variant.split("-")
    values = {
        **COMMON,
        "targets_ahead": 1.0,
        "repeats": "ignored" if "ignored" in words else "mixed",
        "item_start": "users" if "users" in words else "random",
        "hidden_dimension": 64,
        "epochs": epochs,
        "patience": epochs,
    }
    for one, value in changes_of(variant):
        values |= {field: value if value == AUTO else float(value) for field in HYPERPARAMETERS.get(one, ())}
    return Configuration(
        hyperparameters=parse_hyperparameters(values, "repeats.py"),
        protocol="newest-tenth",
        seed=seed,
        n_threads=1,
    )


def measure(name: str, variant: str, dataset: Dataset, configuration: Configuration, checkpoint: Path) -> Figures:
    """Return the figures of every epoch, and those of the best one on validation and test households."""
    torch.set_num_threads(1)
    experiment = prepare_experiment(dataset, configuration, "keep")
    with patched(variant):
        result = run_experiment(experiment, device="cpu", checkpoint=checkpoint)
    part = test_part(experiment)
    test = evaluate_model(result.model, experiment, part).metrics
    like = likeness(experiment, score_rows(result.model, dataset, experiment.inputs, part))
    curves = {METRIC + part: [report.metrics[METRIC + part] for report in result.history] for part in PARTS}
    told = ", ".join(f"{part or 'all'} {result.metrics[METRIC + part]:.4f}" for part in PARTS)
    print(f"{name}: epoch {result.best_epoch}, {told}; best new {max(curves[METRIC + '_new']):.4f}", flush=True)
    return {
        "best_epoch": result.best_epoch,
        "best_epochs_by_part": {part or "all": 1 + _best(curves[METRIC + part]) for part in PARTS},
        "validation": result.metrics,
        "test": test,
        "like_popularity": like,
        "curves": curves,
        "train_loss": [report.train_loss for report in result.history],
        "seconds": sum(report.seconds + report.validation_seconds for report in result.history),
        "targets_per_second": sorted(report.targets_per_second for report in result.history)[len(result.history) // 2],
    }


def measure_baselines(dataset: Dataset, configuration: Configuration) -> Figures:
    """Return the figures of the baselines on validation and test households, and their constants."""
    experiment = prepare_experiment(dataset, configuration, "keep")
    assert experiment.split.validation is not None
    found = {
        role: compare_baselines(experiment, part)
        for role, part in (("validation", experiment.split.validation), ("test", test_part(experiment)))
    }
    figures: Figures = {role: one.metrics for role, one in found.items()}
    sets = ease(dataset, experiment.split.train)(test_part(experiment), found["test"].constants["ease"])
    figures["like_popularity"] = {"ease": likeness(experiment, sets)}
    return figures | {"constants": found["test"].constants, "left_out": found["test"].left_out}


def likeness(experiment: Experiment, scores: ScoreRows) -> float:
    """Return the mean share of test households' first LISTED new products that popularity lists for them too."""
    dataset, part = experiment.dataset, test_part(experiment)
    plain = popularity(dataset, experiment.split.train)(part, {})
    ours, theirs = (rank(dataset, part, one, seen="remove", k=LISTED) for one in (scores, plain))
    assert (ours >= 0).all(), "every household has so many new products"
    return float((ours[:, :, None] == theirs[:, None]).any(axis=2).mean())


def _best(values: list[float]) -> int:
    return max(range(len(values)), key=lambda place: values[place])


def report(rows: Rows) -> str:
    """Return the table of the variants and baselines whose seeds are all finished."""
    lines: list[list[object]] = []
    for variant in VARIANTS:
        done = of_seeds(rows, variant, SEEDS)
        if done:
            columns = [[row.figures[role][METRIC + part] for row in done] for role in ROLES for part in PARTS]
            new = ", ".join(str(row.figures["best_epochs_by_part"]["_new"]) for row in done)
            epochs = ", ".join(map(str, all_of(done, "best_epoch", "best_epochs")))
            like = [row.figures["like_popularity"] for row in done if "like_popularity" in row.figures]
            lines.append([variant, *map(mean_and_error, columns), epochs, new, share_of(like)])
    done = of_seeds(rows, BASELINES, SEEDS)
    for name in done[0].figures["test"] if done else ():
        columns = [[row.figures[role][name][METRIC + part] for row in done] for role in ROLES for part in PARTS]
        like = [row.figures["like_popularity"][name] for row in done if name in row.figures.get("like_popularity", ())]
        lines.append([f"(baseline {name})", *map(mean_and_error, columns), "", "", share_of(like)])
    heads = [f"{role}, {part.strip('_') or 'all'}" for role in ROLES for part in PARTS]
    text = table(["variant", *heads, "best epochs", "of new items", "like popularity"], lines)
    return (
        f"{text}\n\n{METRIC}, seen items kept, mean ± standard error over {len(SEEDS)} seeds (of training and of the "
        "order inside baskets). `repeats` and `new`: the truth split by whether the household had the product; new "
        "ones are ranked without the household's own. `like popularity`: the share of the test households' first "
        f"{LISTED} new products that popularity lists for them too."
    )


def share_of(values: list[float]) -> str:
    """Return the mean of shares in per cent, nothing of none."""
    return f"{sum(values) / len(values):.0%}" if values else ""


def main() -> None:
    parser = script_parser(__doc__, "repeats")
    parser.add_argument("--data", type=Path, default=Path("data/complete-journey"))
    parser.add_argument("--users", type=float, default=0.1, help="share of the households that take part")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of every row")
    options = parser.parse_args()
    results = Results("repeats", options)

    def cell(name: str) -> Cell:
        variant, number = name.rsplit("-", 1)
        seed = int(number)
        log = write_copy(
            options.data / "interactions.csv",
            results.work / f"users-{options.users}-seed-{seed}.csv",
            lambda events: make_log(events, options.users, seed),
        )
        dataset = load_dataset(log)
        configuration = configuration_of("mixed" if variant == BASELINES else variant, seed, options.epochs)
        settings = {"variant": variant, "users": options.users, "data_hash": dataset.content_hash, "seed": seed}
        if variant == BASELINES:
            return Cell(settings, lambda: measure_baselines(dataset, configuration))
        checkpoint = results.work / f"{name}-{options.users}.checkpoint"
        settings |= {"hyperparameters": configuration.hyperparameters.model_dump()}
        return Cell(
            settings,
            lambda: measure(name, variant, dataset, configuration, checkpoint),
            leftovers=[checkpoint],
        )

    known = [f"{variant}-{seed}" for seed in SEEDS for variant in (*VARIANTS, BASELINES)]
    for name in results.chosen(known):
        results.measure(name, cell(name))
    results.show(report)


if __name__ == "__main__":
    main()
