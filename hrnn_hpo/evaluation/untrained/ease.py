"""EASE, a linear autoencoder of users' item sets in closed form, alone and beside the user's own items.

EASE (Steck, WWW 2019) scores a set x by x B. B has a zero diagonal, and B_ij = -P_ij / P_jj off it, where P is the
inverse of X'X + regularization I and X (U, V) holds the training users' item sets. Where users are fewer than items,
the same B comes from the inverse of the users' matrix XX' + regularization I (Woodbury's identity): a log of few users
may have any number of items.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart, input_events
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.evaluation.protocols import ScoreRows
from hrnn_hpo.evaluation.untrained.common import Constants, Scorer, behind, faded_items, item_sets, training_events

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# A matrix of this side is 1.6 GB in float32, with some 100 MB beside it while it is inverted in its own place.
LARGEST_SIDE = 20_000
MOST_SPARSE_WORK = 1e11  # multiplications of the users' way, one or two minutes
KEPT_SIDE = 4_000  # up to here (64 MB) X'X is kept while a regularization is chosen
LONG_SIDE = 6_000  # from here on whoever waits is told
BLOCK_ELEMENTS = 16_000_000  # dense entries made at once beside the matrix: 64 MB
COARSE = 1e-7  # of the matrix's trace: what float32 rounds away, and a smaller regularization with it
NEVER = np.float32(-1e9)

Linear = Callable[["csr_array"], NDArray[np.float32]]  # item sets (b, V) -> scores (b, V)


def ease(dataset: Dataset, train: TrainPart, most_items: int | None = None) -> Scorer:
    """Return EASE's scores of the set of the user's input items; with nothing known of them, popularity's.

    Constants: `regularization`. `most_items` fits and ranks the most popular items alone.
    """
    rest = behind(dataset, train)
    items = np.arange(dataset.n_items)
    if most_items is not None and most_items < dataset.n_items:
        items = np.sort(np.argsort(-rest, kind="stable")[:most_items])
    owners, events = training_events(dataset, train)
    sets = item_sets(owners, dataset.items[events], (len(train.users), dataset.n_items))[:, items]
    solve = _solver(sets)

    def scorer(part: EvalPart, constants: Constants) -> ScoreRows:
        linear = solve(float(constants["regularization"]))

        def score_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            owners, events = input_events(dataset, part, rows)
            query = item_sets(owners, dataset.items[events], (len(rows), dataset.n_items))[:, items]
            scores = np.full((len(rows), dataset.n_items), NEVER, dtype=np.float32)
            scores[:, items] = found = linear(query)
            scores[~found.any(axis=1)] = rest
            return scores

        return score_rows

    return scorer


def ease_own_items(dataset: Dataset, train: TrainPart, most_items: int | None = None) -> Scorer:
    """Return the user's own items by their share of faded counts, plus EASE's scores on a scale of 0 to `weight`.

    EASE's scores are divided by the user's largest. Constants: `weight`, `half_life`, `regularization`.
    """
    plain = ease(dataset, train, most_items)

    def scorer(part: EvalPart, constants: Constants) -> ScoreRows:
        linear, half_life, weight = plain(part, constants), str(constants["half_life"]), float(constants["weight"])

        def score_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            scores = linear(rows)
            largest = np.where(scores > NEVER, np.abs(scores), 0.0).max(axis=1, keepdims=True)
            scores *= weight / np.maximum(largest, np.finfo(np.float32).tiny)
            own = faded_items(dataset, part, rows, half_life)
            # A very old event's weight may round to zero.
            totals = np.maximum(np.asarray(own.sum(axis=1)), np.finfo(np.float32).tiny)
            own = own.tocoo()
            scores[own.coords] = np.maximum(scores[own.coords], 0.0) + own.data / totals[own.coords[0]]
            return scores

        return score_rows

    return scorer


def why_no_ease(dataset: Dataset, train: TrainPart, part: EvalPart) -> str | None:
    """Return why EASE is left out, None where it is not."""
    n_users, n_items, n_events = len(train.users), dataset.n_items, len(training_events(dataset, train)[1])
    if min(n_users, n_items) > LARGEST_SIDE:
        return (
            f"it inverts a matrix of items or of training users, of {LARGEST_SIDE:,} at most (1.6 GB), but there are "
            f"{n_items:,} items and {n_users:,} training users"
        )
    if n_users < n_items > LARGEST_SIDE and n_events * (n_users + len(part)) > MOST_SPARSE_WORK:
        return (
            f"{n_items:,} items are more than {LARGEST_SIDE:,}, and {n_events:,} events of {n_users:,} training users "
            "are too many for the way by users"
        )
    return None


def how_long_ease(dataset: Dataset, train: TrainPart) -> str | None:
    """Return what whoever waits for EASE should know, None where it takes seconds."""
    side = min(len(train.users), dataset.n_items)
    if side < LONG_SIDE:
        return None
    return f"inverts a matrix of {side:,} by {side:,}: up to two minutes, {4e-9 * side**2:.1f} GB"


def _solver(sets: "csr_array") -> Callable[[float], Linear]:
    """Return what fits EASE to item sets (U, V) for a regularization; the last one asked for is kept."""
    by_users = sets.shape[0] < sets.shape[1] and sets.shape[0] <= LARGEST_SIDE
    base = sets.T.tocsr() if by_users else sets  # whose columns are the matrix's sides
    kept = gram(base, np.float32) if base.shape[1] <= KEPT_SIDE else None
    known: dict[float, Linear] = {}

    def solve(regularization: float) -> Linear:
        if regularization not in known:
            known.clear()  # before the next matrix is made
            inverse = _inverse(base, kept, regularization)
            known[regularization] = _by_users(sets, inverse) if by_users else _by_items(inverse)
        return known[regularization]

    return solve


def _by_items(inverse: NDArray[np.float32]) -> Linear:
    diagonal = np.diag(inverse).copy()

    def linear(query: "csr_array") -> NDArray[np.float32]:
        scores: NDArray[np.float32] = query.toarray() - (query @ inverse) / diagonal
        return scores

    return linear


def _by_users(sets: "csr_array", inverse: NDArray[np.float32]) -> Linear:
    """Return EASE by P = (I - X' A X) / regularization, A the inverse by users; the divisor cancels in P_ij / P_jj."""
    columns = sets.T.tocsr()  # (V, U)
    diagonal = np.empty(columns.shape[0], dtype=np.float32)
    step = max(1, BLOCK_ELEMENTS // max(columns.shape[1], 1))
    for begin in range(0, columns.shape[0], step):
        some = columns[begin : begin + step]
        diagonal[begin : begin + step] = 1.0 - np.asarray(some.multiply(some @ inverse).sum(axis=1)).reshape(-1)

    def linear(query: "csr_array") -> NDArray[np.float32]:
        spread = (query @ columns).toarray() @ inverse  # (b, U)
        explained = query.toarray() - (columns @ np.ascontiguousarray(spread.T)).T  # (b, V)
        scores: NDArray[np.float32] = query.toarray() - explained / diagonal
        return scores

    return linear


def gram(base: "csr_array", dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Return base' base as a dense matrix, made by blocks of columns: the sparse product may be nearly as dense."""
    side = base.shape[1]
    found = np.empty((side, side), dtype=dtype, order="F")
    rows, columns = base.T.tocsr(), base.tocsc()
    step = max(1, BLOCK_ELEMENTS // max(side, 1))
    for begin in range(0, side, step):
        found[:, begin : begin + step] = (rows @ columns[:, begin : begin + step]).toarray()
    return found


def _inverse(base: "csr_array", kept: NDArray[np.float32] | None, regularization: float) -> NDArray[np.float32]:
    """Return the inverse of base' base + regularization I, symmetric and in order of rows."""
    from scipy.linalg import lapack

    for dtype, factor, invert in (
        (np.float32, lapack.spotrf, lapack.spotri),
        (np.float64, lapack.dpotrf, lapack.dpotri),  # where float32 is too coarse: twice the memory
    ):
        if dtype == np.float32 and regularization < COARSE * float((base.data**2).sum(dtype=np.float64)):
            continue
        matrix: NDArray[Any] = kept.astype(dtype, order="F") if kept is not None else gram(base, dtype)
        matrix.flat[:: len(matrix) + 1] += regularization  # the diagonal
        matrix, failed = factor(matrix, lower=1, clean=0, overwrite_a=1)
        if failed:
            continue
        matrix, failed = invert(matrix, lower=1, overwrite_c=1)
        if not failed:
            _mirror(matrix)
            # Symmetric: the transpose is the same matrix, and has its rows side by side.
            inverse: NDArray[np.float32] = matrix.T.astype(np.float32, copy=False)
            return inverse
    raise RunFailedError(f"EASE's matrix cannot be inverted with a regularization of {regularization:g}.")


def _mirror(matrix: NDArray[Any]) -> None:
    """Copy the lower triangle over the upper one, in place, by blocks."""
    side, step = len(matrix), 1_024
    for begin in range(0, side, step):
        end = min(begin + step, side)
        corner = matrix[begin:end, begin:end]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
        matrix[begin:end, end:] = matrix[end:, begin:end].T
