"""What only the time of a request tells: solved by a model that is told it, and nothing is lost where it is not."""

import math
from typing import Any

import pytest
from planted import returns, train

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.experiment import evaluate_model
from hrnn_hpo.experiment import test_part as part_of

ALL = "gap+session+clock"
bodies = pytest.mark.parametrize("architecture", ["control", "hierarchical"])


def ndcg(log: Dataset, request_time: str, asked: Any = "unknown", epochs: int = 12, **changes: Any) -> Any:
    """Return ndcg_at_10 of each test user, after training with the given parts of the request's time."""
    trained = train(log, request_time=request_time, epochs=epochs, **changes)
    return asking(trained, asked)


def asking(trained: Any, asked: Any) -> Any:
    experiment = trained.experiment
    found = evaluate_model(trained.result.model, experiment, part_of(experiment), request_time=asked)
    return found.per_user["ndcg_at_10"]


@bodies
def test_what_a_user_wants_after_a_pause_is_told_by_the_gap(architecture: str) -> None:
    """Without the time the four successors are as good as each other: .64. Asked without it, nothing is lost."""
    log = returns(told_by="gap")
    guess = (1 + 1 / math.log2(3) + 1 / 2 + 1 / math.log2(5)) / 4
    trained = train(log, request_time=ALL, epochs=12, architecture=architecture)
    known, unknown = asking(trained, "known"), asking(trained, "unknown")
    never = ndcg(log, "none", architecture=architecture)
    assert known.mean() >= 0.95
    assert never.mean() <= guess + 0.05
    lost = never - unknown  # by user; the truth's place among four equals is luck
    assert lost.mean() <= 2 * lost.std() / math.sqrt(len(lost))


@pytest.mark.parametrize(("part", "others"), [("gap", "clock"), ("clock", "session")])
def test_each_part_tells_what_it_knows_alone(part: str, others: str) -> None:
    log = returns(told_by=part)
    assert ndcg(log, part, "known").mean() >= 0.95
    assert ndcg(log, others, "known").mean() <= 0.8


@bodies
def test_a_session_of_the_callers_own_tells_what_it_opens_with(architecture: str) -> None:
    """All events are a minute apart: neither gap nor hour says anything, and half of the events open a session."""
    log = returns(told_by="session")
    assert ndcg(log, "session", "known", architecture=architecture).mean() >= 0.95
    assert ndcg(log, "gap+clock", "known", architecture=architecture).mean() <= 0.9
