"""The rules of a space file: its sections, its parent, its recipe, and what must hold between them.

Every problem is added to the document's list, so that a file's author sees all of them at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hrnn_hpo.config import AUTO, Hyperparameters
from hrnn_hpo.search.document import Document, Key
from hrnn_hpo.search.entries import Entry
from hrnn_hpo.search.parameter import Parameter, narrowing_problem
from hrnn_hpo.search.recipes import NEVER_TUNED, RECIPE_KEYS, Recipe
from hrnn_hpo.search.values import (
    Value,
    constant_problem,
    field_problem,
    field_type,
    show,
)
from hrnn_hpo.settings import nearest

TOP_KEYS = ["name", "recipe", "extends", "parameters", "tune", "fix"]
FIELDS = Hyperparameters.model_fields


@dataclass(frozen=True)
class ParsedSpace:
    """What a space file says, once the files it extends are read in.

    `parameters` are narrowed by `tune`; `fixed` are single values, of parameters or of any other hyperparameter.
    `notes` are what the author may want to know.
    """

    name: str
    path: Path | None = None
    summary: str = ""
    recipe: Recipe | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    fixed: Mapping[str, Value] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class SpaceReader:
    """Checks one document on top of its parent; `parent_is_broken` silences what would only follow from that."""

    def __init__(self, document: Document, parent: ParsedSpace | None, parent_is_broken: bool = False) -> None:
        self.document = document
        self.parent = parent
        self.parent_is_broken = parent_is_broken
        self.parameters = dict(parent.parameters) if parent else {}
        self.fixed = dict(parent.fixed) if parent else {}
        self.notes = list(parent.notes) if parent else []
        self.recipe = parent.recipe if parent else None
        self.broken: set[str] = set()  # named, but not understood: no second complaint where they are used

    def read(self, empty: ParsedSpace) -> ParsedSpace:
        """Return the space, `empty` giving its path and the name it has unless it says one."""
        content = self.document.content
        for key in content:
            if key not in TOP_KEYS:
                hint = f"; hyperparameters stand under `parameters`, `tune` or `fix`, and {key} is one."
                self.problem(
                    (key,),
                    f"is no key of a search space{hint if key in FIELDS else nearest(key, TOP_KEYS) or '.'}",
                )
        name = content.get("name", empty.name)
        if not isinstance(name, str) or not name:
            self.problem(("name",), f"text must stand here, but got {show(name)}.")
            name = empty.name
        own_recipe = self._read_recipe()
        self._read_parameters()
        self._check_conditions()
        declared = dict(self.parameters)
        tuned = self._read_tune()
        self._read_fix(declared, tuned)
        if not self.document.problems:
            self._check_together()
        return replace(
            empty,
            name=name,
            recipe=replace(own_recipe, parameters=declared) if own_recipe else self.recipe,
            parameters=self.parameters,
            fixed=self.fixed,
            notes=tuple(self.notes),
        )

    def problem(self, key: Key, text: str) -> None:
        """Add a problem of one key."""
        self.document.problem(key, text)

    def _section(self, key: str) -> dict[str, Any]:
        section = self.document.content.get(key)
        if section is None:  # absent, or its entries are all commented out
            return {}
        if not isinstance(section, dict):
            self.problem((key,), f"a mapping from names must stand here, but got {show(section)}.")
            return {}
        return section

    def _read_recipe(self) -> Recipe | None:
        """Return the recipe that this file itself declares; `recipe: null` leaves the parent's."""
        if "recipe" not in self.document.content:
            return None
        said = self.document.content["recipe"]
        if said is None:
            self.recipe = None
        elif not isinstance(said, dict):
            self.problem(
                ("recipe",),
                "a recipe's name and ARNs, or null to leave the parent's recipe, must stand here, "
                f"but got {show(said)}; `extends` is what binds a space to a recipe.",
            )
        elif self.recipe is not None:
            text = f"the space is bound by recipe {self.recipe.name} already; only null may stand here."
            self.problem(("recipe",), text)
        else:
            return self._recipe_from(said)
        return None

    def _recipe_from(self, said: dict[str, Any]) -> Recipe | None:
        for key, value in said.items():
            if key not in RECIPE_KEYS:
                self.problem(("recipe", key), f"is no key of a recipe{nearest(key, list(RECIPE_KEYS)) or '.'}")
            elif not isinstance(value, str):
                self.problem(("recipe", key), f"text must stand here, but got {show(value)}.")
        missing = [key for key in RECIPE_KEYS if key not in said]
        if missing:
            self.problem(("recipe",), f"lacks {', '.join(missing)}.")
            return None
        name, type_, *arns = (str(said[key]) for key in RECIPE_KEYS)
        return Recipe(name, type_, arns[0], arns[1], arns[2])

    def _read_parameters(self) -> None:
        for name, spec in self._section("parameters").items():
            key = ("parameters", name)
            if name not in FIELDS:
                self.problem(key, f"is not a hyperparameter{nearest(name, FIELDS) or '.'}")
                self.broken.add(name)
                continue
            parameter = Entry(self.document, key, spec, self.parameters.get(name)).read()
            self.fixed.pop(name, None)  # defined again: open again
            if parameter is None:
                self.broken.add(name)
                self.parameters.pop(name, None)
                continue
            self.parameters[name] = parameter
            self._check_recipe(parameter, key)

    def _check_recipe(self, parameter: Parameter, key: Key) -> None:
        recipe = self.recipe
        if recipe is None or parameter.name not in recipe.parameters:
            return
        bound = recipe.parameters[parameter.name]
        outside = narrowing_problem(parameter, bound)
        if outside:
            text = f"must lie within recipe {recipe.name}'s {outside} (`recipe: null` leaves the recipe's bounds)."
            self.problem((*key, "range" if parameter.range else "choices"), text)
        if parameter.tunable and not bound.tunable:
            self.problem((*key, "tunable"), f"recipe {recipe.name} does not tune {parameter.name}.")

    def _check_conditions(self) -> None:
        for name, parameter in self.parameters.items():
            for other, values in parameter.when.items():
                self._check_condition(name, other, values)
        circle = _condition_circle(self.parameters)
        if circle:
            self.problem(("parameters", circle[0], "when"), f"goes in a circle: {' -> '.join(circle)}.")

    def _check_condition(self, name: str, other: str, values: tuple[Value, ...]) -> None:
        key = ("parameters", name, "when", other)
        if other not in self.parameters:
            if other not in self.broken and not self.parent_is_broken:
                self.problem(key, f"is not a parameter of this space{nearest(other, self.parameters) or '.'}")
            return
        asked = self.parameters[other]
        if asked.type != "categorical":
            self.problem(key, f"a condition must ask a categorical parameter, but {other} is {asked.type}.")
            return
        for value in values:
            wrong = asked.problem(value)
            # Where a parent has narrowed the choices since, an inherited condition just never holds.
            if wrong and (name in self._section("parameters") or field_problem(other, value)):
                self.problem(key, wrong)

    def _read_tune(self) -> set[str]:
        tuned = set()
        for name, spec in self._section("tune").items():
            key = ("tune", name)
            tuned.add(name)
            refusal = self._tune_refusal(name)
            if refusal is not None:
                self.problem(key, refusal)
                continue
            if name not in self.parameters:
                continue
            base = self.parameters[name]
            entry = Entry(self.document, key, spec, base)
            narrow = entry.read()
            if narrow is None:
                continue
            outside = narrowing_problem(narrow, base)
            if outside:
                changed = next((entry for entry in ("range", "choices", "step") if entry in spec), "range")
                self.problem((*key, changed), f"must lie within {self._parent_name()}'s {outside}.")
                continue
            self.parameters[name] = narrow
            self.notes += entry.notes
        return tuned

    def _tune_refusal(self, name: str) -> str | None:
        if name in NEVER_TUNED:
            return f"is never tuned: who is left out of training is chosen; `fix: {{{name}: …}}` sets it."
        if name not in FIELDS:
            return f"is not a hyperparameter{nearest(name, FIELDS) or '.'}"
        if name not in self.parameters:
            if name in self.broken or self.parent_is_broken:
                return None
            return "is not a parameter of this space: describe it under `parameters` first."
        if not self.parameters[name].tunable:
            return f"is not tunable in {self._parent_name()}; `fix: {{{name}: …}}` sets it."
        if name in self.fixed:
            return f"is fixed at {show(self.fixed[name])} by {self._parent_name()}, so there is nothing to narrow."
        return None

    def _read_fix(self, declared: dict[str, Parameter], tuned: set[str]) -> None:
        for name, value in self._section("fix").items():
            key = ("fix", name)
            if name not in FIELDS:
                self.problem(key, f"is not a hyperparameter{nearest(name, FIELDS) or '.'}")
                continue
            if name in tuned:
                self.problem(key, "stands under `tune` too; a value is either fixed or tuned.")
                continue
            parameter = declared.get(name) if value != AUTO else None  # the data's number is of no range
            wrong = constant_problem(name, value)
            if wrong is None and parameter is not None:
                wrong = parameter.problem(value)
            if wrong:
                self.problem(key, wrong)
                continue
            fixed = parameter.normalise(value) if parameter else value
            self.fixed[name] = float(fixed) if field_type(name) is float and fixed != AUTO else fixed

    def _parent_name(self) -> str:
        return self.parent.name if self.parent else "this space"

    def _check_together(self) -> None:
        """Check the one rule between values: the constants of the space must make valid hyperparameters."""
        constants = {name: parameter.default for name, parameter in self.parameters.items()} | self.fixed
        try:
            Hyperparameters.model_validate(constants)
        except ValidationError as error:
            for problem in error.errors():
                self.problem((), problem["msg"].removeprefix("Value error, "))


def _condition_circle(parameters: Mapping[str, Parameter]) -> list[str]:
    """Return the names along a circle of conditions, the first one again at the end; empty without one."""
    for start in parameters:
        paths = [[start]]
        while paths:
            path = paths.pop()
            for other in parameters[path[-1]].when:
                if other == start:
                    return [*path, start]
                if other in parameters and other not in path:
                    paths.append([*path, other])
    return []
