"""What a finished study says about its own space: where the best value sits at a border, and what never mattered.

Pure functions of space, best configuration and importances; each advice carries the lines of a next space file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import annotated_types
import yaml

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.search.files import spaces_folder
from hrnn_hpo.search.parameter import Parameter
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.search.values import Value, field_problem, show, show_range

BORDER = 0.05  # of the range, on its own scale
DEAD = 0.01  # share of the variance that the study explains
_FACTOR = 2.0  # by which a log range grows at one end; a linear one grows by half its width


@dataclass(frozen=True)
class Advice:
    """One sentence, and the sections of a space file that follow it."""

    name: str
    text: str
    change: Mapping[str, Any]


def advise(space: SearchSpace, best: Mapping[str, Any], importances: Mapping[str, float] | None = None) -> list[Advice]:
    """Return everything a study's end suggests: dead hyperparameters to freeze, borders to move.

    A hyperparameter that never mattered is frozen even where its best value lies at a border.
    """
    frozen = freeze_dead(space, best, importances or {})
    names = {advice.name for advice in frozen}
    return [advice for advice in widen_borders(space, best) if advice.name not in names] + frozen


def widen_borders(space: SearchSpace, best: Mapping[str, Any]) -> list[Advice]:
    """Return a wider range for each number whose best value lies within 5 % of an end of its range.

    Ends that the hyperparameter itself cannot pass (a dropout of 0) are no borders.
    """
    found = []
    for name, value in space.varied(best).items():
        parameter = space.searched[name]
        if parameter.range is None or parameter.low == parameter.high:
            continue
        low, high = _wider(parameter, value)
        if (low, high) == parameter.range:
            continue
        end = "lower" if low < parameter.range[0] else "upper"
        text = f"{name}: the best value, {show(value)}, lies at the {end} end of {parameter.describe()}; "
        text += f"search {show_range((low, high))}."
        change: dict[str, Any] = {"parameters": {name: {"range": [low, high]}}}
        if space.recipe is not None and name in space.recipe.parameters:
            bound = space.recipe.parameters[name]
            if bound.problem(low) or bound.problem(high):
                text += f" Recipe {space.recipe.name} ends before that: this leaves it (`recipe: null`)."
                change = {"recipe": None, **change}
        found.append(Advice(name, text, change))
    return found


def freeze_dead(space: SearchSpace, best: Mapping[str, Any], importances: Mapping[str, float]) -> list[Advice]:
    """Return the hyperparameters to fix at their best value: those that explain less than 1 % of what trials differ in.

    Where none explains more, the study has told nothing, and nothing is advised.
    """
    told = {name: share for name, share in importances.items() if name in space.searched and math.isfinite(share)}
    if not any(share >= DEAD for share in told.values()):
        return []
    completed = space.complete(best)
    found = []
    for name, share in told.items():
        if share < DEAD:
            value = completed[name]
            text = f"{name}: explains {share:.1%} of the differences between trials; fix it at {show(value)}."
            found.append(Advice(name, text, {"fix": {name: value}}))
    return found


def next_space(space: SearchSpace, advice: list[Advice]) -> str:
    """Return the text of a space file that extends this one and follows the advice."""
    sections: dict[str, Any] = {}
    if space.path is not None:
        shipped = space.path.parent == spaces_folder()
        sections["extends"] = space.path.stem if shipped else str(space.path.resolve())
    for one in advice:
        for section, entries in one.change.items():
            if isinstance(entries, Mapping):
                sections.setdefault(section, {}).update(entries)
            else:
                sections[section] = entries
    order = ["extends", "recipe", "parameters", "fix"]
    ordered = {key: sections[key] for key in order if key in sections}
    return str(yaml.safe_dump(ordered, sort_keys=False, default_flow_style=None))


def _wider(parameter: Parameter, value: Value) -> tuple[float, float]:
    assert parameter.range is not None
    assert isinstance(value, int | float)
    low, high = parameter.range
    place = _place(parameter, value)
    if place <= BORDER:
        low = _moved(parameter, low, -1)
    elif place >= 1 - BORDER:
        high = _moved(parameter, parameter.high, +1)
    return low, high


def _place(parameter: Parameter, value: float) -> float:
    """Return where a value lies in its range, 0 = lowest, 1 = highest, on the range's own scale."""
    low, high = parameter.low, parameter.high
    if parameter.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _moved(parameter: Parameter, end: float, direction: int) -> float:
    """Return one end moved outwards, or the end itself where the hyperparameter goes no further."""
    if parameter.log:
        moved = end * _FACTOR**direction
    else:
        width = (parameter.high - parameter.low) / 2
        grid = parameter.step or (1 if parameter.type == "integer" else 0)
        moved = end + direction * (max(1, round(width / grid)) * grid if grid else width)
    moved = _within_field(parameter.name, end, moved)
    if parameter.type == "integer":
        moved = math.floor(moved) if direction > 0 else math.ceil(moved)
    elif parameter.step is None:
        moved = float(f"{moved:.3g}")
    else:
        moved = round(moved, 10)
    is_further = moved > end if direction > 0 else moved < end
    is_on_scale = moved >= 1 if parameter.log and parameter.type == "integer" else moved > 0 or not parameter.log
    return moved if is_further and is_on_scale and field_problem(parameter.name, moved) is None else end


def _within_field(name: str, end: float, moved: float) -> float:
    """Return a moved end no further than the hyperparameter admits: at its limit, or halfway where that is excluded."""
    for limit in Hyperparameters.model_fields[name].metadata:
        if isinstance(limit, annotated_types.Ge):
            moved = max(moved, float(limit.ge))  # type: ignore[arg-type]
        elif isinstance(limit, annotated_types.Le):
            moved = min(moved, float(limit.le))  # type: ignore[arg-type]
        elif isinstance(limit, annotated_types.Gt) and moved <= float(limit.gt):  # type: ignore[arg-type]
            moved = (end + float(limit.gt)) / 2  # type: ignore[arg-type]
        elif isinstance(limit, annotated_types.Lt) and moved >= float(limit.lt):  # type: ignore[arg-type]
            moved = (end + float(limit.lt)) / 2  # type: ignore[arg-type]
    return moved
