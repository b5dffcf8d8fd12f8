"""The copies of public logs that benchmarks train on, as tables of events in, tables of events out."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from hrnn_hpo.data import ITEM_ID, SESSION_ID, TIMESTAMP, USER_ID


def write_copy(interactions: Path, file: Path, make: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """Write what `make` makes of a log to `file`, unless it is there already, and return the file."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        events = pd.read_csv(interactions, dtype=str).astype({TIMESTAMP: np.int64})
        draft = file.with_name(f"{file.name}.{os.getpid()}")  # another process may want it at the same moment
        make(events).to_csv(draft, index=False)
        draft.replace(file)
    return file


def without_newest_tenth(events: pd.DataFrame) -> pd.DataFrame:
    """Return the events without each user's newest ceil(n / 10); of the same second the later row is newer."""
    in_time = events.sort_values(TIMESTAMP, kind="stable")
    from_the_end = in_time.groupby(USER_ID).cumcount(ascending=False)
    n_events = in_time.groupby(USER_ID)[TIMESTAMP].transform("size")
    return events.loc[in_time.index[from_the_end >= -(-n_events // 10)].sort_values()]


def shuffle_ties(events: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the events in order of time, those of the same second in random order; sessions stay together."""
    keys = [np.random.default_rng(seed).random(len(events))]
    if SESSION_ID in events:
        keys.append(events[SESSION_ID].fillna(""))
    return events.iloc[np.lexsort([*keys, events[TIMESTAMP]])]


def frequent_items(events: pd.DataFrame, least: int) -> pd.DataFrame:
    """Return the events with items that have at least `least` of them."""
    return events[events.groupby(ITEM_ID)[ITEM_ID].transform("size") >= least]


def five_core(events: pd.DataFrame) -> pd.DataFrame:
    """Return what is left once every user and item has 5 events; in order of time, those of a second by item number.

    LRURec's preparation (yueqirex/LRURec, datasets/base.py) leaves ml-1m in this order.
    """
    while True:
        sizes = [events.groupby(column)[column].transform("size") for column in (USER_ID, ITEM_ID)]
        kept = (sizes[0] >= 5) & (sizes[1] >= 5)
        if kept.all():
            return events.iloc[np.lexsort([events[ITEM_ID].astype(int), events[TIMESTAMP]])]
        events = events[kept]


def some_users(events: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Return all events of a random share of the users."""
    users = events[USER_ID].drop_duplicates().sample(frac=share, random_state=seed)
    return events[events[USER_ID].isin(users)]


def fifth_of_journey(events: pd.DataFrame) -> pd.DataFrame:
    """Return the frequent products of a fifth of the households: all products would be 300,000 events."""
    return frequent_items(some_users(events, 0.2, seed=0), 10)
