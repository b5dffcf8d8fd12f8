"""Spaces that keep the rules: the shipped ones, how they extend each other, and what Optuna gets from them."""

import importlib.resources
import shutil
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.hints import hints
from hrnn_hpo.search.space import (
    SearchSpace,
    check_assignment,
    distributions,
    list_spaces,
    load_space,
    space_from_content,
    spaces_folder,
    suggest,
)

optuna.logging.set_verbosity(optuna.logging.ERROR)


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def ask(space: SearchSpace, seed: int, n_trials: int = 1) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [suggest(space, study.ask()) for _ in range(n_trials)]


# --- the shipped files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_spaces())
def test_every_shipped_space_loads_and_says_what_it_is_for_and_how_to_run_it(name: str) -> None:
    space = load_space(name)
    assert space.searched
    assert hints(space) == []
    assert space.summary
    comment = (spaces_folder() / f"{name}.yaml").read_text(encoding="utf-8").split("\n\n")[0]
    assert f"hrnn-hpo tune data/ml-100k --space {name} --study" in comment
    assert all(parameter.doc for parameter in space.parameters.values())


def test_aws_hrnn_is_the_recipe_and_nothing_else() -> None:
    space = load_space("aws-hrnn")
    table = {name: (p.kind, p.type, p.range or p.choices, p.default, p.tunable) for name, p in space.parameters.items()}
    assert table == {
        "hidden_dimension": ("algorithm", "integer", (32, 256), 43, True),
        "bptt": ("algorithm", "integer", (2, 32), 32, True),
        "recency_mask": ("algorithm", "categorical", (True, False), True, True),
        "min_user_history_length_percentile": ("featurization", "continuous", (0.0, 1.0), 0.0, False),
        "max_user_history_length_percentile": ("featurization", "continuous", (0.0, 1.0), 0.99, False),
    }
    assert space.recipe is not None
    assert vars(space.recipe) | {"parameters": None} == {
        "name": "aws-hrnn",
        "type": "USER_PERSONALIZATION",
        "recipe_arn": "arn:aws:personalize:::recipe/aws-hrnn",
        "algorithm_arn": "arn:aws:personalize:::algorithm/aws-hrnn",
        "feature_transformation_arn": "arn:aws:personalize:::feature-transformation/JSON-percentile-filtering",
        "parameters": None,
    }


def test_hrnn_describes_every_hyperparameter_and_its_defaults_are_those_of_train() -> None:
    """The size of an update aside: `train` takes it from the log, a study needs a number that it can vary."""
    assert load_space("hrnn").defaults() == {**Hyperparameters().model_dump(), "batch_size": 32}
    assert load_space("hrnn").resolve({}) == Hyperparameters(batch_size=32)


def test_hrnn_is_wider_than_the_recipe() -> None:
    hrnn, recipe = load_space("hrnn"), load_space("aws-hrnn")
    assert hrnn.recipe is None
    assert hrnn.parameters["hidden_dimension"].range == (16, 512)
    assert hrnn.parameters["bptt"].range == (2, 256)
    for name, parameter in recipe.searched.items():
        assert hrnn.parameters[name].kind == parameter.kind
        assert hrnn.parameters[name].doc == parameter.doc


def test_training_budgets_and_percentiles_are_not_searched() -> None:
    hrnn = load_space("hrnn")
    for name in ("epochs", "patience", "gradient_clip", "max_user_history_length_percentile"):
        assert name not in hrnn.searched
    assert {name for name, p in hrnn.parameters.items() if p.kind == "featurization"} == {
        "session_gap",
        "min_user_history_length_percentile",
        "max_user_history_length_percentile",
    }


def test_the_folder_of_spaces_is_the_repositorys_while_the_package_carries_none() -> None:
    assert spaces_folder() == Path(__file__).parents[2] / "search_spaces"


def test_an_installed_package_brings_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(spaces_folder(), tmp_path / "search_spaces")
    monkeypatch.setattr(importlib.resources, "files", lambda package: tmp_path)
    assert spaces_folder() == tmp_path / "search_spaces"
    assert load_space("quickstart").path == tmp_path / "search_spaces" / "quickstart.yaml"


# --- extends, tune, fix ------------------------------------------------------------------------------------------


def test_a_studys_own_file_narrows_and_fixes(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: aws-hrnn\ntune: {hidden_dimension: {range: [32, 128]}}\nfix: {bptt: 16}\n")
    space = load_space(path)
    assert space.name == "mine"
    assert list(space.searched) == ["hidden_dimension", "recency_mask"]
    assert space.searched["hidden_dimension"].range == (32, 128)
    assert space.searched["hidden_dimension"].log
    assert space.constants["bptt"] == 16
    assert space.recipe is not None
    assert space.recipe.parameters["hidden_dimension"].range == (32, 256)


def test_a_default_outside_the_narrowed_range_moves_to_its_nearest_value_and_says_so(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "extends: aws-hrnn\ntune:\n  hidden_dimension: {range: [64, 128]}\n  bptt: {range: [2, 16]}\n"
        "  recency_mask: {choices: [false]}\n",
    )
    space = load_space(path)
    assert space.defaults()["hidden_dimension"] == 64
    assert space.defaults()["bptt"] == 16
    assert space.defaults()["recency_mask"] is False
    assert "trial 0 takes 64" in hints(space)[0]


def test_a_narrowed_parameter_may_name_its_own_default(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: aws-hrnn\ntune: {bptt: {range: [2, 16], default: 8}}\n")
    assert load_space(path).defaults()["bptt"] == 8
    assert hints(load_space(path)) == []


def test_extends_takes_a_path_relative_to_the_file_and_goes_on_through_several_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, "extends: aws-hrnn\ntune: {bptt: {range: [4, 32]}}\n", "first.yaml")
    path = write(tmp_path / "sub", "extends: ../first.yaml\nfix: {hidden_dimension: 64, epochs: 3}\n")
    space = load_space(path)
    assert space.searched["bptt"].range == (4, 32)
    assert space.resolve({}).hidden_dimension == 64
    assert space.resolve({}).epochs == 3  # no parameter of the recipe, yet a hyperparameter


def test_a_file_may_add_parameters_of_ours_to_a_recipe(tmp_path: Path) -> None:
    spec = "{kind: training, type: continuous, range: [0.001, 0.01], log: true}"
    space = load_space(write(tmp_path, f"extends: aws-hrnn\nparameters: {{learning_rate: {spec}}}\n"))
    assert list(space.searched) == ["hidden_dimension", "bptt", "recency_mask", "learning_rate"]
    assert space.defaults()["learning_rate"] == Hyperparameters().learning_rate
    assert space.parameters["learning_rate"].doc == Hyperparameters.model_fields["learning_rate"].description


def test_naming_a_parameter_again_opens_what_a_parent_fixed(tmp_path: Path) -> None:
    space = load_space(write(tmp_path, "extends: quickstart\nparameters: {feed_forward: {range: [1, 2]}}\n"))
    assert "feed_forward" in space.searched
    assert "batch_size" not in space.searched


def test_a_boolean_needs_no_choices(tmp_path: Path) -> None:
    text = "parameters: {time_gaps: {kind: algorithm, type: categorical}}\n"
    assert load_space(write(tmp_path, text)).searched["time_gaps"].choices == (True, False)


def test_a_section_whose_lines_are_all_comments_is_empty(tmp_path: Path) -> None:
    assert load_space(write(tmp_path, "extends: aws-hrnn\ntune:\n  # bptt: 3\n")).searched


# --- what Optuna gets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_spaces())
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_suggested_values_lie_in_range_and_make_valid_hyperparameters(name: str, seed: int) -> None:
    space = load_space(name)
    for values in ask(space, seed, n_trials=3):
        assert space.problems(values) == []
        assert space.complete(values) == values
        assert space.complete(space.varied(values)) == values
        resolved = space.resolve(values).model_dump()
        assert {key: resolved[key] for key in values} == values


def test_inactive_parameters_are_not_asked_for_and_keep_their_defaults() -> None:
    space = load_space("hrnn")
    for values in ask(space, seed=1, n_trials=40):
        varied = space.varied(values)
        assert ("hierarchy" in varied) == (values["architecture"] == "hierarchical")
        assert ("recency_half_life" in varied) == values["recency_mask"]
        if not values["recency_mask"]:
            assert values["recency_half_life"] == 30.0


def test_what_a_trial_records_is_the_varied_part_of_its_values() -> None:
    space = load_space("hrnn")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for _ in range(10):
        trial = study.ask()
        values = suggest(space, trial)
        assert trial.params == space.varied(values)
        assert trial.distributions == {name: distributions(space)[name] for name in trial.params}


def test_the_defaults_are_a_trial_that_can_be_enqueued_without_a_warning() -> None:
    for name in list_spaces():
        space = load_space(name)
        study = optuna.create_study()
        study.enqueue_trial(space.varied(space.defaults()))
        assert suggest(space, study.ask()) == space.defaults()


def test_stepped_floats_leave_without_their_binary_tail(tmp_path: Path) -> None:
    text = "{kind: algorithm, type: continuous, range: [0.0, 0.5], step: 0.1, default: 0.3}"
    space = load_space(write(tmp_path, f"parameters: {{input_dropout: {text}}}\n"))
    found = {values["input_dropout"] for values in ask(space, 0, 60)}
    assert found == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}  # Optuna itself says 0.30000000000000004
    assert space.complete({"input_dropout": 0.30000000000000004})["input_dropout"] == 0.3


def test_a_step_that_misses_the_end_warns_nobody_and_is_hinted_at(tmp_path: Path) -> None:
    text = "{kind: algorithm, type: integer, range: [2, 32], step: 4, default: 30}"
    space = load_space(write(tmp_path, f"parameters: {{bptt: {text}}}\n"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {values["bptt"] for values in ask(space, 0, 80)} == {2, 6, 10, 14, 18, 22, 26, 30}
        distributions(space)
    assert any("end at 30" in hint for hint in hints(space))


def test_the_order_of_a_file_changes_no_study(tmp_path: Path) -> None:
    content = load_space("hrnn").content()
    content["parameters"] = dict(reversed(content["parameters"].items()))
    content["parameters"]["architecture"]["choices"].reverse()
    content["parameters"]["recency_mask"]["choices"].reverse()
    shuffled = space_from_content(content, "shuffled")
    assert shuffled.fingerprint() == load_space("hrnn").fingerprint()
    assert ask(shuffled, 5, 10) == ask(load_space("hrnn"), 5, 10)


# --- counting, keeping, checking ---------------------------------------------------------------------------------


def test_cardinality_counts_what_conditions_leave(tmp_path: Path) -> None:
    text = """
    parameters:
      architecture: {kind: algorithm, type: categorical, choices: [control, hierarchical]}
      hierarchy: {kind: algorithm, type: categorical, choices: [init, all], when: {architecture: hierarchical}}
      n_blocks: {kind: algorithm, type: integer, range: [1, 3]}
      input_dropout: {kind: algorithm, type: continuous, range: [0.1, 0.3], step: 0.1, when: {hierarchy: all}}
    """
    space = load_space(write(tmp_path, text))
    # control: 3 blocks; hierarchical with init: 3; with all: 3 blocks x 3 dropouts
    assert space.cardinality() == 3 + 3 + 9
    seen = {tuple(sorted(space.varied(values).items())) for values in ask(space, 0, 400)}
    assert len(seen) == 15


def test_cardinality_of_the_recipe_and_of_a_continuum() -> None:
    assert load_space("aws-hrnn").cardinality() == 225 * 31 * 2
    assert load_space("hrnn").cardinality() is None


@pytest.mark.parametrize("name", list_spaces())
def test_a_space_survives_being_kept_as_plain_values(name: str) -> None:
    space = load_space(name)
    again = space_from_content(yaml.safe_load(yaml.safe_dump(space.content())), "kept")
    assert again.content() == space.content()
    assert again.fingerprint() == space.fingerprint()


def test_the_fingerprint_tells_searches_apart_but_not_names_and_words(tmp_path: Path) -> None:
    plain = load_space("aws-hrnn").fingerprint()
    same = "extends: aws-hrnn\nname: other\nparameters: {bptt: {doc: other words}}\nfix: {epochs: 40}\n"
    assert load_space(write(tmp_path, same)).fingerprint() == plain  # 40 epochs are the default anyway
    for change in (
        "fix: {epochs: 41}",
        "fix: {bptt: 32}",
        "tune: {bptt: {range: [2, 31]}}",
        "tune: {bptt: {log: false}}",
    ):
        assert load_space(write(tmp_path, f"extends: aws-hrnn\n{change}\n")).fingerprint() != plain


def test_a_configuration_is_checked_name_by_name_before_it_is_enqueued() -> None:
    space = load_space("hrnn").narrow(
        {"hidden_dimension": {"range": [32, 96], "default": 64}},
        {"epochs": 10, "patience": 3, "batch_size": 64},
        "small",
    )
    check_assignment(space, space.defaults())
    check_assignment(space, Hyperparameters(hidden_dimension=96, epochs=10, patience=3, batch_size=64).model_dump())
    with pytest.raises(SpaceError) as caught:
        check_assignment(
            space, {"hidden_dimension": 512, "hiden": 1, "epochs": 40, "recency_mask": 1, "bptt": True}, "f"
        )
    assert str(caught.value).splitlines() == [
        "f: hiden: is not a hyperparameter, did you mean 'hidden_dimension'?",
        "f: hidden_dimension: must lie in [32, 96], but got 512.",
        "f: epochs: is fixed at 10, but got 40.",
        "f: recency_mask: must be one of true, false, but got 1.",
        "f: bptt: a whole number must stand here, but got true.",
    ]


def test_what_the_data_settled_may_be_enqueued_where_the_space_leaves_it_open() -> None:
    open_space = load_space("quickstart")
    check_assignment(open_space, {**open_space.defaults(), "repeats": "mixed"})
    with pytest.raises(SpaceError, match="repeats: is fixed at ignored, but got mixed"):
        check_assignment(open_space.narrow({}, {"repeats": "ignored"}, "mine"), {"repeats": "mixed"})


def test_an_inactive_value_is_nobodys_business_in_a_check() -> None:
    check_assignment(load_space("hrnn"), {"recency_mask": False, "recency_half_life": 5000.0})


numbers = st.floats(1e-4, 0.99)


@given(low=numbers, high=numbers, value=st.floats(-2, 2), log=st.booleans())
@settings(deadline=None)
def test_closest_is_an_admitted_value_and_leaves_admitted_ones_alone(
    low: float, high: float, value: float, log: bool
) -> None:
    low, high = min(low, high), max(low, high)
    spec = {"kind": "algorithm", "type": "continuous", "range": [low, high], "log": log, "default": low}
    parameter = space_from_content({"parameters": {"input_dropout": spec}}, "test").parameters["input_dropout"]
    closest = parameter.closest(value)
    assert parameter.problem(closest) is None
    assert closest == min(max(value, low), high)


@given(low=st.integers(2, 50), width=st.integers(0, 200), step=st.integers(2, 40))
@settings(deadline=None)
def test_stepped_integers_count_as_range_counts(low: int, width: int, step: int) -> None:
    spec = {"kind": "algorithm", "type": "integer", "range": [low, low + width], "step": step, "default": low}
    parameter = space_from_content({"parameters": {"bptt": spec}}, "test").parameters["bptt"]
    admitted = [value for value in range(low - 3, low + width + 4) if parameter.problem(value) is None]
    assert admitted == list(range(low, low + width + 1, step))
    assert parameter.n_values() == len(admitted)
    assert parameter.high == admitted[-1]


def test_hints_name_wide_linear_ranges_single_values_and_dead_conditions(tmp_path: Path) -> None:
    text = """
    extends: hrnn
    parameters:
      learning_rate: {log: false}
      n_blocks: {range: [1, 1]}
    tune: {architecture: {choices: [control]}}
    """
    found = hints(load_space(write(tmp_path, text)))
    assert any("learning_rate: [0.0003, 0.03] spans 2.0 decades" in hint for hint in found)
    assert any("`fix: {n_blocks: 1}`" in hint for hint in found)
    assert any("hierarchy: its condition never holds" in hint for hint in found)


def test_hints_tell_of_rules_that_some_configurations_break(tmp_path: Path) -> None:
    text = "extends: hrnn\nparameters: {n_negatives: {tunable: true, range: [0, 512], log: false, default: 0}}"
    [hint] = hints(load_space(write(tmp_path, text)))
    assert "`weight_averaging = 0` must hold with n_negatives > 0" in hint
    fixed = f"{text}\nfix: {{weight_averaging: 0.0}}"
    assert hints(load_space(write(tmp_path, fixed))) == []


def test_the_size_of_an_update_may_be_left_to_the_data(tmp_path: Path) -> None:
    for parent in ("hrnn", "aws-hrnn"):
        space = load_space(write(tmp_path, f"extends: {parent}\nfix: {{batch_size: auto}}\n"))
        assert space.resolve({}).batch_size == "auto"
        assert "batch_size" not in space.searched
        check_assignment(space, {"batch_size": 48})  # what the log made of it
    assert load_space("aws-hrnn").resolve({}).batch_size == "auto"


def test_the_most_epochs_are_found_among_choices_too() -> None:
    epochs = {"kind": "training", "type": "categorical", "choices": [3, 12, 6], "default": 3}
    space = space_from_content({"parameters": {"epochs": epochs}}, "choices")
    assert (space.max_epochs, space.most("patience")) == (12, Hyperparameters().patience)
