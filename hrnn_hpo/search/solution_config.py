"""Amazon's `solutionConfig` read: what one written for Personalize's own HPO asks of a study.

It takes the configuration itself, a CreateSolution request, or DescribeSolution's answer, and refuses, with reasons,
whatever the service would have refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrnn_hpo.config import Hyperparameters, nearest
from hrnn_hpo.errors import SpaceError
from hrnn_hpo.plain_data import load_json
from hrnn_hpo.search.parameter import Parameter, narrowing_problem
from hrnn_hpo.search.recipes import MAX_PARALLEL_JOBS, MAX_TRAINING_JOBS, METRICS, RANGE_LISTS, Recipe
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.search.values import Value, field_type, show, show_range

_MAX_ENTRIES = 100
_MAX_INTEGER = 1_000_000
# DescribeSolution of older solutions calls them training.bptt and data.recency_mask.
_PREFIXES = ("training.", "data.")
_CONFIG_KEYS = ["hpoConfig", "algorithmHyperParameters", "featureTransformationParameters"]
# Which events are read at all: `solution_filters` returns them, for whoever reads the log.
_FILTER_KEYS = ["eventType", "eventValueThreshold"]
_IGNORED_CONFIG_KEYS = ["autoMLConfig", "eventsConfig", "optimizationObjective"]
_IGNORED_CONFIG_KEYS += ["trainingDataConfig", "autoTrainingConfig"]
_IGNORED_REQUEST_KEYS = ["name", "datasetGroupArn", "tags", "performAutoTraining"]
_IGNORED_REQUEST_KEYS += ["performIncrementalUpdate", "solutionArn", "status", "creationDateTime"]
_IGNORED_REQUEST_KEYS += ["lastUpdatedDateTime", "latestSolutionVersion", "autoMLResult", "latestSolutionUpdate"]
_IGNORED_REQUEST_KEYS += ["solutionVersionArn", "trainingHours", "trainingMode", "tunedHPOParams", "failureReason"]
_REQUEST_KEYS = ["solutionConfig", "performHPO", "performAutoML", "recipeArn"]
_WRAPPERS = ("solution", "solutionVersion")
# Same five hyperparameters, same ranges (the second adds items' and users' metadata).
_RECIPES = ("aws-hrnn", "aws-hrnn-metadata")


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


def solution_filters(path: Path) -> dict[str, str]:
    """Return {"event_type": …, "event_value_threshold": …} as far as a solutionConfig's file chooses events by them.

    Nothing is checked here; `read_solution_config` tells what is wrong with the file.
    """
    try:
        content = load_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    found: dict[str, str] = {}
    places = [content] if isinstance(content, dict) else []
    while places:
        place = places.pop()
        inner = (place.get(key) for key in (*_WRAPPERS, "solutionConfig"))
        places += [one for one in inner if isinstance(one, dict)]
        for key, name in zip(_FILTER_KEYS, ("event_type", "event_value_threshold"), strict=True):
            if isinstance(place.get(key), str) and place[key]:
                found[name] = place[key]
    return found


def is_solution_config(content: Mapping[str, Any]) -> bool:
    """Return whether a file's content has a key of a solutionConfig, or of what contains one."""
    return not content.keys().isdisjoint((*_CONFIG_KEYS, *_REQUEST_KEYS, *_WRAPPERS))


class _Reader:
    """Checks one file against the recipe, then narrows the space by it."""

    def __init__(self, path: Path, space: SearchSpace) -> None:
        self.path = path
        self.space = space
        self.recipe = amazon_recipe()
        self.found: list[str] = []
        self.notes: list[str] = []

    def read(self) -> SolutionConfig:
        config = self._solution_config(self._load())
        fixed = self._fixed(config, "algorithmHyperParameters", "algorithm")
        fixed |= self._fixed(config, "featureTransformationParameters", "featurization")
        hpo = self._mapping(config, "hpoConfig")
        known = ["algorithmHyperParameterRanges", "hpoObjective", "hpoResourceConfig"]
        self._check_keys(hpo, known, "hpoConfig")
        tune = self._ranges(self._mapping(hpo, "algorithmHyperParameterRanges"))
        objective = self._objective(self._mapping(hpo, "hpoObjective"))
        limits = self._limits(self._mapping(hpo, "hpoResourceConfig"))
        for name in tune:
            if name in fixed:
                self.problem(f"{name}", "has a range under hpoConfig and a fixed value too; keep one.")
        self._raise_found()
        rest = {
            name: self.space.defaults()[name]
            for name, parameter in self.recipe.parameters.items()
            if tune and parameter.tunable and name in self.space.searched and name not in tune and name not in fixed
        }
        narrowed = self.space.narrow(tune, {**rest, **fixed}, str(self.path))
        self._note_rest(rest)
        return SolutionConfig(narrowed, limits, fixed, objective, tuple(self.notes))

    def problem(self, where: str, text: str) -> None:
        self.found.append(f"{self.path}: {where}: {text}")

    def _raise_found(self) -> None:
        if self.found:
            raise SpaceError("\n".join(self.found))

    def _load(self) -> dict[str, Any]:
        try:
            content = load_json(self.path.read_bytes(), object_pairs_hook=self._unique)
        except OSError as error:
            raise SpaceError(f"{self.path}: cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise SpaceError(f"{self.path}: is not valid JSON: {error}.") from error
        if not isinstance(content, dict):
            raise SpaceError(f"{self.path}: a JSON object must stand at the top level, but got {show(content)}.")
        return content

    def _unique(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in pairs:
            if key in content:
                self.problem(key, "stands twice; keep one.")
            content[key] = value
        return content

    def _solution_config(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the solutionConfig itself, after a look at the request or description around it."""
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
        if not any(key in content for key in _REQUEST_KEYS):
            self._check_keys(content, _CONFIG_KEYS, "solutionConfig", _IGNORED_CONFIG_KEYS)
            return content
        self._check_keys(content, _REQUEST_KEYS, "the request", _IGNORED_REQUEST_KEYS)
        if content.get("performHPO", True) is not True:
            text = (
                f"true must stand here for a study, but got {show(content['performHPO'])}; `train` runs one training."
            )
            self.problem("performHPO", text)
        if content.get("performAutoML", False) is not False:
            self.problem("performAutoML", "recipes cannot be chosen automatically; false must stand here.")
        arn = content.get("recipeArn", self.recipe.recipe_arn)
        base = self.recipe.recipe_arn.removesuffix(self.recipe.name)
        if arn not in [base + name for name in _RECIPES]:
            text = f"must name {' or '.join(_RECIPES)} ({self.recipe.recipe_arn}), but got {show(arn)}."
            self.problem("recipeArn", text)
        config = self._mapping(content, "solutionConfig")
        self._check_keys(config, _CONFIG_KEYS, "solutionConfig", _IGNORED_CONFIG_KEYS)
        return config

    def _check_filter(self, key: str, value: Any) -> None:
        if value is not None and not isinstance(value, str):
            self.problem(key, f"text must stand here, as Amazon writes it, but got {show(value)}.")
        elif key == "eventValueThreshold" and value and not _is_number(value):
            self.problem(key, f"text of a number must stand here, but got {show(value)}.")

    def _mapping(self, content: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = content.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(key, f"a JSON object must stand here, but got {show(value)}.")
            return {}
        return value

    def _check_keys(
        self, content: Mapping[str, Any], known: list[str], where: str, ignored: list[str] | None = None
    ) -> None:
        for key, value in content.items():
            if ignored and key in _FILTER_KEYS:
                self._check_filter(key, value)
            elif ignored and key in ignored:
                if value not in (None, {}, [], ""):
                    self.notes.append(f"{key} has no effect here.")
            elif key not in known:
                self.problem(key, f"is no key of {where}{nearest(key, [*known, *(ignored or [])]) or '.'}")

    def _fixed(self, config: dict[str, Any], section: str, kind: str) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for said, text in self._mapping(config, section).items():
            name = _plain_name(said)
            where = f"{section}.{said}"
            parameter = self.recipe.parameters.get(name)
            if parameter is None:
                self.problem(where, self._unknown(name))
            elif (parameter.kind == "featurization") != (kind == "featurization"):
                other = "featureTransformationParameters" if kind == "algorithm" else "algorithmHyperParameters"
                self.problem(where, f"belongs under {other}.")
            else:
                value = _parsed(text, name)
                wrong = parameter.problem(value)
                if wrong:
                    self.problem(where, f"recipe {self.recipe.name}: {wrong}")
                else:
                    values[name] = parameter.normalise(value)
        return values

    def _ranges(self, content: dict[str, Any]) -> dict[str, dict[str, Any]]:
        self._check_keys(content, list(RANGE_LISTS), "algorithmHyperParameterRanges")
        tune: dict[str, dict[str, Any]] = {}
        for key, type_ in RANGE_LISTS.items():
            entries = content.get(key) or []
            if not isinstance(entries, list) or len(entries) > _MAX_ENTRIES:
                self.problem(key, f"a list of at most {_MAX_ENTRIES} ranges must stand here.")
                continue
            for index, entry in enumerate(entries):
                where = f"{key}[{index}]"
                name = self._named(entry, type_, where)
                if name is None:
                    continue
                if name in tune:
                    self.problem(f"{where}.name", f"{name} has a range already.")
                    continue
                narrowed = self._choices(entry, where) if type_ == "categorical" else self._numbers(entry, type_, where)
                if narrowed is not None and self._is_within_recipe(name, narrowed, where):
                    tune[name] = narrowed
        return tune

    def _named(self, entry: Any, type_: str, where: str) -> str | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            self.problem(where, "a JSON object with a `name` must stand here.")
            return None
        known = ["name", "values"] if type_ == "categorical" else ["name", "minValue", "maxValue"]
        self._check_keys(entry, known, where)
        name = _plain_name(entry["name"])
        parameter = self.recipe.parameters.get(name)
        if parameter is None:
            self.problem(f"{where}.name", self._unknown(name))
        elif not parameter.tunable:
            text = f"{name} is not HPO tunable in recipe {self.recipe.name}; featureTransformationParameters sets it."
            self.problem(f"{where}.name", text)
        elif parameter.type != type_:
            right = next(key for key, listed in RANGE_LISTS.items() if listed == parameter.type)
            self.problem(f"{where}.name", f"{name} is {parameter.type} and belongs under {right}.")
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
                self.problem(f"{where}.{key}", f"{noun} within ±1,000,000 must stand here, but got {show(end)}.")
                return None
            ends.append(end)
        if ends[0] > ends[1]:
            self.problem(where, f"`minValue <= maxValue` must hold, but got {show_range((ends[0], ends[1]))}.")
            return None
        return {"range": ends}

    def _choices(self, entry: dict[str, Any], where: str) -> dict[str, Any] | None:
        values = entry.get("values")
        if not isinstance(values, list) or not 1 <= len(values) <= _MAX_ENTRIES:
            self.problem(f"{where}.values", f"a list of one to {_MAX_ENTRIES} values must stand here.")
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
        self.problem(where, text + ".")
        return False

    def _objective(self, content: dict[str, Any]) -> str | None:
        self._check_keys(content, ["metricName", "metricRegex", "type"], "hpoObjective")
        kind = content.get("type")
        if kind not in (None, "Maximize"):
            text = f"Maximize must stand here, but got {show(kind)}; every metric of a ranking is better when larger."
            self.problem("hpoObjective.type", text)
        if content.get("metricRegex"):
            self.notes.append("metricRegex has no effect here: metrics are not read from logs.")
        name = content.get("metricName")
        if name is None:
            return None
        if not isinstance(name, str) or name not in METRICS:
            hint = nearest(str(name), list(METRICS)) or f"; known are {', '.join(METRICS)}."
            self.problem("hpoObjective.metricName", f"{show(name)} is no metric{hint}")
            return None
        return METRICS[name]

    def _limits(self, content: dict[str, Any]) -> Limits:
        keys = ["maxNumberOfTrainingJobs", "maxParallelTrainingJobs"]
        self._check_keys(content, keys, "hpoResourceConfig")
        limits: list[int | None] = []
        for key, most in zip(keys, (MAX_TRAINING_JOBS, MAX_PARALLEL_JOBS), strict=True):
            said = content.get(key)
            number = int(said) if isinstance(said, str) and said.strip().isdecimal() else said
            if said is None:
                limits.append(None)
            elif isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
                text = f'a whole number from 1 to {most} (in quotes: "{most}") must stand here, but got {show(said)}.'
                self.problem(f"hpoResourceConfig.{key}", text)
                limits.append(None)
            else:
                limits.append(number)
        return Limits(*limits)

    def _note_rest(self, rest: Mapping[str, Value]) -> None:
        for name, value in rest.items():
            self.notes.append(f"{name} has no range in the file and stays at its default {show(value)}.")

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


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
