"""Which events each step learns: the user's very next one, or one of the next few, and whether it is told when that is.

All is drawn anew each epoch, and so is the later event that a further head learns. Where the truth is a set of coming
events, the very next one is only one of them. Drawing is a sampled form of PinnerFormer's dense all-action loss (Pancha
et al., KDD 2022), at no cost: each step still has one target. The request is then made at the time of the very next
event, as in evaluation.
"""

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart, expand_ranges
from hrnn_hpo.model.further_heads import HORIZONS

SHARE_UNKNOWN = 0.5  # of the steps; scripts/benchmarks/request_time.py compares a quarter with it
REQUESTS, FURTHER = (0, 1), (0, 2)  # beside seed and epoch: streams of their own


def draw_targets(dataset: Dataset, train: TrainPart, n_ahead: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return how many events after each event the one is that the step before it learns, (N,); 0: the event itself.

    Of a training target each of the `n_ahead` events from it on is equally likely, as far as the user's training events
    go. Other events are their own target.
    """
    starts = np.asarray(dataset.user_offsets)[train.users]
    owners, rows = expand_ranges(starts, train.stops)
    later = train.stops[owners] - 1 - rows  # training events of the same user after each
    ahead = np.zeros(dataset.n_events, dtype=np.uint8)
    ahead[rows] = rng.integers(0, np.minimum(later, n_ahead - 1), endpoint=True)
    return ahead


def draw_further(dataset: Dataset, train: TrainPart, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return how many events after each event the one is that a further head of the step before it learns, (N,).

    Of a training target each head whose horizon the user's training events reach is equally likely, then each event in
    the reach of its horizon: one target a step, whatever the number of heads. 0: no head learns anything.
    """
    starts = np.asarray(dataset.user_offsets)[train.users]
    owners, rows = expand_ranges(starts, train.stops)
    later = train.stops[owners] - 1 - rows
    firsts, lasts = np.array(HORIZONS).T
    n_heads = np.searchsorted(firsts, later, side="right")  # (R,) horizons that begin within the user's events
    learns = np.flatnonzero(n_heads)
    later = later[learns]
    heads = rng.integers(0, n_heads[learns])
    ahead = np.zeros(dataset.n_events, dtype=np.uint8)
    ahead[rows[learns]] = rng.integers(firsts[heads], np.minimum(lasts[heads], later), endpoint=True)
    return ahead


def draw_known(n_events: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return for each event whether the step before it is told the time of the request, (N,).

    Steps that are not told learn to answer as they must where nobody gives a time.
    """
    return rng.integers(0, 256, n_events, dtype=np.uint8) >= round(256 * SHARE_UNKNOWN)
