"""What the ablation patches into the trainer does what its name says."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest
import torch
import tricks
from small_runs import small_configuration
from torch.nn import functional as F

from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model import losses
from hrnn_hpo.training import trainer


@pytest.mark.parametrize("weighted", [False, True])
def test_smoothed_labels_have_the_gradient_of_pytorchs_own(weighted: bool) -> None:
    torch.manual_seed(0)
    states, items, bias = (torch.randn(*shape, requires_grad=True) for shape in ((7, 4), (9, 4), (9,)))
    targets = torch.randint(0, 9, (7,))
    weights = torch.rand(7) if weighted else None
    with tricks.label_smoothing(0.2):
        loss = losses.softmax_cross_entropy(states, items, bias, targets, weights)
    ours = torch.autograd.grad(loss, (states, items, bias))
    each = F.cross_entropy(states @ items.t() + bias, targets, reduction="none", label_smoothing=0.2)
    theirs = torch.autograd.grad((each if weights is None else each * weights).mean(), (states, items, bias))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_the_learning_rate_falls_to_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = trainer.Optimizer.step

    def noted(self: trainer.Optimizer, warmup: float = 1.0) -> None:
        rates.append(self.learning_rate)
        step(self, warmup)

    monkeypatch.setattr(trainer.Optimizer, "step", noted)
    configuration = small_configuration(epochs=3, patience=3)
    with tricks.decay(0.1):
        run_experiment(prepare_experiment(markov(n_users=60), configuration), device="cpu")
    peak = configuration.hyperparameters.learning_rate
    assert list(dict.fromkeys(rates)) == pytest.approx([peak, 0.55 * peak, 0.1 * peak])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[trainer.TrainingData]:
    """Return what each epoch to come learns from."""
    found: list[trainer.TrainingData] = []
    train_epoch = trainer._train_epoch

    def noted(model: object, data: trainer.TrainingData, *rest: object) -> float:
        found.append(data)
        return train_epoch(model, data, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "_train_epoch", noted)
    return found


def test_late_targets_weigh_more_and_one_in_the_mean(seen: list[trainer.TrainingData]) -> None:
    with tricks.late_targets(0.5):
        run_experiment(prepare_experiment(markov(n_users=60), small_configuration(epochs=1)), device="cpu")
    data = seen[0]
    assert data.weights is not None
    last = data.train.stops[0] - 1
    assert data.weights[last - 1] == pytest.approx(data.weights[last] / 2)
    assert data.weights.sum() == pytest.approx(data.n_targets, rel=1e-5)
    assert np.all(data.weights[data.train.stops[0] : data.dataset.user_offsets[data.train.users[0] + 1]] == 0)


@pytest.mark.parametrize(
    "trick", [lambda: tricks.adagrad(0.05), tricks.gated_branches, tricks.cosine_scores, tricks.gated_tables]
)
def test_a_model_with_the_trick_learns(trick: Callable[[], AbstractContextManager[None]]) -> None:
    with trick():
        result = run_experiment(prepare_experiment(markov(n_users=60), small_configuration(epochs=4)), device="cpu")
    losses_of_epochs = [report.train_loss for report in result.history]
    assert losses_of_epochs[-1] < losses_of_epochs[0]


def test_an_epochs_order_of_ties_keeps_times_users_and_what_is_not_trained_on(seen: list[trainer.TrainingData]) -> None:
    log = markov(n_users=60)
    log = replace(log, timestamps=np.asarray(log.timestamps) // 40_000 * 40_000)  # so that there are ties
    experiment = prepare_experiment(log, small_configuration("leave-one-out", epochs=2))
    with tricks.new_order_of_ties():
        run_experiment(experiment, device="cpu")
    assert len(seen) == 2
    assert not np.array_equal(seen[0].dataset.items, seen[1].dataset.items)
    stops = log.user_offsets[:-1].copy()
    stops[experiment.split.train.users] = experiment.split.train.stops
    after = np.arange(log.n_events) >= stops[log.event_users]
    for data in seen:
        assert np.array_equal(data.dataset.items[after], log.items[after])
        moments = np.stack([log.event_users, log.timestamps])
        pairs, was = (sorted(zip(*moments, items, strict=True)) for items in (data.dataset.items, log.items))
        assert pairs == was
        follows = data.inputs.items != log.n_items  # not the start token
        assert np.array_equal(data.inputs.items[follows], np.roll(data.dataset.items, 1)[follows])
