"""What only the time of a request tells: solved by a model that is told it, and nothing is lost where it is not."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from planted import PLAIN, Trained
from planted_logs import returns

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.experiment import evaluate_model, prepare_experiment, run_experiment
from hrnn_hpo.experiment import test_part as part_of

ALL = "gap+session+clock"
bodies = pytest.mark.parametrize("architecture", ["control", "hierarchical"])


def trained(log: Dataset, request_time: str, epochs: int = 8, **changes: Any) -> Trained:
    """Return a model after so many epochs: validation, which knows no time, could only stop it at random."""
    hyperparameters = Hyperparameters(
        **{**PLAIN, "batch_size": 8, "epochs": epochs, "request_time": request_time, **changes}
    )
    configuration = Configuration(hyperparameters=hyperparameters, protocol="leave-one-out", n_threads=1)
    experiment = prepare_experiment(log, configuration, "keep")
    return Trained(experiment, run_experiment(experiment, device="cpu", fixed_epochs=epochs, validate=False), 1)


def ndcg(model: Trained, request_time: Any) -> NDArray[np.float64]:
    """Return ndcg_at_10 of each test user, asked with the time or without it."""
    part = part_of(model.experiment)
    found = evaluate_model(model.result.model, model.experiment, part, request_time=request_time)
    return found.per_user["ndcg_at_10"]


@bodies
def test_what_a_user_wants_after_a_pause_is_told_by_the_gap(architecture: str) -> None:
    """Without the time the four successors are as good as each other: .64. Asked without it, nothing is lost."""
    log = returns(told_by="gap")
    guess = (1 + 1 / math.log2(3) + 1 / 2 + 1 / math.log2(5)) / 4
    model = trained(log, ALL, architecture=architecture)
    known, unknown = ndcg(model, "known"), ndcg(model, "unknown")
    never = ndcg(trained(log, "none", architecture=architecture), "unknown")
    assert known.mean() >= 0.95
    assert never.mean() <= guess + 0.05
    lost = never - unknown  # by user; the truth's place among four equals is luck
    assert lost.mean() <= 2 * lost.std() / math.sqrt(len(lost))


def test_the_clock_tells_what_the_hour_says() -> None:
    log = returns(told_by="clock")
    assert ndcg(trained(log, "clock"), "known").mean() >= 0.95
    assert ndcg(trained(log, "gap+session"), "known").mean() <= 0.8


@bodies
def test_a_session_of_the_callers_own_tells_what_it_opens_with(architecture: str) -> None:
    """All events are a minute apart: neither gap nor hour says anything, and half of the events open a session."""
    model = trained(returns(told_by="session"), "session", architecture=architecture)
    assert ndcg(model, "known").mean() >= 0.95
    assert ndcg(model, "unknown").mean() <= 0.9
