"""A confirmation that leaves nobody to compare with the defaults: no verdict, and the test users stay closed."""

from typing import Any

import pytest

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIRMATION
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune

N_TRIALS = 3


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, fake_figures: Any) -> list[str]:
    """Return the studies whose test users were opened, in order."""
    found: list[str] = []
    monkeypatch.setattr("hrnn_hpo.study.tune.open_test_part", lambda study, *_, **__: found.append(study.study_name))
    return found


def searched(log: Dataset, space: SearchSpace | None, **options: Any) -> StudyResult:
    asked = {"confirm": 1, "confirm_seeds": 2, "screen": 0} | options
    return tune(log, study="s", space=space, n_trials=N_TRIALS, pruner="none", **asked)


def all_but_the_defaults_fail(fake: Any) -> None:
    def fail(run: int, epoch: int) -> None:
        ours = fake.configurations[run].hyperparameters
        if run >= N_TRIALS and ours != fake.configurations[0].hyperparameters:
            raise RuntimeError("out of memory")

    fake.before_epoch = fail


@pytest.mark.usefixtures("tracker", "opened")
def test_where_all_challengers_fail_nothing_is_said_and_the_next_command_has_the_first_look(
    log: Dataset, space: SearchSpace, fake_figures: Any
) -> None:
    all_but_the_defaults_fail(fake_figures)
    assert searched(log, space).confirmation is None
    assert CONFIRMATION not in load_study("s", open_storage()).user_attrs
    fake_figures.before_epoch = lambda run, epoch: None
    found = searched(log, None).confirmation
    assert found is not None
    assert (found.look, found.alpha, found.failed, len(found.contenders)) == (1, 0.05, [], 2)


@pytest.mark.usefixtures("tracker")
def test_the_test_users_stay_closed_until_there_is_a_verdict_or_none_is_asked_for(
    log: Dataset, space: SearchSpace, fake_figures: Any, opened: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    all_but_the_defaults_fail(fake_figures)
    assert searched(log, space).leaderboard is None
    assert opened == []
    assert "There is no verdict on the study's winner" in caplog.text
    searched(log, None, confirm=0)
    assert opened == ["s"]
    fake_figures.before_epoch = lambda run, epoch: None
    searched(log, None)
    assert opened == ["s", "s"]


@pytest.mark.usefixtures("tracker", "fake_figures", "opened")
def test_figures_that_were_seen_are_shown_though_more_seeds_bring_no_verdict(
    log: Dataset, space: SearchSpace, fake_figures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_but_the_defaults_fail(fake_figures)
    monkeypatch.setattr("hrnn_hpo.study.tune.read_leaderboard", lambda study: f"of {study.study_name}")
    assert searched(log, space).leaderboard == "of s"  # type: ignore[comparison-overlap]
