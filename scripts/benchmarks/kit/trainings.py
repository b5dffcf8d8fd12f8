"""The rows of long benchmarks: one configuration trained, and its test part opened once."""

import hashlib
import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hrnn_hpo.config import Configuration, dump_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol, make_split
from hrnn_hpo.evaluation.protocols import evaluate_both
from hrnn_hpo.experiment import prepare_experiment, run_experiment, test_part
from hrnn_hpo.model.encode import score_rows
from hrnn_hpo.training.progress import EpochReport
from scripts.benchmarks.kit.rows import Cell, Figures


def training_cell(
    work: Path,
    name: str,
    dataset: Dataset,
    configuration: Configuration,
    *,
    also: Protocol | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Cell:
    """Return the cell that trains a configuration; its settings are those given, the configuration and the data hash.

    An interrupted training resumes from the checkpoint of its last epoch in `work`. The figures are epochs and seconds,
    validation metrics, and under `test` the test metrics with seen items removed and kept. `also` tests the same model
    under another protocol too, whose test events must be among the first's: `test PROTOCOL`. A model that reads the
    time of a request is tested both ways: `test, request time known`.
    """
    whole = dict(settings or {}) | dump_configuration(configuration) | {"data_hash": dataset.content_hash}
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    checkpoint = work / f"{name}-{digest[:8]}.checkpoint"
    return Cell(
        whole,
        lambda: _train(name, dataset, configuration, checkpoint, also),
        threads=configuration.n_threads or 1,
        leftovers=[checkpoint],
    )


def variant_cells(
    work: Path,
    dataset: Dataset,
    variants: Iterable[str],
    seeds: Iterable[int],
    configuration_of: Callable[[str, int], Configuration],
    patches: Mapping[str, Callable[[], AbstractContextManager[Any]]],
) -> dict[str, Cell]:
    """Return the cell VARIANT-SEED of every variant's training; those with a patch train under it."""
    seeds = list(seeds)

    def cell(variant: str, seed: int) -> Cell:
        configuration = configuration_of(variant, seed)
        plain = training_cell(work, f"{variant}-{seed}", dataset, configuration, settings={"variant": variant})

        def measure() -> Figures:
            with patches.get(variant, nullcontext)():
                return plain.measure()

        return replace(plain, measure=measure)

    return {f"{variant}-{seed}": cell(variant, seed) for variant in variants for seed in seeds}


def _train(
    name: str, dataset: Dataset, configuration: Configuration, checkpoint: Path, also: Protocol | None
) -> Figures:
    torch.set_num_threads(configuration.n_threads or 1)
    experiment = prepare_experiment(dataset, configuration)

    def tell(report: EpochReport) -> None:
        value = report.metrics["ndcg_at_10"]
        seconds = report.seconds + report.validation_seconds
        print(f"{name}: epoch {report.epoch}, validation ndcg_at_10 {value:.4f}, {seconds:.0f} s", flush=True)

    result = run_experiment(experiment, device="cpu", on_epoch=tell, checkpoint=checkpoint)
    parts = {"test": test_part(experiment)}
    if also is not None:
        other = make_split(dataset, also, configuration.split_seed).test
        assert other is not None
        parts[f"test {also}"] = other
    figures: Figures = {
        "best_epoch": result.best_epoch,
        "n_epochs": len(result.history),
        "seconds": sum(report.seconds + report.validation_seconds for report in result.history),
        "targets_per_second": statistics.median(report.targets_per_second for report in result.history),
        "seen": experiment.seen,  # of the validation metrics
        "validation": result.metrics,
    }
    asked = [(role, part, None) for role, part in parts.items()]
    if experiment.training.requests is not None:
        asked += [(f"{role}, request time known", part, experiment.training.requests) for role, part in parts.items()]
    for role, part, requests in asked:
        both = evaluate_both(dataset, part, score_rows(result.model, dataset, experiment.inputs, part, requests))
        figures[role] = {seen: evaluation.metrics for seen, evaluation in both.items()}
        for seen, metrics in figures[role].items():
            chosen = ", ".join(f"{metric} {metrics[metric]:.4f}" for metric in ("ndcg_at_10", "mrr_at_25"))
            print(f"{name}: {role}, seen items {seen}: {chosen}", flush=True)
    return figures
