"""Amazon's JSON, out and in, held against the service model that botocore carries."""

import contextlib
import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.personalize import left_out, read_solution_config, solution_config_from
from hrnn_hpo.search.space import load_space

RECIPE = load_space("aws-hrnn")
SHAPE = botocore.session.get_session().get_service_model("personalize").operation_model("CreateSolution").input_shape


def check_with_botocore(config: dict[str, Any]) -> None:
    request = {"name": "mine", "datasetGroupArn": "arn:aws:personalize:eu-west-1:1:dataset-group/d"}
    report = ParamValidator().validate({**request, "performHPO": True, "solutionConfig": config}, SHAPE)
    assert not report.has_errors(), report.generate_report()


def ranges(**lists: Any) -> dict[str, Any]:
    return {"hpoConfig": {"algorithmHyperParameterRanges": {f"{k}HyperParameterRanges": v for k, v in lists.items()}}}


def read(folder: Path, content: Any, space: str = "aws-hrnn") -> Any:
    path = folder / "solution.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_solution_config(path, load_space(space))


def refusal(folder: Path, content: Any, space: str = "aws-hrnn") -> list[str]:
    with pytest.raises(SpaceError) as caught:
        read(folder, content, space)
    return [line.removeprefix(f"{folder}/solution.json: ") for line in str(caught.value).splitlines()]


# --- out ---------------------------------------------------------------------------------------------------------


def test_a_result_leaves_as_text_under_the_services_two_names() -> None:
    config = solution_config_from(RECIPE, Hyperparameters(hidden_dimension=58, bptt=9, recency_mask=False))
    assert config == {
        "algorithmHyperParameters": {"hidden_dimension": "58", "bptt": "9", "recency_mask": "false"},
        "featureTransformationParameters": {
            "min_user_history_length_percentile": "0.0",
            "max_user_history_length_percentile": "0.99",
        },
    }
    check_with_botocore(config)


def test_the_study_itself_leaves_as_hpo_config() -> None:
    config = solution_config_from(
        RECIPE,
        Hyperparameters(hidden_dimension=58),
        ranges=True,
        objective="ndcg_at_10",
        n_trials=40,
        n_workers=2,
    )
    check_with_botocore(config)
    assert config["algorithmHyperParameters"] == {}
    assert config["hpoConfig"] == {
        "algorithmHyperParameterRanges": {
            "integerHyperParameterRanges": [
                {"name": "hidden_dimension", "minValue": 32, "maxValue": 256},
                {"name": "bptt", "minValue": 2, "maxValue": 32},
            ],
            "continuousHyperParameterRanges": [],
            "categoricalHyperParameterRanges": [{"name": "recency_mask", "values": ["true", "false"]}],
        },
        "hpoObjective": {"type": "Maximize", "metricName": "normalized_discounted_cumulative_gain_at_10"},
        "hpoResourceConfig": {"maxNumberOfTrainingJobs": "40", "maxParallelTrainingJobs": "2"},
    }


def test_wider_ranges_of_ours_leave_cut_to_the_recipes() -> None:
    config = solution_config_from(load_space("hrnn"), Hyperparameters(), ranges=True)
    integers = config["hpoConfig"]["algorithmHyperParameterRanges"]["integerHyperParameterRanges"]
    assert integers[0] == {"name": "hidden_dimension", "minValue": 32, "maxValue": 256}
    check_with_botocore(config)


def test_a_value_beyond_the_recipe_is_refused_whatever_the_space() -> None:
    with pytest.raises(SpaceError) as caught:
        solution_config_from(
            load_space("hrnn"), Hyperparameters(hidden_dimension=512, bptt=64), ranges=True, n_trials=60, n_workers=0
        )
    assert [line.partition("configuration: ")[2] for line in str(caught.value).splitlines()] == [
        "hidden_dimension: must lie in [32, 256], but got 512.",
        "bptt: must lie in [2, 32], but got 64.",
        "`1 <= n_trials <= 40` must hold in the service, but got 60.",
        "`1 <= n_workers <= 10` must hold in the service, but got 0.",
    ]


def test_what_the_service_does_not_know_is_listed() -> None:
    changed = Hyperparameters(hidden_dimension=58, learning_rate=0.01, n_blocks=2)
    assert left_out(changed) == {"learning_rate": 0.01, "n_blocks": 2}


@given(
    hidden=st.integers(32, 256),
    bptt=st.integers(2, 32),
    mask=st.booleans(),
    low=st.floats(0, 0.5),
    high=st.floats(0.5, 1),
)
@settings(max_examples=30, deadline=None)
def test_fixed_values_come_back_as_they_left(
    tmp_path_factory: pytest.TempPathFactory, hidden: int, bptt: int, mask: bool, low: float, high: float
) -> None:
    values = Hyperparameters(
        hidden_dimension=hidden,
        bptt=bptt,
        recency_mask=mask,
        min_user_history_length_percentile=low,
        max_user_history_length_percentile=high,
    )
    config = solution_config_from(RECIPE, values)
    check_with_botocore(config)
    folder = tmp_path_factory.mktemp("config")
    assert read(folder, config).space.resolve({}) == values


def test_a_study_comes_back_as_it_left(tmp_path: Path) -> None:
    space = RECIPE.narrow({"hidden_dimension": {"range": [40, 99]}}, {"bptt": 16}, "test")
    config = solution_config_from(space, space.resolve({}), ranges=True, objective="mrr_at_25", n_trials=7)
    back = read(tmp_path, config)
    assert back.space.fingerprint() == space.fingerprint()
    assert back.objective == "mrr_at_25"
    assert (back.limits.n_trials, back.limits.n_workers) == (7, None)


# --- in ----------------------------------------------------------------------------------------------------------


def test_ranges_narrow_fixed_values_fix_and_the_rest_of_the_recipe_stays_at_its_default(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "algorithmHyperParameters": {"hidden_dimension": "55"},
            "featureTransformationParameters": {"max_user_history_length_percentile": "0.95"},
            **ranges(integer=[{"name": "bptt", "minValue": 20, "maxValue": 32}]),
        },
    )
    assert list(found.space.searched) == ["bptt"]
    assert found.space.searched["bptt"].range == (20, 32)
    assert found.fixed == {"hidden_dimension": 55, "max_user_history_length_percentile": 0.95}
    assert found.space.constants["recency_mask"] is True
    assert found.notes == ("recency_mask has no range in the file and stays at its default true.",)


def test_without_ranges_the_recipes_own_are_tuned(tmp_path: Path) -> None:
    found = read(tmp_path, {"algorithmHyperParameters": {"bptt": "8"}, "hpoConfig": {}})
    assert list(found.space.searched) == ["hidden_dimension", "recency_mask"]


def test_hyperparameters_of_ours_are_left_to_the_space(tmp_path: Path) -> None:
    found = read(tmp_path, ranges(integer=[{"name": "bptt", "minValue": 2, "maxValue": 8}]), "hrnn")
    assert "learning_rate" in found.space.searched
    assert "hidden_dimension" not in found.space.searched
    assert found.space.constants["hidden_dimension"] == 128


def test_the_older_spellings_and_limits_and_objective_are_understood(tmp_path: Path) -> None:
    config = ranges(
        integer=[{"name": "training.bptt", "minValue": 2, "maxValue": 32}],
        categorical=[{"name": "data.recency_mask", "values": ["true", "false"]}],
    )
    config["hpoConfig"]["hpoResourceConfig"] = {"maxNumberOfTrainingJobs": "4", "maxParallelTrainingJobs": "2"}
    config["hpoConfig"]["hpoObjective"] = {"metricName": "precision_at_25", "metricRegex": "x", "type": "Maximize"}
    check_with_botocore(config)
    found = read(tmp_path, config)
    assert list(found.space.searched) == ["bptt", "recency_mask"]
    assert (found.limits.n_trials, found.limits.n_workers) == (4, 2)
    assert found.objective == "precision_at_25"
    assert "metricRegex has no effect here: metrics are not read from logs." in found.notes


@pytest.mark.parametrize("wrapper", [None, "solution", "solutionVersion"])
def test_requests_and_descriptions_are_unwrapped(tmp_path: Path, wrapper: str | None) -> None:
    request = {
        "name": "mine",
        "performHPO": True,
        "performAutoML": False,
        "recipeArn": "arn:aws:personalize:::recipe/aws-hrnn",
        "eventType": "click",
        "solutionConfig": {"algorithmHyperParameters": {"bptt": "8"}},
    }
    found = read(tmp_path, {wrapper: request} if wrapper else request)
    assert found.fixed == {"bptt": 8}
    assert "eventType has no effect here." in found.notes


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
