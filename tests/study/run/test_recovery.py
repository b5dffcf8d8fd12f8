"""Trials whose worker is gone are noticed, marked and queued again, from where they were."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import FAILURE, STARTS, WORKER, epoch_key
from hrnn_hpo.study.folders import study_folder, trial_folder
from hrnn_hpo.study.run import recovery
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
        fake_experiment.before_epoch = lambda run, epoch: _die(run, epoch)
        patch.setattr(optuna.Study, "optimize", _optimize_without_tell)
        patch.setattr(Recovery, "run", lambda self: None)
        with pytest.raises(_Killed):
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


class _Killed(BaseException):
    pass


def _die(run: int, epoch: int) -> None:
    if (run, epoch) == (1, 3):
        raise _Killed


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
