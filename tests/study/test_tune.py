"""A study from the first trial to the last: trial 0, budgets, resuming, stopping, failing. Training is faked."""

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from study_fakes import FakeTracker

from hrnn_hpo.cli.output import console
from hrnn_hpo.cli.progress import StudyProgress
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import make_dataset, markov
from hrnn_hpo.errors import ConfigError, DataError, RunFailedError, SpaceError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import STOP_KEY, epochs_of
from hrnn_hpo.study.folders import study_folder
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.run.observer import Silent
from hrnn_hpo.study.run.trial_files import model_folder
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")


def study_of(name: str = "s") -> optuna.Study:
    return load_study(name, open_storage())


def table(name: str) -> list[tuple[Any, ...]]:
    """Return what a reader compares: hyperparameters, seed, value, in order, without retried attempts."""
    return [
        (trial.params, trial.user_attrs["configuration"]["seed"], trial.state, trial.value)
        for trial in last_attempts(study_of(name))
    ]


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


@pytest.mark.parametrize(
    "setting", [{"split_seed": 1}, {"protocol": "leave-one-out"}, {"objective": "mrr_at_25"}, {"seed": 8}]
)
def test_a_changed_setting_refuses_to_continue_and_shows_the_difference(
    log: Dataset, space: SearchSpace, setting: dict[str, Any]
) -> None:
    tune(log, study="s", space=space, n_trials=1)
    [(name, value)] = setting.items()
    with pytest.raises(StudyError, match=rf"{name}: .* -> {value}"):
        tune(log, study="s", n_trials=2, **setting)


def test_changed_data_and_a_changed_space_are_refused_together(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=1)
    with pytest.raises(StudyError) as refused:
        tune(
            markov(n_users=61, n_events=20),
            study="s",
            space=space.narrow({}, {"recency_mask": False}, "mine"),
            n_trials=2,
        )
    assert "data_hash: " in str(refused.value)
    assert "space: recency_mask: searched in one of" in str(refused.value)
    assert len(study_of().trials) == 1


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_space_under_another_name_continues(log: Dataset, space: SearchSpace, sampler: str) -> None:
    tune(log, study="s", space=space, n_trials=1)
    same = dataclasses.replace(space, name="renamed")
    assert tune(log, study="s", space=same, n_trials=2, sampler=sampler).trials.complete == 2


def test_enqueued_configurations_run_after_the_defaults_and_once(
    log: Dataset, space: SearchSpace, tmp_path: Path
) -> None:
    known = tmp_path / "known.yaml"
    known.write_text("hyperparameters: {hidden_dimension: 40, bptt: 16, epochs: 4}\nprotocol: leave-one-out\n")
    flat = tmp_path / "flat.yaml"
    flat.write_text("hidden_dimension: 64\nrecency_mask: false\n")
    for n_trials in (3, 4):
        tune(log, study="s", space=space, n_trials=n_trials, enqueue=[known, flat, {"learning_rate": 0.05}])
    found = [(trial.params["hidden_dimension"], trial.params["learning_rate"]) for trial in study_of().trials]
    assert found == [(16, 0.01), (40, 0.01), (64, 0.01), (16, 0.05)]


def test_an_enqueued_configuration_outside_the_space_is_refused_before_anything_is_written(
    log: Dataset, space: SearchSpace, home: Path
) -> None:
    with pytest.raises(SpaceError, match=r"hidden_dimension: must lie in \[8, 64\], but got 65"):
        tune(log, study="s", space=space, enqueue=[{"hidden_dimension": 65}])
    with pytest.raises(StudyError, match="no study 's'"):
        study_of()


def test_a_solution_config_narrows_the_space_and_limits_the_trials(
    log: Dataset, space: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "solution.json"
    path.write_text(
        """{"hpoConfig": {"hpoResourceConfig": {"maxNumberOfTrainingJobs": "3", "maxParallelTrainingJobs": "1"},
        "algorithmHyperParameterRanges": {"integerHyperParameterRanges":
        [{"name": "hidden_dimension", "minValue": 32, "maxValue": 48}]}}}"""
    )
    for _ in range(2):
        result = tune(log, study="s", space=space, solution_config=path)
    assert result.trials.complete == 3
    assert all(32 <= trial.params["hidden_dimension"] <= 48 for trial in study_of().trials)
    assert all("recency_mask" not in trial.params for trial in study_of().trials)


def test_what_a_solution_config_asks_in_vain_is_told(
    log: Dataset, space: SearchSpace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "solution.json"
    path.write_text('{"algorithmHyperParameters": {"hidden_dimension": "32"}, "autoMLConfig": {"x": 1}}')
    tune(log, study="s", space=space, n_trials=1, solution_config=path)
    assert "autoMLConfig has no effect here." in caplog.text


def test_a_solution_config_chooses_events_by_type_and_value(space: SearchSpace, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        [
            (f"u{user}", f"i{(user + event) % 20}", 1000 * event, "view" if event % 4 else "buy", float(event % 3))
            for user in range(60)
            for event in range(90)
        ],
        columns=["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "EVENT_VALUE"],
    )
    frame.to_csv(tmp_path / "log.csv", index=False)
    config = {"algorithmHyperParameters": {"hidden_dimension": "32"}, "eventValueThreshold": "1"}
    (tmp_path / "solution.json").write_text(json.dumps({"eventType": "view", "solutionConfig": config}))
    asked: dict[str, Any] = {"study": "s", "space": space, "n_trials": 1, "solution_config": tmp_path / "solution.json"}
    result = tune(tmp_path / "log.csv", **asked)
    wanted = frame[(frame.EVENT_TYPE == "view") & (frame.EVENT_VALUE >= 1)]
    assert load_dataset(Path(result.record.data)).n_events == len(wanted)
    assert tune(tmp_path / "log.csv", **asked).record.data_hash == result.record.data_hash
    with pytest.raises(ConfigError, match="nothing is left to choose by event_type"):
        tune(load_dataset(tmp_path / "log.csv"), **{**asked, "study": "other"})


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


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"space": None}, ConfigError, "is new: --space"),
        ({"objective": "ndcg_at_11"}, ConfigError, "did you mean 'ndcg_at_10'"),
        ({"protocol": "none"}, ConfigError, "needs validation users"),
        ({"n_trials": 0}, ConfigError, "--n-trials > 0"),
        ({"sampler": "tpe2"}, ConfigError, "did you mean 'tpe'"),
        ({"space": "no-such-space"}, SpaceError, "no-such-space"),
    ],
)
def test_wrong_requests_leave_no_study_behind(
    log: Dataset, space: SearchSpace, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        tune(log, study="s", **{"space": space, **options})
    assert optuna.get_all_study_names(open_storage(create=True)) == []


def test_too_little_data_leaves_no_study_behind(space: SearchSpace) -> None:
    with pytest.raises(DataError, match="1,000"):
        tune(make_dataset([[("a", 1), ("b", 2)]] * 30), study="s", space=space)
    assert optuna.get_all_study_names(open_storage()) == []


def test_a_grid_ends_when_every_configuration_was_tried(log: Dataset, space: SearchSpace) -> None:
    small = space.narrow({}, {"hidden_dimension": 16, "learning_rate": 0.01}, "mine")
    result = tune(log, study="s", space=small, n_trials=20, sampler="grid", pruner="none")
    assert [trial.params["recency_mask"] for trial in study_of().trials] == [True, False]
    assert "every configuration" in result.stopped


def test_status_counts_what_counts(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=3)
    found = status("s")
    assert (found.trials.done, found.n_trials, found.running) == (3, 3, [])
    assert found.best_value == study_of().best_value
    with pytest.raises(StudyError, match=r"no study 'S'.*did you mean 's'|no study 'S'"):
        status("S")


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
