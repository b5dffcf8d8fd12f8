"""Small made-up logs for tests and benchmarks: histories that are written out, and a chain with a known answer.

Nothing here resembles a real log; a large one comes from simulate.
"""

import csv
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data import (
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
)
from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.schema import Dataset

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
    successor = cycle(n_items, generator)
    items = np.empty((n_users, n_events), dtype=np.int64)
    items[:, 0] = generator.integers(n_items, size=n_users)
    follows = generator.random((n_users, n_events)) < strength
    drawn = generator.integers(n_items, size=(n_users, n_events))
    for step in range(1, n_events):
        items[:, step] = np.where(follows[:, step], successor[items[:, step - 1]], drawn[:, step])
    return from_table(items, steady_times(n_users, n_events, generator), n_items, "markov")


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


def item_names(items: NDArray[np.int64], n_items: int) -> list[str]:
    """Return names that sort like the numbers, so that item code = item number."""
    width = len(str(n_items - 1))
    return [f"i{item:0{width}d}" for item in items]


def from_table(
    items: NDArray[np.int64],
    times: NDArray[np.int64],
    n_items: int,
    name: str,
    *,
    types: NDArray[np.str_] | None = None,
    values: NDArray[np.float64] | None = None,
    sessions: NDArray[np.str_] | None = None,
) -> Dataset:
    """Return the dataset of equally long histories over items 0 … n_items - 1; all tables (n_users, n_events)."""
    empty = np.full(items.shape, None)
    columns = [[item_names(row, n_items) for row in items], times.tolist()]
    columns += [(empty if table is None else table).tolist() for table in (types, values, sessions)]
    histories = [list(zip(*history, strict=True)) for history in zip(*columns, strict=True)]
    return make_dataset(histories, extra_items=item_names(np.arange(n_items), n_items), name=name)


def steady_times(n_users: int, n_events: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return times a minute apart from a random start: one session, no information, (n_users, n_events)."""
    return EPOCH + generator.integers(DAY, size=(n_users, 1)) + MINUTE * np.arange(n_events)


def cycle(n_items: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the successor of each item on one random cycle through all items."""
    order = generator.permutation(n_items)
    successor = np.empty(n_items, dtype=np.int64)
    successor[order] = np.roll(order, -1)
    return successor
