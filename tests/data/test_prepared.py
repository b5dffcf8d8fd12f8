"""Prepared data and its cache: mapped, complete or absent, and rebuilt when damaged."""

import dataclasses
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from prepared_logs import FULL, assert_same, cut

from hrnn_hpo.data import prepared
from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.keeping.arrays import ArrayStore
from hrnn_hpo.data.keeping.cache import cache_folder
from hrnn_hpo.data.prepared import load_dataset, load_prepared, prepare
from hrnn_hpo.data.reading.cells import run_long
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.errors import DataError


def test_raw_cached_prepared_and_synthetic_data_are_the_same_to_the_hash(source: Path, tmp_path: Path) -> None:
    folder = prepare(source, tmp_path / "out")
    for dataset in (read_interactions(source), load_dataset(source), load_dataset(folder), load_prepared(folder)):
        assert_same(dataset, FULL)


def test_arrays_are_mapped_and_cannot_be_written(source: Path) -> None:
    dataset = load_dataset(source)
    assert isinstance(dataset.items, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        dataset.items[0] = 1


def test_names_tell_where_data_came_from_and_are_not_content(source: Path, tmp_path: Path) -> None:
    assert load_dataset(source).name == str(source)
    assert load_dataset(prepare(source, tmp_path / "out")).name == str(source)


def test_the_content_hash_depends_on_every_field_but_the_name() -> None:
    assert with_content_hash(dataclasses.replace(FULL, name="other")).content_hash == FULL.content_hash
    changes = {
        "timestamps": FULL.timestamps + 1,
        "items": FULL.items[::-1].copy(),
        "user_offsets": np.array([0, 1, 3]),
        "user_ids": np.array(["u0", "u2"]),
        "item_ids": np.array(["a", "b", "cc"]),
        "session_ids": None,
        "event_types": None,
        "event_type_names": ("buy", "viewed"),
        "event_values": None,
    }
    hashes = [
        with_content_hash(dataclasses.replace(FULL, **{name: value})).content_hash for name, value in changes.items()
    ]  # type: ignore[arg-type]
    assert len({FULL.content_hash, *hashes}) == 1 + len(changes)


def test_texts_of_other_lengths_never_share_a_hash() -> None:
    one = make_dataset([[("ab", 1), ("c", 2)]])
    other = make_dataset([[("a", 1), ("bc", 2)]])
    assert one.content_hash != other.content_hash


# The cache


def test_a_second_start_does_not_read_the_source_again(source: Path, no_reading: Callable[[], None]) -> None:
    first = load_dataset(source)
    no_reading()
    assert_same(load_dataset(source), first)


def test_the_cache_goes_by_content_not_by_path(source: Path, tmp_path: Path, no_reading: Callable[[], None]) -> None:
    load_dataset(source)
    moved = source.rename(tmp_path / "moved")
    no_reading()
    assert load_dataset(moved).name == str(moved)


def test_changed_content_is_read_anew(source: Path) -> None:
    before = load_dataset(source)
    with (source / "interactions.csv").open("a") as file:
        file.write("u9,a,5,,,\n")
    after = load_dataset(source)
    assert after.n_events == before.n_events + 1
    assert after.content_hash != before.content_hash


def test_an_items_table_beside_the_log_is_content(source: Path) -> None:
    before = load_dataset(source)
    (source / "items.csv").write_text("ITEM_ID\na\nb\nc\nd\n")
    assert load_dataset(source).n_items == before.n_items + 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder / "items.npy"),
        lambda folder: (folder / "timestamps.npy").unlink(),
        lambda folder: (folder / "items.npy").write_bytes(b"x" * (folder / "items.npy").stat().st_size),
        lambda folder: (folder / "meta.json").write_text("{"),
        lambda folder: (folder / "meta.json").write_text("[]"),
        lambda folder: (folder / "meta.json").unlink(),
    ],
)
def test_a_torn_cache_is_rebuilt(source: Path, damage: Callable[[Path], None]) -> None:
    load_dataset(source)
    (folder,) = (cache_folder() / "prepared").iterdir()
    damage(folder)
    assert_same(load_dataset(source), FULL)
    assert [entry.name for entry in (cache_folder() / "prepared").iterdir()] == [folder.name]
    assert_same(load_prepared(folder), FULL)


def test_a_build_that_breaks_off_leaves_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(_: object, __: object, store: ArrayStore, *___: object) -> None:
        store.append("items", np.ones(10, dtype=np.int32))
        raise KeyboardInterrupt

    monkeypatch.setattr(prepared, "read_source", break_off)
    with pytest.raises(KeyboardInterrupt):
        load_dataset(source)
    assert list((cache_folder() / "prepared").iterdir()) == []


def test_bad_data_leaves_nothing_in_the_cache(source: Path) -> None:
    (source / "interactions.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\nu,a,x\n")
    with pytest.raises(DataError, match="line 2"):
        load_dataset(source)
    assert list((cache_folder() / "prepared").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_done_without(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "file"))
    assert_same(load_dataset(source), FULL)
    with pytest.raises(DataError, match="cannot be written"):
        prepare(source)


def test_many_workers_may_start_at_once(source: Path) -> None:
    found: list[Dataset] = []
    workers = [threading.Thread(target=lambda: found.append(load_dataset(source))) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 6
    for dataset in found:
        assert_same(dataset, FULL)
    assert len(list((cache_folder() / "prepared").iterdir())) == 1


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("HRNN_HPO_CACHE")
    monkeypatch.setenv("HRNN_HPO_HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / "cache"
    monkeypatch.delenv("HRNN_HPO_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "hrnn-hpo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "hrnn-hpo"


def test_a_log_that_was_prepared_with_options_says_so_when_it_is_read_without(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_dataset(source)
    prepare(source, tmp_path / "out")
    load_dataset(source)
    assert caplog.text == ""  # nothing differs
    prepare(source, tmp_path / "out", min_event_value=1)
    assert load_dataset(source).n_events == 3
    told = f"{source}: is read without options. It was prepared with --min-event-value 1.0: give {tmp_path / 'out'} in"
    assert told in caplog.text


def test_a_log_that_grows_while_it_is_read_is_not_kept(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept, the longer log would be found again under the hash of the shorter one."""
    log = source / "interactions.csv"
    before = log.read_bytes()
    read_source = prepared.read_source

    def read_what_grew(*arguments: Any) -> Any:
        log.write_bytes(before + before.splitlines(keepends=True)[1].replace(b"u", b"v"))
        return read_source(*arguments)

    monkeypatch.setattr(prepared, "read_source", read_what_grew)
    with pytest.raises(DataError, match="changed while it was read"):
        load_dataset(source)
    monkeypatch.undo()
    log.write_bytes(before)
    assert_same(load_dataset(source), FULL)


@pytest.mark.parametrize("with_progress", [False, True])
def test_ctrl_c_ends_a_long_statement(with_progress: bool) -> None:
    """DuckDB itself makes a RuntimeError of it, after the statement where it measures progress."""
    long = "CREATE TABLE long AS SELECT * FROM range(100000000000) WHERE hash(range) = 1"
    shares: list[float] = []
    with duckdb.connect() as connection:
        connection.execute(f"SET enable_progress_bar = {with_progress}; SET enable_progress_bar_print = false")
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            run_long(connection, lambda: connection.execute(long), shares.append)
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
    assert bool(shares) == with_progress
