"""Prepared folders and the cache: mapped, complete or absent, and rebuilt when damaged."""

import dataclasses
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from hrnn_hpo.data import prepared
from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.keeping.arrays import ArrayStore
from hrnn_hpo.data.keeping.cache import cache_folder
from hrnn_hpo.data.prepared import is_prepared, load_dataset, load_prepared, load_report, load_with_report, prepare
from hrnn_hpo.data.reading.cells import run_long
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.reading.read import Report
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import make_dataset, write_csv
from hrnn_hpo.errors import DataError

OLD = Path(__file__).parents[1] / "fixtures" / "prepared_0_1_0"
FULL = make_dataset(
    [[("a", 1, "view", 2.5, "x"), ("b", 2)], [("b", 1, "buy", None, "y")]], extra_items=["c"], name="full"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_csv(FULL, tmp_path / "source")


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a switch after which reading a source file fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("the source was read again")

    return lambda: monkeypatch.setattr(prepared, "read_source", refuse)


def assert_same(one: Dataset, other: Dataset) -> None:
    for field in dataclasses.fields(Dataset):
        if field.name != "name":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


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


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


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


# Folders of one's own


def test_prepare_without_out_gives_the_caches_folder(source: Path, no_reading: Callable[[], None]) -> None:
    folder = prepare(source)
    assert folder.parent == cache_folder() / "prepared"
    no_reading()
    assert prepare(source) == folder
    assert prepare(folder) == folder


def test_preparing_the_same_again_keeps_the_folder(
    source: Path, tmp_path: Path, no_reading: Callable[[], None]
) -> None:
    out = prepare(source, tmp_path / "deep" / "out")
    no_reading()
    assert prepare(source, out) == out


def test_preparing_other_data_replaces_the_folder_only_when_asked(source: Path, tmp_path: Path) -> None:
    out = prepare(source, tmp_path / "out")
    other = make_dataset([[("z", 1), ("y", 2)]])
    log = write_csv(other, tmp_path / "other")
    with pytest.raises(DataError, match=f"out: holds other data already, prepared from {source}. Name another folder"):
        prepare(log, out)
    assert_same(load_prepared(out), FULL)
    prepare(log, out, overwrite=True)
    assert_same(load_prepared(out), other)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other", "out", "source"]


def test_the_same_log_that_has_changed_or_is_read_otherwise_is_prepared_again(source: Path, tmp_path: Path) -> None:
    out = prepare(source, tmp_path / "out")
    assert load_prepared(prepare(source, out, min_event_value=1)).n_events == 1
    write_csv(make_dataset([[("z", 1), ("y", 2)]]), source)
    assert load_prepared(prepare(source, out)).n_items == 2


def test_data_without_a_log_of_its_own_is_not_filtered_or_replaced_in_its_place(source: Path, tmp_path: Path) -> None:
    """Nothing could bring back what a filter leaves out of a prepared folder, or what a DataFrame held."""
    out = prepare(source, tmp_path / "out")
    for options in ({"min_event_value": 1}, {}):
        other = out if options else prepare(source, tmp_path / "part", event_types=("buy",))
        with pytest.raises(DataError, match="holds other data already"):
            prepare(other, out, **options)
    assert_same(load_prepared(prepare(out, out)), FULL)
    frames = [pd.DataFrame({"USER_ID": ["u"], "ITEM_ID": ["i"], "TIMESTAMP": [time]}) for time in (1, 2)]
    table = prepare(frames[0], tmp_path / "table")
    assert prepare(frames[0], table) == table
    with pytest.raises(DataError, match="holds other data already, prepared from DataFrame"):
        prepare(frames[1], table)
    assert load_prepared(table).timestamps.tolist() == [1]
    assert load_prepared(prepare(frames[1], table, overwrite=True)).timestamps.tolist() == [2]


def test_files_of_ones_own_in_a_prepared_folder_are_never_removed(source: Path, tmp_path: Path) -> None:
    out = prepare(source, tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    assert prepare(source, out) == out
    with pytest.raises(DataError, match=r"holds notes\.txt beside prepared data, which would be lost"):
        prepare(source, out, min_event_value=1, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_prepared_folder_can_be_copied(source: Path, tmp_path: Path) -> None:
    first = prepare(source, tmp_path / "first")
    assert_same(load_prepared(prepare(first, tmp_path / "second")), FULL)


def _table(n_copies: int) -> pd.DataFrame:
    """Return three events of two users, the first of them so many times."""
    rows = [("1", "a", 5, "view"), ("1", "b", 6, "buy"), ("2", "a", 7, "buy")]
    return pd.DataFrame([rows[0]] * (n_copies - 1) + rows, columns=["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE"])


def test_tables_of_equal_content_keep_reports_of_their_own(tmp_path: Path) -> None:
    found = [load_with_report(_table(n_copies), ReadOptions()) for n_copies in (3, 1)]
    assert found[0][0].content_hash == found[1][0].content_hash
    assert [report.n_duplicates for _, report in found] == [2, 0]
    assert [dataset.n_duplicates for dataset, _ in found] == [2, 0]
    for n_copies in (3, 1):
        assert load_report(prepare(_table(n_copies), tmp_path / "out", overwrite=True))[1].n_rows == 2 + n_copies


def test_prepared_folders_of_equal_content_keep_the_items_that_their_own_table_names(tmp_path: Path) -> None:
    for name in ("plain", "listed"):
        (tmp_path / name).mkdir()
        _table(1).to_csv(tmp_path / name / "interactions.csv", index=False)
    (tmp_path / "listed" / "items.csv").write_text("ITEM_ID\na\nb\n")
    for name, items in (("plain", ["a"]), ("listed", ["a", "b"])):
        folder = prepare(tmp_path / name, tmp_path / f"{name}-prepared")
        copy = prepare(folder, tmp_path / "copy", overwrite=True)  # one over the other
        for of in (tmp_path / name, folder, copy):
            assert load_dataset(of, event_types="view").item_ids.tolist() == items


def test_an_empty_folder_is_a_place_to_prepare_in(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert is_prepared(prepare(source, tmp_path / "out"))


def test_out_never_overwrites_something_else(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a prepared folder, empty or new, but holds something else"):
        prepare(source, source)
    with pytest.raises(DataError, match="holds something else"):
        prepare(source, source / "interactions.csv")
    assert_same(read_interactions(source), FULL)


def test_a_damaged_prepared_folder_is_refused_with_the_file(source: Path, tmp_path: Path) -> None:
    out = prepare(source, tmp_path / "out")
    cut(out / "items.npy")
    with pytest.raises(DataError, match=r"items\.npy: must have \d+ bytes, but has \d+; prepare the data again"):
        load_dataset(out)
    assert_same(load_prepared(prepare(source, out)), FULL)  # and rebuilt when asked


def test_a_folder_of_another_format_is_refused(source: Path, tmp_path: Path) -> None:
    out = prepare(source, tmp_path / "out")
    meta = json.loads((out / "meta.json").read_text())
    (out / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(DataError, match=r"format 3 must stand in meta\.json, but got 99"):
        load_dataset(out)


def test_meta_that_names_other_arrays_is_refused(source: Path, tmp_path: Path) -> None:
    out = prepare(source, tmp_path / "out")
    meta = json.loads((out / "meta.json").read_text())
    (out / "meta.json").write_text(json.dumps({**meta, "bytes": {"../../items": 3}}))
    with pytest.raises(DataError, match="must name user_offsets, items"):
        load_dataset(out)


def test_a_folder_of_version_0_1_0_opens(tmp_path: Path) -> None:
    dataset = load_dataset(OLD)
    expected = make_dataset(
        [
            [("book", 100, "view", 1.5, "s1"), ("lamp", 160, "buy", None, "s1"), ("book", 5000, "view", 2.0, "s2")],
            [("lamp", 90, None, 3.0)],
            [("tea", 70, "buy", 4.0, "s3")],
        ],
        user_ids=["ann", "bob", "zoé"],
        extra_items=["vase"],
    )
    assert dataset.content_hash == with_content_hash(dataset).content_hash == expected.content_hash
    assert_same(dataclasses.replace(dataset, n_duplicates=0), expected)
    assert load_report(OLD) == ({}, Report(n_duplicates=1))
    # It can be copied, and filtered: "vase" had no event, so an items table must have named it.
    assert_same(load_prepared(prepare(OLD, tmp_path / "copy")), dataset)
    bought = load_dataset(OLD, event_types=("buy",))
    assert bought.item_ids.tolist() == ["lamp", "tea", "vase"]


def test_the_cache_of_version_0_1_0_is_left_and_built_anew(source: Path, tmp_path: Path) -> None:
    out = prepare(source, tmp_path / "out")
    meta = json.loads((out / "meta.json").read_text())
    (out / "meta.json").write_text(json.dumps({**meta, "format": 2, "source_hash": "0"}))
    assert_same(load_prepared(prepare(source, out)), FULL)
    assert json.loads((out / "meta.json").read_text())["format"] == 3


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
