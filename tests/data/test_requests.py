"""The time of a request: what an event at that moment would be, and where nobody knows when that is."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import dataset_of, datasets

from hrnn_hpo.data.featurize import CONTINUE, NEW_SESSION, NEW_USER, event_features, gap_bucket
from hrnn_hpo.data.requests import clock_of, request_after, requests_after, requests_of_events, unknown_requests
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import expand_ranges
from hrnn_hpo.errors import DataError
from hrnn_hpo.serving.recommender import log_of_events


@pytest.mark.parametrize(
    ("moment", "weekday", "hour"),
    [
        ("1970-01-01T00:00", 3, 0),
        ("2026-11-26T18:59:59", 3, 18),
        ("2026-11-29T23:00", 6, 23),
        ("2026-11-30T00:00", 0, 0),
    ],
)
def test_the_clock_is_weekday_and_hour_in_utc(moment: str, weekday: int, hour: int) -> None:
    seconds = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    assert clock_of(np.array([seconds])).tolist() == [24 * weekday + hour]


def test_a_request_is_what_an_event_at_its_time_would_be() -> None:
    last = 1_000_000
    at_once, soon, later = (request_after(last + gap, last, 1800, user="u") for gap in (0, 1799, 1800))
    assert [int(request.control[0]) for request in (at_once, soon, later)] == [CONTINUE, CONTINUE, NEW_SESSION]
    assert [int(request.gap_buckets[0]) for request in (at_once, soon, later)] == [1, 11, 11]
    assert request_after(last + 5, last, 1800, user="u", changed=True).control.tolist() == [NEW_SESSION]
    first = request_after(last, None, 1800, user="u", changed=True)
    assert (first.control.tolist(), first.gap_buckets.tolist()) == ([NEW_USER], [0])
    assert first.clock.tolist() == clock_of(np.array([last])).tolist()


@given(dataset=datasets(), gap=st.integers(1, 5000))
def test_the_request_of_an_event_is_the_one_after_the_events_before_it(dataset: Dataset, gap: int) -> None:
    """Without a SESSION_ID: of the stored log's sessions a caller knows nothing but the pause."""
    dataset = Dataset(**{**dataset.__dict__, "session_ids": None})
    found = requests_of_events(dataset, event_features(dataset, gap))
    users = np.repeat(np.arange(dataset.n_users), dataset.history_lengths)
    events = np.arange(dataset.n_events)
    starts = np.asarray(dataset.user_offsets)[users]
    _, before = expand_ranges(starts, events)
    cut = log_of_events(dataset, before, events - starts, [str(event) for event in events])
    expected = requests_after(cut, dataset.timestamps.tolist(), gap)
    assert found.known.all()
    for name in ("known", "gap_buckets", "control", "clock"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name


def test_a_change_of_session_opens_one_however_short_the_pause() -> None:
    log = dataset_of([[0, 1, 2]], times=[[0, 60, 120]])
    log = Dataset(**{**log.__dict__, "session_ids": np.array([0, 0, 1], dtype=np.int32)})
    requests = requests_of_events(log, event_features(log, 1800))
    assert requests.control.tolist() == [NEW_USER, CONTINUE, NEW_SESSION]
    assert requests.gap_buckets.tolist() == [0, *gap_bucket(np.array([60, 60])).tolist()]


def test_some_users_say_when_they_ask_and_some_do_not() -> None:
    log = dataset_of([[0, 1], [2]], times=[[0, 60], [10]])
    requests = requests_after(log, [None, 70], 1800)
    assert requests.known.tolist() == [False, True]
    assert requests.take(np.array([1, 1])).known.tolist() == [True, True]
    assert len(unknown_requests(3)) == 3
    assert not unknown_requests(3).known.any()


def test_a_time_before_the_last_event_is_refused() -> None:
    log = dataset_of([[0, 1], [2]], times=[[0, 60], [10]])
    with pytest.raises(DataError, match="must not be before the user's last event, but got 59, and user 'u0' has an"):
        requests_after(log, [59, None], 1800)
