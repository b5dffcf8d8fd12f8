"""What MLflow is told about a study, seen through a tracker that remembers."""

from typing import Any

import optuna
import pytest
import yaml
from confirmations import confirmation_of
from optuna.trial import TrialState, create_trial
from study_fakes import FakeTracker

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIGURATION, epoch_key
from hrnn_hpo.study.confirm.leaderboard import LEADERBOARD, Leaderboard
from hrnn_hpo.study.confirm.test_part import OPENINGS
from hrnn_hpo.study.confirmation import Contender
from hrnn_hpo.study.folders import study_folder
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.results.manage import delete_study
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.track.study_runs import StudyRuns
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("fake_experiment")


def trials(tracker: FakeTracker) -> list[dict[str, Any]]:
    return sorted(tracker.by_role("trial"), key=lambda run: int(run["tags"]["trial"]))


def test_a_study_is_a_parent_run_with_a_child_per_trial(log: Dataset, space: SearchSpace, tracker: FakeTracker) -> None:
    result = tune(log, study="s", space=space, n_trials=3)
    [parent] = tracker.by_role("study")
    assert parent["name"] == "s"
    assert parent["status"] == "KILLED"  # the test part is not opened here, so the study is not complete
    assert parent["params"]["objective"] == "ndcg_at_10"
    assert parent["tags"]["data_hash"] == log.content_hash
    assert parent["tags"]["best_trial"] == str(result.best_trial)
    assert {"space.yaml", "study.yaml", "trials.csv", "best.yaml", "plots/history.png"} <= parent["texts"].keys()
    assert [run["name"] for run in trials(tracker)] == ["trial 0", "trial 1", "trial 2"]
    for run in trials(tracker):
        assert run["parent"] == "run-0"
        assert run["status"] == "FINISHED"
        assert run["tags"]["phase"] == "search"
        assert run["tags"]["state"] == "complete"
        assert run["tags"]["protocol"] == "personalize"
        assert yaml.safe_load(run["texts"]["configuration.yaml"])["best_epoch"] == 4


def test_every_metric_of_every_epoch_is_written_and_the_best_ones_last(
    log: Dataset, space: SearchSpace, tracker: FakeTracker
) -> None:
    result = tune(log, study="s", space=space, n_trials=1)
    [run] = trials(tracker)
    assert sorted(run["metrics"]) == [1, 2, 3, 4, 5]
    for epoch in range(1, 5):
        assert set(run["metrics"][epoch]) == {
            "ndcg_at_10",
            "coverage",
            "train_loss",
            "epoch_seconds",
            "validation_seconds",
            "targets_per_second",
        }
    assert run["metrics"][5]["ndcg_at_10"] == result.best_value
    assert run["tags"]["best_epoch"] == "4"


def test_all_resolved_hyperparameters_are_parameters(log: Dataset, space: SearchSpace, tracker: FakeTracker) -> None:
    tune(log, study="s", space=space, n_trials=1)
    params = trials(tracker)[0]["params"]
    assert params["hidden_dimension"] == 16
    assert params["batch_size"] == 16  # of no space, and still told, as the number that the log made of `auto`
    assert isinstance(params["seed"], int)


def test_a_retry_goes_on_in_the_same_run(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any
) -> None:
    import signal

    fake_experiment.before_epoch = lambda run, epoch: (
        signal.raise_signal(signal.SIGINT) if (run, epoch) == (1, 2) else None
    )
    tune(log, study="s", space=space, n_trials=3)
    assert trials(tracker)[1]["tags"]["state"] == "fail"
    tune(log, study="s", n_trials=3)
    assert [run["tags"]["trial"] for run in trials(tracker)] == ["0", "1", "3"]
    assert trials(tracker)[1]["status"] == "FINISHED"
    assert sorted(trials(tracker)[1]["metrics"]) == [1, 2, 3, 4, 5]
    assert len(tracker.by_role("study")) == 1


def test_a_failed_trial_carries_its_traceback(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any
) -> None:
    def fail(run: int, epoch: int) -> None:
        raise RunFailedError("loss is nan")

    fake_experiment.before_epoch = fail
    with pytest.raises(RunFailedError):
        tune(log, study="s", space=space, n_trials=1)
    run = trials(tracker)[0]
    assert run["status"] == "FAILED"
    assert run["tags"]["reason"] == "RunFailedError: loss is nan"
    assert run["texts"]["failure.txt"].startswith("Traceback")
    assert tracker.by_role("study")[0]["status"] == "FAILED"


def test_a_store_that_was_down_for_a_while_is_completed_at_the_end(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any
) -> None:
    def outage(run: int, epoch: int) -> None:
        tracker.down = (run, epoch) in ((0, 3), (0, 4), (1, 1), (1, 2))

    fake_experiment.before_epoch = outage
    tune(log, study="s", space=space, n_trials=3)
    assert [sorted(run["metrics"]) for run in trials(tracker)] == [[1, 2, 3, 4, 5]] * 3
    assert [run["status"] for run in trials(tracker)] == ["FINISHED"] * 3


def test_runs_that_a_killed_process_left_open_are_closed_by_the_next_one(
    log: Dataset, space: SearchSpace, tracker: FakeTracker
) -> None:
    tune(log, study="s", space=space, n_trials=3)
    left_open = trials(tracker)[1]
    left_open["status"] = "RUNNING"
    left_open["metrics"].pop(4)
    tune(log, study="s", n_trials=4)
    assert [run["status"] for run in trials(tracker)] == ["FINISHED"] * 4
    assert [sorted(run["metrics"]) for run in trials(tracker)] == [[1, 2, 3, 4, 5]] * 4


def test_sync_rebuilds_everything_from_optunas_storage(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any
) -> None:
    tune(log, study="s", space=space, n_trials=8)
    before = trials(tracker)
    tracker.runs.clear()
    assert sync("s") == 9
    after = trials(tracker)
    for name in ("name", "params", "metrics", "status", "texts"):
        assert [run[name] for run in after] == [run[name] for run in before]
    assert [{**run["tags"], "retry": ""} for run in after] == [{**run["tags"], "retry": ""} for run in before]


def test_sync_twice_writes_nothing_twice(log: Dataset, space: SearchSpace, tracker: FakeTracker) -> None:
    tune(log, study="s", space=space, n_trials=3)
    sync("s")
    sync("s")
    assert len(tracker.runs) == 4


def test_a_pruned_trial_reads_as_pruned(log: Dataset, space: SearchSpace, tracker: FakeTracker) -> None:
    tune(log, study="s", space=space, n_trials=2)
    study = load_study("s", open_storage())
    plain = study.trials[1]
    study.add_trial(
        create_trial(
            state=TrialState.PRUNED,
            value=0.25,
            params=plain.params,
            distributions=plain.distributions,
            user_attrs={key: value for key, value in plain.user_attrs.items() if key in (epoch_key(1), CONFIGURATION)},
        )
    )
    sync("s")
    pruned = trials(tracker)[2]
    assert (pruned["name"], pruned["status"], pruned["tags"]["state"]) == ("trial 2 (pruned)", "FINISHED", "pruned")
    assert pruned["description"].startswith("**Pruned** after epoch 1,")
    assert "0.2500" in pruned["description"]


def test_the_studys_curves_are_the_best_so_far_and_one_value_is_none(
    log: Dataset, space: SearchSpace, tracker: FakeTracker
) -> None:
    tune(log, study="s", space=space, n_trials=1, pruner="none")
    [parent] = tracker.by_role("study")
    assert parent["metrics"] == {}
    result = tune(log, study="s", n_trials=6)
    [parent] = tracker.by_role("study")
    curve = [figures["ndcg_at_10"] for _, figures in sorted(parent["metrics"].items())]
    assert len(curve) > 1
    assert curve == sorted(curve)
    assert curve[-1] == result.best_value
    assert max(parent["metrics"]) == 6


def test_sync_fails_where_mlflow_did_not_take_everything(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(log, study="s", space=space, n_trials=1)

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("no such letter")

    monkeypatch.setattr("hrnn_hpo.study.results.to_mlflow.trials_table", refuse)
    with pytest.raises(RunFailedError, match=r"did not take all of study 's'.*no such letter"):
        sync("s")


def test_deleting_a_study_deletes_its_runs_trials_and_files(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, home: Any
) -> None:
    tune(log, study="s", space=space, n_trials=2)
    tune(log, study="t", space=space, n_trials=1)
    delete_study("s")
    assert {run["tags"]["study"] for run in tracker.runs.values()} == {"t"}
    assert optuna.get_all_study_names(open_storage()) == ["t"]
    assert [path.name for path in (home / "checkpoints").iterdir()] == [
        study_folder(load_study("t", open_storage())).name
    ]
    tune(log, study="s", space=space, n_trials=1)  # the name is free again
    assert len(load_study("s", open_storage()).trials) == 1


def runs_of_a_study(log: Dataset, space: SearchSpace, tracker: FakeTracker) -> StudyRuns:
    """Return the MLflow side of a study of one trial, to go on with."""
    tune(log, study="s", space=space, n_trials=1)
    runs = StudyRuns(tracker, "s", read_record(load_study("s", open_storage())))  # type: ignore[arg-type]
    runs.join_parent()
    return runs


def test_a_second_opening_has_runs_of_its_own_with_the_new_winners_parameters(
    log: Dataset, space: SearchSpace, tracker: FakeTracker
) -> None:
    runs = runs_of_a_study(log, space, tracker)
    for opening, hidden_dimension in ((1, 16), (2, 48), (2, 48)):  # and again, as `sync` does
        refit = {"configuration": {"hyperparameters": {"hidden_dimension": hidden_dimension}}, "train_loss": []}
        runs.log_tests({"tuned": {"ndcg_at_10": 0.01 * hidden_dimension}}, "tuned", refit, opening=opening, opened=0.0)
    first, second = tracker.by_role("final")
    assert (first["name"], second["name"]) == ("test: tuned", "test: tuned (opening 2)")
    assert (first["params"]["hidden_dimension"], first["metrics"][0]) == (16, {"test_ndcg_at_10": 0.16})
    assert (second["params"]["hidden_dimension"], second["metrics"][0]) == (48, {"test_ndcg_at_10": 0.48})
    assert tracker.by_role("study")[0]["tags"]["test_ndcg_at_10"] == "0.48"
    assert runs.link("it", "final", contender="tuned") == "[it](#/run-3)"  # the newest; run-0 and run-1 are the study's


def test_sync_adds_no_points_to_the_test_figures(log: Dataset, space: SearchSpace, tracker: FakeTracker) -> None:
    tune(log, study="s", space=space, n_trials=1)
    study = load_study("s", open_storage())
    study.set_user_attr(OPENINGS, [{"time": "2026-01-01T00:00:00+00:00", "trial": 0, "n_done": 1}])
    board = Leaderboard({"tuned": {"ndcg_at_10": 0.2}, "popularity": {"ndcg_at_10": 0.1}}, 7, 1, 1, 8)
    study.set_user_attr(LEADERBOARD, vars(board))
    for _ in range(2):
        sync("s")
        assert [run["points"] for run in tracker.by_role("final")] == [{("test_ndcg_at_10", 0, 1_767_225_600.0)}] * 2


def test_no_gain_of_an_earlier_look_stays_where_the_defaults_win(
    log: Dataset, space: SearchSpace, tracker: FakeTracker
) -> None:
    runs = runs_of_a_study(log, space, tracker)
    scores = {"search_value": 0.3, "scores": [0.3, 0.3], "mean": 0.3, "best_epoch": 3}
    compared = {"difference": 0.02, "low": 0.01, "high": 0.03, "p": 0.01, "p_holm": 0.01}
    for winner, verdict in ((1, "yes"), (0, "no")):
        contenders = [Contender(trial=0, **scores), Contender(trial=1, **scores, **compared)]
        found = confirmation_of(contenders, verdict=verdict, winner=winner)
        runs.log_confirmation(found)
        gain = tracker.by_role("study")[0]["tags"]["gain_over_defaults"]
        assert gain == ("0.02" if winner else "none")
