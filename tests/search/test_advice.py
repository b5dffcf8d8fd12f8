"""Advice after a study: borders to move, dead hyperparameters to freeze, and a file that follows it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn_hpo.search.advice import advise, freeze_dead, next_space, widen_borders
from hrnn_hpo.search.space import load_space, space_from_content


def widened(spec: dict[str, Any], name: str, best: float) -> Any:
    content = {"parameters": {name: {"kind": "algorithm", "default": spec["range"][0], **spec}}}
    advice = widen_borders(space_from_content(content, "test"), {name: best})
    return advice[0].change["parameters"][name]["range"] if advice else None


@pytest.mark.parametrize(
    ("name", "spec", "best", "wider"),
    [
        # log: twice as far; linear: half the width further, in the range's own units
        ("hidden_dimension", {"type": "integer", "range": [32, 256], "log": True}, 250, [32, 512]),
        ("hidden_dimension", {"type": "integer", "range": [32, 256], "log": True}, 33, [16, 256]),
        ("hidden_dimension", {"type": "integer", "range": [32, 256], "log": True}, 130, None),
        ("learning_rate", {"type": "continuous", "range": [0.001, 0.01], "log": True}, 0.00999, [0.001, 0.02]),
        ("learning_rate", {"type": "continuous", "range": [0.001, 0.01], "log": True}, 0.001, [0.0005, 0.01]),
        ("n_blocks", {"type": "integer", "range": [1, 3]}, 3, [1, 4]),
        ("bptt", {"type": "integer", "range": [8, 32], "step": 8}, 32, [8, 48]),
        ("bptt", {"type": "integer", "range": [8, 30], "step": 8}, 24, [8, 32]),
        ("input_dropout", {"type": "continuous", "range": [0.1, 0.5]}, 0.5, [0.1, 0.7]),
        ("input_dropout", {"type": "continuous", "range": [0.0, 0.5], "step": 0.1}, 0.5, [0.0, 0.7]),
        # where the hyperparameter itself ends
        ("input_dropout", {"type": "continuous", "range": [0.0, 0.5]}, 0.0, None),
        ("input_dropout", {"type": "continuous", "range": [0.0, 0.9]}, 0.9, [0.0, 0.95]),
        ("input_dropout", {"type": "continuous", "range": [0.1, 0.5]}, 0.1, [0.0, 0.5]),
        ("bptt", {"type": "integer", "range": [2, 32]}, 2, None),
        ("bptt", {"type": "integer", "range": [3, 32], "log": True}, 3, [2, 32]),
        ("learning_rate", {"type": "continuous", "range": [0.5, 0.9]}, 0.9, [0.5, 1.0]),
        ("feed_forward", {"type": "integer", "range": [0, 4]}, 0, None),
    ],
)
def test_a_best_value_at_a_border_asks_for_a_wider_range(
    name: str, spec: dict[str, Any], best: float, wider: list[float] | None
) -> None:
    assert widened(spec, name, best) == wider


def test_the_recipes_bound_is_left_openly() -> None:
    [advice] = widen_borders(load_space("aws-hrnn"), {"hidden_dimension": 256, "bptt": 9})
    assert advice.text == (
        "hidden_dimension: the best value, 256, lies at the upper end of [32, 256], log; search [32, 512]. "
        "Recipe aws-hrnn ends before that: this leaves it (`recipe: null`)."
    )
    assert advice.change == {"recipe": None, "parameters": {"hidden_dimension": {"range": [32, 512]}}}


def test_inactive_and_categorical_parameters_have_no_borders() -> None:
    best = {**load_space("hrnn").defaults(), "recency_mask": False, "recency_half_life": 365.0}
    assert widen_borders(load_space("hrnn"), best) == []


def test_what_explains_less_than_a_hundredth_is_frozen_at_its_best_value() -> None:
    best = {"hidden_dimension": 64, "bptt": 9, "recency_mask": False}
    [advice] = freeze_dead(
        load_space("aws-hrnn"), best, {"hidden_dimension": 0.9, "bptt": 0.0961, "recency_mask": 0.004, "epochs": 0.0}
    )
    assert advice.text == "recency_mask: explains 0.4% of the differences between trials; fix it at false."
    assert advice.change == {"fix": {"recency_mask": False}}


def test_importances_that_tell_nothing_freeze_nothing() -> None:
    nothing = {"hidden_dimension": 0.0, "bptt": float("nan"), "recency_mask": 0.0}
    assert freeze_dead(load_space("aws-hrnn"), {}, nothing) == []
    assert freeze_dead(load_space("aws-hrnn"), {}, {}) == []


def test_the_next_file_follows_the_advice_and_loads(tmp_path: Path) -> None:
    space = load_space("quickstart")
    best = {**space.defaults(), "hidden_dimension": 96, "learning_rate": 0.01, "hidden_dropout": 0.25}
    importances = {"hidden_dimension": 0.7, "learning_rate": 0.3, "hidden_dropout": 0.0, "bptt": 0.001}
    path = tmp_path / "next.yaml"
    path.write_text(next_space(space, advise(space, best, importances)), encoding="utf-8")
    following = load_space(path)
    assert following.searched["hidden_dimension"].range == (32, 192)
    assert following.searched["learning_rate"].range == (0.001, 0.02)
    assert following.fixed["hidden_dropout"] == 0.25
    assert following.fixed["bptt"] == 32
    assert "output_dropout" in following.searched


def test_the_next_file_of_a_users_own_space_extends_it_by_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: aws-hrnn\ntune: {bptt: {range: [4, 16]}}\n")
    space = load_space(tmp_path / "mine.yaml")
    path = tmp_path / "next.yaml"
    path.write_text(next_space(space, advise(space, {"bptt": 16, "hidden_dimension": 256})), encoding="utf-8")
    following = load_space(path)
    assert following.searched["bptt"].range == (4, 32)
    assert following.searched["hidden_dimension"].range == (32, 512)
    assert following.recipe is None


@given(data=st.data(), low=st.integers(2, 500), width=st.integers(1, 500), log=st.booleans())
@settings(deadline=None)
def test_advice_never_narrows_and_always_loads(data: st.DataObject, low: int, width: int, log: bool) -> None:
    best = data.draw(st.integers(low, low + width))
    wider = widened({"type": "integer", "range": [low, low + width], "log": log}, "bptt", best)
    if wider is not None:
        assert wider[0] <= low
        assert wider[1] >= low + width
        assert wider != [low, low + width]
        spec = {"kind": "algorithm", "type": "integer", "range": wider, "log": log, "default": low}
        space_from_content({"parameters": {"bptt": spec}}, "test")
