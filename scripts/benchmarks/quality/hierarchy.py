"""Does hierarchy pay, and most at small H? The HRNN of both architectures beside the same GRU without session inputs.

Run: .venv/bin/python scripts/benchmarks/quality/hierarchy.py [--users 0.25] [--epochs 8] [--rows 'control-50-*,…']

Ma et al. (KDD 2020) report that session signals help most where the hidden state is small. Here complete-journey's
baskets are the sessions, products with fewer than 5 purchases are left out, and three models with one recurrent layer
share everything but what they know of sessions: `plain` has no control signal and no time gaps, `control` reads both,
`hierarchical` has two GRUs. H is 50 and 200, each with 3 seeds; all models of a seed see the same data. As in the
paper, these three know repeats by their state alone; `plain+own`, `control+own` and `hierarchical+own` mix in the
household's own products too (`repeats: mixed`).

Order inside a basket means nothing, and the file sorts it by product: it is shuffled, so that nothing can be learned
from it. The protocol is `newest-tenth`: the truth is the set of a household's next purchases over several baskets,
and every household is tested; seen items are kept, since most of what people buy they bought before. The same models
are also asked for the last purchase alone, all purchases before it given (the paper's kind of question, here often:
what else is in this basket). A softmax over 1,024 sampled negatives stands in for the 28,000 products.

The 36 rows of the default budget take about 40 minutes of training on one core; an interrupted row resumes from its
last epoch, and several processes share the rows.

The confirmed study of these baskets that docs/benchmarks.md tells of:

    .venv/bin/python scripts/benchmarks/quality/hierarchy.py --users 0.5 --log results/baskets.csv
    hrnn-hpo tune results/baskets.csv --space scripts/benchmarks/quality/complete-journey-space.yaml --study baskets \
        --n-trials 8 --confirm 1 --confirm-seeds 4 --threads 1
"""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data import ITEM_ID, SESSION_ID, TIMESTAMP, USER_ID
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.evaluation.baselines import BASELINES
from hrnn_hpo.evaluation.protocols import evaluate
from scripts.benchmarks.kit.logs import frequent_items, shuffle_ties, some_users, write_copy
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import all_of, error, mean, mean_and_error, of_seeds, table
from scripts.benchmarks.kit.trainings import training_cell

SESSION_INPUTS = {
    "plain": {"architecture": "control", "control_signal": False, "time_gaps": False},
    "control": {"architecture": "control"},
    "hierarchical": {"architecture": "hierarchical"},
}
OWN = "+own"
MODELS = {name: {**inputs, "repeats": "ignored"} for name, inputs in SESSION_INPUTS.items()} | {
    name + OWN: {**inputs, "repeats": "mixed"} for name, inputs in SESSION_INPUTS.items()
}
BASELINES_BESIDE = ("popularity", "own_items")  # rows of their own, without training: `own_items-0-SEED`
HIDDEN, SEEDS = (50, 200), (0, 1, 2)
LEAST_PURCHASES = 5
LAST = "test leave-one-out"
MEASURES = {  # column: (role, metric)
    "next purchases, ndcg_at_10": ("test", "ndcg_at_10"),
    "next purchases, precision_at_10": ("test", "precision_at_10"),
    "last purchase, ndcg_at_10": (LAST, "ndcg_at_10"),
    "last purchase, hit_rate_at_10": (LAST, "hit_rate_at_10"),
}
COMMON = {
    "n_blocks": 1,
    "feed_forward": 0,
    "event_inputs": False,
    "n_negatives": 1024,
    "batch_size": 64,
    "bptt": 64,
    "learning_rate": 0.003,
    "patience": 3,
    "max_user_history_length_percentile": 1.0,
}


def make_log(events: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Return the log of a seed: frequent products, some households, baskets in random order inside."""
    events = some_users(frequent_items(events, LEAST_PURCHASES), share, seed=0)
    return shuffle_ties(events[[USER_ID, ITEM_ID, TIMESTAMP, SESSION_ID]], seed)


def configuration_of(model: str, hidden: int, seed: int, epochs: int) -> Configuration:
    values = {**COMMON, **MODELS[model], "hidden_dimension": hidden, "epochs": epochs}
    return Configuration(
        hyperparameters=parse_hyperparameters(values, "hierarchy.py"), protocol="newest-tenth", seed=seed, n_threads=1
    )


def report(rows: Rows) -> str:
    """Return the table of the finished rows, and what session inputs add for each H, paired by seed."""
    wanted = [(name, 0) for name in BASELINES_BESIDE] + [(model, hidden) for hidden in HIDDEN for model in MODELS]
    done = {cell: of_seeds(rows, "-".join(map(str, cell)), SEEDS) for cell in wanted}
    lines: list[list[object]] = []
    for (model, hidden), runs in done.items():
        if not runs:
            continue
        cells = [mean_and_error([value(row, measure) for row in runs]) for measure in MEASURES]
        if model in BASELINES_BESIDE:
            lines.append(["", f"(baseline {model})", len(SEEDS), *cells, "", ""])
            continue
        minutes = float(sum(row.figures["seconds"] for row in runs)) / len(runs) / 60
        epochs = ", ".join(str(epoch) for epoch in all_of(runs, "best_epoch", "best_epochs"))
        lines.append([hidden, model, len(SEEDS), *cells, epochs, minutes])
    text = table(["H", "model", "seeds", *MEASURES, "best epochs", "minutes a seed"], lines)
    text += (
        "\n\nMean ± standard error over seeds, seen items kept. What a model adds to `plain`, or to `plain+own`, "
        "paired by seed:\n"
    )
    for measure in MEASURES:
        for model in MODELS:
            if not model.startswith("plain") and (told := verdict_of(done, model, measure)):
                text += f"\n- {measure}, {model}: {told}"
    return text


def verdict_of(done: dict[tuple[str, int], list[Row]], model: str, measure: str) -> str | None:
    """Return what a model gains at each H and where it gains more; None where not all seeds are known."""
    runs = {hidden: done[model, hidden] for hidden in HIDDEN}
    plain = {hidden: done["plain" + OWN * model.endswith(OWN), hidden] for hidden in HIDDEN}
    published = [found[0].figures["gains"][measure] for found in runs.values() if found and "gains" in found[0].figures]
    if len(published) == len(HIDDEN):
        gains = dict(zip(HIDDEN, ([gain] for gain in published), strict=True))
        return verdict(gains, published[0]["more_than_at_large_h"])
    if any(len(found) != len(SEEDS) for found in (*runs.values(), *plain.values())):
        return None
    return verdict(
        {
            hidden: [
                value(row, measure) - value(own, measure) for row, own in zip(runs[hidden], plain[hidden], strict=True)
            ]
            for hidden in HIDDEN
        }
    )


def verdict(gains: dict[int, list[Any]], published: dict[str, float] | None = None) -> str:
    """Return the gain at each H, and whether it is larger at the small one by more than twice its standard error.

    The difference of the two gains is computed, or the one that was published.
    """
    small, large = (gains[hidden] for hidden in HIDDEN)
    difference, spread = mean(small) - mean(large), math.hypot(error(small), error(large))
    if published:
        difference, spread = published["mean"], published["error"]
    claim = "undecided" if abs(difference) <= 2 * spread else "confirmed" if difference > 0 else "refuted"
    parts = [f"H = {hidden} {mean_and_error(gains[hidden])}" for hidden in HIDDEN]
    return f"{', '.join(parts)}; pays more at small H: {claim} (difference {difference:+.4f} ± {spread:.4f})."


def value(row: Row, measure: str) -> Any:
    role, metric = MEASURES[measure]
    return row.figures[role]["keep"][metric]


def measure_baseline(dataset: Dataset, baseline: str) -> Figures:
    """Return a baseline's figures under the roles of a model's: fitted on what the models train on."""
    train = make_split(dataset, "newest-tenth", 0).train
    figures: Figures = {}
    for role, protocol in (("test", "newest-tenth"), (LAST, "leave-one-out")):
        part = make_split(dataset, protocol, 0).test
        assert part is not None
        score = BASELINES[baseline](dataset, train, part)
        figures[role] = {"keep": evaluate(dataset, part, score, seen="keep").metrics}
    return figures


def main() -> None:
    parser = script_parser(__doc__, "hierarchy")
    parser.add_argument("--data", type=Path, default=Path("data/complete-journey"))
    parser.add_argument(
        "--users", type=float, default=0.25, help="share of the households that take part, drawn at random"
    )
    parser.add_argument("--epochs", type=int, default=8, help="the most epochs of a row; it stops after 3 without gain")
    parser.add_argument("--log", type=Path, help="write the log of seed 0 to this file, for a study of it; run none")
    options = parser.parse_args()
    if options.log:
        write_copy(options.data / "interactions.csv", options.log, lambda events: make_log(events, options.users, 0))
        return
    results = Results("hierarchy", options)

    def cell(name: str) -> Cell:
        model, hidden, number = name.split("-")
        seed = int(number)
        log = write_copy(
            options.data / "interactions.csv",
            results.work / f"users-{options.users}-seed-{seed}.csv",
            lambda events: make_log(events, options.users, seed),
        )
        dataset, settings = load_dataset(log), {"model": model, "users": options.users}
        if model in BASELINES_BESIDE:
            settings |= {"data_hash": dataset.content_hash}
            return Cell(settings, lambda: measure_baseline(dataset, model))
        configuration = configuration_of(model, int(hidden), seed, options.epochs)
        return training_cell(results.work, name, dataset, configuration, also="leave-one-out", settings=settings)

    known = [f"{name}-0-{seed}" for seed in SEEDS for name in BASELINES_BESIDE]
    known += [f"{model}-{hidden}-{seed}" for seed in SEEDS for hidden in HIDDEN for model in MODELS]
    for name in results.chosen(known):
        results.measure(name, cell(name))
    results.show(report)


if __name__ == "__main__":
    main()
