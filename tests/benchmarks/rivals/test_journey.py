"""The benchmark of all households: what a difference and its error are, and when its goal counts as reached."""

import numpy as np
import pytest

from hrnn_hpo.evaluation.protocols import Evaluation
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.rivals import journey


def evaluation_of(values: list[float]) -> Evaluation:
    figures = {journey.METRIC + part: np.array(values) for part in journey.PARTS}
    return Evaluation({}, figures, np.zeros((len(values), 25), np.int32), np.arange(len(values)))


def test_a_difference_is_paired_and_leaves_out_households_without_a_value() -> None:
    found = journey.ahead(evaluation_of([0.5, 0.4, np.nan, 0.9]), evaluation_of([0.4, 0.1, 0.3, 0.4]))
    # differences .1, .3 and .5: mean .3, deviation .2, error .2 / sqrt(3)
    assert found["ndcg_at_10"] == pytest.approx({"mean": 0.3, "error": 0.2 / 3**0.5})


def test_every_kind_is_a_configuration() -> None:
    assert journey.configuration_of("next", 1).hyperparameters.targets_ahead == 60
    last = journey.configuration_of("last", 2)
    assert (last.protocol, last.seed, last.hyperparameters.targets_ahead) == ("leave-one-out", 2, 1)


def row_of(seed: int, gaps: dict[str, dict[str, float]]) -> Row:
    zeros = {journey.METRIC + part: 0.25 for part in journey.PARTS}
    return Row(
        date="2026-11-27",
        processor="one",
        threads=1,
        versions={},
        command="journey.py",
        settings={"seed": seed},
        figures={
            "best_epoch": 3,
            "n_epochs": 4,
            "seconds": 60.0,
            "test": zeros,
            "baselines": dict.fromkeys(gaps, zeros),
            "ahead": {
                baseline: {journey.METRIC + part: {"mean": mean, "error": 0.01} for part, mean in found.items()}
                for baseline, found in gaps.items()
            },
            "constants": {},
        },
    )


def test_the_goal_asks_for_more_than_two_errors_and_for_new_products_of_two_baselines_alone() -> None:
    wide, narrow = {"": 0.03, "_repeats": 0.0, "_new": 0.03}, {"": 0.03, "_repeats": 0.0, "_new": 0.02}
    assert "too: reached." in journey.report({"next-0": row_of(0, {"ease": wide, "popularity": narrow})})
    assert "too: missed (ease_new)." in journey.report({"next-0": row_of(0, {"ease": narrow, "popularity": wide})})
    two = {"last-0": row_of(0, {"own_items": wide}), "last-1": row_of(1, {"own_items": dict.fromkeys(wide, 0.0)})}
    text = journey.report(two)
    assert "| own_items | 0.2500 ± 0.0000 |" in text
    assert "+0.0150 ± 0.0100" in text  # the mean of .03 and 0, the mean of the errors
    assert "too: missed (own_items)." in text
