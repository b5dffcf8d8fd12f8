"""Each input and each memory is there for a reason: planted data is solved with the part it tests, and not without."""

from typing import Any

import numpy as np
import pytest
from planted import hit_rate, train
from planted_logs import (
    event_type_dependence,
    event_value_dependence,
    own_favourites,
    preference_across_sessions,
    session_start_dependence,
    time_gap_dependence,
)

from hrnn_hpo.experiment import test_part as part_of
from hrnn_hpo.model.encode import encode

ARCHITECTURES = [{"architecture": "control"}, {"architecture": "hierarchical"}]
bodies = pytest.mark.parametrize("body", ARCHITECTURES, ids=["control", "hierarchical"])

# Rules with two equally likely successors: 1 with the part, 1/2 without. 300 test users: .59 is three standard errors
# above a guess.
SOLVED, GUESSED = 0.95, 0.65


@bodies
def test_time_gaps_tell_what_follows_a_pause(body: dict[str, str]) -> None:
    log = time_gap_dependence()
    assert hit_rate(log, time_gaps=True, epochs=10, **body) >= SOLVED
    assert hit_rate(log, time_gaps=False, epochs=10, **body) <= GUESSED


@bodies
def test_event_types_tell_what_follows_a_purchase(body: dict[str, str]) -> None:
    log = event_type_dependence()
    assert hit_rate(log, event_inputs=True, epochs=10, **body) >= SOLVED
    assert hit_rate(log, event_inputs=False, epochs=10, **body) <= GUESSED


@bodies
def test_event_values_tell_what_follows_a_high_one(body: dict[str, str]) -> None:
    log = event_value_dependence()
    assert hit_rate(log, event_inputs=True, epochs=10, **body) >= SOLVED
    assert hit_rate(log, event_inputs=False, epochs=10, **body) <= GUESSED


def test_the_control_signal_tells_the_control_architecture_of_a_session_start() -> None:
    log = session_start_dependence()
    assert hit_rate(log, control_signal=True, epochs=10) >= SOLVED
    assert hit_rate(log, control_signal=False, epochs=10) <= GUESSED


def test_the_hierarchical_architecture_knows_a_session_start_without_the_signal() -> None:
    log = session_start_dependence()
    assert hit_rate(log, control_signal=False, architecture="hierarchical", epochs=10) >= SOLVED


@bodies
def test_what_a_user_has_again_and_again_is_told_by_the_users_own_items(body: dict[str, str]) -> None:
    """Every user repeats 15 items out of 300, in no order: more than 32 units hold, and all there is to know."""
    log = own_favourites(n_users=300, n_items=300, n_favourites=15, n_events=45)
    arguments: dict[str, Any] = {"protocol": "personalize-last", "k": 15, "epochs": 8, **body}
    assert hit_rate(log, repeats="mixed", **arguments) >= 0.85
    assert hit_rate(log, repeats="ignored", **arguments) <= 0.6


@bodies
@pytest.mark.parametrize("seed", [0, 1])
def test_a_preference_is_held_across_sessions(body: dict[str, str], seed: int) -> None:
    """The first event alone tells the last one, two session starts later; eight tastes, so a guess finds 1/8."""
    log = preference_across_sessions(n_users=1000, n_tastes=8, n_items=24, n_sessions=3, session_length=3, seed=seed)
    arguments: dict[str, Any] = {"protocol": "personalize-last", "seed": seed, "learning_rate": 0.005, **body}
    trained = train(log, bptt=32, epochs=28, **arguments)
    assert trained.hit_rate() >= SOLVED

    # The same model, allowed to read the last session and the event before it alone, can only guess.
    experiment, model = trained.experiment, trained.result.model
    part = part_of(experiment)
    outputs = encode(model, experiment.inputs, part.truth_starts - 1, np.full(len(part), 2))
    best = model.score(outputs).argmax(dim=1).numpy()
    assert np.mean(best == np.asarray(log.items)[part.truth_starts]) <= 0.3
