"""From scores to figures: rank the whole catalogue for the users of a part, then average the metrics over them.

The model is handed in as a function that scores rows; which events are input and which are truth was settled by the
split. Equal scores are ranked by the lower item code, always.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data import EVENT_VALUE
from hrnn_hpo.data.blocks import whole_users
from hrnn_hpo.data.repeats import repeats_are_rare
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, expand_ranges, input_events
from hrnn_hpo.errors import ConfigError, DataError, RunFailedError
from hrnn_hpo.evaluation.metrics import (
    APART_METRICS,
    COVERAGE,
    LIST_LENGTH,
    METRICS,
    VALUE_WEIGHTED_METRICS,
    Truth,
    coverage,
    metrics_apart,
    truth_metrics,
)

Seen = Literal["remove", "keep"]
# Scores (b, V) of rows of an EvalPart (positions 0 .. R-1); the caller may overwrite them. -inf takes an item out.
ScoreRows = Callable[[NDArray[np.int64]], NDArray[np.float32]]
# A custom metric: lists (R, 25) of item codes, best first, -1 pads; and the truth sets -> a finite value per user (R,).
UserMetric = Callable[[NDArray[np.int32], Truth], NDArray[np.float64]]

SCORE_BLOCK_BYTES = 8 * 1024**2  # near the cache, and far below where the allocator maps and unmaps at each use


@dataclass(frozen=True)
class Evaluation:
    """The figures of one ranking: averages over users, the values behind them, and the lists themselves."""

    metrics: dict[str, float]  # METRICS, then those of repeats and new items, value-weighted and custom ones asked for
    per_user: dict[str, NDArray[np.float64]]  # the same without coverage, (R,) in the order of `users`
    top_items: NDArray[np.int32]  # (R, 25) best first, -1 pads
    users: NDArray[np.int64]  # (R,) user codes
    new_items: NDArray[np.int32] | None = None  # (R, 25) those without the users' own items, where they are others


def resolve_seen(dataset: Dataset, seen: Literal["auto", "remove", "keep"], repeat_share: float | None = None) -> Seen:
    """Return whether items of the input leave the list; `auto` removes them where repeats are rare.

    `repeat_share` is the log's, where the caller has it. Raises ConfigError for another word.
    """
    if seen not in ("auto", "remove", "keep"):
        raise ConfigError(f"`seen` must be auto, remove or keep, but got {seen!r}.")
    if seen != "auto":
        return seen
    return "remove" if repeats_are_rare(dataset, repeat_share) else "keep"


def rank(
    dataset: Dataset,
    part: EvalPart,
    score_rows: ScoreRows,
    *,
    seen: Seen,
    k: int = LIST_LENGTH,
    block_rows: int | None = None,
) -> NDArray[np.int32]:
    """Return the `k` best items of each row of the part, (R, k), best first; -1 pads where there are no more.

    Equal scores: the lower item code first. `seen="remove"` takes the items of the user's input out of the list, so a
    repeat in the truth counts as a miss. `block_rows` rows are scored at a time; unless told, as many as make a block
    of SCORE_BLOCK_BYTES. Raises RunFailedError for a score that is NaN.
    """
    return _rank_modes(dataset, part, score_rows, (seen,), k, block_rows)[seen]


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """Return the columns of each row's `k` largest scores, (b, k), best first; equal scores: the lower column first.

    A score of -inf is never listed; -1 pads the row instead. Scores must not be NaN.
    """
    import torch

    n_rows, n_columns = scores.shape
    listed = min(k, n_columns)
    # One more than listed shows whether a tie crosses the border; torch.topk promises no order within a tie.
    found = torch.topk(torch.from_numpy(np.require(scores, np.float32, ["C", "W"])), min(listed + 1, n_columns), dim=1)
    values, columns = found.values.numpy(), found.indices.numpy()
    if n_columns > listed:
        border = values[:, listed - 1]
        for row in np.flatnonzero((border == values[:, listed]) & (border > -np.inf)):
            n_above = int(np.count_nonzero(values[row, :listed] > border[row]))
            columns[row, n_above:listed] = np.flatnonzero(scores[row] == border[row])[: listed - n_above]
    values, columns = values[:, :listed], columns[:, :listed]
    tied = np.flatnonzero((values[:, 1:] == values[:, :-1]).any(axis=1))
    order = np.lexsort((columns[tied], -values[tied]), axis=1)
    columns[tied] = np.take_along_axis(columns[tied], order, axis=1)

    top = np.full((n_rows, k), -1, dtype=np.int32)
    top[:, :listed] = np.where(values > -np.inf, columns, -1)
    return top


def evaluate(
    dataset: Dataset,
    part: EvalPart,
    score_rows: ScoreRows,
    *,
    seen: Seen,
    apart: bool = False,
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> Evaluation:
    """Return the figures of a model on a part: `rank`, then `evaluate_ranking`.

    `apart` adds the figures for repeats and for new items.
    """
    modes: tuple[Seen, ...] = ("keep", "remove") if apart and seen == "keep" else (seen,)
    rankings = _rank_modes(dataset, part, score_rows, modes, LIST_LENGTH, None)
    return evaluate_ranking(
        dataset,
        part,
        rankings[seen],
        new_items=rankings["remove"] if apart else None,
        value_weighted=value_weighted,
        extra_metrics=extra_metrics,
    )


def evaluate_both(
    dataset: Dataset,
    part: EvalPart,
    score_rows: ScoreRows,
    *,
    apart: bool = False,
) -> dict[Seen, Evaluation]:
    """Return the figures with seen items removed and with seen items kept, each row scored once."""
    rankings = _rank_modes(dataset, part, score_rows, ("keep", "remove"), LIST_LENGTH, None)
    return {
        seen: evaluate_ranking(dataset, part, top_items, new_items=rankings["remove"] if apart else None)
        for seen, top_items in rankings.items()
    }


def evaluate_ranking(
    dataset: Dataset,
    part: EvalPart,
    top_items: NDArray[np.integer],
    *,
    new_items: NDArray[np.integer] | None = None,
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> Evaluation:
    """Return the figures of given lists (R, 25), averaged over the users of the part; -1 is an item that nobody wants.

    `new_items`, the same lists without the users' own items (R, 25), adds the figures for repeats and for new items:
    those for new items alone where these are the lists themselves. `value_weighted` adds the metrics weighted by
    EVENT_VALUE, averaged over the users whose truth has a value. `extra_metrics` adds custom ones by name, for example
    the share of the list that hits:

    >>> extra = {"share_of_hits": lambda top_items, truth: truth.hits(top_items).mean(axis=1)}

    Raises DataError for a part without users and for values that the data does not have, ConfigError for a custom
    metric with a taken or unfit name or a wrong result.
    """
    if not len(part):
        raise DataError("At least one user must be evaluated, but the evaluation part is empty.")
    lists = np.asarray(top_items, dtype=np.int32)
    assert lists.ndim == 2
    assert len(lists) == len(part), "one list per evaluated user"
    ordered = np.sort(lists, axis=1)
    assert not ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(), "an item stands once in a list"

    truth = make_truth(dataset, part, value_weighted=value_weighted)
    per_user = truth_metrics(lists, truth)
    others = None if new_items is None or new_items is top_items else np.asarray(new_items, dtype=np.int32)
    if new_items is not None:
        shown = None if others is None else lists
        per_user |= metrics_apart(shown, new_items, truth, own_truth(dataset, part, truth))
    for name, metric in (extra_metrics or {}).items():
        per_user[name] = _custom_metric(name, metric, lists, truth)
    means = {name: float(np.nanmean(values)) for name, values in per_user.items()}
    means[COVERAGE] = coverage(lists, dataset.n_items)
    in_order = {name: means[name] for name in METRICS} | means
    return Evaluation(in_order, per_user, lists, np.asarray(part.users), others)


def own_truth(dataset: Dataset, part: EvalPart, truth: Truth) -> NDArray[np.bool_]:
    """Return which of the truth's items (M,) stand in their user's input."""
    own = np.zeros(len(truth.items), dtype=np.bool_)
    for some in whole_users(part.truth_starts - dataset.user_offsets[part.users]):
        rows = np.arange(some.start, some.stop)
        owners, events = input_events(dataset, part, rows)
        places = truth.places(rows[owners], dataset.items[events])
        own[places[places >= 0]] = True
    return own


def require_metrics(
    dataset: Dataset,
    part: EvalPart,
    *,
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> None:
    """Raise what `evaluate` would raise for metrics that the part cannot have, before anything is scored.

    DataError for value-weighted metrics without a value in the truth, ConfigError for a custom metric's name.
    """
    if value_weighted:
        make_truth(dataset, part, value_weighted=True)
    for name in extra_metrics or {}:
        _require_new_name(name)


def make_truth(dataset: Dataset, part: EvalPart, *, value_weighted: bool = False) -> Truth:
    """Return the truth sets of the part's users, with EVENT_VALUE summed per item where asked for.

    Raises DataError when no item of the truth has a positive EVENT_VALUE: an item's values may cancel out.
    """
    owners, events = expand_ranges(part.truth_starts, part.truth_stops)
    offsets = np.searchsorted(owners, np.arange(len(part) + 1))
    values = dataset.event_values[events] if value_weighted and dataset.event_values is not None else None
    truth = Truth.from_events(dataset.items[events], offsets, values)
    if value_weighted and (truth.values is None or not (truth.values > 0).any()):
        raise DataError(f"Value-weighted metrics need a positive {EVENT_VALUE} in the truth, but there is none.")
    return truth


def _rank_modes(
    dataset: Dataset,
    part: EvalPart,
    score_rows: ScoreRows,
    modes: tuple[Seen, ...],
    k: int,
    block_rows: int | None,
) -> dict[Seen, NDArray[np.int32]]:
    """Return the lists for each mode; `keep` must come first, since removing overwrites the scores."""
    if block_rows is None:
        block_rows = max(1, SCORE_BLOCK_BYTES // (4 * max(dataset.n_items, 1)))
    lists = {mode: np.full((len(part), k), -1, dtype=np.int32) for mode in modes}
    for start in range(0, len(part), block_rows):
        rows = np.arange(start, min(start + block_rows, len(part)), dtype=np.int64)
        scores = np.require(score_rows(rows), np.float32, ["C", "W"])  # (b, V)
        assert scores.shape == (len(rows), dataset.n_items), "one score per row and item"
        if np.isnan(scores.max()):
            row, item = np.argwhere(np.isnan(scores))[0]
            raise RunFailedError(
                f"Every score must be a number, but user {dataset.user_ids[part.users[rows[row]]]} "
                f"got NaN for item {dataset.item_ids[item]}."
            )
        for mode in modes:
            if mode == "remove":
                owners, events = input_events(dataset, part, rows)
                scores[owners, dataset.items[events]] = -np.inf
            lists[mode][rows] = top_k(scores, k)
    return lists


def _custom_metric(name: str, metric: UserMetric, top_items: NDArray[np.int32], truth: Truth) -> NDArray[np.float64]:
    _require_new_name(name)
    values = np.asarray(metric(top_items, truth), dtype=np.float64)
    if values.shape != (len(top_items),) or not np.isfinite(values).all():
        raise ConfigError(
            f"Custom metric {name!r} must return a finite number for each of {len(top_items)} users, "
            f"but got an array of shape {values.shape} with {np.count_nonzero(~np.isfinite(values))} other entries."
        )
    return values


def _require_new_name(name: str) -> None:
    if not name.isidentifier() or name in (*METRICS, *VALUE_WEIGHTED_METRICS, *APART_METRICS):
        raise ConfigError(f"A custom metric's name must be a new name of letters, digits and `_`, but got {name!r}.")
