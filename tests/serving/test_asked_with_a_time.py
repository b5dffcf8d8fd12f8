"""Asked with a time: live users, one user, batches and explanations agree; what is no time is refused with a reason."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from live_users import ITEMS, NOW, ask, log_of, recommender_for, scores, serving_thread, stored_histories

from hrnn_hpo.data.requests import NO_REQUEST_TIME
from hrnn_hpo.errors import ConfigError, DataError
from hrnn_hpo.serving import server as serving
from hrnn_hpo.serving.batch import answer_lines
from hrnn_hpo.serving.explain import explain
from hrnn_hpo.serving.recommender import Recommender
from hrnn_hpo.serving.state import Event, UserStates
from hrnn_hpo.serving.times import request_seconds

ALL = "gap+session+clock"
architectures = pytest.mark.parametrize("architecture", ["control", "hierarchical"])


def reading(with_sessions: bool = False, **changes: Any) -> Recommender:
    return recommender_for(log_of(stored_histories(with_sessions)), request_time=ALL, **changes)


@architectures
@pytest.mark.parametrize("with_sessions", [False, True], ids=["gaps", "session ids"])
def test_a_live_user_asked_with_a_time_gets_what_the_batch_computation_gives(
    architecture: str, with_sessions: bool
) -> None:
    recommender = reading(with_sessions, architecture=architecture, n_blocks=2, repeats="mixed")
    states, histories = UserStates(recommender), stored_histories(with_sessions)
    for user in ("u3", "u9 is new"):
        histories.setdefault(user, [])
        now = NOW
        for step in range(6):
            now += [0, 30, 1799, 1800, 5000, 90_000][step]
            item = ITEMS[step * 5 % 12]
            states.put("live", [Event(item, now, "view", None)], user)
            histories[user].append((item, now, "view", None, "live" if with_sessions else None))
            whole = Recommender(replace(recommender.saved, histories=log_of(histories)), "keep")
            before = states.recommend(user)
            for pause in (0, 60, 1799, 1800, 200_000):
                expected = scores(whole.recommend(user, at=now + pause))
                # In the session of the last event: that is what `recommend` takes for granted.
                assert scores(states.recommend(user, at=now + pause, session_id="live")) == pytest.approx(
                    expected, rel=1e-5
                )
            assert states.recommend(user) == before  # no state was altered
            assert scores(before) == pytest.approx(scores(whole.recommend(user)), rel=1e-5)


@architectures
def test_another_session_of_the_callers_opens_one_where_the_log_has_sessions(architecture: str) -> None:
    states = UserStates(reading(True, architecture=architecture))
    states.put("live", [Event("i03", NOW)], "u1")
    same, other, later = (
        scores(states.recommend("u1", at=NOW + pause, session_id=session))
        for pause, session in [(60, "live"), (60, "another"), (1800, "live")]
    )
    assert other != pytest.approx(same, rel=1e-3)
    assert later != pytest.approx(same, rel=1e-3)
    without_sessions = UserStates(reading(False, architecture=architecture))
    without_sessions.put("live", [Event("i03", NOW)], "u1")
    found = [scores(without_sessions.recommend("u1", at=NOW + 60, session_id=name)) for name in ("live", "another")]
    assert found[0] == found[1]


def test_a_time_changes_the_answer_and_none_is_the_default() -> None:
    recommender = reading()
    unknown = recommender.recommend("u2")
    assert unknown == recommender.recommend("u2", at=None)
    assert scores(recommender.recommend("u2", at=NOW)) != pytest.approx(scores(unknown), rel=1e-3)
    assert scores(recommender.recommend("u2", at=NOW)) != pytest.approx(
        scores(recommender.recommend("u2", at=NOW + 3600)), rel=1e-3
    )


def test_of_many_users_each_has_an_own_time_or_none() -> None:
    recommender = reading(architecture="hierarchical")
    users, at = ["u2", "u2", "a stranger", "u0"], [None, NOW + 7, NOW, NOW]
    items, found = recommender.recommend_many(users, 12, at)
    for user, moment, own_items, own_scores in zip(users, at, items, found, strict=True):
        expected = recommender.recommend(user, 12, moment)
        assert [entry.item for entry in expected] == [recommender.saved.histories.item_ids[item] for item in own_items]
        assert own_scores == pytest.approx([entry.score for entry in expected], rel=1e-5)


# What is refused


def test_a_model_that_reads_no_time_says_how_to_train_one_that_does() -> None:
    recommender = recommender_for(log_of(stored_histories(False)))
    states = UserStates(recommender)
    for refused in (
        lambda: recommender.recommend("u1", at=NOW),
        lambda: states.recommend("u1", at=NOW),
        lambda: explain(recommender, "u1", at=NOW),
        lambda: serving.create_app(recommender, clock=time.time),
    ):
        with pytest.raises(ConfigError, match="does not read the time of a request: train one"):
            refused()


def test_a_time_before_the_users_last_event_is_refused() -> None:
    recommender = reading()
    states = UserStates(recommender)
    states.put("s", [Event("i03", NOW)], "u1")
    with pytest.raises(DataError, match=f"but got {NOW - 1}, and user 'u1' has an event at {NOW}"):
        states.recommend("u1", at=NOW - 1)
    assert states.recommend("u1", at=NOW - 1, tolerance=None) == states.recommend("u1", at=NOW)
    with pytest.raises(DataError, match="must not be before the user's last event"):
        recommender.recommend("u1", at=5)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000.9, 1_700_000_000),
        (np.int64(5), 5),
        ("1700000000", 1_700_000_000),
        ("0" * 15 + "1700000000", 1_700_000_000),
        ("0" * 5000, 0),
        ("1700000000.9", 1_700_000_000),  # as `date +%s.%N` writes it
        ("1970-01-02", 86_400),
        ("1970-01-02 00:00:01 UTC", 86_401),  # as `data describe` shows it
        ("19700102", 86_400),  # the same day, and not a second of August 1970
        ("1970-01-01T02:00+02:00", 0),
        (datetime(1970, 1, 1, 1), 3600),
        (datetime(1970, 1, 1, 1, tzinfo=UTC), 3600),
        (None, None),
    ],
)
def test_a_time_is_a_number_or_an_iso_text(written: Any, seconds: int | None) -> None:
    assert request_seconds(written) == seconds


def test_pandas_missing_time_is_none() -> None:
    with pytest.raises(ConfigError, match="unix seconds or a time in ISO 8601, but got NaT;"):
        request_seconds(pd.NaT)


@pytest.mark.parametrize("before", ["-1", "-0.5", -1])
def test_a_time_before_1970_is_told_the_range(before: Any) -> None:
    with pytest.raises(ConfigError, match=f"unix seconds from 0 to 100000000000, but got {before};"):
        request_seconds(before)


def test_now_is_now() -> None:
    before = int(time.time())
    found = request_seconds("now")
    assert found is not None
    assert before <= found <= time.time()


@pytest.mark.parametrize(
    "wrong", ["noon", "", True, -1, 1.7e12, math.nan, "1700000000000", [5], "9" * 5000, np.array([5, 6])]
)
def test_what_is_no_time_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="The time of a request must be unix seconds"):
        request_seconds(wrong)


# Batches


def line(content: Any) -> bytes:
    return json.dumps(content).encode()


def test_a_batch_line_may_say_when_its_user_asks() -> None:
    recommender = reading(architecture="hierarchical")
    lines = [
        json.dumps({"userId": "u1"} | ({} if at is None else {"context": {"REQUEST_TIME": at}})).encode()
        for at in (None, str(NOW), NOW, "2033-05-18T03:33:20Z")
    ]
    answers = answer_lines(recommender, lines, 12)
    for answer, at in zip(answers, [None, NOW, NOW, 2_000_000_000], strict=True):
        assert answer["error"] is None
        expected = recommender.recommend("u1", 12, at)
        assert answer["output"]["recommendedItems"] == [entry.item for entry in expected]
        assert answer["output"]["scores"] == pytest.approx([entry.score for entry in expected], rel=1e-5)


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ({"REQUEST_TIME": "noon"}, "\"REQUEST_TIME\" must be unix seconds or a time in ISO 8601, but got 'noon'."),
        ({"REQUEST_TIME": "7"}, "The time of a request must not be before the user's last event, but got 7"),
        ({"DEVICE": "phone"}, '"context" must be an object with the key "REQUEST_TIME" alone, but got {"DEVICE"'),
        ([], '"context" must be an object with the key "REQUEST_TIME" alone, but got [].'),
    ],
)
def test_a_batch_line_with_a_wrong_time_says_why_and_the_others_are_answered(context: Any, error: str) -> None:
    lines = [json.dumps({"userId": "u1", "context": context}).encode(), b'{"userId": "u2"}']
    bad, good = answer_lines(reading(), lines, 3)
    assert error in bad["error"]
    assert bad["output"] is None
    assert len(good["output"]["scores"]) == 3


@pytest.mark.parametrize("context", [None, {}, {"REQUEST_TIME": None}])
def test_null_is_unknown_for_a_batch_line(context: Any) -> None:
    answer, plain = answer_lines(reading(), [line({"userId": "u1", "context": context}), line({"userId": "u1"})], 12)
    assert answer["error"] is None
    assert answer["output"] == plain["output"]


def test_a_batch_line_with_a_time_that_is_not_read_says_so() -> None:
    recommender = recommender_for(log_of(stored_histories(False)))
    line = json.dumps({"userId": "u1", "context": {"REQUEST_TIME": str(NOW)}}).encode()
    assert answer_lines(recommender, [line], 3)[0]["error"] == NO_REQUEST_TIME


# Explanations


@architectures
def test_an_explanation_is_of_the_answer_at_that_time(architecture: str) -> None:
    recommender = reading(architecture=architecture, repeats="mixed")
    histories = stored_histories(False)
    at = NOW
    explanation = explain(recommender, "u0", at=at)
    best = recommender.recommend("u0", 1, at)[0]
    assert (explanation.item, explanation.probability) == (best.item, pytest.approx(best.score, rel=1e-5))
    assert explanation.repeat_share is not None
    assert len(explanation.influences) == len(histories["u0"])
    for place, found in enumerate(explanation.influences):
        left = histories | {"u0": [row for step, row in enumerate(histories["u0"]) if step != place]}
        elsewhere = Recommender(replace(recommender.saved, histories=log_of(left)), "keep")
        expected = {entry.item: entry.score for entry in elsewhere.recommend("u0", at=at)}[best.item]
        assert found.probability_without == pytest.approx(expected, rel=1e-5)


# The service


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve a model that reads the time, by a clock that stands an hour after NOW."""
    app = serving.create_app(reading(True, architecture="hierarchical"), clock=lambda: NOW + 3600.7)
    with serving_thread(app) as address:
        yield address


def served(url: str, user: str, **context: str) -> dict[str, float]:
    status, answer = ask(f"{url}/recommendations", {"userId": user, "context": {"DEVICE": "phone", **context}})
    assert status == 200, answer
    return {entry["itemId"]: entry["score"] for entry in answer["itemList"]}


def test_a_request_says_its_time_or_the_clock_does(url: str) -> None:
    recommender = reading(True, architecture="hierarchical")
    told = served(url, "u1", REQUEST_TIME=str(NOW))
    assert told == pytest.approx(scores(recommender.recommend("u1", at=NOW)), rel=1e-5)
    by_clock = scores(recommender.recommend("u1", at=NOW + 3600))
    assert served(url, "u1") == pytest.approx(by_clock, rel=1e-5)
    assert ask(f"{url}/recommendations", {"userId": "u1"})[1]["itemList"][0]["score"] == pytest.approx(
        max(by_clock.values()), rel=1e-5
    )


@pytest.mark.parametrize("context", [None, {"REQUEST_TIME": None}, {"SESSION_ID": None}])
def test_null_in_a_request_says_as_much_as_no_time(url: str, context: Any) -> None:
    answers = [ask(f"{url}/recommendations", {"userId": "u1"} | told) for told in ({"context": context}, {})]
    assert answers[0][0] == 200
    assert answers[0][1]["itemList"] == answers[1][1]["itemList"]


def test_an_event_ahead_of_the_clock_is_no_error_and_a_session_id_is_read(url: str) -> None:
    ahead = NOW + 7200
    event = {"eventType": "view", "sentAt": ahead, "itemId": "i03"}
    ask(f"{url}/events", {"trackingId": "t", "sessionId": "mine", "userId": "u2", "eventList": [event]})
    at_last = served(url, "u2", REQUEST_TIME=str(ahead), SESSION_ID="mine")
    assert served(url, "u2", SESSION_ID="mine") == pytest.approx(at_last, rel=1e-6)
    assert served(url, "u2", REQUEST_TIME=str(ahead), SESSION_ID="another") != pytest.approx(at_last, rel=1e-3)


def test_clocks_may_differ_by_a_day(url: str) -> None:
    """A phone's event is dated by the phone: who asks by another clock, a little behind, is answered all the same."""
    event = {"eventType": "view", "sentAt": NOW + 30, "itemId": "i03"}
    ask(f"{url}/events", {"trackingId": "t", "sessionId": "mine", "userId": "u3", "eventList": [event]})
    at_last = served(url, "u3", REQUEST_TIME=str(NOW + 30))
    assert served(url, "u3", REQUEST_TIME=str(NOW + 5)) == pytest.approx(at_last, rel=1e-6)
    status, _ = ask(f"{url}/recommendations", {"userId": "u3", "context": {"REQUEST_TIME": str(NOW + 30 - 86_401)}})
    assert status == 400


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"REQUEST_TIME": "noon"}, "context.REQUEST_TIME: must be unix seconds or a time in ISO 8601, but got 'noon'"),
        ({"REQUEST_TIME": str(NOW * 1000)}, "context.REQUEST_TIME: must be unix seconds from 0 to"),
        ({"REQUEST_TIME": "1"}, "The time of a request must not be before the user's last event, but got 1, and user"),
        ({"DEVICE": 7}, "context.DEVICE: Input should be a valid string"),
    ],
)
def test_a_wrong_time_in_a_request_says_why(url: str, context: Any, message: str) -> None:
    status, answer = ask(f"{url}/recommendations", {"userId": "u1", "context": context})
    assert status == 400
    assert message in answer["message"]
