"""How options of reading are checked, typed and remembered."""

import datetime
from pathlib import Path

import numpy as np
import pytest

from hrnn_hpo.data.reading.options import ReadOptions, read_options
from hrnn_hpo.errors import ConfigError


def test_columns_come_as_text_as_mapping_and_as_keywords() -> None:
    expected = {"USER_ID": "userId", "ITEM_ID": "movie,id", "TIMESTAMP": "ts=1"}
    assert read_options(columns="USER_ID=userId,ITEM_ID=movie,id,TIMESTAMP=ts=1").columns == expected
    assert read_options(columns=expected).columns == expected
    assert read_options(user="userId", item="movie,id", time="ts=1").columns == expected
    assert read_options(read_options(columns=expected), user="who").columns["USER_ID"] == "who"


def test_blanks_behind_the_commas_of_columns_do_not_count() -> None:
    assert read_options(columns="USER_ID=a, b,  ITEM_ID=c").columns == {"USER_ID": "a, b", "ITEM_ID": "c"}


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("2024-01-31", 1706659200),
        ("20240131", 1706659200),
        ("2024-01-31T12:00:00+01:00", 1706698800),
        ("2024-01-31 00:00:00 UTC", 1706659200),  # as `data describe` shows it
        ("1706659200", 1706659200),
        (1706659200, 1706659200),
        (datetime.date(2024, 1, 31), 1706659200),
        (datetime.datetime(2024, 1, 31, 0, 0), 1706659200),
        (np.datetime64("2024-01-31T00:00:00"), 1706659200),
        (np.int64(1706659200), 1706659200),
    ],
)
def test_moments_are_unix_seconds_and_utc_unless_said(told: object, seconds: int) -> None:
    assert read_options(from_time=told).from_time == seconds


def test_sizes_and_separators_have_names() -> None:
    assert read_options(memory_limit="1.5GB").memory_limit == 1_500_000_000
    assert read_options(memory_limit="1GiB").memory_limit == 2**30
    assert read_options(separator="tab").separator == read_options(separator="\t").separator == "\t"


def test_options_are_told_as_they_are_typed() -> None:
    told = {
        "columns": "USER_ID=1,ITEM_ID=2,TIMESTAMP=3",
        "no_header": True,
        "separator": "tab",
        "event_types": ["add to cart", "a,b"],
        "until_time": 9,
    }
    options = read_options(**told)
    assert options.command_line() == (
        "--columns USER_ID=1,ITEM_ID=2,TIMESTAMP=3 --no-header --separator tab "
        "--event-types 'add to cart,a\\,b' --until 9"
    )
    assert read_options(event_types="add to cart,a\\,b").event_types == options.event_types
    assert read_options(**options.told()) == options
    assert ReadOptions().command_line() == ReadOptions().digest() == ""


def test_the_digest_goes_by_what_is_read(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text("1")
    one = read_options(schema=schema).digest()
    schema.write_text("2")
    assert read_options(schema=schema).digest() != one
    assert read_options(memory_limit="1GB").digest() == ""
    assert read_options(timestamps="iso").digest() != read_options(timestamps="seconds").digest()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"column": {}}, "column: is no option of reading a log, did you mean 'columns'?"),
        ({"columns": "userId"}, "columns: must look like USER_ID=userId"),
        (
            {"columns": {"USER": "u"}},
            r"columns: must name USER_ID, .* alone, but got {'USER': 'u'}, did you mean 'USER_ID'\?$",
        ),
        ({"columns": "user_id=a"}, r"alone, but got 'user_id=a', did you mean 'USER_ID'\?$"),
        ({"columns": "time=a"}, r"alone, but got 'time=a', did you mean 'TIMESTAMP'\?$"),
        ({"columns": ""}, "columns: must look like USER_ID=userId"),
        ({"until_time": 1_700_000_000_000}, r"until_time: must be unix seconds up to 4,102,444,800 \(the year 2100\)"),
        ({"from_time": "1700000000000"}, "from_time: must be unix seconds up to 4,102,444,800"),
        ({"from_time": "1970-01-01T00:00:02.5"}, "from_time: must be a whole second"),
        ({"from_time": True}, "from_time: a number must stand here, but got True"),
        ({"sample_users": True}, "sample_users: a number must stand here, but got True"),
        ({"min_user_events": True}, "min_user_events: a number must stand here, but got True"),
        ({"memory_limit": "2000TB"}, "memory_limit: must be at most 1000TB"),
        ({"columns": {"USER_ID": ""}}, "columns: must give USER_ID the name of a column, or its number"),
        ({"columns": "USER_ID=a,USER_ID=b"}, "must name each of our columns once"),
        (
            {"columns": {"USER_ID": "a"}, "no_header": True},
            "without a header columns are numbers, .* but got USER_ID=a",
        ),
        ({"separator": '"'}, "separator: must be one to four characters"),
        ({"timestamps": "hours"}, "timestamps: Input should be 'seconds'"),
        ({"event_types": ""}, "event_types: must name at least one event type"),
        ({"min_event_value": float("nan")}, "min_event_value: Input should be a finite number"),
        ({"sample_users": 0}, "sample_users: Input should be greater than 0"),
        ({"memory_limit": "much"}, "memory_limit: must be a size such as 4GB"),
    ],
)
def test_options_that_break_a_rule_are_refused_by_name(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_options(**fields)
