"""The figures of a run's validation users, as short text that fits into a trial's attributes."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.splits import EvalPart
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment import Experiment, ExperimentResult, evaluate_model


def user_figures(
    experiment: Experiment,
    result: ExperimentResult,
    objective: str,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the users a run is judged on and the objective's figure of each; empty where it has none per user."""
    part = judged_part(experiment)
    evaluation = evaluate_model(result.model, experiment, part, extra_metrics=extra_metrics)
    figures = evaluation.per_user.get(objective)
    if figures is None:
        return np.empty(0, dtype=np.int64), np.empty(0)
    return evaluation.users, figures


def judged_part(experiment: Experiment) -> EvalPart:
    """Return the users a confirmation's run is judged on: the held-back ones, its validation users without any."""
    part = experiment.split.held_back or experiment.split.validation
    assert part is not None
    return part


def as_text(values: NDArray[Any]) -> str:
    """Return an array of int64 or float64 as short text: a run's figures take few distinct values."""
    return base64.b85encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 9)).decode("ascii")


def from_text(text: str, dtype: type[np.int64] | type[np.float64]) -> NDArray[Any]:
    """Return the array that `as_text` made."""
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype=dtype)
