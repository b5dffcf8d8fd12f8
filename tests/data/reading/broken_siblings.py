"""Siblings of the broken logs that users met: the same faults in another kind of file, place or spelling."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
from broken_log import GOOD, IDS, RULE_TIME, Broken, H, csv, parquet

_LATE = b"".join(b'{"USER_ID":"u%d","ITEM_ID":"a","TIMESTAMP":1}\n' % i for i in range(1001))
_LATE += b'{"USER_ID":"u","ITEM_ID":"a","TIMESTAMP":2,"%b":"buy"}\n'


def _twice() -> bytes:
    buffer = io.BytesIO()
    arrays = [pa.array([name]) for name in ("u", "v", "a")]
    pq.write_table(
        pa.Table.from_arrays([*arrays, pa.array([1])], ["USER_ID", "USER_ID", "ITEM_ID", "TIMESTAMP"]), buffer
    )
    return buffer.getvalue()


SIBLINGS = [
    csv(
        "a name twice that is not read",
        "USER_ID,ITEM_ID,TIMESTAMP,,,x,x\nu,a,1,,,2,3\nv,b,2,,,2,3\n",
        n_events=2,
    ),
    csv(
        "one column by name and by number",
        "USER_ID,item,TIMESTAMP\nu,a,1\n",
        "one column of the log is one of ours, but 'item' is ITEM_ID and TIMESTAMP",
        options={"columns": "ITEM_ID=item,TIMESTAMP=2"},
    ),
    csv(
        "our own name for another column",
        "USER_ID,item,TIMESTAMP\nu,a,1\n",
        "'USER_ID' is USER_ID and ITEM_ID",
        options={"columns": "ITEM_ID=USER_ID"},
    ),
    csv(
        "iso zones behind a blank",
        H + "u,a,1970-01-01 02:00:01 +02\nv,b,1970-01-01T00:00:02 Z\nw,c,1970-01-01 00:00:03UTC\n",
        n_events=3,
        options={"timestamps": "iso"},
    ),
    csv(
        "ids that differ by zeros at the front",
        H + "007,a,1\n7,a,2\n",
        n_events=2,
        warns=("2 user ids differ by zeros at the front alone, such as '007' and '7'",),
    ),
    csv(
        "ids that differ by how an accent is written",
        H + "caf\u00e9,a,1\ncafe\u0301,a,2\nx,a,3\n",
        n_events=3,
        warns=(r"2 user ids differ by how accents or invisible signs are written, such as 'cafe\u0301' and 'caf\xe9'",),
    ),
    csv(
        "ids that differ by blanks without width",
        H + "u,a,1\nu,a\u200b,2\nu,\u00a0a,3\n",
        n_events=3,
        warns=("3 item ids differ by how accents or invisible signs are written",),
    ),
    csv("a tar archive", b"a.csv" + bytes(252) + b"ustar\x0000" + bytes(247), "is a tar archive; unpack it"),
    Broken(
        "an empty value for a folder's USER_ID",
        {"shop/USER_ID=/a.csv": b"ITEM_ID,TIMESTAMP\na,1\n"},
        ("a.csv: USER_ID stands in the folder's name and must have 1 to 256 characters", "but got ''"),
        source="shop",
    ),
    Broken(
        "a word for a folder's TIMESTAMP",
        {"shop/TIMESTAMP=x/a.csv": b"ITEM_ID,USER_ID\na,u\n", "shop/TIMESTAMP=1/a.csv": b"ITEM_ID,USER_ID\na,u\n"},
        ("a.csv: TIMESTAMP stands in the folder's name and must be a non-negative", "but got 'x'"),
        options={"on_bad_rows": "skip"},
        source="shop",
    ),
    Broken(
        "folders with codes and with Hive's null",
        {
            "shop/EVENT_TYPE=a%2Fb/a.csv": (H + "u,a,1\n").encode(),
            "shop/EVENT_TYPE=__HIVE_DEFAULT_PARTITION__/a.csv": (H + "u,b,2\n").encode(),
        },
        n_events=1,
        options={"event_types": "a/b"},
        source="shop",
    ),
    Broken(
        "folders that give a column, by a pattern",
        {
            "shop/USER_ID=9/a.csv": b"ITEM_ID,TIMESTAMP\na,1\n",
            "shop/USER_ID=8/a.csv": b"ITEM_ID,TIMESTAMP\na,1\n",
            "shop/USER_ID=8/_metadata": b"x",
        },
        n_events=2,
        source="shop/*/*",
    ),
    Broken(
        "parts of blank lines and of nothing in gzip",
        {"shop/a.csv": (H + GOOD).encode(), "shop/b.csv": b"\n\n", "shop/c.csv.gz": gzip.compress(b"")},
        n_events=2,
        source="shop",
    ),
    Broken(
        "an items table beside part files",
        {"shop/part-0.csv": (H + GOOD).encode(), "shop/items.csv": b"ITEM_ID\na\nz\n"},
        n_events=2,
        source="shop",
    ),
    parquet(
        "not a number for a value",
        {**IDS, "TIMESTAMP": [1, 2], "EVENT_VALUE": pa.array([1.0, float("nan")])},
        "row 2: EVENT_VALUE must be a finite number or empty, but got 'nan'",
    ),
    parquet(
        "not a number for a time",
        {**IDS, "TIMESTAMP": pa.array([1.0, float("nan")])},
        f"row 2: {RULE_TIME}, but got 'nan'",
    ),
    parquet("nothing in a column of Parquet", {**IDS, "TIMESTAMP": [1, 2], "EVENT_TYPE": pa.nulls(2)}, n_events=2),
    parquet(
        "names of Parquet that differ by case",
        {"user_id": ["x", "x"], **IDS, "timestamp": [8, 9], "TIMESTAMP": [1, 2]},
        n_events=2,
    ),
    Broken(
        "a name of Parquet twice",
        {"log.parquet": _twice()},
        ("log.parquet: column names must be unique, but 'USER_ID' stands 2 times",),
        source="log.parquet",
    ),
    parquet(
        "a column that DuckDB has a name of its own for",
        {**IDS, "TIMESTAMP": [1, -2], "file_row_number": [7, 8]},
        f"row 2: {RULE_TIME}, but got '-2'",
    ),
    *(
        parquet(
            f"nanoseconds in the zone {zone}",
            {**IDS, "TIMESTAMP": pa.array([1_000_000_000, 1_000_000_001], pa.timestamp("ns", zone))},
            n_events=2,
        )
        for zone in ("UTC", "Europe/Berlin", "+05:30")
    ),
    Broken(
        "true for a JSON id",
        {"log.jsonl": b'{"USER_ID":true,"ITEM_ID":"a","TIMESTAMP":1}\n'},
        ("line 1: USER_ID must be text or a whole number, but got 'true'",),
        source="log.jsonl",
    ),
    Broken(
        "a JSON key that comes late",
        {"log.jsonl": _LATE % b"EVENT_TYPE"},
        n_events=1,
        options={"event_types": "buy"},
        source="log.jsonl",
    ),
    Broken(
        "a JSON key that comes late under another name",
        {"log.jsonl": _LATE % b"kind"},
        n_events=1,
        options={"event_types": "buy", "columns": "EVENT_TYPE=kind"},
        source="log.jsonl",
    ),
    Broken(
        "a JSON key that never comes",
        {"log.jsonl": _LATE % b"kind"},
        ("EVENT_TYPE=knd was asked for, but the columns are USER_ID, ITEM_ID, TIMESTAMP",),
        options={"columns": "EVENT_TYPE=knd"},
        source="log.jsonl",
    ),
    Broken(
        "JSON that is nested deeply",
        {"log.jsonl": b'{"USER_ID":"u","ITEM_ID":"a","TIMESTAMP":1,"x":' + b"[" * 3000 + b"]" * 3000 + b"}\n"},
        ("log.jsonl, line 1: must hold one JSON object a line",),
        source="log.jsonl",
    ),
]
