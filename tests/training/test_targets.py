"""Targets are drawn among the user's coming training events, anew each epoch; one ahead is the next event itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import same_weights, small_configuration
from strategies import baskets

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data import blocks
from hrnn_hpo.data.splits import Protocol, TrainPart
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import prepare_experiment, resolve_auto, run_experiment
from hrnn_hpo.training import targets, trainer
from hrnn_hpo.training.targets import SHARE_UNKNOWN, auto_targets_ahead, draw_known, draw_targets

LOG = markov(n_users=60, n_events=30)
# An item tells its event's place.
PLACES = replace(LOG, items=np.arange(LOG.n_events, dtype=np.int32) % LOG.n_items)


@pytest.mark.parametrize("mean", [1.3, 5, 64])
def test_targets_lie_so_far_ahead_on_average_and_never_beyond_the_training_events(mean: float) -> None:
    train = prepare_experiment(PLACES, small_configuration(protocol="leave-one-out", repeats="ignored")).train
    drawn = [draw_targets(PLACES, train, mean, np.random.default_rng(seed)) for seed in range(20)]
    trains = np.zeros(PLACES.n_events, dtype=np.bool_)
    expected, found = [], []
    for start, stop in zip(PLACES.user_offsets[train.users], train.stops, strict=True):
        trains[start:stop] = True
        for row in range(start, stop):
            chances = (1 - 1 / mean) ** np.arange(stop - row)  # by hand: each further event less likely by one factor
            expected.append(np.average(np.arange(stop - row), weights=chances))
            found.append([one[row] for one in drawn])
            assert max(found[-1]) < stop - row  # never an event that is held back
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.03)
    assert not any(one[~trains].any() for one in drawn)


def test_distances_are_geometric() -> None:
    long = replace(LOG, user_offsets=np.array([0, LOG.n_events], dtype=np.int64))
    train = TrainPart(np.array([0]), np.array([LOG.n_events]))
    counts = np.bincount(draw_targets(long, train, 2, np.random.default_rng(0)))
    assert counts[:4] / LOG.n_events == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16], abs=0.03)
    bytes_hold = np.arange(256)
    expected = np.average(bytes_hold, weights=(1 - 1 / 64) ** bytes_hold)
    assert draw_targets(long, train, 64, np.random.default_rng(0)).mean() == pytest.approx(expected, rel=0.1)


def test_a_large_log_is_drawn_a_piece_at_a_time_to_the_same_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    train = prepare_experiment(PLACES, small_configuration(protocol="leave-one-out", repeats="ignored")).train
    at_once = draw_targets(PLACES, train, 3, np.random.default_rng(0))
    monkeypatch.setattr(blocks, "EVENTS_AT_ONCE", 100)  # of 1,680 training events; the arrays lie in files then
    assert len(list(blocks.training_rows(PLACES, train))) > 10
    assert np.array_equal(draw_targets(PLACES, train, 3, np.random.default_rng(0)), at_once)


def test_a_user_without_training_events_draws_for_nobody() -> None:
    train = TrainPart(np.array([0, 1, 2]), np.array([30, 30, 90]))  # the second user trains on nothing
    drawn = draw_targets(LOG, train, 64, np.random.default_rng(0)).astype(int)
    rows = np.arange(90)
    assert np.all(drawn[:30] + rows[:30] < 30)
    assert np.all(drawn[60:90] + rows[60:] < 90)
    assert not drawn[30:60].any()
    assert not drawn[90:].any()


@pytest.mark.parametrize("protocol", ["personalize", "personalize-last", "leave-one-out", "newest-tenth", "temporal"])
def test_auto_looks_as_far_as_the_protocol_asks(protocol: Protocol) -> None:
    single = protocol in ("personalize-last", "leave-one-out")
    assert auto_targets_ahead(PLACES, protocol, 1800) == (1 if single else 1.5)
    assert auto_targets_ahead(baskets(size=5), protocol, 1800) == (1 if single else 10)
    assert auto_targets_ahead(baskets(size=50), protocol, 1800) == (1 if single else 64)


def test_auto_becomes_a_number() -> None:
    assert resolve_auto(baskets(size=5), Configuration()).hyperparameters.targets_ahead == 10
    kept = Configuration(hyperparameters=Hyperparameters(targets_ahead=3))
    assert resolve_auto(baskets(size=5), kept).hyperparameters.targets_ahead == 3


def test_one_ahead_is_the_next_event() -> None:
    train = prepare_experiment(PLACES, small_configuration(repeats="ignored")).train
    assert not draw_targets(PLACES, train, 1, np.random.default_rng(0)).any()


def test_each_epoch_draws_anew_and_a_run_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def noted(*arguments: object) -> np.ndarray:
        seen.append(draw_targets(*arguments))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(trainer, "draw_targets", noted)
    experiment = prepare_experiment(PLACES, small_configuration(epochs=2, targets_ahead=4))
    first, second = (run_experiment(experiment, device="cpu") for _ in range(2))
    assert same_weights(first.model, second.model)
    assert len(seen) == 4
    assert np.any(seen[0] != seen[1])
    assert np.array_equal(seen[0], seen[2])
    seen.clear()
    run_experiment(prepare_experiment(PLACES, small_configuration(epochs=1)), device="cpu")
    assert not seen


def test_repeats_are_mixed_in_whatever_event_is_learned() -> None:
    for ahead in (1, 2):
        configuration = small_configuration(repeats="auto", targets_ahead=ahead)
        assert resolve_auto(LOG, configuration).hyperparameters.repeats == "mixed"


def test_a_share_of_the_steps_is_not_told_when_the_request_is_made_anew_each_epoch() -> None:
    known = [draw_known(20_000, np.random.default_rng((5, epoch, 0, 1))) for epoch in (1, 2)]
    for drawn in known:
        assert np.mean(~drawn) == pytest.approx(SHARE_UNKNOWN, abs=0.02)
    assert 0.3 < np.mean(known[0] == known[1]) < 0.7
    assert np.array_equal(known[0], draw_known(20_000, np.random.default_rng((5, 1, 0, 1))))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_told_never_the_time_tables_stay_as_they_were(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """And then the model is, bit for bit, the one that reads no time: what it learns is drawn from other streams."""
    monkeypatch.setattr(targets, "SHARE_UNKNOWN", share)
    configuration = small_configuration(repeats="ignored", request_time="gap+session+clock", weight_decay=0.0)
    plain = small_configuration(repeats="ignored", weight_decay=0.0)
    told, silent = (
        run_experiment(prepare_experiment(LOG, one), device="cpu", fixed_epochs=2, validate=False).model
        for one in (configuration, plain)
    )
    ours, theirs = told.state_dict(), silent.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items()) is (share == 1.0)
    assert all((ours[name] == 0).all() for name in ours.keys() - theirs.keys()) is (share == 1.0)
