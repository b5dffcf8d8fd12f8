"""The encoded interaction log that every other module reads.

Reading files is ingest's work, cutting sessions is sessions', assigning roles to events is splits'.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """A log of N events by U users over V items, sorted by (user, time, original order).

    The events of user u are the rows `user_offsets[u] : user_offsets[u + 1]`. Codes index the vocabularies.
    Arrays may be memory-mapped and are never written to.
    """

    user_offsets: NDArray[np.int64]  # (U + 1,)
    items: NDArray[np.int32]  # (N,) in [0, V)
    timestamps: NDArray[np.int64]  # (N,) unix seconds, non-decreasing within a user
    user_ids: NDArray[np.str_]  # (U,) in ascending order
    item_ids: NDArray[np.str_]  # (V,) in ascending order; items of the items table included
    content_hash: str  # sha256 over everything above and below
    session_ids: NDArray[np.int32] | None = None  # (N,) codes of SESSION_ID; -1 where the cell is empty
    event_types: NDArray[np.int32] | None = None  # (N,) codes into event_type_names; -1 where empty
    event_type_names: tuple[str, ...] = ()
    event_values: NDArray[np.float32] | None = None  # (N,) NaN where empty
    n_duplicates: int = field(default=0, compare=False)  # rows of the files left out as exact copies of another
    name: str = field(default="", compare=False)  # where it came from, for messages and tags

    @property
    def n_users(self) -> int:
        return len(self.user_offsets) - 1

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def n_events(self) -> int:
        return len(self.items)

    @property
    def history_lengths(self) -> NDArray[np.int64]:
        """Return the number of events of each user, (U,)."""
        return np.diff(self.user_offsets)

    @property
    def event_users(self) -> NDArray[np.int32]:
        """Return the user code of each event, (N,)."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), self.history_lengths)


def id_text(value: object) -> str:
    """Return an id as a log of text would have it: a whole number's digits, 7 for 7.0.

    Raises DataError for what is no id: None, NaN, an empty text, True.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    raise DataError(f"A user must be a text or a whole number, but got {value!r}.")
