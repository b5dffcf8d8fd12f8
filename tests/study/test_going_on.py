"""A study that stops, by a signal, a wish or a budget, and goes on to the same table."""

import signal
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from tuned import study_of, table

from hrnn_hpo.cli.output import console
from hrnn_hpo.cli.progress import StudyProgress
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study import tune as tuning
from hrnn_hpo.study.attributes import STOP_KEY
from hrnn_hpo.study.results.manage import delete_study, stop_study
from hrnn_hpo.study.run.observer import Silent
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")


def test_a_study_stopped_between_trials_ends_with_the_same_table(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="whole", space=space, n_trials=16, seed=3)
    for n_trials in (4, 11, 16):
        tune(log, study="parts", space=space, n_trials=n_trials, seed=3)
    assert table("parts") == table("whole")
    assert TrialState.PRUNED in {state for _, _, state, _ in table("whole")}


def test_a_study_interrupted_in_a_trial_goes_on_from_its_epoch_to_the_same_table(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    tune(log, study="whole", space=space, n_trials=6, pruner="none")
    fake_experiment.configurations.clear()
    fake_experiment.epochs.clear()
    fake_experiment.before_epoch = lambda run, epoch: (
        signal.raise_signal(signal.SIGINT) if (run, epoch) == (2, 3) else None
    )
    result = tune(log, study="parts", space=space, n_trials=6, pruner="none")
    assert result.interrupted
    assert result.leaderboard is None
    stopped = study_of("parts").trials[2]
    assert stopped.state == TrialState.FAIL
    assert stopped.user_attrs["failure"] == {"reason": "interrupted, after epoch 3"}
    tune(log, study="parts", n_trials=6)
    assert table("parts") == table("whole")
    assert fake_experiment.epochs == [1, 2, 3, 4] * 6  # no epoch ran twice


def test_a_trial_that_is_stopped_is_not_reported_as_failed(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    class Notes(Silent):
        def __init__(self) -> None:
            self.found: list[tuple[str, int]] = []

        def trial_ended(self, trial: optuna.trial.FrozenTrial) -> None:
            self.found.append((trial.state.name, trial.number))

        def trial_stopped(self, trial: optuna.trial.FrozenTrial) -> None:
            self.found.append(("stopped", trial.number))

    fake_experiment.before_epoch = lambda run, epoch: (
        signal.raise_signal(signal.SIGINT) if (run, epoch) == (1, 3) else None
    )
    notes = Notes()
    tune(log, study="s", space=space, n_trials=2, pruner="none", observer=notes)
    assert notes.found == [("COMPLETE", 0), ("stopped", 1)]
    printed = StudyProgress(1)
    with printed, console.capture() as shown:
        printed.trial_stopped(study_of().trials[1])
    assert shown.get() == "trial   1 stopped after epoch 3; it goes on from there.\n"


def test_a_second_interrupt_stops_at_once_and_the_trial_goes_on_later(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    def twice(run: int, epoch: int) -> None:
        if (run, epoch) == (1, 2):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    fake_experiment.before_epoch = twice
    with pytest.raises(KeyboardInterrupt):
        tune(log, study="s", space=space, n_trials=3)
    assert [trial.state.name for trial in study_of().trials] == ["COMPLETE", "FAIL", "WAITING"]
    tune(log, study="s", n_trials=3)
    assert fake_experiment.epochs == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_time_budget_ends_the_search_after_an_epoch(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr("hrnn_hpo.study.run.control.time.monotonic", lambda: clock["now"])
    fake_experiment.before_epoch = lambda run, epoch: clock.update(now=clock["now"] + 1)
    result = tune(log, study="s", space=space, timeout=10.0)
    assert len(fake_experiment.epochs) == 10
    assert result.stopped == "the time budget is used up"
    assert result.trials.complete == 2
    assert result.trials.waiting == 1  # the third goes on with the same command


def test_another_process_can_stop_a_study(log: Dataset, space: SearchSpace, fake_experiment: Any) -> None:
    fake_experiment.before_epoch = lambda run, epoch: study_of().set_user_attr(STOP_KEY, (run, epoch) == (1, 2))
    result = tune(log, study="s", space=space, n_trials=9)
    assert result.stopped == "stopped by `hrnn-hpo studies stop`"
    assert fake_experiment.epochs == [1, 2, 3, 4, 1, 2]
    fake_experiment.before_epoch = lambda run, epoch: None
    assert tune(log, study="s", n_trials=3).trials.complete == 3


def test_a_study_that_is_stopped_in_its_first_trial_has_not_failed(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    fake_experiment.before_epoch = lambda run, epoch: stop_study("s") if epoch == 2 else None
    result = tune(log, study="s", space=space, n_trials=2)
    assert (result.interrupted, result.best_trial, result.trials.waiting) == (True, None, 1)
    assert "studies stop" in result.stopped


def test_a_study_that_is_deleted_under_a_running_command_is_named(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refit(study: optuna.Study, *_: Any, **__: Any) -> None:  # no trial runs meanwhile, so nothing forbids it
        delete_study("s")
        study.set_user_attr("final", {})

    monkeypatch.setattr("hrnn_hpo.study.tune.open_test_part", refit)
    with pytest.raises(StudyError, match="Study 's' was deleted while this command worked on it"):
        tune(log, study="s", space=space, n_trials=1)
    assert "MLflow" not in caplog.text


def test_a_grid_ends_when_every_configuration_was_tried(log: Dataset, space: SearchSpace) -> None:
    small = space.narrow({}, {"hidden_dimension": 16, "learning_rate": 0.01}, "mine")
    result = tune(log, study="s", space=small, n_trials=20, sampler="grid", pruner="none")
    assert [trial.params["recency_mask"] for trial in study_of().trials] == [True, False]
    assert "every configuration" in result.stopped


def test_the_search_ends_after_so_many_trials_without_a_better_value_wherever_it_was_stopped(
    log: Dataset, space: SearchSpace
) -> None:
    whole = tune(log, study="whole", space=space, patience_trials=3, seed=1)
    best = whole.best_trial
    assert best is not None
    assert whole.stopped == f"no better value in 3 trials since trial {best}"
    assert whole.trials.done == best + 1 + 3
    for n_trials in (2, 5, None):
        parts = tune(log, study="parts", space=space, n_trials=n_trials, patience_trials=3, seed=1)
    assert parts.stopped == whole.stopped
    assert table("parts") == table("whole")


def test_the_search_ends_with_the_first_trial_that_reaches_the_target(log: Dataset, space: SearchSpace) -> None:
    values = [trial.value for trial in tune_and_list(log, space, n_trials=12, pruner="none")]
    goal = sorted(value for value in values if value is not None)[-2]
    first = next(number for number, value in enumerate(values) if value is not None and value >= goal)
    result = tune(log, study="aimed", space=space, n_trials=12, pruner="none", target=goal)
    assert result.trials.done == first + 1 < 12
    assert result.stopped.startswith(f"trial {first} has reached the target")


def tune_and_list(log: Dataset, space: SearchSpace, **options: Any) -> list[optuna.trial.FrozenTrial]:
    tune(log, study="s", space=space, **options)
    return study_of().trials


def test_a_request_to_stop_between_search_and_confirmation_is_heard(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = tuning.begin_confirmation

    def asked_meanwhile(*args: Any) -> Any:
        stop_study("s")
        return begin(*args)

    monkeypatch.setattr(tuning, "begin_confirmation", asked_meanwhile)
    result = tune(log, study="s", space=space, n_trials=2, confirm=1, confirm_seeds=2)
    assert (result.interrupted, result.confirmation) == (True, None)
