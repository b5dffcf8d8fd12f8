"""Which events each step learns: the user's very next one, or a later one, and whether it is told when that is.

All is drawn anew each epoch, and so is the later event that a further head learns. Where the truth is a set of coming
events, the very next one is only one of them. Drawing distances from a geometric distribution is a sampled form of
discounted occupancy, as successor representations learn it (Dayan 1993), at no cost: each step still has one target.
The request is then made at the time of the very next event, as in evaluation.
"""

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.config import MOST_TARGETS_AHEAD
from hrnn_hpo.data.blocks import training_rows, zeros
from hrnn_hpo.data.repeats import basket_size
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import SINGLE_TRUTH, Protocol, TrainPart
from hrnn_hpo.model.further_heads import HORIZONS

SHARE_UNKNOWN = 0.5  # of the steps; scripts/benchmarks/quality/request_time.py compares a quarter with it
AHEAD_OF_SETS = 1.5  # scripts/benchmarks/quality/defaults.py has the logs that it was chosen on
MOST_AHEAD = 255  # events between a step's own and its target: they are kept as bytes
REQUESTS, FURTHER, AHEAD, TIES = (0, 1), (0, 2), (0, 3), (0, 4)  # beside seed and epoch: streams of their own


def auto_targets_ahead(
    dataset: Dataset, protocol: Protocol, session_gap: int, repeat_share: float | None = None
) -> float:
    """Return how many events ahead a step's target should lie on average for what `protocol` asks.

    One where the truth is a single event. A little more where it is a set of coming events: what follows the next one
    then has an order too, and the next one is still learned two times out of three. In a log of baskets two baskets,
    since what lies in the same one says little of the next. `repeat_share` is the log's, where the caller has it.
    """
    if protocol in SINGLE_TRUTH:
        return 1.0
    size = basket_size(dataset, session_gap, repeat_share)
    return AHEAD_OF_SETS if size is None else min(round(2 * size, 1), MOST_TARGETS_AHEAD)


def draw_targets(dataset: Dataset, train: TrainPart, mean: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return how many events after each event the one is that the step before it learns, (N,); 0: the event itself.

    The distances of training targets are geometric: each further event is less likely by the factor 1 - 1 / `mean`,
    so a target lies `mean` events ahead of its step on average, where the user's training events go that far (at most
    MOST_AHEAD more are looked at). Other events are their own target.
    """
    ahead = zeros(dataset.n_events, np.uint8)
    if mean == 1:
        return ahead
    falloff = np.log1p(-1.0 / mean)
    for rows in training_rows(dataset, train):
        later = np.minimum(_later(train, rows), MOST_AHEAD)
        reached = -np.expm1(falloff * (later + 1.0))  # what the distribution gives to distances of at most `later`
        drawn = np.log1p(-rng.random(len(rows)) * reached) / falloff  # the inverse of the distribution, cut there
        ahead[rows] = np.minimum(drawn.astype(np.int64), later)
    return ahead


def draw_further(dataset: Dataset, train: TrainPart, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return how many events after each event the one is that a further head of the step before it learns, (N,).

    Of a training target each head whose horizon the user's training events reach is equally likely, then each event in
    the reach of its horizon: one target a step, whatever the number of heads. 0: no head learns anything.
    """
    ahead = zeros(dataset.n_events, np.uint8)
    firsts, lasts = np.array(HORIZONS).T
    for rows in training_rows(dataset, train):
        later = _later(train, rows)
        n_heads = np.searchsorted(firsts, later, side="right")  # (R,) horizons that begin within the user's events
        learns = np.flatnonzero(n_heads)
        later = later[learns]
        heads = rng.integers(0, n_heads[learns])
        ahead[rows[learns]] = rng.integers(firsts[heads], np.minimum(lasts[heads], later), endpoint=True)
    return ahead


def _later(train: TrainPart, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many training events of the same user come after each of some training targets, (R,)."""
    return train.stops[np.searchsorted(train.stops, rows, side="right")] - 1 - rows


def draw_known(n_events: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return for each event whether the step before it is told the time of the request, (N,).

    Steps that are not told learn to answer as they must where nobody gives a time.
    """
    return rng.integers(0, 256, n_events, dtype=np.uint8) >= round(256 * SHARE_UNKNOWN)
