"""Popularity and recent popularity: training events alone, ties by item code."""

import numpy as np
from ranked_lists import evaluate_on, lists_of, train_on
from strategies import DAY, dataset_of, eval_part_of, train_part_of

from hrnn_hpo.data.splits import TrainPart


def test_popularity_counts_training_events_and_breaks_ties_by_item_code() -> None:
    dataset = dataset_of([[2, 2, 1], [2, 0], [3, 3, 3, 3, 3]], n_items=5)
    # User 2 does not train: item 3 has no event. Items 0 and 1 have one each.
    found = lists_of("popularity", dataset, train_on(dataset, 0, 1), evaluate_on(dataset, 0, 2))
    assert found == [[2, 0, 1, 3, 4]] * 2


def test_popularity_does_not_count_held_out_events() -> None:
    dataset = dataset_of([[0, 1, 1, 1], [0, 2]], n_items=3)
    assert lists_of("popularity", dataset, train_part_of(dataset, 1), eval_part_of(dataset), k=2) == [[0, 1]] * 2
    assert lists_of("popularity", dataset, train_part_of(dataset, 3), eval_part_of(dataset), k=1) == [[0]] * 2


def test_recent_popularity_counts_the_last_30_days_of_the_training_log() -> None:
    times = [[0, 0, 0, 31 * DAY, 61 * DAY], [31 * DAY + 1, 90 * DAY]]
    dataset = dataset_of([[0, 0, 0, 1, 2], [3, 4]], times=times)
    train = TrainPart(np.array([0, 1]), np.array([5, 6]))
    # The training log ends on day 61 (user 1's day 90 is held out): day 31 is just outside, a second later inside.
    assert lists_of("recent_popularity", dataset, train, evaluate_on(dataset, 1)) == [[2, 3, 0, 1, 4]]


def test_recent_popularity_follows_a_shift_that_popularity_misses() -> None:
    old = [[0, 1, 2, 3]] * 6
    new = [[4, 5, 6, 7]] * 2
    times = [[0, 1, 2, 3]] * 6 + [[100 * DAY, 100 * DAY + 1, 100 * DAY + 2, 100 * DAY + 3]] * 2
    dataset = dataset_of(old + new, times=times)
    train, part = train_part_of(dataset, 1), evaluate_on(dataset, 6, 7)
    assert lists_of("popularity", dataset, train, part, k=3) == [[0, 1, 2]] * 2
    assert lists_of("recent_popularity", dataset, train, part, k=3) == [[4, 5, 6]] * 2
