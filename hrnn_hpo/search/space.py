"""A search space: which hyperparameters a study may vary, and how; read from YAML, handed to Optuna.

The format's rules stand in reader.py, what is allowed and may not be meant in hints.py, what a changed space means for
a study's old trials in continuation.py.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrnn_hpo.config import AUTO, LEFT_TO_DATA, Hyperparameters, parse_hyperparameters
from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.files import find_space, list_spaces, parse_space, read_space, spaces_folder
from hrnn_hpo.search.parameter import Parameter
from hrnn_hpo.search.reader import ParsedSpace
from hrnn_hpo.search.values import Value, constant_problem, same, show
from hrnn_hpo.settings import nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

__all__ = [
    "SearchSpace",
    "Value",
    "check_assignment",
    "distributions",
    "list_spaces",
    "load_space",
    "space_from_content",
    "spaces_folder",
    "suggest",
]


class SearchSpace(ParsedSpace):
    """The hyperparameters of a study: some searched, the others constant (fixed, or at an untunable default)."""

    @cached_property
    def searched(self) -> dict[str, Parameter]:
        """The parameters that a study varies: conditions first, then in the order of Hyperparameters."""
        return {name: self.parameters[name] for name in self._order() if self._can_vary(name)}

    @cached_property
    def constants(self) -> dict[str, Value]:
        """The values of everything that the space names and does not vary."""
        kept = {name: self.parameters[name].default for name in self._order() if name not in self.searched}
        return {**kept, **self.fixed}

    @property
    def max_epochs(self) -> int:
        """The most epochs that a trial of the space may take."""
        return self.most("epochs")

    def most(self, name: str) -> int:
        """Return the largest value that a whole-number hyperparameter may take."""
        if name in self.searched:
            return int(self.searched[name].largest)
        return int(self.constants.get(name, Hyperparameters.model_fields[name].default))

    def defaults(self) -> dict[str, Value]:
        """Return the values of trial 0: every parameter's default, or what it is fixed at."""
        return {**{name: self.parameters[name].default for name in self._order()}, **self.fixed}

    def is_active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Return whether a parameter matters beside these values, that is, whether its condition holds."""
        return all(
            self.is_active(other, values) and any(same(values[other], choice) for choice in choices)
            for other, choices in self.parameters[name].when.items()
        )

    def complete(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Return all of the space's values from some, such as an Optuna trial's parameters.

        What is missing takes its default, and so does what is inactive beside the rest; stepped floats are rounded.
        """
        completed = {**self.defaults(), **values}
        for name in self.searched:
            parameter = self.parameters[name]
            value = completed[name] if self.is_active(name, completed) else parameter.default
            completed[name] = parameter.normalise(value) if parameter.problem(value) is None else value
        return completed

    def varied(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Return the searched and active part of a configuration: what an Optuna trial records of it.

        Equal parts are equal configurations, so this is what to enqueue and what to compare.
        """
        completed = self.complete(values)
        return {name: completed[name] for name in self.searched if self.is_active(name, completed)}

    def suggest(self, trial: "BaseTrial") -> dict[str, Value]:
        """Return the configuration that a trial proposes: every parameter's value, conditions honoured."""
        values = self.defaults()
        for name, parameter in self.searched.items():
            if self.is_active(name, values):
                values[name] = parameter.suggest(trial)
        return values

    def resolve(self, values: Mapping[str, Any]) -> Hyperparameters:
        """Return hyperparameters: the given values over the space's, those over the defaults of Hyperparameters."""
        return parse_hyperparameters(self.complete(values), f"space {self.name}")

    def problems(self, values: Mapping[str, Any]) -> list[str]:
        """Return why a configuration is none of this space's, a line each; empty for one that is.

        Inactive values do not count; a name that the space lacks must stay at the hyperparameter's default.
        """
        found = [
            f"{name}: is not a hyperparameter{nearest(name, Hyperparameters.model_fields) or '.'}"
            for name in values
            if name not in Hyperparameters.model_fields
        ]
        completed = self.complete(values)
        for name, value in values.items():
            if name in self.searched:
                wrong = self.searched[name].problem(value) if self.is_active(name, completed) else None
            elif name in Hyperparameters.model_fields:
                wrong = constant_problem(name, value) or self._constant_problem(name, value)
            else:
                continue
            if wrong:
                found.append(f"{name}: {wrong}")
        return found

    def priors(self) -> dict[str, str]:
        """Return what the space says about where good values lie, in words, by searched hyperparameter."""
        found = {name: (parameter, parameter.prior) for name, parameter in self.searched.items()}
        return {name: prior.describe(one.choices) for name, (one, prior) in found.items() if prior is not None}

    def draw(self, one: Callable[[Parameter], Value]) -> dict[str, Value]:
        """Return the varied part of a configuration, drawn value by value, conditions honoured."""
        values = self.defaults()
        for name, parameter in self.searched.items():
            if self.is_active(name, values):
                values[name] = one(parameter)
        return self.varied(values)

    def cardinality(self) -> int | None:
        """Return how many distinct configurations there are; None where a searched number is a continuum."""
        askable = {other for parameter in self.searched.values() for other in parameter.when}
        conditions = [name for name in self.searched if name in askable]
        total = 0
        for combination in itertools.product(*(self.searched[name].choices for name in conditions)):
            values = {**self.defaults(), **dict(zip(conditions, combination, strict=True))}
            if any(not same(values[name], value) for name, value in self.complete(values).items()):
                continue  # an inactive condition away from its default: counted where it stands at its default
            counts = [
                parameter.n_values()
                for name, parameter in self.searched.items()
                if name not in conditions and self.is_active(name, values)
            ]
            if None in counts:
                return None
            total += math.prod(count for count in counts if count is not None)
        return total

    def configurations(self) -> Iterator[dict[str, Value]]:
        """Yield the varied part of each configuration of a finite space, once, in a fixed order."""

        def walk(names: list[str], values: dict[str, Value]) -> Iterator[dict[str, Value]]:
            if not names:
                yield {name: values[name] for name in self.searched if self.is_active(name, values)}
                return
            name, *rest = names
            parameter = self.searched[name]
            n_values = parameter.n_values()
            assert n_values is not None, f"{name} is a continuum"
            options = [parameter.nth(i) for i in range(n_values)] if self.is_active(name, values) else [values[name]]
            for value in options:
                yield from walk(rest, {**values, name: value})

        return walk(list(self.searched), self.defaults())

    def distance(self, one: Mapping[str, Value], other: Mapping[str, Value]) -> float:
        """Return how far apart two varied parts lie: the sum over parameters, 1 where only one of them has it."""
        both = [name for name in one if name in other]
        apart = sum(self.searched[name].distance(one[name], other[name]) for name in both)
        return apart + len(one) + len(other) - 2 * len(both)

    def content(self) -> dict[str, Any]:
        """Return the space as plain values in the YAML format, without `extends`: a study's record of it."""
        parameters = {name: self.parameters[name].content() for name in self._order()}
        return {"name": self.name, "parameters": parameters, "fix": dict(self.fixed)}

    def fingerprint(self) -> str:
        """Return a SHA-256 of what the space makes a study do: names, comments and the order of a file do not count."""
        searched = {}
        for name, parameter in self.searched.items():
            entry = parameter.content()
            del entry["kind"], entry["tunable"]
            entry.pop("doc", None)
            entry.pop("prior", None)  # it moves proposals, and takes no configuration away
            for key in ("choices", "when"):
                if key in entry:
                    entry[key] = _ordered(entry[key])
            searched[name] = entry
        told = {name: value for name, value in self.constants.items() if not same(value, _field_default(name))}
        canonical = json.dumps({"searched": searched, "constants": told}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def narrow(self, tune: Mapping[str, Any], fix: Mapping[str, Any], source: str) -> "SearchSpace":
        """Return the space after the sections `tune` and `fix` of a study's own file.

        Raises SpaceError with every problem, `source` standing for the file.
        """
        return _space(parse_space({"tune": dict(tune), "fix": dict(fix)}, source, parent=self))

    def _can_vary(self, name: str) -> bool:
        parameter = self.parameters[name]
        return parameter.tunable and name not in self.fixed and self._can_be_active(name)

    def _can_be_active(self, name: str) -> bool:
        for other, choices in self.parameters[name].when.items():
            if self._can_vary(other):
                possible = self.parameters[other].choices
            else:
                possible = (self.fixed.get(other, self.parameters[other].default),)
            if not self._can_be_active(other) or not any(
                same(value, choice) for value in possible for choice in choices
            ):
                return False
        return True

    def _order(self) -> list[str]:
        """Return the parameters' names, conditions first, so that a file's order changes no study."""
        ordered: list[str] = []
        waiting = [name for name in Hyperparameters.model_fields if name in self.parameters]
        while waiting:
            name = next(name for name in waiting if all(other in ordered for other in self.parameters[name].when))
            ordered.append(name)
            waiting.remove(name)
        return ordered

    def _constant_problem(self, name: str, value: Any) -> str | None:
        constant = self.constants.get(name, _field_default(name))
        left_to_data = name in LEFT_TO_DATA and constant == AUTO  # a trained one says what it became
        if same(value, constant) or left_to_data:
            return None
        reason = "is fixed at" if name in self.fixed else "is not tuned here and stays at"
        return f"{reason} {show(constant)}, but got {show(value)}."


def load_space(name_or_path: str | Path) -> SearchSpace:
    """Return the space of a shipped name or of a YAML file.

    Raises SpaceError with every problem of the file and of those it extends, or with the nearest shipped name.
    """
    return _space(read_space(find_space(name_or_path)))


def space_from_content(content: Mapping[str, Any], source: str) -> SearchSpace:
    """Return the space that SearchSpace.content() describes; `source` says where it was kept, for messages."""
    return _space(parse_space(content, source))


def suggest(space: SearchSpace, trial: "BaseTrial") -> dict[str, Value]:
    """Return the configuration that a trial proposes: every parameter's value, conditions honoured."""
    return space.suggest(trial)


def distributions(space: SearchSpace) -> dict[str, "BaseDistribution"]:
    """Return the searched parameters as Optuna stores them."""
    return {name: parameter.distribution() for name, parameter in space.searched.items()}


def check_assignment(space: SearchSpace, values: Mapping[str, Any], source: str = "configuration") -> None:
    """Check that a configuration, perhaps of some values only, is one of the space's.

    Raises SpaceError with every problem; Optuna itself would take an enqueued value outside its range.
    """
    found = space.problems(values)
    if found:
        raise SpaceError("\n".join(f"{source}: {problem}" for problem in found))


def _space(parsed: ParsedSpace) -> SearchSpace:
    return SearchSpace(**vars(parsed))


def _field_default(name: str) -> Value:
    default: Value = Hyperparameters.model_fields[name].default
    return default


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(entry) for name, entry in value.items()}
    return sorted(value, key=lambda choice: (type(choice).__name__, choice))
