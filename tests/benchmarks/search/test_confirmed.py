"""The benchmark of whole studies: where its log lies, what of its time it counts, what it tells of an ensemble."""

import time
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.search.confirmed import _counted, log_at, tell

FOUND: dict[str, Any] = {
    "told": ["Better than the defaults: no."],
    "defaults": 0,
    "contenders": [{"trial": 0, "search_value": 0.1, "mean": 0.2, "best_epoch": 3}],
    "n_test_users": 9,
    "opening": 1,
    "metrics": {"tuned": {"ndcg_at_10": 0.3, "mrr_at_25": 0.2}},
    "intervals": {"tuned": [0.25, 0.35]},
    "gain": {},
}


def test_a_copy_is_made_once_and_any_other_name_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "interactions.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\nu,a,1\nu,b,2\n")
    monkeypatch.setattr(
        "scripts.benchmarks.search.confirmed.COPIES", {"half": ("shop", lambda events: events.iloc[:1])}
    )
    folder = log_at("half", tmp_path, tmp_path / "work")
    assert (folder / "interactions.csv").read_text() == "USER_ID,ITEM_ID,TIMESTAMP\nu,a,1\n"
    assert log_at("half", tmp_path / "gone", tmp_path / "work") == folder
    assert log_at("data/shop", tmp_path, tmp_path / "work") == Path("data/shop")


def test_the_time_of_an_interrupted_study_is_that_of_all_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 14.0, 100.0, 103.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    file = tmp_path / "seconds"
    with pytest.raises(KeyboardInterrupt), _counted(file):
        raise KeyboardInterrupt
    with _counted(file):
        pass
    assert float(file.read_text()) == 7.5


def test_an_ensemble_is_told_beside_the_winner_and_left_out_without_one() -> None:
    lacks = {"difference": -0.01, "low": -0.02, "high": -0.001, "p": 0.04, "note": "ensemble is the mean of 5."}
    text = tell(FOUND | {"seconds": 600.0, "ensemble": lacks})
    assert "The whole study took 10 minutes." in text
    assert "ensemble is the mean of 5. Tuned minus ensemble: -0.0100 [-0.0200, -0.0010], p 0.040." in text
    assert "ensemble" not in tell(FOUND)
