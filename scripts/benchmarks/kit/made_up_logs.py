"""Made-up logs that look like a shop's: users with tastes, popular items, and the columns that a log may have."""

import numpy as np

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import EPOCH, MINUTE, make_dataset

N_TASTES = 30
FOLLOWS = 0.4  # of the events are on the successor of the item before
DAY = 86_400


def browsing(
    n_users: int = 2_000,
    n_items: int = 3_000,
    seed: int = 0,
    *,
    repeats: float = 0.0,
    values: bool = False,
    types: bool = False,
    sessions: bool = False,
) -> Dataset:
    """Return histories of 20 to 80 events: items of the user's two tastes, or what follows the item before.

    Within a taste items are taken by Zipf's law. A share `repeats` of the events or more is on an item that the user
    had; 0 means none: any other item is taken instead. `values` are prices, from a fraction to a thousand times the
    usual; `types` say whether an event is a purchase, after which nothing follows; `sessions` are days, each of one of
    the tastes.
    """
    generator = np.random.default_rng(seed)
    by_taste = np.array_split(generator.permutation(n_items), N_TASTES)
    successor = generator.permutation(n_items)
    prices = np.round(np.exp(generator.normal(2.0, 1.5, size=n_items)), 2)
    histories = []
    for _ in range(n_users):
        tastes = generator.choice(N_TASTES, size=2, replace=False)
        now, day, taste = EPOCH + int(generator.integers(100 * DAY)), 0, tastes[0]
        history: list[tuple[str, int, str | None, float | None, str | None]] = []
        had: list[int] = []
        bought = False
        for step in range(int(generator.integers(20, 81))):
            if step % 6 == 5:
                now, day = now + int(generator.integers(DAY, 5 * DAY)), day + 1
                taste = tastes[day % 2]
            elif not sessions:
                taste = tastes[int(generator.integers(2))]
            draw = generator.random()
            if had and draw < repeats:
                item = had[int(generator.integers(len(had)))]
            elif had and not bought and draw < repeats + FOLLOWS:
                item = int(successor[had[-1]])
            else:
                place = int(generator.zipf(1.3)) - 1
                item = int(by_taste[taste][place % len(by_taste[taste])])
            while not repeats and item in had:
                item = int(generator.integers(n_items))
            bought = types and generator.random() < 0.25
            had.append(item)
            history.append(
                (
                    f"i{item}",
                    now,
                    ("buy" if bought else "view") if types else None,
                    float(prices[item]) if values else None,
                    f"d{day}" if sessions else None,
                )
            )
            now += int(generator.integers(1, 10)) * MINUTE
        histories.append(history)
    return make_dataset(histories, extra_items=[f"i{item}" for item in range(n_items)], name=f"browsing-{n_items}")
