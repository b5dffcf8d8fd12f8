"""A study's result as Amazon Personalize's `solutionConfig`; the way back is solution_config.py's.

The recipe aws-hrnn binds both ways, whatever space a study searched: the service knows five names and their ranges.
"""

from collections.abc import Mapping
from typing import Any

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.amazon.solution_config import Limits, SolutionConfig, amazon_recipe, read_solution_config
from hrnn_hpo.search.recipes import MAX_PARALLEL_JOBS, MAX_TRAINING_JOBS, RANGE_LISTS, SERVICE_METRICS, Recipe
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.search.values import Value, show

__all__ = ["Limits", "SolutionConfig", "left_out", "read_solution_config", "solution_config_from"]


def solution_config_from(
    space: SearchSpace,
    hyperparameters: Hyperparameters,
    *,
    ranges: bool = False,
    objective: str | None = None,
    n_trials: int | None = None,
    n_workers: int | None = None,
) -> dict[str, Any]:
    """Return the `solutionConfig` of CreateSolution that trains with these hyperparameters.

    With `ranges`, `hpoConfig` repeats the study: its ranges as far as the recipe has them, objective and limits
    (hyperparameters that the service tunes have no fixed value beside it). Only the recipe's five names are known to
    the service; `left_out` lists what stays behind. Raises SpaceError for values that the recipe does not admit.
    """
    recipe = amazon_recipe()
    values = hyperparameters.model_dump()
    found = [f"{name}: {wrong}" for name, p in recipe.parameters.items() if (wrong := p.problem(values[name]))]
    found += _limit_problems(n_trials, n_workers) if ranges else []
    if found:
        raise SpaceError("\n".join(f"recipe {recipe.name} cannot take this configuration: {text}" for text in found))
    tuned = _shared_ranges(space, recipe) if ranges else {}
    config: dict[str, Any] = {"algorithmHyperParameters": {}, "featureTransformationParameters": {}}
    for name, parameter in recipe.parameters.items():
        section = "featureTransformation" if parameter.kind == "featurization" else "algorithmHyper"
        if name not in tuned:
            config[f"{section}Parameters"][name] = _text(values[name])
    if ranges:
        config["hpoConfig"] = _hpo_config(tuned, objective, Limits(n_trials, n_workers))
    return config


def left_out(hyperparameters: Hyperparameters) -> dict[str, Value]:
    """Return the hyperparameters that a solutionConfig has no place for and that differ from their defaults."""
    defaults = {**Hyperparameters().model_dump(), "repeats": "ignored", "targets_ahead": 1.0}  # as the service does
    values = hyperparameters.model_dump()
    recipe = amazon_recipe()
    return {
        name: value
        for name, value in values.items()
        if name not in recipe.parameters and value not in (defaults[name], "auto")
    }


def _shared_ranges(space: SearchSpace, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return what space and recipe both let a study vary, by name and as the service writes it."""
    shared: dict[str, dict[str, Any]] = {}
    for name, bound in recipe.parameters.items():
        parameter = space.searched.get(name)
        if parameter is None or not bound.tunable or parameter.type != bound.type:
            continue
        if parameter.type == "categorical":
            values = [_text(choice) for choice in parameter.choices if bound.problem(choice) is None]
            shared[name] = {"name": name, "values": values}
        elif max(parameter.low, bound.low) <= min(parameter.high, bound.high):
            ends = {"minValue": max(parameter.low, bound.low), "maxValue": min(parameter.high, bound.high)}
            shared[name] = {"name": name, **ends}
    return shared


def _hpo_config(tuned: Mapping[str, dict[str, Any]], objective: str | None, limits: Limits) -> dict[str, Any]:
    types = {name: parameter.type for name, parameter in amazon_recipe().parameters.items()}
    ranges = {key: [tuned[name] for name in tuned if types[name] == type_] for key, type_ in RANGE_LISTS.items()}
    config: dict[str, Any] = {"algorithmHyperParameterRanges": ranges}
    if objective is not None:
        name = SERVICE_METRICS.get(objective, objective)
        config["hpoObjective"] = {"type": "Maximize", "metricName": name}
    resources = {"maxNumberOfTrainingJobs": limits.n_trials, "maxParallelTrainingJobs": limits.n_workers}
    if any(number is not None for number in resources.values()):
        config["hpoResourceConfig"] = {key: str(number) for key, number in resources.items() if number is not None}
    return config


def _limit_problems(n_trials: int | None, n_workers: int | None) -> list[str]:
    found = []
    for name, number, most in (
        ("n_trials", n_trials, MAX_TRAINING_JOBS),
        ("n_workers", n_workers, MAX_PARALLEL_JOBS),
    ):
        if number is not None and not 1 <= number <= most:
            found.append(f"`1 <= {name} <= {most}` must hold in the service, but got {number}.")
    return found


def _text(value: Value) -> str:
    return show(value) if isinstance(value, bool) else str(value)
