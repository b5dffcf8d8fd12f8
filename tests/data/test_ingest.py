"""Reading CSV and Parquet: what comes out, and every way in which a file can be wrong."""

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_rows import rows_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hrnn_hpo.data.ingest import check_minimum, read_interactions
from hrnn_hpo.data.reading import encode
from hrnn_hpo.data.reading.options import read_options
from hrnn_hpo.data.reading.rules import rules_of
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.errors import DataError

Write = Callable[..., Path]
HEADER = "USER_ID,ITEM_ID,TIMESTAMP"
WHOLE = "TIMESTAMP must be a non-negative whole number of unix seconds"
ISO = "--timestamps iso reads dates and times"


def error_of(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_interactions(path, **options)
    return str(caught.value)


# What comes out.


def test_events_are_sorted_by_user_and_time_and_ties_keep_file_order(write: Write) -> None:
    dataset = read_interactions(write("log.csv", HEADER, "u2,z,5", "u1,b,9", "u2,y,5", "u1,a,3", "u2,x,5"))
    assert rows_of(dataset) == [("u1", "a", 3), ("u1", "b", 9), ("u2", "z", 5), ("u2", "y", 5), ("u2", "x", 5)]
    assert dataset.user_offsets.tolist() == [0, 2, 5]


def test_arrays_have_the_documented_types(write: Write) -> None:
    dataset = read_interactions(
        write("log.csv", f"{HEADER},EVENT_TYPE,EVENT_VALUE,SESSION_ID", "u,a,1,click,2.5,s", "u,b,2,,,")
    )
    assert dataset.user_offsets.dtype == dataset.timestamps.dtype == np.int64
    assert dataset.items.dtype == np.int32
    assert dataset.session_ids is not None
    assert dataset.event_types is not None
    assert dataset.event_values is not None
    assert dataset.session_ids.dtype == dataset.event_types.dtype == np.int32
    assert dataset.event_values.dtype == np.float32


def test_vocabularies_ascend_as_text_and_ids_stay_as_written(write: Write) -> None:
    dataset = read_interactions(write("log.csv", HEADER, "10,007,1", "9,7,1", "é, 7,1"))
    assert dataset.user_ids.tolist() == ["10", "9", "é"]
    assert dataset.item_ids.tolist() == [" 7", "007", "7"]


def test_items_of_the_items_table_belong_to_the_vocabulary(write: Write) -> None:
    folder = write("interactions.csv", HEADER, "u,b,1").parent
    write("items.csv", "GENRES,ITEM_ID", "Drama,c", "Comedy,a", "Comedy,a")
    write("users.csv", "USER_ID,AGE", "u,30", "nobody,40")
    dataset = read_interactions(folder)
    assert dataset.item_ids.tolist() == ["a", "b", "c"]
    assert dataset.user_ids.tolist() == ["u"]  # users without events are no users of the log
    assert rows_of(dataset) == [("u", "b", 1)]


def test_optional_columns_are_encoded_and_empty_cells_marked(write: Write) -> None:
    dataset = read_interactions(
        write(
            "log.csv",
            "SESSION_ID,EVENT_VALUE,EVENT_TYPE,TIMESTAMP,ITEM_ID,USER_ID",
            "s2,1.5,view,1,a,u",
            ",,,2,a,u",
            "s1,-2e1,buy,3,a,u",
        )
    )
    assert dataset.event_type_names == ("buy", "view")
    assert dataset.event_types is not None
    assert dataset.session_ids is not None
    assert dataset.event_values is not None
    assert dataset.event_types.tolist() == [1, -1, 0]
    assert dataset.session_ids.tolist() == [1, -1, 0]
    np.testing.assert_array_equal(dataset.event_values, np.array([1.5, np.nan, -20.0], dtype=np.float32))


def test_an_optional_column_without_a_value_counts_as_absent(write: Write) -> None:
    with_columns = read_interactions(
        write("log.csv", f"{HEADER},EVENT_TYPE,EVENT_VALUE,SESSION_ID", "u,a,1,,,", "u,b,2,,,")
    )
    without = read_interactions(write("bare.csv", HEADER, "u,a,1", "u,b,2"))
    assert with_columns.event_types is None
    assert with_columns.event_values is None
    assert with_columns.session_ids is None
    assert with_columns.content_hash == without.content_hash


def test_exact_duplicates_count_once_by_the_columns_that_are_read(write: Write) -> None:
    rows = ["0,u,a,1,5,x", "1,u,b,1,5,x", "2,u,a,1,5.0,x", "3,u,a,1,6,x", "4,u,a,1,,x", "5,u,a,01,,x", "6,u,a,1,,y"]
    dataset = read_interactions(write("log.csv", f",{HEADER},EVENT_VALUE,EVENT_TYPE", *rows))
    assert rows_of(dataset) == [("u", "a", 1), ("u", "b", 1), ("u", "a", 1), ("u", "a", 1), ("u", "a", 1)]
    assert dataset.n_duplicates == 2  # rows 2 and 5: 5 and 5.0 are one value, 1 and 01 one time; row 6 has another type


def test_duplicates_are_found_across_pieces_and_files(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "CHUNK_ROWS", 2)
    one = write("one.csv", HEADER, "u,a,1", "u,b,1", "u,c,1", "v,a,2")
    other = write("other.csv", HEADER, "u,b,1", "v,a,2", "u,d,1", "u,a,1", "u,b,1")
    dataset = read_interactions([one, other])
    assert rows_of(dataset) == [("u", "a", 1), ("u", "b", 1), ("u", "c", 1), ("u", "d", 1), ("v", "a", 2)]
    assert dataset.n_duplicates == 4


def test_quotes_commas_line_ends_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b'\xef\xbb\xbfUSER_ID,ITEM_ID,TIMESTAMP\r\n"a,1","say ""x""",1\r\n\r\n"b\nc",y,0002\r\n')
    assert rows_of(read_interactions(path)) == [("a,1", 'say "x"', 1), ("b\nc", "y", 2)]


def test_mixed_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"USER_ID,ITEM_ID,TIMESTAMP\r\nu,a,1\nu,b,2\r\n")
    assert rows_of(read_interactions(path)) == [("u", "a", 1), ("u", "b", 2)]
    path.write_bytes(b"USER_ID,ITEM_ID,TIMESTAMP\r\nu,a,1\nu,b,x\r\n")
    assert error_of(path).startswith(f"{path}, line 3: TIMESTAMP must be")


def test_blank_lines_are_no_rows_even_in_a_table_of_one_column(write: Write) -> None:
    folder = write("interactions.csv", HEADER, "", "u,a,1", "", "").parent
    write("items.csv", "ITEM_ID", "", "b", "")
    assert read_interactions(folder).item_ids.tolist() == ["a", "b"]


def test_ids_of_256_characters_and_the_largest_timestamp_are_accepted(write: Write) -> None:
    dataset = read_interactions(write("log.csv", HEADER, f"{'é' * 256},a,{2**63 - 1}"), timestamps="seconds")
    assert len(dataset.user_ids[0]) == 256
    assert dataset.timestamps.tolist() == [2**63 - 1]


def test_wildcards_in_a_file_name_are_taken_literally(write: Write) -> None:
    write("log1.csv", HEADER, "other,a,1")
    assert read_interactions(write("log[1]*?.csv", HEADER, "u,a,1")).user_ids.tolist() == ["u"]


def test_columns_that_differ_in_case_alone_are_other_columns(write: Write) -> None:
    dataset = read_interactions(write("log.csv", f"user_id,{HEADER}", "x,u,a,1"))
    assert dataset.user_ids.tolist() == ["u"]


def test_parquet_and_csv_of_the_same_rows_give_the_same_content(write: Write, tmp_path: Path) -> None:
    csv_file = write("log.csv", f"{HEADER},EVENT_VALUE", "2,b,5,1.5", "1,a,3,", "2,a,4,2.5")
    table = pa.table(
        {"USER_ID": [2, 1, 2], "ITEM_ID": ["b", "a", "a"], "TIMESTAMP": [5, 3, 4], "EVENT_VALUE": [1.5, None, 2.5]}
    )
    pq.write_table(table, tmp_path / "log.parquet")
    pq.write_table(table, tmp_path / "named_otherwise.bin")
    expected = read_interactions(csv_file).content_hash
    assert read_interactions(tmp_path / "log.parquet").content_hash == expected
    assert read_interactions(tmp_path / "named_otherwise.bin").content_hash == expected


def test_a_folder_may_hold_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"USER_ID": ["u"], "ITEM_ID": ["a"], "TIMESTAMP": [1]}), tmp_path / "interactions.parquet")
    pq.write_table(pa.table({"ITEM_ID": ["b"]}), tmp_path / "items.parquet")
    assert read_interactions(tmp_path).item_ids.tolist() == ["a", "b"]


cells = st.sampled_from(["a", "b", "c", "", " x", 'q"', "ü", "1", "10", "2"])
ids = cells.filter(str.strip)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(ids, ids, st.integers(0, 4), st.sampled_from(["", "view", "buy"])), min_size=1, max_size=30))
def test_reading_equals_a_literal_reference(rows: list[tuple[str, str, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([[*HEADER.split(","), "EVENT_TYPE"], *rows])
        dataset = read_interactions(path)
    expected = sorted(dict.fromkeys(rows), key=lambda row: (row[0], row[2]))
    assert rows_of(dataset) == [row[:3] for row in expected]
    types = [""] * len(expected)
    if dataset.event_types is not None:
        types = ["" if code < 0 else dataset.event_type_names[code] for code in dataset.event_types]
    assert types == [row[3] for row in expected]
    assert dataset.content_hash == make_dataset_of(expected).content_hash


def make_dataset_of(rows: list[tuple[str, str, int, str]]):  # type: ignore[no-untyped-def]
    users = sorted({row[0] for row in rows})
    histories = [[(item, time, kind or None) for user, item, time, kind in rows if user == name] for name in users]
    return make_dataset(histories, user_ids=users)


# What is refused.

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


texts = st.one_of(
    st.text(max_size=8),
    st.text(alphabet="0123456789.eE+-_ ", max_size=24),
    st.text(alphabet=" \t\r\n\x0b\xa0\0", max_size=3),
    st.integers().map(str),
    st.floats().map(str),
    st.integers(250, 260).map(lambda n: "é" * n),
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
)


DUCKDB = duckdb.connect()
DUCKDB.execute("SET TimeZone = 'UTC'")
UNITS = [None, "seconds", "milliseconds", "iso"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["USER_ID", "TIMESTAMP", "EVENT_VALUE", "EVENT_TYPE"]), st.sampled_from(UNITS), texts)
@example("TIMESTAMP", None, "9" * 19)
@example("TIMESTAMP", "seconds", "0" * 30 + "1")
@example("TIMESTAMP", None, "12.0")
@example("TIMESTAMP", None, "12.")
@example("TIMESTAMP", "seconds", f"{2**63 - 1}.0")
@example("TIMESTAMP", "iso", "2024-02-30")
@example("TIMESTAMP", "iso", "20240229")
@example("TIMESTAMP", "iso", "1969-12-31T23:30:00-01:00")
@example("TIMESTAMP", "iso", "1970-01-01T00:30:00+01:00")
@example("TIMESTAMP", "iso", "2024-01-31 24:00:00")
@example("TIMESTAMP", "iso", "2024-01-31T10:51:09.277Z")
@example("TIMESTAMP", "iso", "2024-01-31 10:51:09 UTC")
@example("TIMESTAMP", "iso", "2024-01-31T10:51:09+0530")
@example("TIMESTAMP", "iso", "2024-01-31T10:51+05")
@example("TIMESTAMP", "iso", "0000-01-01")
@example("EVENT_VALUE", None, "3.4028235e38")
@example("EVENT_VALUE", None, "3.40282351e38")
@example("EVENT_VALUE", None, "1e-400")
@example("EVENT_VALUE", None, "1.")
@example("EVENT_VALUE", None, "1" * 400)
def test_the_rules_in_sql_and_in_python_agree(column: str, unit: str | None, text: str) -> None:
    for rule in rules_of(column, read_options(timestamps=unit)):
        answer = DUCKDB.execute(f"SELECT {rule.broken_sql('cell')} FROM (SELECT ? AS cell)", [text or None])
        assert answer.fetchall() == [(rule.breaks(text),)], rule.says


# The smallest log.


def log_of(n_users: int, n_each: int):  # type: ignore[no-untyped-def]
    return make_dataset([[("a", step) for step in range(n_each)] for _ in range(n_users)], name="small.csv")


def test_a_log_of_the_minimal_size_is_accepted() -> None:
    check_minimum(log_of(25, 40))


def test_a_log_with_too_few_interactions_or_returning_users_is_refused() -> None:
    with pytest.raises(DataError, match=r"small.csv: at least 1,000 interactions and 25 users .* but got 975 inter"):
        check_minimum(log_of(25, 39))
    with pytest.raises(DataError, match="and 24 such users"):
        check_minimum(log_of(24, 50))
    with pytest.raises(DataError, match="and 0 such users"):
        check_minimum(log_of(1000, 1))
