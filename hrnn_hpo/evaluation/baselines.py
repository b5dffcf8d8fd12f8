"""Recommenders without training that every tuned model must beat, fitted on the training events of a split alone.

Each baseline takes (dataset, train, part) and returns the function that scores rows of the part; ranking and metrics
are protocols' work.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.featurize import SECONDS_PER_DAY
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart, expand_ranges, input_events
from hrnn_hpo.evaluation.protocols import (
    Evaluation,
    ScoreRows,
    Seen,
    UserMetric,
    evaluate,
    top_k,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RECENT_DAYS = 30.0  # the window of recent popularity
# An own event counts half after this time: of 7, 30, 60, 120, 365, 3650 the best for the validation users of
# complete-journey (split seeds 0 to 2, ndcg_at_10 .400; 30 days gave .360).
OWN_HALF_LIFE_DAYS = 120.0
N_NEIGHBOURS = 100
N_QUERY_EVENTS = 20
PRODUCT_BLOCK = 8_000_000  # multiplications per block of the item-item product: bounds its memory


def popularity(dataset: Dataset, train: TrainPart, part: EvalPart) -> ScoreRows:
    """Return scores that rank items by their number of training events, the same for every user."""
    events = _training_events(dataset, train)
    return _same_for_all(_dense_ranks(_counts(dataset, events)))


def recent_popularity(dataset: Dataset, train: TrainPart, part: EvalPart) -> ScoreRows:
    """Return scores that rank items by their training events in the log's last 30 days, then by all of them.

    The window is counted back from the last training event, its first second excluded.
    """
    events = _training_events(dataset, train)
    times = dataset.timestamps[events]
    recent = events[times > times.max(initial=0) - RECENT_DAYS * SECONDS_PER_DAY]
    return _same_for_all(_dense_ranks(_counts(dataset, recent), _counts(dataset, events)))


def own_items(dataset: Dataset, train: TrainPart, part: EvalPart) -> ScoreRows:
    """Return scores that rank the user's input items by recency-weighted frequency, all others by popularity behind.

    An input event weighs 2^(-age / 120 days), age counted from the user's last input event.
    """
    behind = _behind(_counts(dataset, _training_events(dataset, train)))

    def score_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        owners, events = input_events(dataset, part, rows)
        ages = (dataset.timestamps[part.truth_starts[rows] - 1][owners] - dataset.timestamps[events]) / SECONDS_PER_DAY
        weights = _user_item_matrix(
            owners, dataset.items[events], (len(rows), dataset.n_items), 2.0 ** (-ages / OWN_HALF_LIFE_DAYS)
        )
        return _in_front(weights, behind)

    return score_rows


def item_knn(dataset: Dataset, train: TrainPart, part: EvalPart) -> ScoreRows:
    """Return scores that add up each item's similarity to the user's last 20 input events, popularity behind.

    Similarity is the cosine of the items' sets of training users; each item of the query speaks for its 100 nearest
    neighbours (equal similarities: the lower item code). Deshpande & Karypis 2004, without their length normalization.
    """
    owners, events = expand_ranges(dataset.user_offsets[train.users], train.stops)
    taken = _user_item_matrix(owners, dataset.items[events], (len(train.users), dataset.n_items))
    taken.data[:] = 1.0
    _, asked = input_events(dataset, part, np.arange(len(part)), last=N_QUERY_EVENTS)
    neighbours = nearest_items(taken, N_NEIGHBOURS, np.unique(dataset.items[asked]))
    behind = _behind(_counts(dataset, events))

    def score_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        owners, events = input_events(dataset, part, rows, last=N_QUERY_EVENTS)
        query = _user_item_matrix(owners, dataset.items[events], (len(rows), dataset.n_items))
        return _in_front(query @ neighbours, behind)

    return score_rows


Baseline = Callable[[Dataset, TrainPart, EvalPart], ScoreRows]
BASELINES: dict[str, Baseline] = {
    "popularity": popularity,
    "recent_popularity": recent_popularity,
    "own_items": own_items,
    "item_knn": item_knn,
}


def evaluate_baselines(
    dataset: Dataset,
    train: TrainPart,
    part: EvalPart,
    *,
    seen: Seen,
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> dict[str, Evaluation]:
    """Return the figures of every baseline on a part, fitted on the same training events as the model beside it."""
    return {
        name: evaluate(
            dataset,
            part,
            baseline(dataset, train, part),
            seen=seen,
            value_weighted=value_weighted,
            extra_metrics=extra_metrics,
        )
        for name, baseline in BASELINES.items()
    }


def nearest_items(taken: "csr_array", k: int, items: NDArray[np.integer] | None = None) -> "csr_array":
    """Return the (V, V) matrix whose row i holds the cosines of item i with its `k` nearest other items.

    `taken` (U, V) holds the users' items. Items that share no user are no neighbours. Given `items`, only their rows
    are filled.
    """
    from scipy.sparse import csr_array
    from sklearn.preprocessing import normalize

    n_items = taken.shape[1]
    columns = csr_array(normalize(taken, axis=0), dtype=np.float32).tocsc()  # (U, V)
    item_rows = columns.T.tocsr()  # (V, U)
    wanted = np.arange(n_items) if items is None else np.asarray(items, dtype=np.int64)
    work = ((taken != 0).astype(np.float64).T @ np.diff(taken.indptr))[wanted]  # multiplications for each item

    sources, targets, cosines = [wanted[:0]], [wanted[:0]], [np.empty(0, dtype=np.float32)]
    for group in _blocks(work):
        block_items = wanted[group]
        # By columns, since the change of format leaves each item's neighbours in ascending order, and cheaply.
        block = (item_rows @ columns[:, block_items]).tocsc()  # (V, b)
        sizes = np.diff(block.indptr)
        # Neighbours side by side, so that top_k's tie rule is the lower item code.
        padded = np.full((len(block_items), max(int(sizes.max()), 1)), -np.inf, dtype=np.float32)
        filled = np.arange(padded.shape[1]) < sizes[:, None]
        padded[filled] = np.where(block.indices == np.repeat(block_items, sizes), -np.inf, block.data)
        top = top_k(padded, k)  # (b, k) places within the padded rows
        row, rank = np.nonzero(top >= 0)
        place = top[row, rank]
        sources.append(block_items[row])
        targets.append(block.indices[block.indptr[row] + place])
        cosines.append(padded[row, place])
    coordinates = (np.concatenate(sources), np.concatenate(targets))
    return csr_array((np.concatenate(cosines), coordinates), shape=(n_items, n_items))


def _blocks(work: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
    """Yield groups of positions with similar work, so that padding wastes little, and bounded work in total."""
    order = np.argsort(work, kind="stable")
    groups = np.cumsum(work[order]) // PRODUCT_BLOCK
    yield from (group for group in np.split(order, np.flatnonzero(np.diff(groups)) + 1) if len(group))


def _training_events(dataset: Dataset, train: TrainPart) -> NDArray[np.int64]:
    return expand_ranges(dataset.user_offsets[train.users], train.stops)[1]


def _counts(dataset: Dataset, events: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(dataset.items[events], minlength=dataset.n_items)


def _dense_ranks(*counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return scores 0, 1, 2, … ordered by the counts, first key first; equal counts have equal scores.

    float32 holds each of them exactly, which sums and counts of a large log would not be.
    """
    _, ranks = np.unique(np.stack(counts), axis=1, return_inverse=True)
    return ranks.reshape(-1).astype(np.float32)


def _behind(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return negative scores in the order of the counts, for the items that a baseline itself says nothing about."""
    ranks = _dense_ranks(counts)
    return ranks - np.float32(ranks.max(initial=0.0) + 1.0)


def _same_for_all(scores: NDArray[np.float32]) -> ScoreRows:
    return lambda rows: np.tile(scores, (len(rows), 1))


def _user_item_matrix(
    owners: NDArray[np.int64],
    items: NDArray[np.integer],
    shape: tuple[int, int],
    weights: NDArray[np.float64] | None = None,
) -> "csr_array":
    """Return the sparse matrix of summed event weights; without weights, of counts."""
    from scipy.sparse import csr_array

    values = np.ones(len(owners)) if weights is None else weights
    return csr_array((values.astype(np.float32), (owners, items)), shape=shape)


def _in_front(found: "csr_array", behind: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return dense scores: the positive entries found, and everywhere else the (negative) scores behind."""
    found = found.tocoo()
    scores = np.tile(behind, (found.shape[0], 1))
    # A very old event's weight may round to zero; it still stands before items never seen.
    scores[found.coords] = np.maximum(found.data, np.finfo(np.float32).tiny)
    return scores
