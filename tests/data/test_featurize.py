"""What the model reads of an event, who trains, and how much each training event weighs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrnn_hpo.data.featurize import (
    CONTINUE,
    N_GAP_BUCKETS,
    NEW_SESSION,
    NEW_USER,
    event_features,
    filter_by_history_length,
    gap_bucket,
    log_popularity,
    recency_weights,
    value_scale,
)
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Split, TrainPart, make_split
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.errors import ConfigError, DataError

DAY = 86_400


def train_on(dataset: Dataset, **n_events: int) -> TrainPart:
    """Return the part that trains on the first so many events of each named user."""
    users = np.searchsorted(dataset.user_ids, sorted(n_events))
    return TrainPart(users, dataset.user_offsets[users] + [n_events[name] for name in sorted(n_events)])


# Events


def test_control_says_new_user_new_session_or_continue() -> None:
    dataset = make_dataset([[("a", 0), ("b", 60), ("c", 10_000)], [("a", 10_001), ("b", 10_002)]])
    assert event_features(dataset, 1800).control.tolist() == [NEW_USER, CONTINUE, NEW_SESSION, NEW_USER, CONTINUE]


def test_gaps_are_bucketed_and_the_first_event_of_a_user_has_none() -> None:
    dataset = make_dataset([[("a", 0), ("b", 0), ("c", 1), ("d", 3601)], [("a", 5), ("b", 8)]])
    assert event_features(dataset, 1800).gap_buckets.tolist() == [0, 1, 2, 12, 0, 3]  # gaps -, 0, 1, 3600, -, 3


def test_event_types_shift_by_one_and_empty_values_stay_empty() -> None:
    dataset = make_dataset([[("a", 0, "view", 2.5), ("b", 1), ("c", 2, "buy", -1.0)]])
    features = event_features(dataset, 1800)
    assert features.event_types is not None
    assert features.event_values is not None
    assert features.event_types.tolist() == [2, 0, 1]  # buy is code 0, view code 1
    assert features.event_types.dtype == np.int32
    np.testing.assert_array_equal(features.event_values, [2.5, np.nan, -1.0])
    assert features.event_values.dtype == np.float32


def test_the_scale_of_values_is_that_of_the_training_events_alone() -> None:
    dataset = make_dataset(
        [[("a", 0, None, 1.0), ("b", 1, None, 5.0), ("c", 2), ("a", 3, None, 900.0)], [("a", 0, None, 900.0)]]
    )
    scale = value_scale(dataset, TrainPart(np.array([0]), np.array([3])))
    assert (scale.mean, scale.deviation, scale.limit) == (3.0, 2.0, 5.0)  # of 1 and 5


@pytest.mark.parametrize("values", [(4.0, 4.0), (None, 4.0), (None, None)])
def test_values_that_say_nothing_are_read_as_nothing(values: tuple[float | None, float | None]) -> None:
    dataset = make_dataset([[("a", 0, None, values[0]), ("b", 1, None, values[1])], [("a", 0, None, 7.0)]])
    assert value_scale(dataset, TrainPart(np.array([0]), np.array([2]))).limit == 0.0


def test_columns_that_the_log_lacks_stay_away() -> None:
    features = event_features(make_dataset([[("a", 0)]]), 1800)
    assert features.event_types is None
    assert features.event_values is None


@given(st.integers(0, 2**40))
def test_gap_buckets_are_whole_logarithms(gap_seconds: int) -> None:
    assert int(gap_bucket(gap_seconds)) == min(N_GAP_BUCKETS - 1, 1 + math.floor(math.log2(1 + gap_seconds)))


def test_gap_buckets_are_exact_at_powers_of_two() -> None:
    gaps = np.array([0, 1, 2, 3, 6, 7, 2**30 - 2, 2**30 - 1, 2**62])
    assert gap_bucket(gaps).tolist() == [1, 2, 2, 3, 3, 4, 30, 31, 31]


# Who trains


def lengths_of(part: TrainPart, dataset: Dataset) -> list[int]:
    return (part.stops - dataset.user_offsets[part.users]).tolist()


@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [
        (0.0, 1.0, list(range(2, 13))),
        (0.0, 0.99, list(range(2, 12))),  # the .99 quantile of 2 … 12 is 11.9
        (0.1, 0.9, list(range(3, 12))),  # the .1 quantile is 3, the .9 quantile 11: both inclusive
        (0.5, 0.5, [7]),
    ],
)
def test_history_length_filter_keeps_both_quantiles(low: float, high: float, kept: list[int]) -> None:
    dataset = make_dataset([[("a", step) for step in range(n)] for n in range(2, 13)])
    part = filter_by_history_length(make_split(dataset, "none", 0), dataset, low, high)
    assert lengths_of(part, dataset) == kept


def test_quantiles_are_fitted_on_training_users_training_events_alone() -> None:
    # Whole histories have 100 events, of which user k trains on k + 1; the other users, longer still, do not count.
    dataset = make_dataset([[("a", step) for step in range(100)] for _ in range(10)] + [[("a", 0)] * 500] * 10)
    users = np.arange(10)
    split = make_split(dataset, "none", 0)
    split = Split(split.protocol, 0, TrainPart(users, dataset.user_offsets[users] + users + 1), None, None)
    assert filter_by_history_length(split, dataset, 0.0, 0.5).users.tolist() == [0, 1, 2, 3, 4]  # quantile 5.5


def test_filtered_users_are_still_evaluated() -> None:
    dataset = make_dataset([[("a", step) for step in range(n)] for n in [3, 3, 3, 3, 3, 3, 3, 3, 3, 90]])
    split = make_split(dataset, "leave-one-out", 0)
    filtered = filter_by_history_length(split, dataset, 0.0, 0.5)
    assert 9 not in filtered.users
    assert split.test is not None
    assert 9 in split.test.users


def test_filters_that_keep_nobody_or_are_out_of_order_are_refused() -> None:
    dataset = make_dataset([[("a", step) for step in range(n)] for n in [2, 4]])
    split = make_split(dataset, "none", 0)
    with pytest.raises(DataError, match=r"No training user has between 3 and 3 events, the 0.5 and 0.5 quantiles"):
        filter_by_history_length(split, dataset, 0.5, 0.5)
    with pytest.raises(ConfigError, match=r"but got 0.6 and 0.4"):
        filter_by_history_length(split, dataset, 0.6, 0.4)


# Weights and popularity


def test_recency_weights_halve_every_half_life_and_have_mean_one() -> None:
    dataset = make_dataset([[("a", 0), ("b", 30 * DAY), ("c", 60 * DAY), ("d", 99 * DAY)]])
    weights = recency_weights(dataset, train_on(dataset, u0=3), 30.0)
    raw = np.array([1 / 4, 1 / 2, 1])  # the last event is no training event: ages count from the third
    np.testing.assert_allclose(weights, [*(raw / raw.mean()), 0.0], rtol=1e-6)
    assert weights.dtype == np.float32


def test_recency_weights_look_at_the_whole_training_log_for_its_last_event() -> None:
    dataset = make_dataset([[("a", 0), ("b", 10 * DAY)], [("a", 20 * DAY), ("b", 20 * DAY)]])
    weights = recency_weights(dataset, train_on(dataset, u0=2, u1=2), 10.0)
    raw = np.array([1 / 4, 1 / 2, 1, 1])
    np.testing.assert_allclose(weights, raw / raw.mean(), rtol=1e-6)


def test_ages_of_many_half_lives_do_not_break_the_weights() -> None:
    dataset = make_dataset([[("a", 0), ("b", 40_000 * DAY)]])
    np.testing.assert_allclose(recency_weights(dataset, train_on(dataset, u0=2), 1.0), [0.0, 2.0])


def test_a_half_life_of_nothing_is_refused() -> None:
    dataset = make_dataset([[("a", 0), ("b", 1)]])
    with pytest.raises(ConfigError, match="recency_half_life > 0"):
        recency_weights(dataset, train_on(dataset, u0=2), 0.0)


def test_log_popularity_is_smoothed_over_all_items() -> None:
    dataset = make_dataset([[("a", 0), ("a", 1), ("b", 2), ("c", 3)]], extra_items=["d"])
    popularity = log_popularity(dataset, train_on(dataset, u0=3), None)  # a twice, b once, of three events
    np.testing.assert_allclose(popularity, np.log([3 / 7, 2 / 7, 1 / 7, 1 / 7]), rtol=1e-6)
    assert popularity.dtype == np.float32


def test_log_popularity_can_look_at_the_last_days_of_the_training_log_alone() -> None:
    dataset = make_dataset([[("a", 0), ("a", 9 * DAY), ("b", 10 * DAY + 1), ("c", 12 * DAY)], [("b", 11 * DAY)]])
    popularity = log_popularity(dataset, train_on(dataset, u0=3, u1=1), 1.0)
    # The window is (10 days, 11 days]: two events, both of b. Event c is no training event.
    np.testing.assert_allclose(np.exp(popularity), [1 / 5, 3 / 5, 1 / 5], rtol=1e-6)


@given(st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=9), min_size=1, max_size=5), st.floats(0.1, 100))
def test_weights_have_mean_one_and_popularity_sums_to_one(histories: list[list[int]], half_life: float) -> None:
    dataset = make_dataset([[(item, DAY * place) for place, item in enumerate(history)] for history in histories])
    train = make_split(dataset, "none", 0).train
    assert recency_weights(dataset, train, half_life).mean(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)
    assert np.exp(log_popularity(dataset, train, None)).sum() == pytest.approx(1.0, abs=1e-5)
