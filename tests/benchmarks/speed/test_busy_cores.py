"""What the benchmark of busy cores concludes from its rows, and that its children hear of one way to wait alone."""

import os
from pathlib import Path

import pytest

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.speed import busy_cores


def row(cores: str, one: float, ours: float, gnu: float) -> Row:
    speeds = {way: [1.0] for way in busy_cores.WAYS}
    figures = speeds | {busy_cores.ONE: [one, one], busy_cores.OURS: [ours] * 3, busy_cores.GNU: [gnu]}
    return Row(date="", processor="", threads=2, versions={}, command="", settings={"cores": cores}, figures=figures)


def test_medians_of_all_rounds_are_held_against_the_goals() -> None:
    text = busy_cores.report(
        {
            "quiet-0": row("quiet", 50_000, 90_000, 100_000),
            "busy-0": row("busy", 40_000, 36_000, 2_000),
            "quiet-1": row("quiet", 50_000, 96_000, 100_000),
            "quiet-2": row("quiet", 50_000, 97_000, 100_000),
        }
    )
    assert "| the product's default | 36,000 | 96,000 |" in text
    assert "On busy cores the default has 0.90 of the speed of one thread; the goal is 0.80: reached." in text
    assert "On quiet cores the default has 0.96 of the speed of GNU's default; the goal is 0.95: reached." in text


def test_rows_of_one_state_have_a_table_of_their_own() -> None:
    text = busy_cores.report({"busy-0": row("busy", 40_000, 30_000, 2_000)})
    assert "the goal is 0.80: missed" in text
    assert "quiet" not in text


def test_a_child_is_told_of_threads_by_its_way_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    seen: dict[str, str] = {}

    class Done:
        stdout = "[1.0, 2.0, 3.0]\n"

    def run(command: list[str], *, env: dict[str, str], **_: object) -> Done:
        seen.update(env)
        return Done()

    monkeypatch.setattr("subprocess.run", run)
    assert busy_cores.speeds_of(Path("data"), 2, {"OMP_WAIT_POLICY": "passive"}) == [2.0, 3.0]
    assert seen["OMP_WAIT_POLICY"] == "passive"
    assert not {"OMP_NUM_THREADS", "GOMP_SPINCOUNT"} & seen.keys()
    assert os.environ["OMP_NUM_THREADS"] == "1"
