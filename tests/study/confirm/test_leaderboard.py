"""The test users are looked at once; a second look is asked for, counted and marked. Real models, small ones."""

from dataclasses import replace
from typing import Any

import optuna
import pytest
from shop import GOOD
from study_fakes import KilledError, dies

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.evaluation.baselines import BASELINES
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.confirm import test_part as opening
from hrnn_hpo.study.confirm.leaderboard import DEFAULTS, LEADERBOARD, WINNER, baselines_ahead, read_leaderboard
from hrnn_hpo.study.confirm.test_part import OPENINGS, figures_on_test_users, open_test_part, openings
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.results.export import render
from hrnn_hpo.study.run.trial_files import drop_all_files, model_folder
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune


@pytest.fixture
def result(shop: Dataset, shop_space: SearchSpace, tracker: Any) -> StudyResult:
    return tune(shop, study="s", space=shop_space, n_trials=2, enqueue=[GOOD], device="cpu", n_threads=1)


def study() -> optuna.Study:
    return load_study("s", open_storage())


def test_winner_defaults_and_baselines_are_compared_on_the_same_users(result: StudyResult) -> None:
    board = result.leaderboard
    assert board is not None
    assert list(board.metrics) == [WINNER, DEFAULTS, *BASELINES]
    assert board.differences.keys() == board.metrics.keys() - {WINNER}
    ahead = board.differences["ease"]
    assert ahead["difference"] == pytest.approx(
        board.metrics[WINNER]["ndcg_at_10"] - board.metrics["ease"]["ndcg_at_10"]
    )
    assert ahead["low"] <= ahead["difference"] <= ahead["high"]
    assert set(board.constants["tifu_knn"]) == {"group_decay", "own_share", "neighbours"}
    assert board.left_out == {}
    assert board.winner == result.best_trial == 1
    assert board.n_test_users == 8
    assert board.metrics[WINNER]["ndcg_at_10"] > board.metrics[DEFAULTS]["ndcg_at_10"]
    assert openings(study()) == 1


def test_a_baseline_above_the_winner_is_named(result: StudyResult) -> None:
    board = result.leaderboard
    assert board is not None
    # The last item tells the next, as item-kNN learns from validation users.
    assert "item_knn_decay" in str(baselines_ahead(board, "ndcg_at_10"))
    behind = {name: board.metrics[name] for name in (WINNER, DEFAULTS, "popularity")}
    assert baselines_ahead(replace(board, metrics=behind), "ndcg_at_10") is None
    better = {**behind, "own_items": {"ndcg_at_10": 0.9}}
    ours = board.metrics[WINNER]["ndcg_at_10"]
    assert baselines_ahead(replace(board, metrics=better), "ndcg_at_10") == (
        f"A baseline is above the tuned model on the test users: ndcg_at_10 own_items 0.9000 against {ours:.4f}."
    )
    better["popularity"] = {"ndcg_at_10": 0.8}
    assert "popularity 0.8000, own_items 0.9000" in str(baselines_ahead(replace(board, metrics=better), "ndcg_at_10"))
    assert baselines_ahead(replace(board, metrics=better), "a metric of one's own") is None


def test_the_test_part_is_opened_once_however_often_the_command_runs(shop: Dataset, result: StudyResult) -> None:
    again = tune(shop, study="s", n_trials=2, device="cpu", n_threads=1)
    assert again.leaderboard == result.leaderboard
    assert openings(study()) == 1


def test_a_better_winner_needs_a_second_opening_which_is_marked(
    shop: Dataset, result: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "best_trial", lambda trials: trials[0])  # another trial is ahead now
    closed = open_test_part(study(), read_record(study()), shop)
    assert closed == result.leaderboard
    opened = open_test_part(study(), read_record(study()), shop, again=True)
    assert opened is not None
    assert (opened.winner, opened.opening, opened.reopened) == (0, 2, True)
    assert [entry["trial"] for entry in study().user_attrs[OPENINGS]] == [1, 0]


def test_an_opening_is_written_down_before_anything_is_evaluated(
    shop: Dataset, result: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(opening, "best_trial", lambda trials: trials[0])
    monkeypatch.setattr(opening, "evaluate_model", lambda *args, **_: seen.append(openings(study())) or 1 / 0)
    for _ in range(2):  # the second one is the first that was cut off
        with pytest.raises(ZeroDivisionError):
            open_test_part(study(), read_record(study()), shop, again=True)
    assert seen == [2, 2]


def test_an_opening_that_nobody_saw_is_not_counted_twice(
    shop: Dataset, result: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = study()
    found.set_user_attr(LEADERBOARD, None)  # killed in between
    board = open_test_part(found, read_record(found), shop)
    assert board == result.leaderboard
    assert openings(study()) == 1


@pytest.mark.parametrize("n_writes", [0, 1])
def test_whoever_finds_a_leaderboard_finds_the_figures_it_rests_on(
    shop: Dataset, result: StudyResult, monkeypatch: pytest.MonkeyPatch, n_writes: int
) -> None:
    study().set_user_attr(LEADERBOARD, None)
    write, written = optuna.Study.set_user_attr, []

    def dies_after(self: optuna.Study, key: str, value: Any) -> None:
        if len(written) == n_writes:
            raise KilledError
        written.append(key)
        write(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "set_user_attr", dies_after)
        patch.setattr(opening, "drop_refits", dies)
        with pytest.raises(KilledError):
            open_test_part(study(), read_record(study()), shop)
    assert (read_leaderboard(study()) is None) == (figures_on_test_users(study()) is None) == (n_writes == 0)
    assert open_test_part(study(), read_record(study()), shop) == result.leaderboard
    assert openings(study()) == 1
    assert figures_on_test_users(study()) is not None


def test_an_opening_that_version_0_1_0_marked_as_seen_counts(
    shop: Dataset, result: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = study()
    found.set_user_attr(OPENINGS, [{**found.user_attrs[OPENINGS][0], "seen": True}])
    found.set_user_attr(LEADERBOARD, None)
    board = open_test_part(found, read_record(found), shop)
    assert board is not None
    assert board.opening == openings(study()) == 2


def test_a_model_that_is_gone_is_trained_again_to_the_same_figures(shop: Dataset, result: StudyResult) -> None:
    found = study()
    drop_all_files(found)
    assert not model_folder(found, found.best_trial).exists()
    found.set_user_attr("leaderboard", None)
    assert result.leaderboard is not None
    board = open_test_part(found, read_record(found), shop, device="cpu")
    assert board is not None
    assert board.metrics == result.leaderboard.metrics


def test_amazons_solution_config_holds_the_winners_values_as_text(result: StudyResult, shop: Dataset) -> None:
    import json

    text = render(study(), "yaml")
    assert text.startswith("# Trial 1 of study s: ndcg_at_10 ")
    with pytest.raises(Exception, match="hidden_dimension"):  # 24 lies outside the recipe's [32, 256]
        json.loads(render(study(), "personalize"))


def f1_at_10(top_items: Any, truth: Any) -> Any:
    """Return the harmonic mean of precision and recall at 10 of each user."""
    return 2.0 * truth.hits(top_items[:, :10]).sum(axis=1) / (10 + truth.sizes)


def test_a_metric_of_the_users_own_stands_in_every_row_and_in_the_gain(
    shop: Dataset, shop_space: SearchSpace, tracker: Any
) -> None:
    asked: dict[str, Any] = {"n_trials": 2, "enqueue": [GOOD], "device": "cpu", "n_threads": 1}
    own = {"f1_at_10": f1_at_10}
    result = tune(shop, study="own", space=shop_space, objective="f1_at_10", extra_metrics=own, **asked)
    board = result.leaderboard
    assert board is not None
    assert all(0.0 <= row["f1_at_10"] <= 1.0 for row in board.metrics.values())
    assert set(board.metrics) > {WINNER, DEFAULTS, "popularity"}
    assert board.gain["difference"] == pytest.approx(
        board.metrics[WINNER]["f1_at_10"] - board.metrics[DEFAULTS]["f1_at_10"]
    )
    low, high = board.intervals[WINNER]["f1_at_10"]
    assert low <= board.metrics[WINNER]["f1_at_10"] <= high
