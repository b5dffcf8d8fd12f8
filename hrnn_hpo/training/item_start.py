"""Where item embeddings start: near those of the items that are like them in the training histories.

A table that starts at random has to learn from single steps which items are alike, and on a small log it learns that
last. How alike two items are can be counted before, and factorized:

- `neighbours`: their pointwise mutual information within a few events, negative values left out. That is what
  word2vec's skip-gram makes of text, in closed form (Levy & Goldberg, NeurIPS 2014).
- `users`: the cosine of the sets of users who have them (EigenRec: Nikolakopoulos et al., Knowledge and Information
  Systems 2019, with d = 0), its first direction left out: that one is popularity's, which the item bias has already.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.blocks import training_rows
from hrnn_hpo.data.featurize import some_users
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WINDOW = 10  # events to either side; one that is k events away counts 1 / k
SMOOTHING = 0.75  # power of the items' frequencies as context (Levy, Goldberg & Dagan, TACL 2015)
MOST_EVENTS = 2_000_000  # counted; of a larger log those of a random part of the users, about a gigabyte at most


def item_vectors(
    dataset: Dataset, train: TrainPart, dimension: int, seed: int, start: Literal["neighbours", "users"]
) -> NDArray[np.float32]:
    """Return vectors of items whose products say how alike items are in training, (V, dimension), of deviation 1.

    An item that has no other one beside it in training is zero, and so are all where no item has.
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    part = _part(dataset, train, seed)
    if start == "neighbours":
        shared, power, first = _information(_near(dataset, part)), 0.5, 0
    else:  # the root of the cosines, and so its singular values whole
        shared, power, first = _users(dataset, part), 1.0, 1
    n_components = min(dimension + first, *shared.shape)
    vectors = np.zeros((dataset.n_items, dimension), dtype=np.float32)
    # Products of one thread: the same vectors in every process, whatever number of threads it has.
    with threadpool_limits(1):
        # scikit-learn takes 32 bits.
        left, values, _ = randomized_svd(shared, n_components, n_iter=4, random_state=seed % 2**32)
        vectors[:, : n_components - first] = (left * values**power)[:, first:]
        # Turned at random: as they are, the first units would carry nearly all, and each gate reads units one by one.
        turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension, dimension)))
        turned: NDArray[np.float32] = vectors @ turn.astype(np.float32)
    return turned / (turned.std() or np.float32(1.0))


def _part(dataset: Dataset, train: TrainPart, seed: int) -> TrainPart:
    """Return as many of the training users as have MOST_EVENTS events in the mean."""
    n_events = int(train.lengths(dataset).sum())
    return train if n_events <= MOST_EVENTS else some_users(train, MOST_EVENTS / n_events, seed)


def _near(dataset: Dataset, train: TrainPart) -> "csr_array":
    """Return how often two different items stand near each other, (V, V), symmetric."""
    from scipy.sparse import csr_array

    rows = np.concatenate([np.empty(0, np.int64), *training_rows(dataset, train)])
    users, items = np.searchsorted(train.stops, rows, side="right"), np.asarray(dataset.items)[rows]
    shape = (dataset.n_items, dataset.n_items)
    near = csr_array(shape, dtype=np.float32)
    for step in range(1, WINDOW + 1):
        one, other = items[:-step], items[step:]
        counts = (users[:-step] == users[step:]) & (one != other)
        weights = np.full(np.count_nonzero(counts), 1 / step, dtype=np.float32)
        near += csr_array((weights, (one[counts], other[counts])), shape=shape)
    return near + near.T


def _information(near: "csr_array") -> "csr_array":
    """Return the positive pointwise mutual information of each pair that stands near, (V, V)."""
    from scipy.sparse import csr_array

    totals = np.asarray(near.sum(axis=1), dtype=np.float64).ravel()
    context = totals**SMOOTHING
    pairs = near.tocoo()
    with np.errstate(divide="ignore"):
        share = np.log(totals), np.log(context) - np.log(max(context.sum(), 1.0))
    information = np.log(pairs.data) - share[0][pairs.row] - share[1][pairs.col]
    found = information > 0
    values = information[found].astype(np.float32)
    return csr_array((values, (pairs.row[found], pairs.col[found])), shape=near.shape)


def _users(dataset: Dataset, train: TrainPart) -> "csr_array":
    """Return who has each item in training, rows of length 1, (V, users): products of two rows are cosines."""
    from scipy.sparse import csr_array

    rows = np.concatenate([np.empty(0, np.int64), *training_rows(dataset, train)])
    users, items = np.searchsorted(train.stops, rows, side="right"), np.asarray(dataset.items)[rows]
    has = csr_array((np.ones(len(rows), np.float32), (items, users)), shape=(dataset.n_items, max(len(train.users), 1)))
    has.sum_duplicates()
    n_users = np.diff(has.indptr)
    has.data = np.repeat(1 / np.sqrt(np.maximum(n_users, 1)), n_users).astype(np.float32)
    return has
