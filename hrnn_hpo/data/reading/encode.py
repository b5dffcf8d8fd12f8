"""The staged table of texts into arrays of codes, sorted by (user, time, original order), exact duplicates once.

DuckDB makes codes and sorts, spilling to disk; duplicates stand side by side then, and leave piece by piece.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data import EVENT_TYPE, EVENT_VALUE, SESSION_ID
from hrnn_hpo.data.keeping.arrays import ArrayStore
from hrnn_hpo.data.reading.cells import one_row, run_long
from hrnn_hpo.data.reading.load import OnStep
from hrnn_hpo.data.schema import Dataset

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHUNK_ROWS = 2_000_000
_ID_CHUNK = 100_000
_KEY = ("users", "timestamps", "micros")  # events that agree here may be duplicates of each other
# What else must agree. Sessions and types are codes, values are compared by their bits.
_REST = ("items", "event_types", "event_values", "session_ids")


@dataclass(frozen=True)
class Encoded:
    """The dataset, without its content hash, and which items an items table names (V,)."""

    dataset: Dataset
    listed_items: NDArray[np.bool_]


def encode(
    connection: "DuckDBPyConnection", columns: set[str], name: str, store: ArrayStore, on_step: OnStep | None = None
) -> Encoded:
    """Return the encoded log of the tables that load filled; `columns` are those of ours that the log has.

    Vocabularies are in ascending order of code points; listed items are part of theirs. An optional column without a
    single value counts as absent.
    """
    tell = on_step or (lambda *_: None)
    tell("numbering users and items", 0, 1)
    user_ids = _codes(connection, "user_codes", "SELECT user_id FROM staged", store, "user_ids")
    items = "SELECT item_id FROM staged UNION ALL SELECT id FROM listed_items"
    item_ids = _codes(connection, "item_codes", items, store, "item_ids")
    selected = ["u.code AS users", "i.code AS items", "s.seconds AS timestamps", "s.micros AS micros"]
    joins = ["JOIN user_codes u ON s.user_id = u.id", "JOIN item_codes i ON s.item_id = i.id"]
    fields = ["items", "timestamps"]
    names: tuple[str, ...] = ()
    for column, field, short in ((SESSION_ID, "session_ids", "e"), (EVENT_TYPE, "event_types", "t")):
        source = column.lower()
        if column in columns and _has_values(connection, source):
            # Sessions are codes alone: their texts are kept nowhere.
            codes = f"SELECT {source} FROM staged WHERE {source} IS NOT NULL"
            _create_codes(connection, f"{source}_codes", codes)
            if column == EVENT_TYPE:
                rows = connection.execute(f"SELECT id FROM {source}_codes ORDER BY code").fetchall()
                names = tuple(row[0] for row in rows)
            selected.append(f"coalesce({short}.code, -1) AS {field}")
            joins.append(f"LEFT JOIN {source}_codes {short} ON s.{source} = {short}.id")
            fields.append(field)
    if EVENT_VALUE in columns and _has_values(connection, "event_value"):
        selected.append("coalesce(s.event_value, 'nan'::FLOAT) AS event_values")
        fields.append("event_values")

    row = one_row(connection, "SELECT count(*) FROM staged")
    n_rows = int(row[0])
    lengths = np.zeros(len(user_ids), dtype=np.int64)
    statement = (
        f"SELECT {', '.join(selected)} FROM staged s {' '.join(joins)} ORDER BY users, timestamps, micros, s.rowid"
    )
    tell("sorting", 0, n_rows)
    n_done = n_events = 0
    for piece in _sorted_pieces(connection, statement, lambda share: tell("sorting", share * n_rows, n_rows)):
        kept = _without_duplicates(piece)
        lengths += np.bincount(kept["users"], minlength=len(user_ids))
        for field in fields:
            store.append(field, kept[field])
        n_done += len(piece["users"])
        n_events += len(kept["users"])
        tell("writing", n_done, n_rows)
    user_offsets = np.zeros(len(user_ids) + 1, dtype=np.int64)
    np.cumsum(lengths, out=user_offsets[1:])
    arrays = {field: store.finish(field) for field in fields}
    dataset = Dataset(
        user_offsets=store.put("user_offsets", [user_offsets]),
        user_ids=user_ids,
        item_ids=item_ids,
        content_hash="",
        event_type_names=names,
        n_duplicates=n_rows - n_events,
        name=name,
        **arrays,
    )
    return Encoded(dataset, _listed(connection, len(item_ids)))


def _create_codes(connection: "DuckDBPyConnection", table: str, texts: str) -> None:
    """Fill a table (id, code) with the distinct texts in ascending order."""
    ids = f"CREATE TABLE {table}_sorted AS SELECT DISTINCT id FROM ({texts}) AS texts(id) ORDER BY id"
    run_long(connection, lambda: connection.execute(ids))
    connection.execute(f"CREATE TABLE {table} AS SELECT id, CAST(rowid AS INTEGER) AS code FROM {table}_sorted")
    connection.execute(f"DROP TABLE {table}_sorted")


def _codes(connection: "DuckDBPyConnection", table: str, texts: str, store: ArrayStore, name: str) -> NDArray[np.str_]:
    """Fill a table of codes and return the texts, place = code."""
    _create_codes(connection, table, texts)
    row = one_row(connection, f"SELECT coalesce(max(length(id)), 1) FROM {table}")
    dtype = np.dtype(f"<U{max(int(row[0]), 1)}")
    batches = connection.sql(f"SELECT id FROM {table} ORDER BY code").to_arrow_reader(_ID_CHUNK)
    pieces = (np.array(batch.column(0).to_pylist(), dtype=dtype) for batch in batches)
    return store.put(name, _or_empty(pieces, dtype))


def _or_empty(pieces: Iterator[NDArray[Any]], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    yield np.empty(0, dtype=dtype)
    yield from pieces


def _has_values(connection: "DuckDBPyConnection", column: str) -> bool:
    return bool(connection.execute(f"SELECT 1 FROM staged WHERE {column} IS NOT NULL LIMIT 1").fetchall())


def _listed(connection: "DuckDBPyConnection", n_items: int) -> NDArray[np.bool_]:
    listed = np.zeros(n_items, dtype=np.bool_)
    statement = "SELECT DISTINCT code FROM item_codes JOIN listed_items USING (id)"
    for batch in connection.sql(statement).to_arrow_reader(CHUNK_ROWS):
        listed[batch.column(0).to_numpy(zero_copy_only=False)] = True
    return listed


def _sorted_pieces(
    connection: "DuckDBPyConnection", statement: str, on_share: Callable[[float], None]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the sorted rows in pieces; what agrees in the key is never cut apart."""
    waiting: dict[str, NDArray[Any]] | None = None

    def begin() -> tuple[Any, Any]:
        reader = iter(connection.sql(statement).to_arrow_reader(CHUNK_ROWS))
        return next(reader, None), reader

    first, reader = run_long(connection, begin, on_share)
    for batch in chain([] if first is None else [first], reader):
        piece = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in batch.schema.names}
        if waiting is not None:
            piece = {name: np.concatenate([waiting[name], values]) for name, values in piece.items()}
        changes = np.flatnonzero(~_agrees(piece, _KEY))
        if not len(changes):
            waiting = piece
            continue
        cut = int(changes[-1]) + 1
        waiting = {name: values[cut:].copy() for name, values in piece.items()}
        yield {name: values[:cut] for name, values in piece.items()}
    if waiting is not None and len(waiting["users"]):
        yield waiting


def _agrees(rows: dict[str, NDArray[Any]], names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return for each row but the first whether it equals the one before in some columns."""
    same = np.ones(max(len(rows["users"]) - 1, 0), dtype=np.bool_)
    for name in names:
        same &= rows[name][1:] == rows[name][:-1]
    return same


def _without_duplicates(rows: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return rows without those that equal an earlier one in everything."""
    same = _agrees(rows, _KEY)
    tied = np.zeros(len(rows["users"]), dtype=np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    places = np.flatnonzero(tied)
    if not len(places):
        return rows
    # Within ties, equal rows side by side and in their order.
    group = np.cumsum(np.concatenate([[True], ~same]))[places]
    rest = {name: _bits(rows[name][places]) for name in _REST if name in rows}
    order = np.lexsort([*rest.values(), group])
    repeated = np.ones(len(order) - 1, dtype=np.bool_)
    for values in (group, *rest.values()):
        ordered = values[order]
        repeated &= ordered[1:] == ordered[:-1]
    keep = np.ones(len(rows["users"]), dtype=np.bool_)
    keep[places[order[1:][repeated]]] = False
    return rows if keep.all() else {name: values[keep] for name, values in rows.items()}


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    return values.view(np.int32) if values.dtype == np.float32 else values
