"""The order of training events: every row once, lanes that never mix users, long histories that end in time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn_hpo.training.batches import TARGET_WINDOW, Window, auto_batch_size, epoch_windows, window_steps


def windows_of(lengths: list[int], n_lanes: int, steps: int, seed: int = 0) -> list[Window]:
    stops = np.cumsum(lengths)
    return list(epoch_windows(stops - lengths, stops, n_lanes, steps, np.random.default_rng(seed)))


cases = given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=20),
    n_lanes=st.integers(1, 8),
    steps=st.integers(1, 12),
    seed=st.integers(0, 2**31),
)


@settings(max_examples=100)
@cases
def test_every_event_is_read_exactly_once(lengths: list[int], n_lanes: int, steps: int, seed: int) -> None:
    read = np.zeros(sum(lengths), dtype=int)
    for window in windows_of(lengths, n_lanes, steps, seed):
        for start, length in zip(window.starts, window.lengths, strict=True):
            read[start : start + length] += 1
    assert (read == 1).all()


@settings(max_examples=100)
@cases
def test_a_lane_reads_one_user_in_order_and_says_when_the_next_begins(
    lengths: list[int], n_lanes: int, steps: int, seed: int
) -> None:
    stops = np.cumsum(lengths)
    next_row: dict[int, int] = {}  # lane -> the row it must read next, while its user is not done
    users_begun = 0
    for window in windows_of(lengths, n_lanes, steps, seed):
        assert 1 <= len(window.lanes) <= n_lanes
        assert len(set(window.lanes.tolist())) == len(window.lanes)
        assert (window.lengths >= 1).all()
        assert (window.lengths <= steps).all()
        assert (np.diff(window.lengths) <= 0).all()
        active = dict(next_row)
        for lane, start, length, fresh in zip(
            window.lanes.tolist(), window.starts.tolist(), window.lengths.tolist(), window.fresh.tolist(), strict=True
        ):
            if fresh:
                assert lane not in active, "a lane takes a new user only when its user is done"
                assert start == 0 or start in stops, "a user begins at the first event"
                users_begun += 1
            else:
                assert active.pop(lane) == start
            user = int(np.searchsorted(stops, start, side="right"))
            assert start + length <= stops[user], "a window never reaches into the next user"
            if start + length < stops[user]:
                assert length == steps
                next_row[lane] = start + length
            else:
                next_row.pop(lane, None)
        assert not active, "no lane pauses in the middle of a user"
    assert users_begun == len(lengths)
    assert not next_row


@settings(max_examples=100)
@cases
def test_lanes_run_out_together_as_far_as_the_longest_user_allows(
    lengths: list[int], n_lanes: int, steps: int, seed: int
) -> None:
    n_windows = [math.ceil(length / steps) for length in lengths]
    lanes = min(n_lanes, len(lengths))
    # Graham's bound for any order; what the order adds is tested below.
    assert len(windows_of(lengths, n_lanes, steps, seed)) <= math.ceil(sum(n_windows) / lanes) + max(n_windows) - 1


@pytest.mark.parametrize("seed", range(10))
def test_a_long_user_begins_early_enough_to_end_with_the_others(seed: int) -> None:
    # 50 windows of one user, 147 of the others, four lanes: 50 updates at best. Begun anywhere it would be up to 86.
    lengths = [1] * 147
    lengths.insert(100, 500)
    assert len(windows_of(lengths, n_lanes=4, steps=10, seed=seed)) <= 53


def test_the_order_of_users_is_random_and_its_seed_repeats_it() -> None:
    def order(seed: int) -> list[int]:
        return [row for window in windows_of([1] * 50, 5, 4, seed) for row in window.starts.tolist()]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != sorted(order(0))


@pytest.mark.parametrize(("bptt", "steps"), [(2, 32), (3, 33), (16, 32), (31, 62), (32, 32), (33, 33), (200, 200)])
def test_a_window_is_a_multiple_of_bptt_near_its_target(bptt: int, steps: int) -> None:
    assert window_steps(bptt) == steps
    assert steps % bptt == 0
    assert TARGET_WINDOW <= steps < TARGET_WINDOW + bptt


@pytest.mark.parametrize(
    ("n_events", "bptt", "expected"),
    [
        (1_000, 32, 16),  # never less
        (100_000, 32, 16),  # 195 updates an epoch
        (250_000, 32, 32),  # 244
        (1_000_000, 32, 128),  # 244
        (1_000_000, 2, 128),  # a short bptt cuts the gradient, and not the update
        (1_000_000, 128, 32),  # its windows are four times as long
        (50_000_000, 32, 128),  # never more
    ],
)
def test_the_size_of_an_update_follows_the_log(n_events: int, bptt: int, expected: int) -> None:
    assert auto_batch_size(n_events, bptt) == expected
