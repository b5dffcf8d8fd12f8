"""The copies of the log that the ml-1m benchmark trains on."""

import movielens_1m
import pandas as pd
import pytest

from hrnn_hpo.config import load_configuration


def log(rows: list[tuple[int, int, int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["USER_ID", "ITEM_ID", "TIMESTAMP"])


def test_the_newest_tenth_is_rounded_up_and_the_rest_keeps_its_order() -> None:
    # User 1 has 11 events, newest first in the file: ceil(1.1) = 2 go. User 2 has one event, and it goes.
    events = log([(1, item, 100 - item) for item in range(11)] + [(2, 50, 7)])
    assert movielens_1m.without_newest_tenth(events).ITEM_ID.tolist() == list(range(2, 11))


def test_of_events_in_the_same_second_the_later_row_is_newer() -> None:
    events = log([(1, 5, 100), (1, 3, 100)])
    assert movielens_1m.without_newest_tenth(events).ITEM_ID.tolist() == [5]


def test_shuffling_ties_keeps_the_order_of_time() -> None:
    events = log([(1, item, item // 10) for item in range(100)])
    shuffled = movielens_1m.with_shuffled_ties(events, seed=0)
    assert shuffled.TIMESTAMP.tolist() == events.TIMESTAMP.tolist()
    assert shuffled.ITEM_ID.tolist() != events.ITEM_ID.tolist()
    assert sorted(shuffled.ITEM_ID) == events.ITEM_ID.tolist()
    assert not shuffled.equals(movielens_1m.with_shuffled_ties(events, seed=1))


@pytest.mark.parametrize("kind", movielens_1m.KINDS)
def test_every_kind_of_row_has_a_configuration(kind: str) -> None:
    configuration = movielens_1m.configuration_of(kind, 2, movielens_1m.CONFIG, epochs=7)
    shipped = load_configuration(movielens_1m.CONFIG).hyperparameters
    assert (configuration.seed, configuration.split_seed, configuration.hyperparameters.epochs) == (2, 2, 7)
    assert configuration.hyperparameters.hidden_dimension == shipped.hidden_dimension
