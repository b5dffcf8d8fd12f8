"""Item embeddings that start near those of like items in the training histories, and of nothing else."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from small_runs import same_weights, small_configuration
from strategies import dataset_of, datasets, train_part_of
from threadpoolctl import threadpool_limits

from hrnn_hpo.config import LARGEST_SEED
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model.hrnn import HRNN, ITEM_START
from hrnn_hpo.training import item_start
from hrnn_hpo.training.item_start import SMOOTHING, WINDOW, item_vectors

Start = Literal["neighbours", "users"]
START = pytest.mark.parametrize("start", ["neighbours", "users"])
LOG = markov(n_users=60, n_items=30, n_events=30)


@given(datasets())
def test_information_is_that_of_a_literal_count(dataset: Dataset) -> None:
    """Every pair of different items of one user, weighed by how far apart they are; nothing that is held back."""
    train = train_part_of(dataset, 1)
    counts = np.zeros((dataset.n_items, dataset.n_items))
    for user, stop in zip(train.users, train.stops, strict=True):
        items = dataset.items[dataset.user_offsets[user] : stop]
        for place, one in enumerate(items):
            for back in range(1, min(WINDOW, place) + 1):
                other = items[place - back]
                if one != other:
                    counts[one, other] += 1 / back
                    counts[other, one] += 1 / back
    totals = counts.sum(axis=1)
    context = totals**SMOOTHING / max((totals**SMOOTHING).sum(), 1.0)
    expected = np.zeros_like(counts)
    for one, other in zip(*np.nonzero(counts), strict=True):
        expected[one, other] = max(math.log(counts[one, other] / (totals[one] * context[other])), 0.0)
    found = item_start._information(item_start._near(dataset, train)).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(datasets())
def test_what_items_share_of_their_users_is_the_cosine_of_two_sets(dataset: Dataset) -> None:
    train = train_part_of(dataset, 1)
    having: list[set[int]] = [set() for _ in range(dataset.n_items)]
    for user, stop in zip(train.users, train.stops, strict=True):
        for item in dataset.items[dataset.user_offsets[user] : stop]:
            having[item].add(int(user))
    expected = [[len(a & b) / math.sqrt(max(len(a) * len(b), 1)) for b in having] for a in having]
    shared = item_start._users(dataset, train)
    np.testing.assert_allclose((shared @ shared.T).toarray(), expected, atol=1e-6)


def test_popularity_is_no_likeness_of_users() -> None:
    """Two tastes, and an item that everybody has: it is near neither of them, and they are apart."""
    histories = [[0, 1, 4], [1, 0, 4], [2, 3, 4], [3, 2, 4]]
    vectors = item_vectors(dataset_of(histories), train_part_of(dataset_of(histories)), 4, seed=0, start="users")
    sizes = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    np.testing.assert_allclose(vectors[0], -vectors[2], atol=1e-5)
    assert sizes[4] < 1e-5 < sizes[0]


@START
def test_items_of_one_shelf_start_near_each_other(start: Start) -> None:
    """Users take items of one of three shelves at a time; an item that nobody takes starts at random alone."""
    rng = np.random.default_rng(0)
    histories = [
        [int(item) for shelf in rng.permutation(3)[:2] for item in 10 * shelf + rng.permutation(10)[:6]]
        for _ in range(200)
    ]
    dataset = dataset_of(histories, n_items=31)
    vectors = item_vectors(dataset, train_part_of(dataset), 3, seed=0, start=start)
    assert vectors.shape == (31, 3)
    assert vectors.std() == pytest.approx(1.0, abs=1e-5)
    assert not vectors[30].any()
    products = vectors[:30] @ vectors[:30].T
    same = np.kron(np.eye(3), np.ones((10, 10))).astype(bool) & ~np.eye(30, dtype=bool)
    other = np.kron(1 - np.eye(3), np.ones((10, 10))).astype(bool)
    assert products[same].min() > products[other].max()


@START
def test_units_share_the_load(start: Start) -> None:
    spread = item_vectors(LOG, train_part_of(LOG), 16, seed=0, start=start).std(axis=0)
    assert spread.max() < 2.5 * spread.min()


@START
def test_a_table_wider_than_the_catalogue_and_nothing_to_learn_from(start: Start) -> None:
    few = dataset_of([[0, 1, 2], [2, 1, 0]])
    assert np.isfinite(item_vectors(few, train_part_of(few), 128, seed=0, start=start)).all()
    alone = dataset_of([[0, 0, 0]])
    assert not item_vectors(alone, train_part_of(alone), 8, seed=0, start=start).any()
    assert not item_vectors(few, TrainPart(np.array([0]), np.array([0])), 8, seed=0, start=start).any()  # nobody trains


@START
def test_the_number_of_threads_changes_no_bit(start: Start) -> None:
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            found.append(item_vectors(LOG, train_part_of(LOG), 16, seed=3, start=start))
    assert np.array_equal(*found)


@START
def test_the_largest_seed_of_a_configuration_is_one_here_too(start: Start) -> None:
    vectors = item_vectors(LOG, train_part_of(LOG, 1), 8, LARGEST_SEED, start)
    assert vectors.std() == pytest.approx(1, rel=1e-5)


def test_of_a_large_log_some_users_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    near = item_start._near

    def noted(dataset: Dataset, train: TrainPart) -> object:
        seen.append(len(train.users))
        return near(dataset, train)

    monkeypatch.setattr(item_start, "_near", noted)
    whole = item_vectors(LOG, train_part_of(LOG), 8, seed=0, start="neighbours")
    monkeypatch.setattr(item_start, "MOST_EVENTS", LOG.n_events // 3)
    part = item_vectors(LOG, train_part_of(LOG), 8, seed=0, start="neighbours")
    assert seen == [60, 20]
    assert not np.array_equal(whole, part)


def test_a_model_starts_at_the_vectors_and_its_own_noise() -> None:
    experiment = prepare_experiment(LOG, small_configuration())
    torch.manual_seed(0)
    model = HRNN(experiment.catalogue, experiment.configuration.hyperparameters)
    before = model.item_embedding.detach().clone()
    vectors = torch.from_numpy(item_vectors(LOG, experiment.train, 8, seed=0, start="users"))
    model.start_items_at(vectors)
    torch.testing.assert_close(model.item_embedding[:-1].detach(), before[:-1] + ITEM_START * vectors)
    assert torch.equal(model.item_embedding[-1], before[-1])  # the start token


@START
def test_a_run_repeats_itself_and_learns_nothing_from_what_is_held_back(start: Start) -> None:
    other = replace(LOG, items=np.where(_last_two(LOG), 0, LOG.items).astype(np.int32))
    configuration = small_configuration("leave-one-out", item_start=start, repeats="ignored")
    one, again, without = (
        run_experiment(prepare_experiment(log, configuration), device="cpu", fixed_epochs=1, validate=False).model
        for log in (LOG, LOG, other)
    )
    assert same_weights(one, again)
    assert same_weights(one, without)
    plain = small_configuration("leave-one-out", item_start="random", repeats="ignored")
    at_random = run_experiment(prepare_experiment(LOG, plain), device="cpu", fixed_epochs=1, validate=False).model
    assert not same_weights(one, at_random)


def _last_two(log: Dataset) -> np.ndarray:
    held_back = np.zeros(log.n_events, dtype=bool)
    for stop in log.user_offsets[1:]:
        held_back[stop - 2 : stop] = True
    return held_back
