"""Ranking quality of a configuration over split seeds, beside the baselines, on the test users.

Run: .venv/bin/python scripts/benchmarks/quality/quality.py DATA CONFIG [--seeds 0,1,2,3,4] [--also personalize-last]

Each split seed trains once under the configuration's protocol; validation users alone decide when to stop. `--also`
evaluates the same models under another protocol with the same test users. Figures are given with seen items removed
and kept, as mean and standard error over seeds.
"""

import statistics
from functools import partial
from pathlib import Path

import torch

from hrnn_hpo.config import Configuration, dump_configuration, load_configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.evaluation.baselines import BASELINES
from hrnn_hpo.evaluation.protocols import evaluate_both
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model.encode import score_rows
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import all_of, mean_and_error, table

METRICS = ("ndcg_at_10", "mrr_at_25", "precision_at_10", "hit_rate_at_10")


def measure(dataset: Dataset, configuration: Configuration, protocols: list[str]) -> Figures:
    """Return the test metrics of one split seed, by protocol, seen items and ranker."""
    torch.set_num_threads(configuration.n_threads or 1)
    experiment = prepare_experiment(dataset, configuration, "remove")
    result = run_experiment(experiment, device="cpu")
    figures: Figures = {
        "split_seed": configuration.split_seed,
        "best_epoch": result.best_epoch,
        "seconds": result.seconds,
    }
    for protocol in protocols:
        split = make_split(dataset, protocol, configuration.split_seed)
        assert split.test is not None
        rankers = {"hrnn": score_rows(result.model, dataset, experiment.inputs, split.test)}
        rankers |= {
            name: make(dataset, experiment.split.train, split.test)
            for name, make in BASELINES.items()
            if make.why_not(dataset, experiment.split.train, split.test) is None
        }
        found: dict[str, dict[str, dict[str, float]]] = {}
        for name, ranker in rankers.items():
            for seen, evaluation in evaluate_both(dataset, split.test, ranker).items():
                found.setdefault(seen, {})[name] = {metric: evaluation.metrics[metric] for metric in METRICS}
        figures[protocol] = found
        for seen, by_ranker in found.items():
            for name in ("hrnn", "item_knn"):
                print("  ", protocol, seen, name, {m: round(v, 4) for m, v in by_ranker[name].items()}, flush=True)
    hrnn, knn = (figures[configuration.protocol]["remove"][name]["ndcg_at_10"] for name in ("hrnn", "item_knn"))
    return figures | {"wins": hrnn > knn}


def report(rows: Rows) -> str:
    """Return the tables of the data sets and protocols: of their seeds' rows, or as published where there are none."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows.values():
        groups.setdefault((row.settings["data"], row.settings["protocol"]), []).append(row)
    return "\n\n".join(table_of([r for r in found if "seed" in r.settings] or found) for found in groups.values())


def table_of(done: list[Row]) -> str:
    protocol = done[0].settings["protocol"]
    lines: list[list[object]] = []
    for asked in dict.fromkeys(asked for row in done for asked in row.settings["protocols"]):
        told = [row.figures[asked] for row in done if asked in row.figures]
        known = [name for name in ("hrnn", *BASELINES) if all(name in one["keep"] for one in told)]
        for name in known:  # earlier rows have fewer
            for seen in ("keep", "remove"):
                cells = [mean_and_error([one[seen][name][metric] for one in told]) for metric in METRICS]
                lines.append([asked, seen, name, *cells])
    seeds = all_of(done, "split_seed", "split_seeds")
    wins = all_of(done, "wins", "wins_by_seed")
    seconds = statistics.mean(row.figures["seconds"] for row in done)
    return (
        f"{table(['protocol', 'seen items', 'ranker', *METRICS], lines)}\n\n"
        f"Mean ± standard error over split seeds {', '.join(map(str, seeds))}; ndcg_at_10 above item_knn on "
        f"{sum(wins)} of {len(wins)} splits ({protocol}, seen items removed). {seconds:.0f} s a seed, best epochs "
        f"{all_of(done, 'best_epoch', 'best_epochs')}."
    )


def main() -> None:
    parser = script_parser(__doc__, "quality")
    parser.add_argument("data", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", default="0,1,2,3,4", help="split seeds; also the seeds of weights and batches")
    parser.add_argument("--also", choices=["personalize-last"], help="evaluate under this protocol too")
    options = parser.parse_args()
    configuration, dataset = load_configuration(options.config), load_dataset(options.data)
    results = Results("quality", options)
    protocols = [configuration.protocol, *([options.also] if options.also else [])]
    cells = {}
    for seed in map(int, options.seeds.split(",")):
        one = configuration.model_copy(update={"split_seed": seed, "seed": seed, "best_epoch": None})
        settings = {"data": options.data.name, "protocols": protocols, **dump_configuration(one)}
        cells[f"{options.data.name}-{configuration.protocol}-{seed}"] = Cell(
            settings | {"data_hash": dataset.content_hash},
            partial(measure, dataset, one, protocols),
            threads=configuration.n_threads or 1,
        )
    results.run(cells)
    results.show(report)


if __name__ == "__main__":
    main()
