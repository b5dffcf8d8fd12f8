"""The same items for everybody: popular ones, of all time or of late."""

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.featurize import RECENT_DAYS, item_counts
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.evaluation.untrained.common import Scorer, dense_ranks


def popularity(dataset: Dataset, train: TrainPart) -> Scorer:
    """Return scores that rank items by their number of training events, the same for every user."""
    return _same_for_all(dense_ranks(item_counts(dataset, train)))


def recent_popularity(dataset: Dataset, train: TrainPart) -> Scorer:
    """Return scores that rank items by their training events in the log's last 30 days, then by all of them.

    The window is counted back from the last training event, its first second excluded.
    """
    recent, all_of_them = item_counts(dataset, train, RECENT_DAYS), item_counts(dataset, train)
    return _same_for_all(dense_ranks(recent, all_of_them))


def _same_for_all(scores: NDArray[np.float32]) -> Scorer:
    return lambda part, constants: lambda rows: np.tile(scores, (len(rows), 1))
