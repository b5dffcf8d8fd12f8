"""A prepared folder: memory-mapped arrays, and meta.json with their sizes, the content's hash, options and report.

What is prepared, when and where to, is data/prepared.py's work.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.reading.encode import Encoded
from hrnn_hpo.data.reading.problems import REJECTS
from hrnn_hpo.data.reading.read import Report
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import DataError

FORMAT = 3  # of the folder and of what reading makes of a file; raise it when either changes its meaning
READABLE = (2, 3)  # 2 is version 0.1.0's: the same arrays, without options and report
META = "meta.json"
REQUIRED_ARRAYS = ("user_offsets", "items", "timestamps", "user_ids", "item_ids")
OPTIONAL_ARRAYS = ("session_ids", "event_types", "event_values")
LISTED_ITEMS = "listed_items"  # which items an items table names: no part of the dataset, but filters ask for it
FILES = {META, REJECTS, *(f"{array}.npy" for array in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS, LISTED_ITEMS))}


def is_prepared(path: Path) -> bool:
    """Return whether a folder is, or once was, a prepared one."""
    try:
        return (Path(path) / META).is_file()
    except OSError:  # a name that is too long, for example
        return False


def load_prepared(folder: Path) -> Dataset:
    """Return the dataset in a prepared folder; its arrays are mapped, not read.

    Raises DataError when a file is missing, has another size than when it was written, or comes from another format.
    """
    folder = Path(folder)
    meta = read_meta(folder)
    arrays = {name: _load_array(folder, name, size) for name, size in meta["bytes"].items() if name != LISTED_ITEMS}
    return Dataset(
        content_hash=meta["content_hash"],
        event_type_names=tuple(meta["event_type_names"]),
        n_duplicates=meta["n_duplicates"],
        name=meta["name"],
        **arrays,
    )


def load_report(folder: Path) -> tuple[dict[str, Any], Report]:
    """Return the options that a prepared folder was read with, and what reading it counted."""
    meta = read_meta(Path(folder))
    told = meta.get("report") or {"n_duplicates": meta["n_duplicates"]}
    return dict(meta.get("options", {})), Report(**{**told, "warnings": tuple(told.get("warnings", ()))})


def write_meta(folder: Path, encoded: Encoded, options: dict[str, Any], report: Report, source_hash: str) -> None:
    """Write what makes a folder a prepared one, once its arrays stand there."""
    dataset = encoded.dataset
    np.save(folder / f"{LISTED_ITEMS}.npy", encoded.listed_items)
    fields = [field for field in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS) if getattr(dataset, field) is not None]
    meta = {
        "format": FORMAT,
        "name": dataset.name,
        "content_hash": dataset.content_hash,
        "source_hash": source_hash,
        "options": options,
        "report": report.to_dict(),
        "event_type_names": list(dataset.event_type_names),
        "n_duplicates": dataset.n_duplicates,
        "bytes": {field: (folder / f"{field}.npy").stat().st_size for field in (*fields, LISTED_ITEMS)},
    }
    (folder / META).write_text(json.dumps(meta, indent=2), encoding="utf-8")


def listed_items(folder: Path, meta: dict[str, Any], dataset: Dataset) -> NDArray[np.bool_]:
    """Return which items are named by an items table, (V,)."""
    if LISTED_ITEMS in meta["bytes"]:
        return _load_array(folder, LISTED_ITEMS, meta["bytes"][LISTED_ITEMS])
    # Version 0.1.0 did not keep it: what has no event must have come from an items table.
    unused: NDArray[np.bool_] = np.bincount(dataset.items, minlength=dataset.n_items) == 0
    return unused


def holds(folder: Path, **content: str) -> bool:
    """Return whether a folder is a whole prepared one with the given hashes in its meta.json."""
    if not is_prepared(folder):
        return False
    try:
        load_prepared(folder)
        meta = read_meta(folder)
    except DataError:
        return False
    return all(meta[key] == value for key, value in content.items())


def identity(folder: Path) -> str:
    """Return what tells a prepared folder from every other one.

    The content hash alone does not: what reading counted, with which options, and which items a table names are no part
    of the dataset, and commands show the first and filter by the last. Raises DataError as load_prepared does.
    """
    dataset = load_prepared(folder)
    options, report = load_report(folder)
    told = [FORMAT, dataset.content_hash, options, report.to_dict()]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    digest.update(np.packbits(listed_items(folder, read_meta(folder), dataset)).tobytes())
    return digest.hexdigest()


def is_twin(folder: Path, wanted: str) -> bool:
    """Return whether a folder is a whole prepared one of that identity."""
    try:
        return is_prepared(folder) and identity(folder) == wanted
    except DataError:
        return False


def require_replaceable(folder: Path, source_name: str | None, *, overwrite: bool) -> None:
    """Raise DataError where something would be lost by writing other data in the place of a folder.

    What was prepared from the log named `source_name` may go, since that log makes it again; so may what cannot be read
    any more. Data of another source goes by `overwrite` alone, and files that are none of ours by nothing.
    """
    if not is_prepared(folder):
        return
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in FILES and entry.name[0] != ".")
    if others:
        raise DataError(
            f"{folder}: holds {', '.join(others)} beside prepared data, which would be lost; take that out, or name "
            "another folder."
        )
    try:
        name = json.loads((folder / META).read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if name != source_name and not overwrite:
        made_of = f", prepared from {name}" if name else ""
        raise DataError(
            f"{folder}: holds other data already{made_of}. Name another folder, or replace it with --overwrite."
        )


def read_meta(folder: Path) -> dict[str, Any]:
    """Return the content of meta.json. Raises DataError where it is damaged or of another format."""
    known_arrays = {*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS, LISTED_ITEMS}
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        known = meta["format"] in READABLE
        complete = known and set(REQUIRED_ARRAYS) <= set(meta["bytes"]) <= known_arrays
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: {META} is damaged; prepare the data again.") from error
    if not known:
        raise DataError(f"{folder}: format {FORMAT} must stand in {META}, but got {meta['format']}; prepare it again.")
    if not complete:
        raise DataError(f"{folder}: {META} must name {', '.join(REQUIRED_ARRAYS)}; prepare the data again.")
    return dict(meta)


def _load_array(folder: Path, name: str, size: int) -> NDArray[Any]:
    file = folder / f"{name}.npy"
    try:
        if file.stat().st_size != size:
            raise DataError(f"{file}: must have {size} bytes, but has {file.stat().st_size}; prepare the data again.")
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); prepare the data again.") from error
    return array
