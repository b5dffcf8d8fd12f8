"""What recommenders without training share: counts, weights that fade with age, and sparse rows as dense scores."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.featurize import SECONDS_PER_DAY, item_counts
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart, expand_ranges, input_events
from hrnn_hpo.evaluation.protocols import ScoreRows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Constants = Mapping[str, float | str]  # by name, as they are reported
# What is fitted on training events answers for a part, with constants that may be chosen afterwards.
Scorer = Callable[[EvalPart, Constants], ScoreRows]


def training_events(dataset: Dataset, train: TrainPart) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (owners, events): the training events in order, and which training user each is of, counted from 0."""
    return expand_ranges(dataset.user_offsets[train.users], train.stops)


def dense_ranks(*keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return scores 0, 1, 2, … ordered by the counts, first key first; equal counts have equal scores.

    float32 holds each of them exactly, which sums and counts of a large log would not be.
    """
    _, ranks = np.unique(np.stack(keys), axis=1, return_inverse=True)
    return ranks.reshape(-1).astype(np.float32)


def behind(dataset: Dataset, train: TrainPart) -> NDArray[np.float32]:
    """Return negative scores in the order of popularity, for the items that a baseline itself says nothing about."""
    ranks = dense_ranks(item_counts(dataset, train))
    return ranks - np.float32(ranks.max(initial=0.0) + 1.0)


def user_item_matrix(
    owners: NDArray[np.int64],
    items: NDArray[np.integer],
    shape: tuple[int, int],
    weights: NDArray[np.float64] | None = None,
) -> "csr_array":
    """Return the sparse matrix of summed event weights; without weights, of counts."""
    from scipy.sparse import csr_array

    values = np.ones(len(owners)) if weights is None else weights
    return csr_array((values.astype(np.float32), (owners, items)), shape=shape)


def item_sets(owners: NDArray[np.int64], items: NDArray[np.integer], shape: tuple[int, int]) -> "csr_array":
    """Return the sparse matrix that has a one where a row has the item, however often."""
    found = user_item_matrix(owners, items, shape)
    found.data[:] = 1.0
    return found


def faded_items(
    dataset: Dataset, part: EvalPart, rows: NDArray[np.int64], half_life: str, *, last: int | None = None
) -> "csr_array":
    """Return the items of some rows' input events, (b, V), an event weighing 2^(-age / half-life).

    The half-life is a text such as "30 days" or "10 events"; age counts from the row's last input event, in time or in
    events. At most the `last` events of a row count.
    """
    number, unit = half_life.split()
    owners, events = input_events(dataset, part, rows, last=last)
    newest = part.truth_starts[rows][owners] - 1
    if unit in ("day", "days"):
        ages = (dataset.timestamps[newest] - dataset.timestamps[events]) / SECONDS_PER_DAY
    else:
        ages = (newest - events).astype(np.float64)
    weights = 2.0 ** (-ages / float(number))
    return user_item_matrix(owners, dataset.items[events], (len(rows), dataset.n_items), weights)


def in_front(found: "csr_array", rest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return dense scores: the positive entries found, and everywhere else the (negative) scores of the rest."""
    found = found.tocoo()
    scores = np.tile(rest, (found.shape[0], 1))
    # A very old event's weight may round to zero; it still stands before items never seen.
    scores[found.coords] = np.maximum(found.data, np.finfo(np.float32).tiny)
    return scores
