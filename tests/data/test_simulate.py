"""Simulated logs: their size, their planted rule, and the same file for the same seed."""

from pathlib import Path

import numpy as np
import pytest

from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.simulate import simulate, successor
from hrnn_hpo.errors import ConfigError, DataError

SMALL = {"n_events": 20_000, "n_users": 500, "n_items": 300}


def test_the_log_has_its_size_and_its_planted_rule(tmp_path: Path) -> None:
    dataset = read_interactions(simulate(tmp_path / "log.parquet", **SMALL))
    assert dataset.n_events + dataset.n_duplicates == 20_000
    assert 400 < dataset.n_users <= 500
    assert 250 < dataset.n_items <= 300
    assert dataset.event_type_names == ("cart", "purchase", "view")
    numbers = np.array([int(item[1:]) for item in dataset.item_ids])[dataset.items]
    users = dataset.event_users
    same = users[1:] == users[:-1]
    follows = successor(numbers[:-1], 300)[same] == numbers[1:][same]
    assert 0.48 < follows.mean() < 0.56
    counts = np.sort(np.bincount(dataset.items))[::-1]
    assert counts[:30].sum() > 0.25 * counts.sum()  # few items are taken often


def test_every_ending_holds_the_same_log(tmp_path: Path) -> None:
    files = [simulate(tmp_path / f"log{ending}", **SMALL) for ending in (".csv", ".csv.gz", ".parquet")]
    assert len({read_interactions(file).content_hash for file in files}) == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log.csv", "log.csv.gz", "log.parquet"]


def test_the_seed_makes_the_log(tmp_path: Path) -> None:
    files = [simulate(tmp_path / f"{n}.csv", **SMALL, seed=seed).read_bytes() for n, seed in enumerate((1, 1, 2))]
    assert files[0] == files[1] != files[2]


def test_pieces_join_without_a_seam(tmp_path: Path) -> None:
    """One user's chain goes on from piece to piece."""
    dataset = read_interactions(simulate(tmp_path / "log.csv", n_events=5000, n_users=1, n_items=1000))
    assert dataset.n_users == 1
    assert (np.diff(dataset.timestamps) >= 0).all()


def test_wrong_numbers_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`--events >= 1` must hold, but got 0"):
        simulate(tmp_path / "log.csv", n_events=0)
    for name in ("n_users", "n_items"):
        with pytest.raises(ConfigError, match=r"` must hold, but got 99,999,999,999"):
            simulate(tmp_path / "log.csv", **{**SMALL, name: 99_999_999_999})
    with pytest.raises(ConfigError, match="`--events <= 1,000,000,000,000` must hold"):
        simulate(tmp_path / "log.csv", n_events=10**20)
    with pytest.raises(ConfigError, match=r"log\.txt: must end with \.csv, \.csv\.gz or \.parquet"):
        simulate(tmp_path / "log.txt")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        simulate(tmp_path / "file" / "log.csv", **SMALL)


def test_a_log_that_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("real events")
    with pytest.raises(DataError, match=r"is there already\. Name another file, or replace it with --overwrite"):
        simulate(log, **SMALL)
    assert log.read_text() == "real events"
    simulate(log, **SMALL, overwrite=True)
    assert read_interactions(log).n_users > 400
