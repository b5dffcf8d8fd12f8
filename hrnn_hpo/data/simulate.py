"""A made-up log of any size, written piece by piece: for trying sizes, with a structure that a right model must find.

The small logs of tests, each with one planted rule, are synthetic's.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data import EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID
from hrnn_hpo.errors import ConfigError, DataError
from hrnn_hpo.files import unwritable, whole_file

STRENGTH = 0.5  # how often an item's one successor follows
MEAN_VISIT = 4.0  # events
STEP_SECONDS = 45  # at the most, between the events of a visit
EPOCH, SPAN_SECONDS = 1_600_000_000, 365 * 86_400
TYPES = (("view", 0.9), ("cart", 0.07), ("purchase", 0.03))
_CHUNK_EVENTS = 1_000_000
_ENDINGS = (".csv", ".csv.gz", ".parquet")


def simulate(
    out: Path,
    *,
    n_events: int = 1_000_000,
    n_users: int = 50_000,
    n_items: int = 10_000,
    seed: int = 0,
    overwrite: bool = False,
    on_events: Callable[[int], None] | None = None,
) -> Path:
    """Write a log of about a year to a .csv, .csv.gz or .parquet file and return the path.

    Users come for visits of about four events; few come often, and few items are taken often (by power laws). With
    probability one half the item that follows is the one successor of the user's last item, whenever that was: the
    best hit rate at 1 is a little above .5, of popularity a few percent. Rows are nearly in the order of time. The same
    numbers and seed give the same file. The file appears when it is whole; memory does not grow with `n_events`. A file
    that is there, which may be a real log, is replaced only by `overwrite`.

    Raises ConfigError for numbers below 1 or beyond reason and for other endings, DataError when the file is there or
    cannot be written.
    """
    for name, number, most in (("events", n_events, 10**12), ("users", n_users, 10**9), ("items", n_items, 10**9)):
        if number < 1:
            raise ConfigError(f"`--{name} >= 1` must hold, but got {number}.")
        if number > most:  # of more items, the numbers below would leave 64 bits
            raise ConfigError(f"`--{name} <= {most:,}` must hold, but got {number:,}.")
    out = Path(out)
    ending = next((ending for ending in reversed(_ENDINGS) if out.name.endswith(ending)), None)
    if ending is None:
        raise ConfigError(f"{out}: must end with {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}.")
    try:
        if out.is_file() and not overwrite:
            raise DataError(f"{out}: is there already. Name another file, or replace it with --overwrite.")
        with whole_file(out) as draft, _writer(draft, ending) as write:
            for table in _tables(n_events, n_users, n_items, np.random.default_rng(seed)):
                write(table)
                if on_events is not None:
                    on_events(table.num_rows)
    except OSError as error:
        raise unwritable(out, error, DataError) from error
    return out


@contextlib.contextmanager
def _writer(path: Path, ending: str) -> Iterator[Callable[[Any], None]]:
    import pyarrow as pa
    from pyarrow import csv, parquet

    schema = pa.schema(
        [(USER_ID, pa.string()), (ITEM_ID, pa.string()), (TIMESTAMP, pa.int64()), (EVENT_TYPE, pa.string())]
    )
    if ending == ".parquet":
        with parquet.ParquetWriter(os.fspath(path), schema) as writer:
            yield writer.write_table
        return
    sink = pa.OSFile(os.fspath(path), "wb")
    stream = pa.CompressedOutputStream(sink, "gzip") if ending.endswith(".gz") else sink
    options = csv.WriteOptions(quoting_style="none")
    with sink, stream, csv.CSVWriter(stream, schema, write_options=options) as writer:
        yield writer.write_table


def _tables(n_events: int, n_users: int, n_items: int, generator: np.random.Generator) -> Iterator[Any]:
    import pyarrow as pa

    last = np.full(n_users, -1, dtype=np.int64)  # the item that each user had last
    per_chunk = max(min(_CHUNK_EVENTS, 20 * n_users), 1000)
    n_chunks = math.ceil(n_events / per_chunk)
    for chunk in range(n_chunks):
        n_here = min(per_chunk, n_events - chunk * per_chunk)
        slice_seconds = SPAN_SECONDS / n_chunks
        users, times = _visits(n_here, n_users, EPOCH + chunk * slice_seconds, slice_seconds, generator)
        items = _items(users, last, n_items, generator)
        kinds = generator.choice(len(TYPES), size=n_here, p=[share for _, share in TYPES])
        names = pa.array([name for name, _ in TYPES])
        yield pa.table(
            {
                USER_ID: _ids("u", users),
                ITEM_ID: _ids("i", items),
                TIMESTAMP: pa.array(times),
                EVENT_TYPE: names.take(pa.array(kinds)),
            }
        )


def _visits(
    n_events: int, n_users: int, start: float, seconds: float, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the user and the time of each event, visit by visit."""
    n_visits = n_events  # enough: each visit has an event at least
    lengths = generator.geometric(1 / MEAN_VISIT, size=n_visits)
    n_visits = int(np.searchsorted(np.cumsum(lengths), n_events)) + 1
    lengths = lengths[:n_visits]
    who = (n_users * generator.random(n_visits) ** 2).astype(np.int64)  # a few users come often
    begins = np.sort(start + seconds * generator.random(n_visits)).astype(np.int64)
    visit = np.repeat(np.arange(n_visits), lengths)[:n_events]
    steps = np.arange(len(visit)) - np.repeat(np.cumsum(lengths) - lengths, lengths)[:n_events]
    return who[visit], begins[visit] + steps * generator.integers(5, STEP_SECONDS + 1, size=n_visits)[visit]


def _items(
    users: NDArray[np.int64], last: NDArray[np.int64], n_items: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return the item of each event and leave each user's newest in `last`."""
    # Rank k in proportion to 1 / k; which item has which rank is mixed.
    ranks = np.minimum((n_items + 1.0) ** generator.random(len(users)) - 1, n_items - 1).astype(np.int64)
    items = _mixed(ranks, n_items)
    follows = generator.random(len(users)) < STRENGTH
    order = np.argsort(users, kind="stable")
    first = np.concatenate([[True], users[order][1:] != users[order][:-1]])
    nth = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    by_nth = np.argsort(nth, kind="stable")
    borders = np.flatnonzero(np.diff(nth[by_nth])) + 1
    for places in np.split(by_nth, borders):  # the n-th events of all users at once: no user twice
        rows = order[places]
        before = last[users[rows]]
        chained = follows[rows] & (before >= 0)
        items[rows[chained]] = successor(before[chained], n_items)
        last[users[rows]] = items[rows]
    return items


def successor(items: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """Return the one item that follows each item: a fixed rule, so that a reader of the log can check it."""
    return (items * _coprime(n_items, 7) + 3) % n_items


def _mixed(ranks: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    return (ranks * _coprime(n_items, int(n_items * 0.618)) + 1) % n_items


def _coprime(n: int, near: int) -> int:
    """Return the first number from `near` on that shares no factor with n: multiplying by it loses no item."""
    number = max(near, 1)
    while math.gcd(number, n) > 1:
        number += 1
    return number


def _ids(letter: str, numbers: NDArray[np.int64]) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    return compute.binary_join_element_wise(letter, compute.cast(pa.array(numbers), pa.string()), "")
