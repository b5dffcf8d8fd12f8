"""Fixtures of the data tests: a cache of their own, and small files written out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from prepared_logs import FULL

from hrnn_hpo.data import prepared, synthetic
from hrnn_hpo.data.schema import Dataset


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache, so that none sees another's or the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HRNN_HPO_CACHE", str(folder))
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes lines to a file in the test's folder: `write("a.csv", "USER_ID,…", "…")`."""

    def write_lines(name: str, *lines: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write_lines


@pytest.fixture
def dataset() -> Dataset:
    """Three users with four, three and one events; "d" is known and never used."""
    return synthetic.make_dataset(
        [
            [("a", 0), ("b", 10), ("a", 10), ("c", 4000)],
            [("b", 5), ("a", 5000), ("b", 5001)],
            [("c", 7)],
        ],
        extra_items=["d"],
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return synthetic.write_csv(FULL, tmp_path / "source")


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a switch after which reading a source file fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("the source was read again")

    return lambda: monkeypatch.setattr(prepared, "read_source", refuse)
