"""From CSV or Parquet files to an encoded, sorted, de-duplicated Dataset, or an error that names file and line.

DuckDB reads every column as text and checks the rules of problems.py in SQL (its casts would turn 12.7 into 13).
Keeping the result on disk is prepared's work.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.problems import (
    RULES,
    Problems,
    Rule,
    check_header,
    find_csv_problems,
    read_header,
    shorten,
    write_plain_csv,
)
from hrnn_hpo.data.schema import (
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    REQUIRED_COLUMNS,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
    Dataset,
)
from hrnn_hpo.errors import DataError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MIN_INTERACTIONS = 1_000  # the service's own minimum
MIN_USERS = 25
CHUNK_ROWS = 4_000_000
GZIP = b"\x1f\x8b"  # how its files begin

Rules = list[tuple[str, str, Rule]]  # (SQL column, name, rule)

Allocate = Callable[[str, int, Any], NDArray[Any]]  # (name, length, dtype) -> an array to fill


@dataclass(frozen=True)
class Source:
    """The files of a log: interactions, and the items and users tables that may stand beside them."""

    interactions: Path
    items: Path | None = None
    users: Path | None = None

    @property
    def tables(self) -> list[tuple[str, Path, tuple[str, ...]]]:
        """Return (role, file, required columns) of each table there is."""
        tables: list[tuple[str, Path, tuple[str, ...]]] = [("interactions", self.interactions, REQUIRED_COLUMNS)]
        if self.items is not None:
            tables.append(("items", self.items, (ITEM_ID,)))
        if self.users is not None:
            tables.append(("users", self.users, (USER_ID,)))
        return tables


def find_source(path: Path) -> Source:
    """Return the files that DATA names: one file, or a folder with interactions.csv (and items.csv, users.csv).

    `.parquet` may stand for `.csv`. Raises DataError when there is no such file or two for one role.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder.")
    if not path.is_dir():
        return Source(path)
    found: dict[str, Path] = {}
    for role in ("interactions", "items", "users"):
        files = [file for file in (path / f"{role}.csv", path / f"{role}.parquet") if file.exists()]
        if len(files) > 1:
            raise DataError(f"{path}: one of {role}.csv and {role}.parquet must stand there, but got both.")
        if files:
            found[role] = files[0]
    if "interactions" not in found:
        raise DataError(f"{path}: interactions.csv or interactions.parquet must stand in a data folder.")
    return Source(**found)


def read_interactions(path: Path) -> Dataset:
    """Return the encoded log of a file or folder: sorted by (user, time, original order), exact duplicates once.

    Vocabularies are in ascending order of code points; items that only the items table names are part of theirs.
    An optional column without a single value counts as absent.

    Raises DataError with every problem of all files, the first ten with their line (row in Parquet).
    """
    return read_source(find_source(Path(path)), str(path), lambda _, length, dtype: np.empty(length, dtype=dtype))


def check_minimum(dataset: Dataset) -> None:
    """Raise DataError when the log is too small to learn from: the minimum that Amazon Personalize asks for."""
    n_returning = int((dataset.history_lengths >= 2).sum())
    if dataset.n_events < MIN_INTERACTIONS or n_returning < MIN_USERS:
        raise DataError(
            f"{dataset.name or 'The data'}: at least {MIN_INTERACTIONS:,} interactions and {MIN_USERS} users with two "
            f"or more must be there, but got {dataset.n_events:,} interactions and {n_returning:,} such users."
        )


def read_source(source: Source, name: str, allocate: Allocate) -> Dataset:
    """Return the encoded log; the arrays of N events come from `allocate`, so that they may lie on disk."""
    import duckdb  # here, since training on prepared data has no use for it

    with tempfile.TemporaryDirectory(prefix="hrnn-hpo-") as spill, duckdb.connect() as connection:
        connection.execute("SET temp_directory = ?", [spill])
        headers = _load_tables(connection, source, Path(spill))
        return _encode(connection, headers, name, allocate)


def _load_tables(connection: "DuckDBPyConnection", source: Source, spill: Path) -> dict[str, list[str]]:
    """Fill a table of text columns c0, c1, … for each file; return the column names of each."""
    problems = Problems()
    headers: dict[str, list[str]] = {}
    for role, path, required in source.tables:
        headers[role] = _read_columns(connection, path)
        check_header(path, headers[role], required, problems)
    problems.raise_if_any()
    for role, path, _ in source.tables:
        _load_table(connection, role, path, headers[role], problems, spill)
    problems.raise_if_any()
    return headers


def _read_columns(connection: "DuckDBPyConnection", path: Path) -> list[str]:
    import duckdb

    try:
        if _begins_with(path, GZIP):
            raise DataError(f"{path}: must be plain CSV or Parquet, but is packed with gzip; unpack it first.")
        if not _is_parquet(path):
            return read_header(path)
        return [
            str(row[0]) for row in connection.execute("DESCRIBE FROM read_parquet(?)", [_literal_path(path)]).fetchall()
        ]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except duckdb.Error as error:
        raise DataError(f"{path}: cannot be read as Parquet: {_first_line(error)}") from error


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet" or _begins_with(path, b"PAR1")


def _begins_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _load_table(
    connection: "DuckDBPyConnection", role: str, path: Path, columns: list[str], problems: Problems, spill: Path
) -> None:
    import duckdb

    # Positions for names: DuckDB renames columns that differ in case alone.
    cells = [f"c{position}" for position in range(len(columns))]
    rules = [(cell, name, RULES[name]) for cell, name in zip(cells, columns, strict=True) if name in RULES]
    known = problems.count
    parquet = _is_parquet(path)
    try:
        if parquet:
            _copy_parquet(connection, role, path, columns)
        else:
            _copy_csv(connection, role, path, cells)
        n_rows, n_broken = _count_broken(connection, role, rules)
    except duckdb.Error as error:
        if parquet:
            problems.add(f"{path}: cannot be read as Parquet: {_first_line(error)}")
            return
        n_rows, n_broken = 1, 1
    if n_broken and not parquet:
        find_csv_problems(path, columns, problems)
        if problems.count > known:
            return
        # Python's module finds nothing wrong where DuckDB does: with mixed line ends, and with blank lines in a table
        # of one column. The file is good, and DuckDB gets it in the plainest form.
        write_plain_csv(path, spill / f"{role}.csv")
        connection.execute(f"DROP TABLE IF EXISTS {role}")
        try:
            _copy_csv(connection, role, spill / f"{role}.csv", cells)
        except duckdb.Error as error:
            problems.add(f"{path}: cannot be read as CSV: {_first_line(error)}")
            return
        n_rows, n_broken = _count_broken(connection, role, rules)
    if n_rows == 0:
        problems.add(f"{path}: is empty; at least one row must stand below the header.")
    elif n_broken:
        _add_row_problems(connection, role, path, rules, problems)


def _count_broken(connection: "DuckDBPyConnection", role: str, rules: Rules) -> tuple[int, int]:
    """Return the number of rows, and of rows with a cell that breaks a rule."""
    broken = " OR ".join(f"({rule.sql.format(cell=cell)})" for cell, _, rule in rules)
    row = connection.execute(f"SELECT count(*), count(*) FILTER (WHERE {broken}) FROM {role}").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _copy_csv(connection: "DuckDBPyConnection", role: str, path: Path, cells: list[str]) -> None:
    types = ", ".join(f"'{cell}': 'VARCHAR'" for cell in cells)
    connection.execute(
        f"CREATE TABLE {role} AS FROM read_csv(?, columns = {{{types}}}, auto_detect = false, header = true, "
        """delim = ',', quote = '"', escape = '"')""",
        [_literal_path(path)],
    )


def _copy_parquet(connection: "DuckDBPyConnection", role: str, path: Path, columns: list[str]) -> None:
    texts = ", ".join(
        f"nullif(CAST(p.{_quoted(name)} AS VARCHAR), '') AS c{position}" for position, name in enumerate(columns)
    )
    connection.execute(f"CREATE TABLE {role} AS SELECT {texts} FROM read_parquet(?) AS p", [_literal_path(path)])


def _add_row_problems(
    connection: "DuckDBPyConnection", role: str, path: Path, rules: Rules, problems: Problems
) -> None:
    breaks = " UNION ALL ".join(
        f"SELECT rowid + 1 AS n, {order} AS o, '{name}', coalesce({cell}, '') FROM {role} "
        f"WHERE {rule.sql.format(cell=cell)}"
        for order, (cell, name, rule) in enumerate(rules)
    )
    for row, _, name, value in connection.execute(f"{breaks} ORDER BY n, o").fetchall():
        problems.add(f"{path}, row {row}: {name} {RULES[name].says}, but got {shorten(value)}.")


def _encode(connection: "DuckDBPyConnection", headers: dict[str, list[str]], name: str, allocate: Allocate) -> Dataset:
    cell = {column: f"c{position}" for position, column in enumerate(headers["interactions"])}
    all_items = f"SELECT {cell[ITEM_ID]} FROM interactions"
    if "items" in headers:
        all_items += f" UNION ALL SELECT c{headers['items'].index(ITEM_ID)} FROM items"
    user_ids = _create_codes(connection, "user_codes", f"SELECT {cell[USER_ID]} FROM interactions")
    item_ids = _create_codes(connection, "item_codes", all_items)
    fields: dict[str, tuple[str, type[np.generic]]] = {  # field -> (SQL, dtype)
        "users": (f"(SELECT code FROM user_codes WHERE id = {cell[USER_ID]})", np.int32),
        "items": (f"(SELECT code FROM item_codes WHERE id = {cell[ITEM_ID]})", np.int32),
        "timestamps": (f"CAST({cell[TIMESTAMP]} AS BIGINT)", np.int64),
    }
    event_type_names: tuple[str, ...] = ()
    for column, field in ((SESSION_ID, "session_ids"), (EVENT_TYPE, "event_types")):
        if column in cell:
            codes = _create_codes(connection, f"{field}_codes", f"SELECT {cell[column]} FROM interactions")
            if len(codes):
                fields[field] = f"coalesce((SELECT code FROM {field}_codes WHERE id = {cell[column]}), -1)", np.int32
            if column == EVENT_TYPE:
                event_type_names = tuple(codes.tolist())
    if EVENT_VALUE in cell and _has_values(connection, cell[EVENT_VALUE]):
        fields["event_values"] = f"coalesce(CAST({cell[EVENT_VALUE]} AS FLOAT), 'nan'::FLOAT)", np.float32

    # One row of each group of exact duplicates, then codes for texts, then the order that everything relies on.
    cells = ", ".join(cell.values())
    selected = ", ".join(f"{expression} AS {field}" for field, (expression, _) in fields.items())
    connection.execute(
        f"CREATE TABLE events AS SELECT {selected} FROM (SELECT min(rowid) AS place, {cells} FROM interactions "
        f"GROUP BY {cells}) ORDER BY users, timestamps, place"
    )
    n_rows, n_events = _count(connection, "interactions"), _count(connection, "events")
    connection.execute("DROP TABLE interactions")
    arrays = {field: allocate(field, n_events, dtype) for field, (_, dtype) in fields.items() if field != "users"}
    lengths = np.zeros(len(user_ids), dtype=np.int64)
    for start in range(0, n_events, CHUNK_ROWS):
        chunk = connection.execute(
            "FROM events WHERE rowid >= ? AND rowid < ?", [start, start + CHUNK_ROWS]
        ).fetchnumpy()
        lengths += np.bincount(chunk["users"], minlength=len(user_ids))
        for field, array in arrays.items():
            array[start : start + CHUNK_ROWS] = chunk[field]
    user_offsets = allocate("user_offsets", len(user_ids) + 1, np.int64)
    user_offsets[0] = 0
    np.cumsum(lengths, out=user_offsets[1:])
    return with_content_hash(
        Dataset(
            user_offsets=user_offsets,
            user_ids=user_ids,
            item_ids=item_ids,
            content_hash="",
            event_type_names=event_type_names,
            n_duplicates=n_rows - n_events,
            name=name,
            **arrays,
        )
    )


def _create_codes(connection: "DuckDBPyConnection", table: str, texts: str) -> NDArray[np.str_]:
    """Fill a table (id, code) with the distinct texts in ascending order; return the texts, place = code."""
    connection.execute(
        f"CREATE TABLE {table} AS SELECT id, CAST(row_number() OVER (ORDER BY id) - 1 AS INTEGER) AS code "
        f"FROM (SELECT DISTINCT id FROM ({texts}) AS texts(id) WHERE id IS NOT NULL)"
    )
    rows = connection.execute(f"SELECT id FROM {table} ORDER BY code").fetchall()
    return np.array([row[0] for row in rows], dtype=np.str_)


def _has_values(connection: "DuckDBPyConnection", cell: str) -> bool:
    return bool(connection.execute(f"SELECT 1 FROM interactions WHERE {cell} IS NOT NULL LIMIT 1").fetchall())


def _count(connection: "DuckDBPyConnection", table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal_path(path: Path) -> str:
    """Return the path with DuckDB's wildcards escaped."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
