"""What Amazon's JSON may not say: refused with the key, the rule and what came, all problems at once."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solution_configs import RECIPE, check_with_botocore, ranges, read, refusal

from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.amazon.personalize import read_solution_config


def test_amazons_own_example_of_20_to_40_is_refused_with_the_reason(tmp_path: Path) -> None:
    example = {
        "performAutoML": False,
        "recipeArn": "arn:aws:personalize:::recipe/aws-hrnn",
        "performHPO": True,
        "solutionConfig": {
            "algorithmHyperParameters": {"hidden_dimension": "55"},
            **ranges(
                categorical=[{"name": "recency_mask", "values": ["true", "false"]}],
                integer=[{"name": "bptt", "minValue": 20, "maxValue": 40}],
            ),
        },
    }
    check_with_botocore(example["solutionConfig"])  # type: ignore[arg-type]  # the shape is right, the range is not
    for space in ("aws-hrnn", "hrnn"):
        assert refusal(tmp_path, example, space) == [
            "integerHyperParameterRanges[0]: bptt must lie within [2, 32], but got [20, 40]: recipe aws-hrnn admits no "
            "other values (an example in Amazon's own guide asks for 20 to 40, beyond its own recipe; 20 to 32 is "
            "possible)."
        ]


INTEGER = {"name": "bptt", "minValue": 2, "maxValue": 8}
CASES: dict[str, tuple[Any, str]] = {
    "an unknown key": ({"hpoConfg": {}}, "hpoConfg: is no key of solutionConfig, did you mean 'hpoConfig'?"),
    "an unknown name": (
        {"algorithmHyperParameters": {"bptd": "3"}},
        "algorithmHyperParameters.bptd: recipe aws-hrnn has no 'bptd', did you mean 'bptt'?",
    ),
    "a name of ours": (
        {"algorithmHyperParameters": {"learning_rate": "0.1"}},
        "algorithmHyperParameters.learning_rate: recipe aws-hrnn has no 'learning_rate' (hrnn-hpo has it, the service "
        "does not).",
    ),
    "a value beyond the recipe": (
        {"algorithmHyperParameters": {"hidden_dimension": "512"}},
        "algorithmHyperParameters.hidden_dimension: recipe aws-hrnn: must lie in [32, 256], but got 512.",
    ),
    "a fraction": (
        {"algorithmHyperParameters": {"hidden_dimension": "58.5"}},
        "algorithmHyperParameters.hidden_dimension: recipe aws-hrnn: a whole number must stand here, but got 58.5.",
    ),
    "a word": (
        {"algorithmHyperParameters": {"recency_mask": "maybe"}},
        "algorithmHyperParameters.recency_mask: recipe aws-hrnn: must be one of true, false, but got maybe.",
    ),
    "a percentile in the wrong place": (
        {"algorithmHyperParameters": {"max_user_history_length_percentile": "0.9"}},
        "algorithmHyperParameters.max_user_history_length_percentile: belongs under featureTransformationParameters.",
    ),
    "a tuned percentile": (
        ranges(continuous=[{"name": "min_user_history_length_percentile", "minValue": 0.0, "maxValue": 0.1}]),
        "continuousHyperParameterRanges[0].name: min_user_history_length_percentile is not HPO tunable in recipe "
        "aws-hrnn; featureTransformationParameters sets it.",
    ),
    "the wrong list": (
        ranges(continuous=[INTEGER]),
        "continuousHyperParameterRanges[0].name: bptt is integer and belongs under integerHyperParameterRanges.",
    ),
    "a name in two ranges": (
        ranges(integer=[INTEGER, {**INTEGER, "name": "training.bptt"}]),
        "integerHyperParameterRanges[1].name: bptt has a range already.",
    ),
    "a range and a value": (
        {"algorithmHyperParameters": {"bptt": "8"}, **ranges(integer=[INTEGER])},
        "bptt: has a range under hpoConfig and a fixed value too; keep one.",
    ),
    "min above max": (
        ranges(integer=[{**INTEGER, "minValue": 9}]),
        "integerHyperParameterRanges[0]: `minValue <= maxValue` must hold, but got [9, 8].",
    ),
    "a range in text": (
        ranges(integer=[{**INTEGER, "minValue": "2"}]),
        "integerHyperParameterRanges[0].minValue: a whole number within ±1,000,000 must stand here, but got '2'.",
    ),
    "a boolean end": (
        ranges(integer=[{**INTEGER, "maxValue": True}]),
        "integerHyperParameterRanges[0].maxValue: a whole number within ±1,000,000 must stand here, but got true.",
    ),
    "an end beyond a million": (
        ranges(integer=[{**INTEGER, "maxValue": 1_000_001}]),
        "integerHyperParameterRanges[0].maxValue: a whole number within ±1,000,000 must stand here, but got 1000001.",
    ),
    "a range without a name": (
        ranges(integer=[{"minValue": 2}]),
        "integerHyperParameterRanges[0]: a JSON object with a `name` must stand here.",
    ),
    "a misspelt end": (
        ranges(integer=[{**INTEGER, "minVal": 2}]),
        "minVal: is no key of integerHyperParameterRanges[0], did you mean 'minValue'?",
    ),
    "too many ranges": (
        ranges(integer=[INTEGER] * 101),
        "integerHyperParameterRanges: a list of at most 100 ranges must stand here.",
    ),
    "other choices": (
        ranges(categorical=[{"name": "recency_mask", "values": ["true", "auto"]}]),
        "categoricalHyperParameterRanges[0]: recency_mask must lie within true, false, but got auto too: recipe "
        "aws-hrnn admits no other values.",
    ),
    "no choices": (
        ranges(categorical=[{"name": "recency_mask", "values": []}]),
        "categoricalHyperParameterRanges[0].values: a list of one to 100 values must stand here.",
    ),
    "too many trials": (
        {"hpoConfig": {"hpoResourceConfig": {"maxNumberOfTrainingJobs": "41"}}},
        'hpoResourceConfig.maxNumberOfTrainingJobs: a whole number from 1 to 40 (in quotes: "40") must stand here, '
        "but got '41'.",
    ),
    "endlessly many trials": (
        {"hpoConfig": {"hpoResourceConfig": {"maxNumberOfTrainingJobs": "9" * 5000}}},
        'hpoResourceConfig.maxNumberOfTrainingJobs: a whole number from 1 to 40 (in quotes: "40") must stand here, '
        f"but got '{'9' * 5000}'.",
    ),
    "too many workers": (
        {"hpoConfig": {"hpoResourceConfig": {"maxParallelTrainingJobs": "11"}}},
        'hpoResourceConfig.maxParallelTrainingJobs: a whole number from 1 to 10 (in quotes: "10") must stand here, '
        "but got '11'.",
    ),
    "an objective to minimize": (
        {"hpoConfig": {"hpoObjective": {"type": "Minimize"}}},
        "hpoObjective.type: Maximize must stand here, but got Minimize; every metric of a ranking is better when "
        "larger.",
    ),
    "an unknown metric": (
        {"hpoConfig": {"hpoObjective": {"metricName": "ndcg_at_20"}}},
        "hpoObjective.metricName: ndcg_at_20 is no metric, did you mean 'ndcg_at_25'?",
    ),
    "no HPO": (
        {"performHPO": False, "solutionConfig": {}},
        "performHPO: true must stand here for a study, but got false; `train` runs one training.",
    ),
    "AutoML": (
        {"performAutoML": True, "solutionConfig": {}},
        "performAutoML: recipes cannot be chosen automatically; false must stand here.",
    ),
    "another recipe": (
        {"recipeArn": "arn:aws:personalize:::recipe/aws-sims", "solutionConfig": {}},
        "recipeArn: must name aws-hrnn or aws-hrnn-metadata (arn:aws:personalize:::recipe/aws-hrnn), but got "
        "'arn:aws:personalize:::recipe/aws-sims'.",
    ),
    "no object": ({"hpoConfig": [1]}, "hpoConfig: a JSON object must stand here, but got [1]."),
    "a key twice": ('{"hpoConfig": {}, "hpoConfig": {}}', "hpoConfig: stands twice; keep one."),
    "a list": ("[]", "a JSON object must stand at the top level, but got []."),
    "broken JSON": (
        "{",
        "is not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1).",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_service_would_refuse_is_refused_with_its_key(case: str, tmp_path: Path) -> None:
    content, message = CASES[case]
    assert refusal(tmp_path, content) == [message]


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    config = {"algorithmHyperParameters": {"bptt": "1"}, **ranges(integer=[{**INTEGER, "name": "x"}]), "y": 1}
    assert len(refusal(tmp_path, config)) == 3


def test_a_range_beyond_the_studys_own_space_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: aws-hrnn\ntune: {bptt: {range: [2, 4]}}\n")
    [message] = refusal(tmp_path, ranges(integer=[INTEGER]), str(tmp_path / "mine.yaml"))
    assert message == "tune.bptt.range: must lie within mine's [2, 4], but got [2, 8]."


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"gone\.json: cannot be read"):
        read_solution_config(tmp_path / "gone.json", RECIPE)


VALID = {
    "performHPO": True,
    "recipeArn": "arn:aws:personalize:::recipe/aws-hrnn",
    "solutionConfig": {
        "algorithmHyperParameters": {"hidden_dimension": "55"},
        "featureTransformationParameters": {"max_user_history_length_percentile": "0.95"},
        "hpoConfig": {
            "algorithmHyperParameterRanges": {
                "integerHyperParameterRanges": [{"name": "bptt", "minValue": 2, "maxValue": 8}],
                "continuousHyperParameterRanges": [],
                "categoricalHyperParameterRanges": [{"name": "recency_mask", "values": ["true", "false"]}],
            },
            "hpoObjective": {"type": "Maximize", "metricName": "coverage", "metricRegex": ""},
            "hpoResourceConfig": {"maxNumberOfTrainingJobs": "4", "maxParallelTrainingJobs": "2"},
        },
    },
}
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["bptt", "8"])
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


@st.composite
def spoilt(draw: st.DrawFn, node: Any = VALID) -> Any:
    """A valid request in which one entry, somewhere, is anything at all."""
    entries = node if isinstance(node, dict) else dict(enumerate(node)) if isinstance(node, list) else {}
    if not entries or draw(st.integers(0, 5)) == 0:
        return draw(anything)
    key = draw(st.sampled_from(sorted(entries)))
    changed = {**entries, key: draw(spoilt(entries[key]))}
    return changed if isinstance(node, dict) else list(changed.values())


@given(content=spoilt())
@settings(max_examples=150, deadline=None)
def test_whatever_a_file_says_it_is_read_or_refused_with_reasons(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert read(folder, VALID).space.searched
    with contextlib.suppress(SpaceError):
        read(folder, content)
