"""A new study begins with what an earlier one found, and says what it could not take over."""

from typing import Any

import pytest

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune

pytestmark = pytest.mark.usefixtures("tracker", "fake_experiment")


def best_params(name: str, n: int) -> list[dict[str, Any]]:
    trials = [trial for trial in load_study(name, open_storage()).trials if trial.value is not None]
    return [trial.params for trial in sorted(trials, key=lambda trial: -(trial.value or 0))[:n]]


def test_the_best_configurations_train_again_after_the_defaults(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="early", space=space, n_trials=9, seed=1, pruner="none")
    for _ in range(2):  # the same command again enqueues nothing twice
        tune(log, study="late", space=space, n_trials=8, seed=2, warm_start="early")
    late = load_study("late", open_storage()).trials
    defaults = space.varied(space.defaults())
    expected = [params for params in best_params("early", 5) if params != defaults]
    assert [trial.params for trial in late if trial.user_attrs.get("role") == "enqueued"] == expected
    assert late[0].params == defaults


def test_what_does_not_fit_is_told_and_left_out(
    log: Dataset, space: SearchSpace, caplog: pytest.LogCaptureFixture
) -> None:
    tune(log, study="early", space=space, n_trials=9, seed=1, pruner="none")
    narrow = space.narrow({"hidden_dimension": {"range": [8, 17]}}, {"bptt": 8}, "narrow")
    tune(log, study="late", space=narrow, n_trials=2, split_seed=3, warm_start="early")
    late = load_study("late", open_storage()).trials
    fit = [params for params in best_params("early", 9) if params["hidden_dimension"] <= 17]
    assert late[1].params == fit[0] or late[1].params == fit[1]  # the defaults, if they are first, run anyway
    text = caplog.text
    assert "bptt is 8 here, 16 there" in text
    assert "not comparable with this study's: other split_seed" in text
    assert "hidden_dimension: must lie in [8, 17]" in text


def test_an_unknown_study_is_refused_with_the_nearest_name(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="early", space=space, n_trials=1)
    with pytest.raises(StudyError, match="did you mean 'early'"):
        tune(log, study="late", space=space, n_trials=1, warm_start="earli")


def test_a_study_is_no_earlier_one_of_its_own(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="early", space=space, n_trials=1)
    with pytest.raises(ConfigError, match="from another study, but got this one's name, 'early'"):
        tune(log, study="early", space=space, n_trials=2, warm_start="early")
