"""Datasets as folders of memory-mapped arrays, and the cache that makes the second start instant.

All workers of a machine map the same files, so they share one copy in the page cache. Reading files and DataFrames is
reading/'s work.
"""

import dataclasses
import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hrnn_hpo.data.ingest import read_report
from hrnn_hpo.data.keeping.arrays import ArrayStore
from hrnn_hpo.data.keeping.cache import cache_folder, earlier_preparation, remember
from hrnn_hpo.data.keeping.disk import disk_free, disk_needed, size_text
from hrnn_hpo.data.keeping.folder import (
    FORMAT,
    holds,
    identity,
    is_prepared,
    is_twin,
    listed_items,
    load_prepared,
    load_report,
    read_meta,
    require_replaceable,
    write_meta,
)
from hrnn_hpo.data.keeping.litter import clean_up, publish, temporary_sibling
from hrnn_hpo.data.reading.encode import Encoded
from hrnn_hpo.data.reading.load import OnStep
from hrnn_hpo.data.reading.options import FILTERS, ReadOptions, read_options
from hrnn_hpo.data.reading.problems import REJECTS
from hrnn_hpo.data.reading.read import Report, read_source, select_source
from hrnn_hpo.data.reading.source import Source, SourceLike, find_source, is_table
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, DataError
from hrnn_hpo.files import unwritable

__all__ = [
    "disk_wish",
    "files_of",
    "is_prepared",
    "load_dataset",
    "load_prepared",
    "load_report",
    "load_with_report",
    "prepare",
]
_log = logging.getLogger(__name__)
# (folder, name of the log that is prepared there again; None: of none) raises where the folder may not be replaced.
_MayReplace = Callable[[Path, str | None], None]


def load_dataset(source: SourceLike, options: ReadOptions | None = None, **fields: Any) -> Dataset:
    """Return the dataset in files, a data folder, a prepared folder or a DataFrame, memory-mapped.

    `source` is a path, a glob, several of them, or a table (pandas, polars, Arrow). `fields` are those of ReadOptions,
    or names of columns such as `user="userId", item="movieId", time="ts"`. What is not prepared yet is prepared in the
    cache first; where the cache cannot be written the arrays stay in memory. A prepared folder takes filters alone.

    Raises DataError for data that breaks a rule, ConfigError for options that do.
    """
    return load_with_report(source, read_options(options, **fields))[0]


def load_with_report(source: SourceLike, options: ReadOptions) -> tuple[Dataset, Report]:
    """Return the dataset that load_dataset gives, and what reading it counted."""
    try:
        folder = _prepare(source, options)
    except OSError:
        return _in_memory(source, options)
    dataset = load_prepared(folder)
    if _prepared_path(source) != folder:
        dataset = dataclasses.replace(dataset, name=_name(source))
    return dataset, load_report(folder)[1]


def prepare(
    source: SourceLike,
    out: Path | None = None,
    options: ReadOptions | None = None,
    *,
    overwrite: bool = False,
    on_step: OnStep | None = None,
    **fields: Any,
) -> Path:
    """Return a prepared folder with the data of a source: `out`, or the cache's own for that content.

    Source, options and fields are load_dataset's. What is there already stays when it holds the same content, and is
    built again when it is damaged, or when it was made of the same log, which is read otherwise now or has changed. The
    data of another source, and all that was prepared from a DataFrame or a prepared folder, is replaced only by
    `overwrite`. The folder appears under its name only when it is complete. `on_step` is called with (what happens, how
    much is done, of how much).

    Raises DataError when `out` is something else than a prepared folder, holds other data, or cannot be written.
    """
    options = read_options(options, **fields)
    if out is not None:
        out = Path(out)
    try:
        if out is not None and out.exists() and not is_prepared(out) and not (out.is_dir() and not any(out.iterdir())):
            raise DataError(f"{out}: must be a prepared folder, empty or new, but holds something else.")
        return _prepare(source, options, out, overwrite, on_step)
    except OSError as error:
        raise unwritable(out or cache_folder(), error, DataError) from error


def files_of(source: Any) -> list[Path]:
    """Return the files that a source names; none for tables, data sets and prepared folders."""
    if not isinstance(source, str | Path | list | tuple) or _prepared_path(source) is not None:
        return []
    return [file.path for file in find_source(source).files if file.path is not None]


def disk_wish(source: SourceLike, out: Path | None = None) -> str:
    """Return a sentence on the disk that preparing a source takes at the most, and what there is; "" for none."""
    if _prepared_path(source) is not None or is_table(source):
        return ""
    folder = Path(out) if out is not None else cache_folder()
    needed, free = disk_needed(find_source(source)), disk_free(folder)
    short = ": that may not be enough" if needed > free else ""
    return f"Preparing takes up to {size_text(needed)} of disk beside {folder}; {size_text(free)} are free{short}."


def _prepare(
    source: SourceLike,
    options: ReadOptions,
    out: Path | None = None,
    overwrite: bool = False,
    on_step: OnStep | None = None,
) -> Path:
    def may_replace(folder: Path, source_name: str | None) -> None:
        if out is not None:  # else it is the cache's, where a folder has its content's name
            require_replaceable(folder, source_name, overwrite=overwrite)
            if is_prepared(folder):
                _log.warning("%s: what was prepared there before is replaced.", folder)

    prepared = _prepared_path(source)
    if prepared is not None:
        return _prepare_again(prepared, options, out, may_replace)
    try:
        if is_table(source):
            return _build_table(find_source(source), options, out, may_replace, on_step)
        found = find_source(source)
        stamps = found.stamps()
        source_hash = found.content_hash(f"{FORMAT}{options.digest()}")
        folder = _build(found, stamps, options, source_hash, out or _cached(source_hash), may_replace, on_step)
    except DataError as error:
        hint = earlier_preparation(source, is_prepared) if options == ReadOptions() else None
        if hint is None:
            raise
        raise DataError(f"{error}\n{hint}") from error
    if out is not None:
        remember(source, folder, options.command_line())
    elif options == ReadOptions():
        hint = earlier_preparation(source, is_prepared)
        if hint is not None:
            _log.warning("%s: is read without options. %s", _name(source), hint)
    return folder


def _prepare_again(prepared: Path, options: ReadOptions, out: Path | None, may_replace: _MayReplace) -> Path:
    """Return a folder with a prepared one's data, or with what filters leave of it."""
    told = {name for name in options.model_fields_set if name not in (*FILTERS, "memory_limit")}
    told = {name for name in told if getattr(options, name) != ReadOptions.model_fields[name].default}
    if told:
        raise ConfigError(
            f"{prepared}: is prepared already: {', '.join(sorted(told))} can be given with the files that it was made "
            "of; a prepared folder takes filters alone."
        )
    dataset = load_prepared(prepared)
    if not options.filters:
        return prepared if out is None else _copy(prepared, out, may_replace)
    source_hash = hashlib.sha256(f"{FORMAT}{identity(prepared)}{options.digest()}".encode()).hexdigest()
    target = out or _cached(source_hash)
    if holds(target, source_hash=source_hash):
        return target
    may_replace(target, None)
    meta = read_meta(prepared)
    listed = listed_items(prepared, meta, dataset)
    with temporary_sibling(target) as folder:
        store = ArrayStore(folder)
        earlier, report = load_report(prepared)
        encoded, report = select_source(Encoded(dataset, listed), report, options, store)
        write_meta(folder, encoded, {**earlier, **options.told()}, report, source_hash)
        if (prepared / REJECTS).is_file():  # the report counts them
            shutil.copyfile(prepared / REJECTS, folder / REJECTS)
        publish(folder, target, lambda: holds(target, source_hash=source_hash))
    return target


def _build(
    source: Source,
    stamps: list[tuple[int, int]],
    options: ReadOptions,
    source_hash: str,
    target: Path,
    may_replace: _MayReplace,
    on_step: OnStep | None,
) -> Path:
    """Return the target, built if it does not hold the source; `stamps` were taken before the source was hashed."""
    clean_up(target.parent, None if target == _cached(source_hash) else target.name)
    if holds(target, source_hash=source_hash):
        return target
    may_replace(target, source.name)
    with temporary_sibling(target) as folder:
        _read_into(folder, source, options, source_hash, on_step)
        if source.stamps() != stamps:  # kept, it would be found again under the hash of other rows
            raise DataError(f"{source.name}: changed while it was read; try again when nothing writes to it.")
        publish(folder, target, lambda: holds(target, source_hash=source_hash))
    return target


def _build_table(
    source: Source, options: ReadOptions, out: Path | None, may_replace: _MayReplace, on_step: OnStep | None
) -> Path:
    """Build the folder of a DataFrame, which has no bytes to go by: what came of reading it does."""
    beside = out or _cached("table")
    clean_up(beside.parent, None if out is None else out.name)
    with temporary_sibling(beside) as folder:
        _read_into(folder, source, options, "", on_step)
        found = identity(folder)
        target = out or _cached(found)
        if not is_twin(target, found):
            may_replace(target, None)
            publish(folder, target, lambda: is_twin(target, found))
    return target


def _read_into(folder: Path, source: Source, options: ReadOptions, source_hash: str, on_step: OnStep | None) -> None:
    """Read a source into a folder."""
    work = folder / "work"
    work.mkdir()
    store = ArrayStore(folder)
    try:
        encoded, report = read_source(source, options, store, work, on_step)
    finally:
        store.close()
    del store
    shutil.rmtree(work)
    write_meta(folder, encoded, options.told(), report, source_hash)
    for warning in report.warnings:
        _log.warning("%s: %s", source.name, warning)


def _copy(prepared: Path, target: Path, may_replace: _MayReplace) -> Path:
    clean_up(target.parent, target.name)
    wanted = identity(prepared)
    if is_twin(target, wanted):
        return target
    may_replace(target, None)
    with temporary_sibling(target) as folder:
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        publish(folder, target, lambda: is_twin(target, wanted))
    return target


def _in_memory(source: SourceLike, options: ReadOptions) -> tuple[Dataset, Report]:
    prepared = _prepared_path(source)
    if prepared is None:
        dataset, report = read_report(source, options)
        for warning in report.warnings:
            _log.warning("%s: %s", dataset.name, warning)
        return dataset, report
    dataset, meta = load_prepared(prepared), read_meta(prepared)
    encoded = Encoded(dataset, listed_items(prepared, meta, dataset))
    if not options.filters:
        return dataset, load_report(prepared)[1]
    encoded, report = select_source(encoded, load_report(prepared)[1], options, ArrayStore())
    return encoded.dataset, report


def _prepared_path(source: SourceLike) -> Path | None:
    """Return the folder when a source is one prepared folder, or a list of just one."""
    if isinstance(source, list | tuple) and len(source) == 1:
        source = source[0]
    if isinstance(source, str | Path) and is_prepared(Path(source)):
        return Path(source)
    return None


def _cached(source_hash: str) -> Path:
    return cache_folder() / "prepared" / source_hash[:32]


def _name(source: SourceLike) -> str:
    if isinstance(source, str | Path):
        return str(source)
    return "DataFrame" if is_table(source) else ", ".join(str(part) for part in source)
