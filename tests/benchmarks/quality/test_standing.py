"""The table of standing: baselines of a small log, our own row from its result file, and what others measured."""

from pathlib import Path

import pytest

from scripts.benchmarks.kit.rows import RESULTS, Row, read_rows
from scripts.benchmarks.quality import standing
from scripts.benchmarks.quality.standing import LOGS, PUBLISHED, measure, report
from scripts.benchmarks.rivals.rivals import RIVALS
from scripts.benchmarks.rivals.rivals_report import NAMES


def row(ndcg: float) -> Row:
    figures = {
        "n_items": 1_234,
        "seen": "remove",
        "seconds": 90.0,
        "baselines": {"ease": {"ndcg_at_10": ndcg, "hit_rate_at_10": 0.4}},
        "constants": {},
        "left_out": {},
    }
    return Row(date="", processor="", threads=1, versions={}, command="", settings={}, figures=figures)


def test_lines_stand_by_their_figures_and_say_what_was_measured() -> None:
    text = report({"ml-1m-0": row(0.19)})
    systems = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")][1:]
    ours = [system for system in systems if system.startswith("**hrnn-hpo**")]
    assert systems[: len(ours)] == ours != []
    assert systems.index("LRURec") < systems.index("ease") < systems.index("HSTU-large")
    trained = {f"ml-1m-loo-{system}-0": name for system, name in NAMES.items() if system in RIVALS}
    rivals = [name for row, name in trained.items() if row in read_rows(RESULTS / "rivals.json")]
    assert set(rivals) <= set(systems)
    assert len(systems) == len(PUBLISHED) + len(ours) + len(rivals) + 1
    assert "| ease | 0.1900 | 0.4000 | file | no | no | 1,234 |  |  | here |" in text
    assert "90 seconds of one core" in text


def test_published_figures_stand_beside_the_order_of_the_file_alone() -> None:
    text = report({f"ml-1m-ties-{seed}": row(0.1 + seed / 10) for seed in LOGS["ml-1m-ties"].seeds})
    assert "LRURec" not in text
    assert "| ease | 0.2000 ± 0.0577 | 0.4000 ± 0.0000 | shuffled |" in text


@pytest.mark.parametrize("name", LOGS)
def test_our_own_rows_are_there(name: str) -> None:
    assert "| **hrnn-hpo** | 0." in report({f"{name}-{seed}": row(0.1) for seed in LOGS[name].seeds})


def test_a_model_that_reads_the_request_time_has_a_line_asked_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {"ndcg_at_10": 0.21, "hit_rate_at_10": 0.35}
    figures = {
        "test": {"remove": metrics},
        "test, request time known": {"remove": metrics | {"ndcg_at_10": 0.23}},
        "seconds": 600.0,
    }
    ours = Row(date="", processor="P", threads=1, versions={}, command="", settings={}, figures=figures)
    monkeypatch.setattr(standing, "read_rows", lambda path: {"known-1": ours} if path.stem == "movielens_1m" else {})
    text = report({"ml-1m-0": row(0.1)})
    ours_are = "| **hrnn-hpo** that reads the request time"
    line = ours_are + " | {} | 0.3500 | file | {} | no | 1,234 | best/ configuration | 10.0, P |"
    assert line.format("0.2300", "yes") in text
    assert line.format("0.2100", "no") in text
    assert "movielens_1m.py, 1 seed |" in text


def test_a_row_has_every_baseline_on_test_users(tmp_path: Path) -> None:
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    lines = [f"{user},{(user * step) % 7},{step * 10_000}" for user in range(1, 41) for step in range(1, 31)]
    (folder / "interactions.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\n" + "\n".join(lines) + "\n")
    found = measure(LOGS["ml-100k"], 0, tmp_path, tmp_path / "work")
    assert {"popularity", "item_knn", "ease"} <= set(found["baselines"])
    assert found["n_items"] == 7
