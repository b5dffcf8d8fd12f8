"""The training loop: windows of steps, blockwise loss, clipped AdamW, averaged weights, early stopping, exact resume.

It knows no protocol and no metric: `evaluate` is handed in, and what happens to each epoch's report is the caller's.
When early stopping ends a run is stopping's.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrnn_hpo.config import AUTO, Hyperparameters
from hrnn_hpo.data.featurize import item_counts
from hrnn_hpo.data.repeats import Occurrences, occurrences
from hrnn_hpo.data.requests import RequestTimes
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.model.accelerator import send
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.model.inputs import StepInputs, pack, with_events
from hrnn_hpo.model.request_time import pack_requests
from hrnn_hpo.training.averaging import AveragedWeights
from hrnn_hpo.training.batches import epoch_windows, window_steps
from hrnn_hpo.training.criterion import Criterion, NegativeSampler, Targets
from hrnn_hpo.training.keeping import SECONDS_BETWEEN_CHECKPOINTS, Keeper, random_states
from hrnn_hpo.training.optimizer import Optimizer
from hrnn_hpo.training.progress import BegunEpoch, EpochReport, TrainingState
from hrnn_hpo.training.stopping import Validation, is_over, wait_of
from hrnn_hpo.training.targets import AHEAD, FURTHER, REQUESTS, TIES, draw_further, draw_known, draw_targets
from hrnn_hpo.training.ties import shuffle_ties

WARMUP_UPDATES = 50


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from: the log, each step's input, who trains until where, and how much each target weighs."""

    dataset: Dataset
    inputs: StepInputs
    train: TrainPart
    weights: NDArray[np.float32] | None = None  # (N,) per event row, mean 1 over the targets; None: all 1
    occurrences: Occurrences | None = None  # of the whole log; wanted by a model that mixes in the user's own items
    requests: RequestTimes | None = None  # of each event; wanted by a model that reads the time of a request

    def with_shuffled_ties(self, rng: np.random.Generator) -> "TrainingData":
        """Return the data with the training events that share a second in random order; see `shuffle_ties`."""
        dataset = shuffle_ties(self.dataset, self.train, rng)
        known = None if self.occurrences is None else occurrences(dataset)
        return replace(self, dataset=dataset, inputs=with_events(self.inputs, dataset), occurrences=known)

    @property
    def n_targets(self) -> int:
        return int(self.train.lengths(self.dataset).sum())


@dataclass
class FitResult:
    best_epoch: int
    history: list[EpochReport] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """Return the validation metrics of the best epoch."""
        return self.history[self.best_epoch - 1].metrics


def fit(
    model: HRNN,
    data: TrainingData,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    evaluate: Callable[[HRNN], Validation] | None = None,
    objective: str = "ndcg_at_10",
    floor: float = -math.inf,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_update: Callable[[int], None] | None = None,
    checkpoint: Path | None = None,
    seconds_between_checkpoints: float = SECONDS_BETWEEN_CHECKPOINTS,
    fixed_epochs: int | None = None,
) -> FitResult:
    """Train `model` in place and leave the best epoch's weights in it; return the history.

    With `evaluate`, training stops after `patience` epochs without a better `objective` (larger is better): those of
    the warm-up do not count, those within the noise count half, and at or below `floor` it goes on while the loss
    falls. Without, or with `fixed_epochs`, it runs to the last epoch and keeps the last weights. `checkpoint` is a
    file: written after every epoch before `on_epoch` is called, in an epoch after the update by which
    `seconds_between_checkpoints` have passed since the last time, and resumed from when it exists, with the same result
    bit for bit on a CPU. What `on_epoch` raises passes through. `on_update` is told the targets learned from so far in
    the epoch.

    Raises RunFailedError when the loss stops being finite, ConfigError for a number that is still `auto`.
    """
    hp = hyperparameters
    for name in ("batch_size", "targets_ahead"):
        if getattr(hp, name) == AUTO:
            raise ConfigError(f"`{name}` must be a number here, but got auto; experiment.resolve_auto finds one.")
    optimizer = Optimizer(model, hp.learning_rate, hp.weight_decay)
    sampler = _negative_sampler(data, hp) if hp.n_negatives else None
    averaged = AveragedWeights(model, hp.weight_averaging)
    keeper = Keeper(checkpoint, seconds_between_checkpoints, model, optimizer, averaged)
    state = keeper.resume()
    n_epochs = fixed_epochs or hp.epochs

    stops_early = evaluate is not None and fixed_epochs is None

    while state.epoch < n_epochs and not (stops_early and is_over(state, hp.patience, floor)):
        state.epoch += 1
        began = time.perf_counter() - (state.begun.seconds if state.begun else 0.0)
        train_loss = _train_epoch(model, data, hp, optimizer, sampler, averaged, state, seed, keeper, began, on_update)
        state.begun = None
        trained = time.perf_counter()
        found = Validation({})
        if evaluate is not None:
            with averaged.applied(model):
                found = evaluate(model)
            found.keep(state.epoch)  # before the checkpoint: a run that is resumed validates no epoch again
        metrics = dict(found.metrics)
        is_best = evaluate is None or fixed_epochs is not None or metrics[objective] > state.best_value
        if is_best:
            state.best_epoch, state.epochs_without_gain = state.epoch, 0
            state.best_value, state.best_per_user = metrics.get(objective, math.nan), found.per_user
            with averaged.applied(model):
                _keep_weights(model, state)
        elif state.update > WARMUP_UPDATES:
            state.epochs_without_gain += wait_of(found.per_user, state.best_per_user)
        report = EpochReport(
            epoch=state.epoch,
            train_loss=train_loss,
            metrics=metrics,
            seconds=trained - began,
            validation_seconds=time.perf_counter() - trained,
            targets_per_second=data.n_targets / (trained - began),
            is_best=is_best,
        )
        state.history.append(report)
        keeper.keep(state)
        if on_epoch is not None:
            on_epoch(report)

    model.load_state_dict(state.best_weights)
    return FitResult(best_epoch=state.best_epoch, history=state.history)


def _train_epoch(
    model: HRNN,
    data: TrainingData,
    hp: Hyperparameters,
    optimizer: Optimizer,
    sampler: NegativeSampler | None,
    averaged: AveragedWeights,
    state: TrainingState,
    seed: int,
    keeper: Keeper,
    began: float,
    on_update: Callable[[int], None] | None,
) -> float:
    """Run one epoch, or what is left of a begun one, and return its mean loss per target.

    All draws come from (seed, epoch). `began`, by time.perf_counter, is when it would have begun without a break.
    """
    assert isinstance(hp.batch_size, int)
    device = model.item_bias.device
    rng = np.random.default_rng((seed, state.epoch))
    torch.manual_seed(int(rng.integers(2**62)))
    starts = np.asarray(data.dataset.user_offsets)[data.train.users]
    trains = data.train.stops > starts
    model.train()
    low_precision = in_bfloat16(hp, device)
    if hp.shuffle_ties:
        data = data.with_shuffled_ties(np.random.default_rng((seed, state.epoch, *TIES)))
    lanes = model.start_state(min(hp.batch_size, int(trains.sum())))  # (n_blocks, B, S)
    ahead = None
    assert not isinstance(hp.targets_ahead, str)
    if hp.targets_ahead > 1:
        drawing = np.random.default_rng((seed, state.epoch, *AHEAD))
        ahead = draw_targets(data.dataset, data.train, hp.targets_ahead, drawing)
    further = None
    if model.further_heads is not None:
        further = draw_further(data.dataset, data.train, np.random.default_rng((seed, state.epoch, *FURTHER)))
    known = None
    if model.request_time is not None:
        known = draw_known(data.dataset.n_events, np.random.default_rng((seed, state.epoch, *REQUESTS)))
    criterion = Criterion(model, data.dataset, data.occurrences, sampler)
    total_loss = torch.zeros((), device=device)
    n_windows = n_done = 0
    windows = epoch_windows(starts[trains], data.train.stops[trains], hp.batch_size, window_steps(hp.bptt), rng)
    if state.begun is not None:
        keeper.go_on(state.begun, windows, rng, lanes, total_loss)
        n_windows, n_done = state.begun.n_windows, state.begun.n_targets
    for window in windows:
        inputs, rows = pack(data.inputs, window.starts, window.lengths, device)
        weights = None if data.weights is None else send(data.weights[rows], device)  # (N,)
        order = send(window.lanes, device)
        lanes[:, send(window.lanes[window.fresh], device)] = 0.0  # a new user's lane forgets the last user

        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low_precision):
            requests = None
            if known is not None:
                assert data.requests is not None
                requests = pack_requests(data.requests.take(rows), device, known[rows])
            outputs, final = model(inputs, lanes[:, order], hp.bptt, requests=requests)  # (N, H)
            at = Targets(inputs, window, rows, weights)
            loss = criterion(outputs, at, None if ahead is None else ahead[rows], rng)
            minimized = loss
            if further is not None:
                minimized = loss + hp.further_heads_weight * criterion.further(outputs, at, further[rows], rng)
        lanes[:, order] = final  # carried without gradient: the border of truncated back-propagation

        optimizer.zero_grad()
        minimized.backward()  # type: ignore[no-untyped-call]
        optimizer.clip_gradients(hp.gradient_clip)
        state.update += 1
        optimizer.step(warmup=min(1.0, state.update / WARMUP_UPDATES))
        averaged.update(model)

        total_loss += loss.detach() * len(rows)
        n_windows, n_done = n_windows + 1, n_done + len(rows)
        if on_update is not None:
            on_update(n_done)
        if device.type == "cpu":
            _finite(total_loss, state)
        if keeper.is_due:
            seconds = time.perf_counter() - began
            random = random_states(device)
            keeper.keep(
                state, BegunEpoch(n_windows, n_done, seconds, lanes, total_loss, rng.bit_generator.state, random)
            )
    return _finite(total_loss, state) / n_done  # an accelerator is looked at once an epoch: each look waits for it


def _keep_weights(model: HRNN, state: TrainingState) -> None:
    """Copy the model's weights over the best ones so far: never two copies beside the model, however large it is."""
    for name, value in model.state_dict().items():
        if name in state.best_weights:
            state.best_weights[name].copy_(value)
        else:
            state.best_weights[name] = value.detach().clone()


def in_bfloat16(hp: Hyperparameters, device: torch.device) -> bool:
    """Return whether the large products of training are made in bfloat16; `auto` wants a GPU that is made for it.

    A CPU is asked for it by name: few have units for bfloat16, and without them it is many times slower.
    """
    if hp.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return hp.precision == "bfloat16"


def _finite(loss: Tensor, state: TrainingState) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise RunFailedError(
            f"The loss must stay finite, but got {value} in epoch {state.epoch}, update {state.update}; "
            "a lower learning_rate usually helps."
        )
    return value


def _negative_sampler(data: TrainingData, hp: Hyperparameters) -> NegativeSampler:
    return NegativeSampler(item_counts(data.dataset, data.train), hp.n_negatives, hp.negative_alpha)
