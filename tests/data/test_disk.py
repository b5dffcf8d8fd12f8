"""The disk that a preparation asks for: counted by hand, and never less than it takes."""

import shutil
from pathlib import Path

import pytest

from hrnn_hpo.data.keeping.disk import disk_free, disk_needed, size_text
from hrnn_hpo.data.prepared import disk_wish, prepare
from hrnn_hpo.data.reading.source import Kind, LogFile, Source, find_source
from hrnn_hpo.data.simulate import simulate


def file_of(path: Path, size: int, kind: Kind = "csv", packing: str | None = None) -> LogFile:
    path.write_bytes(b"x" * size)
    return LogFile("interactions", kind, path, packing)


@pytest.mark.parametrize(
    ("kind", "packing", "expected"),
    [("csv", None, 2_000), ("csv", "gzip", 10_000), ("jsonl", None, 1_200), ("parquet", None, 6_000)],
)
def test_each_kind_of_file_takes_so_many_times_its_size(
    kind: Kind, packing: str | None, expected: int, tmp_path: Path
) -> None:
    assert disk_needed(Source("log", (file_of(tmp_path / "log", 1_000, kind, packing),))) == expected


def test_the_files_of_a_log_add_up_and_a_table_takes_none(tmp_path: Path) -> None:
    files = [file_of(tmp_path / name, size) for name, size in (("a.csv", 100), ("b.csv", 50))]
    assert disk_needed(Source("log", (*files, LogFile("interactions", "frame")))) == 300


def test_free_disk_is_that_of_a_folder_not_there_yet(tmp_path: Path) -> None:
    free = disk_free(tmp_path / "not" / "there" / "yet")
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 KB"),
        (99_900, "99.9 KB"),
        (123_456, "123 KB"),
        (1_234_567, "1.2 MB"),
        (69e9, "69.0 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_sizes_read_well(n_bytes: float, text: str) -> None:
    assert size_text(n_bytes) == text


def test_the_wish_names_need_folder_and_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.csv"
    log.write_text("USER_ID,ITEM_ID,TIMESTAMP\n".ljust(1_000_000, "x"))
    monkeypatch.setattr("hrnn_hpo.data.prepared.disk_free", lambda folder: 3e9)
    out = tmp_path / "out"
    assert disk_wish(log, out) == f"Preparing takes up to 2.0 MB of disk beside {out}; 3.0 GB are free."
    monkeypatch.setattr("hrnn_hpo.data.prepared.disk_free", lambda folder: 1.9e6)
    assert disk_wish(log, out).endswith("; 1.9 MB are free: that may not be enough.")


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.parquet"])
def test_a_preparation_stays_within_what_it_asked_for(name: str, tmp_path: Path) -> None:
    """Looked at after every step; a log large enough that folders and headers are nothing beside it."""
    log = simulate(tmp_path / "logs" / name, n_events=60_000, n_users=3_000, n_items=600)
    out, most = tmp_path / "prepared" / "out", [0]

    def look(step: str, done: float, total: float) -> None:
        most[0] = max(most[0], used(tmp_path / "prepared"))

    prepare(log, out, on_step=look)
    look("done", 1, 1)
    assert 0 < used(out) <= most[0] <= disk_needed(find_source(log))


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
