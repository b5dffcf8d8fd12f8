"""The filters that every notebook begins with, on encoded events: types, values, times, a part of the users, minima.

What is left equals what reading a file with these events alone would give, down to the content hash.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.keeping.arrays import ArrayStore
from hrnn_hpo.data.reading.encode import Encoded
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import DataError
from hrnn_hpo.settings import nearest

_CHUNK = 2_000_000


def select(encoded: Encoded, options: ReadOptions, store: ArrayStore) -> tuple[Encoded, dict[str, int]]:
    """Return the events that pass all filters, and how many each filter left out; the new arrays go to `store`.

    Filters work in the order of ReadOptions. Users without events leave; items without events leave unless an items
    table names them, and with `min_item_events` all items that have fewer. Raises DataError when nothing is left, when
    a type is asked for that the log has not, or when the column of a filter is missing.
    """
    dataset = encoded.dataset
    keep = np.ones(dataset.n_events, dtype=np.bool_)
    filtered: dict[str, int] = {}
    users = dataset.event_users

    def apply(name: str, passes: NDArray[np.bool_]) -> None:
        before = int(keep.sum())
        np.logical_and(keep, passes, out=keep)
        filtered[name] = before - int(keep.sum())
        if not keep.any():
            raise DataError(
                f"{dataset.name}: no event is left: {name} left out the last {filtered[name]:,} of "
                f"{dataset.n_events:,} events."
            )

    if options.event_types is not None:
        apply("event_types", _of_types(dataset, options.event_types))
    if options.min_event_value is not None:
        if dataset.event_values is None:
            raise DataError(f"{dataset.name}: min_event_value needs EVENT_VALUE, but the log has none.")
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which no value reaches
            least = np.float32(options.min_event_value)
        apply("min_event_value", np.asarray(dataset.event_values) >= least)
    if options.from_time is not None:
        apply("from_time", np.asarray(dataset.timestamps) >= options.from_time)
    if options.until_time is not None:
        apply("until_time", np.asarray(dataset.timestamps) < options.until_time)
    if options.sample_users is not None:
        present = np.bincount(users[keep], minlength=dataset.n_users) > 0
        apply("sample_users", _sampled(dataset.user_ids, present, options.sample_users)[users])
    if options.min_user_events is not None or options.min_item_events is not None:
        _apply_minima(dataset, users, keep, options, apply, filtered)
    return _taken(encoded, keep, users, options.min_item_events is not None, store), filtered


def _of_types(dataset: Dataset, wanted: tuple[str, ...]) -> NDArray[np.bool_]:
    if dataset.event_types is None:
        raise DataError(f"{dataset.name}: event_types needs EVENT_TYPE, but the log has none.")
    known = list(dataset.event_type_names)
    for name in wanted:
        if name not in known:
            hint = nearest(name, known) or f"; it has {', '.join(known[:20])}."
            raise DataError(f"{dataset.name}: {name!r} is no event type of the log{hint}")
    codes = np.array([known.index(name) for name in wanted])
    return np.isin(dataset.event_types, codes)


def _sampled(user_ids: NDArray[np.str_], present: NDArray[np.bool_], part: float) -> NDArray[np.bool_]:
    """Return who is drawn: the users with the smallest hashes of their ids, so that parts lie inside larger parts."""
    there = np.flatnonzero(present)
    hashes = np.empty(len(there), dtype=np.uint64)
    for start in range(0, len(there), 100_000):
        for place, text in enumerate(np.asarray(user_ids[there[start : start + 100_000]]).tolist(), start):
            digest = hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
            hashes[place] = int.from_bytes(digest[:8], "big")
    n_drawn = max(1, round(part * len(there)))
    drawn = np.zeros(len(user_ids), dtype=np.bool_)
    drawn[there[np.argsort(hashes, kind="stable")[:n_drawn]]] = True
    return drawn


def _apply_minima(
    dataset: Dataset,
    users: NDArray[np.int32],
    keep: NDArray[np.bool_],
    options: ReadOptions,
    apply: Callable[[str, NDArray[np.bool_]], None],
    filtered: dict[str, int],
) -> None:
    """Apply both minima in turn until both hold."""
    items = np.asarray(dataset.items)
    sides = [("min_item_events", items, dataset.n_items), ("min_user_events", users, dataset.n_users)]
    total = {name: 0 for name, _, _ in sides if getattr(options, name) is not None}
    changed = True
    while changed:
        changed = False
        for name, codes, n_codes in sides:
            if name in total:
                enough = np.bincount(codes[keep], minlength=n_codes) >= getattr(options, name)
                apply(name, enough[codes])
                total[name] += filtered[name]
                changed |= filtered[name] > 0
    filtered.update(total)


def _taken(
    encoded: Encoded, keep: NDArray[np.bool_], users: NDArray[np.int32], used_items_only: bool, store: ArrayStore
) -> Encoded:
    dataset = encoded.dataset
    lengths = np.bincount(users[keep], minlength=dataset.n_users)
    with_events = np.flatnonzero(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths[with_events])]).astype(np.int64)
    used = np.bincount(np.asarray(dataset.items)[keep], minlength=dataset.n_items) > 0
    known = used if used_items_only else used | encoded.listed_items
    item_code = _new_codes(known)
    changed: dict[str, Any] = {
        "user_offsets": store.put("user_offsets", [offsets]),
        "user_ids": store.put("user_ids", [_trimmed(dataset.user_ids[with_events])]),
        "item_ids": store.put("item_ids", [_trimmed(dataset.item_ids[np.flatnonzero(known)])]),
        "items": store.put("items", _pieces(dataset.items, keep, lambda codes: item_code[codes])),
        "timestamps": store.put("timestamps", _pieces(dataset.timestamps, keep)),
    }
    for field in ("event_types", "session_ids"):
        codes = getattr(dataset, field)
        if codes is None:
            continue
        used_codes = np.unique(np.asarray(codes)[keep])
        used_codes = used_codes[used_codes >= 0]
        if field == "event_types":
            changed["event_type_names"] = tuple(dataset.event_type_names[code] for code in used_codes)
        if not len(used_codes):
            changed[field] = None
            continue

        def renumbered(piece: NDArray[Any], used_codes: NDArray[Any] = used_codes) -> NDArray[Any]:
            return np.where(piece < 0, -1, np.searchsorted(used_codes, piece)).astype(np.int32)

        changed[field] = store.put(field, _pieces(codes, keep, renumbered))
    if dataset.event_values is not None:
        if np.isnan(np.asarray(dataset.event_values)[keep]).all():
            changed["event_values"] = None
        else:
            changed["event_values"] = store.put("event_values", _pieces(dataset.event_values, keep))
    return Encoded(dataclasses.replace(dataset, **changed), encoded.listed_items[known])


def _new_codes(known: NDArray[np.bool_]) -> NDArray[np.int32]:
    codes: NDArray[np.int32] = (np.cumsum(known) - 1).astype(np.int32)
    return codes


def _trimmed(texts: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return texts in an array no wider than the longest."""
    width = int(np.strings.str_len(texts).max()) if len(texts) else 1
    return np.asarray(texts, dtype=f"<U{max(width, 1)}")


def _pieces(
    values: NDArray[Any], keep: NDArray[np.bool_], change: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> Iterator[NDArray[Any]]:
    for start in range(0, max(len(values), 1), _CHUNK):
        piece = np.asarray(values[start : start + _CHUNK])[keep[start : start + _CHUNK]]
        yield piece if change is None else change(piece)
