"""Amazon's schemas: read, checked against files, and suggested for one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from broken_log import zstd

from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.reading.amazon import NAMESPACE, read_schema
from hrnn_hpo.data.reading.options import read_options
from hrnn_hpo.data.reading.suggest import schema_of_file
from hrnn_hpo.errors import DataError

Write = Callable[..., Path]
REQUIRED = [
    {"name": "USER_ID", "type": "string"},
    {"name": "ITEM_ID", "type": "string"},
    {"name": "TIMESTAMP", "type": "long"},
]


def schema(folder: Path, *fields: dict[str, Any], required: list[dict[str, Any]] = REQUIRED) -> Path:
    path = folder / "schema.json"
    content = {"type": "record", "name": "Interactions", "namespace": NAMESPACE, "fields": [*required, *fields]}
    path.write_text(json.dumps({**content, "version": "1.0"}))
    return path


HEADER = "USER_ID,ITEM_ID,TIMESTAMP,PRICE,MEMBER,NOTE"


def test_a_file_that_fits_is_read_and_its_other_columns_stay_out(write: Write, tmp_path: Path) -> None:
    path = write("log.csv", HEADER, "u,a,1,2.5,true,x", "u,b,2,,FALSE,y")
    fields = [{"name": "PRICE", "type": ["float", "null"]}, {"name": "MEMBER", "type": "boolean"}]
    dataset = read_interactions(path, schema=schema(tmp_path, *fields))
    assert dataset.content_hash == read_interactions(path).content_hash


@pytest.mark.parametrize(
    ("field", "row", "message"),
    [
        ({"name": "PRICE", "type": "int"}, "u,b,2,2.5,true,x", "PRICE must be of type int as the schema says, but got"),
        ({"name": "PRICE", "type": "double"}, "u,b,2,,true,x", "PRICE must be of type double as the schema says, but"),
        ({"name": "MEMBER", "type": ["null", "boolean"]}, "u,b,2,2,yes,x", "MEMBER must be of type null or boolean"),
        ({"name": "NOTE", "type": "string"}, "u,b,2,2,true,", "NOTE must be of type string as the schema says"),
    ],
)
def test_cells_that_do_not_fit_are_named(
    write: Write, tmp_path: Path, field: dict[str, Any], row: str, message: str
) -> None:
    path = write("log.csv", HEADER, "u,a,1,2,true,x", row)
    with pytest.raises(DataError) as caught:
        read_interactions(path, schema=schema(tmp_path, field))
    assert str(caught.value).startswith(f"{path}, line 3: {message}")


def test_columns_that_the_schema_asks_for_must_be_there(write: Write, tmp_path: Path) -> None:
    path = write("log.csv", HEADER, "u,a,1,2,true,x")
    asked = schema(tmp_path, {"name": "DEVICE", "type": "string"}, {"name": "EVENT_TYPE", "type": "string"})
    with pytest.raises(DataError) as caught:
        read_interactions(path, schema=asked)
    assert str(caught.value).splitlines() == [
        f"{path}: column DEVICE is missing, which {asked} asks for.",
        f"{path}: column EVENT_TYPE is missing, which {asked} asks for.",
    ]


def test_parquet_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(
        pa.table({"USER_ID": ["u"] * 2, "ITEM_ID": ["a", "b"], "TIMESTAMP": [1, 2], "PRICE": [1.0, None]}), path
    )
    assert read_interactions(path, schema=schema(tmp_path, {"name": "PRICE", "type": ["float", "null"]})).n_events == 2
    with pytest.raises(
        DataError, match=r"log\.parquet, row 2: PRICE must be of type float as the schema says, but got ''"
    ):
        read_interactions(path, schema=schema(tmp_path, {"name": "PRICE", "type": "float"}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be valid JSON"),
        ("[]", "must be an Avro schema"),
        ('{"type": "record", "fields": [{"type": "string"}]}', r"fields\[0\]: an object with a `name` must stand here"),
        ('{"type": "record", "fields": []}', "USER_ID must be a field of a schema of interactions"),
        ('{"type": "record", "fields": [{"name": "X", "type": "strnig"}]}', "got 'strnig', did you mean 'string'"),
        (
            '{"type": "record", "fields": [{"name": "TIMESTAMP", "type": "string"}]}',
            "its type must be 'long', but got str",
        ),
    ],
)
def test_a_schema_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_schema(path)


def test_a_suggestion_has_types_unions_and_categories(write: Write, tmp_path: Path) -> None:
    path = write(
        "log.csv",
        "ts,USER_ID,ITEM_ID,EVENT_VALUE,GENRE,N,SHARE,NEW,,a b",
        "1,u,a,1,Drama,3,.5,true,0,x",
        "2,u,b,,,4,1,false,1,y",
    )
    found, notes = schema_of_file(str(path), read_options(time="ts"))
    assert found["fields"] == [
        *REQUIRED,
        {"name": "EVENT_VALUE", "type": ["float", "null"]},
        {"name": "GENRE", "type": ["string", "null"], "categorical": True},
        {"name": "N", "type": "long"},
        {"name": "SHARE", "type": "double"},
        {"name": "NEW", "type": "boolean"},
    ]
    assert notes == [
        "Column '' is left out: names of a schema have letters, digits and _ alone.",
        "Column 'a b' is left out: names of a schema have letters, digits and _ alone.",
    ]
    (tmp_path / "schema.json").write_text(json.dumps(found))
    assert read_interactions(path, time="ts", schema=tmp_path / "schema.json").n_events == 2


def test_a_suggestion_names_the_columns_that_are_there(write: Write) -> None:
    """The first lines of JSON have no EVENT_TYPE: that a later one may is no reason to ask for it."""
    path = write("log.jsonl", '{"USER_ID": "u", "ITEM_ID": "a", "TIMESTAMP": 1}')
    found, notes = schema_of_file(str(path), read_options())
    assert (found["fields"], notes) == (REQUIRED, [])


def test_a_suggestion_has_a_tables_own_names(tmp_path: Path) -> None:
    """DuckDB calls the second of two columns that differ by case alone `user_id_1`."""
    columns = {"USER_ID": ["u"], "ITEM_ID": ["a"], "TIMESTAMP": [1], "user_id": ["x"]}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    found, _ = schema_of_file(str(tmp_path / "log.parquet"), read_options())
    assert [field["name"] for field in found["fields"]] == list(columns)


def test_a_suggestion_says_that_the_service_takes_no_dates(write: Write) -> None:
    path = write("log.csv", "USER_ID,ITEM_ID,TIMESTAMP", "u,a,2024-01-31")
    _, notes = schema_of_file(str(path), read_options())
    assert notes == ["TIMESTAMP must hold whole unix seconds for the service, but the file has other values."]


def test_a_suggestion_is_of_one_file(write: Write, tmp_path: Path) -> None:
    for name in ("parts/0.csv", "parts/1.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(name, "USER_ID,ITEM_ID,TIMESTAMP", "u,a,1")
    with pytest.raises(DataError, match="a schema is made of one file, but there are 2"):
        schema_of_file(str(tmp_path / "parts"), read_options())


def test_a_suggestion_is_of_a_whole_file(tmp_path: Path) -> None:
    rows = zstd(b"USER_ID,ITEM_ID,TIMESTAMP\n" + b"u,a,1\n" * 9_999)  # more than the head that is looked at
    (tmp_path / "log.csv.zst").write_bytes(rows + zstd(b"u,a,x\n" * 99)[:-5])
    with pytest.raises(DataError, match=r"log.csv.zst: cannot be unpacked to its end"):
        schema_of_file(str(tmp_path / "log.csv.zst"), read_options())
