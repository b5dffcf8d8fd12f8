"""From encoded events to what the model reads and is weighted by: gaps, signals, the scale of values, recency,
popularity, who trains.

Everything that is fitted here is fitted on training events alone. Tensors and batches are training's work.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.blocks import pairs_of_events, training_rows, zeros
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.sessions import first_rows, session_starts
from hrnn_hpo.data.splits import Split, TrainPart
from hrnn_hpo.errors import ConfigError, DataError

SECONDS_PER_DAY = 86_400
RECENT_DAYS = 30.0  # the last window of the training log, whose popularity is asked for beside that of all of it

MAX_DEVIATIONS = 5.0  # of a value from the mean: one purchase of a thousand times the usual must not drown its item
N_GAP_BUCKETS = 32
CONTINUE, NEW_SESSION, NEW_USER = 0, 1, 2
N_CONTROL_SIGNALS = 3


@dataclass(frozen=True)
class EventFeatures:
    """What the model reads of each event besides its item; all arrays (N,), the last two the log's own."""

    gap_buckets: NDArray[np.uint8]  # 0 = first event of the user, else `gap_bucket`; below N_GAP_BUCKETS
    control: NDArray[np.uint8]  # CONTINUE, NEW_SESSION or NEW_USER
    type_codes: NDArray[np.int32] | None  # as in the log, -1 = none; the model reads 1 + code
    event_values: NDArray[np.float32] | None  # as in the log, NaN where empty; the model standardizes them

    @property
    def event_types(self) -> NDArray[np.int32] | None:
        """Return 1 + code of the event type, 0 = none, (N,)."""
        return None if self.type_codes is None else self.type_codes + np.int32(1)


@dataclass(frozen=True)
class ValueScale:
    """How EVENT_VALUE becomes a number of the size of 1: (value - mean) / deviation, at most `limit` from 0."""

    mean: float
    deviation: float
    limit: float


AS_IT_IS = ValueScale(0.0, 1.0, math.inf)  # how models of version 0.1.0 read their values


def value_scale(dataset: Dataset, train: TrainPart) -> ValueScale:
    """Return mean and standard deviation of the values of the training events, empty ones left out.

    Where they are all the same, or all empty, the limit is 0: nothing can be learned from them.
    """
    if dataset.event_values is None:
        return AS_IT_IS
    n, total, low, high = 0, 0.0, math.inf, -math.inf
    for values in _values(dataset.event_values, dataset, train):
        n, total = n + len(values), total + float(values.sum())
        low, high = min(low, float(values.min(initial=math.inf))), max(high, float(values.max(initial=-math.inf)))
    if n == 0 or low == high:
        return ValueScale(0.0, 1.0, 0.0)
    mean = total / n
    squares = sum(float(np.square(values - mean).sum()) for values in _values(dataset.event_values, dataset, train))
    return ValueScale(mean, math.sqrt(squares / n), MAX_DEVIATIONS)


def _values(event_values: NDArray[np.float32], dataset: Dataset, train: TrainPart) -> Iterator[NDArray[np.float64]]:
    """Yield the values of the training events piece by piece, empty ones left out."""
    for rows in training_rows(dataset, train):
        values = event_values[rows].astype(np.float64)
        yield values[~np.isnan(values)]


def event_features(dataset: Dataset, session_gap: int) -> EventFeatures:
    """Return the inputs of every event; `session_gap` is the pause in seconds that ends a session."""
    control = np.where(session_starts(dataset, session_gap), np.uint8(NEW_SESSION), np.uint8(CONTINUE))
    gap_buckets = np.zeros(dataset.n_events, dtype=np.uint8)
    for part in pairs_of_events(dataset.n_events):
        gaps = np.maximum(np.diff(dataset.timestamps[part]), 0)  # negative across users, reset below
        gap_buckets[part][1:] = gap_bucket(gaps)
    firsts = first_rows(dataset)
    control[firsts] = NEW_USER
    gap_buckets[firsts] = 0
    return EventFeatures(
        gap_buckets=gap_buckets,
        control=control,
        type_codes=dataset.event_types,
        event_values=dataset.event_values,
    )


def gap_bucket(gap_seconds: NDArray[np.int64] | int) -> NDArray[np.uint8]:
    """Return 1 + floor(log2(1 + gap)), at most N_GAP_BUCKETS - 1: each bucket spans twice the time of the one before.

    Events in the same second fall into bucket 1, an hour apart into 12, a year apart into 25.
    """
    exponents = np.frexp(np.asarray(gap_seconds, dtype=np.float64) + 1)[1]  # 1 + gap = m * 2 ** e, .5 <= m < 1
    return np.minimum(exponents, N_GAP_BUCKETS - 1).astype(np.uint8)


def some_users(train: TrainPart, fraction: float, seed: int) -> TrainPart:
    """Return a random share of the training users, at least one; a smaller share of the same seed is a part of it."""
    n = max(1, round(fraction * len(train.users)))
    kept = np.sort(np.random.default_rng(seed).permutation(len(train.users))[:n])
    return train.take(kept)


def filter_by_history_length(split: Split, dataset: Dataset, low: float, high: float) -> TrainPart:
    """Return the training users whose history length lies within the inclusive [low, high] quantiles.

    Lengths count training events, and the quantiles (linear between neighbours) are those of the training users
    alone. Evaluated users stay as they are: who is left out of training is still recommended to.

    Raises ConfigError unless 0 <= low <= high <= 1, DataError when nobody is left.
    """
    if not 0.0 <= low <= high <= 1.0:
        raise ConfigError(
            "`0 <= min_user_history_length_percentile <= max_user_history_length_percentile <= 1` must hold, "
            f"but got {low} and {high}."
        )
    train = split.train
    lengths = train.lengths(dataset)
    shortest, longest = np.quantile(lengths, [low, high])
    keep = (lengths >= shortest) & (lengths <= longest)
    if not keep.any():
        raise DataError(
            f"No training user has between {shortest:g} and {longest:g} events, the {low:g} and {high:g} quantiles of "
            "the history lengths; widen the two percentiles."
        )
    return train.take(keep)


def recency_weights(dataset: Dataset, train: TrainPart, half_life_days: float) -> NDArray[np.float32]:
    """Return 2 ** (-age / half life) for each training target, scaled to mean 1 over them; 0 elsewhere, (N,).

    Age counts from the last training event, so that a later test period changes nothing.
    """
    if not half_life_days > 0:
        raise ConfigError(f"`recency_half_life > 0` days must hold, but got {half_life_days}.")
    weights: NDArray[np.float32] = zeros(dataset.n_events, np.float32)
    newest = _newest(dataset, train)

    def raw(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        ages = (newest - dataset.timestamps[rows]) / SECONDS_PER_DAY
        found: NDArray[np.float64] = np.exp2(-ages / half_life_days)
        return found

    n, total = 0, 0.0
    for rows in training_rows(dataset, train):
        n, total = n + len(rows), total + float(raw(rows).sum())
    for rows in training_rows(dataset, train):
        if len(rows):
            weights[rows] = raw(rows) / (total / n)
    return weights


def log_popularity(dataset: Dataset, train: TrainPart, last_days: float | None) -> NDArray[np.float32]:
    """Return log((count + 1) / (total + V)) of each item over the training events, (V,).

    With `last_days`, only training events of the last so many days of the training log count.
    """
    counts = item_counts(dataset, train, last_days)
    shares: NDArray[np.float64] = (counts + 1) / (counts.sum() + dataset.n_items)
    return np.log(shares).astype(np.float32)


def item_counts(dataset: Dataset, train: TrainPart, last_days: float | None = None) -> NDArray[np.int64]:
    """Return the number of training events of each item, (V,); with `last_days`, of the last so many days alone.

    These days are counted back from the last training event, their first second excluded.
    """
    after = None if last_days is None else _newest(dataset, train) - last_days * SECONDS_PER_DAY
    counts = np.zeros(dataset.n_items, dtype=np.int64)
    for rows in training_rows(dataset, train):
        if after is not None:
            rows = rows[dataset.timestamps[rows] > after]
        counts += np.bincount(dataset.items[rows], minlength=dataset.n_items)
    return counts


def _newest(dataset: Dataset, train: TrainPart) -> int:
    """Return the time of the last training event, 0 where there is none."""
    lasts = train.stops[train.lengths(dataset) > 0] - 1
    return int(dataset.timestamps[lasts].max(initial=0))
