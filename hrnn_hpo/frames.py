"""A DataFrame as a Parquet file that the reader of logs knows, with our column names."""

from pathlib import Path
from typing import Any

from hrnn_hpo.config import nearest
from hrnn_hpo.data.schema import EVENT_TYPE, EVENT_VALUE, ITEM_ID, SESSION_ID, TIMESTAMP, USER_ID
from hrnn_hpo.errors import ConfigError, DataError

KEYWORDS = {
    "user": USER_ID,
    "item": ITEM_ID,
    "time": TIMESTAMP,
    "event_type": EVENT_TYPE,
    "event_value": EVENT_VALUE,
    "session": SESSION_ID,
}


def write_frame(frame: Any, file: Path, columns: dict[str, str]) -> None:
    """Write the columns that hold events, renamed. Raises DataError for columns that are not there."""
    import pandas as pd
    import pyarrow
    from pyarrow import parquet

    unknown = [name for name in columns if name not in KEYWORDS]
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is no kind of column{nearest(unknown[0], KEYWORDS) or '.'}")
    wanted = {ours: columns.get(name, ours) for name, ours in KEYWORDS.items()}
    missing = [f"{wanted[ours]!r}" for ours in (USER_ID, ITEM_ID, TIMESTAMP) if wanted[ours] not in frame.columns]
    missing += [f"{name!r}" for name in columns.values() if name not in frame.columns]
    if missing:
        raise DataError(f"DataFrame: has no column {', '.join(dict.fromkeys(missing))}; it has {list(frame.columns)}.")
    table = pd.DataFrame({ours: frame[name].to_numpy() for ours, name in wanted.items() if name in frame.columns})
    if table[TIMESTAMP].dtype.kind == "M":
        table[TIMESTAMP] = table[TIMESTAMP].astype("datetime64[s]").astype("int64")
    parquet.write_table(pyarrow.Table.from_pandas(table), file)
