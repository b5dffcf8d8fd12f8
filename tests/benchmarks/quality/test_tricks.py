"""What the ablation patches into the trainer does what its name says."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from small_runs import small_configuration
from torch.nn import functional as F

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model import losses
from hrnn_hpo.model.hrnn import HRNN, Catalogue
from hrnn_hpo.model.inputs import PackedInputs
from hrnn_hpo.training import trainer
from scripts.benchmarks.quality import tricks


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
    "trick",
    [
        lambda: tricks.adagrad(0.05),
        tricks.gated_branches,
        tricks.cosine_scores,
        tricks.gated_tables,
        tricks.attention_head,
    ],
)
def test_a_model_with_the_trick_learns(trick: Callable[[], AbstractContextManager[None]]) -> None:
    with trick():
        result = run_experiment(prepare_experiment(markov(n_users=60), small_configuration(epochs=4)), device="cpu")
    losses_of_epochs = [report.train_loss for report in result.history]
    assert losses_of_epochs[-1] < losses_of_epochs[0]


LENGTHS = (9, 7, 2)  # steps of three users


@pytest.fixture
def head() -> tricks.AttentionHead:
    """Return a model that attends to the last 4 states from 3 steps at once, in evaluation."""
    torch.manual_seed(0)
    model = tricks.AttentionHead(Catalogue(n_items=20), Hyperparameters(hidden_dimension=8, n_blocks=2))
    model.span, model.chunk = 4, 3
    model.distance = torch.nn.Parameter(torch.randn(4))
    return model.eval()


def packed(lengths: Sequence[int], first: int = 0) -> PackedInputs:
    """Return the steps of users from their step `first` on; step t of user u reads item (5 u + t) mod 20."""
    steps = [(t, u) for t in range(max(lengths)) for u in range(len(lengths)) if t < lengths[u]]
    items = torch.tensor([(5 * u + first + t) % 20 for t, u in steps])
    zeros = torch.zeros(len(steps), dtype=torch.int64)
    sizes = [sum(length > t for length in lengths) for t in range(max(lengths))]
    return PackedInputs(items, zeros, zeros, None, None, sizes, np.zeros(0, dtype=np.int64))


def test_an_attention_head_starts_without_effect(head: tricks.AttentionHead) -> None:
    torch.manual_seed(0)
    plain = HRNN(head.catalogue, Hyperparameters(hidden_dimension=8, n_blocks=2)).eval()
    inputs = packed(LENGTHS)
    outputs, _ = head(inputs, head.start_state(3))
    torch.testing.assert_close(outputs, plain(inputs, plain.start_state(3))[0])


def test_an_attention_head_reads_the_last_states_of_the_same_user(head: tricks.AttentionHead) -> None:
    inputs = packed(LENGTHS)
    states, _ = head(inputs, head.start_state(3))  # (N, H), as the head adds nothing yet
    torch.nn.init.normal_(head.value)
    outputs, _ = head(inputs, head.start_state(3))
    owners = [u for t in range(9) for u in range(3) if t < LENGTHS[u]]
    for row, owner in enumerate(owners):
        last = [other for other in range(row + 1) if owners[other] == owner][-4:]
        scores = [
            head.query(states[row]) @ head.key(states[other]) / 8**0.5 + head.distance[place - len(last)]
            for place, other in enumerate(last)
        ]
        read = torch.softmax(torch.stack(scores), dim=0) @ states[last] @ head.value
        torch.testing.assert_close(outputs[row], states[row] + read)


def test_an_attention_head_remembers_over_windows(head: tricks.AttentionHead) -> None:
    torch.nn.init.normal_(head.value)
    whole, final = head(packed(LENGTHS), head.start_state(3))
    first, state = head(packed((2, 2, 2)), head.start_state(3))
    kept = torch.arange(3, 12)
    second, last = head(packed((7, 5), first=2), state[:, :2], keep=kept)
    torch.testing.assert_close(torch.cat([first, second]), torch.cat([whole[:6], whole[6 + kept]]))
    torch.testing.assert_close(torch.cat([last, state[:, 2:]], dim=1), final)
