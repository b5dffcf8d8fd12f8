"""The model that MLflow loads answers as the recommender does, at the time that a row says."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from live_users import NOW, log_of, recommender_for, stored_histories

from hrnn_hpo.errors import ConfigError, DataError
from hrnn_hpo.serving.pyfunc_model import PyfuncModel
from hrnn_hpo.serving.recommender import Recommender


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return recommender_for(log_of(stored_histories(False)), request_time="gap+session+clock")


def answers(recommender: Recommender, rows: Any, k: int = 5) -> list[tuple[list[str], list[float]]]:
    found = PyfuncModel(recommender).predict(rows, params={"k": k})
    return [(one["items"], one["scores"]) for one in found]


def expected(recommender: Recommender, user: str, at: int | None) -> tuple[list[str], Any]:
    found = recommender.recommend(user, 5, at)
    return [one.item for one in found], pytest.approx([one.score for one in found], rel=1e-5)


def test_each_row_is_answered_at_its_own_time(recommender: Recommender) -> None:
    table = pd.DataFrame({"userId": ["u1", "u2", "u3", "u1"], "REQUEST_TIME": [NOW, np.nan, NOW + 99, None]})
    times = [NOW, None, NOW + 99, None]
    found = answers(recommender, table)
    assert found == [expected(recommender, user, at) for user, at in zip(table["userId"], times, strict=True)]
    assert found[0][1] != pytest.approx(found[3][1], rel=1e-3)  # the time matters


@pytest.mark.parametrize(
    "row",
    [
        {"REQUEST_TIME": NOW},
        {"REQUEST_TIME": float(NOW)},
        {"REQUEST_TIME": np.int64(NOW)},
        {"REQUEST_TIME": str(NOW)},
        {"REQUEST_TIME": pd.Timestamp(NOW, unit="s")},
        {"REQUEST_TIME": datetime.fromtimestamp(NOW).astimezone().isoformat()},
        {"context": {"REQUEST_TIME": str(NOW)}},
        {"context": {"REQUEST_TIME": NOW}, "REQUEST_TIME": ""},
        {"context": float("nan"), "REQUEST_TIME": NOW},
    ],
    ids=str,
)
def test_a_time_stands_in_a_column_or_in_the_context(recommender: Recommender, row: dict[str, Any]) -> None:
    assert answers(recommender, [{"userId": "u1", **row}]) == [expected(recommender, "u1", NOW)]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"REQUEST_TIME": None},
        {"REQUEST_TIME": ""},
        {"REQUEST_TIME": float("nan")},
        {"REQUEST_TIME": pd.NaT},
        {"REQUEST_TIME": pd.NA},
        {"context": None},
        {"context": {}},
        {"context": {"REQUEST_TIME": ""}},
    ],
    ids=str,
)
def test_what_is_empty_is_unknown(recommender: Recommender, row: dict[str, Any]) -> None:
    assert answers(recommender, [{"userId": "u1", **row}]) == [expected(recommender, "u1", None)]
    assert answers(recommender, ["u1"]) == [expected(recommender, "u1", None)]


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ({"REQUEST_TIME": "soon"}, ConfigError, "Row 1: REQUEST_TIME must be unix seconds or .* but got 'soon'"),
        ({"REQUEST_TIME": NOW * 1000}, ConfigError, "Row 1: REQUEST_TIME must be unix seconds from 0"),
        ({"REQUEST_TIME": 5}, DataError, "Row 1: .*must not be before the user's last event"),
        ({"REQUEST_TIME": NOW, "context": {"REQUEST_TIME": NOW}}, DataError, "Row 1: .*but both have one"),
        ({"context": {"DEVICE": "phone"}}, DataError, 'Row 1: "context" must be an object with the key "REQUEST_TIME"'),
        ({"context": "noon"}, DataError, 'Row 1: "context" must be an object'),
        ({"userId": None}, DataError, "Every row must have a userId, but row 1 has none"),
        ({"userId": float("nan")}, DataError, "Every row must have a userId, but row 1 has none"),
        ({"userId": 1.0}, DataError, "userId must be text or a whole number, but row 1 has 1.0"),
        ({"userId": np.float32(1)}, DataError, "userId must be text or a whole number, but row 1 has .*1.0"),
        ({"userId": True}, DataError, "userId must be text or a whole number, but row 1 has True"),
        ({"userId": b"u1"}, DataError, "userId must be text or a whole number, but row 1 has b'u1'"),
        ({"userId": ["u1"]}, DataError, r"userId must be text or a whole number, but row 1 has \['u1'\]"),
    ],
)
def test_a_bad_row_is_named(recommender: Recommender, row: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PyfuncModel(recommender).predict([{"userId": "u2"}, {"userId": "u1", **row}])


@pytest.mark.parametrize(
    "table",
    [
        pd.Series(["u1", "u3"]),
        np.array(["u1", "u3"]),
        ("u1", "u3"),
        iter(["u1", "u3"]),
        {"userId": ["u1", "u3"]},  # as MLflow's server hands over "inputs"
        {"userId": np.array(["u1", "u3"]), "REQUEST_TIME": ["", None]},
        [{"userId": "u1"}, {"userId": np.str_("u3")}],
        pd.DataFrame({"userId": pd.Categorical(["u1", "u3"])}),
    ],
    ids=lambda table: type(table).__name__,
)
def test_users_come_in_many_shapes(recommender: Recommender, table: Any) -> None:
    assert answers(recommender, table) == [expected(recommender, user, None) for user in ("u1", "u3")]


def test_a_mapping_of_single_values_is_one_row(recommender: Recommender) -> None:
    row = {"userId": "u1", "context": {"REQUEST_TIME": NOW}}
    assert answers(recommender, row) == [expected(recommender, "u1", NOW)]


@pytest.mark.parametrize("table", ["u1", b"u1", 7, None, np.array("u1")], ids=repr)
def test_what_is_no_table_is_refused(recommender: Recommender, table: Any) -> None:
    with pytest.raises(DataError, match=r"A table with a column userId, .*must be given, but got "):
        PyfuncModel(recommender).predict(table)


def test_columns_of_different_lengths_are_refused(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="The columns must make a table"):
        PyfuncModel(recommender).predict({"userId": ["u1", "u2"], "REQUEST_TIME": [NOW]})


@pytest.mark.parametrize("k", [0, 501, 2.5, "3", None, True])
def test_how_many_is_never_guessed(recommender: Recommender, k: Any) -> None:
    with pytest.raises(ConfigError, match="`1 <= k <= 500` must hold, but got k="):
        PyfuncModel(recommender).predict(["u1"], params={"k": k})


def test_a_model_that_reads_no_time_refuses_one_and_answers_without() -> None:
    plain = recommender_for(log_of(stored_histories(False)))
    with pytest.raises(ConfigError, match=r"Row 0: .*does not read the time of a request"):
        PyfuncModel(plain).predict([{"userId": "u1", "REQUEST_TIME": NOW}])
    assert answers(plain, [{"userId": "u1", "REQUEST_TIME": ""}]) == [expected(plain, "u1", None)]
