"""The same items for everybody: popular ones, of all time or of late."""

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.featurize import SECONDS_PER_DAY
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.evaluation.untrained.common import Scorer, counts, dense_ranks, training_events

RECENT_DAYS = 30.0  # the window of recent popularity


def popularity(dataset: Dataset, train: TrainPart) -> Scorer:
    """Return scores that rank items by their number of training events, the same for every user."""
    _, events = training_events(dataset, train)
    return _same_for_all(dense_ranks(counts(dataset, events)))


def recent_popularity(dataset: Dataset, train: TrainPart) -> Scorer:
    """Return scores that rank items by their training events in the log's last 30 days, then by all of them.

    The window is counted back from the last training event, its first second excluded.
    """
    _, events = training_events(dataset, train)
    times = dataset.timestamps[events]
    recent = events[times > times.max(initial=0) - RECENT_DAYS * SECONDS_PER_DAY]
    return _same_for_all(dense_ranks(counts(dataset, recent), counts(dataset, events)))


def _same_for_all(scores: NDArray[np.float32]) -> Scorer:
    return lambda part, constants: lambda rows: np.tile(scores, (len(rows), 1))
