"""The benchmark of training's memory: the log that it makes, and what it says of its figures."""

from pathlib import Path

import numpy as np

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.speed import training_memory


def test_the_log_has_equal_histories_and_repeats_when_asked(tmp_path: Path) -> None:
    for repeating in (False, True):
        folder = tmp_path / str(repeating)
        training_memory.write_log(folder, n_users=50, length=20, n_items=100_000, repeating=repeating)
        items = np.load(folder / "items.npy").reshape(50, 20)
        n_distinct = sum(len(set(history)) for history in items.tolist())
        assert (n_distinct < 800) == repeating
        assert np.load(folder / "timestamps.npy")[20:23].tolist() == [0, 3600, 7200]
        assert np.load(folder / "user_offsets.npy")[-1] == 1000


def test_a_short_training_reports_its_memory(tmp_path: Path) -> None:
    training_memory.write_log(tmp_path / "log", n_users=200, length=10, n_items=50, repeating=True)
    found = training_memory.train(tmp_path / "log", "mixed", updates=3)
    assert found["updates"] == 3
    assert found["resident"] > found["anonymous"] > 0


def row_of(events: int, repeats: str, anonymous: float) -> Row:
    return Row(
        date="2026-11-26",
        processor="p",
        threads=1,
        versions={},
        command="c",
        settings={"events": events, "repeats": repeats},
        figures={"anonymous": anonymous, "resident": anonymous},
    )


def test_the_report_compares_the_sizes_of_each_kind() -> None:
    rows = [row_of(10_000_000, "ignored", 1000.0), row_of(100_000_000, "ignored", 1250.0)]
    rows += [row_of(10_000_000, "mixed", 1000.0), row_of(100_000_000, "mixed", 1400.0)]
    text = training_memory.report({str(number): row for number, row in enumerate(rows)})
    assert "repeats ignored: 100,000,000 events take 1.25 times the anonymous memory" in text
    assert "repeats mixed: 100,000,000 events take 1.40 times" in text
    assert text.count("missed") == 1
    assert "take" not in training_memory.report({"0": rows[0]})
