"""A study from the first trial to the last: trial 0, budgets, resuming, stopping, failing. Training is faked."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from study_fakes import FakeTracker
from tuned import study_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, DataError, RunFailedError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import WORKER, epochs_of
from hrnn_hpo.study.folders import study_folder
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.run.recovery import this_worker
from hrnn_hpo.study.run.trial_files import model_folder
from hrnn_hpo.study.team.worker import work
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")


def test_trial_0_is_the_spaces_defaults(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=2)
    first = study_of().trials[0]
    assert first.params == {"hidden_dimension": 16, "recency_mask": True, "learning_rate": 0.01}
    assert first.user_attrs["role"] == "defaults"


def test_the_best_epoch_is_the_trials_value_and_its_configuration_repeats_it(log: Dataset, space: SearchSpace) -> None:
    result = tune(log, study="s", space=space, n_trials=4)
    best = study_of().best_trial
    assert result.best_trial == best.number
    assert result.best_value == best.value == max(e["metrics"]["ndcg_at_10"] for e in epochs_of(best).values())
    assert result.configuration is not None
    assert result.configuration.best_epoch == 4
    assert result.configuration.data_hash == log.content_hash
    assert result.configuration.hyperparameters.hidden_dimension == best.params["hidden_dimension"]


def test_n_trials_counts_the_whole_study(log: Dataset, space: SearchSpace, fake_experiment: Any) -> None:
    tune(log, study="s", space=space, n_trials=3)
    tune(log, study="s", n_trials=5)
    tune(log, study="s", n_trials=5)
    assert len(fake_experiment.configurations) == 5


def test_a_failing_trial_is_recorded_and_the_study_goes_on(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    def fail(run: int, epoch: int) -> None:
        if (run, epoch) == (1, 2):
            raise MemoryError("17 GiB wanted")

    fake_experiment.before_epoch = fail
    result = tune(log, study="s", space=space, n_trials=3)
    failed = study_of().trials[1]
    assert (result.trials.complete, result.trials.failed) == (3, 1)
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs["failure"]["reason"] == "MemoryError: 17 GiB wanted"
    assert "in before_epoch" not in failed.user_attrs["failure"]["traceback"]
    assert "raise MemoryError" in failed.user_attrs["failure"]["traceback"]


def test_five_failures_in_a_row_stop_the_study_with_the_reason(
    log: Dataset, space: SearchSpace, fake_experiment: Any, tracker: FakeTracker
) -> None:
    def fail(run: int, epoch: int) -> None:
        if run > 0:
            raise RunFailedError("loss is nan in epoch 1, update 7")

    fake_experiment.before_epoch = fail
    with pytest.raises(RunFailedError, match=r"(?s)5 trials in a row failed.*loss is nan in epoch 1, update 7"):
        tune(log, study="s", space=space, n_trials=9)
    assert [trial.state.name for trial in study_of().trials] == ["COMPLETE"] + ["FAIL"] * 5
    assert tracker.by_role("study")[0]["tags"]["state"] == "failed"


def test_a_nan_score_fails_the_trial(log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study_fakes.score", lambda experiment, epoch: float("nan"))
    with pytest.raises(RunFailedError, match=r"in a row failed(?s:.*)`ndcg_at_10` must be a number, but got nan"):
        tune(log, study="s", space=space, n_trials=2)
    assert {trial.state for trial in study_of().trials} == {TrialState.FAIL}


def test_models_and_checkpoints_are_kept_for_the_best_and_the_defaults(
    log: Dataset, space: SearchSpace, home: Path
) -> None:
    result = tune(log, study="s", space=space, n_trials=8)
    kept = {path.name for path in study_folder(study_of()).iterdir() if path.is_dir()}
    pruned = {str(trial.number) for trial in study_of().trials if trial.state == TrialState.PRUNED}
    assert kept - pruned == {"0", str(result.best_trial)}
    for number in kept:  # what was pruned may go on
        trial = study_of().trials[int(number)]
        assert model_folder(study_of(), trial).is_dir() == (number not in pruned)


def test_the_defaults_are_never_pruned(log: Dataset, space: SearchSpace) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    tune(log, study="s", space=space, n_trials=3, pruner=Always())
    assert [trial.state.name for trial in study_of().trials] == ["COMPLETE", "PRUNED", "PRUNED"]


def test_callbacks_and_a_sampler_of_ones_own_are_used(log: Dataset, space: SearchSpace) -> None:
    ended = []
    tune(
        log,
        study="s",
        space=space,
        n_trials=3,
        sampler=lambda seed: optuna.samplers.RandomSampler(seed),
        callbacks=[lambda study, trial: ended.append(trial.number)],
    )
    assert ended == [0, 1, 2]
    with pytest.raises(ConfigError, match="by name"):
        tune(log, study="t", space=space, n_workers=2, sampler=optuna.samplers.RandomSampler())


def test_a_sampler_of_ones_own_must_be_given_again(log: Dataset, space: SearchSpace) -> None:
    own = optuna.samplers.RandomSampler(seed=1)
    tune(log, study="s", space=space, n_trials=1, sampler=own, pruner=optuna.pruners.NopPruner())
    message = "Study 's' has a sampler of its own, RandomSampler, .* hand it to `tune` in Python again"
    with pytest.raises(ConfigError, match=message):
        tune(log, study="s", n_trials=2)
    with pytest.raises(ConfigError, match="a pruner of its own, NopPruner"):
        tune(log, study="s", n_trials=2, sampler="random")
    with pytest.raises(ConfigError, match=message):
        work(log, "s")
    assert tune(log, study="s", n_trials=2, sampler=own, pruner="none").trials.complete == 2


def test_status_counts_what_counts(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=3)
    found = status("s")
    assert (found.trials.done, found.n_trials, found.running) == (3, 3, [])
    assert found.best_value == study_of().best_value
    with pytest.raises(StudyError, match=r"no study 'S'.*did you mean 's'|no study 'S'"):
        status("S")


def test_status_names_the_trials_whose_workers_are_gone(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=1)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    for pid in (process.pid, os.getpid()):
        with pytest.warns(UserWarning, match="Heartbeat"):
            trial = study_of().ask()
        trial.set_user_attr(WORKER, {**this_worker(), "pid": pid})
    found = status("s")
    assert (found.running, found.lost) == ([1, 2], [1])


def test_a_study_takes_a_data_frame_with_columns_of_the_users_own(log: Dataset, space: SearchSpace) -> None:
    users = np.repeat(np.asarray(log.user_ids), log.history_lengths)
    frame = pd.DataFrame({"who": users, "what": np.asarray(log.item_ids)[log.items], "when": log.timestamps})
    result = tune(frame, study="s", space=space, n_trials=1, user="who", item="what", time="when")
    assert result.record.data_hash == log.content_hash
    assert Path(result.record.data).is_dir()  # a prepared folder, which workers read too
    with pytest.raises(DataError, match="USER_ID=whose"):
        tune(frame, study="s", n_trials=1, user="whose", item="what", time="when")
    with pytest.raises(ConfigError, match="nothing is left to choose by user"):
        tune(log, study="s", n_trials=1, user="who")


def test_a_search_without_time_for_a_trial_is_no_fault_of_mlflow(
    log: Dataset, space: SearchSpace, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RunFailedError, match="No trial of study 's' has completed"):
        tune(log, study="s", space=space, timeout=1e-9)
    assert "MLflow" not in caplog.text


def test_a_search_interrupted_in_its_first_trial_is_no_fault_of_mlflow(
    log: Dataset, space: SearchSpace, fake_experiment: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fake_experiment.before_epoch = lambda run, epoch: signal.raise_signal(signal.SIGINT) if epoch == 2 else None
    assert tune(log, study="s", space=space, n_trials=2).interrupted
    assert "MLflow" not in caplog.text


def test_optuna_does_not_speak_of_configurations_that_are_queued_already(
    log: Dataset, space: SearchSpace, caplog: pytest.LogCaptureFixture
) -> None:
    optuna.logging.enable_propagation()
    try:
        tune(log, study="s", space=space, n_trials=1, enqueue=[space.varied(space.defaults())])
    finally:
        optuna.logging.disable_propagation()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("optuna")] == []
