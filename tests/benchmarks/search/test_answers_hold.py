"""The simulation of what a study answers: planted surfaces, true effects, and a table that tells misses."""

from typing import Any

import numpy as np
import pytest

from hrnn_hpo.search.space import load_space
from hrnn_hpo.study.report.effects import Effect
from hrnn_hpo.study.report.outlook import across
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.search.answers import IMPORTANT, SPACE, columns_of, measure, planted, report, true_gain


def row(holds: float) -> Row:
    settings: dict[str, Any] = {"sampler": "tpe", "noise": 1.0, "trials": 40, "studies": 10}
    shares = ("within_one", "within_two", "idle_matter", "idle_flat", "important_matter", "flat_right")
    figures = {**dict.fromkeys(shares, 0.5), "holds": holds, "worth": 0.3, "gained_90": 0.2}
    return Row(date="2026-11-26", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)


def test_a_surface_moves_with_what_matters_alone_and_by_one_deviation() -> None:
    space = load_space(SPACE)
    surface = planted(space, np.random.default_rng(0))
    drawn = across(space, 300, 5)
    assert surface.heights(drawn).std() == pytest.approx(1.0, rel=0.25)
    moved = [{**one, "input_dropout": 0.6, "session_gap": 300} for one in drawn]
    np.testing.assert_array_equal(surface.heights(moved), surface.heights(drawn))
    assert len(set(columns_of(space))) == len(IMPORTANT)


def test_the_true_gain_is_the_surfaces_own_difference() -> None:
    space = load_space(SPACE)
    surface = planted(space, np.random.default_rng(1))
    drawn = across(space, 10, 5)
    there, back = (Effect("learning_rate", "matters", *ends, 0.1, 0.1) for ends in ((0.003, 0.01), (0.01, 0.003)))
    gain = true_gain(surface, there, drawn)
    assert gain is not None
    assert gain == pytest.approx(-(true_gain(surface, back, drawn) or 0.0))
    assert true_gain(surface, Effect("input_dropout", "matters", 0.2, 0.6), drawn) == 0.0
    assert true_gain(surface, Effect("hierarchy", "not in the winner", "init", None), drawn) is None


def test_a_study_repeats_itself() -> None:
    first = measure("random", 0.25, 34, 1)
    assert first == measure("random", 0.25, 34, 1)
    assert 0 <= first["flat_right"] <= 1


def test_a_statement_that_does_not_hold_is_a_missed_target() -> None:
    assert "kept (worst 0.80)" in report({"a": row(0.8), "b": row(0.9)})
    assert "missed (worst 0.50)" in report({"a": row(0.5), "b": row(0.9)})
