"""Folders that a user has prepared: kept, replaced only where nothing is lost, refused when damaged."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from prepared_logs import FULL, assert_same, cut

from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.keeping.cache import cache_folder
from hrnn_hpo.data.prepared import is_prepared, load_dataset, load_prepared, load_report, load_with_report, prepare
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.reading.read import Report
from hrnn_hpo.data.synthetic import make_dataset, write_csv
from hrnn_hpo.errors import DataError

OLD = Path(__file__).parents[1] / "fixtures" / "prepared_0_1_0"


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
