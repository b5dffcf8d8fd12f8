"""Every rule of the format, broken: the message names file, line, key, rule and the nearest spelling."""

from pathlib import Path

import pytest

from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.space import list_spaces, load_space


def refusal(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    return str(caught.value).replace(f"{folder}/", "")


LEARNING_RATE = "parameters:\n  learning_rate: {kind: training, type: continuous, default: 0.003, "
BPTT = "parameters:\n  bptt: {kind: algorithm, type: integer, default: 8, "

# what is wrong -> (file, message after "mine.yaml")
CASES = {
    "tuning a percentile": (
        "extends: aws-hrnn\ntune: {max_user_history_length_percentile: {range: [0.9, 1.0]}}",
        ":2: tune.max_user_history_length_percentile: is never tuned: who is left out of training is chosen; "
        "`fix: {max_user_history_length_percentile: …}` sets it.",
    ),
    "a tunable percentile": (
        "extends: hrnn\nparameters: {min_user_history_length_percentile: {tunable: true}}",
        ":2: parameters.min_user_history_length_percentile.tunable: must be false: who is left out of training is "
        "chosen, never tuned.",
    ),
    "tuning what is not tunable": (
        "extends: hrnn\ntune:\n  epochs: {range: [5, 10]}",
        ":3: tune.epochs: is not tunable in hrnn; `fix: {epochs: …}` sets it.",
    ),
    "tuning an unknown name": (
        "extends: aws-hrnn\ntune: {hiden_dimension: {range: [32, 64]}}",
        ":2: tune.hiden_dimension: is not a hyperparameter, did you mean 'hidden_dimension'?",
    ),
    "tuning what the parent lacks": (
        "extends: aws-hrnn\ntune: {learning_rate: {range: [0.1, 0.2]}}",
        ":2: tune.learning_rate: is not a parameter of this space: describe it under `parameters` first.",
    ),
    "tuning beyond the parent": (
        "extends: aws-hrnn\ntune: {bptt: {range: [20, 40]}}",
        ":2: tune.bptt.range: must lie within aws-hrnn's [2, 32], but got [20, 40].",
    ),
    "tuning a choice more": (
        "extends: hrnn\ntune: {weight_averaging: {choices: [0.0, 0.5]}}",
        ":2: tune.weight_averaging.choices: must lie within hrnn's 0.0, 0.9, 0.99, 0.999, but got 0.5 too.",
    ),
    "tuning the kind": (
        "extends: aws-hrnn\ntune: {bptt: {tunable: false}}",
        ":2: tune.bptt.tunable: cannot change under `tune`, which only narrows (range, choices, log, step, default, "
        "prior).",
    ),
    "tuning without a mapping": (
        "extends: aws-hrnn\ntune: {bptt: [2, 8]}",
        ":2: tune.bptt: a mapping such as {range: [2, 32]} must stand here.",
    ),
    "tuning off the parent's steps": (
        "extends: ./parent.yaml\ntune: {bptt: {range: [3, 19]}}",
        ":2: tune.bptt.range: must lie within parent's [2, 34], step 8, but got [3, 19], step 8.",
    ),
    "a parameter beyond the recipe": (
        "extends: aws-hrnn\nparameters:\n  hidden_dimension:\n    range: [32, 512]",
        ":4: parameters.hidden_dimension.range: must lie within recipe aws-hrnn's [32, 256], but got [32, 512] "
        "(`recipe: null` leaves the recipe's bounds).",
    ),
    "the recipe's constant made tunable": (
        "extends: aws-hrnn\nparameters: {max_user_history_length_percentile: {tunable: true}}",
        ":2: parameters.max_user_history_length_percentile.tunable: must be false: who is left out of training is "
        "chosen, never tuned.",
    ),
    "another recipe on top": (
        "extends: aws-hrnn\nrecipe: {name: mine}",
        ":2: recipe: the space is bound by recipe aws-hrnn already; only null may stand here.",
    ),
    "a recipe by name": (
        "recipe: aws-hrnn",
        ":1: recipe: a recipe's name and ARNs, or null to leave the parent's recipe, must stand here, but got "
        "'aws-hrnn'; `extends` is what binds a space to a recipe.",
    ),
    "half a recipe": (
        "recipe: {name: x, arn: y, type: 3}",
        ":1: recipe.arn: is no key of a recipe.\nmine.yaml:1: recipe.type: text must stand here, but got 3.\n"
        "mine.yaml:1: recipe: lacks recipe_arn, algorithm_arn, feature_transformation_arn.",
    ),
    "default outside its range": (
        "parameters:\n  bptt: {kind: algorithm, type: integer, range: [2, 32], default: 64}",
        ":2: parameters.bptt.default: must lie in [2, 32], but got 64.",
    ),
    "the hyperparameter's own default outside": (
        "parameters:\n  bptt: {kind: algorithm, type: integer, range: [2, 16]}",
        ":2: parameters.bptt: its default must lie in [2, 16], but got 32, which holds unless `default` says another.",
    ),
    "default among other choices": (
        "parameters:\n  architecture: {kind: algorithm, type: categorical, choices: [control], default: contrl}",
        ":2: parameters.architecture.default: must be one of control, but got contrl, did you mean 'control'?",
    ),
    "default between steps": (
        BPTT + "range: [2, 32], step: 5}",
        ":2: parameters.bptt.default: must be one of the steps [2, 32], step 5, but got 8.",
    ),
    "log over zero": (
        LEARNING_RATE.replace("learning_rate", "weight_decay") + "range: [0.0, 0.1], log: true}",
        ":2: parameters.weight_decay.log: a log scale needs `lowest > 0`, but got [0.0, 0.1].",
    ),
    "step with log": (
        BPTT + "range: [2, 32], log: true, step: 2}",
        ":2: parameters.bptt.step: a log scale has no steps, but got log: true and step: 2; leave one out "
        "(`log: false` turns an inherited one off).",
    ),
    "a step of zero": (BPTT + "range: [2, 32], step: 0}", ":2: parameters.bptt.step: `step > 0` must hold, but got 0."),
    "half a step": (
        BPTT + "range: [2, 32], step: 0.5}",
        ":2: parameters.bptt.step: a whole number must stand here, but got 0.5.",
    ),
    "min above max": (
        BPTT + "range: [32, 2]}",
        ":2: parameters.bptt.range: `lowest <= highest` must hold, but got [32, 2].",
    ),
    "a range of one number": (
        BPTT + "range: [32]}",
        ":2: parameters.bptt.range: two numbers, [lowest, highest], must stand here, but got [32].",
    ),
    "no range": (BPTT + "}", ":2: parameters.bptt: lacks its range, such as `range: [2, 32]`."),
    "a boolean in an integer's range": (
        BPTT + "range: [true, 32]}",
        ":2: parameters.bptt.range: a whole number must stand here, but got true.",
    ),
    "fractions in an integer's range": (
        BPTT + "range: [2, 32.0]}",
        ":2: parameters.bptt.range: a whole number must stand here, but got 32.0.",
    ),
    "a number that YAML reads as text": (
        LEARNING_RATE + "range: [1e-4, 0.01], log: true}",
        ":2: parameters.learning_rate.range: a number must stand here, but got '1e-4', which YAML reads as text: "
        "write 0.0001.",
    ),
    "not a number": (
        LEARNING_RATE + "range: [.nan, .inf]}",
        ":2: parameters.learning_rate.range: a finite number must stand here, but got nan.\n"
        "mine.yaml:2: parameters.learning_rate.range: a finite number must stand here, but got inf.",
    ),
    "beyond the hyperparameter's own limit": (
        "parameters:\n  input_dropout: {kind: algorithm, type: continuous, range: [0.0, 1.0]}",
        ":2: parameters.input_dropout.range: Input should be less than 1 (input_dropout itself), but got 1.0.",
    ),
    "number-like text among choices": (
        "parameters:\n  batch_size: {kind: training, type: categorical, choices: [32, '64', 1e2], default: 32}",
        ":2: parameters.batch_size.choices: a whole number must stand here, but got '64', which YAML reads as text: "
        "write 64.\nmine.yaml:2: parameters.batch_size.choices: a whole number must stand here, but got '1e2', which "
        "YAML reads as text: write 100.",
    ),
    "booleans in quotes": (
        "parameters:\n  time_gaps: {kind: algorithm, type: categorical, choices: ['true', false]}",
        ":2: parameters.time_gaps.choices: true or false must stand here, but got 'true'.",
    ),
    "a choice that the model does not have": (
        "parameters:\n  architecture: {kind: algorithm, type: categorical, choices: [control, hierachical]}",
        ":2: parameters.architecture.choices: Input should be 'control' or 'hierarchical' (architecture itself), but "
        "got hierachical, did you mean 'hierarchical'?",
    ),
    "a choice twice": (
        "parameters:\n  architecture: {kind: algorithm, type: categorical, choices: [control, control]}",
        ":2: parameters.architecture.choices: control stands twice.",
    ),
    "no choices": (
        "parameters:\n  architecture: {kind: algorithm, type: categorical}",
        ":2: parameters.architecture: lacks its choices, such as `choices: [a, b]`.",
    ),
    "empty choices": (
        "parameters:\n  architecture: {kind: algorithm, type: categorical, choices: []}",
        ":2: parameters.architecture.choices: a list of one or more values must stand here, but got [].",
    ),
    "a range of a categorical": (
        "parameters:\n  time_gaps: {kind: algorithm, type: categorical, range: [0, 1]}",
        ":2: parameters.time_gaps.range: belongs to numbers; a categorical parameter has `choices`.",
    ),
    "choices of a number": (
        BPTT + "range: [2, 32], choices: [2]}",
        ":2: parameters.bptt.choices: belongs to type categorical; integer has `range: [lowest, highest]`.",
    ),
    "an unknown top-level key": (
        "extend: aws-hrnn",
        ":1: extend: is no key of a search space, did you mean 'extends'?",
    ),
    "a hyperparameter at the top": (
        "extends: aws-hrnn\nbptt: 3",
        ":2: bptt: is no key of a search space; hyperparameters stand under `parameters`, `tune` or `fix`, and bptt is "
        "one.",
    ),
    "an unknown key of a parameter": (
        BPTT + "rang: [2, 32], range: [2, 32]}",
        ":2: parameters.bptt.rang: is no key of a parameter, did you mean 'range'?",
    ),
    "a name that is no hyperparameter": (
        "parameters: {learning_rat: {kind: training, type: continuous, range: [0.1, 0.2]}}",
        ":1: parameters.learning_rat: is not a hyperparameter, did you mean 'learning_rate'?",
    ),
    "no type": (
        "parameters: {bptt: {kind: algorithm, range: [2, 3]}}",
        ":1: parameters.bptt: lacks its type (integer or categorical).",
    ),
    "another word for a type": (
        "parameters: {bptt: {kind: algorithm, type: int, range: [2, 3]}}",
        ":1: parameters.bptt.type: must be one of integer, continuous, categorical, but got int, did you "
        "mean 'integer'?",
    ),
    "a type that does not fit": (
        "parameters: {bptt: {kind: algorithm, type: continuous, range: [2, 3]}}",
        ":1: parameters.bptt.type: must be integer or categorical for bptt, but got continuous.",
    ),
    "no kind": (
        "parameters: {bptt: {type: integer, range: [2, 32]}}",
        ":1: parameters.bptt: lacks its kind (algorithm, featurization, training).",
    ),
    "an unknown kind": (
        "parameters: {bptt: {kind: algoritm, type: integer, range: [2, 32]}}",
        ":1: parameters.bptt.kind: must be one of algorithm, featurization, training, but got algoritm, did you mean "
        "'algorithm'?",
    ),
    "tunable in words": (
        "parameters: {bptt: {kind: algorithm, type: integer, range: [2, 32], tunable: maybe}}",
        ":1: parameters.bptt.tunable: true or false must stand here, but got maybe.",
    ),
    "a doc that is no text": (
        "parameters: {bptt: {kind: algorithm, type: integer, range: [2, 32], doc: 3}}",
        ":1: parameters.bptt.doc: a line of text must stand here, but got 3.",
    ),
    "a condition on an unknown parameter": (
        "extends: hrnn\nparameters: {hierarchy: {when: {architectur: hierarchical}}}",
        ":2: parameters.hierarchy.when.architectur: is not a parameter of this space, did you mean 'architecture'?",
    ),
    "a condition on an unknown choice": (
        "extends: hrnn\nparameters: {hierarchy: {when: {architecture: hierarchic}}}",
        ":2: parameters.hierarchy.when.architecture: must be one of control, hierarchical, but got hierarchic, did you "
        "mean 'hierarchical'?",
    ),
    "a condition on a number": (
        "extends: hrnn\nparameters: {hierarchy: {when: {n_blocks: 2}}}",
        ":2: parameters.hierarchy.when.n_blocks: a condition must ask a categorical parameter, but n_blocks is "
        "integer.",
    ),
    "a condition in a circle": (
        "extends: hrnn\nparameters: {architecture: {when: {hierarchy: all}}}",
        ":2: parameters.architecture.when: goes in a circle: architecture -> hierarchy -> architecture.",
    ),
    "a condition on itself": (
        "extends: hrnn\nparameters: {architecture: {when: {architecture: control}}}",
        ":2: parameters.architecture.when: goes in a circle: architecture -> architecture.",
    ),
    "a condition that is no mapping": (
        "extends: hrnn\nparameters: {hierarchy: {when: hierarchical}}",
        ":2: parameters.hierarchy.when: a mapping such as {architecture: hierarchical} must stand here, but got "
        "hierarchical.",
    ),
    "fixing outside the range": (
        "extends: aws-hrnn\nfix: {bptt: 64}",
        ":2: fix.bptt: must lie in [2, 32], but got 64.",
    ),
    "fixing a text": (
        "extends: aws-hrnn\nfix: {learning_rate: 1e-3}",
        ":2: fix.learning_rate: a number must stand here, but got '1e-3', which YAML reads as text: write 0.001.",
    ),
    "fixing an unknown name": (
        "extends: aws-hrnn\nfix: {epoch: 3}",
        ":2: fix.epoch: is not a hyperparameter, did you mean 'epochs'?",
    ),
    "fixing beyond the hyperparameter's own limit": (
        "extends: aws-hrnn\nfix: {epochs: 0}",
        ":2: fix.epochs: Input should be greater than or equal to 1 (epochs itself), but got 0.",
    ),
    "fixing and tuning": (
        "extends: aws-hrnn\ntune: {bptt: {range: [2, 8]}}\nfix: {bptt: 4}",
        ":3: fix.bptt: stands under `tune` too; a value is either fixed or tuned.",
    ),
    "tuning what a parent fixed": (
        "extends: quickstart\ntune: {feed_forward: {range: [1, 2]}}",
        ":2: tune.feed_forward: is fixed at 2 by quickstart, so there is nothing to narrow.",
    ),
    "constants that contradict each other": (
        "extends: aws-hrnn\nfix: {min_user_history_length_percentile: 0.9, max_user_history_length_percentile: 0.1}",
        ": `min_user_history_length_percentile <= max_user_history_length_percentile` must hold, but got 0.9 and 0.1.",
    ),
    "a section that is no mapping": (
        "extends: aws-hrnn\ntune: [bptt]",
        ":2: tune: a mapping from names must stand here, but got ['bptt'].",
    ),
    "a name that is no text": ("extends: aws-hrnn\nname: 3", ":2: name: text must stand here, but got 3."),
    "two parents": (
        "extends: [aws-hrnn, hrnn]",
        ":1: extends: the name or path of one space must stand here, but got ['aws-hrnn', 'hrnn'].",
    ),
    "an unknown parent": (
        "extends: aws-hrn",
        ":1: extends: 'aws-hrn' is neither a shipped space ({SHIPPED}) nor a file's path (.yaml), did "
        "you mean 'aws-hrnn'?",
    ),
    "a parent beside, without its ending": (
        "extends: parent",
        ":1: extends: 'parent' is neither a shipped space ({SHIPPED}) nor a file's path (.yaml); for "
        "the file parent.yaml write parent.yaml.",
    ),
    "a parent that is not there": ("extends: ./gone.yaml", ":1: extends: there is no file gone.yaml."),
    "a file that extends itself": (
        "extends: mine.yaml",
        ":1: extends: goes in a circle: mine.yaml -> mine.yaml.",
    ),
    "a key twice": (
        "extends: aws-hrnn\nfix: {epochs: 3}\nfix: {epochs: 4}",
        ":2: fix: stands twice (lines 2 and 3); keep one.",
    ),
    "a parameter twice": (
        "extends: aws-hrnn\nfix:\n  epochs: 3\n  bptt: 4\n  epochs: 4",
        ":3: fix.epochs: stands twice (lines 3 and 5); keep one.",
    ),
    "a list at the top": ("- bptt", ": a mapping must stand at the top level, such as `extends: hrnn`."),
    "an empty file": ("", ": a mapping must stand at the top level, such as `extends: hrnn`."),
    "broken YAML": (
        "extends: aws-hrnn\ntune: {bptt: [2, 8}",
        ":2: is not valid YAML: expected ',' or ']', but got '}'.",
    ),
    "a tab": ("tune:\n\tbptt: 3", ":2: is not valid YAML: found character '\\t' that cannot start any token."),
    "an object": (
        "fix: {bptt: !!python/name:os.system }",
        ":1: is not valid YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/name:os.system'.",
    ),
    "a merge key": (
        "fix: &f {bptt: 3}\ntune: {<<: *f}",
        ":2: is not valid YAML: merge keys (<<) are not part of the format, use `extends`.",
    ),
    "an alias into itself": ("fix: &f {bptt: *f}", ":1: is not valid YAML: nested too deep."),
    "a date that is none": ("name: 2020-13-45", ": is not valid YAML: month must be in 1..12."),
    "two documents": (
        "extends: hrnn\n---\nextends: hrnn",
        ":2: is not valid YAML: but found another document.",
    ),
}


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
