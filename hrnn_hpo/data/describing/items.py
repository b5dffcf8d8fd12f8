"""Which items have the events: how popularity is spread, and how it and the catalogue change over time."""

from dataclasses import dataclass

import numpy as np

from hrnn_hpo.data.schema import Dataset

N_TENTHS = 10
TOP_ITEMS = 100  # whose overlap from one tenth to the next tells the drift


@dataclass(frozen=True)
class Popularity:
    """How the events are spread over the items that have any; shares lie within 0 and 1."""

    top_1_percent: float  # share of the events on the most popular hundredth of the items
    top_10_percent: float
    n_items_for_half: int  # the most popular items that have half of the events together
    n_items_once: int  # items with a single event
    gini: float  # 0: all items alike; towards 1: one item has everything
    most_popular: tuple[tuple[str, int], ...]  # ten items with their counts


@dataclass(frozen=True)
class Tenth:
    """A tenth of the events, in the order of time over all users.

    `cold_share` is the share of its events on items that had none in earlier tenths; `kept_top` the share of its
    hundred most popular items that were among those of the tenth before (None for the first).
    """

    first_timestamp: int
    last_timestamp: int
    n_events: int
    n_users: int
    n_new_users: int
    n_new_items: int
    cold_share: float
    kept_top: float | None


def popularity(dataset: Dataset) -> Popularity:
    """Return how the events are spread over items."""
    counts = np.bincount(dataset.items, minlength=dataset.n_items)
    order = np.lexsort((np.arange(len(counts)), -counts))  # ties: the lower code first
    falling = counts[order]
    falling = falling[falling > 0]
    passed = np.cumsum(falling)
    n_used, n_events = len(falling), int(passed[-1])
    rising = falling[::-1].astype(np.float64)
    ranks = np.arange(1, n_used + 1)
    gini = float((2 * (ranks * rising).sum() / (n_used * rising.sum())) - (n_used + 1) / n_used)
    return Popularity(
        top_1_percent=float(passed[max(round(n_used * 0.01), 1) - 1] / n_events),
        top_10_percent=float(passed[max(round(n_used * 0.1), 1) - 1] / n_events),
        n_items_for_half=int(np.searchsorted(passed, n_events / 2)) + 1,
        n_items_once=int((falling == 1).sum()),
        gini=gini,
        most_popular=tuple((str(dataset.item_ids[code]), int(counts[code])) for code in order[: min(10, n_used)]),
    )


def tenths(dataset: Dataset) -> tuple[Tenth, ...]:
    """Return what happens in each tenth of the events; fewer where there are fewer than ten events."""
    order = np.argsort(dataset.timestamps, kind="stable")
    items, users = np.asarray(dataset.items), dataset.event_users
    known_items = np.zeros(dataset.n_items, dtype=np.bool_)
    known_users = np.zeros(dataset.n_users, dtype=np.bool_)
    top_before: np.ndarray | None = None
    found = []
    for rows in np.array_split(order, min(N_TENTHS, dataset.n_events)):
        here, who = items[rows], np.unique(users[rows])
        counts = np.bincount(here, minlength=dataset.n_items)
        used = np.flatnonzero(counts)
        top = used[np.lexsort((used, -counts[used]))][:TOP_ITEMS]
        kept = None if top_before is None else float(np.isin(top, top_before).mean())
        found.append(
            Tenth(
                first_timestamp=int(dataset.timestamps[rows[0]]),
                last_timestamp=int(dataset.timestamps[rows[-1]]),
                n_events=len(rows),
                n_users=len(who),
                n_new_users=int((~known_users[who]).sum()),
                n_new_items=int((~known_items[used]).sum()),
                cold_share=float((~known_items[here]).mean()),
                kept_top=kept,
            )
        )
        known_items[used] = True
        known_users[who] = True
        top_before = top
    return tuple(found)
