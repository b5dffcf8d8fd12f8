"""Every rule of the format, broken: the message names file, line, key, rule and the nearest spelling."""

from pathlib import Path

import pytest
from broken_parameters import BPTT, PARAMETERS
from broken_spaces import FILES, FROM_PARENTS

from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.space import list_spaces, load_space


def refusal(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    return str(caught.value).replace(f"{folder}/", "")


CASES = FROM_PARENTS | PARAMETERS | FILES  # what is wrong -> (file, message after "mine.yaml")


@pytest.mark.parametrize("case", CASES)
def test_a_broken_rule_is_named_with_file_line_and_key(case: str, tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(BPTT.replace("default: 8", "default: 10") + "range: [2, 34], step: 8}\n")
    text, message = CASES[case]
    assert refusal(tmp_path, text) == "mine.yaml" + message.replace("{SHIPPED}", ", ".join(list_spaces()))


def test_all_problems_of_a_file_and_its_parents_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("extends: aws-hrnn\nfix: {bptt: 1}\n")
    text = "extends: ./parent.yaml\ntyne: {}\nfix: {epoch: 3}\ntune:\n  hidden_dimension: {range: [2, 4], stepp: 1}\n"
    assert refusal(tmp_path, text).splitlines() == [
        "parent.yaml:2: fix.bptt: Input should be greater than or equal to 2 (bptt itself), but got 1.",
        "mine.yaml:2: tyne: is no key of a search space, did you mean 'tune'?",
        "mine.yaml:5: tune.hidden_dimension.stepp: is no key of a parameter, did you mean 'step'?",
        "mine.yaml:3: fix.epoch: is not a hyperparameter, did you mean 'epochs'?",
    ]


def test_a_circle_of_two_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("extends: mine.yaml\n")
    message = refusal(tmp_path, "extends: other.yaml\n")
    assert message == "other.yaml:1: extends: goes in a circle: mine.yaml -> other.yaml -> mine.yaml."


def test_what_follows_from_a_broken_parent_is_not_said_twice(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("parameters: {bptt: {kind: algorithm, type: integer, range: [9, 2]}}\n")
    message = refusal(tmp_path, "extends: parent.yaml\ntune: {bptt: {range: [2, 8]}}\n")
    assert len(message.splitlines()) == 1


def test_a_name_that_is_not_shipped_gets_the_nearest_one() -> None:
    with pytest.raises(SpaceError, match="did you mean 'quickstart'"):
        load_space("quikstart")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="there is no file"):
        load_space(tmp_path / "gone.yaml")
    with pytest.raises(SpaceError, match="there is no file"):
        load_space(tmp_path)


def test_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"fix: {architecture: \xff\xfe}\n")
    with pytest.raises(SpaceError, match="is not valid YAML"):
        load_space(path)


def test_a_recipe_of_ones_own_binds_like_amazons(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "recipe: {name: ours, type: t, recipe_arn: a, algorithm_arn: b, feature_transformation_arn: c}\n"
        "parameters:\n  bptt: {kind: algorithm, type: integer, range: [2, 32], tunable: false}\n"
    )
    text = "extends: recipe.yaml\nparameters: {bptt: {tunable: true, range: [2, 64]}}\n"
    assert refusal(tmp_path, text).splitlines() == [
        "mine.yaml:2: parameters.bptt.range: must lie within recipe ours's [2, 32], but got [2, 64] (`recipe: null` "
        "leaves the recipe's bounds).",
        "mine.yaml:2: parameters.bptt.tunable: recipe ours does not tune bptt.",
    ]
    (tmp_path / "free.yaml").write_text(text + "recipe: null\n")
    assert load_space(tmp_path / "free.yaml").searched["bptt"].range == (2, 64)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("parameters:\n  batch_size: {kind: training, type: integer, range: [auto, 64], default: 32}", "auto"),
        ("parameters:\n  batch_size: {kind: training, type: categorical, choices: [auto, 64], default: 64}", "auto"),
        ("parameters:\n  batch_size: {kind: training, type: integer, range: [8, 64]}", "lacks its default"),
    ],
)
def test_what_is_searched_is_a_number_and_never_left_to_the_data(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SpaceError, match=problem):
        load_space(path)
