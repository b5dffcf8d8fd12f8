"""Datasets as folders of memory-mapped arrays, and the cache that makes the second start instant.

All workers of a machine map the same files, so they share one copy in the page cache. Reading CSV and Parquet
is ingest's work.
"""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.ingest import Source, find_source, read_source
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import DataError

_log = logging.getLogger(__name__)

FORMAT = 2  # of the folder and of what ingest makes of a file; raise it when either changes its meaning
LAST_SECOND = 253_402_300_799  # of the year 9999
META = "meta.json"
REQUIRED_ARRAYS = ("user_offsets", "items", "timestamps", "user_ids", "item_ids")
OPTIONAL_ARRAYS = ("session_ids", "event_types", "event_values")


def load_dataset(path: Path) -> Dataset:
    """Return the dataset in a file, a data folder or a prepared folder, memory-mapped.

    Files and data folders are prepared in the cache first, unless their content is there already; where the cache
    cannot be written the arrays stay in memory.
    """
    dataset = _load(Path(path))
    if dataset.n_events and int(dataset.timestamps.max()) > LAST_SECOND:
        _log.warning(
            "%s: times lie beyond the year 9999. TIMESTAMP counts seconds; milliseconds make every event a session.",
            path,
        )
    return dataset


def _load(path: Path) -> Dataset:
    if is_prepared(path):
        return load_prepared(path)
    source = find_source(path)
    source_hash = _source_hash(source)
    try:
        folder = _build(source, source_hash, cache_folder() / "prepared" / source_hash[:32], str(path))
    except OSError:
        return read_source(source, str(path), lambda _, length, dtype: np.empty(length, dtype=dtype))
    return dataclasses.replace(load_prepared(folder), name=str(path))


def prepare(path: Path, out: Path | None = None) -> Path:
    """Return a prepared folder with the data of `path`: `out`, or the cache's own for that content.

    What is there already stays when it holds the same content, and is built again when it is damaged. The folder
    appears under its name only when it is complete.

    Raises DataError when `out` is something else than a prepared folder, or cannot be written.
    """
    path = Path(path)
    if out is not None and out.exists() and not is_prepared(out) and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: must be a prepared folder, empty or new, but holds something else.")
    try:
        if is_prepared(path):
            dataset = load_prepared(path)
            return path if out is None else _copy(path, dataset.content_hash, out)
        source = find_source(path)
        source_hash = _source_hash(source)
        target = cache_folder() / "prepared" / source_hash[:32] if out is None else out
        return _build(source, source_hash, target, str(path))
    except OSError as error:
        raise DataError(f"{out or cache_folder()}: cannot be written ({error.strerror}).") from error


def is_prepared(path: Path) -> bool:
    """Return whether a folder is, or once was, a prepared one."""
    return (Path(path) / META).is_file()


def load_prepared(folder: Path) -> Dataset:
    """Return the dataset in a prepared folder; its arrays are mapped, not read.

    Raises DataError when a file is missing, has another size than when it was written, or comes from another format.
    """
    folder = Path(folder)
    meta = _read_meta(folder)
    arrays = {name: _load_array(folder, name, size) for name, size in meta["bytes"].items()}
    return Dataset(
        content_hash=meta["content_hash"],
        event_type_names=tuple(meta["event_type_names"]),
        n_duplicates=meta["n_duplicates"],
        name=meta["name"],
        **arrays,
    )


def cache_folder() -> Path:
    """Return where prepared and fetched data is kept: HRNN_HPO_CACHE, else hrnn-hpo in the user's cache folder."""
    chosen = os.environ.get("HRNN_HPO_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hrnn-hpo"


def _build(source: Source, source_hash: str, target: Path, name: str) -> Path:
    if _holds(target, source_hash=source_hash):
        return target
    with _temporary_sibling(target) as folder:

        def allocate(field: str, length: int, dtype: Any) -> NDArray[Any]:
            return np.lib.format.open_memmap(folder / f"{field}.npy", mode="w+", dtype=dtype, shape=(length,))

        dataset = read_source(source, name, allocate)
        np.save(folder / "user_ids.npy", dataset.user_ids)
        np.save(folder / "item_ids.npy", dataset.item_ids)
        fields = [field for field in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS) if getattr(dataset, field) is not None]
        for field in fields:
            array = getattr(dataset, field)
            if isinstance(array, np.memmap):
                array.flush()
        meta = {
            "format": FORMAT,
            "name": name,
            "content_hash": dataset.content_hash,
            "source_hash": source_hash,
            "event_type_names": list(dataset.event_type_names),
            "n_duplicates": dataset.n_duplicates,
            "bytes": {field: (folder / f"{field}.npy").stat().st_size for field in fields},
        }
        (folder / META).write_text(json.dumps(meta, indent=2), encoding="utf-8")
        _publish(folder, target, source_hash=source_hash)
    return target


def _copy(prepared: Path, content_hash: str, target: Path) -> Path:
    if _holds(target, content_hash=content_hash):
        return target
    with _temporary_sibling(target) as folder:
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        _publish(folder, target, content_hash=content_hash)
    return target


@contextmanager
def _temporary_sibling(target: Path) -> Iterator[Path]:
    folder = target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, target: Path, **content: str) -> None:
    """Give a complete folder its name, in one step for those who look: they see nothing, the old or the new."""
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    try:
        folder.replace(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if _holds(target, **content):  # another process was faster
            return
        with _temporary_sibling(target) as old:
            target.replace(old)
            folder.replace(target)


def _holds(folder: Path, **content: str) -> bool:
    """Return whether a folder is a whole prepared one with the given hashes in its meta.json."""
    if not is_prepared(folder):
        return False
    try:
        load_prepared(folder)
        meta = _read_meta(folder)
    except DataError:
        return False
    return all(meta[key] == value for key, value in content.items())


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        known = meta["format"] == FORMAT
        complete = known and set(REQUIRED_ARRAYS) <= set(meta["bytes"]) <= {*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS}
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


def _source_hash(source: Source) -> str:
    """Return the sha256 over the bytes and roles of the source's files; where they lie does not matter."""
    digest = hashlib.sha256(f"{FORMAT}".encode())
    for role, path, _ in source.tables:
        try:
            with path.open("rb") as file:
                digest.update(f"\n{role}:{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    return digest.hexdigest()
