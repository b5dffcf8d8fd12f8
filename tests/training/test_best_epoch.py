"""Which epoch a run keeps, and when it ends since no better one is in sight: scores, floor, noise, objective."""

from typing import Any

import numpy as np
import pytest
import torch
from small_runs import model_for, same_weights, scores_in_order, small_hyperparameters, training_data

from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.training.stopping import Validation
from hrnn_hpo.training.trainer import fit

DATASET = markov(n_users=30, n_items=12, n_events=20)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def fresh(**changes: Any) -> HRNN:
    return model_for(DATASET, seed=0, scale=0.1, **changes)


def test_training_stops_after_patience_epochs_without_gain_and_keeps_the_best() -> None:
    at_epoch: list[dict[str, torch.Tensor]] = []
    scores = iter([0.1, 0.5, 0.5, 0.4, 0.2])

    def evaluate(model: HRNN) -> Validation:
        at_epoch.append({name: value.clone() for name, value in model.state_dict().items()})
        return Validation({"ndcg_at_10": next(scores)})

    model = fresh()
    changes = {"epochs": 50, "patience": 3, "batch_size": 1}  # 30 updates an epoch: warmed up in the second
    result = fit(model, training_data(DATASET), small_hyperparameters(**changes), seed=0, evaluate=evaluate)
    assert [report.is_best for report in result.history] == [True, True, False, False, False]  # a tie is no gain
    assert result.best_epoch == 2
    assert result.metrics == {"ndcg_at_10": 0.5}
    for name, value in model.state_dict().items():
        assert torch.equal(value, at_epoch[1][name])


@pytest.mark.parametrize(("floor", "n_epochs"), [(0.4, 5), (0.5, 8)])
def test_a_run_that_has_not_passed_the_floor_goes_on_while_its_loss_falls(floor: float, n_epochs: int) -> None:
    scores = scores_in_order(0.1, 0.5, 0.5, 0.4, 0.2, 0.1, 0.1, 0.1)
    changes = {"epochs": 8, "patience": 3, "batch_size": 1, "learning_rate": 0.03}
    result = fit(
        fresh(), training_data(DATASET), small_hyperparameters(**changes), seed=0, evaluate=scores, floor=floor
    )
    assert len(result.history) == n_epochs


def test_epochs_within_the_noise_of_the_users_count_half() -> None:
    """The same mean in each epoch, once with users who differ from epoch to epoch, once without them."""
    changes = {"epochs": 50, "patience": 2, "batch_size": 1}
    n_epochs = []
    for users in (True, False):
        generator = np.random.default_rng(0)

        def evaluate(model: HRNN, users: bool = users, generator: np.random.Generator = generator) -> Validation:
            per_user = generator.permutation([0.2, 0.4, 0.6])
            return Validation({"ndcg_at_10": 0.4}, per_user if users else None)

        n_epochs.append(
            len(
                fit(
                    fresh(), training_data(DATASET), small_hyperparameters(**changes), seed=0, evaluate=evaluate
                ).history
            )
        )
    assert n_epochs[1] == 3
    assert n_epochs[0] > 3


def test_epochs_of_the_warm_up_do_not_count() -> None:
    """Two updates an epoch: the first 25 epochs are the warm-up's."""
    changes = {"epochs": 50, "patience": 2, "batch_size": 16}
    result = fit(
        fresh(), training_data(DATASET), small_hyperparameters(**changes), seed=0, evaluate=scores_in_order(*[0.5] * 50)
    )
    assert len(result.history) == 27


def test_another_objective_decides_what_is_best() -> None:
    figures = iter([{"ndcg_at_10": 0.9, "recall_at_10": 0.1}, {"ndcg_at_10": 0.1, "recall_at_10": 0.9}])
    result = fit(
        fresh(),
        training_data(DATASET),
        small_hyperparameters(epochs=2),
        seed=0,
        evaluate=lambda model: Validation(next(figures)),
        objective="recall_at_10",
    )
    assert result.best_epoch == 2


def test_fixed_epochs_run_to_their_end_and_keep_the_last_weights() -> None:
    free = fresh()
    fit(free, training_data(DATASET), small_hyperparameters(epochs=4), seed=0)
    model = fresh()
    result = fit(
        model,
        training_data(DATASET),
        small_hyperparameters(epochs=99, patience=1),
        seed=0,
        evaluate=scores_in_order(0.9, 0.1, 0.1, 0.1),
        fixed_epochs=4,
    )
    assert len(result.history) == 4
    assert result.best_epoch == 4
    assert same_weights(model, free)


def test_averaged_weights_are_what_is_evaluated_and_kept() -> None:
    evaluated: list[dict[str, torch.Tensor]] = []

    def evaluate(model: HRNN) -> Validation:
        assert not model.training
        evaluated.append({name: value.clone() for name, value in model.state_dict().items()})
        return Validation({"ndcg_at_10": float(len(evaluated))})

    plain, averaged = fresh(), fresh()
    fit(plain, training_data(DATASET), small_hyperparameters(), seed=0)
    fit(averaged, training_data(DATASET), small_hyperparameters(weight_averaging=0.99), seed=0, evaluate=evaluate)
    for name, value in averaged.state_dict().items():
        assert torch.equal(value, evaluated[-1][name])
    assert not same_weights(averaged, plain)
