"""One objective or several: which there are, which way each is better, and the trials that no other one beats in all.

The first objective leads: it stops trainings early, ranks trials, is confirmed and exported. The others trade off
against it on the Pareto front.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from hrnn_hpo.errors import ConfigError
from hrnn_hpo.evaluation.metrics import METRICS
from hrnn_hpo.experiment import ExperimentResult
from hrnn_hpo.settings import nearest

COSTS = ("n_parameters", "seconds")  # minimized; the seconds of all epochs' training, validation excluded
NO_PRUNER, NO_SAMPLER = "none", "cma-es"


@dataclass(frozen=True)
class FrontPoint:
    """A trial that no other one beats in every objective, with its values by objective."""

    trial: int
    values: dict[str, float]


def check_objectives(asked: str | Sequence[str] | None, metrics: Sequence[str] = ()) -> list[str]:
    """Return the objectives asked for as a list, empty where none was. Raises ConfigError for what cannot be one."""
    names = [asked] if isinstance(asked, str) else list(asked or ())
    known = [*METRICS, *metrics]
    for index, name in enumerate(names):
        allowed = known if index == 0 else [*known, *COSTS]
        if name in COSTS and index == 0:
            raise ConfigError(
                f"The first --objective must be a metric, since it also ends trainings early, but got {name!r}; "
                f"say --objective ndcg_at_10 --objective {name}."
            )
        if name not in allowed:
            raise ConfigError(
                f"--objective must be one of {', '.join(allowed)}, but got {name!r}{nearest(name, allowed) or '.'}"
            )
    if len(set(names)) < len(names):
        raise ConfigError(f"Each --objective must differ from the others, but got {', '.join(names)}.")
    return names


def check_several(names: Sequence[str], sampler: str, pruner: str) -> None:
    """Raise ConfigError for a sampler or pruner that cannot do with several objectives."""
    if len(names) > 1 and pruner != NO_PRUNER:
        raise ConfigError(
            f"A study of several objectives has no pruner (Optuna compares running trials by one value): "
            f"leave --pruner out, or say none, but got {pruner!r}."
        )
    if len(names) > 1 and sampler == NO_SAMPLER:
        raise ConfigError(f"--sampler {NO_SAMPLER} knows one objective only, but got {', '.join(names)}.")


def directions(names: Sequence[str]) -> list[StudyDirection]:
    """Return Optuna's direction of each objective."""
    return [StudyDirection.MINIMIZE if name in COSTS else StudyDirection.MAXIMIZE for name in names]


def objective_value(result: ExperimentResult, name: str) -> float:
    """Return what a training reached in an objective: of its best epoch, or what it cost."""
    if name == "n_parameters":
        return float(result.n_parameters)
    if name == "seconds":
        return sum(report.seconds for report in result.history)
    return float(result.metrics[name])


def leading(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial with its first objective's value alone, as all code that ranks trials reads it."""
    if trial.values is None or len(trial.values) < 2:
        return trial
    single = copy.copy(trial)
    single.values = trial.values[:1]
    return single


def values_of(trial: FrozenTrial, names: Sequence[str]) -> dict[str, float]:
    """Return a complete trial's values by objective, sizes as whole numbers."""
    return {
        name: int(value) if name == "n_parameters" else value for name, value in zip(names, trial.values, strict=True)
    }


def pareto_front(study: Study, names: Sequence[str]) -> list[FrontPoint]:
    """Return the trials of a study of several objectives that no other one beats, the best in the first one first.

    Empty for a study of one objective.
    """
    if len(study.directions) < 2:
        return []
    found = [FrontPoint(trial.number, values_of(trial, names)) for trial in study.best_trials]
    up = study.directions[0] == StudyDirection.MAXIMIZE
    return sorted(found, key=lambda point: (point.values[names[0]] * (-1 if up else 1), point.trial))
