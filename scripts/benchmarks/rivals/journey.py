"""All households of complete-journey: the model beside every baseline, household by household.

Run: .venv/bin/python scripts/benchmarks/rivals/journey.py [--data data/complete-journey] [--rows 'next-*,last-0,…']

    next-0 … next-2    `newest-tenth`: the truth is the set of a household's coming purchases
    last-0 … last-2    `leave-one-out`: the truth is the last purchase, all before it given

Seeds are those of training and of the order inside baskets, which means nothing and is shuffled. Products with fewer
than 10 purchases are left out, so that EASE takes part (it is named as left out beyond 20,000). A row trains once and
then fits every baseline of `evaluate --baselines`, whose constants validation purchases choose; it keeps the mean of
what the model is ahead of each, and the standard error over households. A row takes a quarter of an hour of one core.

The configuration is best/complete-journey.yaml with the changes below, which come from looking at the validation
purchases of seed 0 here: smaller steps, since with .003 the figures jump by .01 from epoch to epoch; more updates; and
for `next` targets that lie 60 events ahead on average, as the truth does; `targets_ahead: auto` takes two baskets.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrnn_hpo.config import Configuration, dump_configuration, load_configuration
from hrnn_hpo.data import ITEM_ID, SESSION_ID, TIMESTAMP, USER_ID
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.evaluation.baselines import constants_note
from hrnn_hpo.evaluation.protocols import Evaluation
from hrnn_hpo.experiment import compare_baselines, evaluate_model, prepare_experiment, run_experiment, test_part
from hrnn_hpo.training.progress import EpochReport
from scripts.benchmarks.kit.logs import frequent_items, shuffle_ties, write_copy
from scripts.benchmarks.kit.rows import ROOT, Cell, Figures, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import mean_and_error, table, verdict

CONFIG = ROOT / "search_spaces" / "best" / "complete-journey.yaml"
LEAST_PURCHASES = 10
SEEDS = (0, 1, 2)
METRIC = "ndcg_at_10"
PARTS = ("", "_repeats", "_new")
SMALLER_STEPS: dict[str, Any] = {"learning_rate": 0.001, "batch_size": 32, "epochs": 10, "patience": 10}
KINDS: dict[str, tuple[Protocol, dict[str, Any]]] = {  # the protocol and its changes
    "next": ("newest-tenth", SMALLER_STEPS | {"targets_ahead": 60}),
    "last": ("leave-one-out", SMALLER_STEPS),
}
ERRORS = 2  # standard errors of the difference that the model must be ahead by
NEW_RIVALS = ("ease", "item_knn")  # that it must be ahead of on new products, too


def configuration_of(kind: str, seed: int) -> Configuration:
    protocol, changes = KINDS[kind]
    changed = load_configuration(CONFIG).with_hyperparameters(changes, "journey.py")
    asked = {"protocol": protocol, "split_seed": 0, "seed": seed, "n_threads": 1}
    return changed.model_copy(update=asked | {"best_epoch": None, "data_hash": None})


def measure(name: str, dataset: Dataset, configuration: Configuration, checkpoint: Path) -> Figures:
    """Return the test figures of the model and of every baseline, and the differences household by household."""
    torch.set_num_threads(1)
    experiment = prepare_experiment(dataset, configuration)
    part = test_part(experiment)

    def tell(report: EpochReport) -> None:
        told = ", ".join(f"{one.strip('_') or 'all'} {report.metrics[METRIC + one]:.4f}" for one in PARTS)
        print(f"{name}: epoch {report.epoch}, validation {told}", flush=True)

    result = run_experiment(experiment, device="cpu", on_epoch=tell, checkpoint=checkpoint)
    ours = evaluate_model(result.model, experiment, part)
    baselines = compare_baselines(experiment, part)
    return {
        "best_epoch": result.best_epoch,
        "n_epochs": len(result.history),
        "seconds": sum(report.seconds + report.validation_seconds for report in result.history),
        "validation": {METRIC + one: result.metrics[METRIC + one] for one in PARTS},
        "test": {METRIC + one: ours.metrics[METRIC + one] for one in PARTS},
        "baselines": {
            baseline: {METRIC + one: found.metrics[METRIC + one] for one in PARTS}
            for baseline, found in baselines.evaluations.items()
        },
        "ahead": {baseline: ahead(ours, found) for baseline, found in baselines.evaluations.items()},
        "constants": baselines.constants,
        "left_out": baselines.left_out,
    }


def ahead(ours: Evaluation, theirs: Evaluation) -> dict[str, dict[str, float]]:
    """Return what the model is ahead of a baseline by, and its standard error over the households that have a value."""
    found = {}
    for metric in (METRIC + one for one in PARTS):
        differences = ours.per_user[metric] - theirs.per_user[metric]
        known = differences[~np.isnan(differences)]
        found[metric] = {"mean": float(known.mean()), "error": float(known.std(ddof=1) / math.sqrt(len(known)))}
    return found


def report(rows: Rows) -> str:
    """Return a table for each kind of row that has a seed, and what the goals make of it."""
    kinds = {kind: [row for name, row in rows.items() if name.startswith(f"{kind}-")] for kind in KINDS}
    return "\n\n".join(_table(kind, done) for kind, done in kinds.items() if done)


def _table(kind: str, done: list[Row]) -> str:
    ours = ["**hrnn-hpo**", *(_cell([row.figures["test"][METRIC + one] for row in done]) for one in PARTS), "", "", ""]
    lines: list[list[object]] = []
    missed: list[str] = []
    for baseline in done[0].figures["baselines"]:
        values = [[row.figures["baselines"][baseline][METRIC + one] for row in done] for one in PARTS]
        gaps = [_gap(done, baseline, METRIC + one) for one in PARTS]
        lines.append([baseline, *map(_cell, values), *(f"{gap:+.4f} ± {error:.4f}" for gap, error in gaps)])
        judged = {"": gaps[0]} | ({"_new": gaps[2]} if baseline in NEW_RIVALS else {})
        missed += [f"{baseline}{one}" for one, (gap, error) in judged.items() if gap <= ERRORS * error]
    lines.sort(key=lambda cells: str(cells[1]), reverse=True)
    names = [one.strip("_") or "all" for one in PARTS]
    columns = ["system", *names, *(f"ahead, {name}" for name in names)]
    seeds = ", ".join(str(row.settings["seed"]) for row in done)
    epochs = ", ".join(f"{row.figures['best_epoch']} of {row.figures['n_epochs']}" for row in done)
    minutes = ", ".join(f"{row.figures['seconds'] / 60:.0f}" for row in done)
    told = f" ({', '.join(missed)})" if missed else ""
    note = constants_note(dict(sorted(done[0].figures["constants"].items())))
    return "\n\n".join(
        [
            f"**{kind}**, {KINDS[kind][0]}, seen items kept, seeds {seeds}",
            table(columns, [ours, *lines]),
            f"{METRIC} on test households. `ahead`: the model less the baseline in the mean over seeds, ± the standard "
            f"error over households (the mean of the seeds'). Best epochs {epochs}; minutes of training by "
            f"the clock {minutes}. {note or ''}",
            f"Ahead of every baseline by more than {ERRORS} standard errors, on new products of "
            f"{' and '.join(NEW_RIVALS)} too: {verdict(not missed)}{told}.",
        ]
    )


def _cell(values: list[float]) -> str:
    return mean_and_error(values) if len(values) > 1 else f"{values[0]:.4f}"


def _gap(done: list[Row], baseline: str, metric: str) -> tuple[float, float]:
    found = [row.figures["ahead"][baseline][metric] for row in done]
    return sum(one["mean"] for one in found) / len(found), sum(one["error"] for one in found) / len(found)


def main() -> None:
    parser = script_parser(__doc__, "journey")
    parser.add_argument("--data", type=Path, default=Path("data/complete-journey"))
    options = parser.parse_args()
    results = Results("journey", options)

    def cell(kind: str, seed: int) -> Cell:
        log = write_copy(
            options.data / "interactions.csv",
            results.work / f"journey-{seed}.csv",
            lambda events: shuffle_ties(
                frequent_items(events, LEAST_PURCHASES)[[USER_ID, ITEM_ID, TIMESTAMP, SESSION_ID]], seed
            ),
        )
        dataset, configuration = load_dataset(log), configuration_of(kind, seed)
        name = f"{kind}-{seed}"
        checkpoint = results.work / f"journey-{name}.checkpoint"
        settings = dump_configuration(configuration) | {"data_hash": dataset.content_hash}
        return Cell(settings, partial(measure, name, dataset, configuration, checkpoint), leftovers=[checkpoint])

    known = {f"{kind}-{seed}": (kind, seed) for kind in KINDS for seed in SEEDS}
    for name in results.chosen(list(known)):
        results.measure(name, cell(*known[name]))
    results.show(report)


if __name__ == "__main__":
    main()
