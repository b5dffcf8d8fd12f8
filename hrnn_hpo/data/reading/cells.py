"""How each kind of file becomes cells in DuckDB: the FROM clause, and for each column SQL for its text and its value.

Cells are read as text (DuckDB's casts would turn 12.7 into 13); columns of Parquet and DataFrames have types of their
own, and those that cannot be ids are refused here.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from hrnn_hpo.data import (
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    REQUIRED_COLUMNS,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
)
from hrnn_hpo.data.reading.header import Layout, quotes_count
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.reading.problems import Problem, Problems
from hrnn_hpo.data.reading.source import LogFile
from hrnn_hpo.errors import DataError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Answer = TypeVar("Answer")
_WHOLE = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$|DECIMAL\([0-9]+,0\)$")
_FLOAT = re.compile(r"FLOAT$|DOUBLE$|DECIMAL")
_TIME = re.compile(r"TIMESTAMP|DATE$")
_TEXT = re.compile(r"VARCHAR$|UUID$|ENUM")
_ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
_NANOSECONDS = ("TIMESTAMP_NS", "TIMESTAMPTZ_NS")
_NOTHING = '"NULL"'  # the type of a column without a single value
_FLOAT_HINTS = {
    "frame": "astype('Int64') or astype(str) makes ids of them",
    "parquet": "write whole numbers or text; floats lose digits beyond 2**53",
}


@dataclass(frozen=True)
class Cells:
    """A table in SQL: where it comes from, and for each column its text; `times` are columns with a type of time."""

    table: str  # what stands behind FROM
    parameters: tuple[Any, ...]
    texts: dict[str, str]  # column -> SQL of its text, NULL where empty
    times: dict[str, str]  # column -> SQL of its microseconds
    broken: str = "false"  # SQL, true for a row that is no row of the file
    whole_time: str | None = None  # SQL of TIMESTAMP where its type is one of whole numbers


def column_types(connection: "DuckDBPyConnection", file: LogFile) -> dict[str, str]:
    """Return {DuckDB's name of a column: its type} of a Parquet file or a DataFrame that is registered already."""
    table, parameters = _typed_table(file)
    rows = connection.execute(f"DESCRIBE FROM {table}", list(parameters)).fetchall()
    return {str(row[0]): str(row[1]) for row in rows if row[0] != ROW}


def column_names(file: LogFile, types: Mapping[str, str]) -> list[str]:
    """Return the columns' own names, in DuckDB's order: it gives others to those that differ by case alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = _names(file.frame) if file.kind == "frame" else [str(name) for name in pq.read_schema(file.path).names]
    except (pa.ArrowException, OSError, ValueError):
        return list(types)
    return names if len(names) == len(types) else list(types)


ROW = "hrnn_hpo_row"  # of a DataFrame


def text_cells(file: LogFile, layout: Layout, options: ReadOptions, path: str, plain: bool = False) -> Cells:
    """Return the cells of a CSV file; `plain` is what records wrote: our columns alone, with header and commas."""
    names = list(layout.places) if plain else list(layout.names)
    types = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(names)))
    header = plain or not (options.no_header and file.role == "interactions")
    separator = "," if plain else (options.separator or ",")
    quote = '"' if plain or quotes_count(options) else ""
    packing = "none" if plain or file.packing is None else file.packing
    table = (
        f"read_csv(?, columns = {{{types}}}, auto_detect = false, header = {str(header).lower()}, "
        f"delim = {literal(separator)}, quote = '{quote}', escape = '{quote}', compression = '{packing}', "
        "hive_partitioning = false)"
    )
    places = {name: place for place, name in enumerate(names)} if plain else layout.places
    return Cells(table, (literal_path(path),), {name: f"c{place}" for name, place in places.items()}, {})


def json_cells(file: LogFile, layout: Layout) -> Cells:
    """Return the cells of a file with one JSON object a line."""
    table = (
        "read_ndjson_objects(?, maximum_object_size = 2000000, hive_partitioning = false, "
        f"compression = '{file.packing or 'uncompressed'}')"
    )
    assert file.path is not None
    texts, wrong = {}, ["coalesce(json_type(json) <> 'OBJECT', true)"]
    for name, place in layout.places.items():
        key = literal("/" + layout.names[place].replace("~", "~0").replace("/", "~1"))
        texts[name] = f"nullif(json_extract_string(json, {key}), '')"
        kinds = "('ARRAY', 'OBJECT')"
        if name in (USER_ID, ITEM_ID):
            kinds = "('ARRAY', 'OBJECT', 'DOUBLE', 'BOOLEAN')"
        wrong.append(f"coalesce(json_type(json, {key}) IN {kinds}, false)")
    return Cells(table, (literal_path(str(file.path)),), texts, {}, f"({' OR '.join(wrong)})")


def typed_cells(file: LogFile, layout: Layout, types: Mapping[str, str], problems: Problems) -> Cells:
    """Return the cells of a Parquet file or DataFrame; add a problem for each column of a type that cannot be used."""
    table, parameters = _typed_table(file)
    texts, times = {}, {}
    whole_time = None
    inner = list(types)
    for ours, place in layout.places.items():
        name = layout.names[place]
        kind, cell = types[inner[place]], f"p.{quoted(inner[place])}"
        says = ""
        hint = ""
        texts[ours] = _text(cell, kind)
        if ours in (USER_ID, ITEM_ID):
            if not (_WHOLE.match(kind) or _TEXT.match(kind)):
                says, hint = "text or whole numbers", _FLOAT_HINTS[file.kind] if _FLOAT.match(kind) else ""
        elif ours == TIMESTAMP:
            if _TIME.match(kind):
                moment = f"TRY_CAST({cell} AS {'TIMESTAMPTZ' if kind in _ZONED else 'TIMESTAMP'})"
                micros = f"epoch_us({moment})"
                if kind in _NANOSECONDS:  # cut as those of text are: the cast would round into the next second
                    micros = f"CASE WHEN epoch_ns({cell}) < 0 THEN -1 ELSE epoch_ns({cell}) // 1000 END"
                times[ours] = f"CASE WHEN isfinite({moment}) THEN {micros} END"
                # Beyond microseconds' range DuckDB shows no time of seconds: its cast to text ends the connection.
                texts[ours] = (
                    f"CASE WHEN {cell} IS NOT NULL AND {moment} IS NULL THEN 'one beyond the year 294246' "
                    f"ELSE CAST({moment} AS VARCHAR) END"
                )
            elif re.fullmatch("(TINY|SMALL|BIG|)INT(EGER)?", kind):
                whole_time = cell
            elif not (_WHOLE.match(kind) or _FLOAT.match(kind) or _TEXT.match(kind)):
                says = "times, whole numbers or text"
        elif ours == EVENT_VALUE:
            if not (_WHOLE.match(kind) or _FLOAT.match(kind) or _TEXT.match(kind)):
                says = "numbers"
        elif ours in (EVENT_TYPE, SESSION_ID):
            if _FLOAT.match(kind):  # a column of whole numbers with empty cells, which are NaN then
                texts[ours] = f"CASE WHEN NOT isnan(CAST({cell} AS DOUBLE)) THEN {texts[ours]} END"
            elif not (_WHOLE.match(kind) or _TEXT.match(kind) or kind == "BOOLEAN"):
                says = "text or whole numbers"
        if says and not (kind == _NOTHING and ours not in REQUIRED_COLUMNS):
            shown = f"{ours}" if name == ours else f"{ours} (column {name!r})"
            problems.add(Problem(file.place, f"{shown} must hold {says}, but its type is {kind}", hint=hint))
    return Cells(table, parameters, texts, times, whole_time=whole_time)


def _typed_table(file: LogFile) -> tuple[str, tuple[Any, ...]]:
    if file.kind == "frame":
        return "frame AS p", ()
    return "read_parquet(?, hive_partitioning = false) AS p", (literal_path(str(file.path)),)


def _text(cell: str, kind: str) -> str:
    if kind == "VARCHAR":
        return f"nullif({cell}, '')"
    if _FLOAT.match(kind):  # 7.0 and 7 are one label; NaN, which equals its floor in DuckDB, is no whole number
        is_whole = f"isfinite(CAST({cell} AS DOUBLE)) AND {cell} = floor({cell}) AND abs({cell}) < 1e18"
        whole = f"CAST(TRY_CAST({cell} AS HUGEINT) AS VARCHAR)"
        return f"CASE WHEN {is_whole} THEN {whole} ELSE CAST({cell} AS VARCHAR) END"
    return f"CAST({cell} AS VARCHAR)"


def one_row(connection: "DuckDBPyConnection", statement: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
    """Return the one row of an answer, and leave the connection free for the next statement."""
    rows = run_long(connection, lambda: connection.execute(statement, list(parameters)).fetchall())
    row: tuple[Any, ...] = rows[0]
    return row


def run_long(
    connection: "DuckDBPyConnection", statement: Callable[[], Answer], on_share: Callable[[float], None] | None = None
) -> Answer:
    """Return what a call that runs one statement returns, and tell how far it is, as a share, twice a second.

    It runs in a thread, and this one waits in Python, so that Ctrl-C ends the statement at once: inside a long one
    DuckDB sees a signal late, or not at all where it measures progress.
    """
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(statement())
        except BaseException as error:
            answer.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while not wait([answer], timeout=0.5).done:
            percent = connection.query_progress() if on_share is not None else -1.0
            if on_share is not None and percent >= 0:
                on_share(percent / 100)
    except BaseException:
        connection.interrupt()
        raise
    finally:
        thread.join()
    return answer.result()


def quoted(name: str) -> str:
    """Return a name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def literal_path(path: str) -> str:
    """Return the path with DuckDB's wildcards escaped."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)


def arrow_table(frame: Any, wanted: set[str], row_column: str) -> Any:
    """Return an Arrow table of a DataFrame's columns, with the row numbers from 0 in `row_column`.

    Columns that are not `wanted`, by name or by number counted from 1, keep their names alone, so that messages can
    show them. Raises DataError for columns that mix types, or have another type that no table has.
    """
    import pyarrow as pa

    names = _names(frame)
    n_rows = frame.num_rows if hasattr(frame, "num_rows") else len(frame)
    columns: dict[str, Any] = {}
    for place, name in enumerate(names):
        if names.count(name) > 1 and name in wanted:
            raise DataError(f"DataFrame: column names must be unique, but {name!r} stands {names.count(name)} times.")
        is_wanted = name in wanted or str(place + 1) in wanted
        # One that stands twice keeps its place: columns may be asked for by their numbers.
        inner = name if name not in columns else f"{name} ({place + 1})"
        columns[inner] = _column(frame, place, name) if is_wanted else pa.nulls(n_rows)
    columns[row_column] = pa.array(range(0)) if n_rows == 0 else _counted(n_rows)
    return pa.table(columns)


def _names(frame: Any) -> list[str]:
    # `columns` of an Arrow table are arrays.
    return [str(name) for name in (frame.column_names if hasattr(frame, "column_names") else frame.columns)]


def _column(frame: Any, place: int, name: str) -> Any:
    import pyarrow as pa

    if not hasattr(frame, "iloc"):  # polars or Arrow
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
        return _plain(table.column(place), name)
    series = frame.iloc[:, place]
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert(None)  # the same moments, in UTC
    if hasattr(series, "sparse"):
        series = series.sparse.to_dense()
    try:
        column = pa.Table.from_pandas(series.to_frame("cells"), preserve_index=False).column(0)
    except UnicodeEncodeError:
        row, value = next((row, value) for row, value in enumerate(series.tolist()) if _is_no_text(value))
        raise DataError(f"DataFrame, iloc {row}: {name} must be UTF-8 text, but got {value!a}.") from None
    except (pa.ArrowException, OverflowError, TypeError):
        return _mixed(series, name)
    return _plain(column, name)


def _plain(column: Any, name: str) -> Any:
    """Return a column of Arrow as DuckDB reads it. Raises DataError where it would read something else."""
    import pyarrow as pa

    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    if isinstance(column.type, pa.ExtensionType):  # of a pandas period DuckDB sees its number: days since 1970
        hint = ", which .dt.to_timestamp() makes of them" if "period" in column.type.extension_name else ""
        raise DataError(f"DataFrame: {name} must hold text, numbers or times{hint}, but its type is {column.type}.")
    return column


def _is_no_text(value: Any) -> bool:
    return isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)


def _mixed(series: Any, name: str) -> Any:
    """Return whole numbers and texts side by side as text; refuse any other mixture, with its first row."""
    import numpy as np
    import pyarrow as pa
    from pandas import isna
    from pandas.api.types import is_scalar

    texts: list[str | None] = []
    for row, value in enumerate(series.tolist()):
        if is_scalar(value) and isna(value):  # of arrays, None is known for each entry
            texts.append(None)
        elif _is_no_text(value):
            raise DataError(f"DataFrame, iloc {row}: {name} must be UTF-8 text, but got {value!a}.")
        elif isinstance(value, str):
            texts.append(value)
        elif isinstance(value, int | np.integer) and not isinstance(value, bool):
            texts.append(str(value))
        else:
            raise DataError(
                f"DataFrame, iloc {row}: {name} must hold values of one type, but got {value!r} "
                f"({type(value).__name__}) among others."
            )
    return pa.array(texts, pa.string())


def _counted(n: int) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.array(np.arange(n, dtype=np.int64))
