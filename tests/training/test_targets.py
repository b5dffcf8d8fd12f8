"""Drawn targets are among the user's next training events, and anew each epoch; one ahead is the next event itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import same_weights, small_configuration

from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import prepare_experiment, resolve_auto, run_experiment
from hrnn_hpo.training import targets, trainer
from hrnn_hpo.training.targets import SHARE_UNKNOWN, draw_known, draw_targets

LOG = markov(n_users=60, n_events=30)
# An item tells its event's place.
PLACES = replace(LOG, items=np.arange(LOG.n_events, dtype=np.int32) % LOG.n_items)


def test_a_target_is_one_of_the_next_events_that_train() -> None:
    train = prepare_experiment(PLACES, small_configuration(protocol="leave-one-out", repeats="ignored")).train
    drawn = draw_targets(PLACES, train, 4, np.random.default_rng(0))
    distances = []
    trains = np.zeros(PLACES.n_events, dtype=np.bool_)
    for start, stop in zip(PLACES.user_offsets[train.users], train.stops, strict=True):
        ahead = drawn[start:stop].astype(int)
        assert np.all(ahead < np.minimum(4, stop - np.arange(start, stop)))  # never an event that is held back
        distances += ahead[:-3].tolist()
        trains[start:stop] = True
    counts = np.bincount(distances)
    assert len(counts) == 4
    assert counts == pytest.approx(np.full(4, len(distances) / 4), rel=0.15)
    assert not drawn[~trains].any()


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
