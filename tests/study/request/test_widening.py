"""A study in a wider space: its trials come along under their numbers, whatever is taken away is refused."""

import signal
import subprocess
import sys
import threading
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from study_fakes import KilledError, dies

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import StudyError
from hrnn_hpo.search.space import SearchSpace, space_from_content
from hrnn_hpo.study.attributes import WORKER
from hrnn_hpo.study.record import KEY, in_space, read_record
from hrnn_hpo.study.request import widening
from hrnn_hpo.study.results.manage import delete_study
from hrnn_hpo.study.run.recovery import this_worker
from hrnn_hpo.study.storage.database import load_study, open_storage, study_names
from hrnn_hpo.study.storage.locks import holding
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")


def changed(space: SearchSpace, name: str, **entry: Any) -> SearchSpace:
    """Return the space with some keys of one parameter changed."""
    content = space.content()
    content["parameters"][name] |= entry
    return space_from_content(content, "test")


def facts(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [
        (t.number, t.state, t.params, t.value, t.user_attrs, t.intermediate_values, t.datetime_start)
        for t in study.trials
    ]


def test_a_widened_range_continues_with_every_trial_and_is_searched(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=8, seed=1)
    before = facts(load_study("s", open_storage()))
    result = tune(log, study="s", space=changed(space, "hidden_dimension", range=[8, 512]), n_trials=30, confirm=0)
    study = load_study("s", open_storage())
    assert facts(study)[:8] == before
    assert result.trials.done == 30
    assert max(trial.params["hidden_dimension"] for trial in study.trials) > 64
    assert {trial.distributions["hidden_dimension"].high for trial in study.trials} == {512}  # type: ignore[attr-defined]
    assert read_record(study).search_space().searched["hidden_dimension"].range == (8, 512)
    assert study_names(open_storage()) == ["s"]


def test_a_constant_that_becomes_searched_is_written_into_the_old_trials(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=3)
    content = space.content()
    del content["fix"]["bptt"]
    content["parameters"]["bptt"] |= {"default": 16}
    tune(log, study="s", space=space_from_content(content, "test"), n_trials=9)
    trials = load_study("s", open_storage()).trials
    assert [trial.params["bptt"] for trial in trials[:3]] == [16, 16, 16]
    assert any(trial.params["bptt"] != 16 for trial in trials[3:])


def test_a_queued_trial_comes_along(log: Dataset, space: SearchSpace, fake_experiment: Any) -> None:
    tune(log, study="s", space=space, n_trials=1)
    study = load_study("s", open_storage())
    study.enqueue_trial({"hidden_dimension": 33, "recency_mask": True, "learning_rate": 0.02})
    tune(log, study="s", space=changed(space, "hidden_dimension", range=[8, 512]), n_trials=2)
    assert load_study("s", open_storage()).trials[1].params["hidden_dimension"] == 33


def test_what_a_queued_trial_leaves_to_the_sampler_is_still_drawn(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=1)
    study = load_study("s", open_storage())
    study.enqueue_trial({"hidden_dimension": 33})
    study.enqueue_trial({})
    wide = in_space(read_record(study), changed(space, "hidden_dimension", range=[8, 512]))
    widening.widen("s", open_storage(), wide)
    waiting = load_study("s", open_storage()).trials[1:]
    assert [trial.system_attrs["fixed_params"] for trial in waiting] == [{"hidden_dimension": 33}, {}]
    assert [trial.params for trial in waiting] == [{}, {}]


def test_an_interrupted_trial_goes_on_in_the_wider_space_with_its_values_and_epochs(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    def stop(run: int, epoch: int) -> None:
        if (run, epoch) == (1, 3):
            signal.raise_signal(signal.SIGINT)

    fake_experiment.before_epoch = stop
    assert tune(log, study="s", space=space, n_trials=2, seed=1).interrupted
    before = load_study("s", open_storage()).trials[-1]
    assert before.state == TrialState.WAITING
    assert before.params["hidden_dimension"] != 16  # the default

    result = tune(log, study="s", space=changed(space, "hidden_dimension", range=[8, 512]), n_trials=2, confirm=0)
    after = load_study("s", open_storage()).trials[-1]
    assert result.trials.complete == 2
    assert after.params == before.params
    assert after.distributions["hidden_dimension"].high == 512  # type: ignore[attr-defined]
    assert after.intermediate_values.items() > before.intermediate_values.items()
    assert fake_experiment.epochs == [1, 2, 3, 4, 1, 2, 3, 4]


@pytest.mark.parametrize("entry", [{"range": [8, 32]}, {"range": [8, 128], "default": 20}])
def test_a_narrower_range_and_other_defaults_are_refused_with_the_difference(
    log: Dataset, space: SearchSpace, entry: dict[str, Any]
) -> None:
    tune(log, study="s", space=space, n_trials=2)
    with pytest.raises(StudyError, match=r"space: hidden_dimension: searched in \[8, 64\]"):
        tune(log, study="s", space=changed(space, "hidden_dimension", **entry), n_trials=3)


def test_a_study_with_running_trials_is_not_rewritten(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="my study", space=space, n_trials=2)
    study = load_study("my study", open_storage())
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.ask()
    assert study.trials[2].state == TrialState.RUNNING
    with pytest.raises(StudyError, match=r"1 running.*\(`hrnn-hpo studies stop 'my study'`\)"):
        tune(log, study="my study", space=changed(space, "hidden_dimension", range=[8, 512]), n_trials=3)


def test_a_trial_whose_worker_was_killed_stands_in_nobodys_way(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=2)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.warns(UserWarning, match="Heartbeat"):
        lost = load_study("s", open_storage()).ask()
    lost.set_user_attr(WORKER, {**this_worker(), "pid": process.pid})
    wide = changed(space, "hidden_dimension", range=[8, 512])
    assert tune(log, study="s", space=wide, n_trials=3, confirm=0).trials.done == 3


@pytest.mark.parametrize("step", ["_delete", "_take_name"])
def test_nobody_starts_a_trial_that_would_go_with_the_old_study(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    tune(log, study="s", space=space, n_trials=2)
    wide = in_space(read_record(load_study("s", open_storage())), changed(space, "hidden_dimension", range=[8, 512]))
    seen: list[bool] = []
    do = getattr(widening, step)

    def start_meanwhile() -> None:
        with holding("s", open_storage(), "start"):
            pass

    def meanwhile(*args: Any) -> None:
        others.append(threading.Thread(target=start_meanwhile))
        others[-1].start()
        others[-1].join(0.3)
        seen.append(others[-1].is_alive())
        do(*args)

    others: list[threading.Thread] = []
    monkeypatch.setattr(widening, step, meanwhile)
    widening.widen("s", open_storage(), wide)
    for other in others:
        other.join()
    assert seen
    assert all(seen)


@pytest.mark.parametrize("dies_at", ["_delete", "_take_name", "attributes", "copy_study"])
def test_a_process_that_dies_while_widening_loses_nothing(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    tune(log, study="s", space=space, n_trials=4)
    storage = open_storage()
    before = facts(load_study("s", storage))
    wide = changed(space, "hidden_dimension", range=[8, 512])

    def die(*args: Any, **options: Any) -> None:
        if dies_at in ("attributes", "copy_study"):  # half a copy: some attributes, or all and the first trial only
            half = optuna.create_study(study_name="s", storage=storage, direction="maximize")
            source = load_study("s (widening)", storage)
            for name, value in source.user_attrs.items():
                if dies_at == "copy_study" or name != KEY:
                    half.set_user_attr(name, value)
            if dies_at == "copy_study":
                half.add_trial(source.trials[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*((widening, dies_at) if dies_at.startswith("_") else (optuna, "copy_study")), die)
        with pytest.raises(KeyboardInterrupt):
            widening.widen("s", storage, in_space(read_record(load_study("s", storage)), wide))
    tune(log, study="s", space=wide, n_trials=6)
    assert facts(load_study("s", storage))[:4] == before
    assert study_names(storage) == ["s"]


@pytest.mark.parametrize("dies_at", ["_delete", "_take_name"])
def test_a_deleted_study_does_not_come_back_from_the_copy_of_a_widening_that_was_cut_off(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    tune(log, study="s", space=space, n_trials=2)
    storage = open_storage()
    wide = in_space(read_record(load_study("s", storage)), changed(space, "hidden_dimension", range=[8, 512]))
    with monkeypatch.context() as patched:
        patched.setattr(widening, dies_at, dies)
        with pytest.raises(KilledError):
            widening.widen("s", storage, wide)
    delete_study("s")
    assert study_names(storage) == []


def test_a_widening_that_another_process_is_at_is_waited_for(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(log, study="s", space=space, n_trials=2)
    storage = open_storage()
    wide = in_space(read_record(load_study("s", storage)), changed(space, "hidden_dimension", range=[8, 512]))
    seen: list[bool] = []
    take_name = widening._take_name

    def meanwhile(*args: Any) -> None:  # the copy is complete, the old study deleted
        other = threading.Thread(target=widening.finish_widening, args=("s", open_storage()))
        other.start()
        other.join(0.5)
        seen.append(other.is_alive())
        take_name(*args)
        others.append(other)

    others: list[threading.Thread] = []
    with monkeypatch.context() as patched, holding("s", storage, "begin"):
        patched.setattr(widening, "_take_name", meanwhile)
        widening.widen("s", storage, wide)
    others[0].join()
    assert seen == [True]
    assert study_names(storage) == ["s"]
    assert len(load_study("s", storage).trials) == 2
