"""How much of a log is repeats: what decides whether recommending seen items makes sense."""

import numpy as np

from hrnn_hpo.data.schema import Dataset

BLOCK_EVENTS = 4_000_000  # bounds the memory of counting


def repeat_share(dataset: Dataset) -> float:
    """Return the share of events whose item occurred earlier in the same user's history; 0 for an empty log."""
    n_distinct, first_user = 0, 0
    while first_user < dataset.n_users:
        first_event = int(dataset.user_offsets[first_user])
        last_user = int(np.searchsorted(dataset.user_offsets, first_event + BLOCK_EVENTS, side="right")) - 1
        last_user = max(last_user, first_user + 1)  # one past the block; a huge history is a block of its own
        offsets = np.asarray(dataset.user_offsets[first_user : last_user + 1])
        users = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
        n_distinct += len(np.unique(users * dataset.n_items + dataset.items[offsets[0] : offsets[-1]]))
        first_user = last_user
    return (dataset.n_events - n_distinct) / max(dataset.n_events, 1)
