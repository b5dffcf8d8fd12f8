"""The six protocols on logs small enough to split by hand, and what holds for all of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import DAY, dataset_of, datasets, eval_part_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import (
    PROTOCOLS,
    EvalPart,
    Protocol,
    Split,
    expand_ranges,
    input_events,
    make_split,
    n_to_hold_back,
)
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.errors import ConfigError, DataError


def log_of(*lengths: int) -> Dataset:
    """Return a log whose users have so many events; user u's event e happens at e * 100 + u."""
    return make_dataset([[("a", step * 100 + user) for step in range(n)] for user, n in enumerate(lengths)])


def evaluated(part: EvalPart | None, dataset: Dataset) -> dict[int, tuple[int, int]]:
    """Return {user: (number of input events, number of truth events)}."""
    assert part is not None
    starts = dataset.user_offsets[part.users]
    counts = zip(part.truth_starts - starts, part.truth_stops - part.truth_starts, strict=True)
    return {int(user): (int(n_in), int(n_out)) for user, (n_in, n_out) in zip(part.users, counts, strict=True)}


def trained(split: Split, dataset: Dataset) -> dict[int, int]:
    """Return {user: number of training events}."""
    counts = split.train.stops - dataset.user_offsets[split.train.users]
    return dict(zip(split.train.users.tolist(), counts.tolist(), strict=True))


# personalize and personalize-last


def test_personalize_holds_out_a_tenth_of_the_users_twice() -> None:
    dataset = log_of(*[10] * 40)
    split = make_split(dataset, "personalize", 0)
    assert split.validation is not None
    assert split.test is not None
    assert (len(split.train.users), len(split.validation), len(split.test)) == (32, 4, 4)
    everyone = [*split.train.users, *split.validation.users, *split.test.users]
    assert sorted(everyone) == list(range(40))


@pytest.mark.parametrize(("n_users", "n_held"), [(3, 1), (14, 1), (16, 2), (25, 2), (94, 9), (943, 94)])
def test_a_tenth_of_the_users_is_rounded(n_users: int, n_held: int) -> None:
    split = make_split(log_of(*[2] * n_users), "personalize", 0)
    assert split.test is not None
    assert split.validation is not None
    assert len(split.test) == len(split.validation) == n_held == max(1, round(0.1 * n_users))


@pytest.mark.parametrize(("length", "n_truth"), [(2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (99, 9), (100, 10)])
def test_personalize_truth_is_the_newest_tenth_rounded_down_but_never_nothing(length: int, n_truth: int) -> None:
    dataset = log_of(*[length] * 3)
    split = make_split(dataset, "personalize", 0)
    for part in (split.validation, split.test):
        assert list(evaluated(part, dataset).values()) == [(length - n_truth, n_truth)]
    assert list(trained(split, dataset).values()) == [length]


def test_personalize_last_truth_is_the_last_event() -> None:
    dataset = log_of(*[30] * 10)
    split = make_split(dataset, "personalize-last", 0)
    assert list(evaluated(split.test, dataset).values()) == [(29, 1)]
    assert list(evaluated(split.validation, dataset).values()) == [(29, 1)]
    assert set(trained(split, dataset).values()) == {30}


def test_personalize_and_personalize_last_draw_the_same_users() -> None:
    dataset = log_of(*[30] * 50)
    for one, other in zip(
        parts(make_split(dataset, "personalize", 7)), parts(make_split(dataset, "personalize-last", 7)), strict=True
    ):
        assert one.users.tolist() == other.users.tolist()


def parts(split: Split) -> list[EvalPart]:
    assert split.validation is not None
    assert split.test is not None
    return [split.validation, split.test]


def test_another_seed_draws_other_test_users() -> None:
    dataset = log_of(*[5] * 100)
    drawn = [parts(make_split(dataset, "personalize", seed))[1].users.tolist() for seed in range(5)]
    assert all(one != other for one, other in pairwise(drawn))


def test_users_that_other_draws_validate_are_validated_last() -> None:
    dataset = log_of(*[3] * 40)  # 4 test users, 36 others, 4 of them validated

    def drawn(train_seed: int, *others: int) -> set[int]:
        split = make_split(dataset, "personalize", 3, train_seed=train_seed, apart_from=others)
        assert split.validation is not None
        assert split.test is not None
        assert len(split.validation) == 4
        assert len(split.train.users) == 32
        assert sorted([*split.train.users, *split.validation.users, *split.test.users]) == list(range(40))
        return set(split.validation.users.tolist())

    for seed in range(20):
        judges = drawn(100) | drawn(101)
        assert not drawn(seed, 100, 101) & judges
        assert not (drawn(seed) - drawn(seed, 100, 101)) - judges  # the others are those of the plain draw
    assert drawn(1, *range(1000, 1100)) == drawn(1)  # everybody judges: nobody is put off


def test_train_seed_redraws_training_and_validation_users_and_leaves_the_test_users() -> None:
    dataset = log_of(*[5] * 100)
    plain = make_split(dataset, "personalize", 3)
    redrawn = [make_split(dataset, "personalize", 3, train_seed=train_seed) for train_seed in (0, 1, 0)]
    tests = [parts(split)[1] for split in (plain, *redrawn)]
    validations = [parts(split)[0].users.tolist() for split in (plain, *redrawn)]
    assert all(test.users.tolist() == tests[0].users.tolist() for test in tests)
    assert validations[1] == validations[3]
    assert validations[0] != validations[1] != validations[2]
    for split in redrawn:
        validation, test = parts(split)
        assert sorted([*split.train.users, *validation.users, *test.users]) == list(range(100))
        assert len(validation) == 10


def test_too_few_users_for_three_roles_are_refused() -> None:
    with pytest.raises(DataError, match="`personalize` wants three or more users with two or more events, but got 2"):
        make_split(log_of(5, 5, 1), "personalize", 0)


# leave-one-out, newest-tenth


def test_leave_one_out_by_hand() -> None:
    dataset = log_of(1, 2, 3, 12)
    split = make_split(dataset, "leave-one-out", 0)
    assert trained(split, dataset) == {1: 2, 2: 1, 3: 10}  # two events only train, one has no role
    assert evaluated(split.validation, dataset) == {2: (1, 1), 3: (10, 1)}
    assert evaluated(split.test, dataset) == {2: (2, 1), 3: (11, 1)}  # the validation event is input, never a target


def test_newest_tenth_by_hand() -> None:
    dataset = log_of(1, 3, 10, 11, 100)
    split = make_split(dataset, "newest-tenth", 0)
    assert evaluated(split.test, dataset) == {1: (2, 1), 2: (9, 1), 3: (9, 2), 4: (90, 10)}
    assert evaluated(split.validation, dataset) == {1: (1, 1), 2: (8, 1), 3: (7, 2), 4: (80, 10)}
    assert trained(split, dataset) == {1: 1, 2: 8, 3: 7, 4: 80}


def test_newest_tenth_keeps_at_least_one_event() -> None:
    dataset = log_of(2, 3)
    split = make_split(dataset, "newest-tenth", 0)
    assert trained(split, dataset) == {0: 1, 1: 1}
    assert evaluated(split.test, dataset) == {0: (1, 1), 1: (2, 1)}
    assert evaluated(split.validation, dataset) == {1: (1, 1)}  # of two events none is left for it


@pytest.mark.parametrize("protocol", ["leave-one-out", "newest-tenth"])
def test_a_log_that_leaves_nobody_to_validate_is_refused(protocol: Protocol) -> None:
    with pytest.raises(DataError, match=f"`{protocol}` wants users with three or more events"):
        make_split(log_of(2, 2, 2), protocol, 0)


# temporal, none


def test_temporal_cuts_everybody_at_the_same_two_moments() -> None:
    # Twenty events at times 0 … 19: the 17th (time 16) opens the validation window, the 19th (time 18) the test window.
    times = {0: range(16), 1: [16, 17], 2: [18, 19]}
    owners = {0: [0, 1, 2, 18], 1: [3, 4, 16], 2: [5, 6], 3: [17, 19], 4: [7, 8, 9, 10, 11, 12, 13, 14, 15]}
    assert sorted(time for row in owners.values() for time in row) == [*times[0], *times[1], *times[2]]
    dataset = make_dataset([[("a", time) for time in row] for row in owners.values()])
    split = make_split(dataset, "temporal", 0)
    assert trained(split, dataset) == {0: 3, 1: 2, 2: 2, 4: 9}
    assert evaluated(split.validation, dataset) == {1: (2, 1)}  # user 3 has no event before the window
    assert evaluated(split.test, dataset) == {0: (3, 1), 3: (1, 1)}  # now user 3 has one


def test_temporal_windows_begin_with_all_events_of_their_first_second() -> None:
    # Ten events; positions 8 and 9 in time are seconds 5 and 6. All events of second 5 are validation truth.
    dataset = make_dataset(
        [[("a", 1), ("a", 5), ("b", 5), ("a", 6)], [("a", 2), ("a", 3), ("a", 4), ("a", 5), ("a", 5), ("a", 5)]]
    )
    split = make_split(dataset, "temporal", 0)
    assert trained(split, dataset) == {0: 1, 1: 3}
    assert evaluated(split.validation, dataset) == {0: (1, 2), 1: (3, 3)}
    assert evaluated(split.test, dataset) == {0: (3, 1)}


def test_some_of_a_part_are_its_rows() -> None:
    split = make_split(log_of(10, 20, 30), "newest-tenth", 0)
    assert split.test is not None
    assert split.train.lengths(log_of(10, 20, 30)).tolist() == [8, 16, 24]
    some = split.train.take(np.array([0, 2]))
    assert (some.users.tolist(), some.stops.tolist()) == ([0, 2], [8, 54])
    tested = split.test.take(np.array([False, True, True]))
    assert tested.users.tolist() == [1, 2]
    assert (tested.truth_starts.tolist(), tested.truth_stops.tolist()) == ([28, 57], [30, 60])


@given(datasets(max_users=8))
def test_temporal_is_what_a_literal_count_makes_of_it(dataset: Dataset) -> None:
    times = sorted(dataset.timestamps.tolist())  # every user has two events or more
    cuts = times[8 * len(times) // 10], times[9 * len(times) // 10]
    borders = {}
    for user, (start, stop) in enumerate(pairwise(dataset.user_offsets.tolist())):
        first, second = (start + sum(time < cut for time in dataset.timestamps[start:stop].tolist()) for cut in cuts)
        borders[user] = (start, first, second, stop)
    try:
        split = make_split(dataset, "temporal", 0)
    except DataError:
        assume(False)
    assert split.validation is not None
    assert split.test is not None
    for part, wanted in (
        ((split.train.users, split.train.stops), {u: (b,) for u, (a, b, c, d) in borders.items() if a < b}),
        (
            (split.validation.users, split.validation.truth_starts, split.validation.truth_stops),
            {u: (b, c) for u, (a, b, c, d) in borders.items() if a < b < c},
        ),
        (
            (split.test.users, split.test.truth_starts, split.test.truth_stops),
            {u: (c, d) for u, (a, b, c, d) in borders.items() if a < c < d},
        ),
    ):
        users, *rows = (array.tolist() for array in part)
        assert dict(zip(users, zip(*rows, strict=True), strict=True)) == wanted


def test_temporal_refuses_a_log_without_time() -> None:
    dataset = make_dataset([[("a", 7), ("b", 7)]] * 5)
    with pytest.raises(DataError, match="leaves 0 training, 0 validation and 0 test users"):
        make_split(dataset, "temporal", 0)


def test_none_trains_on_everything_and_evaluates_nothing() -> None:
    dataset = log_of(4, 1, 2)
    split = make_split(dataset, "none", 0)
    assert trained(split, dataset) == {0: 4, 2: 2}
    assert split.validation is None
    assert split.test is None


# All of them


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`protocol` must be one of personalize, .* but got 'random'"):
        make_split(log_of(5, 5, 5), "random", 0)  # type: ignore[arg-type]


def test_a_log_without_returning_users_is_refused() -> None:
    for protocol in PROTOCOLS:
        with pytest.raises(DataError, match="but none of 3 has them"):
            make_split(log_of(1, 1, 1), protocol, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=25), min_size=3, max_size=12),
    st.sampled_from(PROTOCOLS),
    st.integers(0, 5),
    st.sampled_from([None, 0, 1]),
)
def test_what_holds_for_every_split(
    times: list[list[int]], protocol: Protocol, seed: int, train_seed: int | None
) -> None:
    dataset = make_dataset([[("a", time) for time in row] for row in times])
    try:
        split = make_split(dataset, protocol, seed, train_seed=train_seed)
    except DataError:
        assume(False)
    again = make_split(dataset, protocol, seed, train_seed=train_seed)
    np.testing.assert_array_equal(split.train.stops, again.train.stops)
    train_rows = rows(dataset.user_offsets[split.train.users], split.train.stops)
    assert train_rows
    assert np.all(dataset.history_lengths[split.train.users] >= 2)
    truths = set()
    for part, other in ((split.validation, again.validation), (split.test, again.test)):
        if part is None:
            continue
        assert other is not None
        np.testing.assert_array_equal(part.users, other.users)
        assert len(part) > 0
        assert np.all(np.diff(part.users) > 0)
        starts = dataset.user_offsets[part.users]
        stops = dataset.user_offsets[part.users + 1]
        assert np.all(
            (starts < part.truth_starts) & (part.truth_starts < part.truth_stops) & (part.truth_stops <= stops)
        )
        truth_rows = rows(part.truth_starts, part.truth_stops)
        assert not truth_rows & train_rows  # no truth is ever a training target
        assert not truth_rows & truths
        truths |= truth_rows
    if protocol != "none":
        assert split.test is not None
        assert np.all(split.test.truth_stops == dataset.user_offsets[split.test.users + 1])


def rows(starts: np.ndarray, stops: np.ndarray) -> set[int]:
    return {row for start, stop in zip(starts, stops, strict=True) for row in range(start, stop)}


# ranges of events


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=8))
def test_ranges_expand_like_nested_loops(pairs: list[tuple[int, int]]) -> None:
    starts = np.array([start for start, _ in pairs], dtype=np.int64)
    stops = np.array([start + length for start, length in pairs], dtype=np.int64)
    owners, positions = expand_ranges(starts, stops)
    expected = [(owner, p) for owner, (start, length) in enumerate(pairs) for p in range(start, start + length)]
    assert list(zip(owners.tolist(), positions.tolist(), strict=True)) == expected


def test_the_last_input_events_end_where_the_truth_starts() -> None:
    dataset = dataset_of([[0, 1, 2, 3], [4, 5]], times=[[0, DAY, DAY, 2 * DAY], [0, 1]])
    owners, events = input_events(dataset, eval_part_of(dataset), np.array([0, 1]), last=2)
    assert owners.tolist() == [0, 0, 1]
    assert events.tolist() == [1, 2, 4]


# users held back from validation


@pytest.mark.parametrize("protocol", ["leave-one-out", "newest-tenth", "personalize"])
def test_held_back_users_leave_validation_and_nothing_else(protocol: Protocol) -> None:
    dataset = log_of(*[10] * 60)
    whole, split = (make_split(dataset, protocol, 3, n_held_back=n) for n in (0, 4))
    assert whole.held_back is None
    assert whole.validation is not None
    assert split.validation is not None
    assert split.held_back is not None
    assert len(split.held_back) == 4
    both = evaluated(split.validation, dataset) | evaluated(split.held_back, dataset)
    assert both == evaluated(whole.validation, dataset)
    assert len(both) == len(split.validation) + 4  # nobody is in both
    assert trained(split, dataset) == trained(whole, dataset)
    assert evaluated(split.test, dataset) == evaluated(whole.test, dataset)


def test_the_split_seed_draws_who_is_held_back() -> None:
    dataset = log_of(*[10] * 60)
    drawn = [make_split(dataset, "leave-one-out", seed, n_held_back=20).held_back for seed in (3, 3, 4)]
    users = [part.users.tolist() for part in drawn if part is not None]
    assert users[0] == users[1] != users[2]
    assert users[0] == sorted(users[0])


@pytest.mark.parametrize(("n_users", "n_held"), [(199, 0), (200, 100), (250, 100), (500, 200), (943, 377)])
def test_a_study_holds_back_two_fifths_and_a_hundred_at_least(n_users: int, n_held: int) -> None:
    assert n_to_hold_back(make_split(log_of(*[3] * n_users), "leave-one-out", 0)) == n_held


def test_a_protocol_that_draws_users_anew_holds_nobody_back() -> None:
    assert n_to_hold_back(make_split(log_of(*[2] * 2500), "personalize", 0)) == 0


@pytest.mark.parametrize("n_held_back", [-1, 60, 61])
def test_somebody_is_left_to_validate(n_held_back: int) -> None:
    with pytest.raises(ConfigError, match=rf"but got {n_held_back} of 60 under `leave-one-out`"):
        make_split(log_of(*[10] * 60), "leave-one-out", 0, n_held_back=n_held_back)


def test_protocol_none_has_nobody_to_hold_back() -> None:
    assert make_split(log_of(*[10] * 60), "none", 0, n_held_back=10).held_back is None
