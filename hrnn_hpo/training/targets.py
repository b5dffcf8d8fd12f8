"""Which event each step learns: the user's very next one, or one of the next few, drawn anew each epoch.

Where the truth is a set of coming events, the very next one is only one of them. Drawing is a sampled form of
PinnerFormer's dense all-action loss (Pancha et al., KDD 2022), at no cost: each step still has one target.
"""

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart, expand_ranges


def draw_targets(dataset: Dataset, train: TrainPart, n_ahead: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return the item that the step before each event learns, (N,): that event's own, or a later one's.

    Of a training target each of the `n_ahead` events from it on is equally likely, as far as the user's training events
    go. Other events keep their item.
    """
    starts = np.asarray(dataset.user_offsets)[train.users]
    owners, rows = expand_ranges(starts, train.stops)
    later = train.stops[owners] - 1 - rows  # training events of the same user after each
    items = np.array(dataset.items)
    items[rows] = items[rows + rng.integers(0, np.minimum(later, n_ahead - 1), endpoint=True)]
    return items
