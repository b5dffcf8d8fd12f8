"""The simulation of false verdicts: the product's split and judge, planted effects, and a table that tells misses."""

from typing import Any

import pytest

from hrnn_hpo.data.splits import Protocol
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.search.false_yes import (
    GAIN,
    NOTHING_HELD_BACK,
    Design,
    make_log,
    measure,
    report,
    require_same_users,
    simulate,
)


def row(users: str, gain: float, first: float, either: float) -> Row:
    settings: dict[str, Any] = {
        "users": users,
        "trials": 40,
        "gain": gain,
        "luck": 0.0,
        "studies": 10,
        "resamples": 100,
    }
    figures = {"k": 3, "judged_users": 100.0, "yes_first_look": first, "yes_either_look": either}
    return Row(date="2026-11-26", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)


@pytest.mark.parametrize(
    ("protocol", "hold_back", "n_users"),
    [("leave-one-out", True, 200), ("leave-one-out", False, 500), ("personalize", True, 200)],
)
def test_the_judged_users_are_the_products(protocol: Protocol, hold_back: bool, n_users: int) -> None:
    figures = measure(Design(protocol, hold_back, 40, 0.0), n_studies=2, n_resamples=50)
    assert figures["k"] == 3
    assert figures["judged_users"] == pytest.approx(n_users, rel=0.1)


def test_a_large_gain_is_seen_and_a_study_repeats_itself() -> None:
    log, design = make_log(), Design("leave-one-out", True, 40, 1.0)
    assert simulate(log, design, 0, 200) == simulate(log, design, 0, 200) == (True, True, 200)


@pytest.mark.parametrize("protocol", ["personalize", "leave-one-out", "temporal"])
def test_protocols_that_share_a_row_have_the_same_users(protocol: Protocol) -> None:
    require_same_users(make_log(), Design(protocol, True, 40, 0.0))


def test_the_table_says_whether_the_target_is_kept_and_lets_version_0_1_0_miss_it() -> None:
    rows = {
        "a": row("leave-one-out", 0.0, 0.01, 0.02),
        "b": row("leave-one-out", GAIN, 0.7, 0.8),
        "c": row(NOTHING_HELD_BACK, 0.0, 0.1, 0.2),
    }
    text = report(rows)
    assert "| leave-one-out, newest-tenth | 40 | none | 3 | 100 | 0.010 | 0.020 | 0.700 | 0.800 |" in text
    assert "kept (worst 0.020)" in text
    assert "missed (worst 0.070)" in report({**rows, "a": row("leave-one-out", 0.0, 0.01, 0.07)})
