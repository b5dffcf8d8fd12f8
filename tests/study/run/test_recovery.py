"""Trials whose worker is gone are noticed, marked and queued again, from where they were."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from study_fakes import KilledError, dies

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIGURATION, FAILURE, STARTS, SUMMARY, WORKER, epoch_key
from hrnn_hpo.study.folders import study_folder, trial_folder
from hrnn_hpo.study.run import recovery
from hrnn_hpo.study.run import trial as trials
from hrnn_hpo.study.run.recovery import Recovery, is_dead, this_worker
from hrnn_hpo.study.run.trial_files import drop_files
from hrnn_hpo.study.storage.database import create_study, load_study, open_storage
from hrnn_hpo.study.storage.stale_trials import retry_stale_trial
from hrnn_hpo.study.tune import tune


@pytest.fixture
def study() -> optuna.Study:
    return create_study("s", open_storage(create=True))


def running(study: optuna.Study, worker: dict[str, Any] | None) -> optuna.Trial:
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = study.ask()
    trial.suggest_int("n", 1, 9)
    trial.set_user_attr(CONFIGURATION, {})  # all is drawn
    if worker is not None:
        trial.set_user_attr(WORKER, worker)
    return trial


def gone() -> dict[str, Any]:
    """Return a worker of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return {**this_worker(), "pid": process.pid}


def test_a_worker_is_dead_only_where_its_process_id_means_something() -> None:
    assert is_dead(gone())
    assert not is_dead(this_worker())
    assert not is_dead({**gone(), "machine": "another"})
    assert not is_dead(None)


def test_a_process_that_ended_and_was_not_waited_for_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert is_dead({**this_worker(), "pid": process.pid})
    process.wait()


def test_a_lost_trial_is_queued_again_with_its_parameters_epochs_and_seed(study: optuna.Study) -> None:
    trial = running(study, gone())
    trial.report(0.5, 0)
    trial.set_user_attr(epoch_key(1), {"metrics": {"ndcg_at_10": 0.5}})
    Recovery("s", open_storage()).run()
    lost, again = study.trials
    assert (lost.state, again.state) == (TrialState.FAIL, TrialState.WAITING)
    assert again.params == lost.params
    assert again.intermediate_values == {0: 0.5}
    assert epoch_key(1) in again.user_attrs
    assert WORKER not in again.user_attrs  # nobody has it yet
    assert FAILURE not in again.user_attrs


REQUEUE = "hrnn_hpo.study.storage.stale_trials.RetryHeartbeatStaleTrialCallback"  # the write after FAIL


@pytest.mark.parametrize("noticed_by", ["process", "heartbeat"])
def test_a_trial_that_was_marked_goes_on_though_whoever_marked_it_died_before_it_was_queued_again(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, noticed_by: str
) -> None:
    storage = open_storage()
    trial = running(study, gone() if noticed_by == "process" else {"machine": "another", "pid": 1})
    trial.set_user_attr(epoch_key(1), {})
    if noticed_by == "heartbeat":
        storage.record_heartbeat(trial._trial_id)
        monkeypatch.setattr(storage, "grace_period", -1)
    with monkeypatch.context() as patch:
        patch.setattr(REQUEUE, dies)
        with pytest.raises(KilledError):
            Recovery("s", storage).run()
    trial_folder(study, 0).mkdir(parents=True)
    drop_files(study)
    assert trial_folder(study, 0).is_dir()
    assert [one.state for one in study.trials] == [TrialState.FAIL]
    for _ in range(2):  # the second time there is nothing left to do
        Recovery("s", open_storage()).run()
        assert [one.state for one in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert epoch_key(1) in study.trials[1].user_attrs


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("n_signals", [1, 2])
def test_a_stopped_trial_goes_on_though_its_process_died_before_it_was_queued_again(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch, n_signals: int
) -> None:
    def stop(run: int, epoch: int) -> None:
        if (run, epoch) == (1, 3):
            for _ in range(n_signals):
                signal.raise_signal(signal.SIGINT)

    fake_experiment.before_epoch = stop
    with monkeypatch.context() as patch:
        patch.setattr(REQUEUE, dies)
        with pytest.raises(KilledError):
            tune(log, study="s", space=space, n_trials=2)
    study = load_study("s", open_storage())
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]
    assert tune(log, study="s", n_trials=2).trials.complete == 2
    assert fake_experiment.epochs == [1, 2, 3, 4] * 2
    assert study.trials[2].params == study.trials[1].params
    assert study.trials[2].user_attrs[STARTS] == [4 - n_signals]  # being stopped is no start that brought nothing


def test_a_trial_that_failed_for_its_own_reason_or_is_given_up_is_not_queued_again(
    study: optuna.Study, home: Path
) -> None:
    for name, value in ((FAILURE, {"reason": "ValueError", "traceback": "Traceback"}), (STARTS, [0, 0, 0])):
        trial = running(study, None)
        trial.set_user_attr(name, value)
        study.tell(trial, state=TrialState.FAIL)
        trial_folder(study, trial.number).mkdir(parents=True)
    Recovery("s", open_storage()).run()
    drop_files(study)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.FAIL]
    assert list(study_folder(study).iterdir()) == []


def test_a_trial_that_dies_while_its_parameters_are_drawn_draws_all_of_them_anew(study: optuna.Study) -> None:
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = study.ask()
    trial.suggest_int("n", 1, 9)
    trial.set_user_attr(WORKER, gone())
    Recovery("s", open_storage()).run()
    assert study.trials[1].params == {}
    assert study.trials[1].system_attrs["failed_trial"] == 0


@pytest.mark.usefixtures("tracker")
def test_a_trained_trial_whose_process_dies_before_its_end_is_told_is_not_pruned_afterwards(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruner = optuna.pruners.ThresholdPruner(lower=0.0)
    train = trials.run_experiment

    def stops_early(experiment: Any, **options: Any) -> Any:
        configuration = experiment.configuration
        short = configuration.hyperparameters.model_copy(update={"epochs": 2})
        return train(
            replace(experiment, configuration=configuration.model_copy(update={"hyperparameters": short})), **options
        )

    monkeypatch.setattr(trials, "run_experiment", stops_early)
    tune(log, study="s", space=space, n_trials=1, pruner=pruner)
    with monkeypatch.context() as patch:
        patch.setattr("hrnn_hpo.study.run.trial.this_worker", gone)
        patch.setattr(optuna.Study, "optimize", _optimize_without_tell)
        patch.setattr(Recovery, "run", lambda self: None)
        tune(log, study="s", n_trials=2, pruner=pruner)
    study = load_study("s", open_storage())
    assert study.trials[1].state == TrialState.RUNNING
    assert SUMMARY in study.trials[1].user_attrs
    pruner = optuna.pruners.ThresholdPruner(lower=2.0)  # by now the others are far ahead
    tune(log, study="s", n_trials=2, pruner=pruner)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_a_running_trial_of_a_living_worker_is_left_alone(study: optuna.Study) -> None:
    running(study, this_worker())
    Recovery("s", open_storage()).run()
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]


def test_a_trial_that_nobody_claims_is_lost_after_a_minute(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(study, None)
    clock = {"now": 100.0}
    monkeypatch.setattr(recovery.time, "monotonic", lambda: clock["now"])
    watch = Recovery("s", open_storage())
    watch.run()
    clock["now"] += recovery.UNCLAIMED_SECONDS - 1
    watch.run()
    assert study.trials[0].state == TrialState.RUNNING
    clock["now"] += 2
    watch.run()
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_that_kills_its_workers_is_given_up_after_three_starts_without_an_epoch(study: optuna.Study) -> None:
    for _ in range(3):
        trial = running(study, gone())
        before = study.trials[trial.number].user_attrs.get(STARTS, [])
        trial.set_user_attr(STARTS, [*before, 0])
        Recovery("s", open_storage()).run()
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL", "FAIL"]


def test_a_trial_that_makes_progress_is_retried_however_often_its_worker_dies(study: optuna.Study) -> None:
    for epoch in range(1, 7):
        trial = running(study, gone())
        before = study.trials[trial.number].user_attrs.get(STARTS, [])
        trial.set_user_attr(STARTS, [*before, epoch - 1])
        trial.set_user_attr(epoch_key(epoch), {})
        Recovery("s", open_storage()).run()
    assert study.trials[-1].state == TrialState.WAITING


def test_the_checkpoint_of_a_stopped_trial_outlives_the_moment_before_it_is_queued_again(
    study: optuna.Study, home: Path
) -> None:
    failures = [{"reason": "interrupted, after epoch 3"}, {"reason": "ValueError", "traceback": "Traceback"}]
    for failure in failures:
        trial = running(study, None)
        trial.set_user_attr(FAILURE, failure)
        trial_folder(study, trial.number).mkdir(parents=True)
        study.tell(trial, state=TrialState.FAIL)
    drop_files(study)  # by another worker, which has just ended a trial of its own
    assert [path.name for path in study_folder(study).iterdir()] == ["0"]


def test_heartbeats_tell_of_workers_on_other_machines(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = running(study, {"machine": "another", "pid": 1})
    storage = open_storage()
    storage.record_heartbeat(trial._trial_id)
    Recovery("s", storage).run()
    assert study.trials[0].state == TrialState.RUNNING
    monkeypatch.setattr(storage, "grace_period", -1)
    Recovery("s", storage).run()
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


@pytest.mark.usefixtures("tracker")
def test_a_study_goes_on_with_the_trial_of_a_killed_process(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(log, study="s", space=space, n_trials=1)
    study = load_study("s", open_storage())
    with monkeypatch.context() as patch:  # what a killed process leaves: a RUNNING trial, a checkpoint, its epochs
        patch.setattr("hrnn_hpo.study.run.trial.this_worker", gone)
        fake_experiment.before_epoch = lambda run, epoch: dies() if (run, epoch) == (1, 3) else None
        patch.setattr(optuna.Study, "optimize", _optimize_without_tell)
        patch.setattr(Recovery, "run", lambda self: None)
        with pytest.raises(KilledError):
            tune(log, study="s", n_trials=2)
    assert study.trials[1].state == TrialState.RUNNING
    fake_experiment.before_epoch = lambda run, epoch: None
    fake_experiment.epochs.clear()
    result = tune(log, study="s", n_trials=2)
    assert fake_experiment.epochs == [3, 4]
    assert result.trials.complete == 2
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[2].params == study.trials[1].params
    assert study.trials[2].user_attrs[STARTS] == [0, 2]


def _optimize_without_tell(self: optuna.Study, func: Any, **_: Any) -> None:
    self._thread_local.in_optimize_loop = True
    try:
        func(self.ask())
    finally:
        self._thread_local.in_optimize_loop = False


def test_retrying_keeps_the_first_number_of_a_chain(study: optuna.Study) -> None:
    running(study, None)
    for number in range(2):
        study.tell(number, state=TrialState.FAIL)
        retry_stale_trial(study, study.trials[number])
        with pytest.warns(UserWarning, match="Heartbeat"):
            study.ask()
    assert study.trials[2].system_attrs["failed_trial"] == 0
    assert study.trials[2].system_attrs["retry_history"] == [0, 1]
