"""The standard error of each score: of its validation users, wherever a reader meets the score."""

import math
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from study_fakes import FakeTracker, user_scores

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.experiment import prepare_experiment
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.studies import trials_dataframe
from hrnn_hpo.study.attributes import SUMMARY, epochs_of, standard_error_of
from hrnn_hpo.study.report.charts import history_chart
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune


def expected(score: float, n_users: int) -> float:
    return float(user_scores(score).std(ddof=1)) / math.sqrt(n_users)


@pytest.fixture
def n_validation(log: Dataset, space: SearchSpace, tracker: FakeTracker, fake_experiment: Any) -> int:
    """Run a study; return how many validation users it has."""
    result = tune(log, study="s", space=space, n_trials=12, confirm=0)
    part = prepare_experiment(log, result.record.configuration(space.resolve({})), "keep").split.validation
    assert part is not None
    return len(part.users)


def test_every_epoch_has_the_standard_error_of_its_score(n_validation: int) -> None:
    for trial in load_study("s", open_storage()).trials:
        for figures in epochs_of(trial).values():
            score = figures["metrics"]["ndcg_at_10"]
            assert figures["standard_error"] == pytest.approx(expected(score, n_validation), rel=0.02)


def test_a_trials_error_is_that_of_the_epoch_that_it_is_told_with(n_validation: int) -> None:
    trials = load_study("s", open_storage()).trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        assert standard_error_of(trial) == pytest.approx(expected(trial.value or 0.0, n_validation), rel=0.02)
        if trial.state == TrialState.COMPLETE:
            assert trial.user_attrs[SUMMARY]["standard_error"] == standard_error_of(trial)


def test_table_status_mlflow_and_chart_show_it(n_validation: int, tracker: FakeTracker) -> None:
    trials = load_study("s", open_storage()).trials
    table = trials_dataframe("s")
    np.testing.assert_allclose(table["standard_error"], [standard_error_of(trial) or 0.0 for trial in trials])
    told = status("s")
    assert told.best_standard_error == standard_error_of(trials[told.best_trial or 0])
    tags = [run["tags"] for run in tracker.runs.values() if run["tags"].get("trial") == str(told.best_trial)]
    assert float(tags[0]["standard_error"]) == pytest.approx(told.best_standard_error, rel=1e-5)
    assert history_chart(trials, trials, "ndcg_at_10").count('class="error"') == len(trials)


def test_a_study_of_an_earlier_version_has_none(n_validation: int) -> None:
    trials = load_study("s", open_storage()).trials
    for trial in trials:
        for figures in epochs_of(trial).values():
            figures.pop("standard_error")
        trial.user_attrs.get(SUMMARY, {}).pop("standard_error", None)
    assert [standard_error_of(trial) for trial in trials] == [None] * len(trials)
    assert 'class="error"' not in history_chart(trials, trials, "ndcg_at_10")
