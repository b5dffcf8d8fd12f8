"""Amazon's JSON, out and in, held against the service model that botocore carries."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solution_configs import RECIPE, check_with_botocore, ranges, read

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.amazon.personalize import left_out, solution_config_from
from hrnn_hpo.search.amazon.solution_file import solution_filters
from hrnn_hpo.search.space import load_space

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
    assert left_out(Hyperparameters(repeats="ignored")) == left_out(Hyperparameters()) == {}  # as the service does
    assert left_out(Hyperparameters(repeats="mixed")) == {"repeats": "mixed"}


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
        "solutionConfig": {"algorithmHyperParameters": {"bptt": "8"}, "eventValueThreshold": "2.5"},
    }
    content = {wrapper: request} if wrapper else request
    found = read(tmp_path, content)
    assert found.fixed == {"bptt": 8}
    assert found.notes == ("name has no effect here.",)
    (tmp_path / "filters.json").write_text(json.dumps(content))
    chosen = solution_filters(tmp_path / "filters.json")
    assert chosen == {"event_type": "click", "event_value_threshold": "2.5"}


@pytest.mark.parametrize("content", [{"eventValueThreshold": "much"}, {"eventValueThreshold": 3}])
def test_a_threshold_that_is_no_number_in_text_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="eventValueThreshold: text"):
        read(tmp_path, {"algorithmHyperParameters": {"bptt": "8"}, **content})
