"""Means, errors and sources as the document shows them."""

import math

import pytest

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.kit.tables import all_of, error, mean, mean_and_error, of_seeds, sources, table


def row(date: str = "2026-11-24", threads: int = 1, command: str = "x.py", **figures: object) -> Row:
    return Row(
        date=date,
        processor="Xeon",
        threads=threads,
        versions={"torch": "2.13", "numpy": "2.0"},
        command=command,
        settings={},
        figures=figures,
    )


def test_a_mean_has_its_standard_error() -> None:
    assert mean_and_error([1.0, 2.0, 3.0]) == f"2.0000 ± {1 / math.sqrt(3):.4f}"
    assert mean_and_error([2.0]) == "2.0000 ± –"


def test_a_published_mean_stays_as_it_is() -> None:
    published = [{"mean": 0.1411, "error": 0.0016}]
    assert mean_and_error(published) == "0.1411 ± 0.0016"
    assert (mean(published), error(published)) == (0.1411, 0.0016)


def test_seeds_and_published_means_do_not_mix() -> None:
    with pytest.raises(AssertionError, match="do not mix"):
        mean([0.5, {"mean": 0.1, "error": 0.1}])


def test_seeds_replace_the_published_row_when_all_are_finished() -> None:
    published, first, second = row(best_epochs=[5, 6]), row(best_epoch=7), row(best_epoch=8)
    rows = {"base": published, "base-0": first}
    assert of_seeds(rows, "base", (0, 1)) == [published]
    assert of_seeds(rows | {"base-1": second}, "base", (0, 1)) == [first, second]
    assert of_seeds(rows, "other", (0, 1)) == []
    assert all_of([published], "best_epoch", "best_epochs") == [5, 6]
    assert all_of([first, second], "best_epoch", "best_epochs") == [7, 8]


def test_sources_have_a_line_for_each_machine_and_each_command_once() -> None:
    rows = {
        "a": row("2026-11-25"),
        "b": row("2026-11-24"),
        "c": row(threads=2, command="x.py --threads 2"),
    }
    assert sources(rows) == (
        "2026-11-24 to 2026-11-25, Xeon, 1 thread, PyTorch 2.13\\\n"
        "2026-11-24, Xeon, 2 threads, PyTorch 2.13\n\n"
        "    x.py\n    x.py --threads 2"
    )


def test_a_table_rounds_floats_to_three_digits() -> None:
    assert table(["a", "b"], [[1.23456, "x"]]) == "| a | b |\n|---|---|\n| 1.23 | x |"
