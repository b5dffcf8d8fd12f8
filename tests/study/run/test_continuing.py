"""Pruned trials that go on: the best of `--pruner epochs:K --keep N`, and those that were cut too early."""

import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from study_fakes import FakeTracker, Helpers

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import STARTS, TAKEN_UP, epochs_of
from hrnn_hpo.study.folders import trial_folder
from hrnn_hpo.study.propose.deterministic import batch_to_start
from hrnn_hpo.study.propose.views import view_of, without_superseded
from hrnn_hpo.study.request.budget import Budget, write_budget
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.run import trial_files
from hrnn_hpo.study.run.continuing import N_FROZEN, best_after, cut_too_early, may_go_on, take_up
from hrnn_hpo.study.run.recovery import Recovery
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

ASKED: dict[str, Any] = {"n_trials": 9, "pruner": "epochs:2", "keep": 3, "seed": 1, "confirm": 0}


def study_of(name: str = "s") -> optuna.Study:
    return load_study(name, open_storage())


def table(name: str) -> list[tuple[Any, ...]]:
    return [
        (trial.params, trial.user_attrs["configuration"]["seed"], trial.state, trial.intermediate_values)
        for trial in last_attempts(study_of(name))
    ]


def ended(state: TrialState, *scores: float, **attributes: Any) -> optuna.trial.FrozenTrial:
    return create_trial(
        state=state,
        value=max(scores, default=0.0),
        intermediate_values=dict(enumerate(scores)),
        user_attrs={**attributes, **{f"epoch_{n:04d}": {} for n in range(1, len(scores) + 1)}},
    )


def test_trials_rank_by_their_best_score_of_the_first_epochs() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            ended(TrialState.COMPLETE, 0.2, 0.3, 0.9),  # .3 after two epochs
            ended(TrialState.PRUNED, 0.5, 0.1),  # .5, its best, and not the last
            ended(TrialState.PRUNED, 0.1, 0.3),
            ended(TrialState.PRUNED),  # without any
            ended(TrialState.COMPLETE, 0.4),  # early stopping ended it before
        ]
    )
    assert [trial.number for trial in best_after(2, study.trials)] == [1, 4, 0, 2, 3]


@pytest.mark.usefixtures("tracker")
def test_the_best_after_so_many_epochs_are_finished_and_count_once(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    result = tune(log, study="s", space=space, **ASKED)
    trials = last_attempts(study_of())
    assert len(trials) == 9
    by_score = sorted(range(9), key=lambda n: -trials[n].intermediate_values[1])
    finished = [trial.number for trial in trials if trial.state == TrialState.COMPLETE]
    originals = {original_number(trial) for trial in trials if trial.state == TrialState.COMPLETE}
    assert originals == {0, *by_score[:3]}  # the defaults always run to their end
    assert result.trials.complete == len(finished)
    assert result.trials.done == 9
    assert fake_experiment.epochs.count(1) == 9  # nobody began anew
    assert len(fake_experiment.epochs) == 2 * 9 + 2 * len(finished)
    assert status("s").trials.done == 9
    for trial in trials:
        assert len(epochs_of(trial)) == (4 if trial.state == TrialState.COMPLETE else 2)
        assert trial_folder(study_of(), original_number(trial)).exists() <= (trial.state == TrialState.COMPLETE)


def test_a_continuation_goes_on_in_its_mlflow_run(
    log: Dataset, space: SearchSpace, fake_experiment: Any, tracker: FakeTracker
) -> None:
    tune(log, study="s", space=space, **ASKED)
    runs = {run["tags"]["trial"]: run for run in tracker.runs.values() if run["tags"]["role"] == "trial"}
    assert len(runs) == 9
    before = {name: dict(run) for name, run in runs.items()}
    for trial in last_attempts(study_of()):
        run = runs[str(original_number(trial))]
        complete = trial.state == TrialState.COMPLETE
        assert run["tags"]["state"] == ("complete" if complete else "pruned")
        assert run["name"].endswith("(pruned)") != complete
        assert set(run["metrics"]) == ({1, 2, 3, 4, 5} if complete else {1, 2})
    sync("s")
    assert {name: run["tags"]["state"] for name, run in runs.items()} == {
        name: run["tags"]["state"] for name, run in before.items()
    }


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("deterministic", [False, True])
def test_the_same_command_with_more_trials_finishes_the_best_of_all(
    log: Dataset, space: SearchSpace, fake_experiment: Any, deterministic: bool
) -> None:
    tune(log, study="s", space=space, deterministic=deterministic, **ASKED)
    result = tune(log, study="s", n_trials=14, confirm=0)
    trials = last_attempts(study_of())
    assert result.trials.done == len(trials) == 14
    assert all(trial.state == TrialState.COMPLETE for trial in best_after(2, trials)[:3])


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("epoch", [3, 4])
def test_a_search_stopped_while_it_finishes_ends_with_the_same_table(
    log: Dataset, space: SearchSpace, fake_experiment: Any, epoch: int, deterministic: bool
) -> None:
    tune(log, study="whole", space=space, deterministic=deterministic, **ASKED)
    n_epochs = len(fake_experiment.epochs)
    fake_experiment.epochs.clear()
    fake_experiment.configurations.clear()
    fake_experiment.before_epoch = lambda run, now: (
        signal.raise_signal(signal.SIGINT) if (run, now) == (10, epoch) else None
    )
    assert tune(log, study="parts", space=space, deterministic=deterministic, **ASKED).interrupted
    assert not tune(log, study="parts", **ASKED).interrupted
    assert table("parts") == table("whole")
    assert len(fake_experiment.epochs) == n_epochs  # no epoch ran twice


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("deterministic", [False, True])
def test_the_best_are_finished_on_a_machine_that_lacks_their_checkpoints(
    log: Dataset,
    space: SearchSpace,
    fake_experiment: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    deterministic: bool,
) -> None:
    monkeypatch.setenv("HRNN_HPO_STORAGE", f"sqlite:///{tmp_path}/shared.db")
    tune(log, study="whole", space=space, deterministic=deterministic, **ASKED)
    fake_experiment.configurations.clear()
    fake_experiment.before_epoch = lambda run, now: signal.raise_signal(signal.SIGINT) if run == 8 else None
    assert tune(log, study="parts", space=space, deterministic=deterministic, **ASKED).interrupted
    monkeypatch.setenv("HRNN_HPO_HOME", str(tmp_path / "another-machine"))
    fake_experiment.epochs.clear()
    result = tune(log, study="parts", **ASKED)
    assert table("parts") == table("whole")
    assert result.trials.done == 9
    assert "starts again from its first epoch: the checkpoint of its 2 epochs is not on this machine" in caplog.text
    finished = [trial for trial in study_of("parts").trials if TAKEN_UP in trial.user_attrs]
    assert len(finished) == 3
    assert fake_experiment.epochs.count(1) >= 3  # from the first epoch, and no figure of it was told twice
    assert all(list(epochs_of(trial)) == [1, 2, 3, 4] for trial in finished)


class _Killed(BaseException):
    pass


@pytest.mark.usefixtures("tracker")
def test_a_process_killed_while_it_queues_the_best_leaves_the_rest_to_the_next(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(log, study="whole", space=space, **ASKED)

    def one_of_them(study: optuna.Study, trials: list[optuna.trial.FrozenTrial]) -> None:
        take_up(study, trials[:1])
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr("hrnn_hpo.study.run.loop.take_up", one_of_them)
        with pytest.raises(_Killed):
            tune(log, study="parts", space=space, **ASKED)
    assert [trial.state for trial in study_of("parts").trials].count(TrialState.WAITING) == 1
    tune(log, study="parts", **ASKED)
    assert table("parts") == table("whole")


@pytest.mark.usefixtures("tracker")
def test_a_continuation_that_loses_its_worker_is_queued_again(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(log, study="s", space=space, **{**ASKED, "n_trials": 3, "keep": 1})
    study = study_of()
    pruned = next(trial for trial in study.trials if trial.state == TrialState.PRUNED)
    take_up(study, [pruned])
    with pytest.warns(UserWarning, match="Heartbeat"):  # Optuna expects `ask` inside `optimize`
        study.ask()
    monkeypatch.setattr("hrnn_hpo.study.run.recovery.UNCLAIMED_SECONDS", -1)
    Recovery("s", open_storage()).run()
    again = study.trials[-1]
    assert again.state == TrialState.WAITING
    assert original_number(again) == pruned.number
    assert again.user_attrs[TAKEN_UP] == 2
    assert again.user_attrs[STARTS] == []


@pytest.mark.usefixtures("tracker")
def test_the_next_best_takes_the_place_of_a_continuation_that_fails(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    def fail(run: int, epoch: int) -> None:
        if (run, epoch) == (9, 3):
            raise RuntimeError("no more")

    fake_experiment.before_epoch = fail
    result = tune(log, study="s", space=space, **ASKED)
    assert (result.trials.failed, result.trials.done) == (1, 9)  # another trial came for it
    ends = [trial for trial in last_attempts(study_of()) if trial.state != TrialState.FAIL]
    assert all(trial.state == TrialState.COMPLETE for trial in best_after(2, ends)[:3])


@pytest.mark.usefixtures("tracker")
def test_one_worker_and_four_finish_the_same_trials(log: Dataset, space: SearchSpace, fake_experiment: Any) -> None:
    tune(log, study="one", space=space, deterministic=True, **ASKED)
    helpers = Helpers(log)
    fake_experiment.before_epoch = lambda run, epoch: time.sleep(0.02)
    tune(log, study="four", space=space, deterministic=True, observer=helpers, **ASKED)
    for thread in helpers.threads:
        thread.join()
    assert table("four") == table("one")


def test_what_was_taken_up_starts_whatever_its_batch_does() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trials([ended(TrialState.PRUNED, 0.1) for _ in range(8)])
    take_up(study, study.trials[1:2])
    take_up(study, study.trials[5:6])
    study.ask()
    assert batch_to_start(study.trials) == (True, False)


def test_a_pruned_trial_keeps_its_place_until_its_continuation_ends() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trials([ended(TrialState.PRUNED, 0.1), ended(TrialState.PRUNED, 0.3)])
    assert without_superseded(study) is study
    take_up(study, study.trials[:1])
    assert [trial.state for trial in view_of(study).trials] == [TrialState.PRUNED, TrialState.PRUNED]
    study.tell(study.ask(), 0.5)
    assert [(trial.number, trial.state) for trial in without_superseded(study).trials] == [
        (0, TrialState.COMPLETE),
        (1, TrialState.PRUNED),
    ]


@pytest.mark.usefixtures("tracker", "fake_experiment")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pruner": "epochs:0"}, r"or epochs:K with a whole number K > 0, but got 'epochs:0'"),
        ({"pruner": "epochs:x"}, "but got 'epochs:x'"),
        ({"pruner": "epochs:4"}, "`K < 4`, the most epochs of a trial, must hold, but got 4"),
        ({"pruner": "median"}, "--keep says how many trials --pruner epochs:K finishes, but the pruner is median"),
        ({"keep": 0}, "`--keep > 0` must hold, but got 0"),
        ({"timeout": 60.0}, "only --n-trials may limit the search"),
        ({"patience_trials": 5}, "neither --timeout nor --patience-trials"),
    ],
)
def test_wrong_requests_say_which_rule_they_break(
    log: Dataset, space: SearchSpace, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(log, study="s", space=space, **{**ASKED, **wrong})


SLOW, SLOWER_START = 24, 25  # hidden dimensions: one that starts low and ends high, another like it


def curve(experiment: Any, epoch: int) -> float:
    """Return a score that is flat, but for two configurations that start low and end high."""
    hidden = experiment.configuration.hyperparameters.hidden_dimension
    start, end = {SLOW: (0.30, 0.90), SLOWER_START: (0.35, 0.95)}.get(hidden, (0.5, 0.5))
    return (start if epoch < 4 else end) + hidden * 1e-5  # so later ones of the flat are above their median


def asked(space: SearchSpace, **more: Any) -> dict[str, Any]:
    """Return a request whose sixth trial is pruned although it starts better than the incumbent did."""
    first = [{"hidden_dimension": hidden, "learning_rate": 0.01} for hidden in (17, 18, SLOW, 19, SLOWER_START, 20, 21)]
    return {"space": space, "enqueue": first, "n_trials": 8, "confirm": 0, "seed": 2, **more}


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_trial_that_was_cut_too_early_goes_on(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    monkeypatch.setattr("study_fakes.score", curve)
    result = tune(log, study="s", **asked(space, deterministic=deterministic))
    every = study_of().trials
    cut = [trial for trial in every if trial.params.get("hidden_dimension") == SLOWER_START]
    assert [trial.state for trial in cut] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert cut[1].user_attrs[TAKEN_UP] == len(epochs_of(cut[0])) == 3
    assert cut[1].user_attrs["configuration"]["seed"] == cut[0].user_attrs["configuration"]["seed"]
    assert (result.best_trial, result.best_value) == (cut[1].number, pytest.approx(0.95, abs=1e-3))
    assert result.trials.done == 8
    assert sum(TAKEN_UP in trial.user_attrs for trial in every) == 1
    n_epochs = {trial.number: len(epochs_of(trial)) for trial in last_attempts(study_of())}
    assert len(fake_experiment.epochs) == sum(n_epochs.values())  # no epoch ran twice


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_search_stopped_anywhere_takes_up_the_same(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    monkeypatch.setattr("study_fakes.score", curve)
    common = asked(space, deterministic=deterministic, n_trials=12)
    tune(log, study="whole", **common)
    for n_stop in (5, 6, 7):
        fake_experiment.configurations.clear()
        fake_experiment.before_epoch = lambda run, epoch, stop=n_stop: (
            signal.raise_signal(signal.SIGINT) if run == stop else None
        )
        tune(log, study=f"parts {n_stop}", **common)
        fake_experiment.before_epoch = lambda run, epoch: None
        tune(log, study=f"parts {n_stop}", **common)
        assert table(f"parts {n_stop}") == table("whole")


@pytest.mark.usefixtures("tracker")
def test_one_worker_and_four_take_up_the_same(
    log: Dataset, space: SearchSpace, fake_experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study_fakes.score", curve)
    tune(log, study="one", **asked(space, deterministic=True, n_trials=12))
    helpers = Helpers(log)
    fake_experiment.before_epoch = lambda run, epoch: time.sleep(0.02)
    tune(log, study="four", observer=helpers, **asked(space, deterministic=True, n_trials=12))
    for thread in helpers.threads:
        thread.join()
    assert table("four") == table("one")


def frozen_study(pruner: str = "median") -> optuna.Study:
    """Return a study with an incumbent that starts at .1 and ends at .9, and ten pruned trials from .05 to .5."""
    study = optuna.create_study(direction="maximize")
    study.add_trial(ended(TrialState.COMPLETE, 0.1, 0.12, 0.9))
    study.add_trials([ended(TrialState.PRUNED, 0.05 * n, 0.05 * n) for n in range(1, 11)])
    write_budget(study, Budget(20, "random", pruner))
    return study


def test_the_best_pruned_trials_may_go_on_once() -> None:
    study = frozen_study()
    kept = may_go_on(study, last_attempts(study))
    assert [trial.number for trial in kept] == [10, 9, 8, 7, 6, 5, 4, 3]
    assert len(kept) == N_FROZEN
    assert cut_too_early(study) == kept  # all of them were above .12 after two epochs
    take_up(study, cut_too_early(study)[:1])
    assert 10 not in [original_number(trial) for trial in cut_too_early(study)]
    study.tell(study.ask(), state=TrialState.PRUNED)  # its new end, whatever it is
    assert 10 not in [original_number(trial) for trial in cut_too_early(study)]


@pytest.mark.parametrize("pruner", ["epochs:2", "OwnPruner", "none"])
def test_other_rules_are_left_alone(pruner: str) -> None:
    study = frozen_study(pruner)
    assert bool(cut_too_early(study)) is (pruner == "none")  # which prunes nothing, but may follow a pruner


def test_a_pruned_trial_that_was_behind_the_incumbents_curve_stays_pruned() -> None:
    study = frozen_study()
    study.add_trial(ended(TrialState.COMPLETE, 0.6, 0.7, 0.95))
    assert cut_too_early(study) == []


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_checkpoints_of_pruned_trials_are_kept_within_a_limit(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(log, study="s", space=space, n_trials=16, confirm=0)
    study = study_of()
    waiting = may_go_on(study, last_attempts(study))
    assert waiting
    assert all(any(trial_folder(study, trial.number).glob("checkpoint*")) for trial in waiting)
    size = sum(path.stat().st_size for path in trial_folder(study, waiting[0].number).iterdir())
    monkeypatch.setattr(trial_files, "MOST_FROZEN_BYTES", size)
    trial_files.drop_files(study)
    assert trial_folder(study, waiting[0].number).exists()
    assert not any(trial_folder(study, trial.number).exists() for trial in waiting[1:])
