"""A file with Amazon's `solutionConfig`: the configuration itself, and the request or description around it.

It knows the service's keys and collects what is wrong with them. What the values ask of a study is solution_config's.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrnn_hpo.errors import SpaceError
from hrnn_hpo.plain_data import load_json
from hrnn_hpo.search.recipes import Recipe
from hrnn_hpo.search.values import show
from hrnn_hpo.settings import nearest

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


class SolutionFile:
    """A JSON file on its way to a solutionConfig: `problems` are what is wrong with it, `notes` what has no effect."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self.notes: list[str] = []

    def configuration(self, recipe: Recipe) -> dict[str, Any]:
        """Return the solutionConfig, after a look at its keys and at the request or description around it.

        Raises SpaceError for a file that is not a JSON object.
        """
        return self._solution_config(self._load(), recipe)

    def problem(self, where: str, text: str) -> None:
        """Add a problem of one place in the file."""
        self.problems.append(f"{self.path}: {where}: {text}")

    def raise_if_any(self) -> None:
        """Raise SpaceError with every problem, where there are any."""
        if self.problems:
            raise SpaceError("\n".join(self.problems))

    def mapping(self, content: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Return the JSON object under a key; empty where it is absent, or is none and was added as a problem."""
        value = content.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(key, f"a JSON object must stand here, but got {show(value)}.")
            return {}
        return value

    def check_keys(
        self, content: Mapping[str, Any], known: list[str], where: str, ignored: list[str] | None = None
    ) -> None:
        """Add a problem for each key that is not `known`, and a note for each `ignored` one that says something."""
        for key, value in content.items():
            if ignored and key in _FILTER_KEYS:
                self._check_filter(key, value)
            elif ignored and key in ignored:
                if value not in (None, {}, [], ""):
                    self.notes.append(f"{key} has no effect here.")
            elif key not in known:
                self.problem(key, f"is no key of {where}{nearest(key, [*known, *(ignored or [])]) or '.'}")

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

    def _solution_config(self, content: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
        """Return the solutionConfig itself, after a look at the request or description around it."""
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
        if not any(key in content for key in _REQUEST_KEYS):
            self.check_keys(content, _CONFIG_KEYS, "solutionConfig", _IGNORED_CONFIG_KEYS)
            return content
        self.check_keys(content, _REQUEST_KEYS, "the request", _IGNORED_REQUEST_KEYS)
        if content.get("performHPO", True) is not True:
            text = (
                f"true must stand here for a study, but got {show(content['performHPO'])}; `train` runs one training."
            )
            self.problem("performHPO", text)
        if content.get("performAutoML", False) is not False:
            self.problem("performAutoML", "recipes cannot be chosen automatically; false must stand here.")
        arn = content.get("recipeArn", recipe.recipe_arn)
        base = recipe.recipe_arn.removesuffix(recipe.name)
        if arn not in [base + name for name in _RECIPES]:
            text = f"must name {' or '.join(_RECIPES)} ({recipe.recipe_arn}), but got {show(arn)}."
            self.problem("recipeArn", text)
        config = self.mapping(content, "solutionConfig")
        self.check_keys(config, _CONFIG_KEYS, "solutionConfig", _IGNORED_CONFIG_KEYS)
        return config

    def _check_filter(self, key: str, value: Any) -> None:
        if value is not None and not isinstance(value, str):
            self.problem(key, f"text must stand here, as Amazon writes it, but got {show(value)}.")
        elif key == "eventValueThreshold" and value and not _is_number(value):
            self.problem(key, f"text of a number must stand here, but got {show(value)}.")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
