"""Files that are refused: what rule, what came, which file and line; all problems at once."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.errors import DataError

Write = Callable[..., Path]
HEADER = "USER_ID,ITEM_ID,TIMESTAMP"
WHOLE = "TIMESTAMP must be a non-negative whole number of unix seconds"
ISO = "--timestamps iso reads dates and times"
BROKEN_CELLS = [
    (",a,1,", "USER_ID must have 1 to 256 characters, none of them NUL, and not be blank, but got ''."),
    ('"",a,1,', "USER_ID must have 1 to 256 characters, none of them NUL, and not be blank, but got ''."),
    (" \t,a,1,", "USER_ID must have 1 to 256 characters, none of them NUL, and not be blank, but got ' \\t'."),
    ("u,,1,", "ITEM_ID must have 1 to 256 characters, none of them NUL, and not be blank, but got ''."),
    (f"u,{'x' * 257},1,", f"but got '{'x' * 50}'… (257 characters)."),
    ("u,a,,", "TIMESTAMP must be a non-negative whole number of unix seconds, but got ''; --timestamps iso reads"),
    ("u,a,yesterday,", "TIMESTAMP must be a non-negative whole number of unix seconds, but got 'yesterday'; --time"),
    ("u,a,12.7,", "but got '12.7';"),
    ("u,a,1e3,", "but got '1e3';"),
    ("u,a,-1,", "but got '-1';"),
    ("u,a, 1,", "but got ' 1';"),
    ("u,a,1_000,", "but got '1_000';"),
    ("u,a,٣,", "but got '٣';"),
    (f"u,a,{2**63},", f"but got '{2**63}';"),
    (
        "u,a,4102444801,",
        "TIMESTAMP must be unix seconds up to 4,102,444,800 (the year 2100), but got '4102444801'; --t",
    ),
    ("u,a,1,much", "EVENT_VALUE must be a finite number or empty, but got 'much'."),
    ("u,a,1,nan", "EVENT_VALUE must be a finite number or empty, but got 'nan'."),
    ("u,a,1,inf", "but got 'inf'."),
    ("u,a,1,1e39", "but got '1e39'."),  # beyond a 32-bit float
    ("u,a,1,1e999", "but got '1e999'."),
    ('u,a,1,"1,5"', "but got '1,5'."),
]


def error_of(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_interactions(path, **options)
    return str(caught.value)


@pytest.mark.parametrize(("row", "message"), BROKEN_CELLS)
def test_a_broken_cell_is_named_with_file_line_and_rule(write: Write, row: str, message: str) -> None:
    path = write("log.csv", f"{HEADER},EVENT_VALUE", "u,a,1,", row)
    error = error_of(path)
    assert error.startswith(f"{path}, line 3: ")
    assert message in error


def test_lines_are_counted_right_after_quoted_newlines_and_blank_lines(write: Write) -> None:
    path = write("log.csv", HEADER, '"two', 'lines",a,1', "", "u,a,soon", 'u,"x', 'y",-5')
    assert error_of(path).splitlines() == [
        f"{path}, line 5: {WHOLE}, but got 'soon'; {ISO}.",
        f"{path}, line 6: {WHOLE}, but got '-5'; {ISO}.",
    ]


def test_twenty_problems_of_each_kind_come_in_words_and_the_others_counted(write: Write) -> None:
    path = write("log.csv", HEADER, *["u,a,x"] * 18, "u,a,1", *[",a,x"] * 4)
    lines = error_of(path).splitlines()
    assert len(lines) == 20 + 4 + 1  # 22 bad times, 4 bad users
    assert lines[-1] == "… and 2 more rows: TIMESTAMP must be a non-negative whole number of unix seconds."
    assert lines[18].startswith(f"{path}, line 21: USER_ID")


def test_problems_of_all_tables_come_together(write: Write) -> None:
    folder = write("interactions.csv", HEADER, "u,a,x").parent
    write("items.csv", "ITEM_ID", "a", '""')
    write("users.csv", "USER_ID,AGE", ",3")
    lines = error_of(folder).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"{folder / 'interactions.csv'}, line 2",
        f"{folder / 'items.csv'}, line 3",
        f"{folder / 'users.csv'}, line 2",
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "USER_ID,ITEM_ID,TIME",
            "TIMESTAMP is missing (columns: USER_ID, ITEM_ID, TIME); its names suggest --columns TIMESTAMP=TIME.",
        ),
        ("user_id,ITEM_ID,TIMESTAMP", "its names suggest --columns USER_ID=user_id."),
        ("USER_ID, ITEM_ID,TIMESTAMP", "its names suggest --columns 'ITEM_ID= ITEM_ID'."),
        (
            "userId,movieId,rating,timestamp",
            "columns USER_ID, ITEM_ID and TIMESTAMP are missing (columns: userId, movieId, rating, timestamp); its "
            "names suggest --columns USER_ID=userId,ITEM_ID=movieId,TIMESTAMP=timestamp,EVENT_VALUE=rating.",
        ),
        (
            "USER_ID,THING,TIMESTAMP",
            "column ITEM_ID is missing (columns: USER_ID, THING, TIMESTAMP); give --columns IT",
        ),
        (
            "u1,a,1700000000",
            "the first line is a row rather than a header: u1, a, 1700000000; give --no-header --columns",
        ),
        (
            "USER_ID;ITEM_ID;TIMESTAMP",
            "cells must be separated by ',', but the header has ';': 'USER_ID;ITEM_ID;TIMESTAMP'; give --separator",
        ),
        (
            "USER_ID\tITEM_ID\tTIMESTAMP",
            r"but the header has '\t': 'USER_ID\tITEM_ID\tTIMESTAMP'; give --separator tab.",
        ),
        ("USER_ID,ITEM_ID,TIMESTAMP,ITEM_ID", "column names must be unique, but 'ITEM_ID' stands 2 times."),
    ],
)
def test_a_wrong_header_is_explained(write: Write, header: str, message: str) -> None:
    assert message in error_of(write("log.csv", header, ",".join(["1"] * len(header.split(",")))))


def test_every_wrong_header_is_reported_at_once(write: Write) -> None:
    folder = write("interactions.csv", "USER,ITEM,TIME", "u,a,1").parent
    write("items.csv", "ITEM", "a")
    write("users.csv", "AGE", "3")
    assert len(error_of(folder).splitlines()) == 3


def test_empty_files_are_refused(write: Write) -> None:
    assert "log.csv: is empty" in error_of(write("log.csv"))
    assert "blank.csv: is empty" in error_of(write("blank.csv", "", ""))
    assert "header.csv: is empty; at least one row must stand below the header." in error_of(
        write("header.csv", HEADER)
    )


def test_rows_of_another_width_than_the_header_are_refused(write: Write) -> None:
    path = write("log.csv", HEADER, "u,a", "u,b,1", "u,c,1,9", "u,d,x")
    assert error_of(path).splitlines() == [
        f"{path}, line 2: must have 3 cells like the header, but has 2 cells.",
        f"{path}, line 4: must have 3 cells like the header, but has 4 cells.",
        f"{path}, line 5: {WHOLE}, but got 'x'; {ISO}.",
    ]


def test_bytes_that_are_no_utf8_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(f"{HEADER}\nu,a,1\nu,caf\xe9,2\n".encode("latin-1"))
    assert error_of(path) == (
        f"{path}, line 3: must be UTF-8 text, but got 'caf\\\\xe9'; write the file as UTF-8, for example with "
        "iconv -f cp1252 -t utf-8 (there it reads 'café')."
    )
    path.write_bytes(f"{HEADER},\xe9\nu,a,1,\n".encode("latin-1"))
    assert error_of(path) == f"{path}, line 1: must be UTF-8 text, but holds other bytes."


def test_an_unclosed_quote_is_refused_with_its_line(write: Write) -> None:
    path = write("log.csv", HEADER, "u,a,1", 'u,"b,2', "u,c,3")
    assert f"{path}, line 3: must be valid CSV, but " in error_of(path)


def test_an_overlong_line_is_refused_with_its_number(write: Write) -> None:
    path = write("log.csv", HEADER, "u,a,1", f"u,{'x' * 2_000_001},1")
    assert error_of(path) == f"{path}, line 3: must be shorter than 2,000,000 bytes."


def test_missing_files_and_folders_without_interactions_are_refused(tmp_path: Path) -> None:
    assert "there is no such file or folder" in error_of(tmp_path / "nothing.csv")
    assert "interactions.csv or interactions.parquet must stand in a data folder" in error_of(tmp_path)


def test_two_files_for_one_role_are_refused(write: Write) -> None:
    folder = write("interactions.csv", HEADER, "u,a,1").parent
    write("interactions.parquet", "")
    assert "one file must stand there for interactions, but got interactions.csv and interactions.parquet" in error_of(
        folder
    )


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    assert error_of(path).startswith(f"{path}: cannot be read as Parquet: ")


def test_parquet_problems_carry_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    table = {"USER_ID": ["u", "", None], "ITEM_ID": ["a", "b", "c"], "TIMESTAMP": [-1.0, 2.5, 3.0], "X": [[1], [2], []]}
    pq.write_table(pa.table(table), path)
    assert error_of(path).splitlines() == [
        f"{path}, row 1: {WHOLE}, but got '-1'; {ISO}.",
        f"{path}, row 2: USER_ID must have 1 to 256 characters, none of them NUL, and not be blank, but got ''.",
        f"{path}, row 2: {WHOLE}, but got '2.5'; {ISO}.",
        f"{path}, row 3: USER_ID must have 1 to 256 characters, none of them NUL, and not be blank, but got ''.",
    ]
    pq.write_table(pa.table({"USER_ID": ["u"], "ITEM": ["a"], "TIMESTAMP": [1]}), path)
    assert (
        "column ITEM_ID is missing (columns: USER_ID, ITEM, TIMESTAMP); its names suggest --columns ITEM_ID=ITEM."
        in error_of(path)
    )
