"""DataFrames in place of files: the same checks, the same content hash, messages that name row and column."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.keeping.cache import cache_folder
from hrnn_hpo.data.prepared import load_dataset, load_prepared, prepare
from hrnn_hpo.errors import ConfigError, DataError

Write = Callable[..., Path]
OURS = {"user": "userId", "item": "movieId", "time": "ts"}


def error_of(frame: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_interactions(frame, **options)
    return str(caught.value)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "userId": [2, 1, 2, 2],
            "movieId": ["b", "a", "a", "a"],
            "ts": [5, 3, 4, 4],
            "rating": [1.5, np.nan, 2, 2],
            "kind": pd.Categorical(["view", "buy", None, None]),
            "whatever": [{"a": 1}, [2], None, object()],
        }
    )


def test_a_frame_and_a_file_of_the_same_events_have_one_hash(write: Write, frame: pd.DataFrame) -> None:
    path = write(
        "log.csv", "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE,EVENT_TYPE", "2,b,5,1.5,view", "1,a,3,,buy", "2,a,4,2,"
    )
    dataset = load_dataset(frame, **OURS, event_value="rating", event_type="kind")
    assert dataset.content_hash == load_dataset(path).content_hash
    assert dataset.name == "DataFrame"
    assert dataset.n_duplicates == 1
    assert isinstance(dataset.items, np.memmap)  # kept in the cache: workers share it
    mapping = {"USER_ID": "userId", "ITEM_ID": "movieId", "TIMESTAMP": "ts"}
    again = load_dataset(frame, columns=mapping, event_value="rating", event_type="kind")
    assert again.content_hash == dataset.content_hash


def test_other_tables_that_speak_arrow_go_in_too(frame: pd.DataFrame) -> None:
    plain = frame[["userId", "movieId", "ts"]]
    table = pa.Table.from_pandas(plain, preserve_index=False)
    assert load_dataset(table, **OURS).content_hash == load_dataset(plain, **OURS).content_hash


def test_a_frame_is_prepared_once(frame: pd.DataFrame, tmp_path: Path) -> None:
    folder = prepare(frame, **OURS)
    assert folder.parent == cache_folder() / "prepared"
    assert prepare(frame, **OURS) == folder
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]
    out = prepare(frame, tmp_path / "out", **OURS)
    assert load_prepared(out).content_hash == load_prepared(folder).content_hash


def test_the_frame_itself_stays_as_it_was(frame: pd.DataFrame) -> None:
    before = frame.copy(deep=True)
    load_dataset(frame, **OURS)
    pd.testing.assert_frame_equal(frame, before)


def test_times_of_pandas_are_taken_as_they_are() -> None:
    zoned = pd.to_datetime(["2020-01-01T01:00:00+01:00", "2020-01-01T00:00:01Z"], utc=True)
    for times in (zoned, zoned.tz_localize(None), zoned.tz_convert("Asia/Kolkata"), zoned.as_unit("ns")):
        dataset = load_dataset(pd.DataFrame({"USER_ID": ["u", "u"], "ITEM_ID": ["a", "b"], "TIMESTAMP": times}))
        assert dataset.timestamps.tolist() == [1_577_836_800, 1_577_836_801]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_nanoseconds_are_cut_as_in_text_and_never_rounded_into_the_next_second(zone: str | None) -> None:
    nanoseconds = [1_700_000_000_999_999_999, 1_700_000_000_999_999_001, 1_700_000_001_000_000_000]
    times = pa.array(nanoseconds, pa.timestamp("ns", zone))
    table = pa.table({"USER_ID": ["a"] * 3, "ITEM_ID": ["x"] * 3, "TIMESTAMP": times})
    dataset = read_interactions(table)
    assert dataset.timestamps.tolist() == [1_700_000_000, 1_700_000_001]
    assert dataset.n_duplicates == 1  # the same microsecond
    before = table.set_column(2, "TIMESTAMP", pa.array([1, 2, -1], pa.timestamp("ns", zone)))
    assert "iloc 2: TIMESTAMP must be a time from 1970 on" in error_of(before)


def test_index_and_order_of_rows_are_the_frames_own() -> None:
    frame = pd.DataFrame({"USER_ID": ["u"] * 3, "ITEM_ID": ["c", "a", "b"], "TIMESTAMP": [1, 1, 1]}, index=[9, 9, 1])
    dataset = load_dataset(frame)
    assert dataset.item_ids[dataset.items].tolist() == ["c", "a", "b"]


@pytest.mark.parametrize("kind", ["object", "string", "string[pyarrow]", "category"])
def test_ids_of_every_kind_of_text_are_read(kind: str) -> None:
    frame = pd.DataFrame({"USER_ID": ["u", "ü"], "ITEM_ID": ["a", "b"], "TIMESTAMP": [1, 2]})
    frame["USER_ID"] = frame["USER_ID"].astype(kind)
    assert load_dataset(frame).user_ids.tolist() == ["u", "ü"]


def test_whole_numbers_and_texts_may_stand_side_by_side() -> None:
    frame = pd.DataFrame({"USER_ID": [1, "one", np.int64(2)], "ITEM_ID": ["a"] * 3, "TIMESTAMP": [1, 2, 3]})
    assert load_dataset(frame).user_ids.tolist() == ["1", "2", "one"]


def test_floats_that_are_whole_labels_lose_their_point() -> None:
    """Pandas makes floats of whole numbers as soon as one is missing."""
    frame = pd.DataFrame({"USER_ID": ["u"] * 2, "ITEM_ID": ["a"] * 2, "TIMESTAMP": [1, 2], "EVENT_TYPE": [7.0, np.nan]})
    assert load_dataset(frame).event_type_names == ("7",)
    # Arrow tables and Parquet files of polars and Spark have NaN, which pandas would have made an empty cell.
    columns = {name: pa.array(values, from_pandas=False) for name, values in frame.items()}
    assert load_dataset(pa.table(columns)).event_type_names == ("7",)


def test_short_floats_and_sparse_columns_are_numbers() -> None:
    frame = pd.DataFrame({"USER_ID": ["u"] * 3, "ITEM_ID": ["a"] * 3, "TIMESTAMP": [1, 2, 3]})
    for values in (np.array([1.5, 0, np.nan], dtype=np.float16), pd.arrays.SparseArray([1.5, 0, np.nan])):
        dataset = load_dataset(frame.assign(EVENT_VALUE=values))
        assert dataset.event_values is not None
        np.testing.assert_array_equal(dataset.event_values, [1.5, 0, np.nan])


def test_columns_that_differ_by_case_and_columns_that_stand_twice_keep_their_places() -> None:
    frame = pd.DataFrame(
        [["x", "u", "a", 1], ["x", "v", "b", 2]], columns=["user_id", "USER_ID", "ITEM_ID", "TIMESTAMP"]
    )
    assert load_dataset(frame).user_ids.tolist() == ["u", "v"]
    assert load_dataset(frame, user="user_id").user_ids.tolist() == ["x"]
    twice = pd.DataFrame([[0, 0, "u", "a", 1], [0, 0, "v", "b", 2]], columns=["n", "n", "who", "what", "when"])
    dataset = load_dataset(twice, user=3, item=4, time=5)
    assert (dataset.user_ids.tolist(), dataset.item_ids.tolist()) == (["u", "v"], ["a", "b"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"userId": ["u", None, "v", ""]}, "DataFrame, iloc 1: USER_ID must have 1 to 256 characters"),
        ({"ts": [1, 2, -3, 4]}, "DataFrame, iloc 2: TIMESTAMP must be a non-negative whole number of unix seconds"),
        ({"ts": [1, 2, 3.5, 4]}, "but got '3.5'"),
        ({"ts": [1, 2, np.nan, 4]}, "DataFrame, iloc 2: TIMESTAMP must be a non-negative whole number"),
        ({"ts": pd.to_datetime(["2020-01-01", None, None, None])}, "iloc 1: TIMESTAMP must be a time from 1970 on"),
        (
            {"ts": np.array([1, 2, 9_300_000_000_000, 4], dtype="datetime64[s]")},
            "iloc 2: TIMESTAMP must be a time from 1970 on, but got 'one beyond the year 294246'",
        ),
        ({"ts": np.array([1, 2, 2**62, 4], dtype="datetime64[ms]")}, "but got 'one beyond the year 294246'"),
        ({"ts": np.array([1, 2**63 - 1, 3, 4], dtype="datetime64[us]")}, "iloc 1: TIMESTAMP must be a time from 1970"),
        ({"ts": [1.7e12] * 4}, "iloc 0: TIMESTAMP must be unix seconds up to 4,102,444,800 (the year 2100), but got"),
        (
            {"userId": [1.0, 2.0, 3.0, 4.0]},
            "USER_ID (column 'userId') must hold text or whole numbers, but its type is",
        ),
        (
            {"userId": [[1], [2], [3], [4]]},
            "USER_ID (column 'userId') must hold text or whole numbers, but its type is",
        ),
        ({"userId": [1, 2.5, "x", 4]}, "DataFrame, iloc 1: userId must hold values of one type, but got 2.5 (float)"),
        ({"movieId": [b"a", b"b", b"c", b"d"]}, "but its type is BLOB"),
        (
            {"movieId": pd.Series([1, "x", pd.NA, "y"], dtype=object)},
            "DataFrame, iloc 2: ITEM_ID must have 1 to 256 characters",
        ),
        ({"movieId": pd.Series([[1], "x", None, "y"], dtype=object)}, "iloc 0: movieId must hold values of one type"),
        ({"movieId": pd.Series([np.ones(2), "x", "y", 2], dtype=object)}, "iloc 0: movieId must hold values of one"),
        (
            {"userId": pd.Series(["a", "\ud800", "b", "c"], dtype=object)},
            "DataFrame, iloc 1: userId must be UTF-8 text, but got '\\ud800'.",
        ),
        ({"userId": pd.Series(["a", 1, "\ud800", "c"], dtype=object)}, "iloc 2: userId must be UTF-8 text"),
        (
            {"ts": pd.period_range("2020-01-01", periods=4)},
            "DataFrame: ts must hold text, numbers or times, which .dt.to_timestamp() makes of them, but its type is",
        ),
        ({"ts": [1.7e12] * 4}, "; timestamps='milliseconds', or microseconds, or seconds says what they are."),
        ({"ts": [20200101, 20200102, 20200103, 20200104]}, "give timestamps='iso', or timestamps='seconds' if"),
        ({"ts": [True, False, True, True]}, "TIMESTAMP (column 'ts') must hold times, whole numbers or text"),
    ],
)
def test_bad_frames_are_refused_with_row_and_column(
    frame: pd.DataFrame, changes: dict[str, list[object]], message: str
) -> None:
    assert message in error_of(frame.assign(**changes), **OURS)


def test_missing_names_are_proposed_as_keywords(frame: pd.DataFrame) -> None:
    frame = frame.rename(columns={"ts": "timestamp"})
    assert error_of(frame).endswith(
        "its names suggest user='userId', item='movieId', time='timestamp', event_value='rating'."
    )
    assert "TIMESTAMP=when was asked for, but the columns are" in error_of(frame, **{**OURS, "time": "when"})
    with pytest.raises(ConfigError, match="usr: is no option of reading a log, did you mean 'user'"):
        load_dataset(frame, usr="userId")


def test_names_that_stand_twice_and_empty_frames_are_refused(frame: pd.DataFrame) -> None:
    twice = pd.concat([frame, frame[["ts"]]], axis=1)
    assert "column names must be unique, but 'ts' stands 2 times" in error_of(twice, **OURS)
    assert "is empty" in error_of(frame.iloc[:0], **OURS)


def test_bad_rows_of_a_frame_can_be_skipped(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame["ts"] = [5, -1, 4, None]
    out = prepare(frame, tmp_path / "out", on_bad_rows="skip", **OURS)
    assert load_prepared(out).timestamps.tolist() == [4, 5]
    assert (out / "rejects.csv").read_text().splitlines() == [
        "FILE,ROW,COLUMN,RULE,VALUE",
        "DataFrame,1,TIMESTAMP,must be a non-negative whole number of unix seconds,-1",
        "DataFrame,3,TIMESTAMP,must be a non-negative whole number of unix seconds,",
    ]


@pytest.mark.parametrize(
    ("option", "value"), [("separator", ";"), ("no_quotes", True), ("no_header", True)], ids=lambda value: str(value)
)
def test_options_for_csv_are_refused_where_no_table_is_csv(
    frame: pd.DataFrame, tmp_path: Path, option: str, value: object
) -> None:
    parquet = tmp_path / "events.parquet"
    frame.drop(columns="whatever").to_parquet(parquet)
    columns = {"user": 1, "item": 2, "time": 3} if option == "no_header" else OURS
    for data in (frame, parquet):
        with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} is for CSV, but .* has none of it"):
            read_interactions(data, **{option: value}, **columns)
