"""Repeats in a log: how many there are, whether they make it a log of baskets, and which items a user has had before
an event, how often, how long ago.

What the model makes of a user's own items is model's work.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.blocks import blocks_of_users, zeros
from hrnn_hpo.data.featurize import gap_bucket
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.sessions import session_starts
from hrnn_hpo.data.splits import expand_ranges

RARE_REPEATS = 0.01
LEAST_BASKET = 2.0  # events a session in the mean
INSIDE_BASKETS = 0.05  # of all repeats, the most that may repeat an item of their own session
OWN_EVENTS = 1_000  # an item counts as a user's own until so many events after its last one: bounds work and memory
BLOCK_ENTRIES = 32_768  # of a RepeatBlock, where one row does not have more: what stays in the cache


@dataclass(frozen=True)
class OwnItems:
    """The distinct items of some users' last OWN_EVENTS events: P entries, those of a row side by side, rows ascending.

    Counts are of the whole history.
    """

    rows: NDArray[np.int64]  # (P,) whose past, in [0, n_rows)
    items: NDArray[np.int64]  # (P,) item codes
    counts: NDArray[np.integer]  # (P,) the user's events with the item
    gap_buckets: NDArray[np.uint8]  # (P,) `gap_bucket` of the time from the item's last event to the user's last one


@dataclass(frozen=True)
class RepeatBlock:
    """Some events that repeat one of their user's own items, and the own items before each: R rows, P entries."""

    rows: NDArray[np.int64]  # (R,) the events, as rows of their window
    targets: NDArray[np.int64]  # (R,) which entry is the event's own item
    owners: NDArray[np.int64]  # (P,) the row of each entry, in [0, R), ascending
    counts: NDArray[np.int32]  # (P,)
    gap_buckets: NDArray[np.uint8]  # (P,)


@dataclass(frozen=True)
class Occurrences:
    """For each event of a log: when the same user has its item again, had it before, and how often."""

    until: NDArray[np.int32]  # (N,) events until the user's next one with the same item; past the history's end if none
    since: NDArray[np.int32]  # (N,) events since the user's last one with the same item; 0 if none
    counts: NDArray[np.int32]  # (N,) the user's events with the item up to this one: 1 for the first


def repeat_share(dataset: Dataset) -> float:
    """Return the share of events whose item occurred earlier in the same user's history; 0 for an empty log."""
    n_distinct = 0
    for users, events in blocks_of_users(dataset):
        n_distinct += _n_distinct(users * dataset.n_items + dataset.items[events])
    return (dataset.n_events - n_distinct) / max(dataset.n_events, 1)


def repeats_are_rare(dataset: Dataset, share: float | None = None) -> bool:
    """Return whether fewer than 1 % of the events repeat an earlier item of the same user.

    `share` is the log's `repeat_share`, where the caller has it.
    """
    return (repeat_share(dataset) if share is None else share) < RARE_REPEATS


def basket_size(dataset: Dataset, session_gap: int, share: float | None = None) -> float | None:
    """Return the mean number of events a session where sessions are baskets, else None.

    In baskets users have items again, but not twice in one: repeats are not rare, and hardly any is of an item of its
    own session. Sessions that mostly hold a single event are no baskets. `share` is the log's `repeat_share`, where the
    caller has it. Raises ConfigError for a gap below 1 second.
    """
    n_repeats = round((repeat_share(dataset) if share is None else share) * dataset.n_events)
    if n_repeats < RARE_REPEATS * dataset.n_events or dataset.n_events == 0:
        return None
    opens = session_starts(dataset, session_gap)
    size = dataset.n_events / int(opens.sum())
    n_inside = 0
    for _, events in blocks_of_users(dataset):
        sessions = np.cumsum(opens[events])
        n_inside += len(sessions) - _n_distinct(sessions * dataset.n_items + dataset.items[events])
    return size if size >= LEAST_BASKET and n_inside <= INSIDE_BASKETS * n_repeats else None


def occurrences(dataset: Dataset) -> Occurrences:
    """Return where each event's item comes again and came before, 12 bytes an event, on disk where these are many."""
    until, since, counts = (zeros(dataset.n_events, np.int32) for _ in range(3))
    for users, events in blocks_of_users(dataset):
        order, first = _by_owner_and_item(users, dataset.items[events])
        follows = np.flatnonzero(~first)
        steps = order[follows] - order[follows - 1]
        since[events][order[follows]] = steps
        own_until = until[events]
        own_until[:] = len(users)  # beyond every history of the block
        own_until[order[follows - 1]] = steps
        places = np.arange(len(order))
        counts[events][order] = 1 + places - np.maximum.accumulate(np.where(first, places, 0))
    return Occurrences(until, since, counts)


def own_items_after(owners: NDArray[np.int64], items: NDArray[np.integer], timestamps: NDArray[np.int64]) -> OwnItems:
    """Return the own items after some rows' events, (n,) each: row `owners[i]`, ascending, had `items[i]` then.

    A row's events are in order of time.
    """
    order, first = _by_owner_and_item(owners, items)
    begins = np.flatnonzero(first)
    ends = np.append(begins[1:], len(order))[: len(begins)]
    newest, counts = order[ends - 1], ends - begins
    last = np.searchsorted(owners, owners[newest], side="right") - 1  # the row's last event
    kept = last - newest < OWN_EVENTS
    newest, counts, last = newest[kept], counts[kept], last[kept]
    return OwnItems(
        rows=owners[newest],
        items=np.asarray(items[newest], dtype=np.int64),
        counts=counts,
        gap_buckets=gap_bucket(timestamps[last] - timestamps[newest]),
    )


def own_items_before_repeats(
    dataset: Dataset,
    known: Occurrences,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    targets: NDArray[np.int64] | None = None,
) -> Iterator[RepeatBlock]:
    """Yield the own items before each event of a window whose target is one of them, a few rows at a time.

    The window is the events `starts : starts + lengths` of B users by descending length; rows count them step by step,
    the users of a step in order, as `pack` does. The target of a row is its event's item, or with `targets` (N,) that
    of a later event of the user. A row has as many entries as its user has own items, so the blocks are as small as the
    cache wants them.
    """
    steps, lanes = np.nonzero(np.arange(lengths[0])[:, None] < lengths)  # (N,) each
    since = _events_since(known, starts[lanes] + steps, targets)
    rows = np.flatnonzero((since > 0) & (since <= OWN_EVENTS))
    steps, lanes, since = steps[rows], lanes[rows], since[rows]
    events = starts[lanes] + steps

    # Each lane's candidates, in order of time: what is its item's newest event before the window, then the window.
    offsets = np.asarray(dataset.user_offsets)
    begins = np.maximum(offsets[np.searchsorted(offsets, starts, side="right") - 1], starts - OWN_EVENTS)
    candidate_lanes, candidates = expand_ranges(begins, starts + lengths)
    older = candidates < starts[candidate_lanes]
    kept = ~older | (candidates + known.until[candidates] >= starts[candidate_lanes])
    candidate_lanes, candidates, older = candidate_lanes[kept], candidates[kept], older[kept]
    firsts = np.searchsorted(candidate_lanes, lanes)
    n_candidates = np.bincount(candidate_lanes[older], minlength=len(starts))[lanes] + steps

    counts, until = known.counts[candidates], known.until[candidates]
    times, now = np.asarray(dataset.timestamps)[candidates], np.asarray(dataset.timestamps)[events - 1]
    borders = np.flatnonzero(np.diff(np.cumsum(n_candidates) // BLOCK_ENTRIES)) + 1
    for block in np.split(np.arange(len(rows)), borders) if len(rows) else ():
        n = n_candidates[block]
        owners = np.repeat(np.arange(len(block)), n)
        places = np.arange(len(owners)) + np.repeat(firsts[block] - (np.cumsum(n) - n), n)
        ago = events[block].take(owners) - candidates.take(places)
        comes_again = until.take(places)
        own = np.flatnonzero((comes_again >= ago) & (ago <= OWN_EVENTS))
        owners, places = owners.take(own), places.take(own)
        yield RepeatBlock(
            rows=rows[block],
            targets=np.flatnonzero(since[block].take(owners) == ago.take(own)),
            owners=owners,
            counts=counts.take(places),
            gap_buckets=gap_bucket(now[block].take(owners) - times.take(places)),
        )


def _events_since(
    known: Occurrences, events: NDArray[np.int64], targets: NDArray[np.int64] | None
) -> NDArray[np.integer]:
    """Return how many events before each event the user had its target's item last, (N,); 0: not before it."""
    if targets is None:
        return known.since[events]
    # From the target back by its item's earlier events, until one is older than the row's own event.
    last, found = targets.copy(), np.ones(len(targets), dtype=np.bool_)
    while len(later := np.flatnonzero(found & (last >= events))):
        back = known.since[last[later]]
        found[later] = back > 0
        last[later] -= back
    return np.where(found, events - last, 0)


def _n_distinct(keys: NDArray[np.int64]) -> int:
    """Return how many distinct keys there are, and leave them in order.

    np.unique hashes, which takes some ninety times as long for keys that are nearly in order and nearly all distinct.
    """
    keys.sort()
    return min(len(keys), 1) + int(np.count_nonzero(keys[1:] != keys[:-1]))


def _by_owner_and_item(
    owners: NDArray[np.int64], items: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the order that puts the events of an (owner, item) side by side, oldest first, and where each begins."""
    keys = owners * (int(items.max(initial=0)) + 1) + items
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.ones(len(keys), dtype=np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    return order, first
