"""What leaves a study: best.yaml, trials.csv, Amazon's JSON, plots."""

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
from typer.testing import CliRunner

from hrnn_hpo.cli.main import app
from hrnn_hpo.config import load_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, SpaceError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.report.importance import importances
from hrnn_hpo.study.results.export import export
from hrnn_hpo.study.results.plots import draw_plots
from hrnn_hpo.study.storage.database import create_study, load_study, open_storage
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")


@pytest.mark.parametrize("name", ["best.yaml", "best.json", "deep/er/best.yml"])
def test_the_file_is_the_best_trials_configuration(log: Dataset, space: SearchSpace, tmp_path: Path, name: str) -> None:
    result = tune(log, study="s", space=space, n_trials=3)
    assert load_configuration(export("s", tmp_path / name)) == result.configuration


def test_another_trial_can_be_asked_for(log: Dataset, space: SearchSpace, tmp_path: Path) -> None:
    tune(log, study="s", space=space, n_trials=3)
    assert load_configuration(export("s", tmp_path / "0.yaml", trial=0)).hyperparameters.hidden_dimension == 16
    with pytest.raises(StudyError, match="Trial 9"):
        export("s", tmp_path / "9.yaml", trial=9)
    assert not (tmp_path / "9.yaml").exists()


def test_a_trial_that_went_on_goes_by_its_first_number_too(
    log: Dataset, space: SearchSpace, tmp_path: Path, fake_experiment: Any
) -> None:
    fake_experiment.before_epoch = lambda run, epoch: (run, epoch) == (0, 2) and signal.raise_signal(signal.SIGINT)
    tune(log, study="s", space=space, n_trials=1)
    tune(log, study="s", n_trials=1)
    first, second = (load_configuration(export("s", tmp_path / f"{n}.yaml", trial=n)) for n in (0, 1))
    assert first == second


def test_an_exported_configuration_can_be_tried_by_another_study(
    log: Dataset, space: SearchSpace, tmp_path: Path
) -> None:
    tune(log, study="s", space=space, n_trials=3)
    best = export("s", tmp_path / "best.yaml")
    tune(log, study="t", space=space, n_trials=2, enqueue=[best])
    found = load_configuration(best).hyperparameters
    tried = load_configuration(export("t", tmp_path / "again.yaml", trial=1)).hyperparameters
    assert tried == found


def test_the_study_says_how_long_an_enqueued_configuration_trains(
    log: Dataset, space: SearchSpace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tune(log, study="s", space=space, n_trials=3)
    best = export("s", tmp_path / "best.yaml")
    longer = space.narrow({}, {"epochs": 7, "patience": 2}, "mine")
    tune(log, study="t", space=longer, n_trials=2, enqueue=[best])
    assert f"{best}: epochs is 7 in this study, not 4." in caplog.text
    tried = load_configuration(export("t", tmp_path / "again.yaml", trial=1)).hyperparameters
    found = load_configuration(best).hyperparameters
    assert tried == found.model_copy(update={"epochs": 7, "patience": 2})
    other = space.narrow({}, {"n_blocks": 2}, "mine")  # another model is no matter of budget
    with pytest.raises(SpaceError, match="n_blocks"):
        tune(log, study="u", space=other, n_trials=2, enqueue=[best])


def test_a_solution_config_is_not_enqueued(log: Dataset, space: SearchSpace, tmp_path: Path) -> None:
    tune(log, study="s", space=space.narrow({}, {"hidden_dimension": 48}, "mine"), n_trials=1)
    solution = export("s", tmp_path / "solution.json", "personalize")
    with pytest.raises(ConfigError, match="is a solutionConfig of Amazon Personalize, which --solution-config reads"):
        tune(log, study="t", space=space, n_trials=1, enqueue=[solution])


def test_the_ending_and_the_format_say_the_same(log: Dataset, space: SearchSpace, tmp_path: Path) -> None:
    tune(log, study="s", space=space.narrow({}, {"hidden_dimension": 48}, "mine"), n_trials=1)
    with pytest.raises(ConfigError, match=r"must end in \.yaml, \.yml, \.json, or --format must say what to write"):
        export("s", tmp_path / "best.txt")
    with pytest.raises(ConfigError, match=r"--format personalize writes JSON, but the name ends in \.yaml"):
        export("s", tmp_path / "best.yaml", "personalize")
    with pytest.raises(ConfigError, match=r"--format yaml writes YAML, but the name ends in \.json"):
        export("s", tmp_path / "best.json", "yaml")
    assert not list(tmp_path.glob("best.*"))
    assert load_configuration(export("s", tmp_path / "best.txt", "yaml")).hyperparameters.hidden_dimension == 48


def test_amazons_validator_accepts_the_solution_config(log: Dataset, space: SearchSpace, tmp_path: Path) -> None:
    small = space.narrow({}, {"hidden_dimension": 48}, "mine")
    tune(log, study="s", space=small, n_trials=2)
    content = json.loads(export("s", tmp_path / "solution.json", "personalize").read_text())
    assert content["algorithmHyperParameters"]["hidden_dimension"] == "48"
    shape = Session().get_service_model("personalize").shape_for("SolutionConfig")
    assert not ParamValidator().validate(content, shape).has_errors()


def test_what_the_service_has_no_place_for_is_told(
    log: Dataset, space: SearchSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tune(log, study="s", space=space.narrow({}, {"hidden_dimension": 48, "learning_rate": 0.02}, "mine"), n_trials=1)
    done = CliRunner().invoke(app, ["export", "s", "--out", str(tmp_path / "solution.json"), "--format", "personalize"])
    assert done.exit_code == 0
    told = capsys.readouterr().err + done.stderr
    lacking = "repeats=mixed, epochs=4, targets_ahead=1.5, batch_size=16, learning_rate=0.02"
    assert f"a solutionConfig has no place for {lacking}" in told
    assert done.stdout == ""


def test_a_study_without_a_complete_trial_has_nothing_to_export(tmp_path: Path) -> None:
    create_study("empty", open_storage(create=True))
    with pytest.raises(StudyError, match="no complete trial"):
        export("empty", tmp_path / "best.yaml")


def test_a_place_that_cannot_be_written_is_refused(log: Dataset, space: SearchSpace, tmp_path: Path) -> None:
    tune(log, study="s", space=space, n_trials=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        export("s", tmp_path / "file" / "best.yaml")


def test_trials_csv_has_a_row_per_trial_with_its_figures(
    log: Dataset, space: SearchSpace, tmp_path: Path, fake_experiment: Any
) -> None:
    def fail(run: int, epoch: int) -> None:
        if run == 1:
            raise ValueError("odd,\nreason")

    fake_experiment.before_epoch = fail
    tune(log, study="s", space=space, n_trials=2, out=tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "trials.csv").read_text().splitlines(keepends=True)))
    study = load_study("s", open_storage())
    assert [row["state"] for row in rows] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert rows[0]["role"] == "defaults"
    assert rows[1]["reason"] == "ValueError: odd,\nreason"
    assert [float(rows[i]["value"]) for i in (0, 2)] == [study.trials[i].value for i in (0, 2)]
    assert int(rows[2]["hidden_dimension"]) == study.trials[2].params["hidden_dimension"]
    assert float(rows[2]["ndcg_at_10"]) == study.trials[2].value


def test_plots_need_trials(log: Dataset, space: SearchSpace, tmp_path: Path) -> None:
    study = create_study("empty", open_storage(create=True))
    assert draw_plots(tmp_path, study, "ndcg_at_10") == []
    tune(log, study="s", space=space, n_trials=6, pruner="none")
    drawn = draw_plots(tmp_path, load_study("s", open_storage()), "ndcg_at_10")
    assert [path.name for path in drawn] == ["history.png", "learning_curves.png", "importance.png"]
    assert all(path.stat().st_size > 5_000 for path in drawn)
    assert sum(importances(load_study("s", open_storage())).values()) == pytest.approx(1)
