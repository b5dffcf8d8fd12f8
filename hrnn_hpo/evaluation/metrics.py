"""The metrics of a ranking, one value per user, vectorised over users: numpy in, numpy out.

Who is evaluated and how the lists come about is protocols' work; averages are taken there too.

Let g_p be 1 where position p (1 = best) holds an item of the user's truth set and 0 elsewhere, and n the size of
that set. Then

    precision_at_k  sum of g_p for p <= k, divided by k (also where the list is shorter)
    ndcg_at_k       sum of g_p / log2(1 + p) for p <= k, divided by the same sum of the best possible list,
                    which holds min(k, n) relevant items first
    mrr_at_k        the largest g_p / p for p <= k: one over the position of the first hit, 0 without a hit
    recall_at_k     sum of g_p for p <= k, divided by n
    hit_rate_at_k   the largest g_p for p <= k: 1 with a hit, 0 without

The `value_weighted_` metrics are the same formulas with another g and another n. The value of a truth item is the sum
of EVENT_VALUE over the user's truth events with it (an empty cell adds nothing, a negative sum counts as 0); g of a hit
is the item's value divided by the largest value in the user's truth, n is the sum of these gains, and the best possible
list starts with the largest gains. So all stay in [0, 1], do not depend on the unit of EVENT_VALUE, and equal the plain
metrics where all values are equal. They are NaN, and stay out of averages, for a user whose truth has no value.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIST_LENGTH = 25
CUTOFFS = (5, 10, 25)
USER_METRICS: tuple[str, ...] = (
    *(f"precision_at_{k}" for k in CUTOFFS),
    *(f"ndcg_at_{k}" for k in CUTOFFS),
    "mrr_at_25",
    "recall_at_10",
    "hit_rate_at_10",
)
COVERAGE = "coverage"
METRICS: tuple[str, ...] = (*USER_METRICS, COVERAGE)
APART = ("ndcg_at_10", "mrr_at_25", "hit_rate_at_10")  # shown for repeats and for new items apart
REPEATS, NEW = "_repeats", "_new"
APART_METRICS: tuple[str, ...] = tuple(name + suffix for name in APART for suffix in (REPEATS, NEW))
VALUE_WEIGHTED_METRICS: tuple[str, ...] = tuple(f"value_weighted_{name}" for name in USER_METRICS)


@dataclass(frozen=True)
class Truth:
    """The truth sets of R users: `items[offsets[r] : offsets[r + 1]]` are those of row r, distinct and ascending."""

    items: NDArray[np.int64]  # (M,)
    offsets: NDArray[np.int64]  # (R + 1,)
    values: NDArray[np.float64] | None = None  # (M,) not negative, where EVENT_VALUE was asked for

    @classmethod
    def from_events(
        cls, items: NDArray[np.integer], offsets: NDArray[np.integer], values: NDArray[np.floating] | None = None
    ) -> "Truth":
        """Return the truth sets of users whose truth events may repeat an item; values of repeats are summed."""
        n_rows = len(offsets) - 1
        stride = int(items.max(initial=0)) + 1
        keys = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(offsets)) * stride + items
        summed = None
        if values is None:
            keys.sort()  # several times faster than np.unique on keys that are nearly in order
            distinct = keys[np.diff(keys, prepend=-1) > 0]
        else:
            distinct, places = np.unique(keys, return_inverse=True)
            filled = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0)
            summed = np.maximum(np.bincount(places, weights=filled, minlength=len(distinct)), 0.0)
        sizes = np.bincount(distinct // stride, minlength=n_rows)
        return cls(distinct % stride, np.concatenate([[0], np.cumsum(sizes)]), summed)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Return the number of relevant items of each row, (R,)."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Return the row of each item, (M,)."""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int64), self.sizes)

    def only(self, chosen: NDArray[np.bool_]) -> tuple["Truth", NDArray[np.int64]]:
        """Return the truth of the chosen items (M,) and the rows (R',) that have any: its row i was `rows[i]`."""
        sizes = np.bincount(self.rows[chosen], minlength=len(self.sizes))
        rows = np.flatnonzero(sizes)
        return Truth(self.items[chosen], np.concatenate([[0], np.cumsum(sizes[rows])])), rows

    def hits(self, top_items: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return where the lists (R, K) hold a relevant item; pads (-1) never do."""
        return self.find(top_items) >= 0

    def find(self, top_items: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return for each entry of the lists (R, K) its place in `items`, -1 where it is not relevant."""
        return self.places(np.arange(len(top_items), dtype=np.int64)[:, None], top_items)

    def places(self, rows: NDArray[np.int64], items: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the place in `items` of each pair of a row and an item, -1 where the row's truth has it not."""
        if not len(self.items):
            return np.full(np.broadcast_shapes(rows.shape, items.shape), -1, dtype=np.int64)
        stride = int(self.items.max()) + 1
        keys = self.rows * stride + self.items  # (M,) ascending
        wanted = rows * stride + items
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found = (keys[places] == wanted) & (items >= 0) & (items < stride)
        return np.where(found, places, -1)


def truth_metrics(top_items: NDArray[np.integer], truth: Truth) -> dict[str, NDArray[np.float64]]:
    """Return {metric: its value for each user (R,)}, in [0, 1]; the value-weighted ones too where the truth has values.

    `top_items` (R, K) holds each user's distinct items, best first; -1 pads a short list. Every user has a truth. NaN
    appears only in value-weighted metrics (see the module's text).

    >>> ranked = np.array([[7, 3, 9, 8, 4]])  # hits at positions 2 and 5
    >>> found = truth_metrics(ranked, Truth.from_events(np.array([3, 4]), np.array([0, 2])))
    >>> [round(float(found[name][0]), 4) for name in ("ndcg_at_5", "mrr_at_25", "precision_at_5")]
    [0.6241, 0.5, 0.4]
    """
    assert len(top_items) == len(truth.offsets) - 1, "one list per truth set"
    assert (truth.sizes > 0).all(), "every evaluated user has a truth"
    places = truth.find(_fit_width(top_items))  # (R, 25)
    metrics = _gain_metrics(places, np.ones(len(truth.items)), truth)
    if truth.values is not None:
        largest = np.zeros(len(truth.sizes))
        np.maximum.at(largest, truth.rows, truth.values)
        has_value = largest > 0.0
        scale = np.where(has_value, largest, 1.0)
        weighted = _gain_metrics(places, truth.values / scale[truth.rows], truth)
        for name, values in weighted.items():
            metrics[f"value_weighted_{name}"] = np.where(has_value, values, np.nan)
    return metrics


def metrics_apart(
    top_items: NDArray[np.integer] | None, new_items: NDArray[np.integer], truth: Truth, own: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Return the metrics of APART for repeats and for new items, (R,) each; NaN for users without such a truth item.

    `top_items` (R, K) are the lists as they are, None where they hold no own items: then nothing is said of repeats.
    `new_items` (R, K) are the lists without the users' own items. `own` (M,) says which truth items the user had. What
    no user's truth has is left out.
    """
    found = {}
    for suffix, lists, chosen in ((REPEATS, top_items, own), (NEW, new_items, ~own)):
        if lists is None or not chosen.any():
            continue
        some, rows = truth.only(chosen)
        known = truth_metrics(lists[rows], some)
        for name in APART:
            found[name + suffix] = np.full(len(lists), np.nan)
            found[name + suffix][rows] = known[name]
    return {name: found[name] for name in APART_METRICS if name in found}


def coverage(top_items: NDArray[np.integer], n_items: int) -> float:
    """Return the share of the `n_items` items of the catalogue that stand in at least one list."""
    recommended = np.unique(top_items)
    return float(np.count_nonzero(recommended >= 0)) / n_items


def _gain_metrics(
    places: NDArray[np.int64], gains: NDArray[np.float64], truth: Truth
) -> dict[str, NDArray[np.float64]]:
    """Return the metrics of lists whose entries are `places` in the truth (-1: a miss), with a gain per truth item."""
    n_rows, rows = len(places), truth.rows
    gained = np.where(places >= 0, gains[places], 0.0)  # (R, 25)
    positions = np.arange(1, LIST_LENGTH + 1)
    discounts = 1.0 / np.log2(1.0 + positions)
    # Sums run from position 1 on, here and for the ideal list, so that a perfect list scores exactly 1.
    summed, discounted = np.cumsum(gained, axis=1), np.cumsum(gained * discounts, axis=1)

    best_first = gains[np.lexsort((-gains, rows))]
    place = np.arange(len(rows)) - truth.offsets[rows]  # 0 = the user's largest gain
    ideal_terms = np.where(place < LIST_LENGTH, best_first * discounts[np.minimum(place, LIST_LENGTH - 1)], 0.0)
    total = np.bincount(rows, weights=best_first, minlength=n_rows)

    metrics = {f"precision_at_{k}": summed[:, k - 1] / k for k in CUTOFFS}
    for k in CUTOFFS:
        ideal = np.bincount(rows, weights=np.where(place < k, ideal_terms, 0.0), minlength=n_rows)
        metrics[f"ndcg_at_{k}"] = _divide(discounted[:, k - 1], ideal)
    metrics["mrr_at_25"] = (gained / positions).max(axis=1)
    metrics["recall_at_10"] = np.minimum(_divide(summed[:, 9], total), 1.0)
    metrics["hit_rate_at_10"] = gained[:, :10].max(axis=1)
    return metrics


def _divide(numerators: NDArray[np.float64], denominators: NDArray[np.number]) -> NDArray[np.float64]:
    """Return the quotients, 0 where there was nothing to gain."""
    quotients = np.zeros_like(numerators)
    np.divide(numerators, denominators, out=quotients, where=denominators > 0)
    return quotients


def _fit_width(top_items: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return lists of exactly 25 entries: longer ones cut, shorter ones padded with -1."""
    missing = LIST_LENGTH - top_items.shape[1]
    if missing <= 0:
        return top_items[:, :LIST_LENGTH]
    return np.pad(top_items, ((0, 0), (0, missing)), constant_values=-1)
