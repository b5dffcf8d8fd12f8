"""Broken and strange logs, each with a name: what stands in its files, how it is read, and what must come of it.

`says` are parts of the message that it is refused with; `n_events` is what a log that is read must have; `warns` are
parts of its warnings. `skipped` are the lines that `on_bad_rows: skip` leaves out, where it mends the log.
"""

import gzip
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

_LATE = b"".join(b'{"USER_ID":"u%d","ITEM_ID":"a","TIMESTAMP":1}\n' % i for i in range(1001))
_LATE += b'{"USER_ID":"u","ITEM_ID":"a","TIMESTAMP":2,"%b":"buy"}\n'


def _twice() -> bytes:
    buffer = io.BytesIO()
    arrays = [pa.array([name]) for name in ("u", "v", "a")]
    pq.write_table(
        pa.Table.from_arrays([*arrays, pa.array([1])], ["USER_ID", "USER_ID", "ITEM_ID", "TIMESTAMP"]), buffer
    )
    return buffer.getvalue()


BROKEN = [
    # The file as a whole.
    csv("no bytes", "", "log.csv: is empty"),
    csv("blank lines alone", "\n\n\n", "log.csv: is empty"),
    csv("a header alone", H, "log.csv: is empty; at least one row must stand below the header"),
    csv("a header without a line end", H.strip(), "log.csv: is empty"),
    csv("utf-16 with a mark", (H + GOOD).encode("utf-16"), "log.csv: must be UTF-8 text, but is UTF-16", "iconv"),
    csv("utf-16 without a mark", (H + GOOD).encode("utf-16-le"), "must be UTF-8 text, but is UTF-16"),
    csv("utf-16 big end first", (H + GOOD).encode("utf-16-be"), "must be UTF-8 text, but is UTF-16"),
    csv("a zip archive", b"PK\x03\x04" + bytes(40), "is a zip archive or an Excel workbook; unpack it"),
    csv("bzip2", b"BZh91AY&SY", "is packed with bzip2; unpack it"),
    csv("xz", b"\xfd7zXZ\x00", "is packed with xz; unpack it"),
    csv("an Avro file", b"Obj\x01" + bytes(10), "is an Avro file; write it as Parquet or CSV"),
    csv("a SQLite database", b"SQLite format 3\x00" + bytes(80), "is a SQLite database; write its table as CSV"),
    csv("an old Excel workbook", b"\xd0\xcf\x11\xe0" + bytes(80), "is an old Excel workbook; save it as CSV"),
    csv("gzip that is cut", gzip.compress((H + GOOD * 999).encode())[:40], "log.csv", "cannot be"),
    csv("gzip in a file without .gz", gzip.compress((H + GOOD).encode()), n_events=2),
    csv("zstd in a file without .zst", zstd((H + GOOD).encode()), n_events=2),
    csv("zstd that is cut", zstd((H + "".join(f"u{i},a{i},{i}\n" for i in range(999))).encode())[:900], "cannot be"),
    Broken(
        "CSV named .parquet",
        {"log.parquet": (H + GOOD).encode()},
        source="log.parquet",
        says=("must be a Parquet file by its name, but is text; rename it to .csv", "'USER_ID,ITEM_ID"),
    ),
    Broken("Parquet named .csv", {"log.csv": PARQUET}, n_events=2),
    Broken("Parquet that is cut", {"log.parquet": PARQUET[:-9]}, ("cannot be read as Parquet",), source="log.parquet"),
    Broken(
        "Parquet in gzip",
        {"log.parquet.gz": gzip.compress(PARQUET)},
        ("is Parquet packed with gzip; unpack it",),
        source="log.parquet.gz",
    ),
    Broken(
        "one JSON list",
        {"log.json": b'[{"USER_ID": 1}]'},
        ("must hold one JSON object a line, but is one list",),
        source="log.json",
    ),
    Broken("no such file", {}, ("nothing.csv: there is no such file or folder",), source="nothing.csv"),
    Broken("a pattern without files", {}, ("*.tsv: no file has a name of this pattern",), source="*.tsv"),
    Broken("a folder of pictures", {"shop/a.png": b"x"}, ("a.png: a folder of part files must hold",), source="shop"),
    Broken(
        "an empty folder", {"shop/.hidden": b"x"}, ("interactions.csv or interactions.parquet must",), source="shop"
    ),
    Broken(
        "CSV and Parquet parts",
        {"shop/a.csv": (H + GOOD).encode(), "shop/b.parquet": PARQUET},
        ("All files of a log must be of one kind, but got csv (",),
        source="shop",
    ),
    Broken(
        "two files for the items",
        {
            "shop/interactions.csv": (H + GOOD).encode(),
            "shop/items.csv": b"ITEM_ID\na\n",
            "shop/items.parquet": PARQUET,
        },
        ("for items, but got items.csv and items.parquet",),
        source="shop",
    ),
    # The header.
    csv(
        "others' names",
        "userId,movieId,ts\n1,2,3\n",
        "columns USER_ID, ITEM_ID and TIMESTAMP are missing",
        "--columns USER_ID=userId,ITEM_ID=movieId,TIMESTAMP=ts",
    ),
    csv("small letters", "user_id,item_id,timestamp\n1,2,3\n", "USER_ID=user_id,ITEM_ID=item_id,TIMESTAMP=timestamp"),
    csv("no header", "1,2,1700000000\n", "the first line is a row rather than a header", "--no-header --columns"),
    csv("a name twice", "USER_ID,ITEM_ID,TIMESTAMP,ITEM_ID\nu,a,1,a\n", "'ITEM_ID' stands 2 times"),
    csv("semicolons", H.replace(",", ";") + "u;a;1\n", "the header has ';'", "give --separator ';'"),
    csv("tabs", H.replace(",", "\t") + "u\ta\t1\n", r"the header has '\t'", "give --separator tab"),
    csv("pipes", H.replace(",", "|") + "u|a|1\n", "the header has '|'", "give --separator '|'"),
    csv(
        "the wrong separator",
        H + GOOD,
        "cells must be separated by ';', but the header has ','",
        "give --separator ','",
        options={"separator": ";"},
    ),
    csv("a header in cp1252", b"USER_ID,ITEM_ID,TIMESTAMP,caf\xe9\nu,a,1,x\n", "line 1: must be UTF-8 text"),
    csv("a header with an open quote", 'USER_ID,"ITEM_ID,TIMESTAMP\nu,a,1\n', "line 1: must be valid CSV"),
    csv(
        "a column that is not there",
        H + GOOD,
        "USER_ID=who was asked for, but the columns are USER_ID",
        options={"columns": {"USER_ID": "who"}},
    ),
    csv(
        "a column number beyond the row",
        "u,a,1\n",
        "TIMESTAMP=4 was asked for, but the columns are 1, 2, 3",
        options={"no_header": True, "columns": "USER_ID=1,ITEM_ID=2,TIMESTAMP=4"},
    ),
    csv("a blank line before the header", "\n" + H + GOOD, n_events=2),
    csv("an index column of pandas", ",USER_ID,ITEM_ID,TIMESTAMP\n0,u,a,1\n1,u,a,1\n", n_events=1, n_duplicates=1),
    # Rows.
    csv(
        "a cell too few", H + "u,a\n" + GOOD, "line 2: must have 3 cells like the header, but has 2 cells", skipped=(2,)
    ),
    csv(
        "a cell too many", H + "u,a,1,9\n" + GOOD, "line 2: must have 3 cells like the header, but has 4", skipped=(2,)
    ),
    csv("a comma at the end of rows", H + "u,a,1,\nv,b,2,\n", n_events=2),
    csv("an open quote", H + GOOD + 'u,"b,2\nw,c,3\n', "line 4: must be valid CSV", "--no-quotes", skipped=(4,)),
    csv("text behind a quote", H + GOOD + 'u,"b"c,2\n', "line 4: must be valid CSV", skipped=(4,)),
    csv(
        "a line of megabytes",
        H + GOOD + f"u,{'x' * 2_100_000},1\n",
        "line 4: must be shorter than 2,000,000 bytes",
        skipped=(4,),
    ),
    csv(
        "cp1252",
        b"USER_ID,ITEM_ID,TIMESTAMP\nu,a,1\nu,caf\xe9,2\n",
        r"line 3: must be UTF-8 text, but got 'caf\\xe9'",
        "iconv -f cp1252 -t utf-8 (there it reads 'café')",
        skipped=(3,),
    ),
    csv(
        "NUL in an id",
        H + GOOD + "u\0,a,3\n",
        "line 4: USER_ID must have 1 to 256 characters, none of them NUL",
        skipped=(4,),
    ),
    csv("NUL in a time", H + GOOD + "u,a,3\0\n", f"line 4: {RULE_TIME}, but got '3\\x00'", skipped=(4,)),
    csv("cut in the middle of a row", H + GOOD + "u,a", "line 4: must have 3 cells like the header", skipped=(4,)),
    csv("old Mac line ends", (H + GOOD).replace("\n", "\r"), n_events=2),
    csv("mixed line ends", H.replace("\n", "\r\n") + GOOD, n_events=2),
    csv("a byte order mark", b"\xef\xbb\xbf" + (H + GOOD).encode(), n_events=2),
    csv("the header again in the middle", H + GOOD + H, f"line 4: {RULE_TIME}, but got 'TIMESTAMP'", skipped=(4,)),
    # Ids.
    csv("an empty user", H + ",a,1\n" + GOOD, f"line 2: USER_ID {RULE_ID}, but got ''", skipped=(2,)),
    csv("a blank item", H + "u, \t,1\n" + GOOD, f"line 2: ITEM_ID {RULE_ID}", skipped=(2,)),
    csv("an id of 257 characters", H + f"{'é' * 257},a,1\n" + GOOD, f"line 2: USER_ID {RULE_ID}", skipped=(2,)),
    csv(
        "ids that differ by case",
        H + "u,a,1\nU,a,2\n",
        n_events=2,
        warns=("2 user ids differ by blanks or case alone, such as 'U' and 'u'",),
    ),
    csv(
        "ids that differ by blanks",
        H + "u,a,1\nu, a,2\n",
        n_events=2,
        warns=("2 item ids differ by blanks or case alone, such as ' a' and 'a'",),
    ),
    csv(
        "whole and decimal ids",
        H + "1,a,1\n1.0,a,2\n",
        n_events=2,
        warns=("1 user ids stand as whole numbers and as decimals, such as '1' and '1.0'",),
    ),
    Broken(
        "items 1.0 beside events 1",
        {"shop/interactions.csv": (H + "u,1,1\n").encode(), "shop/items.csv": b"ITEM_ID\n1.0\n2.0\n"},
        n_events=1,
        source="shop",
        warns=("1 item ids stand as whole numbers and as decimals", "None of the 2 rows of the items table"),
    ),
    # Times.
    csv("no time", H + "u,a,\n" + GOOD, f"line 2: {RULE_TIME}, but got ''", skipped=(2,)),
    csv(
        "a word for a time",
        H + "u,a,now\n" + GOOD,
        f"line 2: {RULE_TIME}, but got 'now'; --timestamps iso",
        skipped=(2,),
    ),
    csv("half a second", H + "u,a,1.5\n" + GOOD, f"line 2: {RULE_TIME}, but got '1.5'", skipped=(2,)),
    csv("a time before 1970", H + "u,a,-1\n" + GOOD, f"line 2: {RULE_TIME}, but got '-1'", skipped=(2,)),
    csv("a time beyond 64 bits", H + f"u,a,{2**63}\n" + GOOD, f"line 2: {RULE_TIME}", skipped=(2,)),
    csv("milliseconds", H + "u,a,1700000000000\n", f"line 2: {RULE_2100}", "--timestamps milliseconds"),
    csv(
        "milliseconds, skipped",
        H + "u,a,1700000000000\n" + GOOD,
        f"line 2: {RULE_2100}",
        "--timestamps milliseconds",
        options={"on_bad_rows": "skip"},
    ),
    csv("microseconds", H + "u,a,1700000000000000\n", f"line 2: {RULE_2100}", "microseconds"),
    csv(
        "days",
        H + "u,a,20240131\nu,b,20240201\n",
        "all values are days such as 20240131 (YYYYMMDD)",
        "--timestamps iso",
    ),
    csv("iso times without the option", H + "u,a,2024-01-31\n", f"line 2: {RULE_TIME}", "--timestamps iso"),
    csv(
        "a day that is none",
        H + "u,a,2024-02-30\nv,b,2024-02-29\n",
        "line 2: TIMESTAMP must be a date or an ISO time",
        options={"timestamps": "iso"},
        skipped=(2,),
    ),
    csv("seconds as floats", H + "u,a,1.0\nv,b,2.0\n", n_events=2),
    csv(
        "seconds said to be milliseconds",
        H + "u,a,1700000000\n",
        n_events=1,
        options={"timestamps": "milliseconds"},
        warns=("All times lie in 1970: are they really milliseconds?",),
    ),
    csv("times at 0", H + "u,a,0\nv,b,0\nv,b,9\n", n_events=3, warns=("2 events lie at time 0",)),
    csv(
        "times in the future",
        H + "u,a,4000000000\n",
        n_events=1,
        warns=("1 event lies in the future, up to 2096-10-02",),
    ),
    csv(
        "times of the year 3000",
        H + "u,a,32503680000\n",
        n_events=1,
        options={"timestamps": "seconds"},
        warns=("in the future",),
    ),
    # Values.
    csv(
        "a word for a value",
        H.strip() + ",EVENT_VALUE\nu,a,1,much\nu,a,2,1\n",
        "line 2: EVENT_VALUE must be a finite",
        skipped=(2,),
    ),
    csv("a decimal comma", H.strip() + ',EVENT_VALUE\nu,a,1,"1,5"\nu,a,2,1\n', "EVENT_VALUE must be", skipped=(2,)),
    csv("infinity", H.strip() + ",EVENT_VALUE\nu,a,1,inf\nu,a,2,1\n", "EVENT_VALUE must be", "'inf'", skipped=(2,)),
    csv(
        "1 and 1.0 are one value",
        H.strip() + ",EVENT_VALUE\nu,a,1,1\nu,a,1,1.0\nu,a,1,1e0\n",
        n_events=1,
        n_duplicates=2,
    ),
    csv("minus nothing", H.strip() + ",EVENT_VALUE\nu,a,1,0\nu,a,1,-0.0\n", n_events=1, n_duplicates=1),
    # Parquet.
    parquet(
        "float ids",
        {**IDS, "USER_ID": [1.0, 2.0], "TIMESTAMP": [1, 2]},
        "USER_ID must hold text or whole numbers",
        "its type is DOUBLE",
        "floats lose digits",
    ),
    parquet(
        "list ids",
        {**IDS, "ITEM_ID": [["a"], ["b"]], "TIMESTAMP": [1, 2]},
        "ITEM_ID must hold text or whole numbers",
        "VARCHAR[]",
    ),
    parquet("ids as bytes", {**IDS, "ITEM_ID": [b"a", b"b"], "TIMESTAMP": [1, 2]}, "ITEM_ID must hold", "BLOB"),
    parquet("whole ids", {"USER_ID": [1, 2], "ITEM_ID": [3, 4], "TIMESTAMP": [1, 2]}, n_events=2),
    parquet(
        "Booleans for times", {**IDS, "TIMESTAMP": [True, False]}, "TIMESTAMP must hold times, whole numbers or text"
    ),
    parquet("a missing user", {**IDS, "USER_ID": ["u", None], "TIMESTAMP": [1, 2]}, f"row 2: USER_ID {RULE_ID}"),
    parquet(
        "structs for values", {**IDS, "TIMESTAMP": [1, 2], "EVENT_VALUE": [{"x": 1}, {"x": 2}]}, "must hold numbers"
    ),
    # JSON lines.
    Broken(
        "JSON that is cut",
        {"log.jsonl": b'{"USER_ID":"u","ITEM_ID":"a","TIMESTAMP":1}\n{"USER_ID":'},
        ("line 2: must be valid JSON",),
        source="log.jsonl",
    ),
    Broken(
        "a JSON line that is a list",
        {"log.jsonl": b'{"USER_ID":"u","ITEM_ID":"a","TIMESTAMP":1}\n[1]\n'},
        ("line 2: must be one JSON object",),
        source="log.jsonl",
    ),
    Broken(
        "a list for a JSON id",
        {"log.jsonl": b'{"USER_ID":["u"],"ITEM_ID":"a","TIMESTAMP":1}\n'},
        ("line 1: USER_ID must be one value, but is a list",),
        source="log.jsonl",
    ),
    Broken(
        "a decimal JSON id",
        {"log.jsonl": b'{"USER_ID":1.5,"ITEM_ID":"a","TIMESTAMP":1}\n'},
        ("line 1: USER_ID must be text or a whole number, but got '1.5'",),
        source="log.jsonl",
    ),
    Broken(
        "a JSON line without a key",
        {"log.jsonl": b'{"USER_ID":"u","ITEM_ID":"a","TIMESTAMP":1}\n{"ITEM_ID":"a"}\n'},
        ("line 2: USER_ID must have", f"line 2: {RULE_TIME}, but got ''"),
        source="log.jsonl",
    ),
    Broken(
        "NaN in a JSON column that is not read",
        {"log.jsonl": b'{"USER_ID":"u","ITEM_ID":"a","TIMESTAMP":1,"x":NaN}\n'},
        n_events=1,
        source="log.jsonl",
    ),
    # Several files.
    Broken(
        "a part with another header",
        {"shop/a.csv": (H + GOOD).encode(), "shop/b.csv": b"USER_ID,TIMESTAMP\nu,1\n"},
        ("b.csv: column ITEM_ID is missing",),
        source="shop",
    ),
    Broken(
        "parts of other widths and orders",
        {
            "shop/a.csv": (H + GOOD).encode(),
            "shop/b.csv": b"TIMESTAMP,EVENT_TYPE,ITEM_ID,USER_ID\n3,x,c,w\n",
            "shop/c.csv": H.encode(),
        },
        n_events=3,
        source="shop",
        warns=("EVENT_TYPE stands in 1 of 3 files; it is empty in the others",),
    ),
    Broken(
        "bad rows in two parts",
        {"shop/a.csv": (H + ",a,1\n").encode(), "shop/b.csv": (H + "u,a,x\n").encode()},
        ("a.csv, line 2: USER_ID must", "b.csv, line 2: TIMESTAMP must"),
        source="shop",
    ),
    # Siblings of the above.
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
