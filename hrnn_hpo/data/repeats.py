"""Repeats in a log: how many there are, and which items a user has had before an event, how often, how long ago.

What the model makes of a user's own items is model's work.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.featurize import gap_bucket
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import expand_ranges

RARE_REPEATS = 0.01
OWN_EVENTS = 1_000  # an item counts as a user's own until so many events after its last one: bounds work and memory
BLOCK_EVENTS = 4_000_000  # bounds the memory of counting
BLOCK_ENTRIES = 32_768


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
class Occurrences:
    """For each event of a log: when the same user has its item again, had it before, and how often."""

    next_rows: NDArray[np.int64]  # (N,) row of the user's next event with the same item; the user's stop if none
    since: NDArray[np.int32]  # (N,) events since the user's last one with the same item; 0 if none
    counts: NDArray[np.int32]  # (N,) the user's events with the item up to this one: 1 for the first


def repeat_share(dataset: Dataset) -> float:
    """Return the share of events whose item occurred earlier in the same user's history; 0 for an empty log."""
    n_distinct, first_user = 0, 0
    while first_user < dataset.n_users:
        first_event = int(dataset.user_offsets[first_user])
        last_user = int(np.searchsorted(dataset.user_offsets, first_event + BLOCK_EVENTS, side="right")) - 1
        last_user = max(last_user, first_user + 1)  # one past the block; a huge history is a block of its own
        offsets = np.asarray(dataset.user_offsets[first_user : last_user + 1])
        users = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
        n_distinct += len(np.unique(users * dataset.n_items + dataset.items[offsets[0] : offsets[-1]]))
        first_user = last_user
    return (dataset.n_events - n_distinct) / max(dataset.n_events, 1)


def repeats_are_rare(dataset: Dataset) -> bool:
    """Return whether fewer than 1 % of the events repeat an earlier item of the same user."""
    return repeat_share(dataset) < RARE_REPEATS


def occurrences(dataset: Dataset) -> Occurrences:
    """Return where each event's item comes again and how often it came, in one sort of the log."""
    users = dataset.event_users
    order, first = _by_owner_and_item(users.astype(np.int64), dataset.items)
    next_rows = np.asarray(dataset.user_offsets)[1:][users]
    follows = np.flatnonzero(~first)
    next_rows[order[follows - 1]] = order[follows]
    since = np.zeros(len(order), dtype=np.int32)
    since[order[follows]] = order[follows] - order[follows - 1]
    places = np.arange(len(order))
    counts = np.empty(len(order), dtype=np.int32)
    counts[order] = 1 + places - np.maximum.accumulate(np.where(first, places, 0))
    return Occurrences(next_rows, since, counts)


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
    dataset: Dataset, known: Occurrences, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[OwnItems, NDArray[np.int64]]:
    """Return the own items before each event of a window that repeats one, and which entry that is, (R,).

    The window is the events `starts : starts + lengths` of B users by descending length; rows count them step by step,
    the users of a step in order, as `pack` does. Of the N rows the R whose item is one of the own items have entries.
    """
    steps, lanes = np.nonzero(np.arange(lengths[0])[:, None] < lengths)  # (N,) each
    since = known.since[starts[lanes] + steps]
    rows = np.flatnonzero((since > 0) & (since <= OWN_EVENTS))  # (R,)
    steps, lanes = steps[rows], lanes[rows]
    targets = starts[lanes] + steps

    # Each lane's candidates, in order of time: what is its item's newest event before the window, then the window.
    offsets = np.asarray(dataset.user_offsets)
    begins = np.maximum(offsets[np.searchsorted(offsets, starts, side="right") - 1], starts - OWN_EVENTS)
    candidate_lanes, candidates = expand_ranges(begins, starts + lengths)
    older = candidates < starts[candidate_lanes]
    kept = ~older | (known.next_rows[candidates] >= starts[candidate_lanes])
    candidate_lanes, candidates, older = candidate_lanes[kept], candidates[kept], older[kept]
    firsts = np.searchsorted(candidate_lanes, lanes)
    n_candidates = np.bincount(candidate_lanes[older], minlength=len(starts))[lanes] + steps

    # A row's entries: its lane's candidates so far that are still their item's newest, and new enough. There is one for
    # every target and own item, so rows are taken in blocks that fit the cache: half the time.
    items, counts = np.asarray(dataset.items)[candidates].astype(np.int64), known.counts[candidates]
    times, now = np.asarray(dataset.timestamps)[candidates], np.asarray(dataset.timestamps)[targets - 1]
    next_rows, n_until = known.next_rows[candidates], np.cumsum(n_candidates)
    blocks, hits, n_entries = [], [], 0
    for block in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(n_until // BLOCK_ENTRIES)) + 1):
        n = n_candidates[block]
        owners = np.repeat(block, n)
        places = np.arange(len(owners)) + np.repeat(firsts[block] - (np.cumsum(n) - n), n)
        of_owner = targets.take(owners)
        until = next_rows.take(places) - of_owner
        own = np.flatnonzero((until >= 0) & (of_owner - candidates.take(places) <= OWN_EVENTS))
        owners, places = owners.take(own), places.take(own)
        gaps = now.take(owners) - times.take(places)
        blocks.append((rows.take(owners), items.take(places), counts.take(places), gap_bucket(gaps)))
        hits.append(n_entries + np.flatnonzero(until.take(own) == 0))
        n_entries += len(owners)
    return OwnItems(*(np.concatenate(parts) for parts in zip(*blocks, strict=True))), np.concatenate(hits)


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
