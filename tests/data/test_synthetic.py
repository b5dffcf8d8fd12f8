"""Made-up logs are encoded as ingest would encode them, and the chain follows its successors."""

from pathlib import Path

import numpy as np
import pytest

from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import make_dataset, markov, write_csv


def table_of(dataset: Dataset) -> np.ndarray:
    """Return the items of equally long histories, (U, n)."""
    return np.asarray(dataset.items).reshape(dataset.n_users, -1)


def test_make_dataset_encodes_written_out_histories() -> None:
    dataset = make_dataset([[("b", 5), ("a", 3)], [(7, 1, "buy", 2.0, "s")]], extra_items=["z"])
    assert dataset.user_ids.tolist() == ["u0", "u1"]
    assert dataset.item_ids.tolist() == ["7", "a", "b", "z"]
    assert dataset.items.tolist() == [1, 2, 0]
    assert dataset.timestamps.tolist() == [3, 5, 1]
    assert dataset.event_type_names == ("buy",)
    assert dataset.event_types is not None
    assert dataset.session_ids is not None
    assert dataset.event_types.tolist() == dataset.session_ids.tolist() == [-1, -1, 0]
    np.testing.assert_array_equal(dataset.event_values, np.array([np.nan, np.nan, 2.0], dtype=np.float32))


def test_make_dataset_keeps_the_users_places() -> None:
    dataset = make_dataset([[("a", user)] for user in range(12)])
    assert dataset.timestamps.tolist() == list(range(12))
    assert dataset.user_ids[:3].tolist() == ["u00", "u01", "u02"]


def test_a_seed_fixes_the_log_and_another_changes_it() -> None:
    assert markov(seed=1).content_hash == markov(seed=1).content_hash != markov(seed=2).content_hash


def test_a_written_log_reads_back_to_the_same_content(tmp_path: Path) -> None:
    histories = [[("a", 1, "buy", 2.0, "s0"), ("b", 2, None, None, "s0"), ("a", 3, "view", 0.5, None)], [("b", 2)]]
    for number, dataset in enumerate([markov(n_users=30), make_dataset(histories, extra_items=["z"])]):
        written = write_csv(dataset, tmp_path / str(number))
        assert read_interactions(written).content_hash == dataset.content_hash


def test_markov_items_follow_their_successor_as_often_as_promised() -> None:
    items = table_of(markov(n_users=500, n_items=10, n_events=20, strength=0.8))
    pairs = np.zeros((10, 10))
    np.add.at(pairs, (items[:, :-1].ravel(), items[:, 1:].ravel()), 1)
    share = pairs.max(axis=1).sum() / pairs.sum()
    assert share == pytest.approx(0.8 + 0.2 / 10, abs=0.02)
    assert len(set(pairs.argmax(axis=1))) == 10  # a cycle: each item is somebody's successor
    assert np.bincount(items.ravel(), minlength=10) / items.size == pytest.approx(np.full(10, 0.1), abs=0.02)
