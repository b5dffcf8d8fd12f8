"""Broken Parquet, JSON lines, and logs of several files."""

from broken_log import GOOD, IDS, RULE_ID, RULE_TIME, Broken, H, parquet

KINDS = [
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
]
