"""Does hierarchy pay, and most at small H? The HRNN of both architectures beside the same GRU without session inputs.

Run: .venv/bin/python scripts/benchmarks/hierarchy.py [--users 0.25] [--epochs 8] [--rows control-50-0,…] [--write]

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

The 36 rows of the default budget take about 40 minutes of training on one core. Finished rows stay in --results, an
interrupted one goes on where it was, several processes may share the rows, and `--write` makes the table of those that
are finished.

The confirmed study of these baskets that docs/benchmarks.md tells of:

    .venv/bin/python scripts/benchmarks/hierarchy.py --users 0.5 --log results/baskets.csv
    hrnn-hpo tune results/baskets.csv --space scripts/benchmarks/complete-journey-space.yaml --study baskets \
        --n-trials 8 --confirm 1 --confirm-seeds 4 --threads 1
"""

import json
import math
import statistics
from pathlib import Path

import pandas as pd
import torch
from logs import frequent_items, shuffle_ties, some_users, write_copy
from machine import mean_and_error, script_parser, table, write_section
from rows import Figures, read_row, run_row, run_rows, wanted_rows

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import ITEM_ID, SESSION_ID, TIMESTAMP, USER_ID, Dataset
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.evaluation.baselines import BASELINES
from hrnn_hpo.evaluation.protocols import evaluate

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


def report(folder: Path) -> str:
    """Return the table of the finished rows, and what session inputs add for each H, paired by seed."""
    wanted = [(name, 0) for name in BASELINES_BESIDE] + [(model, hidden) for hidden in HIDDEN for model in MODELS]
    done = {
        (model, hidden): {
            seed: figures for seed in SEEDS if (figures := read_row(folder, f"{model}-{hidden}-{seed}")) is not None
        }
        for model, hidden in wanted
    }
    rows: list[list[object]] = []
    for (model, hidden), by_seed in done.items():
        if by_seed:
            cells = [mean_and_error(values(by_seed, measure)) for measure in MEASURES]
            if model in BASELINES_BESIDE:
                rows.append(["", f"(baseline {model})", len(by_seed), *cells, "", ""])
                continue
            minutes = sum(figures["seconds"] for figures in by_seed.values()) / len(by_seed) / 60
            epochs = ", ".join(str(figures["best_epoch"]) for figures in by_seed.values())
            rows.append([hidden, model, len(by_seed), *cells, epochs, minutes])
    lines = [table(["H", "model", "seeds", *MEASURES, "best epochs", "minutes a seed"], rows), ""]
    lines += [
        "Mean ± standard error over seeds, seen items kept. What a model adds to `plain`, or to `plain+own`, paired by "
        "seed:",
        "",
    ]
    for measure in MEASURES:
        for model in MODELS:
            plain = "plain" + OWN * model.endswith(OWN)
            if model == plain:
                continue
            gains = {
                hidden: [
                    value(done[model, hidden][seed], measure) - value(done[plain, hidden][seed], measure)
                    for seed in done[model, hidden]
                    if seed in done[plain, hidden]
                ]
                for hidden in HIDDEN
            }
            if all(len(found) > 1 for found in gains.values()):
                lines.append(f"- {measure}, {model}: {verdict(gains)}")
    return "\n".join(lines)


def run_baseline(folder: Path, name: str, dataset: Dataset, baseline: str) -> Figures:
    """Return a baseline's figures, as `run_row` returns a model's: fitted on what the models train on."""
    train = make_split(dataset, "newest-tenth", 0).train
    figures: Figures = {"seconds": 0.0}
    for role, protocol in (("test", "newest-tenth"), (LAST, "leave-one-out")):
        part = make_split(dataset, protocol, 0).test
        assert part is not None
        score = BASELINES[baseline](dataset, train, part)
        figures[role] = {"keep": evaluate(dataset, part, score, seen="keep").metrics}
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def verdict(gains: dict[int, list[float]]) -> str:
    """Return the gain at each H, and whether it is larger at the small one by more than twice its standard error."""
    small, large = (gains[hidden] for hidden in HIDDEN)
    difference = statistics.mean(small) - statistics.mean(large)
    error = math.sqrt(sum(statistics.variance(found) / len(found) for found in (small, large)))
    claim = "undecided" if abs(difference) <= 2 * error else "confirmed" if difference > 0 else "refuted"
    parts = [f"H = {hidden} {mean_and_error(gains[hidden])}" for hidden in HIDDEN]
    return f"{', '.join(parts)}; pays more at small H: {claim} (difference {difference:+.4f} ± {error:.4f})."


def values(by_seed: dict[int, Figures], measure: str) -> list[float]:
    return [value(figures, measure) for figures in by_seed.values()]


def value(figures: Figures, measure: str) -> float:
    role, metric = MEASURES[measure]
    return float(figures[role]["keep"][metric])


def main() -> None:
    parser = script_parser(__doc__, write="put the finished rows into docs/benchmarks.md; run none")
    parser.add_argument("--data", type=Path, default=Path("data/complete-journey"))
    parser.add_argument(
        "--users", type=float, default=0.25, help="share of the households that take part, drawn at random"
    )
    parser.add_argument("--epochs", type=int, default=8, help="the most epochs of a row; it stops after 3 without gain")
    parser.add_argument("--rows", help="the rows to run, MODEL-H-SEED separated by commas; all unless given")
    parser.add_argument("--results", type=Path, default=Path("results/hierarchy"), help="where rows are kept")
    parser.add_argument("--log", type=Path, help="write the log of seed 0 to this file, for a study of it; run none")
    options = parser.parse_args()
    if options.log:
        write_copy(options.data / "interactions.csv", options.log, lambda events: make_log(events, options.users, 0))
        return
    torch.set_num_threads(1)
    folder: Path = options.results

    def run(name: str) -> Figures:
        model, hidden, number = name.split("-")
        seed = int(number)
        log = write_copy(
            options.data / "interactions.csv",
            folder / f"users-{options.users}-seed-{seed}.csv",
            lambda events: make_log(events, options.users, seed),
        )
        if model in BASELINES_BESIDE:
            return run_baseline(folder, name, load_dataset(log), model)
        configuration = configuration_of(model, int(hidden), seed, options.epochs)
        return run_row(folder, name, load_dataset(log), configuration, also="leave-one-out")

    if not options.write:
        known = [f"{name}-0-{seed}" for seed in SEEDS for name in BASELINES_BESIDE]
        known += [f"{model}-{hidden}-{seed}" for seed in SEEDS for hidden in HIDDEN for model in MODELS]
        run_rows(folder, {name: lambda name=name: run(name) for name in wanted_rows(options.rows, known)})
    body = report(folder)
    print(body)
    if options.write:
        command = f"scripts/benchmarks/hierarchy.py --users {options.users} --epochs {options.epochs}"
        write_section("Does hierarchy pay on complete-journey?", command, body)


if __name__ == "__main__":
    main()
