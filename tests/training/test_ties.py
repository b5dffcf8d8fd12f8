"""Training events of one user, second and session change places each epoch; nothing else does."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import inputs_of, same_weights, small_configuration
from strategies import dataset_of, datasets, train_part_of

from hrnn_hpo.data import blocks
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model.inputs import with_events
from hrnn_hpo.training import trainer
from hrnn_hpo.training.ties import shuffle_ties

PAIRS = replace(markov(n_users=60, n_items=12, n_events=20), timestamps=np.tile(np.arange(20) // 2 * 3600, 60))


def draw(dataset: Dataset, train: TrainPart, seed: int = 0) -> Dataset:
    return shuffle_ties(dataset, train, np.random.default_rng(seed))


@given(datasets(with_values=True), st.integers(0, 3), st.booleans(), st.integers(0, 9))
def test_events_stay_with_their_user_second_and_session(
    dataset: Dataset, n_held_out: int, with_sessions: bool, seed: int
) -> None:
    """The events of each (user, second, session) in a row are the same, with their types and values."""
    rng = np.random.default_rng(seed)
    dataset = replace(
        dataset,
        session_ids=rng.integers(-1, 2, dataset.n_events, dtype=np.int32) if with_sessions else None,
        event_types=np.arange(dataset.n_events, dtype=np.int32),
    )
    train = train_part_of(dataset, n_held_out)
    drawn = draw(dataset, train, seed)
    sessions = np.zeros(dataset.n_events) if dataset.session_ids is None else dataset.session_ids
    trains = np.zeros(dataset.n_events, dtype=bool)
    for user, stop in zip(train.users, train.stops, strict=True):
        trains[dataset.user_offsets[user] : stop] = True

    def events_of_ties(log: Dataset) -> list[Counter[tuple[str, ...]]]:
        found: list[Counter[tuple[str, ...]]] = []
        last = None
        for row in range(log.n_events):
            key = (log.event_users[row], log.timestamps[row], sessions[row], trains[row] or row)
            if key != last:
                found.append(Counter())
            assert log.event_types is not None
            assert log.event_values is not None
            found[-1][str(log.items[row]), str(log.event_types[row]), str(log.event_values[row])] += 1
            last = key
        return found

    assert events_of_ties(drawn) == events_of_ties(dataset)
    assert drawn.timestamps is dataset.timestamps
    assert drawn.session_ids is dataset.session_ids


def test_every_order_of_a_tie_is_as_likely() -> None:
    dataset = dataset_of([[0, 1, 2, 3]], times=[[5, 5, 5, 9]])
    orders = Counter(tuple(draw(dataset, train_part_of(dataset), seed).items.tolist()) for seed in range(1200))
    assert len(orders) == 6
    assert all(order[3] == 3 for order in orders)
    assert all(abs(count - 200) < 60 for count in orders.values())  # 4.6 standard deviations


def test_an_event_that_is_held_back_never_enters_training() -> None:
    dataset = dataset_of([[0, 1, 2]], times=[[5, 5, 5]])
    for seed in range(20):
        assert draw(dataset, train_part_of(dataset, 1), seed).items[2] == 2


def test_who_does_not_train_keeps_the_order() -> None:
    dataset = dataset_of([list(range(9))] * 3, times=[[7] * 9] * 3)
    drawn = draw(dataset, TrainPart(np.array([0, 1, 2]), np.array([9, 9, 27])))  # the second trains on nothing
    assert drawn.items[9:18].tolist() == list(range(9))
    assert drawn.items[:9].tolist() != list(range(9)) != drawn.items[18:].tolist()


def test_a_large_log_is_drawn_a_piece_at_a_time_to_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = draw(PAIRS, train_part_of(PAIRS))
    monkeypatch.setattr(blocks, "EVENTS_AT_ONCE", 50)  # of 1,200; the arrays lie in files then
    assert np.array_equal(draw(PAIRS, train_part_of(PAIRS)).items, at_once.items)


def test_steps_read_the_events_in_their_new_places() -> None:
    drawn = draw(PAIRS, train_part_of(PAIRS))
    ours, expected = with_events(inputs_of(PAIRS), drawn), inputs_of(drawn)
    for name in ("items", "gap_buckets", "control"):
        assert np.array_equal(getattr(ours, name)[:], getattr(expected, name)[:])


@pytest.mark.parametrize("repeats", ["ignored", "mixed"])
def test_each_epoch_draws_anew_and_a_run_repeats_itself(repeats: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def noted(*arguments: object) -> Dataset:
        drawn = shuffle_ties(*arguments)  # type: ignore[arg-type]
        seen.append(np.asarray(drawn.items))
        return drawn

    monkeypatch.setattr(trainer, "shuffle_ties", noted)
    experiment = prepare_experiment(PAIRS, small_configuration(epochs=2, shuffle_ties=True, repeats=repeats))
    first, second = (run_experiment(experiment, device="cpu") for _ in range(2))
    assert same_weights(first.model, second.model)
    assert len(seen) == 4
    assert not np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])
    seen.clear()
    kept = run_experiment(prepare_experiment(PAIRS, small_configuration(epochs=2, repeats=repeats)), device="cpu")
    assert not seen
    assert not same_weights(first.model, kept.model)


@pytest.mark.parametrize("repeats", ["ignored", "mixed"])
def test_without_ties_nothing_changes(repeats: str) -> None:
    log = markov(n_users=60, n_items=12, n_events=20)
    models = [
        run_experiment(
            prepare_experiment(log, small_configuration(epochs=1, shuffle_ties=shuffled, repeats=repeats)),
            device="cpu",
        ).model
        for shuffled in (False, True)
    ]
    assert same_weights(*models)
