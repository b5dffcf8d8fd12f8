"""Finite spaces: no configuration twice, conditions honoured, the end of the space noticed."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.search.space import SearchSpace, distributions, load_space, space_from_content
from hrnn_hpo.study.propose.distinct import DistinctSampler, is_exhausted, tried
from hrnn_hpo.study.propose.samplers import make_sampler
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.storage.stale_trials import retry_lost_trials
from hrnn_hpo.study.tune import tune

CONDITIONAL = """# A space of 2 + 3 configurations: recency_half_life matters with recency_mask alone.
extends: aws-hrnn
recipe: null
parameters:
  recency_half_life: {kind: training, type: continuous, range: [10.0, 30.0], step: 10.0, default: 30.0,
    when: {recency_mask: true}, doc: Days.}
tune: {bptt: {range: [16, 17], log: false, default: 16}}
fix: {hidden_dimension: 32}
"""


@pytest.fixture
def small(tmp_path: Path) -> SearchSpace:
    path = tmp_path / "small.yaml"
    path.write_text(CONDITIONAL, encoding="utf-8")
    return load_space(path)


def score(space: SearchSpace, trial: optuna.Trial) -> float:
    values = space.suggest(trial)
    return float(values["bptt"]) - abs(float(values["recency_half_life"]) - 20)  # type: ignore[arg-type]


def test_configurations_lists_each_one_once(small: SearchSpace) -> None:
    listed = list(small.configurations())
    assert len(listed) == small.cardinality() == 2 * (1 + 3)
    assert len({str(small.complete(values)) for values in listed}) == 8
    assert {"bptt": 16, "recency_mask": False} in listed


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cma-es", "gp"])
def test_no_sampler_repeats_a_configuration_until_all_have_been_tried(small: SearchSpace, sampler: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 5, small))
    study.enqueue_trial(small.varied(small.defaults()))
    for n_done in range(8):
        assert is_exhausted(study, small) == (n_done == 8)
        study.optimize(lambda trial: score(small, trial), n_trials=1)
    assert is_exhausted(study, small)
    assert len(tried(study, small)) == 8
    assert all(trial.params == small.varied(trial.params) for trial in study.trials)


def test_a_repeat_gives_way_to_the_closest_untried_configuration(small: SearchSpace) -> None:
    class Stubborn(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, name, distribution):  # type: ignore[no-untyped-def]
            return {"bptt": 16, "recency_mask": True, "recency_half_life": 10.0}[name]

    study = optuna.create_study(direction="maximize", sampler=DistinctSampler(Stubborn(), small))
    study.optimize(lambda trial: score(small, trial), n_trials=3)
    days = [trial.params["recency_half_life"] for trial in study.trials]
    # From (16, 10 days) half the range of days away lies (16, 20), then at distance 1 (16, 30) and (17, 10).
    assert days[:2] == [10.0, 20.0]
    assert (study.trials[2].params["bptt"], days[2]) in [(16, 30.0), (17, 10.0)]


@pytest.mark.parametrize("n_drawn", [1, 2])
def test_a_trial_whose_worker_died_while_it_drew_is_proposed_again(small: SearchSpace, n_drawn: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def proposed(*, dies: bool) -> list[dict[str, Any]]:
        study = optuna.create_study(direction="maximize", sampler=make_sampler("random", 3, small))
        for number in range(6):
            trial = study.ask()
            if dies and number == 2:
                for name, distribution in list(distributions(small).items())[:n_drawn]:
                    trial._suggest(name, distribution)
                study.tell(trial, state=TrialState.FAIL)
                retry_lost_trials(study)
                trial = study.ask()
            study.tell(trial, score(small, trial))
        return [trial.params for trial in study.trials if trial.state == TrialState.COMPLETE]

    assert proposed(dies=True) == proposed(dies=False)


def test_what_died_while_it_drew_has_tried_nothing(small: SearchSpace) -> None:
    study = optuna.create_study(direction="maximize", sampler=make_sampler("random", 3, small))
    trial = study.ask()
    trial.suggest_int("bptt", 16, 17)
    study.tell(trial, state=TrialState.FAIL)
    assert tried(study, small) == set()


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_a_study_ends_with_its_space_and_says_so_resumed_or_not(log: Dataset, small: SearchSpace) -> None:
    for n_trials in (3, 50):
        result = tune(log, study="parts", space=small, n_trials=n_trials, seed=2)
    assert result.stopped == "every configuration of the space has been tried"
    assert result.trials.done == 8
    assert tune(log, study="whole", space=small, patience_trials=100, seed=2).trials.done == 8
    parts, whole = (load_study(name, open_storage()).trials for name in ("parts", "whole"))
    assert [trial.params for trial in parts] == [trial.params for trial in whole]


def test_a_continuum_needs_no_guard(space: SearchSpace) -> None:
    assert not isinstance(make_sampler("tpe", 0, space), DistinctSampler)
    assert not is_exhausted(optuna.create_study(), space)


def test_a_grid_takes_a_range_of_one_value(small: SearchSpace) -> None:
    content = small.content()
    one = {"kind": "training", "type": "continuous", "range": [0.1, 0.1], "default": 0.1}
    space = space_from_content({**content, "parameters": {**content["parameters"], "input_dropout": one}}, "one")
    study = optuna.create_study(direction="maximize", sampler=make_sampler("grid", 5, space))
    study.optimize(lambda trial: score(space, trial), n_trials=8)
    assert is_exhausted(study, space)


def test_a_grid_of_more_configurations_than_are_listed_at_once_repeats_none_to_its_last(
    small: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrnn_hpo.study.propose.distinct.MAX_ENUMERATED", 0)  # so none is found at random
    study = optuna.create_study(direction="maximize", sampler=make_sampler("grid", 5, small))
    study.optimize(lambda trial: score(small, trial), n_trials=8)
    assert is_exhausted(study, small)


def test_a_grid_finishes_the_best_pruned_trials_at_its_end(
    log: Dataset, small: SearchSpace, tracker: Any, fake_experiment: Any
) -> None:
    content = small.content()
    content["fix"] |= {"epochs": 4, "learning_rate": 0.01}
    space = space_from_content(content, "grid")
    result = tune(log, study="s", space=space, sampler="grid", pruner="epochs:1", keep=2, confirm=0)
    assert result.stopped == "every configuration of the space has been tried"
    assert (result.trials.complete, result.trials.pruned, result.trials.waiting) == (3, 5, 0)  # defaults and two
