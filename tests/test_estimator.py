"""HRNNRecommender: scikit-learn's conventions, and the tables that go in and out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import (
    check_estimator_repr,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)
from small_runs import SMALL

from hrnn_hpo import HRNNRecommender, Hyperparameters, evaluate
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.errors import ConfigError, DataError, ModelError

COLUMNS = {"user": "userId", "item": "movieId", "time": "ts"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    dataset = markov(n_users=60, n_items=40, n_events=20)
    return pd.DataFrame(
        {
            "ts": dataset.timestamps,
            "movieId": np.asarray(dataset.items, dtype=np.int64) * 10,
            "userId": dataset.event_users,
        }
    )


def small(**parameters: Any) -> HRNNRecommender:
    return HRNNRecommender(**{**COLUMNS, **SMALL, "n_threads": 1, "device": "cpu", **parameters})


@pytest.fixture(scope="module")
def fitted(table: pd.DataFrame) -> HRNNRecommender:
    return small().fit(table)


# The estimator


@pytest.mark.parametrize(
    "check",
    [
        check_estimator_repr,
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    ],
)
def test_scikit_learns_own_checks_pass(check: Any) -> None:
    check("HRNNRecommender", HRNNRecommender())


def test_every_hyperparameter_is_a_parameter_with_its_default() -> None:
    parameters = HRNNRecommender().get_params()
    defaults = Hyperparameters().model_dump()
    assert {name: parameters[name] for name in defaults} == defaults
    assert HRNNRecommender(hidden_dimension=64).get_params()["hidden_dimension"] == 64


def test_clones_have_the_parameters_and_not_the_model(fitted: HRNNRecommender) -> None:
    again = clone(fitted.set_params(seed=0))
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "model_")
    assert "hidden_dimension=8" in repr(again)


def test_an_unknown_parameter_is_named_with_its_neighbour() -> None:
    with pytest.raises(TypeError, match=r"has no parameter 'hidden_dim', did you mean 'hidden_dimension'\?"):
        HRNNRecommender(hidden_dim=3)
    with pytest.raises(ValueError, match="Invalid parameter 'hidden_dim'"):
        HRNNRecommender().set_params(hidden_dim=3)


def test_bad_values_are_kept_and_refused_by_fit(table: pd.DataFrame) -> None:
    recommender = small(hidden_dimension=1, protocol="monthly")
    assert recommender.hidden_dimension == 1
    with pytest.raises(ConfigError, match=r"(?s)hidden_dimension: .*greater than or equal to 2.*protocol"):
        recommender.fit(table)


@pytest.mark.parametrize("method", ["recommend", "score"])
def test_before_fit_there_is_nothing_to_ask(table: pd.DataFrame, method: str) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(small(), method)(table)


# Tables in


def test_other_kinds_of_columns_mean_the_same(table: pd.DataFrame, fitted: HRNNRecommender) -> None:
    other = table.assign(
        userId=table["userId"].astype(str).astype("category"),
        movieId=table["movieId"].astype("Int64").astype("category"),
        ts=pd.to_datetime(table["ts"], unit="s"),
        note=[["anything"]] * len(table),
    ).set_index(pd.Index([7] * len(table)))
    again = small().fit(other)
    assert again.metrics_ == fitted.metrics_
    pd.testing.assert_frame_equal(again.recommend(["3"], 5), fitted.recommend(["3"], 5))


def test_labels_of_columns_may_be_numbers_and_columns_be_counted(table: pd.DataFrame, fitted: HRNNRecommender) -> None:
    numbered = table.set_axis([3, 0, 1], axis=1)  # labels in another order than places
    by_label = small(user=1, item=0, time=3).fit(numbered)
    by_place = small(user=3, item=2, time=1).fit(table)
    for one in (by_label, by_place):
        assert one.metrics_ == fitted.metrics_
        assert one.recommend([1], k=1)["item"].dtype == np.int64


def test_a_file_has_columns_of_its_own_too(tmp_path: Path, table: pd.DataFrame, fitted: HRNNRecommender) -> None:
    table.to_csv(tmp_path / "ratings.csv", index=False)
    again = small().fit(tmp_path / "ratings.csv")
    assert again.metrics_ == fitted.metrics_
    assert again.score(str(tmp_path / "ratings.csv")) == evaluate(fitted.model_, again=True).model.metrics["ndcg_at_10"]


def test_rows_in_another_order_mean_the_same(table: pd.DataFrame, fitted: HRNNRecommender) -> None:
    assert small().fit(table.sample(frac=1, random_state=0)).metrics_ == fitted.metrics_


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="ts"), r"'ts'|TIMESTAMP=ts"),
        (lambda table: table.iloc[:0], "empty"),
        (lambda table: table[table["userId"] == 1], "1 user|users"),
        (lambda table: table.assign(movieId=table["movieId"].where(table.index != 3)), "movieId|ITEM_ID"),
        (lambda table: table.assign(ts=pd.to_datetime(table["ts"], unit="s").where(table.index != 3)), "ts|TIMESTAMP"),
    ],
    ids=["no column", "empty", "one user", "NaN id", "NaT"],
)
def test_tables_that_break_a_rule_are_refused(table: pd.DataFrame, change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        small().fit(change(table))


# Tables out


def test_recommend_gives_a_row_for_each_user_and_rank(fitted: HRNNRecommender) -> None:
    found = fitted.recommend([3, 1], k=4)
    assert found.columns.tolist() == ["user", "item", "score", "rank"]
    assert found["user"].tolist() == [3] * 4 + [1] * 4
    assert found["rank"].tolist() == [1, 2, 3, 4] * 2
    assert found["item"].dtype == np.int64  # as in the table: merges with it
    assert set(found["item"]) <= set(range(0, 400, 10))
    assert found.groupby("user")["score"].apply(lambda scores: scores.is_monotonic_decreasing).all()
    alone = fitted.model_.recommend(1, 4)
    assert [(str(row.item), pytest.approx(row.score)) for row in found.iloc[4:].itertuples()] == [
        (one.item, one.score) for one in alone
    ]


def test_recommend_takes_one_user_a_column_or_everybody(fitted: HRNNRecommender, table: pd.DataFrame) -> None:
    one = fitted.recommend(3, 2)
    pd.testing.assert_frame_equal(fitted.recommend(pd.Series([3]), 2), one)
    pd.testing.assert_frame_equal(fitted.recommend(np.array([3]), 2), one)
    assert fitted.recommend("3", 2)["item"].tolist() == one["item"].tolist()
    everybody = fitted.recommend(k=1)
    assert everybody["user"].dtype == np.int64  # as in the table, like items
    assert sorted(everybody["user"]) == sorted(table["userId"].unique())
    assert fitted.recommend([], 2).empty


def test_recommend_and_evaluate_take_the_time_of_a_request(table: pd.DataFrame, fitted: HRNNRecommender) -> None:
    model = small(request_time="gap+session+clock", learning_rate=0.05).fit(table)
    moment = int(table["ts"].max()) + 90_000
    told = model.recommend([3, 1], k=4, at=moment)
    pd.testing.assert_frame_equal(told, model.recommend([3, 1], k=4, at=pd.Timestamp(moment, unit="s", tz="UTC")))
    assert told.iloc[:4]["score"].tolist() == pytest.approx([one.score for one in model.model_.recommend(3, 4, moment)])
    assert told["score"].tolist() != pytest.approx(model.recommend([3, 1], k=4)["score"].tolist(), rel=1e-3)
    found = model.model_.evaluate(request_time="known")
    assert found.known is not None
    assert found.known.metrics != found.model.metrics
    assert found.model.metrics["ndcg_at_10"] == model.score(table)  # asked without it
    with pytest.raises(DataError, match="must not be before the user's last event"):
        model.recommend(3, at=0)
    with pytest.raises(ConfigError, match="does not read the time of a request"):
        fitted.recommend(3, at=moment)


def test_users_without_a_history_get_the_popular_items(fitted: HRNNRecommender) -> None:
    found = fitted.recommend(["nobody", "stranger"], 3)
    assert found["item"].tolist()[:3] == found["item"].tolist()[3:]


@pytest.mark.parametrize("users", [[np.nan], [None], [""], pd.DataFrame({"user": [1]})])
def test_what_is_no_user_is_refused(fitted: HRNNRecommender, users: Any) -> None:
    with pytest.raises(DataError, match="but got"):
        fitted.recommend(users)


def test_score_is_ndcg_at_10_of_the_test_users(table: pd.DataFrame) -> None:
    recommender = small().fit(table)
    score = recommender.score(table)
    assert score == evaluate(recommender.model_, again=True).model.metrics["ndcg_at_10"]
    assert 0.0 <= score <= 1.0
    assert recommender.score(table) == score
    assert recommender.model_.saved.split.test_openings == 3


def test_score_knows_its_own_log_alone(fitted: HRNNRecommender, table: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="was trained on data"):
        fitted.score(table.assign(ts=table["ts"] + 1))
