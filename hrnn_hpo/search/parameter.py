"""One hyperparameter of a search space: its type, range or choices, scale, default and condition.

A Parameter knows which values it admits and how Optuna sees it; reading it from YAML is entries.py's work.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args

from hrnn_hpo.search.values import Value, number_hint, same, show, show_range, type_problem
from hrnn_hpo.settings import nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Kind = Literal["algorithm", "featurization", "training"]
Type = Literal["integer", "continuous", "categorical"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TYPES: tuple[Type, ...] = get_args(Type)

DEFAULT_WIDTH = 0.2  # of a prior: its standard deviation as a share of the range, on the parameter's scale
# Optuna's own tolerance for "this value is a step of the range".
_STEP_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Prior:
    """Where good values lie: numbers have a `center` and a `width`, choices have `weights`, one each in their order."""

    center: float | None = None
    width: float = DEFAULT_WIDTH
    weights: tuple[float, ...] = ()

    def content(self) -> dict[str, Any]:
        """Return the prior as plain values in the YAML format."""
        return {"weights": list(self.weights)} if self.weights else {"center": self.center, "width": self.width}

    def describe(self, choices: Sequence[Value]) -> str:
        """Return the prior in words: `around 0.002, width 0.15` or `control 3 : hierarchical 1`."""
        if self.weights:
            return " : ".join(f"{show(one)} {weight:g}" for one, weight in zip(choices, self.weights, strict=True))
        return f"around {show(self.center)}, width {self.width:g}"


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter and the values that a study may give it.

    Numbers have a `range` (both ends count) and perhaps a `log` scale or a `step`; everything else has `choices`.
    `when` maps other parameters to the choices under which this one matters; elsewhere it stays at its default.
    """

    name: str
    kind: Kind
    type: Type
    default: Value
    range: tuple[float, float] | None = None
    choices: tuple[Value, ...] = ()
    log: bool = False
    step: float | None = None
    tunable: bool = True
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    doc: str = ""
    prior: Prior | None = None  # where good values lie

    @property
    def low(self) -> float:
        """The smallest value."""
        assert self.range is not None
        return self.range[0]

    @property
    def high(self) -> float:
        """The largest value that the steps reach; without a step the end of the range."""
        assert self.range is not None
        if self.step is None:
            return self.range[1]
        low, high, step = (Decimal(str(number)) for number in (*self.range, self.step))
        return self._number(low + (high - low) // step * step)

    @property
    def largest(self) -> float:
        """The largest number that it may be, of a range or of choices."""
        numbers = [choice for choice in self.choices if not isinstance(choice, str)]
        return max(numbers) if self.type == "categorical" else self.high

    def problem(self, value: Any) -> str | None:
        """Return the rule that a value breaks and what came, or None for a value of this parameter."""
        if self.type == "categorical":
            if any(same(value, choice) for choice in self.choices):
                return None
            texts = [choice for choice in self.choices if isinstance(choice, str)]
            hint = nearest(value, texts) if isinstance(value, str) else ""
            return f"must be one of {self.describe()}, but got {show(value)}{number_hint(value) or hint or '.'}"
        wrong_type = type_problem(int if self.type == "integer" else float, value)
        if wrong_type:
            return wrong_type
        assert self.range is not None
        if not self.range[0] <= value <= self.range[1]:
            return f"must lie in {show_range(self.range)}, but got {show(value)}."
        if self.step is not None:
            steps = (value - self.low) / self.step
            if value > self.high or abs(steps - round(steps)) >= _STEP_TOLERANCE:
                return f"must be one of the steps {self.describe()}, but got {show(value)}."
        return None

    def normalise(self, value: Any) -> Value:
        """Return an admitted value as its field's type, without a stepped float's trailing 0.00000000000000004."""
        if self.type == "categorical":
            return next(choice for choice in self.choices if same(value, choice))
        if self.step is None:
            return self._number(value)
        step = Decimal(str(self.step))
        return self._number(Decimal(str(self.low)) + round((value - self.low) / self.step) * step)

    def closest(self, value: Value) -> Value:
        """Return the admitted value closest to another one: the nearest end, step or, of choices, the first."""
        if self.problem(value) is None:
            return self.normalise(value)
        if self.type == "categorical" or isinstance(value, str):
            return self.choices[0] if self.choices else self._number(self.low)
        return self.normalise(min(max(value, self.low), self.high))

    def n_values(self) -> int | None:
        """Return how many values there are; None where they are a continuum."""
        if self.type == "categorical":
            return len(self.choices)
        if self.type == "continuous" and self.step is None:
            return 1 if self.low == self.high else None
        return round((self.high - self.low) / (self.step or 1)) + 1

    def nth(self, index: int) -> Value:
        """Return a value by its place, 0 the first, of a parameter that has finitely many."""
        if self.type == "categorical":
            return self._ordered_choices()[index]
        return self.normalise(self.low + index * (self.step or 1))

    def distance(self, one: Value, other: Value) -> float:
        """Return how far apart two admitted values lie, 1 the whole range; choices are 0 or 1 apart."""
        if isinstance(one, bool | str) or isinstance(other, bool | str) or self.type == "categorical":
            return float(not same(one, other))
        low, high = self.low, self.high
        if self.log:
            one, other, low, high = (math.log(number) for number in (one, other, low, high))
        return abs(one - other) / (high - low) if high > low else 0.0

    def describe(self) -> str:
        """Return the values in words: `[32, 256], log`, `[0, 1], step 0.25` or `true, false`."""
        if self.type == "categorical":
            return ", ".join(show(choice) for choice in self.choices)
        assert self.range is not None
        scale = ", log" if self.log else "" if self.step is None else f", step {show(self.step)}"
        return show_range(self.range) + scale

    def content(self) -> dict[str, Any]:
        """Return the parameter as plain values in the YAML format."""
        entry: dict[str, Any] = {"kind": self.kind, "type": self.type}
        if self.type == "categorical":
            entry["choices"] = list(self.choices)
        else:
            assert self.range is not None
            entry["range"] = list(self.range)
        if self.log:
            entry["log"] = True
        if self.step is not None:
            entry["step"] = self.step
        entry |= {"default": self.default, "tunable": self.tunable}
        if self.when:
            entry["when"] = {name: list(values) for name, values in self.when.items()}
        if self.prior is not None:
            entry["prior"] = self.prior.content()
        return entry | ({"doc": self.doc} if self.doc else {})

    def distribution(self) -> "BaseDistribution":
        """Return the parameter as Optuna stores it; choices in one order whatever the file's."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.type == "categorical":
            return CategoricalDistribution(self._ordered_choices())
        if self.type == "integer":
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: "BaseTrial") -> Value:
        """Return the value that an Optuna trial proposes."""
        proposed: Any
        if self.type == "categorical":
            proposed = trial.suggest_categorical(self.name, self._ordered_choices())
        elif self.type == "integer":
            proposed = trial.suggest_int(
                self.name, int(self.low), int(self.high), log=self.log, step=int(self.step or 1)
            )
        else:
            proposed = trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step)
        return self.normalise(proposed)

    def _ordered_choices(self) -> list[Value]:
        return sorted(self.choices, key=lambda choice: (type(choice).__name__, choice))

    def _number(self, value: Any) -> int | float:
        return int(value) if self.type == "integer" else float(value)


def narrowing_problem(narrow: Parameter, wide: Parameter) -> str | None:
    """Return how one parameter's values leave another's, or None where each is also a value of the other."""
    if narrow.type == "categorical":
        extra = [choice for choice in narrow.choices if wide.problem(choice) is not None]
        return f"{wide.describe()}, but got {', '.join(show(choice) for choice in extra)} too" if extra else None
    assert narrow.range is not None
    if wide.type == "categorical":
        return f"{wide.describe()}, but got the range {narrow.describe()}"
    assert wide.range is not None
    if narrow.range[0] < wide.range[0] or narrow.range[1] > wide.range[1]:
        return f"{show_range(wide.range)}, but got {show_range(narrow.range)}"
    if wide.step is not None and narrow.range[0] != narrow.range[1]:
        low, step, wide_low, wide_step = (
            Decimal(str(number)) for number in (narrow.low, narrow.step or 0, wide.low, wide.step)
        )
        if not step or step % wide_step or (low - wide_low) % wide_step:
            return f"{wide.describe()}, but got {narrow.describe()}"
    elif wide.step is not None and wide.problem(narrow.low) is not None:
        return f"{wide.describe()}, but got {narrow.describe()}"
    return None
