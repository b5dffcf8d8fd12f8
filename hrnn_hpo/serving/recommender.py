"""Recommendations from a model folder: one user's history in, the best items out.

A user the model does not know gets what the trained start state recommends: the popular items first.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrnn_hpo.data.featurize import event_features
from hrnn_hpo.data.repeats import OwnItems, own_items_after
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.evaluation.protocols import Seen, top_k
from hrnn_hpo.model.encode import encode
from hrnn_hpo.model.folder import SavedModel
from hrnn_hpo.model.inputs import history_inputs

MAX_RESULTS = 500  # as in Amazon Personalize


@dataclass(frozen=True)
class Recommendation:
    item: str
    score: float  # softmax over the whole catalogue: all items' scores add up to 1


class Recommender:
    """Answers for one loaded model; `seen` says whether items of the user's history leave the list.

    Unless told, what the model was validated with.
    """

    def __init__(self, saved: SavedModel, seen: Seen | None = None) -> None:
        self.saved = saved
        self.seen = seen or saved.split.seen

    def knows(self, user_id: str) -> bool:
        """Return whether the model has a history of this user."""
        return code_of(self.saved.histories.user_ids, user_id) is not None

    def recommend(self, user_id: str, k: int = 25) -> list[Recommendation]:
        """Return the `k` best items for a user, best first; fewer where the catalogue has no more.

        Raises ConfigError unless 1 <= k <= 500.
        """
        if not 1 <= k <= MAX_RESULTS:
            raise ConfigError(f"`1 <= k <= {MAX_RESULTS}` must hold, but got {k=}.")
        history = self.history(user_id)
        steps = history_inputs(
            history.items,
            event_features(history, self.saved.configuration.hyperparameters.session_gap),
            history.n_items,
        )
        outputs = encode(self.saved.model, steps, np.zeros(1, np.int64), np.array([len(steps.items)]))  # (1, H)
        owners = np.zeros(history.n_events, np.int64)
        own = own_items_after(owners, history.items, history.timestamps)
        items, scores = best_items(self, outputs, own, (owners, history.items), k)
        return [
            Recommendation(str(history.item_ids[item]), float(score))
            for item, score in zip(items[0], scores[0], strict=True)
            if item >= 0
        ]

    def history(self, user_id: str) -> Dataset:
        """Return the part of the log that belongs to one user, as a dataset of one; empty for an unknown user."""
        log = self.saved.histories
        user = code_of(self.saved.histories.user_ids, user_id)
        rows = slice(0, 0) if user is None else slice(int(log.user_offsets[user]), int(log.user_offsets[user + 1]))
        return replace(
            log,
            user_offsets=np.array([0, rows.stop - rows.start], dtype=np.int64),
            items=log.items[rows],
            timestamps=log.timestamps[rows],
            user_ids=np.array([user_id], dtype=np.str_),
            session_ids=None if log.session_ids is None else log.session_ids[rows],
            event_types=None if log.event_types is None else log.event_types[rows],
            event_values=None if log.event_values is None else log.event_values[rows],
        )


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
    lists where seen items are removed.
    """
    logits = recommender.saved.model.score_after(outputs, own)
    scores = torch.softmax(logits, dim=1).cpu().numpy()  # (b, V)
    candidates = scores
    if recommender.seen == "remove":
        candidates = scores.copy()
        candidates[past] = -np.inf
    items = top_k(candidates, k)
    return items, np.take_along_axis(scores, np.maximum(items, 0), axis=1)


def code_of(ids: NDArray[np.str_], name: str) -> int | None:
    """Return where a name stands in ascending ids, None where it does not."""
    # Cut to the ids' width: NumPy would widen a copy of them all for one long name. What was cut is not equal.
    place = int(np.searchsorted(ids, np.array(name, dtype=ids.dtype)))
    return place if place < len(ids) and str(ids[place]) == name else None
