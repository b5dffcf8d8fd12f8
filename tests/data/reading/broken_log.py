"""A broken or strange log: what stands in its files, how it is read, and what must come of it.

`says` are parts of the message that it is refused with; `n_events` is what a log that is read must have; `warns` are
parts of its warnings. `skipped` are the lines that `on_bad_rows: skip` leaves out, where it mends the log.
"""

import io
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

H = "USER_ID,ITEM_ID,TIMESTAMP\n"
GOOD = "u,a,1\nv,b,2\n"
RULE_ID = "must have 1 to 256 characters, none of them NUL, and not be blank"
RULE_TIME = "TIMESTAMP must be a non-negative whole number of unix seconds"
RULE_2100 = "TIMESTAMP must be unix seconds up to 4,102,444,800 (the year 2100)"


@dataclass(frozen=True)
class Broken:
    name: str
    files: dict[str, bytes]
    says: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    n_events: int | None = None
    n_duplicates: int = 0
    warns: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()  # lines of log.csv
    source: str = "log.csv"


def csv(name: str, text: str | bytes, *says: str, **more: Any) -> Broken:
    content = text if isinstance(text, bytes) else text.encode()
    return Broken(name, {"log.csv": content}, says, **more)


def parquet(name: str, columns: dict[str, Any], *says: str, **more: Any) -> Broken:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return Broken(name, {"log.parquet": buffer.getvalue()}, says, source="log.parquet", **more)


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


IDS = {"USER_ID": ["u", "v"], "ITEM_ID": ["a", "b"]}
PARQUET = parquet("", {**IDS, "TIMESTAMP": [1, 2]}).files["log.parquet"]
