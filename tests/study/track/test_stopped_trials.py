"""Trials that were stopped, and runs that failed once and went well later, as MLflow shows them."""

import signal
from typing import Any

import pytest
from study_fakes import FakeTracker

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.tune import tune


def stop(fake: Any, *, times: int) -> None:
    """Press Ctrl-C in the first trial's second epoch."""

    def press(run: int, epoch: int) -> None:
        for _ in range(times if (run, epoch) == (0, 2) else 0):
            signal.raise_signal(signal.SIGINT)

    fake.before_epoch = press


def test_a_stopped_trial_reads_as_stopped_and_later_as_complete(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any
) -> None:
    stop(fake_experiment, times=1)
    tune(log, study="s", space=space, n_trials=1)
    [run] = tracker.by_role("trial")
    assert run["status"] == "KILLED"
    assert run["description"].startswith("**Stopped**: interrupted, after epoch 2")
    assert run["tags"]["reason"] == "interrupted, after epoch 2"
    assert "failure.txt" not in run["texts"]
    tune(log, study="s", n_trials=1)
    [run] = tracker.by_role("trial")
    assert (run["status"], run["tags"]["state"], run["tags"]["reason"]) == ("FINISHED", "complete", "none")
    assert run["description"].startswith("**Complete**")
    assert "[trial 1](#/run-1)" in tracker.by_role("study")[0]["description"]  # its last attempt, in its only run


def test_a_stopped_trial_that_ended_while_the_store_was_away_is_completed_by_the_next_command(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any
) -> None:
    stop(fake_experiment, times=1)
    tune(log, study="s", space=space, n_trials=1)
    tracker.down = True
    tune(log, study="s", n_trials=1)
    tracker.down = False
    tracker.behind.clear()  # known to the process that ended
    tune(log, study="s", n_trials=1)
    [run] = tracker.by_role("trial")
    assert (run["status"], run["tags"]["state"], sorted(run["metrics"])) == ("FINISHED", "complete", [1, 2, 3, 4, 5])


def test_a_trial_that_was_cut_off_at_once_is_shown_to_wait_until_it_goes_on(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any
) -> None:
    stop(fake_experiment, times=2)
    with pytest.raises(KeyboardInterrupt):
        tune(log, study="s", space=space, n_trials=1)
    [run] = tracker.by_role("trial")
    assert (run["status"], run["tags"]["state"]) == ("SCHEDULED", "waiting")
    assert run["description"].startswith("**Waiting**: its process ended after epoch 1.")
    tune(log, study="s", n_trials=1)
    [run] = tracker.by_role("trial")
    assert (run["status"], run["tags"]["state"]) == ("FINISHED", "complete")


def test_what_waits_has_no_run_in_a_store_that_never_saw_it(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any
) -> None:
    stop(fake_experiment, times=2)
    with pytest.raises(KeyboardInterrupt):
        tune(log, study="s", space=space, n_trials=1)
    tracker.runs.clear()
    sync("s")
    assert tracker.by_role("trial") == []


def test_a_run_that_failed_and_was_tried_again_shows_no_failure(
    log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_figures: Any
) -> None:
    def fail(run: int, epoch: int) -> None:
        if run == 3:
            raise RuntimeError("out of memory")

    fake_figures.before_epoch = fail
    asked: dict[str, Any] = {"n_trials": 3, "pruner": "none", "confirm": 1, "confirm_seeds": 2, "screen": 0}
    tune(log, study="s", space=space, **asked)
    [failed] = [run for run in tracker.by_role("confirm") if run["status"] == "FAILED"]
    assert failed["texts"]["failure.txt"].startswith("Traceback")
    fake_figures.before_epoch = lambda run, epoch: None
    tune(log, study="s", **asked)
    assert (failed["status"], failed["tags"]["reason"], failed["texts"]["failure.txt"]) == ("FINISHED", "none", "")
    others = [run for run in tracker.by_role("confirm") if run is not failed]
    assert all("failure.txt" not in run["texts"] for run in others)
