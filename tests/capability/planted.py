"""Training on planted data and the share of test users whose next item is found; logs that only these tests need."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import DAY, EPOCH, MINUTE, Event, make_dataset
from hrnn_hpo.evaluation.metrics import Truth
from hrnn_hpo.experiment import (
    Experiment,
    ExperimentResult,
    evaluate_model,
    prepare_experiment,
    run_experiment,
    test_part,
)

# Planted rules have no noise worth regularizing: what a model misses then is what it cannot do.
PLAIN: dict[str, Any] = {
    "hidden_dimension": 32,
    "batch_size": 32,
    "learning_rate": 0.01,
    "input_dropout": 0.0,
    "hidden_dropout": 0.0,
    "output_dropout": 0.0,
    "max_user_history_length_percentile": 1.0,
    "repeats": "ignored",  # what is planted here must come from the recurrence
}


@dataclass(frozen=True)
class Trained:
    """A model at its best validation epoch, and what it was trained on."""

    experiment: Experiment
    result: ExperimentResult
    k: int

    def hits(self) -> NDArray[np.bool_]:
        """Return for each test user whether the top `k` items hold a truth item, (R,)."""
        evaluation = evaluate_model(
            self.result.model, self.experiment, test_part(self.experiment), extra_metrics={"hit": self._hit}
        )
        return evaluation.per_user["hit"] > 0

    def hit_rate(self) -> float:
        return float(self.hits().mean())

    def _hit(self, top_items: NDArray[np.int32], truth: Truth) -> NDArray[np.float64]:
        return hit(self.k)(top_items, truth)


def hit(k: int) -> Any:
    """Return a metric: 1 where the top `k` items hold a truth item, else 0."""
    return lambda top_items, truth: truth.hits(top_items)[:, :k].any(axis=1).astype(np.float64)


def train(
    dataset: Dataset, *, k: int = 1, protocol: str = "leave-one-out", seed: int = 0, **hyperparameters: Any
) -> Trained:
    """Return a model trained on one thread, seen items kept; the best epoch has the most hits among the top `k`."""
    changes = {**PLAIN, **hyperparameters}
    configuration = Configuration(
        hyperparameters=Hyperparameters(**{"patience": changes.get("epochs", 40), **changes}),
        protocol=protocol,  # type: ignore[arg-type]
        seed=seed,
        n_threads=1,
    )
    experiment = prepare_experiment(dataset, configuration, "keep")
    result = run_experiment(experiment, device="cpu", objective="hit", extra_metrics={"hit": hit(k)})
    return Trained(experiment, result, k)


def hit_rate(dataset: Dataset, **arguments: Any) -> float:
    """Return the share of test users whose truth is among the top `k` (1 unless told) after training."""
    return train(dataset, **arguments).hit_rate()


def _chain(chooses: NDArray[np.int64], n_items: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return items (n_users, n_events) in which `chooses` at a step picks which of two successors follows."""
    successor = np.empty(n_items, dtype=np.int64)
    order = generator.permutation(n_items)
    successor[order] = np.roll(order, -1)
    items = np.empty_like(chooses)
    items[:, 0] = generator.integers(n_items, size=len(items))
    for step in range(1, items.shape[1]):
        first = successor[items[:, step - 1]]
        items[:, step] = np.where(chooses[:, step - 1] == 1, successor[first], first)
    return items


def session_start_dependence(n_users: int = 300, n_items: int = 20, n_events: int = 20, seed: int = 0) -> Dataset:
    """Return histories in which the last item, and whether it opened a session, tell the next one together.

    Sessions are told by SESSION_ID alone: all events are a minute apart. Best hit rate at 1: 1; 1/2 without sessions.
    """
    generator = np.random.default_rng(seed)
    opens = generator.integers(2, size=(n_users, n_events))
    opens[:, 0] = 0  # a first event is a new user's, not a new session's
    items = _chain(opens, n_items, generator)
    sessions = np.cumsum(opens, axis=1)
    return make_dataset(
        [
            [
                (f"i{items[user, step]:02d}", EPOCH + MINUTE * step, None, None, f"u{user}s{sessions[user, step]:02d}")
                for step in range(n_events)
            ]
            for user in range(n_users)
        ]
    )


def event_value_dependence(n_users: int = 300, n_items: int = 20, n_events: int = 20, seed: int = 0) -> Dataset:
    """Return histories in which the last item and its EVENT_VALUE, 0 or 1, tell the next item together."""
    generator = np.random.default_rng(seed)
    values = generator.integers(2, size=(n_users, n_events))
    items = _chain(values, n_items, generator)
    return make_dataset(
        [
            [
                (f"i{items[user, step]:02d}", EPOCH + MINUTE * step, None, float(values[user, step]))
                for step in range(n_events)
            ]
            for user in range(n_users)
        ]
    )


def spread_over_days(dataset: Dataset, n_days: int, seed: int = 0) -> Dataset:
    """Return the log with each user's history moved to a day of its own, drawn from `n_days` days alike."""
    starts = np.random.default_rng(seed).integers(n_days, size=dataset.n_users) * DAY
    times = np.asarray(dataset.timestamps) + np.repeat(starts, dataset.history_lengths)
    return with_content_hash(replace(dataset, timestamps=times))


def humans_and_robots(n_users: int = 400, seed: int = 0) -> Dataset:
    """Return short histories that walk around items h0 … h9 and long ones that walk around r0 … r9, users in turn.

    Even users are human with 10 events, odd ones robots with 30; each walk is a cycle, so the next item is certain.
    """
    generator = np.random.default_rng(seed)
    histories: list[list[Event]] = []
    for user in range(n_users):
        name, length = ("h", 10) if user % 2 == 0 else ("r", 30)
        start = int(generator.integers(10))
        histories.append([(f"{name}{(start + 3 * step) % 10}", EPOCH + MINUTE * step) for step in range(length)])
    return make_dataset(histories)


def returns(n_users: int = 300, n_items: int = 24, n_events: int = 24, seed: int = 0, *, told_by: str) -> Dataset:
    """Return histories in which the last item and the moment of the next event tell that event's item together.

    One of four successors follows, all alike likely: which, the next event's own time says alone. `told_by` gap: the
    pause before it, a minute, a quarter of an hour, 6 hours or 10 days. `told_by` clock: the quarter of its day, and
    pauses are whole days and a quarter or more. `told_by` session: an event of an own session has the first successor,
    others the second; all are a minute apart. Nothing that happened before says anything about it.

    Best ndcg_at_10 on the last event: 1; without the time (1 + 1/log2(3) + 1/2 + 1/log2(5)) / 4 = .64, for sessions
    (1 + 1/log2(3)) / 2 = .82.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(n_items)
    successors = np.empty((4, n_items), dtype=np.int64)  # of each item four different ones
    for place in range(4):
        successors[place, order] = np.roll(order, -1 - place)
    which = generator.integers(2 if told_by == "session" else 4, size=(n_users, n_events))
    items = np.empty((n_users, n_events), dtype=np.int64)
    items[:, 0] = generator.integers(n_items, size=n_users)
    for step in range(1, n_events):
        items[:, step] = successors[which[:, step], items[:, step - 1]]
    if told_by == "gap":
        pauses = np.array([MINUTE, 15 * MINUTE, 6 * 60 * MINUTE, 10 * DAY])[which]
        times = EPOCH + generator.integers(DAY, size=(n_users, 1)) + np.cumsum(pauses, axis=1)
    elif told_by == "clock":
        days = np.cumsum(generator.integers(1, 4, size=(n_users, n_events)), axis=1)
        times = EPOCH - EPOCH % DAY + DAY * days + DAY // 4 * which + generator.integers(DAY // 4, size=which.shape)
    else:
        times = np.broadcast_to(EPOCH + MINUTE * np.arange(n_events), which.shape)
    sessions = np.cumsum(which == 0, axis=1) if told_by == "session" else None
    return make_dataset(
        [
            [
                (
                    f"i{items[user, step]:02d}",
                    int(times[user, step]),
                    None,
                    None,
                    None if sessions is None else f"u{user}s{sessions[user, step]:02d}",
                )
                for step in range(n_events)
            ]
            for user in range(n_users)
        ]
    )


def own_favourites(n_users: int, n_items: int, n_favourites: int, n_events: int, seed: int = 0) -> Dataset:
    """Return a log in which each user takes items of an own random set, each time any of them, an hour apart."""
    generator = np.random.default_rng(seed)
    histories: list[list[Event]] = []
    for _ in range(n_users):
        own = generator.choice(n_items, size=n_favourites, replace=False)
        items = generator.choice(own, size=n_events)
        histories.append([(f"i{item:03d}", EPOCH + 60 * MINUTE * step) for step, item in enumerate(items)])
    return make_dataset(histories)
