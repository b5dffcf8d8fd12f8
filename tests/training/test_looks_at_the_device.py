"""An epoch on a GPU reads one number from it. PyTorch's meta tensors have no values: another look at them is an error.

No GPU is needed. A look is what waits for the queue: a value, a truth, a list whose length the values decide.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import inputs_of, model_for, small_configuration
from strategies import train_part_of
from torch import Tensor

from hrnn_hpo.data.featurize import event_features
from hrnn_hpo.data.repeats import occurrences
from hrnn_hpo.data.requests import requests_of_events
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.model import recurrence
from hrnn_hpo.model.losses import sampled_softmax_cross_entropy
from hrnn_hpo.training import trainer
from hrnn_hpo.training.trainer import TrainingData, fit

DATASET = markov(n_users=30, n_items=12, n_events=20)
META = torch.device("meta")
KINDS: dict[str, dict[str, Any]] = {
    "control": {"output_dropout": 0.3, "bptt": 4, "n_blocks": 2},
    "hierarchical": {"architecture": "hierarchical", "hierarchy": "all", "session_gap": 60},
    "averaged weights": {"weight_averaging": 0.9},
    "repeats": {"repeats": "mixed"},
    "recency": {"recency_mask": True},
    "further heads": {"further_heads_weight": 0.5},
    "request time": {"request_time": "gap+session+clock"},
}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Let the meta device be treated as a GPU is; return where the loss was looked at."""
    found: list[torch.device] = []

    def look(loss: Tensor, state: object) -> float:
        found.append(loss.device)
        return 1.0

    monkeypatch.setattr(trainer, "_finite", look)
    monkeypatch.setattr(recurrence, "calls_torch_gru", lambda device: device.type == "meta")
    # What PyTorch does not have for a device without values: lower precision, and the optimizer in one kernel.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *given, fused, **named: adamw(*given, **named))
    return found


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_an_epoch_looks_at_the_device_once(changes: dict[str, Any], looks: list[torch.device]) -> None:
    weights = np.ones(DATASET.n_events, np.float32)
    requests = requests_of_events(DATASET, event_features(DATASET, 60))
    data = TrainingData(
        DATASET, inputs_of(DATASET, 60), train_part_of(DATASET), weights, occurrences(DATASET), requests
    )
    hyperparameters = small_configuration(**{**changes, "epochs": 1}).hyperparameters
    updates: list[int] = []
    fit(model_for(DATASET, **changes).to(META), data, hyperparameters, seed=0, on_update=updates.append)
    assert len(updates) > 1
    assert [device.type for device in looks] == ["meta"]


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
    ],
)
def test_such_a_look_is_an_error(look: Callable[[Tensor], object]) -> None:
    with pytest.raises((RuntimeError, TypeError)):
        look(torch.empty(3, device=META))


def test_the_loss_of_sampled_negatives_looks_at_nothing(looks: list[torch.device]) -> None:
    """Its hits are masked without a list of them; only the embedding's sparse gradient must be counted."""
    new = partial(torch.empty, device=META)
    states, own, negatives = new(6, 4, requires_grad=True), new(6, 4, requires_grad=True), new(3, 4)
    codes, drawn = new(6, dtype=torch.int64), new(3, dtype=torch.int64)
    loss = sampled_softmax_cross_entropy(states, own, new(6), negatives, new(3), codes, drawn, new(3))
    loss.backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None
    assert looks == []
