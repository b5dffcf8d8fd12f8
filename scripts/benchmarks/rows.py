"""Long benchmarks as rows: each finished row is a JSON file, so they stop, go on, and share cores between processes.

A row trains one configuration, opens its test part once, and is never run again while its file is there.
"""

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine

from hrnn_hpo.config import Configuration, dump_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol, make_split
from hrnn_hpo.evaluation.protocols import evaluate_both
from hrnn_hpo.experiment import prepare_experiment, run_experiment, test_part
from hrnn_hpo.model.encode import score_rows
from hrnn_hpo.training.progress import EpochReport

Figures = dict[str, Any]


def run_row(
    folder: Path, name: str, dataset: Dataset, configuration: Configuration, also: Protocol | None = None
) -> Figures:
    """Return a row's figures: from its file, or by training `configuration` and writing that file.

    An interrupted row goes on from its last epoch. The file tells configuration, data hash, machine, epochs and
    seconds, validation metrics, and the test metrics with seen items removed and kept. `also` tests the same model
    under another protocol too, whose test events must be among the first's.
    """
    settings = dump_configuration(configuration) | {"data_hash": dataset.content_hash}
    finished = read_row(folder, name)
    if finished is not None:
        if finished["settings"] != settings:
            raise SystemExit(
                f"{folder / name}.json was made with other settings: remove it, or choose other --results."
            )
        return finished
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    checkpoint = folder / f"{name}-{digest[:8]}.checkpoint"
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
        "settings": settings,
        "machine": describe_machine(),
        "best_epoch": result.best_epoch,
        "n_epochs": len(result.history),
        "seconds": sum(report.seconds + report.validation_seconds for report in result.history),
        "targets_per_second": statistics.median(report.targets_per_second for report in result.history),
        "seen": experiment.seen,  # of the validation metrics
        "validation": result.metrics,
    }
    for role, part in parts.items():
        both = evaluate_both(dataset, part, score_rows(result.model, dataset, experiment.inputs, part))
        figures[role] = {seen: evaluation.metrics for seen, evaluation in both.items()}
    draft = folder / f"{name}.partial"  # so that the row's file is whole or not there
    draft.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    draft.replace(folder / f"{name}.json")
    checkpoint.unlink()
    return figures


def read_row(folder: Path, name: str) -> Figures | None:
    """Return the figures of a finished row, None when its file is not there."""
    file = folder / f"{name}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


def wanted_rows(text: str | None, known: Sequence[str]) -> list[str]:
    """Return the rows that `--rows` names, all of them without it; an unknown one ends the script."""
    rows = list(known) if text is None else text.split(",")
    unknown = sorted(set(rows) - set(known))
    if unknown:
        raise SystemExit(f"--rows: {', '.join(unknown)}: must be among {', '.join(known)}.")
    return rows


def run_rows(folder: Path, work: Mapping[str, Callable[[], Figures]]) -> None:
    """Run rows in order and print each one's test figures as it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, run in work.items():
        figures = run()
        for seen, metrics in figures["test"].items():
            chosen = ", ".join(f"{metric} {metrics[metric]:.4f}" for metric in ("ndcg_at_10", "mrr_at_25"))
            print(f"{name}: test, seen items {seen}: {chosen}; {figures['seconds']:.0f} s", flush=True)
