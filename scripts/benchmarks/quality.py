"""Ranking quality of a configuration over split seeds, beside the baselines, on the test users.

Run: .venv/bin/python scripts/benchmarks/quality.py DATA CONFIG [--seeds 0,1,2,3,4] [--also personalize-last] [--write]

Each split seed trains once under the configuration's protocol; validation users alone decide when to stop. `--also`
evaluates the same models under another protocol with the same test users. Figures are given with seen items removed
and kept, as mean and standard error over seeds.
"""

import statistics
from pathlib import Path

import torch
from machine import mean_and_error, publish, script_parser, table

from hrnn_hpo.config import load_configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.evaluation.baselines import BASELINES
from hrnn_hpo.evaluation.protocols import evaluate_both
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model.encode import score_rows

METRICS = ("ndcg_at_10", "mrr_at_25", "precision_at_10", "hit_rate_at_10")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", default="0,1,2,3,4", help="split seeds; also the seeds of weights and batches")
    parser.add_argument("--also", choices=["personalize-last"], help="evaluate under this protocol too")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    configuration, dataset = load_configuration(options.config), load_dataset(options.data)
    torch.set_num_threads(configuration.n_threads or 1)
    protocols = [configuration.protocol, *([options.also] if options.also else [])]
    figures: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    seconds, epochs = [], []
    for seed in seeds:
        one = configuration.model_copy(update={"split_seed": seed, "seed": seed, "best_epoch": None})
        experiment = prepare_experiment(dataset, one, "remove")
        result = run_experiment(experiment, device="cpu")
        seconds.append(result.seconds)
        epochs.append(result.best_epoch)
        for protocol in protocols:
            split = make_split(dataset, protocol, seed)
            assert split.test is not None
            rankers = {"hrnn": score_rows(result.model, dataset, experiment.inputs, split.test)}
            rankers |= {name: make(dataset, experiment.split.train, split.test) for name, make in BASELINES.items()}
            for name, ranker in rankers.items():
                for seen, evaluation in evaluate_both(dataset, split.test, ranker).items():
                    figures.setdefault((protocol, seen, name), []).append(evaluation.metrics)
        print(f"seed {seed}: epoch {result.best_epoch}, {result.seconds:.0f} s,", flush=True)
        for (protocol, seen, name), runs in figures.items():
            if name in ("hrnn", "item_knn"):
                print("  ", protocol, seen, name, {m: round(runs[-1][m], 4) for m in METRICS}, flush=True)

    rows: list[list[object]] = []
    for (protocol, seen, name), runs in figures.items():
        cells = [mean_and_error([run[metric] for run in runs]) for metric in METRICS]
        rows.append([protocol, seen, name, *cells])
    body = table(["protocol", "seen items", "ranker", *METRICS], rows)
    wins = sum(
        ours["ndcg_at_10"] > knn["ndcg_at_10"]
        for ours, knn in zip(
            figures[configuration.protocol, "remove", "hrnn"],
            figures[configuration.protocol, "remove", "item_knn"],
            strict=True,
        )
    )
    body += (
        f"\n\nMean ± standard error over split seeds {options.seeds}; ndcg_at_10 above item_knn on {wins} of "
        f"{len(seeds)} splits (seen items removed). {statistics.mean(seconds):.0f} s a seed, best epochs {epochs}."
    )
    command = f"scripts/benchmarks/quality.py {options.data} {options.config} --seeds {options.seeds}"
    command += f" --also {options.also}" if options.also else ""
    publish(f"Quality on {options.data.name}, {configuration.protocol}", command, body, write=options.write)


if __name__ == "__main__":
    main()
