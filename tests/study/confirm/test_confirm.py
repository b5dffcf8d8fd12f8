"""Confirmation of real, small models: what runs, what wins, what is left behind, and how it goes on when stopped."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import Trial, TrialState
from shop import GOOD

from hrnn_hpo.config import Configuration, load_configuration
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.errors import ConfigError, RunFailedError, StudyError
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CANDIDATE, CONFIGURATION, RUN_INDEX, TRAIN_SEED, epochs_of
from hrnn_hpo.study.confirm.agenda import confirmation_runs
from hrnn_hpo.study.confirm.confirm_trial import ConfirmObjective
from hrnn_hpo.study.confirm.figures import as_text, from_text
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.confirm.test_part import openings
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.results.export import export
from hrnn_hpo.study.results.manage import delete_study, stop_study
from hrnn_hpo.study.results.status import list_studies, status
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.storage.database import load_study, open_storage, study_names
from hrnn_hpo.study.trials import read_confirmation
from hrnn_hpo.study.tune import tune

SOME: dict[str, Any] = {"hidden_dimension": 16, "learning_rate": 0.003}


def confirmed(shop: Dataset, space: SearchSpace | None, **options: Any) -> StudyResult:
    usual: dict[str, Any] = {"n_trials": 3, "enqueue": [GOOD, SOME], "confirm": 2, "confirm_seeds": 2}
    return tune(shop, study="s", space=space, **(usual | {"device": "cpu", "n_threads": 1} | options))


def runs() -> list[Any]:
    companion = companion_of(load_study("s", open_storage()), open_storage())
    assert companion is not None
    return confirmation_runs(companion)


def test_the_best_and_the_defaults_run_on_the_same_fresh_seeds_and_users(
    shop: Dataset, shop_space: SearchSpace, tracker: Any
) -> None:
    result = confirmed(shop, shop_space)
    found = {(run.user_attrs[CANDIDATE], run.user_attrs[RUN_INDEX]): run for run in runs()}
    assert set(found) == {(trial, repeat) for trial in (0, 1, 2) for repeat in (0, 1)}
    searched = {trial.user_attrs[CONFIGURATION]["seed"] for trial in load_study("s", open_storage()).trials}
    for repeat in (0, 1):
        seeds = {found[trial, repeat].user_attrs[CONFIGURATION]["seed"] for trial in (0, 1, 2)}
        assert len(seeds) == len({found[trial, repeat].user_attrs[TRAIN_SEED] for trial in (0, 1, 2)}) == 1
        assert not seeds & searched
    # A run is what its seeds say, to the last digit.
    run = found[1, 1]
    configuration = result.record and Configuration.model_validate(run.user_attrs[CONFIGURATION])
    experiment = prepare_experiment(shop, configuration, result.record.seen, train_seed=run.user_attrs[TRAIN_SEED])
    assert run_experiment(experiment, device="cpu").metrics["ndcg_at_10"] == run.value
    first = make_split(shop, "personalize", 0)
    assert first.test is not None
    assert experiment.split.test is not None
    assert (experiment.split.test.users == first.test.users).all()  # the test users stay who they are


def test_the_verdict_and_the_winner_come_from_the_confirmation(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, tmp_path: Path
) -> None:
    result = confirmed(shop, shop_space, confirm_seeds=4, out=tmp_path / "out")
    found = result.confirmation
    assert found is not None
    assert found == read_confirmation(load_study("s", open_storage()))
    assert (found.verdict, found.winner, found.n_seeds, found.redrawn) == ("yes", 1, 4, True)
    assert result.best_trial == found.winner
    board = result.leaderboard
    assert board is not None
    assert (board.winner, board.refit, board.opening) == (1, True, 1)
    low, high = board.intervals["tuned"]["ndcg_at_10"]
    assert low < board.metrics["tuned"]["ndcg_at_10"] < high
    assert board.gain["difference"] == pytest.approx(
        board.metrics["tuned"]["ndcg_at_10"] - board.metrics["defaults"]["ndcg_at_10"]
    )
    assert {"best.yaml", "confirmation.json", "leaderboard.json", "model"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_the_model_left_is_the_refit_and_the_exported_file_repeats_it(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, tmp_path: Path
) -> None:
    result = confirmed(shop, shop_space, out=tmp_path / "out")
    configuration = load_configuration(export("s", tmp_path / "best.yaml"))
    assert configuration == result.configuration
    assert result.confirmation is not None
    assert configuration.best_epoch == result.confirmation.contender(1).best_epoch
    # Trained as it is, the file repeats the trial's validation figures; refitted, the model that was left.
    plain = run_experiment(prepare_experiment(shop, configuration, result.record.seen), device="cpu")
    assert plain.metrics["ndcg_at_10"] == result.best_value
    saved = load_model(tmp_path / "out" / "model")
    assert (saved.split.refit, saved.split.test_openings) == (True, 1)
    refit = run_experiment(
        prepare_experiment(shop, configuration, result.record.seen, refit=True),
        device="cpu",
        fixed_epochs=configuration.best_epoch,
        validate=False,
    )
    ours, theirs = refit.model.state_dict(), saved.model.state_dict()
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_the_same_command_again_runs_nothing_and_opens_nothing(
    shop: Dataset, shop_space: SearchSpace, tracker: Any
) -> None:
    first = confirmed(shop, shop_space)
    again = confirmed(shop, None, enqueue=(), confirm=None, confirm_seeds=None)  # the numbers are remembered
    assert again.confirmation == first.confirmation
    assert again.leaderboard == first.leaderboard
    assert len(runs()) == 6
    assert openings(load_study("s", open_storage())) == 1


def test_a_confirmation_after_the_test_part_was_opened_needs_again_and_is_marked(
    shop: Dataset, shop_space: SearchSpace, tracker: Any
) -> None:
    early = confirmed(shop, shop_space, confirm=0)
    assert early.confirmation is None
    assert early.leaderboard is not None
    late = confirmed(shop, None, enqueue=(), confirm=2)
    assert late.confirmation is not None
    assert late.leaderboard == early.leaderboard  # the figures that were seen, of a model that was not refitted
    opened = confirmed(shop, None, enqueue=(), again=True)
    assert opened.leaderboard is not None
    assert (opened.leaderboard.opening, opened.leaderboard.reopened, opened.leaderboard.refit) == (2, True, True)
    assert openings(load_study("s", open_storage())) == 2


def test_more_seeds_add_runs_to_those_that_are_there(shop: Dataset, shop_space: SearchSpace, tracker: Any) -> None:
    first = confirmed(shop, shop_space)
    more = confirmed(shop, None, enqueue=(), confirm_seeds=3)
    assert first.confirmation is not None
    assert more.confirmation is not None
    assert more.confirmation.n_seeds == 3
    assert more.confirmation.contender(1).scores[:2] == first.confirmation.contender(1).scores
    assert len(runs()) == 9


def test_without_challengers_nothing_is_confirmed(shop: Dataset, shop_space: SearchSpace, tracker: Any) -> None:
    result = confirmed(shop, shop_space, n_trials=1, enqueue=())
    assert result.confirmation is None
    assert result.leaderboard is not None
    assert study_names(open_storage()) == ["s"]


@pytest.mark.parametrize("options", [{"confirm": -1}, {"confirm_seeds": 1}])
def test_impossible_numbers_are_refused_before_anything_is_written(
    shop: Dataset, shop_space: SearchSpace, options: dict[str, int], home: Path
) -> None:
    with pytest.raises(ConfigError, match="must hold"):
        confirmed(shop, shop_space, **options)
    assert not home.exists()


def test_an_interrupted_confirmation_goes_on_from_its_epoch_to_the_same_verdict(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = confirmed(shop, shop_space)
    delete_study("s")
    original = Trial.report
    ran: list[tuple[Any, ...]] = []

    def report(trial: Trial, value: float, step: int) -> None:
        attributes = trial.user_attrs
        if CANDIDATE in attributes:
            ran.append((attributes[CANDIDATE], attributes[RUN_INDEX], step))
            if len(ran) == 5:
                signal.raise_signal(signal.SIGINT)
        original(trial, value, step)

    monkeypatch.setattr(Trial, "report", report)
    stopped = confirmed(shop, shop_space)
    assert stopped.interrupted
    assert stopped.confirmation is None
    assert stopped.leaderboard is None
    assert openings(load_study("s", open_storage())) == 0
    result = confirmed(shop, None, enqueue=())
    assert result.confirmation is not None
    assert whole.confirmation is not None
    assert {**result.confirmation.content(), "time": 0} == {**whole.confirmation.content(), "time": 0}
    assert result.leaderboard == whole.leaderboard
    assert len(ran) == len(set(ran)) == 12  # six runs of two epochs, none twice


def test_a_configuration_that_fails_is_out_of_the_contest(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, trial: Any, configuration: Any) -> Any:
        if trial.user_attrs[CANDIDATE] == 1:
            raise RunFailedError("loss is nan")
        return prepare_experiment(shop, configuration, "keep", train_seed=trial.user_attrs[TRAIN_SEED])

    monkeypatch.setattr(ConfirmObjective, "_experiment", fail)
    result = confirmed(shop, shop_space.narrow({}, {"targets_ahead": 1}, "test"))
    assert result.confirmation is not None
    assert result.confirmation.failed == [1]
    assert result.confirmation.winner == 2
    n_runs = len(load_study("s (confirmation)", open_storage()).trials)
    confirmed(shop, None, enqueue=())
    assert len(load_study("s (confirmation)", open_storage()).trials) == n_runs  # not tried for ever


def test_runs_never_are_pruned(shop: Dataset, shop_space: SearchSpace, tracker: Any) -> None:
    confirmed(shop, shop_space, confirm_seeds=3)
    assert {run.state for run in runs()} == {TrialState.COMPLETE}
    assert {len(epochs_of(run)) for run in runs()} == {2}


def test_mlflow_shows_the_runs_and_sync_rebuilds_them(shop: Dataset, shop_space: SearchSpace, tracker: Any) -> None:
    result = confirmed(shop, shop_space)
    assert result.confirmation is not None
    [parent] = tracker.by_role("study")
    assert parent["tags"]["verdict"] == result.confirmation.verdict
    assert parent["tags"]["confirmed_trial"] == "1"
    assert {"optimism", "gain_over_defaults", "confirmed_ndcg_at_10"} <= parent["tags"].keys()
    assert tracker.models == {"s": [{"study_uid": parent["tags"]["study_uid"], "trial": "1", "opening": "1"}]}

    def shown() -> list[Any]:
        children = [run for run in tracker.runs.values() if run["tags"]["phase"] in ("confirm", "final")]
        return sorted(children, key=lambda run: run["name"])

    before = shown()
    assert [run["name"] for run in before[:3]] == [f"confirm trial {n}, run {m}" for n, m in ((0, 1), (0, 2), (1, 1))]
    assert {run["status"] for run in before} == {"FINISHED"}
    assert [run["tags"]["contender"] for run in before[6:]] == sorted(run["tags"]["contender"] for run in before[6:])
    tuned = next(run for run in before if run["name"] == "test: tuned")
    assert tuned["params"]["hidden_dimension"] == 24
    assert "train_loss" in tuned["metrics"][1]
    assert 0.0 <= tuned["metrics"][0]["test_ndcg_at_10"] <= 1.0
    assert float(parent["tags"]["test_ndcg_at_10"]) == pytest.approx(tuned["metrics"][0]["test_ndcg_at_10"], abs=1e-5)
    assert all(part in parent["description"] for part in ("Better than the defaults", "report.html", "popularity"))
    assert (tuned["data"].digest, tuned["data"].context) == (shop.content_hash, "test")
    tracker.runs.clear()
    assert sync("s") == 3 + 6 + 1
    after = shown()
    for name in ("name", "params", "metrics", "status", "texts"):
        assert [run[name] for run in after] == [run[name] for run in before]


def test_the_companion_is_no_study_of_its_own_and_goes_with_its_study(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, home: Path
) -> None:
    confirmed(shop, shop_space)
    assert [entry.study for entry in list_studies()] == ["s"]
    for command in (delete_study, stop_study, status):
        with pytest.raises(StudyError, match=r"'s \(confirmation\)' holds the confirmation's runs of study 's': name"):
            command("s (confirmation)")
    with pytest.raises(StudyError, match=r"There is no study 'zz' in .*; it holds s\.$"):
        status("zz")
    delete_study("s")
    assert study_names(open_storage()) == []
    assert list((home / "checkpoints").iterdir()) == []


def test_figures_survive_packing() -> None:
    values = np.array([0.1, 1 / 3, 0.0, 1e-300])
    assert (from_text(as_text(values), np.float64) == values).all()
    assert from_text(as_text(np.empty(0, np.int64)), np.int64).tolist() == []
