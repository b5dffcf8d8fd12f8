"""Logs whose file or header is broken."""

import gzip
import random
import zlib

from broken_log import GOOD, PARQUET, Broken, H, csv, zstd

_DRAWN = random.Random(0)
_ROWS = [
    (f"u{_DRAWN.randrange(50)}", f"i{_DRAWN.randrange(99)}", 10**9 + n) for n in range(8_000)
]  # more than a block of zstd
_MANY = (H + "".join(f"{user},{item},{time}\n" for user, item, time in _ROWS)).encode()
_PACKED = gzip.compress(_MANY)


def _torn() -> bytes:
    """Return gzip that holds other bytes behind its first rows."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(_MANY) + packer.flush(zlib.Z_FULL_FLUSH) + b"\x07" * 99  # no block begins so


FILES = [
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
    csv(
        "zstd that is cut behind whole rows", zstd(_MANY) + zstd(GOOD.encode() * 99)[:-5], "cannot be unpacked or read"
    ),
    csv("gzip of other bytes at its head", _PACKED[:10] + b"\x07" + _PACKED[11:], "log.csv", "cannot be read"),
    csv("gzip of other bytes behind its first rows", _torn(), "cannot be unpacked or read from here on"),
    csv("gzip with another checksum", _PACKED[:-8] + bytes(4) + _PACKED[-4:], "cannot be unpacked or read", "CRC"),
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
]
