"""Search spaces that break a rule: what a parent or a recipe does not allow, and files that are none."""

# what is wrong -> (file, message after "mine.yaml")
FROM_PARENTS = {
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
}

FILES = {
    "a section that is no mapping": (
        "extends: aws-hrnn\ntune: [bptt]",
        ":2: tune: a mapping from names must stand here, but got ['bptt'].",
    ),
    "a name that is no text": ("extends: aws-hrnn\nname: 3", ":2: name: text must stand here, but got 3."),
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
    "aliases of aliases": (
        "\n".join(
            ["a0: &a0 x", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)), "fix: {bptt: *a7}"]
        ),
        ":1: is not valid YAML: more values than a space has.",
    ),
    "a date that is none": ("name: 2020-13-45", ": is not valid YAML: month must be in 1..12."),
    "two documents": (
        "extends: hrnn\n---\nextends: hrnn",
        ":2: is not valid YAML: but found another document.",
    ),
}
