"""Search spaces with a parameter that breaks a rule."""

LEARNING_RATE = "parameters:\n  learning_rate: {kind: training, type: continuous, default: 0.003, "
BPTT = "parameters:\n  bptt: {kind: algorithm, type: integer, default: 8, "

# what is wrong -> (file, message after "mine.yaml")
PARAMETERS = {
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
    "an endless step": (
        LEARNING_RATE + "range: [0.001, 0.1], step: 1" + "0" * 400 + "}",
        ":2: parameters.learning_rate.step: a number up to 1.8e+308 must stand here, but got a larger one.",
    ),
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
}
