"""Logs as others publish them load with options alone: small files of each shape, with made-up rows."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_rows import rows_of

from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.errors import DataError

Write = Callable[..., Path]


def test_movielens_u_data(write: Write) -> None:
    path = write("u.data", "196\t242\t3\t881250949", "186\t302\t3\t891717742", "196\t302\t1\t881250950")
    dataset = read_interactions(
        path, no_header=True, separator="tab", columns="USER_ID=1,ITEM_ID=2,EVENT_VALUE=3,TIMESTAMP=4"
    )
    assert rows_of(dataset) == [("186", "302", 891717742), ("196", "242", 881250949), ("196", "302", 881250950)]
    assert dataset.event_values is not None
    assert dataset.event_values.tolist() == [3, 3, 1]
    with pytest.raises(DataError, match=r"the header has '\\t': .*; give --separator tab\."):
        read_interactions(path)
    with pytest.raises(DataError, match="the first line is a row rather than a header: 196, 242, 3, 881250949; give"):
        read_interactions(path, separator="tab")


def test_movielens_ratings_csv(write: Write) -> None:
    path = write("ratings.csv", "userId,movieId,rating,timestamp", "1,31,2.5,1260759144", "1,1029,3.0,1260759179")
    with pytest.raises(DataError) as caught:
        read_interactions(path)
    suggested = str(caught.value).partition("--columns ")[2].removesuffix(".")
    assert suggested == "USER_ID=userId,ITEM_ID=movieId,TIMESTAMP=timestamp,EVENT_VALUE=rating"
    dataset = read_interactions(path, columns=suggested)
    assert rows_of(dataset) == [("1", "31", 1260759144), ("1", "1029", 1260759179)]
    assert dataset.event_values is not None


def test_movielens_ratings_dat(write: Write) -> None:
    path = write("ratings.dat", "1::1193::5::978300760", "1::661::3::978302109")
    dataset = read_interactions(path, no_header=True, separator="::", columns="USER_ID=1,ITEM_ID=2,TIMESTAMP=4")
    assert rows_of(dataset) == [("1", "1193", 978300760), ("1", "661", 978302109)]
    broken = write("broken.dat", "1::1193::5::978300760", "1::661::3", "2::661::3::x")
    with pytest.raises(DataError) as caught:
        read_interactions(broken, no_header=True, separator="::", columns="USER_ID=1,ITEM_ID=2,TIMESTAMP=4")
    first, second = str(caught.value).splitlines()
    assert first == f"{broken}, line 2: must have 4 cells like the first line, but has 3 cells."
    assert second.startswith(f"{broken}, line 3: TIMESTAMP must be a non-negative whole number")


def test_retailrocket_events(write: Write) -> None:
    path = write(
        "events.csv",
        "timestamp,visitorid,event,itemid,transactionid",
        "1433221332117,257597,view,355908,",
        "1433221332118,257597,view,355909,",
        "1433221332117,257597,view,355908,",
        "1433221332900,257597,transaction,355908,4000",
    )
    with pytest.raises(DataError) as caught:
        read_interactions(path)
    suggested = str(caught.value).partition("--columns ")[2].removesuffix(".")
    assert suggested == "USER_ID=visitorid,ITEM_ID=itemid,TIMESTAMP=timestamp,EVENT_TYPE=event"
    with pytest.raises(
        DataError, match=r"line 2: TIMESTAMP must be unix seconds up to .* '1433221332117'; --timestamps"
    ):
        read_interactions(path, columns=suggested)
    dataset = read_interactions(path, columns=suggested, timestamps="milliseconds")
    assert dataset.timestamps.tolist() == [1433221332] * 3
    assert dataset.item_ids[dataset.items].tolist() == ["355908", "355909", "355908"]  # in the order of milliseconds
    assert dataset.n_duplicates == 1
    assert dataset.event_type_names == ("transaction", "view")


def test_yoochoose_clicks(write: Write) -> None:
    path = write(
        "yoochoose-clicks.dat",
        "1,2014-04-07T10:51:09.277Z,214536502,0",
        "1,2014-04-07T10:54:09.868Z,214536500,0",
        "2,2014-04-07T13:56:37.614Z,214662742,0",
    )
    columns = "USER_ID=1,SESSION_ID=1,TIMESTAMP=2,ITEM_ID=3"
    with pytest.raises(ValueError, match="one column of the log is one of ours, but 1 stands twice"):
        raise ValueError(error_of(path, no_header=True, columns=columns))
    dataset = read_interactions(path, no_header=True, timestamps="iso", columns="USER_ID=1,TIMESTAMP=2,ITEM_ID=3")
    assert rows_of(dataset)[0] == ("1", "214536502", 1396867869)
    assert "--timestamps iso" in error_of(path, no_header=True, columns="USER_ID=1,TIMESTAMP=2,ITEM_ID=3")


def error_of(path: Path, **options: object) -> str:
    from hrnn_hpo.errors import HRNNError

    with pytest.raises(HRNNError) as caught:
        read_interactions(path, **options)
    return str(caught.value)


def test_taobao_user_behavior(write: Write) -> None:
    path = write("UserBehavior.csv", "1,2268318,2520377,pv,1511544070", "1,2333346,2520771,buy,1511561733")
    dataset = read_interactions(path, no_header=True, columns="USER_ID=1,ITEM_ID=2,EVENT_TYPE=4,TIMESTAMP=5")
    assert rows_of(dataset) == [("1", "2268318", 1511544070), ("1", "2333346", 1511561733)]
    assert dataset.event_type_names == ("buy", "pv")
    bought = read_interactions(
        path, no_header=True, columns="USER_ID=1,ITEM_ID=2,EVENT_TYPE=4,TIMESTAMP=5", event_types="buy"
    )
    assert bought.n_events == 1


def test_last_fm_tab_files(write: Write) -> None:
    path = write(
        "userid-timestamp-artid-artname-traid-traname.tsv",
        "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tFuck Me Im Famous (Pacha Ibiza)-09-28-2007",
        'user_000001\t2009-05-04T13:54:10Z\ta7f7df4a\t坂本龍一\t\t"Composition" 0919 (12" Live',
        "user_000002\t2009-05-04T13:52:04Z\ta7f7df4a\t坂本龍一\tMc2",
    )
    told = {"no_header": True, "separator": "tab", "timestamps": "iso", "columns": "USER_ID=1,TIMESTAMP=2,ITEM_ID=4"}
    assert "give --no-quotes" in error_of(path, **told)
    assert error_of(path, **told, no_quotes=True) == (
        f"{path}, line 3: must have 6 cells like the first line, but has 5 cells."
    )
    dataset = read_interactions(path, **told, no_quotes=True, on_bad_rows="skip")
    assert rows_of(dataset) == [("user_000001", "坂本龍一", 1241445250), ("user_000001", "Deep Dish", 1241478537)]


AMAZON_REVIEWS = [
    {"reviewerID": "A2SUAM1J", "asin": "0000013714", "helpful": [0, 0], "overall": 5.0, "unixReviewTime": 1252800000},
    {"reviewerID": "A1", "asin": "0000013714", "reviewText": 'a "x", \n', "overall": 4.0, "unixReviewTime": 1252800001},
]


@pytest.mark.parametrize("name", ["reviews.json", "reviews.jsonl", "reviews.json.gz"])
def test_amazon_reviews(tmp_path: Path, name: str) -> None:
    text = "".join(json.dumps(review) + "\n" for review in AMAZON_REVIEWS)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(DataError) as caught:
        read_interactions(path)
    suggested = str(caught.value).partition("--columns ")[2].removesuffix(".")
    assert suggested == "USER_ID=reviewerID,ITEM_ID=asin,TIMESTAMP=unixReviewTime,EVENT_VALUE=overall"
    dataset = read_interactions(path, columns=suggested)
    assert rows_of(dataset) == [("A1", "0000013714", 1252800001), ("A2SUAM1J", "0000013714", 1252800000)]


def test_amazon_reviews_of_2023(tmp_path: Path) -> None:
    path = tmp_path / "All_Beauty.jsonl"
    path.write_text(
        '{"rating": 5.0, "user_id": "AG", "parent_asin": "B00", "asin": "B01", "timestamp": 1588687728923}\n'
    )
    dataset = read_interactions(
        path, columns="USER_ID=user_id,ITEM_ID=parent_asin,TIMESTAMP=timestamp", timestamps="milliseconds"
    )
    assert rows_of(dataset) == [("AG", "B00", 1588687728)]


def test_personalizes_own_exports(write: Write, tmp_path: Path) -> None:
    """An export is a folder of CSV parts with our names; impressions and recommendation ids are not read."""
    header = "USER_ID,ITEM_ID,EVENT_TYPE,EVENT_VALUE,TIMESTAMP,IMPRESSION,RECOMMENDATION_ID"
    write("export/interactions/part-0.csv", header, "u,a,click,,1,a|b|c,r1")
    write("export/interactions/part-1.csv", header, "u,b,buy,2.5,2,,")
    (tmp_path / "export" / "interactions" / "_SUCCESS").touch()
    dataset = read_interactions(tmp_path / "export" / "interactions")
    assert rows_of(dataset) == [("u", "a", 1), ("u", "b", 2)]
    schema = {
        "type": "record",
        "name": "Interactions",
        "namespace": "com.amazonaws.personalize.schema",
        "fields": [
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "EVENT_TYPE", "type": "string"},
            {"name": "EVENT_VALUE", "type": ["null", "float"]},
            {"name": "TIMESTAMP", "type": "long"},
            {"name": "IMPRESSION", "type": ["string", "null"]},
        ],
        "version": "1.0",
    }
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    checked = read_interactions(tmp_path / "export" / "interactions", schema=tmp_path / "schema.json")
    assert checked.content_hash == dataset.content_hash


def test_cosmetics_shop_times_with_utc_behind_them(write: Write) -> None:
    path = write(
        "2019-Oct.csv",
        "event_time,event_type,product_id,category_id,price,user_id,user_session",
        "2019-10-01 00:00:00 UTC,cart,5773203,1487580005134238553,2.62,463240011,26dd6e6e",
    )
    suggested = error_of(path).partition("--columns ")[2].removesuffix(".")
    dataset = read_interactions(path, columns=suggested, timestamps="iso")
    assert rows_of(dataset) == [("463240011", "5773203", 1569888000)]
    assert dataset.session_ids is not None


def test_instacart_like_days_in_one_number(write: Write) -> None:
    path = write("purchases.csv", "USER_ID,ITEM_ID,TIMESTAMP", "u,a,20200131", "u,b,20200229")
    assert (
        "must be unix seconds, but all values are days such as 20200131 (YYYYMMDD); give --timestamps iso"
        in error_of(path)
    )
    assert read_interactions(path, timestamps="iso").timestamps.tolist() == [1580428800, 1582934400]
    assert read_interactions(path, timestamps="seconds").timestamps.tolist() == [20200131, 20200229]


def test_recbole_atomic_files(write: Write) -> None:
    path = write("ml.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float", "1\t2\t3.0\t881250949.0")
    suggested = error_of(path, separator="tab").partition("--columns ")[2].removesuffix(".")
    dataset = read_interactions(path, separator="tab", columns=suggested)
    assert rows_of(dataset) == [("1", "2", 881250949)]


def test_hive_folders(tmp_path: Path) -> None:
    for user in ("9", "10"):
        folder = tmp_path / "events" / f"user={user}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"ITEM_ID": ["a", "b"], "TIMESTAMP": [1, 2]}), folder / "part-0.parquet")
    dataset = read_interactions(tmp_path / "events", columns={"USER_ID": "user"})
    assert rows_of(dataset) == [("10", "a", 1), ("10", "b", 2), ("9", "a", 1), ("9", "b", 2)]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_folders_name_never_stands_for_a_column_that_the_file_has(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "USER_ID=9"
    folder.mkdir()
    table = pa.table({"USER_ID": ["u", "v"], "ITEM_ID": ["a", "b"], "TIMESTAMP": [1, 2]})
    if form == "csv":
        (folder / "log.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\nu,a,1\nv,b,2\n")
    else:
        pq.write_table(table, folder / "log.parquet")
    for source in (folder / f"log.{form}", folder, tmp_path, f"{tmp_path}/*/*"):
        assert read_interactions(source).user_ids.tolist() == ["u", "v"]
