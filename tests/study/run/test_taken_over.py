"""A process that another one took for dead, and whose trial that one has run to its end, works on or ends well."""

from typing import Any

import pytest
from optuna.trial import TrialState

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.run import trial as trials
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.storage.stale_trials import retry_stale_trial
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker")


def take_over() -> None:
    """Do what another machine does with the trial of a process that sleeps: run it again, to its end."""
    other = load_study("s", open_storage())
    other.tell(other.trials[-1].number, state=TrialState.FAIL)
    retry_stale_trial(other, other.trials[-1])
    with pytest.warns(UserWarning, match="Heartbeat"):
        other.tell(other.ask(), 0.3)


@pytest.fixture(params=["within an epoch", "before its score is told"])
def sleeper(request: pytest.FixtureRequest, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process sleep for too long in its second trial."""
    slept: list[int] = []

    def sleep_in(number: int) -> None:
        if number == 1 and not slept:
            slept.append(number)
            take_over()

    if request.param == "within an epoch":
        fake_experiment.before_epoch = lambda run, epoch: sleep_in(run if epoch == 3 else 0)
        return
    write = trials._write_summary

    def write_and_sleep(trial: Any, result: Any) -> None:
        write(trial, result)
        sleep_in(trial.number)

    monkeypatch.setattr(trials, "_write_summary", write_and_sleep)


@pytest.mark.usefixtures("sleeper")
@pytest.mark.parametrize("n_trials", [2, 3])
def test_a_process_whose_trial_was_taken_over_ends_well_whether_or_not_there_is_more_to_do(
    log: Dataset, space: SearchSpace, n_trials: int
) -> None:
    result = tune(log, study="s", space=space, n_trials=n_trials, confirm=0, pruner="none")
    assert result.stopped == "all trials are done"
    found = load_study("s", open_storage()).trials
    assert found[2].value == 0.3
    assert [trial.state.name for trial in found] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"][: n_trials + 1]


def test_an_error_after_a_trial_was_taken_over_is_not_taken_for_another_one(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def breaks(*_: Any) -> None:
        calls.append(_)
        raise ValueError("a sampler of one's own")

    def sleep(run: int, epoch: int) -> None:
        if (run, epoch) == (1, 3):
            take_over()
            monkeypatch.setattr("hrnn_hpo.study.propose.samplers.SeededSampler.before_trial", breaks)

    fake_experiment.before_epoch = sleep
    with pytest.raises(ValueError, match="a sampler of one's own"):
        tune(log, study="s", space=space, n_trials=3, confirm=0, pruner="none")
    assert len(calls) == 1
