"""Where sessions begin in a log of events: after a pause, or where the log's own SESSION_ID changes.

What a session means to the model is featurize's and the model's work.
"""

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.blocks import pairs_of_events
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError


def session_starts(dataset: Dataset, gap_seconds: int) -> NDArray[np.bool_]:
    """Return True for each event that opens a session, (N,).

    A user's first event opens one, and so does an event `gap_seconds` or more after the one before it. Where the
    log has a SESSION_ID, a change of it opens a session too, however short the pause (a filled cell after an empty
    one is a change).
    """
    if gap_seconds < 1:
        raise ConfigError(f"`session_gap >= 1` second must hold, but got {gap_seconds}.")
    starts = np.zeros(dataset.n_events, dtype=np.bool_)
    for part in pairs_of_events(dataset.n_events):
        later = starts[part][1:]
        later[:] = np.diff(dataset.timestamps[part]) >= gap_seconds
        if dataset.session_ids is not None:
            sessions = dataset.session_ids[part]
            later |= sessions[1:] != sessions[:-1]
    starts[first_rows(dataset)] = True
    return starts


def first_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Return the row of each user's first event, users without events left out."""
    offsets = np.asarray(dataset.user_offsets)
    return offsets[:-1][np.diff(offsets) > 0]
