"""A search on a part of the users: allowed only where configurations rank alike, confirmed on all of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shop import clashing

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.featurize import some_users
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.errors import ConfigError, RunFailedError, StudyError
from hrnn_hpo.experiment import Experiment, prepare_experiment
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIGURATION
from hrnn_hpo.study.confirm.agenda import confirmation_runs
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.confirm.test_part import openings
from hrnn_hpo.study.folders import study_folder
from hrnn_hpo.study.report.report import render_report
from hrnn_hpo.study.request import part_of_users
from hrnn_hpo.study.request.part_of_users import N_COMPARED, Fidelity, read_fidelity
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.results.export import export
from hrnn_hpo.study.results.manage import delete_study
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.team.worker import work
from hrnn_hpo.study.tune import tune


def searched(shop: Dataset, space: SearchSpace, **options: Any) -> StudyResult:
    usual: dict[str, Any] = {"n_trials": 3, "confirm": 1, "confirm_seeds": 2, "user_fraction": 0.5}
    return tune(shop, study="s", space=space, **(usual | {"device": "cpu", "n_threads": 1, "pruner": "none"} | options))


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float | None, float | None]]:
    """Return a list of (configuration's fraction, score that its training is to have), consumed in order."""
    told: list[tuple[float | None, float | None]] = []

    def score(dataset: Dataset, configuration: Configuration, *_: object) -> float | None:
        fraction, value = told.pop(0)
        assert configuration.user_fraction == fraction
        return value

    monkeypatch.setattr(part_of_users, "_score", score)
    return told


def test_a_part_is_drawn_by_the_split_seed_and_a_smaller_part_lies_in_a_larger_one(shop: Dataset) -> None:
    train = make_split(shop, "personalize", 0).train
    half, third = some_users(train, 0.5, 0), some_users(train, 0.3, 0)
    assert len(half.users) == round(len(train.users) / 2)
    assert set(third.users) < set(half.users) < set(train.users)
    assert np.array_equal(half.stops, train.stops[np.isin(train.users, half.users)])
    assert not np.array_equal(half.users, some_users(train, 0.5, 1).users)
    assert len(some_users(train, 1e-9, 0).users) == 1


def test_a_part_of_the_training_users_trains_and_everyone_validates(shop: Dataset) -> None:
    def experiment(fraction: float | None) -> Experiment:
        return prepare_experiment(shop, Configuration(user_fraction=fraction))

    part, whole = experiment(0.5), experiment(None)
    assert len(part.split.train.users) == round(len(whole.split.train.users) / 2)
    assert part.split.validation is not None
    assert whole.split.validation is not None
    assert np.array_equal(part.split.validation.users, whole.split.validation.users)


def test_the_search_trains_on_the_part_and_the_confirmation_on_all(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_of_users, "LEAST_CORRELATION", -1.0)
    result = searched(shop, shop_space)
    study = load_study("s", open_storage())
    assert {trial.user_attrs[CONFIGURATION]["user_fraction"] for trial in study.trials} == {0.5}
    companion = companion_of(study, open_storage())
    assert companion is not None
    runs = confirmation_runs(companion)
    assert len(runs) == 4
    assert not any("user_fraction" in run.user_attrs[CONFIGURATION] for run in runs)
    assert result.configuration is not None
    assert result.configuration.user_fraction is None
    assert result.confirmation is not None
    assert result.confirmation.optimism is None  # scores of different amounts of data
    found = read_fidelity(study)
    assert found is not None
    assert len(found.part) == len(found.whole) == N_COMPARED
    assert found.part != found.whole
    assert found.sentence() in render_report(study)
    assert not (study_folder(study) / "compared").exists()


def test_where_ranks_disagree_no_trial_begins(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, scores: list[tuple[float | None, float | None]]
) -> None:
    scores += [pair for n in range(N_COMPARED) for pair in ((0.5, 0.1 + n), (None, 0.2 - n))]
    with pytest.raises(StudyError, match=r"--user-fraction 0\.5.*rank correlation at least 0\.642, but it is -1\.00"):
        searched(shop, shop_space)
    with pytest.raises(StudyError, match="studies delete s`"):  # the answer is known: nothing trains
        searched(shop, shop_space)
    with pytest.raises(StudyError, match="no trials to run"):
        work(shop, "s")
    assert {trial.state.name for trial in load_study("s", open_storage()).trials} == {"WAITING"}
    delete_study("s")
    scores += [pair for n in range(N_COMPARED) for pair in ((0.9, 0.1 + n), (None, 0.2 + n))]
    searched(shop, shop_space, user_fraction=0.9)


def test_an_interrupted_comparison_goes_on_and_a_failed_training_ranks_last(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, scores: list[tuple[float | None, float | None]]
) -> None:
    scores += [(0.5, None), (None, None), (0.5, 0.1)]
    with pytest.raises(IndexError):
        searched(shop, shop_space)
    with pytest.raises(StudyError, match="still being compared"):
        work(shop, "s")
    scores += [pair for n in range(1, N_COMPARED) for pair in ((0.5, 0.1 * n), (None, 0.2 * n))]
    searched(shop, shop_space)
    found = read_fidelity(load_study("s", open_storage()))
    assert found is not None
    assert found.part[:3] == [None, 0.1, 0.2]
    assert found.rank_correlation == 1.0
    assert scores == []
    searched(shop, shop_space, n_trials=4, user_fraction=None)  # goes on without comparing again


def test_a_configuration_that_breaks_a_rule_ranks_last_too(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, scores: list[tuple[float | None, float | None]]
) -> None:
    space = clashing(shop_space)
    fit = [n for n, values in enumerate(part_of_users._points(space, 0)) if not values["weight_averaging"]]
    assert 1 < len(fit) < N_COMPARED
    scores += [pair for n in fit for pair in ((0.5, 0.1 + n), (None, 0.2 + n))]
    searched(shop, space, n_trials=1)
    found = read_fidelity(load_study("s", open_storage()))
    assert found is not None
    assert [n for n, score in enumerate(found.whole) if score is not None] == fit


def test_test_users_stay_closed_where_nothing_was_confirmed(
    shop: Dataset,
    shop_space: SearchSpace,
    tracker: Any,
    scores: list[tuple[float | None, float | None]],
    tmp_path: Path,
) -> None:
    scores += [pair for n in range(N_COMPARED) for pair in ((0.5, 0.1 * n), (None, 0.2 * n))]
    result = searched(shop, shop_space, n_trials=1)  # the defaults have no challenger
    assert (result.confirmation, result.leaderboard) == (None, None)
    assert openings(load_study("s", open_storage())) == 0
    assert result.configuration is not None
    assert result.configuration.user_fraction == 0.5
    written = export("s", tmp_path / "best.yaml").read_text("utf-8")
    assert "trained on 50% of the training users" in written


def test_a_metric_of_ones_own_may_be_the_objective(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_of_users, "LEAST_CORRELATION", -1.0)
    hits = {"share_of_hits": lambda top_items, truth: truth.hits(top_items).mean(axis=1)}
    searched(shop, shop_space, objective="share_of_hits", extra_metrics=hits)
    found = read_fidelity(load_study("s", open_storage()))
    assert found is not None
    assert all(score is not None and score > 0 for score in (*found.part, *found.whole))


def test_a_study_keeps_its_fraction_and_must_be_confirmed(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, scores: list[tuple[float | None, float | None]]
) -> None:
    scores += [pair for n in range(N_COMPARED) for pair in ((0.5, 0.1 * n), (None, 0.2 * n))]
    for bad in (0.0, 1.0, -0.1):
        with pytest.raises(ConfigError, match=f"0 < --user-fraction < 1.*{bad}"):
            searched(shop, shop_space, user_fraction=bad)
    with pytest.raises(ConfigError, match="must be confirmed on all"):
        searched(shop, shop_space, confirm=0)
    searched(shop, shop_space)
    with pytest.raises(StudyError, match=r"user_fraction: 0\.5 -> 0\.25"):
        searched(shop, shop_space, user_fraction=0.25)
    with pytest.raises(ConfigError, match="must be confirmed on all"):
        searched(shop, shop_space, user_fraction=None, confirm=0)


def test_scores_that_tell_nothing_apart_have_no_rank_correlation() -> None:
    assert Fidelity(0.5, "ndcg_at_10", [0.1] * 8, [0.1 * n for n in range(8)]).rank_correlation == 0.0


def test_a_training_that_diverges_is_no_end_of_the_comparison(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise RunFailedError("the loss is not finite")

    monkeypatch.setattr(part_of_users, "run_experiment", diverge)
    with pytest.raises(StudyError, match="rank correlation"):
        searched(shop, shop_space)
