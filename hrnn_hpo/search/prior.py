"""Where good values of a hyperparameter lie, as a space file says it: `prior`, and how one is drawn from.

    learning_rate: {range: [0.0003, 0.03], log: true, prior: {center: 0.002, width: 0.15}}
    architecture: {choices: [control, hierarchical], prior: {weights: {control: 3, hierarchical: 1}}}

Of a number it is a normal distribution around `center`, cut off at the ends of the range; `width` is its standard
deviation as a share of the range, of the logarithms where the scale is logarithmic. Choices are drawn by weight; one
that is not named weighs 1.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from hrnn_hpo.plain_data import load_yaml
from hrnn_hpo.search.parameter import DEFAULT_WIDTH, Parameter, Prior
from hrnn_hpo.search.values import (
    Value,
    same,
    show,
    show_range,
    type_problem,
)
from hrnn_hpo.settings import nearest

if TYPE_CHECKING:
    import numpy as np

NEAR = 0.1  # the width around an incumbent's number
STAYS = 0.5  # the chance that a value of the incumbent stays as it is
_MOST_DRAWS = 100  # of a number until one lies within the range


def read_prior(parameter: Parameter, said: Any) -> tuple[Prior | None, list[str]]:
    """Return what stands under `prior` of a parameter whose range or choices are known, or the rules that it breaks."""
    if said is None:
        return None, []
    known = ["weights"] if parameter.type == "categorical" else ["center", "width"]
    if not isinstance(said, dict) or not said:
        example = "{weights: {a: 3, b: 1}}" if parameter.type == "categorical" else "{center: 0.002, width: 0.2}"
        return None, [f"a mapping such as {example}, or null, must stand here, but got {show(said)}."]
    unknown = [key for key in said if key not in known]
    if unknown:
        noun = "choices have" if parameter.type == "categorical" else "numbers have"
        hint = nearest(str(unknown[0]), known) or "."
        return None, [f"{unknown[0]} is no key of this prior: {noun} {' and '.join(known)}{hint}"]
    if parameter.type == "categorical":
        return _read_weights(parameter, said["weights"])
    return _read_number(parameter, said)


def _read_number(parameter: Parameter, said: Mapping[str, Any]) -> tuple[Prior | None, list[str]]:
    if "center" not in said:
        return None, ["lacks its center, such as `center: 0.002`."]
    center, width = said["center"], said.get("width", DEFAULT_WIDTH)
    problems = [
        f"{key}: {wrong}"
        for key, value in (("center", center), ("width", width))
        if (wrong := type_problem(float, value))
    ]
    if problems:
        return None, problems
    assert parameter.range is not None
    if not parameter.range[0] <= center <= parameter.range[1]:
        problems.append(f"center: must lie in {show_range(parameter.range)}, but got {show(center)}.")
    if not 0.0 < width <= 1.0:
        problems.append(f"width: `0 < width <= 1`, a share of the range, must hold, but got {show(width)}.")
    return (None, problems) if problems else (Prior(float(center), float(width)), [])


def _read_weights(parameter: Parameter, said: Any) -> tuple[Prior | None, list[str]]:
    if isinstance(said, dict):
        problems = [
            f"weights: {key} is none of {parameter.describe()}."
            for key in said
            if not any(_names(key, choice) for choice in parameter.choices)
        ]
        for choice in parameter.choices:
            keys = [str(key) for key in said if _names(key, choice)]
            if len(keys) > 1:
                problems.append(f"weights: {' and '.join(keys)} are one choice, {show(choice)}; keep one.")
        values = [next((weight for key, weight in said.items() if _names(key, one)), 1.0) for one in parameter.choices]
    elif isinstance(said, list):
        problems, values = [], said
        if len(said) != len(parameter.choices):
            problems = [f"weights: one for each of {parameter.describe()} must stand here, but got {len(said)}."]
    else:
        return None, [f"weights: a mapping such as {{a: 3, b: 1}} must stand here, but got {show(said)}."]
    for weight in values:
        if type_problem(float, weight) or weight < 0:
            problems.append(f"weights: a number of 0 or more must stand here, but got {show(weight)}.")
    if not problems and not 0 < sum(values) < math.inf:
        rule = "must be more than 0" if not any(values) else "is too large: their sum must be a number"
        problems.append(f"weights: one of them {rule}.")
    return (None, problems) if problems else (Prior(weights=tuple(map(float, values))), [])


def _names(key: Any, choice: Value) -> bool:
    """Return whether a key of `weights` names a choice; files have keys as text, `0.9` and `true` too."""
    if same(key, choice):
        return True
    try:
        return isinstance(key, str) and same(load_yaml(key), choice)
    except yaml.YAMLError:  # text such as `[a`, which is the name of nothing
        return False


def draw(parameter: Parameter, rng: "np.random.Generator") -> Value:
    """Return a value from a parameter's prior; from its whole range or all its choices alike where it has none."""
    prior = parameter.prior
    if parameter.type == "categorical":
        weights = list(prior.weights) if prior is not None else [1.0] * len(parameter.choices)
        shares = [weight / sum(weights) for weight in weights]
        return parameter.choices[int(rng.choice(len(shares), p=shares))]
    if prior is None or prior.center is None:
        return _on_scale(parameter, float(rng.uniform()))
    return _around(parameter, prior.center, prior.width, rng)


def draw_near(parameter: Parameter, value: Value, rng: "np.random.Generator") -> Value:
    """Return a value near another: with even chances the same, else one around it, or any other choice."""
    if rng.uniform() < STAYS:
        return parameter.closest(value)
    if parameter.type == "categorical" or isinstance(value, bool | str):
        return parameter.choices[int(rng.integers(len(parameter.choices)))]
    return _around(parameter, float(value), NEAR, rng)


def _around(parameter: Parameter, center: float, width: float, rng: "np.random.Generator") -> Value:
    """Return a value from a normal distribution on the parameter's scale, cut off at its ends."""
    middle = _place(parameter, center)
    for _ in range(_MOST_DRAWS):
        place = float(rng.normal(middle, width))
        if 0.0 <= place <= 1.0:
            return _on_scale(parameter, place)
    return _on_scale(parameter, middle)


def _place(parameter: Parameter, value: float) -> float:
    """Return where a number lies in its range, from 0 to 1, on its scale."""
    low, high = parameter.low, parameter.high
    if high <= low:
        return 0.0
    value = min(max(value, low), high)
    if parameter.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _on_scale(parameter: Parameter, place: float) -> Value:
    """Return the number at a place from 0 to 1 of the range, rounded to the parameter's steps."""
    low, high = parameter.low, parameter.high
    value = low * (high / low) ** place if parameter.log else low + place * (high - low)
    if parameter.type == "integer" and parameter.step is None:
        value = round(value)
    return parameter.closest(_to_step(parameter, value))


def _to_step(parameter: Parameter, value: float) -> float:
    if parameter.step is None:
        return value
    return parameter.low + round((value - parameter.low) / parameter.step) * parameter.step
