"""A DataFrame as an Arrow table that DuckDB reads without a loop over rows.

Only the columns that are read are converted: what else a DataFrame holds may be anything.
"""

from typing import Any

from hrnn_hpo.errors import DataError


def arrow_table(frame: Any, wanted: set[str], row_column: str) -> Any:
    """Return an Arrow table of a DataFrame's columns, with the row numbers from 0 in `row_column`.

    Columns that are not `wanted` keep their names alone, so that messages can show them. Raises DataError for columns
    that mix types, or have another type that no table has.
    """
    import pyarrow as pa

    # `columns` of an Arrow table are arrays.
    names = [str(name) for name in (frame.column_names if hasattr(frame, "column_names") else frame.columns)]
    n_rows = frame.num_rows if hasattr(frame, "num_rows") else len(frame)
    columns: dict[str, Any] = {}
    for place, name in enumerate(names):
        if names.count(name) > 1 and name in wanted:
            raise DataError(f"DataFrame: column names must be unique, but {name!r} stands {names.count(name)} times.")
        columns[name] = _column(frame, place, name) if name in wanted else pa.nulls(n_rows)
    columns[row_column] = pa.array(range(0)) if n_rows == 0 else _counted(n_rows)
    return pa.table(columns)


def _column(frame: Any, place: int, name: str) -> Any:
    import pyarrow as pa

    if not hasattr(frame, "iloc"):  # polars or Arrow
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
        return table.column(place)
    series = frame.iloc[:, place]
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert(None)  # the same moments, in UTC
    try:
        return pa.Table.from_pandas(series.to_frame("cells"), preserve_index=False).column(0)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return _mixed(series, name)


def _mixed(series: Any, name: str) -> Any:
    """Return whole numbers and texts side by side as text; refuse any other mixture, with its first row."""
    import numpy as np
    import pyarrow as pa

    texts: list[str | None] = []
    for row, value in enumerate(series.tolist()):
        if value is None or value != value:  # NaN differs from itself
            texts.append(None)
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
