"""docs/benchmarks.md says what docs/results says, and nothing in docs/results is left out."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.benchmarks import publish
from scripts.benchmarks.kit.rows import RESULTS, Row, write_row
from scripts.benchmarks.publish import DOCUMENT, benchmark, filled

TEXT = "# Title\n\nBy hand.\n\n<!-- table: speed threads=1 -->\nold\n<!-- end -->\n\nMore.\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of a benchmark `speed`, whose report lists its figures."""
    speed = SimpleNamespace(report=lambda rows: "\n".join(f"{k}: {r.figures['speed']}" for k, r in rows.items()))
    monkeypatch.setattr(publish, "benchmark", {"speed": speed}.__getitem__)
    write(tmp_path, "a", threads=1, speed=5)
    return tmp_path


def write(folder: Path, name: str, threads: int, speed: int) -> None:
    settings, figures = {"threads": threads}, {"speed": speed}
    row = Row(date="2026-11-24", processor="Xeon", threads=threads, versions={}, command="x.py", settings=settings,
              figures=figures)  # fmt: skip
    write_row(folder / "speed.json", name, row)


def test_the_document_says_what_the_rows_say() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == filled(text), "run scripts/benchmarks/publish.py"


def test_only_what_is_between_the_marks_is_made_anew(folder: Path) -> None:
    text = filled(TEXT, folder)
    assert text == TEXT.replace("old\n", "2026-11-24, Xeon, 1 thread\n\n    x.py\n\na: 5\n")
    assert filled(text, folder) == text
    write(folder, "a", threads=1, speed=6)
    assert filled(text, folder) == text.replace("a: 5", "a: 6")


def test_a_row_in_no_table_is_told(folder: Path) -> None:
    write(folder, "b", threads=2, speed=9)
    with pytest.raises(SystemExit, match=r"speed\.json: b"):
        filled(TEXT, folder)
    both = filled(TEXT + "\n<!-- table: speed threads=2 -->\n<!-- end -->\n", folder)
    assert "1 thread\n\n    x.py\n\na: 5\n<!-- end -->" in both
    assert "2 threads\n\n    x.py\n\nb: 9\n<!-- end -->" in both


def test_a_mark_without_rows_is_told(folder: Path) -> None:
    with pytest.raises(SystemExit, match=r"speed threads=4 -->: no row of .*speed\.json"):
        filled(TEXT.replace("=1", "=4"), folder)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("<!-- end -->\n", ""),
        TEXT + "<!-- end -->\n",
        TEXT.replace("table: speed", "table speed"),
        TEXT.replace("old", "<!-- table: speed -->"),
    ],
)
def test_marks_come_in_pairs(folder: Path, text: str) -> None:
    with pytest.raises(SystemExit, match="must have its"):
        filled(text, folder)


def test_every_file_of_results_has_one_benchmark() -> None:
    for file in RESULTS.glob("*.json"):
        assert benchmark(file.stem).report
    with pytest.raises(SystemExit, match=r"nothing\.json: one benchmark"):
        benchmark("nothing")


def test_every_link_of_the_contents_leads_to_a_heading() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    headings = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
    anchors = {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert len(links) > 15
    assert set(links) <= anchors, set(links) - anchors
