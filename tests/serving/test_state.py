"""Live users: events move one on as the batch computation would, sessions join users, nobody waits for another."""

import threading
from dataclasses import replace
from typing import Any

import pytest
import torch
from live_users import ITEMS, NOW, log_of, recommender_for, scores, stored_histories

from hrnn_hpo.data import repeats
from hrnn_hpo.serving import state as live
from hrnn_hpo.serving.recommender import Recommender
from hrnn_hpo.serving.state import Event, UserStates


@pytest.mark.parametrize("with_sessions", [False, True], ids=["gaps", "session ids"])
@pytest.mark.parametrize("architecture", ["control", "hierarchical"])
@pytest.mark.parametrize("user", ["u3", "u9 is new"])
@pytest.mark.parametrize("own_events", [3, 1000])
def test_event_by_event_equals_the_batch_computation(
    architecture: str, user: str, with_sessions: bool, own_events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (live, repeats):
        monkeypatch.setattr(module, "OWN_EVENTS", own_events)
    histories = stored_histories(with_sessions)
    recommender = recommender_for(log_of(histories), architecture=architecture, n_blocks=2, repeats="mixed")
    states = UserStates(recommender)
    histories.setdefault(user, [])
    session, now = 0, NOW
    for step in range(12):
        now += [0, 30, 1799, 1800, 5000][step % 5]
        session += step % 4 == 3
        item, kind, value = ITEMS[step * 5 % 12], ["view", "buy", None][step % 3], [None, 2.5][step % 2]
        states.put(f"live{session}", [Event(item, now, kind, value)], user)
        histories[user].append((item, now, kind, value, f"live{session}" if with_sessions else None))
        log = log_of(histories)
        assert log.item_ids.tolist() == recommender.saved.histories.item_ids.tolist()
        whole = Recommender(replace(recommender.saved, histories=log), "keep")
        assert scores(states.recommend(user)) == pytest.approx(scores(whole.recommend(user)), rel=1e-5)


def test_ten_events_at_once_equal_ten_events_one_by_one() -> None:
    recommender = recommender_for(log_of(stored_histories(False)), architecture="hierarchical")
    events = [Event(ITEMS[step], NOW + 700 * step, "view") for step in range(10)]
    together, single = UserStates(recommender), UserStates(recommender)
    together.put("s", list(reversed(events)), "u1")  # one request's events are put in order of time
    for event in events:
        single.put("s", [event], "u1")
    assert scores(together.recommend("u1")) == pytest.approx(scores(single.recommend("u1")), abs=1e-5)


def test_an_event_reads_one_step_however_long_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    states = UserStates(recommender_for(log_of(stored_histories(False))))
    read: list[int] = []
    original = live.advance

    def counting(model: Any, steps: Any, state: torch.Tensor) -> Any:
        read.append(len(steps.items))
        return original(model, steps, state)

    monkeypatch.setattr(live, "advance", counting)
    for step in range(3):
        states.put("s", [Event("i00", NOW + step)], "u4")
    states.recommend("u4")
    assert read == [13, 1, 1, 1]  # the start token and twelve events once, then one step an event


def test_a_long_history_is_read_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = recommender_for(log_of(stored_histories(False)))
    expected = scores(recommender.recommend("u4"))
    monkeypatch.setattr(live, "WINDOW_ROWS", 5)
    assert scores(UserStates(recommender).recommend("u4")) == pytest.approx(expected, abs=1e-5)


def test_before_any_event_everyone_gets_what_recommend_gives() -> None:
    for seen in ("keep", "remove"):
        recommender = recommender_for(log_of(stored_histories(False)), seen)
        states = UserStates(recommender)
        for user in ("u0", "u4", "a stranger"):
            expected = recommender.recommend(user)
            assert [entry.item for entry in states.recommend(user)] == [entry.item for entry in expected]


def test_a_seen_item_leaves_the_list_at_once() -> None:
    states = UserStates(recommender_for(log_of(stored_histories(False)), "remove"))
    item = states.recommend("u1")[0].item
    states.put("s", [Event(item, NOW)], "u1")
    assert item not in scores(states.recommend("u1"))


def test_unknown_items_are_ignored_and_counted() -> None:
    states = UserStates(recommender_for(log_of(stored_histories(False))))
    before = states.recommend("u1")
    assert states.put("s", [Event("no such item", NOW), Event("i0", NOW)], "u1") == (0, 2)
    assert states.recommend("u1") == before
    assert states.put("s", [Event("i00", NOW), Event("new", NOW)], "u1") == (1, 1)
    counts = states.counts()
    assert (counts.applied, counts.ignored, counts.live_users) == (1, 3, 1)


def test_an_events_user_alone_is_moved_on() -> None:
    states = UserStates(recommender_for(log_of(stored_histories(False))))
    others = {user: states.recommend(user) for user in ("u0", "u2", "a stranger", "another")}
    states.put("s", [Event("i03", NOW)], "u1")
    states.put("t", [Event("i03", NOW)], "a new user")
    states.put("anonymous", [Event("i03", NOW)])
    assert {user: states.recommend(user) for user in others} == others


def test_an_anonymous_session_has_its_own_recommendations_until_its_user_is_known() -> None:
    recommender = recommender_for(log_of(stored_histories(False)), architecture="hierarchical")
    states, known = UserStates(recommender), UserStates(recommender)
    stranger = states.recommend("s1")
    states.put("s1", [Event("i03", NOW), Event("i05", NOW + 9)])
    assert states.recommend("s1") != stranger
    assert states.counts().anonymous_sessions == 1

    states.put("s1", [Event("i07", NOW + 20)], "u2")
    states.put("s1", [Event("i08", NOW + 30)])  # the session's user is known by now
    for step, item in [(0, "i03"), (9, "i05"), (20, "i07"), (30, "i08")]:
        known.put("s1", [Event(item, NOW + step)], "u2")
    assert scores(states.recommend("u2")) == pytest.approx(scores(known.recommend("u2")), abs=1e-5)
    assert states.recommend("s1") == states.recommend("u2")
    counts = states.counts()
    assert (counts.live_users, counts.anonymous_sessions, counts.applied) == (1, 0, 4)


def test_a_session_joins_its_user_even_by_an_unknown_item() -> None:
    states = UserStates(recommender_for(log_of(stored_histories(False))))
    before = states.recommend("u2")
    states.put("s1", [Event("i03", NOW)])
    states.put("s1", [Event("new", NOW)], "u2")
    assert states.recommend("u2") != before


def test_an_event_that_comes_late_counts_as_if_it_came_with_the_newest() -> None:
    recommender = recommender_for(log_of(stored_histories(False)))
    late, same = UserStates(recommender), UserStates(recommender)
    for states, second in ((late, NOW - 5000), (same, NOW)):
        states.put("s", [Event("i03", NOW)], "u1")
        states.put("s", [Event("i04", second)], "u1")
        states.put("s", [Event("i05", NOW + 60)], "u1")
    assert late.recommend("u1") == same.recommend("u1")


def test_who_was_longest_silent_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_LIVE", 2)
    monkeypatch.setattr(live, "MAX_READ", 1)
    states = UserStates(recommender_for(log_of(stored_histories(False))))
    stored = states.recommend("u0")
    for user in ("u0", "u1", "u2"):
        states.put(f"session of {user}", [Event("i03", NOW)], user)
    assert (states.counts().live_users, states.counts().forgotten) == (2, 1)
    assert states.recommend("u0") == stored


def test_nobody_waits_while_a_long_history_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    states = UserStates(recommender_for(log_of(stored_histories(False))))
    stored, reading, go_on = UserStates._stored, threading.Event(), threading.Event()

    def slow(self: UserStates, user_id: str) -> Any:
        if user_id == "u1":
            reading.set()
            assert go_on.wait(60)
        return stored(self, user_id)

    monkeypatch.setattr(UserStates, "_stored", slow)
    answers: list[Any] = []
    asking = [
        threading.Thread(target=lambda: answers.append(scores(states.recommend("u1")))),
        threading.Thread(target=lambda: answers.append(states.put("s", [Event("i03", NOW)], "u1"))),
    ]
    for thread in asking:
        thread.start()
    assert reading.wait(60)
    assert states.counts().live_users == 0  # as /health asks
    assert states.recommend("u2")
    go_on.set()
    for thread in asking:
        thread.join(60)
    assert len(answers) == 2
    assert states.counts().applied == 1
