"""An Amazon schema that fits a file: reserved columns with the service's types, others by what their values allow."""

import re
from typing import Any

from hrnn_hpo.data import EVENT_VALUE, TIMESTAMP
from hrnn_hpo.data.reading.amazon import MAX_METADATA, RESERVED, suggest_schema
from hrnn_hpo.data.reading.cells import (
    Cells,
    column_names,
    column_types,
    json_cells,
    one_row,
    text_cells,
    typed_cells,
)
from hrnn_hpo.data.reading.header import Layout, find_layout, read_names
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.reading.problems import Problems
from hrnn_hpo.data.reading.rules import NUMBER
from hrnn_hpo.data.reading.source import find_source
from hrnn_hpo.errors import DataError

_MAX_CATEGORIES = 1000


def schema_of_file(source: str, options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    """Return a schema of the interactions in a file, and notes on what the service would not take.

    Raises DataError when the file cannot be read, has not the columns that every log needs, or is one of several.
    """
    import duckdb

    file, *others = find_source(source).of("interactions")
    if others:
        raise DataError(f"{source}: a schema is made of one file, but there are {1 + len(others)}; name one of them.")
    if not file.is_whole():
        raise DataError(f"{file.place}: cannot be unpacked to its end; a schema is made of all rows.")
    problems = Problems()
    with duckdb.connect() as connection:
        try:
            typed = file.kind == "parquet"
            types = column_types(connection, file) if typed else {}
            names = column_names(file, types) if typed else read_names(file, options)
            layout = find_layout(file, names, options, [], problems)
            problems.raise_if_any()
            ours = {place: name for name, place in layout.places.items()}
            there = layout.names[: len(layout.names) - len(layout.late)]  # the others may stand further down
            whole = Layout(there, {ours.get(place, name): place for place, name in enumerate(there)})
            cells = _cells(whole, file, options, types, problems)
            problems.raise_if_any()
            found = {name: _column(connection, cells, name) for name in whole.places}
            whole_times = _is_whole(connection, cells, TIMESTAMP)
        except duckdb.Error as error:
            raise DataError(f"{file.place}: cannot be read ({str(error).splitlines()[0]}).") from error
    notes = []
    if not whole_times:
        notes.append(f"{TIMESTAMP} must hold whole unix seconds for the service, but the file has other values.")
    for name in [name for name in found if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)]:
        notes.append(f"Column {name!r} is left out: names of a schema have letters, digits and _ alone.")
        del found[name]
    metadata = [name for name in found if name not in RESERVED]
    if len(metadata) > MAX_METADATA:
        notes.append(
            f"The service takes at most {MAX_METADATA} columns of your own, but got {len(metadata)}: "
            f"{', '.join(metadata)}."
        )
    ordered = [name for name in RESERVED if name in found] + metadata
    return suggest_schema({name: found[name] for name in ordered}), notes


def _cells(layout: Layout, file: Any, options: ReadOptions, types: dict[str, str], problems: Problems) -> Cells:
    if file.kind == "csv":
        return text_cells(file, layout, options, str(file.path))
    return json_cells(file, layout) if file.kind == "jsonl" else typed_cells(file, layout, types, problems)


def _is_whole(connection: Any, cells: Cells, name: str) -> bool:
    statement = f"SELECT bool_and(regexp_full_match({cells.texts[name]}, '[0-9]+')) FROM {cells.table}"
    return bool(one_row(connection, statement, cells.parameters)[0])


def _column(connection: Any, cells: Cells, name: str) -> tuple[str, bool, bool]:
    """Return (Avro type, has empty cells, is categorical)."""
    text = cells.texts[name]
    n_empty, whole, number, boolean, n_values = one_row(
        connection,
        f"SELECT count(*) FILTER (WHERE {text} IS NULL), bool_and(regexp_full_match({text}, '[+-]?[0-9]+')), "
        f"bool_and(regexp_full_match({text}, '{NUMBER}')), bool_and(lower({text}) IN ('true', 'false')), "
        f"approx_count_distinct({text}) FROM {cells.table}",
        cells.parameters,
    )
    has_empty = bool(n_empty)
    if name in RESERVED:
        kind = {TIMESTAMP: "long", EVENT_VALUE: "float"}.get(name, "string")
        return kind, has_empty and kind != "long", False
    kind = "long" if whole else "double" if number else "boolean" if boolean else "string"
    return kind, has_empty, kind == "string" and n_values <= _MAX_CATEGORIES
