"""CSV logs with broken rows, ids, times and values."""

from broken_log import GOOD, RULE_2100, RULE_ID, RULE_TIME, Broken, H, csv

ROWS = [
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
    csv("a return in a quoted cell", H + GOOD + 'u,"c\rd",3\n', n_events=3),
    csv("a return in a quoted cell below a blank line", "\n" + H + GOOD + 'u,"c\rd",3\n', n_events=3),
    csv("a return in a quoted cell beside a bad row", H + 'u\nu,"c\rd",3\n' + GOOD, "must have 3 cells", skipped=(2,)),
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
]
