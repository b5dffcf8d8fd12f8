"""Several objectives: the Pareto front, what leads, what is refused, and every place that reads a trial's value."""

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.objectives import check_objectives
from hrnn_hpo.study.report.report import render_report
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.results.export import export
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.results.trials_table import trials_table
from hrnn_hpo.study.run import trial as trial_module
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune

BOTH = ["ndcg_at_10", "n_parameters"]


@pytest.fixture
def sized(fake_experiment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a fake model have a hundred weights per hidden unit."""
    run = trial_module.run_experiment

    def sized_run(experiment: Any, **options: Any) -> Any:
        n = 100 * experiment.configuration.hyperparameters.hidden_dimension
        return dataclasses.replace(run(experiment, **options), n_parameters=n)

    monkeypatch.setattr("hrnn_hpo.study.run.trial.run_experiment", sized_run)


@pytest.fixture
def result(log: Dataset, space: SearchSpace, tracker: Any, sized: None) -> StudyResult:
    return tune(log, study="s", space=space, n_trials=14, seed=2, objective=BOTH)


def test_the_front_holds_exactly_the_trials_that_none_beats(result: StudyResult) -> None:
    trials = {trial.number: trial.values for trial in load_study("s", open_storage()).trials}
    assert len(trials) == result.trials.complete == 14  # nothing is pruned
    unbeaten = {
        number
        for number, (score, size) in trials.items()
        if not any(
            other != number and s >= score and n <= size and (s, n) != (score, size) for other, (s, n) in trials.items()
        )
    }
    assert {point.trial for point in result.front} == unbeaten
    assert len(unbeaten) > 1
    scores = [point.values["ndcg_at_10"] for point in result.front]
    assert scores == sorted(scores, reverse=True)


def test_the_first_objective_leads_and_export_takes_another_trial_by_number(
    result: StudyResult, tmp_path: Path
) -> None:
    assert result.best_trial == result.front[0].trial
    assert result.best_value == result.front[0].values["ndcg_at_10"]
    smallest = result.front[-1].trial
    default = export("s", tmp_path / "default.yaml").read_text(encoding="utf-8")
    chosen = export("s", tmp_path / "chosen.yaml", trial=smallest).read_text(encoding="utf-8")
    assert f"Trial {result.best_trial} of study s" in default
    assert f"Trial {smallest} of study s" in chosen


def test_report_table_and_status_know_all_objectives(result: StudyResult) -> None:
    study = load_study("s", open_storage())
    page = render_report(study)
    assert "Pareto front" in page
    assert "ndcg_at_10 against n_parameters" in page
    assert "--objective ndcg_at_10 --objective n_parameters" in page
    rows = list(csv.DictReader(io.StringIO(trials_table(study))))
    assert float(rows[0]["objective_n_parameters"]) == 1600
    assert float(rows[0]["value"]) == study.trials[0].values[0]
    assert status("s").best_trial == result.best_trial


def test_a_study_of_several_objectives_resumes_to_the_same_table(
    log: Dataset, space: SearchSpace, result: StudyResult
) -> None:
    for n_trials in (5, 14):
        tune(log, study="parts", space=space, n_trials=n_trials, seed=2, objective=BOTH)
    parts, whole = (load_study(name, open_storage()).trials for name in ("parts", "s"))
    assert [(t.params, t.values) for t in parts] == [(t.params, t.values) for t in whole]


def test_other_objectives_are_other_studies(log: Dataset, result: StudyResult) -> None:
    with pytest.raises(StudyError, match=r"more_objectives: \['n_parameters'\] -> \[\]"):
        tune(log, study="s", n_trials=15, objective="ndcg_at_10")
    assert tune(log, study="s", n_trials=15).trials.done == 15


@pytest.mark.usefixtures("tracker", "fake_experiment")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pruner": "median"}, "has no pruner"),
        ({"sampler": "cma-es"}, "knows one objective only"),
        ({"objective": ["n_parameters", "ndcg_at_10"]}, "first --objective must be a metric"),
        ({"objective": ["ndcg_at_10", "n_parameter"]}, "did you mean 'n_parameters'"),
        ({"objective": ["ndcg_at_10", "ndcg_at_10"]}, "must differ"),
    ],
)
def test_what_several_objectives_cannot_do_is_refused(
    log: Dataset, space: SearchSpace, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        tune(log, study="s", space=space, n_trials=2, **{"objective": BOTH, **options})


def test_one_objective_may_come_as_text_or_as_a_list() -> None:
    assert check_objectives("coverage") == check_objectives(["coverage"]) == ["coverage"]
    assert check_objectives(None) == check_objectives([]) == []
