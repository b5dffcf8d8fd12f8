"""What `tune` is asked: what it refuses with nothing written, enqueued trials, solutionConfigs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from tuned import study_of

from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import make_dataset, markov
from hrnn_hpo.errors import ConfigError, DataError, SpaceError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.storage.database import open_storage
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")


@pytest.mark.parametrize(
    "setting", [{"split_seed": 1}, {"protocol": "leave-one-out"}, {"objective": "mrr_at_25"}, {"seed": 8}]
)
def test_a_changed_setting_refuses_to_continue_and_shows_the_difference(
    log: Dataset, space: SearchSpace, setting: dict[str, Any]
) -> None:
    tune(log, study="s", space=space, n_trials=1)
    [(name, value)] = setting.items()
    with pytest.raises(StudyError, match=rf"{name}: .* -> {value}"):
        tune(log, study="s", n_trials=2, **setting)


def test_changed_data_and_a_changed_space_are_refused_together(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=1)
    with pytest.raises(StudyError) as refused:
        tune(
            markov(n_users=61, n_events=20),
            study="s",
            space=space.narrow({}, {"recency_mask": False}, "mine"),
            n_trials=2,
        )
    assert "data_hash: " in str(refused.value)
    assert "space: recency_mask: searched in one of" in str(refused.value)
    assert len(study_of().trials) == 1


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_space_under_another_name_continues(log: Dataset, space: SearchSpace, sampler: str) -> None:
    tune(log, study="s", space=space, n_trials=1)
    same = dataclasses.replace(space, name="renamed")
    assert tune(log, study="s", space=same, n_trials=2, sampler=sampler).trials.complete == 2


def test_enqueued_configurations_run_after_the_defaults_and_once(
    log: Dataset, space: SearchSpace, tmp_path: Path
) -> None:
    known = tmp_path / "known.yaml"
    known.write_text("hyperparameters: {hidden_dimension: 40, bptt: 16, epochs: 4}\nprotocol: leave-one-out\n")
    flat = tmp_path / "flat.yaml"
    flat.write_text("hidden_dimension: 64\nrecency_mask: false\n")
    for n_trials in (3, 4):
        tune(log, study="s", space=space, n_trials=n_trials, enqueue=[known, flat, {"learning_rate": 0.05}])
    found = [(trial.params["hidden_dimension"], trial.params["learning_rate"]) for trial in study_of().trials]
    assert found == [(16, 0.01), (40, 0.01), (64, 0.01), (16, 0.05)]


def test_an_enqueued_configuration_outside_the_space_is_refused_before_anything_is_written(
    log: Dataset, space: SearchSpace, home: Path
) -> None:
    with pytest.raises(SpaceError, match=r"hidden_dimension: must lie in \[8, 64\], but got 65"):
        tune(log, study="s", space=space, enqueue=[{"hidden_dimension": 65}])
    with pytest.raises(StudyError, match="no study 's'"):
        study_of()


def test_a_solution_config_narrows_the_space_and_limits_the_trials(
    log: Dataset, space: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "solution.json"
    path.write_text(
        """{"hpoConfig": {"hpoResourceConfig": {"maxNumberOfTrainingJobs": "3", "maxParallelTrainingJobs": "1"},
        "algorithmHyperParameterRanges": {"integerHyperParameterRanges":
        [{"name": "hidden_dimension", "minValue": 32, "maxValue": 48}]}}}"""
    )
    for _ in range(2):
        result = tune(log, study="s", space=space, solution_config=path)
    assert result.trials.complete == 3
    assert all(32 <= trial.params["hidden_dimension"] <= 48 for trial in study_of().trials)
    assert all("recency_mask" not in trial.params for trial in study_of().trials)


def test_what_a_solution_config_asks_in_vain_is_told(
    log: Dataset, space: SearchSpace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "solution.json"
    path.write_text('{"algorithmHyperParameters": {"hidden_dimension": "32"}, "autoMLConfig": {"x": 1}}')
    tune(log, study="s", space=space, n_trials=1, solution_config=path)
    assert "autoMLConfig has no effect here." in caplog.text


def test_a_solution_config_chooses_events_by_type_and_value(space: SearchSpace, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        [
            (f"u{user}", f"i{(user + event) % 20}", 1000 * event, "view" if event % 4 else "buy", float(event % 3))
            for user in range(60)
            for event in range(90)
        ],
        columns=["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "EVENT_VALUE"],
    )
    frame.to_csv(tmp_path / "log.csv", index=False)
    config = {"algorithmHyperParameters": {"hidden_dimension": "32"}, "eventValueThreshold": "1"}
    (tmp_path / "solution.json").write_text(json.dumps({"eventType": "view", "solutionConfig": config}))
    asked: dict[str, Any] = {"study": "s", "space": space, "n_trials": 1, "solution_config": tmp_path / "solution.json"}
    result = tune(tmp_path / "log.csv", **asked)
    wanted = frame[(frame.EVENT_TYPE == "view") & (frame.EVENT_VALUE >= 1)]
    assert load_dataset(Path(result.record.data)).n_events == len(wanted)
    assert tune(tmp_path / "log.csv", **asked).record.data_hash == result.record.data_hash
    with pytest.raises(ConfigError, match="nothing is left to choose by event_type"):
        tune(load_dataset(tmp_path / "log.csv"), **{**asked, "study": "other"})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"space": None}, ConfigError, "is new: --space"),
        ({"objective": "ndcg_at_11"}, ConfigError, "did you mean 'ndcg_at_10'"),
        ({"protocol": "none"}, ConfigError, "needs validation users"),
        ({"n_trials": 0}, ConfigError, "--n-trials > 0"),
        ({"sampler": "tpe2"}, ConfigError, "did you mean 'tpe'"),
        ({"space": "no-such-space"}, SpaceError, "no-such-space"),
    ],
)
def test_wrong_requests_leave_no_study_behind(
    log: Dataset, space: SearchSpace, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        tune(log, study="s", **{"space": space, **options})
    assert optuna.get_all_study_names(open_storage(create=True)) == []


def test_too_little_data_leaves_no_study_behind(space: SearchSpace) -> None:
    with pytest.raises(DataError, match="1,000"):
        tune(make_dataset([[("a", 1), ("b", 2)]] * 30), study="s", space=space)
    assert optuna.get_all_study_names(open_storage()) == []
