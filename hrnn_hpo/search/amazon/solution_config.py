"""Amazon's `solutionConfig` read: what one written for Personalize's own HPO asks of a study.

It takes the configuration itself, a CreateSolution request, or DescribeSolution's answer, and refuses, with reasons,
whatever the service would have refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.search.amazon.solution_file import SolutionFile
from hrnn_hpo.search.parameter import Parameter, narrowing_problem
from hrnn_hpo.search.recipes import MAX_PARALLEL_JOBS, MAX_TRAINING_JOBS, METRICS, RANGE_LISTS, Recipe
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.search.values import Value, field_type, show, show_range
from hrnn_hpo.settings import nearest

_MAX_ENTRIES = 100
_MAX_INTEGER = 1_000_000
_MOST_DIGITS = 20  # of a count of jobs, which has two: Python reads no endless ones
# DescribeSolution of older solutions calls them training.bptt and data.recency_mask.
_PREFIXES = ("training.", "data.")


@dataclass(frozen=True)
class Limits:
    """`hpoResourceConfig`: the most trials, and how many at once; None where the file does not say."""

    n_trials: int | None = None
    n_workers: int | None = None


@dataclass(frozen=True)
class SolutionConfig:
    """What a solutionConfig asks of a study: a narrowed space, limits, an objective, and notes on what has no effect.

    `fixed` are the hyperparameters that the file itself sets; the space holds them already.
    """

    space: SearchSpace
    limits: Limits
    fixed: Mapping[str, Value]
    objective: str | None
    notes: tuple[str, ...]


def read_solution_config(path: Path, space: SearchSpace) -> SolutionConfig:
    """Return what a JSON file asks for: a solutionConfig, or a request or description that contains one.

    The recipe's tunable hyperparameters that the file gives no range are fixed, at the file's value or the space's
    default, unless it names no range at all: then all of them are tuned as the space says, like in the service. Those
    that Amazon does not know are left to the space. Raises SpaceError with every problem of the file.
    """
    return _Reader(path, space).read()


class _Reader:
    """Checks one file against the recipe, then narrows the space by it."""

    def __init__(self, path: Path, space: SearchSpace) -> None:
        self.file = SolutionFile(path)
        self.space = space
        self.recipe = amazon_recipe()

    def read(self) -> SolutionConfig:
        config = self.file.configuration(self.recipe)
        fixed = self._fixed(config, "algorithmHyperParameters", "algorithm")
        fixed |= self._fixed(config, "featureTransformationParameters", "featurization")
        hpo = self.file.mapping(config, "hpoConfig")
        known = ["algorithmHyperParameterRanges", "hpoObjective", "hpoResourceConfig"]
        self.file.check_keys(hpo, known, "hpoConfig")
        tune = self._ranges(self.file.mapping(hpo, "algorithmHyperParameterRanges"))
        objective = self._objective(self.file.mapping(hpo, "hpoObjective"))
        limits = self._limits(self.file.mapping(hpo, "hpoResourceConfig"))
        for name in tune:
            if name in fixed:
                self.file.problem(name, "has a range under hpoConfig and a fixed value too; keep one.")
        self.file.raise_if_any()
        rest = {
            name: self.space.defaults()[name]
            for name, parameter in self.recipe.parameters.items()
            if tune and parameter.tunable and name in self.space.searched and name not in tune and name not in fixed
        }
        narrowed = self.space.narrow(tune, {**rest, **fixed}, str(self.file.path))
        self._note_rest(rest)
        return SolutionConfig(narrowed, limits, fixed, objective, tuple(self.file.notes))

    def _fixed(self, config: dict[str, Any], section: str, kind: str) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for said, text in self.file.mapping(config, section).items():
            name = _plain_name(said)
            where = f"{section}.{said}"
            parameter = self.recipe.parameters.get(name)
            if parameter is None:
                self.file.problem(where, self._unknown(name))
            elif (parameter.kind == "featurization") != (kind == "featurization"):
                other = "featureTransformationParameters" if kind == "algorithm" else "algorithmHyperParameters"
                self.file.problem(where, f"belongs under {other}.")
            else:
                value = _parsed(text, name)
                wrong = parameter.problem(value)
                if wrong:
                    self.file.problem(where, f"recipe {self.recipe.name}: {wrong}")
                else:
                    values[name] = parameter.normalise(value)
        return values

    def _ranges(self, content: dict[str, Any]) -> dict[str, dict[str, Any]]:
        self.file.check_keys(content, list(RANGE_LISTS), "algorithmHyperParameterRanges")
        tune: dict[str, dict[str, Any]] = {}
        for key, type_ in RANGE_LISTS.items():
            entries = content.get(key) or []
            if not isinstance(entries, list) or len(entries) > _MAX_ENTRIES:
                self.file.problem(key, f"a list of at most {_MAX_ENTRIES} ranges must stand here.")
                continue
            for index, entry in enumerate(entries):
                where = f"{key}[{index}]"
                name = self._named(entry, type_, where)
                if name is None:
                    continue
                if name in tune:
                    self.file.problem(f"{where}.name", f"{name} has a range already.")
                    continue
                narrowed = self._choices(entry, where) if type_ == "categorical" else self._numbers(entry, type_, where)
                if narrowed is not None and self._is_within_recipe(name, narrowed, where):
                    tune[name] = narrowed
        return tune

    def _named(self, entry: Any, type_: str, where: str) -> str | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            self.file.problem(where, "a JSON object with a `name` must stand here.")
            return None
        known = ["name", "values"] if type_ == "categorical" else ["name", "minValue", "maxValue"]
        self.file.check_keys(entry, known, where)
        name = _plain_name(entry["name"])
        parameter = self.recipe.parameters.get(name)
        if parameter is None:
            self.file.problem(f"{where}.name", self._unknown(name))
        elif not parameter.tunable:
            text = f"{name} is not HPO tunable in recipe {self.recipe.name}; featureTransformationParameters sets it."
            self.file.problem(f"{where}.name", text)
        elif parameter.type != type_:
            right = next(key for key, listed in RANGE_LISTS.items() if listed == parameter.type)
            self.file.problem(f"{where}.name", f"{name} is {parameter.type} and belongs under {right}.")
        else:
            return name
        return None

    def _numbers(self, entry: dict[str, Any], type_: str, where: str) -> dict[str, Any] | None:
        wanted = int if type_ == "integer" else (int, float)
        ends: list[float] = []
        for key in ("minValue", "maxValue"):
            end = entry.get(key)
            if isinstance(end, bool) or not isinstance(end, wanted) or not abs(end) <= _MAX_INTEGER:
                noun = "a whole number" if type_ == "integer" else "a number"
                self.file.problem(f"{where}.{key}", f"{noun} within ±1,000,000 must stand here, but got {show(end)}.")
                return None
            ends.append(end)
        if ends[0] > ends[1]:
            self.file.problem(where, f"`minValue <= maxValue` must hold, but got {show_range((ends[0], ends[1]))}.")
            return None
        return {"range": ends}

    def _choices(self, entry: dict[str, Any], where: str) -> dict[str, Any] | None:
        values = entry.get("values")
        if not isinstance(values, list) or not 1 <= len(values) <= _MAX_ENTRIES:
            self.file.problem(f"{where}.values", f"a list of one to {_MAX_ENTRIES} values must stand here.")
            return None
        name = _plain_name(entry["name"])
        parsed = [_parsed(value, name) for value in values]
        return {"choices": [value for at, value in enumerate(parsed) if value not in parsed[:at]]}

    def _is_within_recipe(self, name: str, narrowed: dict[str, Any], where: str) -> bool:
        bound = self.recipe.parameters[name]
        if "range" in narrowed:
            low, high = narrowed["range"]
            asked = Parameter(name, bound.kind, bound.type, low, range=(low, high))
        else:
            asked = Parameter(name, bound.kind, bound.type, bound.default, choices=tuple(narrowed["choices"]))
        outside = narrowing_problem(asked, bound)
        if outside is None:
            return True
        text = f"{name} must lie within {outside}: recipe {self.recipe.name} admits no other values"
        if (name, narrowed.get("range")) == ("bptt", [20, 40]):
            text += " (an example in Amazon's own guide asks for 20 to 40, beyond its own recipe; 20 to 32 is possible)"
        self.file.problem(where, text + ".")
        return False

    def _objective(self, content: dict[str, Any]) -> str | None:
        self.file.check_keys(content, ["metricName", "metricRegex", "type"], "hpoObjective")
        kind = content.get("type")
        if kind not in (None, "Maximize"):
            text = f"Maximize must stand here, but got {show(kind)}; every metric of a ranking is better when larger."
            self.file.problem("hpoObjective.type", text)
        if content.get("metricRegex"):
            self.file.notes.append("metricRegex has no effect here: metrics are not read from logs.")
        name = content.get("metricName")
        if name is None:
            return None
        if not isinstance(name, str) or name not in METRICS:
            hint = nearest(str(name), list(METRICS)) or f"; known are {', '.join(METRICS)}."
            self.file.problem("hpoObjective.metricName", f"{show(name)} is no metric{hint}")
            return None
        return METRICS[name]

    def _limits(self, content: dict[str, Any]) -> Limits:
        keys = ["maxNumberOfTrainingJobs", "maxParallelTrainingJobs"]
        self.file.check_keys(content, keys, "hpoResourceConfig")
        limits: list[int | None] = []
        for key, most in zip(keys, (MAX_TRAINING_JOBS, MAX_PARALLEL_JOBS), strict=True):
            said = content.get(key)
            number = said
            if isinstance(said, str) and said.strip().isdecimal() and len(said) < _MOST_DIGITS:
                number = int(said)
            if said is None:
                limits.append(None)
            elif isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
                text = f'a whole number from 1 to {most} (in quotes: "{most}") must stand here, but got {show(said)}.'
                self.file.problem(f"hpoResourceConfig.{key}", text)
                limits.append(None)
            else:
                limits.append(number)
        return Limits(*limits)

    def _note_rest(self, rest: Mapping[str, Value]) -> None:
        for name, value in rest.items():
            self.file.notes.append(f"{name} has no range in the file and stays at its default {show(value)}.")

    def _unknown(self, name: str) -> str:
        hint = nearest(name, self.recipe.parameters)
        ours = " (hrnn-hpo has it, the service does not)" if name in Hyperparameters.model_fields and not hint else ""
        return f"recipe {self.recipe.name} has no {name!r}{ours}{hint or '.'}"


def amazon_recipe() -> Recipe:
    recipe = load_space("aws-hrnn").recipe
    assert recipe is not None
    return recipe


def _plain_name(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _parsed(text: Any, name: str) -> Any:
    """Return the value that the service's text stands for; what cannot be read stays as it is, to be refused."""
    if not isinstance(text, str):
        return text
    if field_type(name) is bool:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    for number in (field_type(name), float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
