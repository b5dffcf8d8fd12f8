"""Items by similarity to the items of the user's input: cosines of the items' sets of training users."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart, input_events
from hrnn_hpo.evaluation.protocols import ScoreRows, top_k
from hrnn_hpo.evaluation.untrained.common import (
    Constants,
    Scorer,
    behind,
    faded_items,
    in_front,
    item_sets,
    training_events,
    user_item_matrix,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

N_NEIGHBOURS = 100
N_QUERY_EVENTS = 20
N_FADED_EVENTS = 200
PRODUCT_BLOCK = 8_000_000  # multiplications per block of the item-item product: bounds its memory


def item_knn(dataset: Dataset, train: TrainPart) -> Scorer:
    """Return scores that add up each item's similarity to the user's last 20 input events, popularity behind.

    Similarity is the cosine of the items' sets of training users; each item of the query speaks for its 100 nearest
    neighbours (equal similarities: the lower item code). Deshpande & Karypis 2004, without their length normalization.
    """
    taken, rest = _taken(dataset, train), behind(dataset, train)

    def scorer(part: EvalPart, constants: Constants) -> ScoreRows:
        neighbours = _neighbours(dataset, part, taken, N_QUERY_EVENTS)

        def score_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            owners, events = input_events(dataset, part, rows, last=N_QUERY_EVENTS)
            query = user_item_matrix(owners, dataset.items[events], (len(rows), dataset.n_items))
            return in_front(query @ neighbours, rest)

        return score_rows

    return scorer


def item_knn_decay(dataset: Dataset, train: TrainPart) -> Scorer:
    """Return item_knn's scores of the last 200 input events, a later event weighing more. Constants: `half_life`."""
    taken, rest = _taken(dataset, train), behind(dataset, train)
    known: list[tuple[EvalPart, csr_array]] = []  # the neighbours for the part that was asked last

    def scorer(part: EvalPart, constants: Constants) -> ScoreRows:
        if not known or known[0][0] is not part:
            known[:] = [(part, _neighbours(dataset, part, taken, N_FADED_EVENTS))]
        neighbours, half_life = known[0][1], str(constants["half_life"])

        def score_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            query = faded_items(dataset, part, rows, half_life, last=N_FADED_EVENTS)
            return in_front(query @ neighbours, rest)

        return score_rows

    return scorer


def _taken(dataset: Dataset, train: TrainPart) -> "csr_array":
    """Return the training users' sets of items, (U, V)."""
    owners, events = training_events(dataset, train)
    return item_sets(owners, dataset.items[events], (len(train.users), dataset.n_items))


def _neighbours(dataset: Dataset, part: EvalPart, taken: "csr_array", last: int) -> "csr_array":
    """Return the neighbours of the items that the part's last input events ask for."""
    _, asked = input_events(dataset, part, np.arange(len(part)), last=last)
    return nearest_items(taken, N_NEIGHBOURS, np.unique(dataset.items[asked]))


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
    """Yield groups of positions with bounded work in total, no two of a group further apart than a factor of two.

    An item has at most as many neighbours as it makes work, so rows padded to the longest of a group hold at most twice
    the group's work, however unequal the log's items are.
    """
    order = np.argsort(work, kind="stable")
    groups = np.cumsum(work[order]) // PRODUCT_BLOCK
    powers = np.frexp(work[order])[1]
    borders = np.flatnonzero((np.diff(groups) > 0) | (np.diff(powers) > 0)) + 1
    yield from (group for group in np.split(order, borders) if len(group))
