"""The mean of several refits as the model that a study leaves: its row, its cost, and how it goes on when killed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shop import GOOD

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.model.ensemble import Ensemble
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.confirm import refit
from hrnn_hpo.study.confirm.leaderboard import ENSEMBLE, WINNER, ensemble_note
from hrnn_hpo.study.confirm.refit import winning_model
from hrnn_hpo.study.confirm.test_part import openings
from hrnn_hpo.study.report.report import report
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune


def confirmed(shop: Dataset, space: SearchSpace | None = None, **options: Any) -> StudyResult:
    usual: dict[str, Any] = {"n_trials": 2, "enqueue": [GOOD], "confirm": 1, "confirm_seeds": 3}
    return tune(shop, study="s", space=space, **(usual | {"device": "cpu", "n_threads": 1} | options))


def test_a_study_leaves_the_mean_of_its_winners_refits(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, tmp_path: Path
) -> None:
    result = confirmed(shop, shop_space, ensemble=True, out=tmp_path / "out")
    board = result.leaderboard
    assert board is not None
    assert list(board.metrics)[:3] == [WINNER, ENSEMBLE, "defaults"]
    assert (board.n_members, board.opening) == (3, 1)
    assert board.metrics[ENSEMBLE] != board.metrics[WINNER]
    assert ENSEMBLE in board.differences
    saved = load_model(tmp_path / "out" / "model")
    assert isinstance(saved.model, Ensemble)
    assert (saved.split.n_members, saved.split.refit, saved.split.test_openings) == (3, True, 1)
    weights = [member.item_embedding.detach().numpy() for member in saved.model._members]
    assert not any(np.array_equal(weights[0], other) for other in weights[1:])
    told = ensemble_note(board)
    assert told is not None
    assert told.startswith("ensemble is the mean of 3 refits of tuned on as many seeds, and the model that the study")
    assert "Its answers took" in told
    assert "ensemble is the mean of 3 refits" in report("s", tmp_path / "report.html").read_text()


def test_without_the_option_nothing_is_averaged_and_a_later_wish_needs_a_second_opening(
    shop: Dataset, shop_space: SearchSpace, tracker: Any
) -> None:
    plain = confirmed(shop, shop_space).leaderboard
    assert plain is not None
    assert ENSEMBLE not in plain.metrics
    assert (plain.n_members, plain.seconds_per_user, ensemble_note(plain)) == (0, {}, None)
    assert confirmed(shop, ensemble=True).leaderboard == plain  # the test users stay closed
    opened = confirmed(shop, again=True).leaderboard  # what was asked once is remembered
    assert opened is not None
    assert (opened.n_members, opened.opening) == (3, 2)


def test_a_killed_ensemble_goes_on_with_the_members_that_are_left(
    shop: Dataset, shop_space: SearchSpace, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = refit.run_experiment
    seeds: list[int] = []

    def dies(experiment: Any, **options: Any) -> Any:
        if len(seeds) == 3:
            raise KeyboardInterrupt
        seeds.append(experiment.configuration.seed)
        return train(experiment, **options)

    monkeypatch.setattr(refit, "run_experiment", dies)
    with pytest.raises(KeyboardInterrupt):
        confirmed(shop, shop_space, ensemble=True)
    study = load_study("s", open_storage())
    assert openings(study) == 0
    assert len(set(seeds)) == 3  # tuned, defaults and one member

    again: list[int] = []
    monkeypatch.setattr(
        refit, "run_experiment", lambda one, **more: again.append(one.configuration.seed) or train(one, **more)
    )
    board = confirmed(shop).leaderboard
    assert board is not None
    assert len(again) == 1
    assert not set(again) & set(seeds)
    folder = winning_model(load_study("s", open_storage()))
    assert folder is not None
    assert load_model(folder).split.n_members == 3
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith("member")] == []


def test_an_ensemble_wants_a_confirmation(shop: Dataset, shop_space: SearchSpace, tracker: Any) -> None:
    with pytest.raises(ConfigError, match="`--ensemble` averages refits of a confirmed winner"):
        confirmed(shop, shop_space, ensemble=True, confirm=0)
    result = confirmed(shop, shop_space, ensemble=True, confirm=None, confirm_seeds=2)  # too few trials for the default
    assert result.leaderboard is not None
    assert result.leaderboard.n_members == 2
