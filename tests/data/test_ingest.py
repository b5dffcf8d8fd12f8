"""Reading CSV and Parquet: what comes out, and where the rules stand twice. What is refused: test_ingest_refusals."""

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


# Where the rules stand twice.


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


@pytest.mark.parametrize("number", [2, "2"])
def test_numbers_of_columns_are_the_logs_and_not_those_of_its_tables(
    write: Callable[..., Path], number: object
) -> None:
    log = write("shop/interactions.csv", "u,a,1", "u,b,2")
    write("shop/items.csv", "ITEM_ID,TITLE", "a,Alien", "z,Zulu")
    write("shop/users.csv", "NAME,USER_ID", "Ursula,u")
    columns = {"USER_ID": 1, "ITEM_ID": number, "TIMESTAMP": 3}
    assert read_interactions(log.parent, no_header=True, columns=columns).item_ids.tolist() == ["a", "b", "z"]
    write("shop/items.csv", "movieId,TITLE", "a,Alien")
    with pytest.raises(DataError, match=r"items.csv: column ITEM_ID is missing: ITEM_ID=2 was asked for, but"):
        read_interactions(log.parent, no_header=True, columns=columns)
