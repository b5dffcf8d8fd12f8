"""Small made-up logs with a known answer: what a right model must find, and how well it can do at best.

Each planted rule says what carries the information, what does not, and the best reachable hit rate. Tests and
benchmarks use them; nothing here resembles a real log.
"""

import csv
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.schema import EVENT_TYPE, EVENT_VALUE, ITEM_ID, SESSION_ID, TIMESTAMP, USER_ID, Dataset
from hrnn_hpo.errors import ConfigError

MINUTE, DAY = 60, 86_400
EPOCH = 1_600_000_000  # where the made-up logs begin

# item, timestamp[, event type[, event value[, session]]]; None is an empty cell
Event = tuple[Any, ...]


def make_dataset(
    histories: Sequence[Sequence[Event]],
    *,
    user_ids: Sequence[str] | None = None,
    extra_items: Sequence[Hashable] = (),
    name: str = "synthetic",
) -> Dataset:
    """Return the dataset of written-out histories, as ingest would encode the same rows.

    An event is (item, timestamp[, event type[, event value[, session]]]). Users are called u0, u1, … (padded to equal
    width, so that their codes are their places here) unless named. `extra_items` are known but never used.

    >>> dataset = make_dataset([[("a", 10), ("b", 20)], [("b", 15)]])
    >>> dataset.items.tolist(), dataset.user_offsets.tolist()
    ([0, 1, 1], [0, 2, 3])
    """
    width = len(str(max(len(histories) - 1, 0)))
    names = [f"u{number:0{width}d}" for number in range(len(histories))] if user_ids is None else list(user_ids)
    rows = [
        (user, *event, *(None,) * (5 - len(event)))
        for user, history in zip(names, histories, strict=True)
        for event in history
    ]
    rows.sort(key=lambda row: (row[0], row[2]))  # stable: ties keep their order
    users, items, times, types, values, sessions = zip(*rows, strict=True)
    user_vocabulary, user_codes = _encode(users)
    item_vocabulary, item_codes = _encode([*items, *extra_items])
    type_vocabulary, type_codes = _encode(types)
    session_vocabulary, session_codes = _encode(sessions)
    has_values = any(value is not None for value in values)
    return with_content_hash(
        Dataset(
            user_offsets=np.searchsorted(user_codes, np.arange(len(user_vocabulary) + 1)).astype(np.int64),
            items=item_codes[: len(items)],
            timestamps=np.array(times, dtype=np.int64),
            user_ids=user_vocabulary,
            item_ids=item_vocabulary,
            content_hash="",
            session_ids=session_codes if len(session_vocabulary) else None,
            event_types=type_codes if len(type_vocabulary) else None,
            event_type_names=tuple(type_vocabulary.tolist()),
            event_values=np.array([np.nan if value is None else value for value in values], dtype=np.float32)
            if has_values
            else None,
            name=name,
        )
    )


def write_csv(dataset: Dataset, folder: Path) -> Path:
    """Write interactions.csv and items.csv that ingest reads back to the same content hash; return the folder.

    Exact duplicates in the dataset are the exception: ingest counts them once.
    """
    columns: dict[str, Sequence[object]] = {
        USER_ID: np.repeat(dataset.user_ids, dataset.history_lengths).tolist(),
        ITEM_ID: np.asarray(dataset.item_ids)[dataset.items].tolist(),
        TIMESTAMP: dataset.timestamps.tolist(),
    }
    if dataset.event_types is not None:
        columns[EVENT_TYPE] = [dataset.event_type_names[code] if code >= 0 else "" for code in dataset.event_types]
    if dataset.event_values is not None:
        columns[EVENT_VALUE] = ["" if np.isnan(value) else repr(float(value)) for value in dataset.event_values]
    if dataset.session_ids is not None:
        width = len(str(dataset.session_ids.max()))  # padded: the texts sort like the codes
        columns[SESSION_ID] = [f"s{code:0{width}d}" if code >= 0 else "" for code in dataset.session_ids]
    _write_table(folder / "interactions.csv", columns)
    _write_table(folder / "items.csv", {ITEM_ID: dataset.item_ids.tolist()})
    return folder


def markov(
    n_users: int = 200, n_items: int = 20, n_events: int = 20, seed: int = 0, *, strength: float = 0.9
) -> Dataset:
    """Return histories in which the last item tells the next one: its one successor follows with `strength`.

    Otherwise the next item is drawn from all alike. All items are equally popular, so popularity knows nothing. Best
    hit rate at 1: strength + (1 - strength) / n_items.
    """
    generator = np.random.default_rng(seed)
    successor = _cycle(n_items, generator)
    items = np.empty((n_users, n_events), dtype=np.int64)
    items[:, 0] = generator.integers(n_items, size=n_users)
    follows = generator.random((n_users, n_events)) < strength
    drawn = generator.integers(n_items, size=(n_users, n_events))
    for step in range(1, n_events):
        items[:, step] = np.where(follows[:, step], successor[items[:, step - 1]], drawn[:, step])
    return _from_table(items, _steady_times(n_users, n_events, generator), n_items, "markov")


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
    times = _steady_times(n_users, n_blocks * (gap + 1), generator)
    return _from_table(items.reshape(n_users, -1), times, n_items, "delayed_dependence")


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
        histories.append(list(zip(_names(items, n_items), times.tolist(), strict=True)))
    return make_dataset(histories, extra_items=_names(np.arange(n_items), n_items), name="shifting_popularity")


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
    return _from_table(_two_successors(long, n_items, generator), times, n_items, "time_gap_dependence")


def event_type_dependence(n_users: int = 300, n_items: int = 20, n_events: int = 20, seed: int = 0) -> Dataset:
    """Return histories in which the last item and its event type tell the next item together.

    After a "click" the item's first successor follows, after a "purchase" its second one; both types are equally
    likely. Best hit rate at 1: 1 with event types, 1/2 without them.
    """
    generator = np.random.default_rng(seed)
    types = generator.integers(2, size=(n_users, n_events))
    items = _two_successors(types, n_items, generator)
    times = _steady_times(n_users, n_events, generator)
    return _from_table(items, times, n_items, "event_type_dependence", np.array(["click", "purchase"])[types])


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
    return _from_table(items, starts + times, n_items, "preference_across_sessions")


def _encode(texts: Sequence[object]) -> tuple[NDArray[np.str_], NDArray[np.int32]]:
    """Return the vocabulary in ascending order and the code of each text, -1 for None."""
    vocabulary = sorted({str(text) for text in texts if text is not None})
    code_of = {text: code for code, text in enumerate(vocabulary)}
    codes = np.array([-1 if text is None else code_of[str(text)] for text in texts], dtype=np.int32)
    return np.array(vocabulary, dtype=np.str_), codes


def _write_table(path: Path, columns: dict[str, Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _names(items: NDArray[np.int64], n_items: int) -> list[str]:
    """Return names that sort like the numbers, so that item code = item number."""
    width = len(str(n_items - 1))
    return [f"i{item:0{width}d}" for item in items]


def _from_table(
    items: NDArray[np.int64],
    times: NDArray[np.int64],
    n_items: int,
    name: str,
    types: NDArray[np.str_] | None = None,
) -> Dataset:
    """Return the dataset of equally long histories; all arguments (n_users, n_events)."""
    columns = [[_names(row, n_items) for row in items], times.tolist()]
    if types is not None:
        columns.append(types.tolist())
    histories = [list(zip(*history, strict=True)) for history in zip(*columns, strict=True)]
    return make_dataset(histories, extra_items=_names(np.arange(n_items), n_items), name=name)


def _steady_times(n_users: int, n_events: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return times a minute apart from a random start: one session, no information, (n_users, n_events)."""
    return EPOCH + generator.integers(DAY, size=(n_users, 1)) + MINUTE * np.arange(n_events)


def _cycle(n_items: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the successor of each item on one random cycle through all items."""
    order = generator.permutation(n_items)
    successor = np.empty(n_items, dtype=np.int64)
    successor[order] = np.roll(order, -1)
    return successor


def _two_successors(second: NDArray[np.int64], n_items: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return items where `second` (n_users, n_events) at a step chooses between two successors for the next step."""
    if n_items < 3:
        raise ConfigError(f"`n_items >= 3` must hold, but got {n_items=}.")
    successor = _cycle(n_items, generator)
    successors = np.stack([successor, successor[successor]])
    items = np.empty_like(second)
    items[:, 0] = generator.integers(n_items, size=len(items))
    for step in range(1, items.shape[1]):
        items[:, step] = successors[second[:, step - 1], items[:, step - 1]]
    return items
