"""Where sessions begin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrnn_hpo.data.sessions import session_starts
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.errors import ConfigError


def starts_of(histories, gap_seconds=1800):  # type: ignore[no-untyped-def]
    return session_starts(make_dataset(histories), gap_seconds).tolist()


def test_a_session_ends_after_a_pause_of_the_gap_and_not_a_second_sooner() -> None:
    assert starts_of([[("a", 0), ("b", 1799), ("c", 3599), ("d", 5400)]]) == [True, False, True, True]


def test_every_user_begins_with_a_session_of_their_own() -> None:
    assert starts_of([[("a", 100), ("b", 101)], [("a", 101)], [("b", 0), ("c", 0)]]) == [True, False, True, True, False]


def test_a_changed_session_id_opens_a_session_however_short_the_pause() -> None:
    history = [
        ("a", 0, None, None, "x"),
        ("b", 1, None, None, "x"),
        ("c", 1, None, None, "y"),
        ("d", 2, None, None, "x"),
    ]
    assert starts_of([history]) == [True, False, True, True]


def test_a_pause_ends_a_session_even_where_the_session_id_stays() -> None:
    assert starts_of([[("a", 0, None, None, "x"), ("b", 1800, None, None, "x")]]) == [True, True]


def test_an_empty_session_id_is_an_id_like_the_others() -> None:
    history = [("a", 0), ("b", 1), ("c", 2, None, None, "x"), ("d", 3)]
    assert starts_of([history]) == [True, False, True, True]


def test_a_gap_below_a_second_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`session_gap >= 1` second must hold, but got 0\."):
        starts_of([[("a", 0)]], gap_seconds=0)


event = st.tuples(st.just("a"), st.integers(0, 20), st.none(), st.none(), st.sampled_from([None, "x", "y"]))


@given(st.lists(st.lists(event, min_size=1, max_size=8), min_size=1, max_size=4), st.integers(1, 10))
def test_session_starts_equal_a_literal_reference(histories, gap_seconds) -> None:  # type: ignore[no-untyped-def]
    expected = []
    for history in histories:
        ordered = sorted(history, key=lambda event: event[1])
        for place, event in enumerate(ordered):
            before = ordered[place - 1]
            expected.append(place == 0 or event[1] - before[1] >= gap_seconds or event[4] != before[4])
    assert starts_of(histories, gap_seconds) == expected


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20), st.integers(1, 50))
def test_a_longer_gap_never_opens_more_sessions(times: list[int], gap_seconds: int) -> None:
    dataset = make_dataset([[("a", time) for time in times]])
    short, long = session_starts(dataset, gap_seconds), session_starts(dataset, gap_seconds + 1)
    assert np.all(short | ~long)
