"""A log whose events can be told apart, and model folders of it, imported by the tests of model folders."""

from pathlib import Path

from small_runs import small_configuration

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol, Split, make_split
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.model.folder import SavedModel, SplitRecord, keep_model, load_model, write_model
from hrnn_hpo.model.hrnn import HRNN

FILES = ["config.yaml", "histories.safetensors", "split.json", "vocabulary.json", "weights.safetensors"]
CHANGES = {"architecture": "hierarchical", "n_blocks": 2, "recency_mask": True}


def log_of(n_users: int = 30, n_events: int = 12) -> Dataset:
    """Every event has a time of its own, so that each can be looked for in a folder."""
    return make_dataset(
        [
            [
                (
                    f"i{(user + step) % 7}é",
                    1000 * user + step,
                    "buy" if step % 2 else "view",
                    float(step),
                    f"s{step // 4}",
                )
                for step in range(n_events)
            ]
            for user in range(n_users)
        ]
    )


def record_of(split: Split, dataset: Dataset) -> SplitRecord:
    return SplitRecord(
        protocol=split.protocol,
        split_seed=split.seed,
        data_hash=dataset.content_hash,
        seen="keep",
        validation_metrics={"ndcg_at_10": 0.1 + 0.2},
    )


def saved(folder: Path, model: HRNN, dataset: Dataset, protocol: Protocol = "personalize") -> SavedModel:
    split = make_split(dataset, protocol, 0)
    configuration: Configuration = small_configuration(protocol, **CHANGES)
    write_model(folder, keep_model(model, configuration, dataset, split, record_of(split, dataset)))
    return load_model(folder)
