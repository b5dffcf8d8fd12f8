"""A log in pieces gives the features of the whole, and large arrays lie in files without a name."""

import errno
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrnn_hpo.data import blocks
from hrnn_hpo.data.blocks import pairs_of_events, training_rows, zeros
from hrnn_hpo.data.featurize import event_features, item_counts, log_popularity, recency_weights, value_scale
from hrnn_hpo.data.requests import requests_of_events
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart, make_split
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.evaluation.untrained.popular import popularity, recent_popularity

DAY = 86_400


def test_pieces_overlap_by_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "EVENTS_AT_ONCE", 2)
    assert [(part.start, part.stop) for part in pairs_of_events(6)] == [(0, 3), (2, 5), (4, 6)]
    assert [(part.start, part.stop) for part in pairs_of_events(3)] == [(0, 3)]
    assert list(pairs_of_events(1)) == list(pairs_of_events(0)) == []


@pytest.fixture
def log() -> Dataset:
    histories = [3, 1, 5, 2, 4]
    return make_dataset(
        [
            [
                (f"i{(user + step) % 4}", DAY * step * step + 100 * user, "view", float(step), f"s{step // 2}")
                for step in range(length)
            ]
            for user, length in enumerate(histories)
        ]
    )


def test_training_rows_are_whole_users(log: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "EVENTS_AT_ONCE", 3)
    train = TrainPart(np.array([0, 2, 3, 4]), np.array([2, 9, 9, 13]))  # 2, 5, 0 and 2 targets
    assert [rows.tolist() for rows in training_rows(log, train)] == [[0, 1], [4, 5, 6, 7, 8], [11, 12]]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=8), st.integers(1, 9), st.integers(0, 10_000))
def test_features_in_pieces_are_those_of_the_whole(lengths: list[int], at_once: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    log = make_dataset(
        [
            [
                (
                    f"i{generator.integers(4)}",
                    int(time),
                    "view",
                    float(generator.integers(5)),
                    f"s{generator.integers(2)}",
                )
                for time in np.cumsum(generator.choice([0, 10, 4000, DAY], length))
            ]
            for length in lengths
        ]
    )
    starts = np.asarray(log.user_offsets)[:-1]
    stops = starts + generator.integers(0, np.array(lengths), endpoint=True)
    train = TrainPart(np.arange(len(lengths)), stops)

    def found() -> list[np.ndarray]:
        features, scale = event_features(log, 1800), value_scale(log, train)
        return [
            features.control,
            features.gap_buckets,
            np.array([scale.mean, scale.deviation, scale.limit]),
            recency_weights(log, train, 10.0),
            log_popularity(log, train, None),
            log_popularity(log, train, 1.0),
            item_counts(log, train),
            requests_of_events(log, features).clock,
        ]

    whole = found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "EVENTS_AT_ONCE", at_once)
        for ours, expected in zip(found(), whole, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-6)


def peak_bytes(work: Callable[[], object]) -> int:
    work()  # imports are not counted
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_what_is_counted_of_each_event_takes_a_few_bytes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "EVENTS_AT_ONCE", 5_000)
    n_users, n_each = 400, 1_000
    rng = np.random.default_rng(0)
    n_events = n_users * n_each
    log = Dataset(
        user_offsets=np.arange(n_users + 1, dtype=np.int64) * n_each,
        items=rng.integers(0, 100, n_events).astype(np.int32),
        timestamps=np.sort(rng.integers(0, 10**6, (n_users, n_each)), axis=1).ravel(),
        user_ids=np.array([f"u{user:03d}" for user in range(n_users)]),
        item_ids=np.array([f"i{item:02d}" for item in range(100)]),
        content_hash="0" * 64,
    )
    train = TrainPart(np.arange(n_users), log.user_offsets[1:])
    features = event_features(log, 1800)
    assert peak_bytes(lambda: popularity(log, train)) < 2 * n_events
    assert peak_bytes(lambda: recent_popularity(log, train)) < 2 * n_events
    assert peak_bytes(lambda: requests_of_events(log, features)) < 3 * n_events
    assert peak_bytes(lambda: make_split(log, "temporal", 0)) < 12 * n_events


def test_many_zeros_lie_in_a_file_that_nobody_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(blocks, "EVENTS_AT_ONCE", 1000)
    few, many = zeros(1000, np.int32), zeros(1001, np.int32)
    assert few.base is None
    assert isinstance(many.base, np.memmap)
    assert type(many) is np.ndarray
    many[:] = np.arange(1001)
    assert many[[3, 1000]].tolist() == [3, 1000]
    assert not few.any()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_without_room_on_disk_they_are_in_memory(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(blocks, "EVENTS_AT_ONCE", 10)

    def refuses(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuses)
    found = zeros(11, np.float32)
    assert found.base is None
    assert found.tolist() == [0.0] * 11
