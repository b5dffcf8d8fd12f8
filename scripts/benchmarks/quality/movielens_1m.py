"""Ranking quality on ml-1m under Amazon's protocols and leave-one-out, in rows of one training each, on one thread.

Run: .venv/bin/python scripts/benchmarks/quality/movielens_1m.py [--rows 'last-*,loo-1,…'] [--config FILE] [--epochs N]

    last-0 … last-4    `personalize-last` after each user's newest ceil(n / 10) events are removed, split seeds 0 to 4
    tenth-0 … tenth-2  `newest-tenth`, seeds 0 to 2
    ahead-0 … ahead-2  the same, but targets lie 2.5 events ahead on average (`targets_ahead: 2.5`)
    loo-0 … loo-2      `leave-one-out`, seeds 0 to 2
    ties-0 … ties-2    the same on a copy in which a user's events of the same second stand in random order
    five_core-0 … -2   the same on LRURec's copy: users and items of 5 events or more, a second's events by item number
    known-0 … known-2  `leave-one-out` again, with a model that reads the time of a request: asked with and without it
    all-0 … all-2      the same, and items start near their neighbours (`item_start: neighbours`)
    all_ties-0 … -2    the same on the shuffled copy, with a new order of ties each epoch too (`shuffle_ties`)
    users_ties-0 … -2  the same as `all_ties`, but items start near those of the same users (`item_start: users`)

The figures to beat are Amazon's own for its HRNN (aws-samples notebooks): ndcg_at_10 .1142 and mrr_at_25 .0799 on
`last` (whether seen items were kept is not known: both are given), precision_at_10 .1480 on `tenth` without seen
items. An epoch takes about a minute on a quiet core, a row 10 to 30; an interrupted row resumes from its last epoch,
and several processes share the rows.

The configuration comes from a search on three tenths of the users with few epochs, which `--user-sample FILE` writes:

    .venv/bin/python scripts/benchmarks/quality/movielens_1m.py --user-sample results/ml-1m-sample.csv
    hrnn-hpo tune results/ml-1m-sample.csv --space scripts/benchmarks/quality/ml-1m-space.yaml --study ml-1m \\
        --protocol leave-one-out --n-trials 40 --timeout 65m --threads 1 --seed 1
"""

from pathlib import Path

import pandas as pd

from hrnn_hpo.config import Configuration, load_configuration
from hrnn_hpo.data.prepared import load_dataset
from scripts.benchmarks.kit.logs import five_core, shuffle_ties, some_users, without_newest_tenth, write_copy
from scripts.benchmarks.kit.rows import Cell, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import all_of, mean, mean_and_error, of_seeds, table, verdict
from scripts.benchmarks.kit.trainings import training_cell

CONFIG = Path("search_spaces/best/ml-1m.yaml")
METRICS = ("ndcg_at_10", "mrr_at_25", "precision_at_10", "hit_rate_at_10")
KINDS = {  # protocol, number of seeds, patience
    "last": ("personalize-last", 5, 3),
    "tenth": ("newest-tenth", 3, 3),
    "ahead": ("newest-tenth", 3, 3),
    "loo": ("leave-one-out", 3, None),
    "ties": ("leave-one-out", 3, None),
    "five_core": ("leave-one-out", 3, None),
    "known": ("leave-one-out", 3, None),
    "all": ("leave-one-out", 3, None),
    "all_ties": ("leave-one-out", 3, None),
    "users_ties": ("leave-one-out", 3, None),
}
AMAZON = {  # kind: (seen items, metric, Amazon's figure, factor to reach)
    "last": [
        (seen, *goal)
        for seen in ("remove", "keep")
        for goal in (("ndcg_at_10", 0.1142, 1.4), ("mrr_at_25", 0.0799, 1.4))
    ],
    "tenth": [("remove", "precision_at_10", 0.1480, 1.284)],  # .19
    "ahead": [("remove", "precision_at_10", 0.1480, 1.284)],
}
KNOWN: dict[str, object] = {"request_time": "gap+session+clock"}
ALL = KNOWN | {"item_start": "neighbours"}
CHANGES: dict[str, dict[str, object]] = {
    "tenth": {"targets_ahead": 1.0},
    "ahead": {"targets_ahead": 2.5},
    "known": KNOWN,
    "all": ALL,
    "all_ties": ALL | {"shuffle_ties": True},
    "users_ties": KNOWN | {"item_start": "users", "shuffle_ties": True},
}
SHUFFLED = ("ties", "all_ties", "users_ties")  # are trained on a copy of their own for each seed
TOLD = "test, request time known"  # the figures of a model that is told when the request is made
N_EVENTS, N_WITHOUT_NEWEST_TENTH = 1_000_209, 897_450  # the second is Amazon's count too


def data_of(kind: str, seed: int, data: Path, folder: Path) -> Path:
    """Return the interactions that a row reads, writing those that are made here."""
    interactions = data / "interactions.csv"
    if kind not in ("last", "five_core", *SHUFFLED):
        return interactions
    if kind == "five_core":
        return write_copy(interactions, folder / "five-core.csv", five_core)
    if kind == "last":
        return write_copy(interactions, folder / "without-newest-tenth.csv", remove_newest_tenth)
    return write_copy(interactions, folder / f"shuffled-ties-{seed}.csv", lambda events: shuffle_ties(events, seed))


def remove_newest_tenth(events: pd.DataFrame) -> pd.DataFrame:
    """Return `without_newest_tenth`; of the whole ml-1m as many rows must stay as Amazon counted."""
    left = without_newest_tenth(events)
    assert len(events) != N_EVENTS or len(left) == N_WITHOUT_NEWEST_TENTH, f"{len(left)=}"
    return left


def configuration_of(kind: str, seed: int, config: Path, epochs: int | None) -> Configuration:
    protocol, _, patience = KINDS[kind]
    base = load_configuration(config)
    changes = {name: value for name, value in (("patience", patience), ("epochs", epochs)) if value is not None}
    hyperparameters = base.with_hyperparameters(changes | CHANGES.get(kind, {}), "movielens_1m.py").hyperparameters
    return Configuration(hyperparameters=hyperparameters, protocol=protocol, split_seed=seed, seed=seed, n_threads=1)


def report(rows: Rows) -> str:
    """Return the tables of the rows that are finished, Amazon's figures beside ours."""
    lines: list[list[object]] = []
    verdicts = []
    for kind, (protocol, n_seeds, _) in KINDS.items():
        done = of_seeds(rows, kind, range(n_seeds)) or [
            row for name, row in rows.items() if name.startswith(f"{kind}-")
        ]
        if not done:
            continue
        epochs = all_of(done, "best_epoch", "best_epochs")
        tests = [row.figures["test"] for row in done]
        for part, asked in (("test", ""), (TOLD, ", told the time")):
            found = [row.figures[part] for row in done if part in row.figures]
            for seen in ("remove", "keep") if found else ():
                cells = [mean_and_error([test[seen][metric] for test in found]) for metric in METRICS]
                seeds = f"{len(epochs)} of {n_seeds}"
                lines.append([kind + asked, protocol, seen, seeds, *cells, cost(done, epochs)])
        for seen, metric, theirs, factor in AMAZON.get(kind, []):
            ours = mean([test[seen][metric] for test in tests])
            verdicts.append(
                f"- `{kind}`, {metric}, seen items {seen}: {ours:.4f} against Amazon's {theirs:.4f}, "
                f"{ours / theirs:.2f} times (goal: {factor}, {verdict(ours >= factor * theirs)})."
            )
    columns = ["rows", "protocol", "seen items", "seeds", *METRICS, "best epochs, minutes a seed"]
    return table(columns, lines) + "\n\nMean ± standard error over seeds, test users.\n\n" + "\n".join(verdicts)


def cost(done: list[Row], epochs: list[int]) -> str:
    minutes = sum(row.figures["seconds"] for row in done) / len(done) / 60
    return f"{', '.join(map(str, epochs))}; {minutes:.0f}"


def main() -> None:
    parser = script_parser(__doc__, "movielens_1m")
    parser.add_argument("--data", type=Path, default=Path("data/ml-1m"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--epochs", type=int, help="at most so many epochs; the configuration's unless given")
    parser.add_argument("--user-sample", type=Path, help="write the events of three tenths of the users; run none")
    options = parser.parse_args()
    if options.user_sample:
        write_copy(
            options.data / "interactions.csv", options.user_sample, lambda events: some_users(events, 0.3, seed=1)
        )
        return
    results = Results("movielens_1m", options)

    def cell(name: str) -> Cell:
        kind, _, number = name.partition("-")
        seed = int(number)
        dataset = load_dataset(data_of(kind, seed, options.data, results.work))
        configuration = configuration_of(kind, seed, options.config, options.epochs)
        return training_cell(results.work, name, dataset, configuration, settings={"kind": kind})

    for name in results.chosen(
        [f"{kind}-{seed}" for kind, (_, n_seeds, _) in KINDS.items() for seed in range(n_seeds)]
    ):
        results.measure(name, cell(name))
    results.show(report)


if __name__ == "__main__":
    main()
