"""A log read as a whole: load, check, encode, select; what came of it is a Dataset and a report.

Keeping the result is prepared's work.
"""

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.keeping.arrays import ArrayStore
from hrnn_hpo.data.reading.checks import find_warnings, refuse_days
from hrnn_hpo.data.reading.encode import Encoded, encode
from hrnn_hpo.data.reading.load import OnStep, load_tables
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.reading.problems import REJECTS, Problems
from hrnn_hpo.data.reading.selection import select
from hrnn_hpo.data.reading.source import Source
from hrnn_hpo.errors import DataError, counted

_DUCKDB_SHARE = 0.6  # of the memory limit; Python, pieces on their way and the allocator have the rest


@dataclass(frozen=True)
class Report:
    """What reading a log counted: rows of the files, and why some are no events of the dataset."""

    n_rows: int = 0
    n_duplicates: int = 0
    n_rejected: int = 0  # rows that `on_bad_rows: skip` left out
    rejected: dict[str, int] = field(default_factory=dict)  # broken rule -> cells and rows
    filtered: dict[str, int] = field(default_factory=dict)  # filter -> events that it left out, in order
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "warnings": list(self.warnings)}

    def lines(self, folder: Path | None = None) -> list[str]:
        """Return in words why rows are no events of the dataset, and what is strange about it.

        `folder` is the prepared one, where bad rows may stand in a file.
        """
        found = []
        place = "`data prepare` writes them to a file"
        if folder is not None and (folder / REJECTS).is_file():
            place = f"see {folder / REJECTS}"
        if self.n_rejected:
            kinds = "; ".join(f"{'once' if n == 1 else f'{n:,} times'}: {kind}" for kind, n in self.rejected.items())
            found.append(f"{counted(self.n_rejected, 'bad row')} left out, {place} ({kinds}).")
        if self.n_duplicates:
            found.append(f"{counted(self.n_duplicates, 'exact duplicate')} left out.")
        found += [f"{counted(n, 'event')} left out by {name}." for name, n in self.filtered.items()]
        return [*found, *(f"warning: {warning}" for warning in self.warnings)]


def read_source(
    source: Source, options: ReadOptions, store: ArrayStore, work: Path, on_step: OnStep | None = None
) -> tuple[Encoded, Report]:
    """Return the encoded log, its content hash included, and the report; arrays go to `store`.

    `work` is a folder for what DuckDB spills; rejects.csv lands in the store's folder. Raises DataError.
    """
    import duckdb

    problems = Problems(options.on_bad_rows == "skip", None if store.folder is None else store.folder / REJECTS)
    first = ArrayStore(_made(work / "read")) if options.filters and store.folder is not None else ArrayStore()
    if not options.filters:
        first = store
    try:
        with duckdb.connect() as connection:  # in memory, and spilling: a database on disk took three times as long
            _settle(connection, options, work)
            loaded = load_tables(connection, source, options, work, problems, on_step)
            refuse_days(connection, options, source.name)
            encoded = encode(connection, loaded.columns, source.name, first, on_step)
            has_tables = any(file.role != "interactions" for file in source.files)
            warnings = [*loaded.warnings, *find_warnings(connection, options, has_tables)]
    except duckdb.OutOfMemoryException as error:
        raise DataError(f"{source.name}: {_memory_hint(error)}") from error
    except duckdb.IOException as error:
        raise DataError(f"{source.name}: cannot be prepared ({str(error).splitlines()[0]}).") from error
    finally:
        problems.close()
        first.close()
    filtered: dict[str, int] = {}
    n_duplicates = encoded.dataset.n_duplicates
    if options.filters:
        encoded, filtered = select(encoded, options, store)
    report = Report(
        n_rows=loaded.n_rows + problems.n_rejected_rows,
        n_duplicates=n_duplicates,
        n_rejected=problems.n_rejected_rows,
        rejected=problems.rejected,
        filtered=filtered,
        warnings=tuple(warnings),
    )
    return Encoded(with_content_hash(encoded.dataset), encoded.listed_items), report


def select_source(encoded: Encoded, report: Report, options: ReadOptions, store: ArrayStore) -> tuple[Encoded, Report]:
    """Return what the filters leave of a log that is encoded already, its content hash included."""
    encoded, filtered = select(encoded, options, store)
    total = {**report.filtered, **{name: report.filtered.get(name, 0) + n for name, n in filtered.items()}}
    return Encoded(with_content_hash(encoded.dataset), encoded.listed_items), replace(report, filtered=total)


def default_memory() -> int:
    """Return half of the memory that this machine, or the process's cgroup, has, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdecimal():
            total = min(total, int(limit))
    return total // 2


def _settle(connection: Any, options: ReadOptions, work: Path) -> None:
    limit = options.memory_limit or default_memory()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")  # for `run_long`
    connection.execute("SET temp_directory = ?", [str(_made(work / "spill"))])
    connection.execute(f"SET memory_limit = '{int(limit * _DUCKDB_SHARE) // 10**6}MB'")


def _memory_hint(error: Exception) -> str:
    return f"needs more memory than --memory-limit allows ({str(error).splitlines()[0]})."


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
