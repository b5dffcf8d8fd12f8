"""Studies that version 0.1.0 left: read, exported, reported, continued, fetched from the registry."""

import json
from pathlib import Path

import pytest
from earlier_stores import unpack

from hrnn_hpo.api import evaluate, recommend
from hrnn_hpo.errors import StudyError
from hrnn_hpo.evaluation.metrics import APART_METRICS
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.report.report import report
from hrnn_hpo.study.results.export import export
from hrnn_hpo.study.results.manage import clean_up, delete_study
from hrnn_hpo.study.results.status import list_studies, status
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.team.worker import work
from hrnn_hpo.study.tune import tune


@pytest.fixture
def shop(tmp_path: Path, home: Path) -> Path:
    assert home == tmp_path / "mlruns"
    return unpack("study", tmp_path)


@pytest.mark.usefixtures("shop")
def test_its_status_is_what_it_was() -> None:
    found = status("shop")
    assert (found.trials.complete, found.best_trial, found.test_openings) == (3, 2, 1)
    assert found.best_value == pytest.approx(0.12702979099503162)
    assert found.confirmation is not None
    assert (found.confirmation["verdict"], found.confirmation["winner"]) == ("undecided", 2)
    assert (found.confirmation["n_runs_done"], found.confirmation["n_runs"]) == (4, 4)
    assert [one.study for one in list_studies()] == ["shop"]
    assert clean_up() == ["shop"]


def test_it_exports_what_it_did(shop: Path) -> None:
    written = export("shop", shop / "again.yaml").read_text(encoding="utf-8")
    later_ones = ("request_time: none", "further_heads_weight: 0.0", "shuffle_ties: false", "item_start: random")
    for later in (f"  {line}\n" for line in later_ones):  # at what models did before them
        assert later in written
        written = written.replace(later, "")
    assert written == (shop / "exported.yaml").read_text(encoding="utf-8")


def test_its_report_tells_the_verdict(shop: Path) -> None:
    text = report("shop", shop / "report.html").read_text(encoding="utf-8")
    assert "undecided" in text
    assert "0.1.0" in text


def test_its_trials_are_not_mixed_with_new_ones_but_a_new_study_begins_with_its_best(
    shop: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = status("shop")
    with pytest.raises(StudyError, match=r"trained otherwise .*--warm-start shop"):
        tune(shop / "log", study="shop", n_trials=4, device="cpu", n_threads=1)
    with pytest.raises(StudyError, match="trained otherwise"):
        work(shop / "log", "shop", device="cpu", n_threads=1)
    assert status("shop") == before
    space = read_record(load_study("shop", open_storage())).search_space()
    result = tune(
        shop / "log", study="new", space=space, n_trials=2, warm_start="shop", device="cpu", n_threads=1, confirm=0
    )
    assert (result.trials.complete + result.trials.pruned, result.trials.failed) == (2, 0)
    assert "of the 3 complete trials' configurations of study 'shop' train again here" in caplog.text


def test_its_registered_model_is_fetched_where_the_folder_was_moved(shop: Path) -> None:
    told = json.loads((shop / "evaluated.json").read_text(encoding="utf-8"))
    assert len(recommend("models:/shop/1", "u01", k=5)) == 5
    found = evaluate("models:/shop/1", shop / "log", again=True)
    metrics = found.model.metrics
    assert {name: metrics[name] for name in told["metrics"]} == pytest.approx(told["metrics"], rel=1e-4)
    assert metrics.keys() - told["metrics"].keys() == set(APART_METRICS)  # which came later


@pytest.mark.usefixtures("shop")
def test_its_runs_are_written_to_mlflow_again() -> None:
    assert sync("shop") >= 3


@pytest.mark.usefixtures("shop")
def test_it_is_deleted_with_its_confirmation() -> None:
    delete_study("shop")
    assert list_studies() == []
