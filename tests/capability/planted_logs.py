"""Planted logs: each says what carries the information, what does not, and how well a right model does at best."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import (
    DAY,
    EPOCH,
    MINUTE,
    Event,
    cycle,
    from_table,
    item_names,
    make_dataset,
    steady_times,
)
from hrnn_hpo.errors import ConfigError


def delayed_dependence(
    n_users: int = 400, n_items: int = 20, gap: int = 10, seed: int = 0, *, n_cues: int = 4, n_blocks: int = 1
) -> Dataset:
    """Return histories whose last item is told by an item `gap` steps before it, and by nothing in between.

    A block of gap + 1 events is: a cue (items 0 … n_cues - 1), gap - 2 distractors drawn from all other items alike,
    the question (item 2 n_cues), and the cue's own answer (item n_cues + cue). The question says that an answer is due
    and not which. Every history is `n_blocks` blocks and so ends with an answer.

    Best hit rate at 1 on the last event: 1; without memory of the cue: 1 / n_cues. With n_blocks = 1 and gap <= 18
    the last event is all the truth that `personalize` asks for.
    """
    n_special = 2 * n_cues + 1
    if gap < 3 or n_items <= n_special:
        raise ConfigError(f"`gap >= 3` and `n_items > 2 n_cues + 1` must hold, but got {gap=}, {n_items=}, {n_cues=}.")
    generator = np.random.default_rng(seed)
    items = generator.integers(n_special, n_items, size=(n_users, n_blocks, gap + 1))
    cues = generator.integers(n_cues, size=(n_users, n_blocks))
    items[:, :, 0] = cues
    items[:, :, -2] = 2 * n_cues
    items[:, :, -1] = n_cues + cues
    times = steady_times(n_users, n_blocks * (gap + 1), generator)
    return from_table(items.reshape(n_users, -1), times, n_items, "delayed_dependence")


def shifting_popularity(
    n_users: int = 400,
    n_items: int = 100,
    seed: int = 0,
    *,
    n_favourites: int = 10,
    strength: float = 0.9,
    n_days: int = 1000,
    n_late_days: int = 20,
) -> Dataset:
    """Return a log whose favourites change for everybody near its end: a model must follow the trend.

    Every event picks one of the favourites of its time with `strength`, else any item, and nothing else matters.
    Favourites are items 0 … n_favourites - 1 until the last `n_late_days`, then the next n_favourites items. A
    history has 8 to 16 events before the change, at any time, and one after it, the last.

    Best hit rate at n_favourites on the last event: strength + (1 - strength) n_favourites / n_items, which ranking by
    popularity in the late days reaches; by popularity over the whole log it is (1 - strength) n_favourites / n_items.
    Weights that halve every 30 days give the late favourites about twice the weight of the early ones.
    """
    generator = np.random.default_rng(seed)
    change = EPOCH + (n_days - n_late_days) * DAY
    histories = []
    for _ in range(n_users):
        early = np.sort(generator.integers(EPOCH, change, size=generator.integers(8, 17)))
        late = generator.integers(change, EPOCH + n_days * DAY, size=1)
        times = np.concatenate([early, late])
        favourites = generator.integers(n_favourites, size=len(times)) + n_favourites * (times >= change)
        anything = generator.integers(n_items, size=len(times))
        items = np.where(generator.random(len(times)) < strength, favourites, anything)
        histories.append(list(zip(item_names(items, n_items), times.tolist(), strict=True)))
    return make_dataset(histories, extra_items=item_names(np.arange(n_items), n_items), name="shifting_popularity")


def time_gap_dependence(n_users: int = 300, n_items: int = 20, n_events: int = 20, seed: int = 0) -> Dataset:
    """Return histories in which the last item and the pause before it tell the next item together.

    After a pause of a minute the item's first successor follows, after twenty minutes its second one; both pauses are
    equally likely and shorter than a session's end. Best hit rate at 1: 1 with time gaps, 1/2 without them.
    """
    generator = np.random.default_rng(seed)
    long = generator.integers(2, size=(n_users, n_events))
    pauses = np.where(long, 20 * MINUTE, MINUTE)
    times = EPOCH + generator.integers(DAY, size=(n_users, 1)) + np.cumsum(pauses, axis=1)
    long[:, 0] = 0  # nothing comes before the first event: it counts as a short pause
    return from_table(_two_successors(long, n_items, generator), times, n_items, "time_gap_dependence")


def event_type_dependence(n_users: int = 300, n_items: int = 20, n_events: int = 20, seed: int = 0) -> Dataset:
    """Return histories in which the last item and its event type tell the next item together.

    After a "click" the item's first successor follows, after a "purchase" its second one; both types are equally
    likely. Best hit rate at 1: 1 with event types, 1/2 without them.
    """
    generator = np.random.default_rng(seed)
    types = generator.integers(2, size=(n_users, n_events))
    items = _two_successors(types, n_items, generator)
    times = steady_times(n_users, n_events, generator)
    return from_table(items, times, n_items, "event_type_dependence", types=np.array(["click", "purchase"])[types])


def event_value_dependence(n_users: int = 300, n_items: int = 20, n_events: int = 20, seed: int = 0) -> Dataset:
    """Return histories in which the last item and its EVENT_VALUE, 0 or 1, tell the next item together."""
    generator = np.random.default_rng(seed)
    values = generator.integers(2, size=(n_users, n_events))
    items = _two_successors(values, n_items, generator)
    return from_table(
        items, _minutes(values.shape), n_items, "event_value_dependence", values=values.astype(np.float64)
    )


def session_start_dependence(n_users: int = 300, n_items: int = 20, n_events: int = 20, seed: int = 0) -> Dataset:
    """Return histories in which the last item, and whether it opened a session, tell the next one together.

    Sessions are told by SESSION_ID alone: all events are a minute apart. Best hit rate at 1: 1; 1/2 without sessions.
    """
    generator = np.random.default_rng(seed)
    opens = generator.integers(2, size=(n_users, n_events))
    opens[:, 0] = 0  # a first event is a new user's, not a new session's
    items = _two_successors(opens, n_items, generator)
    return from_table(items, _minutes(opens.shape), n_items, "session_start_dependence", sessions=_session_ids(opens))


def preference_across_sessions(
    n_users: int = 400,
    n_items: int = 20,
    n_sessions: int = 4,
    session_length: int = 4,
    seed: int = 0,
    *,
    n_tastes: int = 4,
) -> Dataset:
    """Return histories whose last item is told by the first one, sessions before: a model must carry it across.

    A user's first event shows the taste (items 0 … n_tastes - 1). Sessions of distractors follow, drawn from all other
    items alike, a day apart. The last session has two events: the question (item 2 n_tastes) and the favourite of that
    taste (item n_tastes + taste). `n_sessions` counts all sessions, the last one too.

    Best hit rate at 1 on the last event: 1; for a model that forgets at a session's end: 1 / n_tastes.
    """
    n_special = 2 * n_tastes + 1
    if n_sessions < 2 or session_length < 1 or n_items <= n_special:
        raise ConfigError(
            "`n_sessions >= 2`, `session_length >= 1` and `n_items > 2 n_tastes + 1` must hold, "
            f"but got {n_sessions=}, {session_length=}, {n_items=}, {n_tastes=}."
        )
    generator = np.random.default_rng(seed)
    n_before = (n_sessions - 1) * session_length
    items = generator.integers(n_special, n_items, size=(n_users, n_before + 2))
    tastes = generator.integers(n_tastes, size=n_users)
    items[:, 0] = tastes
    items[:, -2] = 2 * n_tastes
    items[:, -1] = n_tastes + tastes
    places = np.arange(n_before + 2)
    sessions = np.minimum(places // session_length, n_sessions - 1)
    times = EPOCH + sessions * DAY + (places - sessions * session_length) * MINUTE
    starts = generator.integers(DAY, size=(n_users, 1))
    return from_table(items, starts + times, n_items, "preference_across_sessions")


def spread_over_days(dataset: Dataset, n_days: int, seed: int = 0) -> Dataset:
    """Return the log with each user's history moved to a day of its own, drawn from `n_days` days alike."""
    starts = np.random.default_rng(seed).integers(n_days, size=dataset.n_users) * DAY
    times = np.asarray(dataset.timestamps) + np.repeat(starts, dataset.history_lengths)
    return with_content_hash(replace(dataset, timestamps=times))


def humans_and_robots(n_users: int = 400, seed: int = 0) -> Dataset:
    """Return short histories that walk around items h0 … h9 and long ones that walk around r0 … r9, users in turn.

    Even users are human with 10 events, odd ones robots with 30; each walk is a cycle, so the next item is certain.
    """
    generator = np.random.default_rng(seed)
    histories: list[list[Event]] = []
    for user in range(n_users):
        name, length = ("h", 10) if user % 2 == 0 else ("r", 30)
        start = int(generator.integers(10))
        histories.append([(f"{name}{(start + 3 * step) % 10}", EPOCH + MINUTE * step) for step in range(length)])
    return make_dataset(histories)


def returns(n_users: int = 300, n_items: int = 24, n_events: int = 24, seed: int = 0, *, told_by: str) -> Dataset:
    """Return histories in which the last item and the moment of the next event tell that event's item together.

    One of four successors follows, all alike likely: which, the next event's own time says alone. `told_by` gap: the
    pause before it, a minute, a quarter of an hour, 6 hours or 10 days. `told_by` clock: the quarter of its day, and
    pauses are whole days and a quarter or more. `told_by` session: an event of an own session has the first successor,
    others the second; all are a minute apart. Nothing that happened before says anything about it.

    Best ndcg_at_10 on the last event: 1; without the time (1 + 1/log2(3) + 1/2 + 1/log2(5)) / 4 = .64, for sessions
    (1 + 1/log2(3)) / 2 = .82.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(n_items)
    successors = np.empty((4, n_items), dtype=np.int64)  # of each item four different ones
    for place in range(4):
        successors[place, order] = np.roll(order, -1 - place)
    which = generator.integers(2 if told_by == "session" else 4, size=(n_users, n_events))
    items = np.empty((n_users, n_events), dtype=np.int64)
    items[:, 0] = generator.integers(n_items, size=n_users)
    for step in range(1, n_events):
        items[:, step] = successors[which[:, step], items[:, step - 1]]
    if told_by == "gap":
        pauses = np.array([MINUTE, 15 * MINUTE, 6 * 60 * MINUTE, 10 * DAY])[which]
        times = EPOCH + generator.integers(DAY, size=(n_users, 1)) + np.cumsum(pauses, axis=1)
    elif told_by == "clock":
        days = np.cumsum(generator.integers(1, 4, size=(n_users, n_events)), axis=1)
        times = EPOCH - EPOCH % DAY + DAY * days + DAY // 4 * which + generator.integers(DAY // 4, size=which.shape)
    else:
        times = _minutes(which.shape)
    sessions = _session_ids(which == 0) if told_by == "session" else None
    return from_table(items, times, n_items, "returns", sessions=sessions)


def own_favourites(n_users: int, n_items: int, n_favourites: int, n_events: int, seed: int = 0) -> Dataset:
    """Return a log in which each user takes items of an own random set, each time any of them, an hour apart."""
    generator = np.random.default_rng(seed)
    histories: list[list[Event]] = []
    for _ in range(n_users):
        own = generator.choice(n_items, size=n_favourites, replace=False)
        items = generator.choice(own, size=n_events)
        histories.append([(f"i{item:03d}", EPOCH + 60 * MINUTE * step) for step, item in enumerate(items)])
    return make_dataset(histories)


def _two_successors(second: NDArray[np.int64], n_items: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return items where `second` (n_users, n_events) at a step chooses between two successors for the next step."""
    if n_items < 3:
        raise ConfigError(f"`n_items >= 3` must hold, but got {n_items=}.")
    successor = cycle(n_items, generator)
    successors = np.stack([successor, successor[successor]])
    items = np.empty_like(second)
    items[:, 0] = generator.integers(n_items, size=len(items))
    for step in range(1, items.shape[1]):
        items[:, step] = successors[second[:, step - 1], items[:, step - 1]]
    return items


def _minutes(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return times a minute apart, the same for all users, (n_users, n_events)."""
    return np.broadcast_to(EPOCH + MINUTE * np.arange(shape[1]), shape)


def _session_ids(opens: NDArray[Any]) -> NDArray[np.str_]:
    """Return a SESSION_ID for each event, (n_users, n_events), a new one where `opens`."""
    sessions = np.cumsum(opens, axis=1)
    return np.array([[f"u{user}s{session:02d}" for session in row] for user, row in enumerate(sessions)])
