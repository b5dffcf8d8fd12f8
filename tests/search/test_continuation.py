"""A study meets a changed space: what is said, what is lost, and which trials move over."""

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn_hpo.search.continuation import carry_over, continuation, difference
from hrnn_hpo.search.space import SearchSpace, distributions, load_space, space_from_content, suggest

optuna.logging.set_verbosity(optuna.logging.ERROR)

BASE: dict[str, Any] = {
    "bptt": {"kind": "algorithm", "type": "integer", "range": [8, 32], "log": True, "default": 32},
    "architecture": {"kind": "algorithm", "type": "categorical", "choices": ["control"], "default": "control"},
    "input_dropout": {"kind": "algorithm", "type": "continuous", "range": [0.0, 0.4], "step": 0.1, "default": 0.2},
}
HIERARCHY = {"kind": "algorithm", "type": "categorical", "choices": ["init", "all"]}
HIERARCHY |= {"when": {"architecture": "hierarchical"}}
BOTH = {**BASE["architecture"], "choices": ["control", "hierarchical"]}


def space(changes: dict[str, Any] | None = None, fix: dict[str, Any] | None = None) -> SearchSpace:
    parameters = {name: dict(spec) for name, spec in BASE.items()}
    for name, change in (changes or {}).items():
        parameters[name] = {**parameters.get(name, {}), **change}
    return space_from_content({"parameters": parameters, "fix": fix or {}}, "test")


def run(searched: SearchSpace, n_trials: int = 8) -> optuna.Study:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(n_trials):
        trial = study.ask()
        suggest(searched, trial)
        trial.report(0.5, step=1)
        trial.set_user_attr("number", number)
        study.tell(trial, float(number))
    return study


def test_the_same_search_has_no_difference() -> None:
    assert difference(space(), space()) == []
    assert continuation(space(), space(fix={"epochs": 40})).unchanged  # the default anyway
    assert continuation(space(), space()).widening


def test_a_difference_names_each_hyperparameter_once() -> None:
    new = space({"bptt": {"range": [8, 64]}, "architecture": BOTH}, fix={"input_dropout": 0.1, "epochs": 3})
    assert difference(space(), new) == [
        "bptt: searched in [8, 32], log (default 32) -> searched in [8, 64], log (default 32)",
        "architecture: searched in one of control (default control) -> "
        "searched in one of control, hierarchical (default control)",
        "input_dropout: searched in [0.0, 0.4], step 0.1 (default 0.2) -> constant 0.1",
        "epochs: constant 40 -> constant 3",
    ]


WIDENINGS = {
    "a wider range": {"bptt": {"range": [2, 64]}},
    "another scale": {"bptt": {"log": False}},
    "a choice more": {"architecture": BOTH},
    "finer steps": {"input_dropout": {"step": 0.05}},
    "a continuum for steps": {"input_dropout": {"step": None}},
    "a new hyperparameter whose default ran so far": {
        "n_blocks": {"kind": "algorithm", "type": "integer", "range": [1, 3], "default": 2}
    },
    "a new condition's branch": {"architecture": BOTH, "hierarchy": HIERARCHY},
    "another default": {"bptt": {"default": 16}},
}


@pytest.mark.parametrize("name", WIDENINGS)
def test_a_pure_widening_carries_every_trial_over_with_the_new_distributions(name: str) -> None:
    old, new = space(), space(WIDENINGS[name])
    found = continuation(old, new)
    assert found.changes
    assert found.widening
    study = run(old)
    moved = carry_over(study.trials, old, new)
    assert [trial.value for trial in moved] == [trial.value for trial in study.trials]
    continued = optuna.create_study()
    for before, after in zip(study.trials, moved, strict=True):
        continued.add_trial(after)
        assert old.resolve(before.params) == new.resolve(after.params)
        assert after.distributions == {name: distributions(new)[name] for name in after.params}
        assert (after.user_attrs, after.intermediate_values) == (before.user_attrs, before.intermediate_values)
        assert after.datetime_start == before.datetime_start
    assert suggest(new, continued.ask())  # the sampler accepts them


def test_optuna_itself_refuses_a_new_choice_in_a_running_study() -> None:
    study = optuna.create_study()
    trial = study.ask()
    suggest(space(), trial)
    study.tell(trial, 0.0)
    with pytest.raises(ValueError, match="dynamic value space"):
        suggest(space({"architecture": BOTH}), study.ask())


LOSSES = {
    "a narrower range": ({"bptt": {"range": [16, 32]}}, {}, "bptt: the new space has only [16, 32], but got [8, 32]."),
    "a choice less": (
        {"architecture": {"choices": ["hierarchical"], "default": "hierarchical"}},
        {},
        "architecture: the new space has only hierarchical, but got control too.",
    ),
    "other steps": (
        {"input_dropout": {"range": [0.0, 0.45], "step": 0.15, "default": 0.15}},
        {},
        "input_dropout: the new space has only [0.0, 0.45], step 0.15, but got [0.0, 0.4], step 0.1.",
    ),
    "a fixed value": ({}, {"bptt": 16}, "bptt: old trials ran with [8, 32], log, new ones with 16."),
    "another constant": ({}, {"epochs": 3}, "epochs: old trials ran with 40, new ones with 3."),
    "a new hyperparameter that never ran": (
        {"n_blocks": {"kind": "algorithm", "type": "integer", "range": [2, 3], "default": 2}},
        {},
        "n_blocks: the value of the old trials must lie in [2, 3], but got 1.",
    ),
    "a constant that a new condition would read as another default": (
        {"architecture": BOTH, "hierarchy": {**HIERARCHY, "default": "all"}},
        {},
        "hierarchy: where it is inactive now, old trials may have run with another value.",
    ),
    "a new condition": (
        {"bptt": {"when": {"architecture": "hierarchical"}}, "architecture": BOTH},
        {},
        "bptt: where it is inactive now, old trials may have run with another value.",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_old_trials_do_not_survive_is_named_and_only_the_survivors_move(name: str) -> None:
    changes, fix, reason = LOSSES[name]
    old, new = space(), space(changes, fix)
    found = continuation(old, new)
    assert not found.widening
    assert reason in found.lost
    study = run(old, 30)
    moved = carry_over(study.trials, old, new)
    assert len(moved) < 30
    by_value = {trial.value: trial for trial in study.trials}
    for trial in moved:
        assert new.problems(trial.params) == []
        assert new.resolve(trial.params) == old.resolve(by_value[trial.value].params)


def test_unfinished_trials_stay_behind_and_failed_ones_move() -> None:
    study = run(space(), 2)
    failed = study.ask()
    suggest(space(), failed)
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    suggest(space(), study.ask())  # runs on
    moved = carry_over(study.trials, space(), space({"bptt": {"range": [2, 64]}}))
    assert [trial.state.name for trial in moved] == ["COMPLETE", "COMPLETE", "FAIL"]


def test_from_the_recipe_to_hrnn_trials_only_move_where_the_rest_was_the_same() -> None:
    """Its ranges contain the recipe's, its other defaults are what the recipe's trials ran with; one they left open."""
    recipe = load_space("aws-hrnn")
    found = continuation(recipe, load_space("hrnn"))
    assert found.lost == ("batch_size: old trials left it to the data (auto).",)
    assert continuation(recipe.narrow({}, {"batch_size": 32}, "mine.yaml"), load_space("hrnn")).widening


@given(
    old_low=st.integers(2, 40),
    old_width=st.integers(0, 40),
    new_low=st.integers(2, 40),
    new_width=st.integers(0, 40),
    old_step=st.integers(1, 5),
    new_step=st.integers(1, 5),
)
@settings(deadline=None)
def test_widening_means_that_every_old_value_is_a_new_one(
    old_low: int, old_width: int, new_low: int, new_width: int, old_step: int, new_step: int
) -> None:
    def stepped(low: int, width: int, step: int) -> SearchSpace:
        return space({"bptt": {"range": [low, low + width], "log": False, "step": step, "default": low}})

    old, new = stepped(old_low, old_width, old_step), stepped(new_low, new_width, new_step)
    if continuation(old, new).widening:
        values = range(old_low, old_low + old_width + 1, old_step)
        assert all(new.parameters["bptt"].problem(value) is None for value in values)
