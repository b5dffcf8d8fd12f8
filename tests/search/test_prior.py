"""Priors of a space: what a file may say, how they read, and that draws follow them."""

from pathlib import Path

import numpy as np
import pytest

from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.prior import draw, draw_near
from hrnn_hpo.search.space import SearchSpace, load_space, space_from_content

SPACE = """# A space for tests.
parameters:
  hidden_dimension: {kind: algorithm, type: integer, range: [8, 512], log: true, default: 16, prior: {center: 64}}
  output_dropout: {kind: algorithm, type: continuous, range: [0.0, 0.6], step: 0.1, default: 0.2, PRIOR}
  architecture:
    kind: algorithm
    type: categorical
    choices: [control, hierarchical]
    default: control
    prior: {weights: {control: 3}}
  weight_averaging: {kind: training, type: categorical, choices: [0.0, 0.9], default: 0.0}
"""


def space(tmp_path: Path, prior: str = "prior: {center: 0.3, width: 0.1}", more: str = "") -> SearchSpace:
    (tmp_path / "space.yaml").write_text(SPACE.replace("PRIOR", prior) + more, encoding="utf-8")
    return load_space(tmp_path / "space.yaml")


def test_priors_read_in_words(tmp_path: Path) -> None:
    assert space(tmp_path).priors() == {
        "hidden_dimension": "around 64.0, width 0.2",
        "output_dropout": "around 0.3, width 0.1",
        "architecture": "control 3 : hierarchical 1",  # what is not named weighs 1
    }


def test_a_recorded_space_keeps_its_priors(tmp_path: Path) -> None:
    made = space(tmp_path)
    again = space_from_content(made.content(), "record")
    assert again.priors() == made.priors()
    assert again.fingerprint() == made.fingerprint()


def test_a_prior_changes_no_configuration_and_so_no_fingerprint(tmp_path: Path) -> None:
    assert space(tmp_path).fingerprint() == space(tmp_path, "prior: {center: 0.1}").fingerprint()


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (
            "prior: 0.3",
            r"output_dropout.prior: a mapping such as \{center: 0.002, .* but got 0.3",
        ),
        ("prior: {width: 0.3}", "lacks its center"),
        ("prior: {center: 0.9}", r"center: must lie in \[0.0, 0.6\], but got 0.9"),
        ("prior: {center: 0.3, width: 0.0}", "`0 < width <= 1`, a share of the range, must hold, but got 0.0"),
        ("prior: {center: 0.3, width: 1.5}", "must hold, but got 1.5"),
        ("prior: {center: x}", "center: a number must stand here, but got x"),
        (
            "prior: {centre: 0.3}",
            "centre is no key of this prior: numbers have center and width, did you mean",
        ),
        ("prior: {weights: {0.1: 2}}", "weights is no key of this prior: numbers have center and width"),
    ],
)
def test_a_wrong_prior_of_a_number_names_the_rule(tmp_path: Path, prior: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        space(tmp_path, prior)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("{weights: {0.5: 2}}", r"weights: 0.5 is none of 0.0, 0.9"),
        ("{weights: {0.9: -1}}", "weights: a number of 0 or more must stand here, but got -1"),
        ("{weights: {0.0: 0, 0.9: 0}}", "weights: one of them must be more than 0"),
        ("{weights: {'[0.9': 2}}", r"weights: \[0.9 is none of 0.0, 0.9"),
        ("{weights: {0.90: 2, 0.9: 1}}", "weights: 0.90 and 0.9 are one choice, 0.9; keep one"),
        ("{weights: [1" + "0" * 400 + ", 1]}", "weights: a number of 0 or more must stand here, but got 10"),
        ("{weights: [1.0e+308, 1.0e+308]}", "weights: one of them is too large: their sum must be a number"),
        ("{weights: [1]}", "weights: one for each of 0.0, 0.9 must stand here, but got 1"),
        ("{weights: 3}", r"weights: a mapping such as \{a: 3, b: 1\} must stand here, but got 3"),
        ("{center: 0.9}", "center is no key of this prior: choices have weights"),
    ],
)
def test_wrong_weights_name_the_rule(tmp_path: Path, prior: str, message: str) -> None:
    more = f"tune: {{weight_averaging: {{prior: {prior}}}}}\n"
    with pytest.raises(SpaceError, match=message):
        space(tmp_path, more=more)


def test_a_narrowed_range_begins_without_its_parents_prior(tmp_path: Path) -> None:
    wide = space(tmp_path)
    narrowed = wide.narrow({"hidden_dimension": {"range": [8, 64]}, "output_dropout": {"default": 0.1}}, {}, "own")
    assert set(narrowed.priors()) == {"output_dropout", "architecture"}
    without = wide.narrow({"architecture": {"prior": None}}, {"output_dropout": 0.2}, "own")
    assert set(without.priors()) == {"hidden_dimension"}
    said = wide.narrow({"hidden_dimension": {"range": [8, 64], "prior": {"center": 20}}}, {}, "own")
    assert said.priors()["hidden_dimension"] == "around 20.0, width 0.2"


def test_draws_follow_the_prior_on_the_parameters_scale(tmp_path: Path) -> None:
    rng, made = np.random.default_rng(0), space(tmp_path)
    draws = {name: [draw(parameter, rng) for _ in range(2000)] for name, parameter in made.searched.items()}
    assert all(made.searched[name].problem(value) is None for name, drawn in draws.items() for value in drawn)
    places = np.log(np.array(draws["hidden_dimension"], dtype=float) / 8) / np.log(64)  # of 64: 1/2
    assert places.mean() == pytest.approx(0.5, abs=0.02)
    assert places.std() == pytest.approx(0.2, abs=0.02)
    assert np.mean(np.array(draws["output_dropout"], dtype=float)) == pytest.approx(0.3, abs=0.01)
    assert draws["architecture"].count("control") / 2000 == pytest.approx(0.75, abs=0.03)
    assert draws["weight_averaging"].count(0.0) / 2000 == pytest.approx(0.5, abs=0.03)  # no prior: all alike


def test_draws_near_a_value_stay_or_move_a_little(tmp_path: Path) -> None:
    rng, made = np.random.default_rng(0), space(tmp_path)
    drawn = [draw_near(made.searched["hidden_dimension"], 32, rng) for _ in range(1000)]
    assert drawn.count(32) / 1000 == pytest.approx(0.5, abs=0.06)
    assert np.abs(np.log(np.array(drawn, dtype=float) / 32)).mean() < 0.1 * np.log(64)
    kinds = [draw_near(made.searched["architecture"], "control", rng) for _ in range(1000)]
    assert kinds.count("control") / 1000 == pytest.approx(0.75, abs=0.04)


def test_the_widest_shipped_space_has_priors_and_the_quickstart_none() -> None:
    made = load_space("hrnn")
    assert "learning_rate" in made.priors()
    assert not load_space("quickstart").priors()
    assert not load_space("aws-hrnn").priors()
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert made.problems(made.draw(lambda parameter: draw(parameter, rng))) == []
