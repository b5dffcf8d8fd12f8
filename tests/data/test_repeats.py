"""Repeats of a log: their share, and what a user had before an event, against literal counting."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import inputs_of
from strategies import baskets, dataset_of, datasets

from hrnn_hpo.data import blocks, repeats
from hrnn_hpo.data.featurize import gap_bucket
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import expand_ranges
from hrnn_hpo.model.inputs import pack


@given(datasets(), st.sampled_from([1, 3, 7, 1000]))
def test_repeats_are_counted_alike_in_blocks(dataset: Dataset, block: int) -> None:
    histories = np.split(dataset.items, dataset.user_offsets[1:-1])
    n_repeats = sum(len(items) - len(set(items.tolist())) for items in histories)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "EVENTS_AT_ONCE", block)
        assert repeats.repeat_share(dataset) == n_repeats / dataset.n_events


@given(datasets(), st.sampled_from([1, 3, 7, 1000]), st.sampled_from([1, 30, 10**6]))
def test_baskets_are_told_as_a_literal_count_tells_them(dataset: Dataset, block: int, gap: int) -> None:
    sessions: list[list[int]] = []
    for items, times in zip(
        np.split(dataset.items, dataset.user_offsets[1:-1]),
        np.split(dataset.timestamps, dataset.user_offsets[1:-1]),
        strict=True,
    ):
        previous = None
        for item, time in zip(items.tolist(), times.tolist(), strict=True):
            if previous is None or time - previous >= gap:
                sessions.append([])
            sessions[-1].append(item)
            previous = time
    n_inside = sum(len(items) - len(set(items)) for items in sessions)
    n_repeats = repeats.repeat_share(dataset) * dataset.n_events
    size = dataset.n_events / max(len(sessions), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "EVENTS_AT_ONCE", block)
        found = repeats.basket_size(replace(dataset, session_ids=None), gap)
    assert found == (size if size >= 2 and n_repeats and n_inside <= 0.05 * n_repeats else None)


def test_a_log_of_baskets_by_hand() -> None:
    assert repeats.basket_size(baskets(size=5), 1800) == 5
    assert repeats.basket_size(baskets(size=1), 1800) is None  # single events are no baskets
    assert repeats.basket_size(baskets(size=5), 10**6) is None  # read as one long session, in which items come again
    names = np.zeros(baskets(size=5).n_events, dtype=np.int32)
    assert repeats.basket_size(replace(baskets(size=5), session_ids=names), 10**6) is None
    named = replace(baskets(size=5), session_ids=np.arange(len(names), dtype=np.int32) // 5)
    assert repeats.basket_size(named, 10**6) == 5  # a change of SESSION_ID ends a basket, too


def literal_own_items(dataset: Dataset, begin: int, stop: int) -> dict[int, tuple[int, int]]:
    """Return {item: (count, gap bucket)} of the items in the last OWN_EVENTS of the events `begin : stop`."""
    own: dict[int, tuple[int, int]] = {}
    for event in range(begin, stop):
        item = int(dataset.items[event])
        gap = int(dataset.timestamps[stop - 1] - dataset.timestamps[event])
        own[item] = (own.get(item, (0, 0))[0] + 1, int(gap_bucket(gap)))
    recent = set(dataset.items[max(begin, stop - repeats.OWN_EVENTS) : stop].tolist())
    return {item: found for item, found in own.items() if item in recent}


def by_row(own: repeats.OwnItems) -> dict[int, dict[int, tuple[int, int]]]:
    found: dict[int, dict[int, tuple[int, int]]] = {}
    for row, item, count, bucket in zip(own.rows, own.items, own.counts, own.gap_buckets, strict=True):
        assert int(item) not in found.setdefault(int(row), {}), "an item stands once"
        found[int(row)][int(item)] = (int(count), int(bucket))
    assert (np.diff(own.rows) >= 0).all()
    return found


window_lengths = st.sampled_from([1, 4, 1000])  # OWN_EVENTS


@given(datasets(min_events=1), st.data(), window_lengths)
def test_own_items_after_some_events_are_counted_and_dated(
    dataset: Dataset, data: st.DataObject, own_events: int
) -> None:
    starts = np.asarray(dataset.user_offsets)[:-1]
    stops = starts + np.array([data.draw(st.integers(0, int(length))) for length in dataset.history_lengths])
    owners, events = expand_ranges(starts, stops)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "OWN_EVENTS", own_events)
        own = repeats.own_items_after(owners, dataset.items[events], dataset.timestamps[events])
        expected = {row: literal_own_items(dataset, *pair) for row, pair in enumerate(zip(starts, stops, strict=True))}
    assert by_row(own) == {row: items for row, items in expected.items() if items}


@given(datasets(max_events=20, max_items=8), st.data(), st.sampled_from([1, 5, 1000]), window_lengths)
def test_own_items_before_a_windows_repeats(dataset: Dataset, data: st.DataObject, block: int, own_events: int) -> None:
    """Of the window's own events, or of later ones of the same users that its rows learn."""
    starts, stops = np.asarray(dataset.user_offsets)[:-1], np.asarray(dataset.user_offsets)[1:]
    begins = starts + np.array([data.draw(st.integers(0, int(n) - 1)) for n in stops - starts])
    lengths = np.array([data.draw(st.integers(1, int(n))) for n in stops - begins])
    order = np.argsort(-lengths, kind="stable")
    begins, lengths, starts = begins[order], lengths[order], starts[order]
    _, rows = pack(inputs_of(dataset), begins, lengths, torch.device("cpu"))
    firsts = {int(row): int(starts[np.flatnonzero((begins <= row) & (row < begins + lengths))[0]]) for row in rows}
    learned = None
    if data.draw(st.booleans()):
        left = stops[np.searchsorted(stops, rows, side="right")] - 1 - rows
        learned = rows + np.array([data.draw(st.integers(0, int(n))) for n in left], dtype=np.int64)
    found: dict[int, tuple[list[tuple[int, int]], tuple[int, int]]] = {}  # row -> its entries, and the target's
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "BLOCK_ENTRIES", block)
        patch.setattr(repeats, "OWN_EVENTS", own_events)
        for part in repeats.own_items_before_repeats(dataset, repeats.occurrences(dataset), begins, lengths, learned):
            entries = list(zip(part.counts.tolist(), part.gap_buckets.tolist(), strict=True))
            assert part.owners[part.targets].tolist() == list(range(len(part.rows)))
            for place, row in enumerate(part.rows.tolist()):
                assert row not in found
                own = [entry for entry, owner in zip(entries, part.owners, strict=True) if owner == place]
                found[row] = sorted(own), entries[part.targets[place]]
        expected = {}
        for row, event in enumerate(rows):
            own_items = literal_own_items(dataset, firsts[int(event)], int(event))
            item = int(dataset.items[event if learned is None else learned[row]])
            if item in own_items:
                expected[row] = sorted(own_items.values()), own_items[item]
    assert found == expected


def test_occurrences_by_hand() -> None:
    dataset = dataset_of([[0, 1, 0, 0], [1], [0, 1, 1]])
    for block in (1, 2, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks, "EVENTS_AT_ONCE", block)
            found = repeats.occurrences(dataset)
        assert found.since.tolist() == [0, 0, 2, 1, 0, 0, 0, 1]
        assert found.counts.tolist() == [1, 1, 2, 3, 1, 1, 1, 2]
        assert found.until[[0, 2, 6]].tolist() == [2, 1, 1]
        left = [3, 2, 1, 0, 0, 2, 1, 0]  # events that the user has after each
        assert all(found.until[event] > left[event] for event in (1, 3, 4, 5, 7))
