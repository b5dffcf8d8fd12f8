"""Recommendations from a model folder: one user's history in, the best items out.

A user the model does not know gets what the trained start state recommends: the popular items first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrnn_hpo.data import MAX_ID_LENGTH
from hrnn_hpo.data.featurize import event_features
from hrnn_hpo.data.repeats import OwnItems, own_items_after
from hrnn_hpo.data.requests import NO_REQUEST_TIME, requests_after
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import expand_ranges
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.evaluation.protocols import SCORE_BLOCK_BYTES, Seen, top_k
from hrnn_hpo.model.encode import encode
from hrnn_hpo.model.folder import SavedModel
from hrnn_hpo.model.inputs import StepInputs, history_inputs
from hrnn_hpo.model.request_time import pack_requests

MAX_RESULTS = 500  # as in Amazon Personalize


@dataclass(frozen=True)
class Recommendation:
    item: str
    score: float  # softmax over the whole catalogue: all items' scores add up to 1


@dataclass(frozen=True)
class Past:
    """What some users had, by rows counted from 0."""

    users: slice  # which they are of a log's
    owners: NDArray[np.int64]  # (n,) ascending
    items: NDArray[np.int32]  # (n,) what row `owners[i]` had, in order of time
    own: OwnItems


class Recommender:
    """Answers for one loaded model; `seen` says whether items of the user's history leave the list.

    Unless told, what the model was validated with.
    """

    def __init__(self, saved: SavedModel, seen: Seen | None = None) -> None:
        if seen not in (None, "remove", "keep"):
            raise ConfigError(f"`seen` must be auto, remove or keep, but got {seen!r}.")
        self.saved = saved
        self.seen = seen or saved.split.seen

    def knows(self, user_id: str) -> bool:
        """Return whether the model has a history of this user."""
        return code_of(self.saved.histories.user_ids, user_id) is not None

    def recommend(self, user_id: str, k: int = 25, at: int | None = None) -> list[Recommendation]:
        """Return the `k` best items for a user, best first; fewer where the catalogue has no more.

        `at` is when they are asked for, in unix seconds; None: nobody knows. Raises ConfigError unless 1 <= k <= 500
        and for a time that the model does not read, DataError for one before the user's last event.
        """
        items, scores = self.recommend_many([user_id], k, [at])
        return self.named(items[0], scores[0])

    def recommend_many(
        self, user_ids: Sequence[str], k: int = 25, at: Sequence[int | None] | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the `k` best items of each user, best first, -1 pads, and their scores, both (R, k).

        `at` has each user's time as in `recommend`, and the same errors are raised.
        """
        check_k(k)
        log = histories_of(self.saved.histories, user_ids)
        outputs = self.outputs_after(log, at)
        items = np.full((log.n_users, k), -1, dtype=np.int32)
        scores = np.zeros((log.n_users, k), dtype=np.float32)
        for past in scored_at_once(log):
            items[past.users], scores[past.users] = best_items(
                self, outputs[past.users], past.own, (past.owners, past.items), k
            )
        return items, scores

    def named(self, items: NDArray[np.int32], scores: NDArray[np.float32]) -> list[Recommendation]:
        """Return item codes (k,) and their scores as recommendations, without the -1 that pad them."""
        names = self.saved.histories.item_ids
        return [
            Recommendation(str(names[item]), float(score))
            for item, score in zip(items, scores, strict=True)
            if item >= 0
        ]

    def history(self, user_id: str) -> Dataset:
        """Return the part of the log that belongs to one user, as a dataset of one; empty for an unknown user."""
        return histories_of(self.saved.histories, [user_id])

    def steps_of(self, log: Dataset) -> tuple[StepInputs, NDArray[np.int64]]:
        """Return `history_inputs` of a log whose items are the model's."""
        return history_inputs(log, event_features(log, self.saved.configuration.hyperparameters.session_gap))

    def outputs_after(self, log: Dataset, at: Sequence[int | None] | None = None) -> Tensor:
        """Return what scores the items after each user's whole history, (U, H), asked for `at` these unix seconds.

        Raises ConfigError for a time that the model does not read, DataError for one before a user's last event.
        """
        requests = None
        if at is not None and any(time is not None for time in at):
            self.require_request_time()
            gap = self.saved.configuration.hyperparameters.session_gap
            requests = pack_requests(requests_after(log, at, gap), self.saved.model.item_bias.device)
        steps, starts = self.steps_of(log)
        with torch.no_grad():
            return self.saved.model.readout(encode(self.saved.model, steps, starts, log.history_lengths + 1), requests)

    def check_request(self, user_id: str, at: int | None) -> None:
        """Raise what `recommend` raises for a time in unix seconds."""
        if at is not None:
            self.require_request_time()
            requests_after(self.history(user_id), [at], self.saved.configuration.hyperparameters.session_gap)

    def require_request_time(self) -> None:
        """Raise ConfigError unless the model reads the time of a request."""
        if self.saved.model.request_time is None:
            raise ConfigError(NO_REQUEST_TIME)


def histories_of(log: Dataset, user_ids: Sequence[str]) -> Dataset:
    """Return the histories of some users as a log in the order of `user_ids`; an unknown user's is empty."""
    codes = [code_of(log.user_ids, user_id) for user_id in user_ids]
    starts = np.array([0 if code is None else log.user_offsets[code] for code in codes], dtype=np.int64)
    stops = np.array([0 if code is None else log.user_offsets[code + 1] for code in codes], dtype=np.int64)
    _, events = expand_ranges(starts, stops)
    return log_of_events(log, events, stops - starts, user_ids)


def log_of_events(
    log: Dataset, events: NDArray[np.int64], lengths: NDArray[np.int64], user_ids: Sequence[str]
) -> Dataset:
    """Return the log of users whose histories are events of another log: `lengths` (U,) of `events` (N,) each."""
    return replace(
        log,
        user_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=log.items[events],
        timestamps=log.timestamps[events],
        # For messages alone. A row is as wide as the longest id, so one of megabytes would take gigabytes.
        user_ids=np.array([user_id[:MAX_ID_LENGTH] for user_id in user_ids], dtype=np.str_),
        session_ids=None if log.session_ids is None else log.session_ids[events],
        event_types=None if log.event_types is None else log.event_types[events],
        event_values=None if log.event_values is None else log.event_values[events],
    )


def scored_at_once(log: Dataset) -> Iterator[Past]:
    """Yield the pasts of a log's users, as many at a time as are scored against the catalogue in the cache."""
    block = max(1, SCORE_BLOCK_BYTES // (4 * max(log.n_items, 1)))
    for begin in range(0, log.n_users, block):
        users = slice(begin, min(begin + block, log.n_users))
        bounds = log.user_offsets[users.start : users.stop + 1]
        owners, events = expand_ranges(bounds[:-1], bounds[1:])
        items = log.items[events]
        yield Past(users, owners, items, own_items_after(owners, items, log.timestamps[events]))


@torch.no_grad()
def best_items(
    recommender: Recommender,
    outputs: Tensor,
    own: OwnItems,
    past: tuple[NDArray[np.int64], NDArray[np.integer]],
    k: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the `k` best items for outputs (b, H), best first, -1 pads, and their scores, both (b, k).

    `own` is what the model mixes in. `past` is (rows, items) of all that the rows had, in any order, which leaves their
    lists where seen items are removed. Raises RunFailedError for scores that are no numbers.
    """
    logits = recommender.saved.model.score_after(outputs, own)
    scores = torch.softmax(logits, dim=1).cpu().numpy()  # (b, V)
    # Ranked as in evaluation: probabilities near 0 or 1 are equal in float32 where logits are not.
    candidates = logits.cpu().numpy()
    if np.isnan(candidates.max(initial=0.0)):
        raise RunFailedError(
            "The model has scores that are no numbers: its training diverged, at a high learning_rate."
        )
    if recommender.seen == "remove":
        candidates[past] = -np.inf
    items = top_k(candidates, k)
    return items, np.take_along_axis(scores, np.maximum(items, 0), axis=1)


def code_of(ids: NDArray[np.str_], name: str) -> int | None:
    """Return where a name stands in ascending ids, None where it does not."""
    # Cut to the ids' width: NumPy would widen a copy of them all for one long name. What was cut is not equal.
    place = int(np.searchsorted(ids, np.array(name, dtype=ids.dtype)))
    return place if place < len(ids) and str(ids[place]) == name else None


def check_k(k: int) -> None:
    """Raise ConfigError unless k is a whole number and 1 <= k <= 500."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MAX_RESULTS:
        raise ConfigError(f"`1 <= k <= {MAX_RESULTS}` must hold, but got {k=}.")
