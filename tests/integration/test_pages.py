"""The pages that show a study, seen and clicked in a real browser at two widths: MLflow's, the report's."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import create_trial
from pages import STUDY, at_home, check_fits
from PIL import Image
from real_studies import PROGRAM
from servers import chromium, free_port, skip_without

from hrnn_hpo.evaluation.metrics import METRICS
from hrnn_hpo.search.space import load_space
from hrnn_hpo.study.attributes import ROLE, epoch_key
from hrnn_hpo.study.confirm.leaderboard import LEADERBOARD
from hrnn_hpo.study.record import new_record, write_record
from hrnn_hpo.study.report.report import render_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURE = Path(__file__).resolve().parents[2] / "scripts" / "picture.py"
pytestmark = [pytest.mark.slow, skip_without(chromium(), "Chromium")]


@pytest.fixture(scope="module")
def mlflow_ui(finished_home: Path) -> Iterator[str]:
    """Return the address that `hrnn-hpo ui STUDY` prints when it is ready."""
    command = [PROGRAM, "ui", STUDY, "--port", str(free_port())]
    with subprocess.Popen(command, env=at_home(finished_home), stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert "MLflow is starting" in server.stderr.readline()
            line = server.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found is not None, line
            yield found.group()
        finally:
            server.terminate()
            server.wait(60)


def test_from_home_to_a_trial(mlflow_ui: str, page: "Page") -> None:
    page.goto(mlflow_ui.split("#")[0])
    page.get_by_role("link", name="hrnn-hpo", exact=True).first.click()
    page.wait_for_url("**/runs?**")  # not on the empty page of usage figures
    page.get_by_role("link", name=STUDY).first.click()
    page.get_by_text("Better than the defaults").first.wait_for()
    page.get_by_role("link", name=re.compile(r"trial \d+")).first.wait_for()
    shown = page.inner_text("body")
    for expected in (
        f"Study {STUDY}: space",
        "Source",
        "hrnn-hpo",
        "Datasets",
        "log (",
        "Registered models",
        "Finished",
    ):
        assert expected in shown
    page.get_by_role("tab", name="Model metrics").or_(page.get_by_text("Model metrics", exact=True)).first.click()
    page.locator(".js-plotly-plot").first.wait_for()
    page.get_by_text("Overview", exact=True).first.click()
    page.get_by_role("link", name="test: tuned").first.click()
    page.get_by_text("on the test users").first.wait_for()


def test_ui_prints_the_address_of_the_studys_run(mlflow_ui: str, page: "Page") -> None:
    page.goto(mlflow_ui)
    page.get_by_role("heading", name=STUDY).or_(page.get_by_text(STUDY, exact=True)).first.wait_for()
    page.get_by_text("Better than the defaults").first.wait_for()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of SQLAlchemy
def test_what_has_one_value_is_no_curve_and_pruned_reads_as_pruned(finished_home: Path) -> None:
    client = MlflowClient(f"sqlite:///{finished_home}/mlruns/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("hrnn-hpo").experiment_id])
    for run in runs:
        assert "mlflow.note.content" in run.data.tags, run.info.run_name
        assert run.inputs.dataset_inputs, run.info.run_name
        for metric in run.data.metrics:
            is_test_figure = run.data.tags["role"] == "final" and metric.startswith("test_")
            n_values = len(client.get_metric_history(run.info.run_id, metric))
            assert n_values > 1 or is_test_figure, (run.info.run_name, metric)
    assert {run.info.status for run in runs} == {"FINISHED"}
    pruned = [run for run in runs if run.data.tags["state"] == "pruned"]
    assert pruned
    assert all(run.info.run_name.endswith("(pruned)") for run in pruned)
    assert all("**Pruned**" in run.data.tags["mlflow.note.content"] for run in pruned)
    [version] = client.search_model_versions("")
    assert re.fullmatch(r"o_brien_s _cart_ _x_ _b_-[0-9a-f]{8}", version.name)
    outputs = {run.data.tags["role"] for run in runs if run.outputs.model_outputs}
    assert outputs == {"study", "final"}


@pytest.fixture(scope="module")
def report(finished_home: Path) -> Path:
    file = finished_home / "report.html"
    subprocess.run([PROGRAM, "report", STUDY, "--out", file], env=at_home(finished_home), check=True)
    return file


def test_the_report_fits_its_page(report: Path, page: "Page") -> None:
    page.goto(report.as_uri())
    check_fits(page)
    assert page.inner_text("h1") == f"Study {STUDY}"


def test_the_report_of_many_hyperparameters_and_long_names_fits_its_page(page: "Page", tmp_path: Path) -> None:
    space = load_space("hrnn")
    study = optuna.create_study(study_name="my-company_clickstream-of-september-2026", direction="maximize")
    facts = {"data": "data/a-log-with-a-long-name", "data_hash": "h", "sampler": "tpe", "pruner": "none", "seed": 0}
    facts |= {"split_seed": 0, "protocol": "leave-one-out", "seen": "keep", "objective": "value_weighted_ndcg_at_10"}
    write_record(study, new_record(space, **facts))
    distributions = {name: parameter.distribution() for name, parameter in space.searched.items()}
    trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(12):
        params = trials.ask(distributions).params
        curve = {epoch_key(epoch): {"metrics": {facts["objective"]: 0.01 * number * epoch}} for epoch in (1, 2, 3)}
        attributes = {**curve, ROLE: "defaults"} if number == 0 else curve
        study.add_trial(
            create_trial(value=0.03 * number, params=params, distributions=distributions, user_attrs=attributes)
        )
    names = ("tuned", "defaults", "popularity", "recent_popularity", "own_items", "item_knn", "easer")
    metrics = {name: dict.fromkeys((*METRICS, facts["objective"]), 0.1) for name in names}
    study.set_user_attr(LEADERBOARD, {"metrics": metrics, "winner": 11, "opening": 1, "n_done": 12, "n_test_users": 60})
    (tmp_path / "wide.html").write_text(render_report(study), encoding="utf-8")
    page.goto((tmp_path / "wide.html").as_uri())
    check_fits(page)


def test_the_readmes_picture_is_made_of_a_finished_study(finished_home: Path) -> None:
    file = finished_home / "images" / "study.png"
    subprocess.run([sys.executable, PICTURE, STUDY, file], env=at_home(finished_home), check=True, capture_output=True)
    with Image.open(file) as picture:
        width, height = picture.size
    assert width == 1300
    assert 900 < height < 2_500
    assert file.stat().st_size < 200_000
