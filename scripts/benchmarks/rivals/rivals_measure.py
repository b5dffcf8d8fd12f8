"""How a row of rivals.py is measured: a driver in another environment, a baseline, or this project's own training.

All are ranked for the same test users and get the same figures. A driver is given no test truth.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart, expand_ranges
from hrnn_hpo.evaluation.baselines import BASELINES, Chooser, choose_constants
from hrnn_hpo.evaluation.protocols import Evaluation, ScoreRows, evaluate, evaluate_ranking
from hrnn_hpo.evaluation.rankings import read_rankings
from hrnn_hpo.experiment import Experiment, evaluate_model, run_experiment, test_part
from hrnn_hpo.training.progress import EpochReport
from scripts.benchmarks.kit.rows import Figures
from scripts.benchmarks.rivals.drivers.assignment import Assignment, Sequences
from scripts.benchmarks.rivals.driving import EPOCH, told_by


def sequences(dataset: Dataset, starts: np.ndarray, stops: np.ndarray) -> Sequences:
    """Return the items of the rows `starts : stops` of each user."""
    _, events = expand_ranges(starts, stops)
    return Sequences(np.asarray(dataset.items[events]), np.concatenate([[0], np.cumsum(stops - starts)]))


def assignment_of(dataset: Dataset, train: TrainPart, validation: EvalPart, test: EvalPart, seen: str) -> Assignment:
    """Return what a rival is given: all that our own model sees of events, and nothing of the test users' truth."""

    def inputs(part: EvalPart) -> Sequences:
        return sequences(dataset, dataset.user_offsets[part.users], part.truth_starts)

    return Assignment(
        train=sequences(dataset, dataset.user_offsets[train.users], train.stops),
        validation=inputs(validation),
        truth=sequences(dataset, validation.truth_starts, validation.truth_stops),
        test=inputs(test),
        item_ids=np.asarray(dataset.item_ids, dtype=np.str_),
        user_ids=np.asarray(dataset.user_ids[test.users], dtype=np.str_),
        remove_seen=seen == "remove",
    )


def evaluate_file(experiment: Experiment, file: Path) -> Evaluation:
    """Return the figures of a rival's file; SystemExit where it lists what our own models would not list.

    That is an item that the data does not have, one of the user's input where ours leave them out, or too few items.
    """
    part = test_part(experiment)
    found = read_rankings(file, experiment.dataset, part, seen=experiment.seen, apart=experiment.apart)
    if found.notes:
        raise SystemExit("\n".join(found.notes))
    new_items = found.top_items if experiment.seen == "remove" else found.new_items
    return evaluate_ranking(
        experiment.dataset, part, found.top_items, new_items=new_items if experiment.apart else None
    )


def measure_rival(
    name: str, experiment: Experiment, work: Path, python: Callable[[], Path], driver: str, settings: dict[str, Any]
) -> Figures:
    """Return the test figures of a rival that its driver trains and ranks with, and what the driver told."""
    validation = experiment.split.validation
    assert validation is not None
    asked = work / f"{name}.npz"
    lists = work / f"{name}.jsonl"
    assignment_of(experiment.dataset, experiment.split.train, validation, test_part(experiment), experiment.seen).write(
        asked
    )
    told = run_driver(name, python(), driver, settings | {"assignment": str(asked), "rankings": str(lists)})
    asked.unlink()
    return told | {"test": evaluate_file(experiment, lists).metrics}


def run_driver(name: str, python: Path, driver: str, settings: dict[str, Any]) -> Figures:
    """Return what a driver tells: its epochs, if it has any, and its result."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    told: Figures = {"epochs": []}
    for kind, content in told_by(
        driver, python, settings, {**one, "PYTHONPATH": None}, Path(settings["assignment"]).parent
    ):
        if kind == EPOCH:
            told["epochs"].append(content)
            say(name, content)
        else:
            told |= content
    if "core_seconds" not in told:
        raise SystemExit(f"{driver} told no result.")
    return told


def measure_baseline(baseline: str, experiment: Experiment) -> Figures:
    """Return the test figures of a baseline, fitted on training events, its constants chosen on validation users."""
    dataset, split, part = experiment.dataset, experiment.split, test_part(experiment)
    assert split.validation is not None
    began = time.process_time()
    known, constants = BASELINES[baseline], {}
    if known.grid:
        constants = choose_constants(
            known, dataset, Chooser(experiment.search_train, split.validation), seen=experiment.seen
        )

    def figures(score_rows: ScoreRows, on: EvalPart) -> dict[str, float]:
        return evaluate(dataset, on, score_rows, seen=experiment.seen, apart=experiment.apart).metrics

    test = figures(known(dataset, split.train, part, constants), part)
    seconds = time.process_time() - began
    validation = figures(known(dataset, split.train, split.validation, constants), split.validation)
    return {
        "epochs": [],
        "n_ranked_items": dataset.n_items,
        "constants": constants,
        "core_seconds": seconds,
        "validation_ndcg_at_10": validation["ndcg_at_10"],
        "test": test,
    }


def measure_ours(name: str, experiment: Experiment) -> Figures:
    """Return the test figures of this project's model, and its epochs.

    An epoch's core-seconds are divided between training and validation as its seconds on the clock are.
    """
    torch.set_num_threads(1)
    epochs: list[dict[str, float]] = []
    began = last = time.process_time()

    def tell(report: EpochReport) -> None:
        nonlocal last
        now = time.process_time()
        spent = (now - last) * report.seconds / (report.seconds + report.validation_seconds)
        last = now
        total = spent + (epochs[-1]["total_core_seconds"] if epochs else 0.0)
        ndcg = report.metrics["ndcg_at_10"]
        epochs.append({"epoch": report.epoch, "core_seconds": spent, "total_core_seconds": total, "ndcg_at_10": ndcg})
        say(name, epochs[-1])

    result = run_experiment(experiment, device="cpu", on_epoch=tell)
    test = evaluate_model(result.model, experiment, test_part(experiment)).metrics
    return {
        "epochs": epochs,
        "n_ranked_items": experiment.dataset.n_items,
        "n_parameters": result.n_parameters,
        "best_epoch": result.best_epoch,
        "n_epochs": len(epochs),
        "validation_ndcg_at_10": result.metrics["ndcg_at_10"],
        "core_seconds": time.process_time() - began,
        "test": test,
    }


def say(name: str, epoch: Mapping[str, float]) -> None:
    print(
        f"{name}: epoch {epoch['epoch']}, {epoch['core_seconds']:.1f} core-seconds, "
        f"validation ndcg_at_10 {epoch['ndcg_at_10']:.4f}",
        file=sys.stderr,
        flush=True,
    )
