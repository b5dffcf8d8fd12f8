"""One value of a hyperparameter: its type, what is wrong with it, and how YAML spells it.

Which values a study may take stands in parameter.
"""

import math
import sys
from functools import cache
from typing import Any, get_args

from pydantic import ValidationError

from hrnn_hpo.config import AUTO, Hyperparameters
from hrnn_hpo.settings import nearest

Value = bool | int | float | str

_YAML_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")  # text only in quotes


@cache
def field_type(name: str) -> type:
    """Return bool, int, float or str: what a hyperparameter's value is, `auto` aside."""
    annotation = Hyperparameters.model_fields[name].annotation
    if _may_be_auto(name):
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) else str  # the others are Literals of text


def _may_be_auto(name: str) -> bool:
    """Return whether a number may be left to the data."""
    return AUTO in (
        value for side in get_args(Hyperparameters.model_fields[name].annotation) for value in get_args(side)
    )


def type_problem(wanted: type, value: Any) -> str | None:
    """Return what is wrong with a value's type; whole numbers may stand for floats, booleans for nothing else."""
    accepted = (int, float) if wanted is float else wanted
    if isinstance(value, bool) is (wanted is bool) and isinstance(value, accepted):
        if isinstance(value, float) and not math.isfinite(value):
            return f"a finite number must stand here, but got {value}."
        # Whole numbers have no end, floats do.
        if wanted is float and isinstance(value, int) and abs(value) > sys.float_info.max:
            return f"a number up to {sys.float_info.max:.3g} must stand here, but got a larger one."
        return None
    noun = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[wanted]
    return f"{noun} must stand here, but got {show(value)}{number_hint(value) or '.'}"


def field_problem(name: str, value: Any) -> str | None:
    """Return the rule of the hyperparameter itself that a value breaks, or None."""
    wrong_type = type_problem(field_type(name), value)
    if wrong_type:
        return wrong_type
    try:
        Hyperparameters.model_validate({name: value})
    except ValidationError as error:
        for problem in error.errors():
            if problem["loc"] == (name,):
                literals = list(get_args(Hyperparameters.model_fields[name].annotation))
                hint = nearest(value, literals) if isinstance(value, str) else ""
                message = problem["msg"].removeprefix("Value error, ")
                return f"{message} ({name} itself), but got {show(value)}{hint or '.'}"
    return None


def constant_problem(name: str, value: Any) -> str | None:
    """Return `field_problem` of a value that all trials share: `auto` is one where the data may decide."""
    return None if value == AUTO and _may_be_auto(name) else field_problem(name, value)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and both or neither booleans (in Python, True == 1)."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def number_hint(value: Any) -> str:
    """Return how to write a number that YAML reads as text (1e-4, or one in quotes), or nothing."""
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    whole = number.is_integer() and abs(number) < 1e15
    return f", which YAML reads as text: write {show(int(number) if whole else number)}."


def show(value: Any) -> str:
    """Return a value as YAML spells it: true, 0.5, 1.0e-05; text and anything odd in quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float):
        mantissa, exponent, power = repr(value).partition("e")
        return repr(value) if "." in mantissa or not exponent else f"{mantissa}.0e{power}"
    if isinstance(value, str):
        return value if value.isidentifier() and value.lower() not in _YAML_WORDS else repr(value)
    return repr(value)


def show_range(ends: tuple[float, float]) -> str:
    """Return `[low, high]`."""
    return f"[{show(ends[0])}, {show(ends[1])}]"
