"""A trial whose epochs take longer than its machines last is retried as long as it gets further inside an epoch."""

import subprocess
import sys
from typing import Any

import optuna
import pytest
from shop import GOOD

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import ADVANCE, CONFIGURATION, STARTS, TAKEN_UP, WORKER, epoch_key, epochs_of
from hrnn_hpo.study.run import advance
from hrnn_hpo.study.run.continuing import take_up
from hrnn_hpo.study.run.recovery import Recovery, this_worker
from hrnn_hpo.study.storage.database import create_study, load_study, open_storage
from hrnn_hpo.study.tune import tune


@pytest.fixture
def study() -> optuna.Study:
    return create_study("s", open_storage(create=True))


@pytest.fixture
def gone() -> dict[str, Any]:
    """Return a worker of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return {**this_worker(), "pid": process.pid}


def start(study: optuna.Study, worker: dict[str, Any]) -> tuple[optuna.Trial, advance.Advance]:
    """Start what is queued in the third epoch, as a trial does."""
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = study.ask()
    before = study.trials[trial.number]
    trial.set_user_attr(STARTS, [*before.user_attrs.get(STARTS, []), 2])
    for name, value in ((CONFIGURATION, {}), (WORKER, worker), (epoch_key(1), {}), (epoch_key(2), {})):
        trial.set_user_attr(name, value)
    return trial, advance.Advance(trial, before, 2)


def learns(monkeypatch: pytest.MonkeyPatch, running: advance.Advance, first: int, minutes: int) -> None:
    """Learn from ten targets a minute, from the `first` on."""
    for minute in range(minutes + 1):
        monkeypatch.setattr("hrnn_hpo.study.run.advance.time.monotonic", lambda now=60.0 * minute: now)
        running.updated(first + 10 * minute)


def test_starts_that_get_further_inside_an_epoch_do_not_count(
    study: optuna.Study, gone: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        _, running = start(study, gone)
        learns(monkeypatch, running, first=100 * number, minutes=15)
        Recovery("s", open_storage()).run()
        assert study.trials[-1].state.name == "WAITING"
    assert study.trials[-1].user_attrs[ADVANCE]["furthest"] == [2, 600]
    for _ in range(3):  # what dies within the next minutes, always at the same place, kills its workers
        _, running = start(study, gone)
        learns(monkeypatch, running, first=600, minutes=5)
        Recovery("s", open_storage()).run()
    assert study.trials[-1].state.name == "FAIL"


def test_the_same_way_again_is_no_advance(
    study: optuna.Study, gone: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):  # each on a machine that lacks the checkpoint
        _, running = start(study, gone)
        learns(monkeypatch, running, first=0, minutes=15)
        Recovery("s", open_storage()).run()
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 4


def test_a_trial_that_is_taken_up_counts_its_starts_anew(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    trial, running = start(study, this_worker())
    learns(monkeypatch, running, first=0, minutes=15)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    take_up(study, study.trials)
    again = study.trials[1].user_attrs
    assert (again[STARTS], again[TAKEN_UP], ADVANCE in again) == ([], 2, False)


@pytest.mark.usefixtures("tracker")
def test_training_tells_how_far_it_is(shop: Dataset, shop_space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advance, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    tune(shop, study="s", space=shop_space, n_trials=2, enqueue=[GOOD], confirm=0, device="cpu", n_threads=1)
    for trial in load_study("s", open_storage()).trials:
        (n_epochs, n_targets), n_starts = trial.user_attrs[ADVANCE]["furthest"], trial.user_attrs[ADVANCE]["n_starts"]
        assert n_epochs == max(epochs_of(trial)) - 1
        assert n_targets > 0
        assert n_starts == 1
