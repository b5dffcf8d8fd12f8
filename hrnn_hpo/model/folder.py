"""A model on disk: a folder of safetensors, YAML and JSON that loads without running pickled code.

It holds what serving needs (weights, vocabularies, histories up to the truth) and what evaluation must check
(protocol, seeds, data hash); truth events never enter it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from hrnn_hpo.config import Configuration, dump_configuration, load_configuration
from hrnn_hpo.data.featurize import AS_IT_IS, ValueScale
from hrnn_hpo.data.keeping.litter import clean_up, longest_name, publish, temporary_sibling
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, Split
from hrnn_hpo.errors import ConfigError, ModelError, RunFailedError
from hrnn_hpo.files import require_writable, whole_file
from hrnn_hpo.model.ensemble import AnyModel, Ensemble
from hrnn_hpo.model.hrnn import HRNN, Catalogue

FORMAT = 1
CONFIG, WEIGHTS, VOCABULARY, HISTORIES, SPLIT = (
    "config.yaml",
    "weights.safetensors",
    "vocabulary.json",
    "histories.safetensors",
    "split.json",
)
OTHER_FILES = (CONFIG, WEIGHTS, VOCABULARY, HISTORIES)  # beside SPLIT, which knows their contents
OPTIONAL_ARRAYS = ("session_ids", "event_types", "event_values")
HISTORY_ARRAYS = ("user_offsets", "items", "timestamps", *OPTIONAL_ARRAYS)


@dataclass(frozen=True)
class SplitRecord:
    """What `evaluate` must know before it opens the test data: split.json."""

    protocol: str
    split_seed: int
    data_hash: str
    seen: Literal["remove", "keep"]
    refit: bool = False
    validation_metrics: dict[str, float] = field(default_factory=dict)
    test_openings: int = 0  # how often the test part was evaluated with this model
    n_members: int = 1  # models whose probabilities are averaged: their weights are `members.0.…` and so on
    sha256: dict[str, str] = field(default_factory=dict)  # by file: one that was cut, or another model's, may well load
    format: int = FORMAT


@dataclass(frozen=True)
class SavedModel:
    """A model as a folder holds it. `histories` has the users' events up to their truth, and the vocabularies."""

    folder: Path | None  # None for one that was not written
    model: AnyModel
    configuration: Configuration
    split: SplitRecord
    histories: Dataset


def keep_model(
    model: AnyModel, configuration: Configuration, dataset: Dataset, split: Split, record: SplitRecord
) -> SavedModel:
    """Return a model in evaluation mode with what its folder would hold, without writing one."""
    # A refit has learned the validation events: serving must know what the model knows. Test truth stays out.
    truths = [split.test] if record.refit else [split.validation, split.held_back, split.test]
    arrays: dict[str, Any] = _up_to_truth(dataset, truths)
    histories = replace(dataset, **arrays, content_hash=record.data_hash)
    return SavedModel(None, model.eval(), configuration, record, histories)


def write_model(folder: Path, saved: SavedModel) -> SplitRecord:
    """Write a model folder and return the record in it, which knows its files.

    The folder appears under its name only when it is complete, in place of an older model.

    Raises ModelError when `folder` exists and holds something else than a model, RunFailedError where the disk is full
    or the folder cannot be written.
    """
    require_model_target(folder)
    target = folder.resolve()  # a link stays one
    try:
        with temporary_sibling(target) as partial:
            record = _write_files(partial, saved)
            publish(partial, target, holds=lambda: False)
        clean_up(target.parent, target.name)  # now that a model is there: until then it may be somebody's only copy
    except (OSError, SafetensorError) as error:
        raise RunFailedError(f"{folder}: the model cannot be written ({error}).") from error
    return record


def _write_files(folder: Path, saved: SavedModel) -> SplitRecord:
    """Write the files of a model into an empty folder and return the record, which knows them."""
    histories = saved.histories
    tensors = {name: value.detach().cpu().contiguous() for name, value in saved.model.state_dict().items()}
    save_tensors(tensors, folder / WEIGHTS)
    config = yaml.safe_dump(dump_configuration(saved.configuration), sort_keys=False)
    (folder / CONFIG).write_text(config, "utf-8")
    vocabulary: dict[str, Any] = {
        "items": histories.item_ids.tolist(),
        "users": histories.user_ids.tolist(),
        "event_types": list(histories.event_type_names),
    }
    if saved.model.catalogue.has_event_values:
        vocabulary["value_scale"] = asdict(saved.model.catalogue.value_scale)
    (folder / VOCABULARY).write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    arrays = {name: getattr(histories, name) for name in HISTORY_ARRAYS if getattr(histories, name) is not None}
    save_arrays(arrays, folder / HISTORIES)
    record = replace(saved.split, sha256={name: _sha256(folder / name) for name in OTHER_FILES})
    _write_record(folder, record)
    return record


def load_model(folder: Path, device: torch.device | None = None) -> SavedModel:
    """Return the model in a folder, in evaluation mode.

    Raises ModelError when the folder is no model folder, is damaged or was written by another format.
    """
    folder = Path(folder)
    if not holds_model(folder):
        raise ModelError(f"{folder}: is not a model folder: {SPLIT} is missing. `hrnn-hpo train` writes one.")
    try:
        record = read_record(folder)
        for name, written in record.sha256.items():
            if _sha256(folder / name) != written:
                raise ValueError(f"{name} is not the one that was written with the model")
        configuration = load_configuration(folder / CONFIG)
        vocabulary = json.loads((folder / VOCABULARY).read_text("utf-8"))
        arrays = load_arrays(folder / HISTORIES)
        weights = load_tensors(folder / WEIGHTS)
        histories = Dataset(
            user_offsets=arrays["user_offsets"],
            items=arrays["items"],
            timestamps=arrays["timestamps"],
            user_ids=np.array(vocabulary["users"], dtype=np.str_),
            item_ids=np.array(vocabulary["items"], dtype=np.str_),
            content_hash=record.data_hash,
            session_ids=arrays.get("session_ids"),
            event_types=arrays.get("event_types"),
            event_type_names=tuple(vocabulary["event_types"]),
            event_values=arrays.get("event_values"),
            name=str(folder),
        )
        scale = vocabulary.get("value_scale")  # version 0.1.0 wrote none
        catalogue = Catalogue(
            n_items=histories.n_items,
            n_event_types=len(histories.event_type_names),
            has_event_values="event_values" in arrays,
            value_scale=AS_IT_IS if scale is None else ValueScale(**scale),
        )
        members = [HRNN(catalogue, configuration.hyperparameters) for _ in range(record.n_members)]
        model: AnyModel = members[0] if record.n_members == 1 else Ensemble(members)
        model.load_state_dict(weights)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, ConfigError) as error:
        raise ModelError(f"{folder}: is a damaged model folder ({error}).") from error
    model.to(device or torch.device("cpu")).eval()
    return SavedModel(folder, model, configuration, record, histories)


def holds_model(folder: Path) -> bool:
    """Return whether a model was written to `folder`."""
    return (folder / SPLIT).is_file()


def require_model_target(folder: Path) -> None:
    """Raise ModelError when a model cannot be written to `folder`: something else is there, or nobody may write."""
    try:
        require_writable(longest_name(folder.resolve()))
    except ConfigError as error:
        raise ModelError(f"{folder}: the model {str(error).partition(': ')[2]}") from error
    if folder.exists() and not holds_model(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder}: must be new, empty or an older model folder, but holds something else.")


def read_record(folder: Path) -> SplitRecord:
    """Return split.json of a model folder; raises ValueError or TypeError when it is damaged."""
    content: Any = json.loads((folder / SPLIT).read_text("utf-8"))
    written = content.get("format") if isinstance(content, dict) else None
    if written != FORMAT:
        raise ValueError(f"format {FORMAT} must stand in {SPLIT}, but got {written}")
    if "config_sha256" in content:  # version 0.1.0 knew the configuration's alone
        content["sha256"] = {CONFIG: content.pop("config_sha256")}
    content.pop("train_seed", None)  # of earlier folders, always null
    return SplitRecord(**content)


def record_in_folder(saved: SavedModel) -> SplitRecord | None:
    """Return split.json as it is by now: somebody else may have opened the test users since the model was read.

    None where there is no folder, or none that still holds this model.
    """
    if saved.folder is None or not holds_model(saved.folder):
        return None
    try:
        record = read_record(saved.folder)
    except (ValueError, TypeError):  # damaged meanwhile: the model in memory is whole
        return None
    return record if record.sha256 == saved.split.sha256 else None


def count_test_opening(folder: Path) -> None:
    """Record in split.json that the test part was evaluated once more. Raises RunFailedError where it cannot be."""
    record = read_record(folder)
    try:
        _write_record(folder, replace(record, test_openings=record.test_openings + 1))
    except OSError as error:
        raise RunFailedError(
            f"{folder / SPLIT}: the opening of the test users cannot be written down ({error.strerror})."
        ) from error


def _write_record(folder: Path, record: SplitRecord) -> None:
    content = asdict(record)
    if record.n_members == 1:  # said of ensembles alone
        del content["n_members"]
    with whole_file(folder / SPLIT) as draft:
        draft.write_text(json.dumps(content, indent=2), "utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _up_to_truth(dataset: Dataset, truths: list[EvalPart | None]) -> dict[str, NDArray[Any]]:
    """Return the arrays of the log with every user's history cut where the user's truth begins.

    Where a user is in several parts, the last one's border counts.
    """
    offsets = np.asarray(dataset.user_offsets)
    stops = offsets[1:].copy()
    for part in truths:
        if part is not None:
            stops[part.users] = part.truth_starts
    lengths = stops - offsets[:-1]
    kept = np.repeat(offsets[:-1] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(lengths.sum())
    arrays: dict[str, NDArray[Any]] = {
        "user_offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "items": np.asarray(dataset.items)[kept],
        "timestamps": np.asarray(dataset.timestamps)[kept],
    }
    for name in OPTIONAL_ARRAYS:
        values = getattr(dataset, name)
        if values is not None:
            arrays[name] = np.asarray(values)[kept]
    return arrays
