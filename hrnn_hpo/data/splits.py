"""Who trains, who validates, who tests, and on which events: the evaluation protocols as ranges of rows.

A role never copies events: it names users and the row ranges of their input and their truth. Scoring is
evaluation's work.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, DataError

Protocol = Literal["personalize", "personalize-last", "leave-one-out", "newest-tenth", "temporal", "none"]
PROTOCOLS: tuple[Protocol, ...] = (
    "personalize",
    "personalize-last",
    "leave-one-out",
    "newest-tenth",
    "temporal",
    "none",
)
SINGLE_TRUTH: tuple[Protocol, ...] = ("personalize-last", "leave-one-out")  # the others ask for a set of coming events
REDRAWN: tuple[Protocol, ...] = ("personalize", "personalize-last")  # `train_seed` draws users; the others cut in time
# Simulated (scripts/benchmarks/search/held_back.py): the more users judge, the smaller the gain that they see. A search
# by 60 % of them ends with winners as good as one by 80 % where it is screened, since the confirmation chooses too.
SHARE_HELD_BACK = 0.4
LEAST_HELD_BACK = 100
LEAST_VALIDATION = 200  # users of which some are held back
HOLD_BACK = 5  # beside the split's seed: a stream of its own


@dataclass(frozen=True)
class TrainPart:
    """Training users and where the training targets of each end: rows `user_offsets[user] : stops`."""

    users: NDArray[np.int64]  # (R,) ascending user codes
    stops: NDArray[np.int64]  # (R,) row after the last training event

    def lengths(self, dataset: Dataset) -> NDArray[np.int64]:
        """Return how many training targets each of the users has, (R,)."""
        return self.stops - np.asarray(dataset.user_offsets)[self.users]

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "TrainPart":
        """Return some of the users."""
        return TrainPart(self.users[rows], self.stops[rows])


@dataclass(frozen=True)
class EvalPart:
    """Evaluated users; input rows are `user_offsets[user] : truth_starts`, truth rows `truth_starts : truth_stops`."""

    users: NDArray[np.int64]  # (R,) ascending user codes
    truth_starts: NDArray[np.int64]  # (R,) first row of the truth = row after the last input event
    truth_stops: NDArray[np.int64]  # (R,) row after the last truth event

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "EvalPart":
        """Return some of the users."""
        return EvalPart(self.users[rows], self.truth_starts[rows], self.truth_stops[rows])


@dataclass(frozen=True)
class Split:
    protocol: Protocol
    seed: int
    train: TrainPart
    validation: EvalPart | None  # None only for `none`
    test: EvalPart | None  # None only for `none`
    held_back: EvalPart | None = None  # validation users for a study's confirmation alone, where some are wanted


def make_split(
    dataset: Dataset,
    protocol: Protocol,
    seed: int,
    *,
    train_seed: int | None = None,
    apart_from: Sequence[int] = (),
    n_held_back: int = 0,
) -> Split:
    """Return who trains, validates and tests under a protocol; the same arguments always give the same split.

    Users with fewer than two events have no role. The protocols:

    - `personalize`, `personalize-last`: `seed` draws round(0.1 users) test users, then as many validation users; all
      others train on their whole history. The truth is the newest max(1, floor(n / 10)) events of an evaluated
      user, or the last one alone.
    - `leave-one-out`: the last event of every user is test truth, the one before it validation truth, the rest
      trains. Users with two events only train, on both.
    - `newest-tenth`: the newest ceil(n / 10) events of every user are test truth, the ceil(n / 10) before them
      validation truth, the rest trains. Of two events one trains and one is test truth: the user is not validated,
      since training keeps at least one event of everybody.
    - `temporal`: two moments cut the log for everybody, the times at which 80 % and 90 % of all events have passed.
      Events before the first train, those from the first until the second are validation truth, the rest is test
      truth. Only users with an event before a window are evaluated on it.
    - `none`: everything trains and nothing is evaluated.

    `train_seed` draws validation and training users anew and leaves the test users of `seed` as they are; protocols
    that cut every user in time have nothing to draw and ignore both seeds. Whom the train seeds in `apart_from` draw
    for validation trains here, as long as there are enough others to validate.

    `n_held_back` takes so many validation users, drawn by `seed`, out of validation: nothing may be chosen by them.
    What they train stays.

    Raises DataError when too few users or events are left for the three roles, ConfigError for holding back as many
    validation users as there are.
    """
    split = _all_validated(dataset, protocol, seed, train_seed, apart_from)
    if not n_held_back or split.validation is None:
        return split
    n_validation = len(split.validation)
    if not 0 < n_held_back < n_validation:
        raise ConfigError(
            f"`0 < n_held_back < validation users` must hold, but got {n_held_back} of {n_validation} under "
            f"`{protocol}`; leave n_held_back out of a configuration for other data or another protocol."
        )
    held = np.zeros(n_validation, dtype=np.bool_)
    held[np.random.default_rng([seed, HOLD_BACK, n_validation]).permutation(n_validation)[:n_held_back]] = True
    return replace(split, validation=split.validation.take(~held), held_back=split.validation.take(held))


def n_to_hold_back(split: Split) -> int:
    """Return how many validation users a study keeps for its confirmation: 40 % of them, and 100 at least.

    0 where the confirmation draws its users anew, and of fewer than 200: neither side could tell much.
    """
    if split.protocol in REDRAWN or split.validation is None or len(split.validation) < LEAST_VALIDATION:
        return 0
    return max(LEAST_HELD_BACK, round(SHARE_HELD_BACK * len(split.validation)))


def _all_validated(
    dataset: Dataset, protocol: Protocol, seed: int, train_seed: int | None, apart_from: Sequence[int]
) -> Split:
    """Return the split with nobody held back."""
    if protocol not in PROTOCOLS:
        raise ConfigError(f"`protocol` must be one of {', '.join(PROTOCOLS)}, but got {protocol!r}.")
    lengths = dataset.history_lengths
    users = np.flatnonzero(lengths >= 2)
    if len(users) == 0:
        raise DataError(f"A split wants users with two or more events, but none of {dataset.n_users} has them.")
    starts = np.asarray(dataset.user_offsets[:-1])[users]
    stops = starts + lengths[users]
    if protocol == "none":
        return Split(protocol, seed, TrainPart(users, stops), None, None)
    if protocol in ("personalize", "personalize-last"):
        n_truth = np.maximum(1, lengths[users] // 10) if protocol == "personalize" else np.ones_like(users)
        return _split_by_user(protocol, users, stops - n_truth, stops, seed, train_seed, apart_from)
    if protocol == "temporal":
        return _split_by_time(dataset, users, seed)
    if protocol == "leave-one-out":
        n_truth = np.ones_like(users)
        validated = tested = lengths[users] >= 3
    else:
        n_truth = -(-lengths[users] // 10)  # ceil
        validated = lengths[users] > 2 * n_truth
        tested = np.ones_like(validated)
    test_starts = np.where(tested, stops - n_truth, stops)
    validation_starts = np.where(validated, test_starts - n_truth, test_starts)
    split = Split(
        protocol,
        seed,
        TrainPart(users, validation_starts),
        EvalPart(users[validated], validation_starts[validated], test_starts[validated]),
        EvalPart(users[tested], test_starts[tested], stops[tested]),
    )
    if not validated.any():
        raise DataError(f"`{protocol}` wants users with three or more events, but no user has them.")
    return split


def _split_by_user(
    protocol: Protocol,
    users: NDArray[np.int64],
    truth_starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    seed: int,
    train_seed: int | None,
    apart_from: Sequence[int],
) -> Split:
    n_held = max(1, round(0.1 * len(users)))
    if len(users) < 3:
        raise DataError(f"`{protocol}` wants three or more users with two or more events, but got {len(users)}.")
    shuffled = np.random.default_rng(seed).permutation(len(users))
    test, others = shuffled[:n_held], shuffled[n_held:]
    if train_seed is not None:
        drawn = [np.random.default_rng([seed, one]).permutation(np.sort(others)) for one in (train_seed, *apart_from)]
        others = drawn[0]
        if apart_from:
            last = np.isin(others, np.concatenate([one[:n_held] for one in drawn[1:]]))
            others = others[np.argsort(last, kind="stable")]
    validation, train = np.sort(others[:n_held]), np.sort(others[n_held:])
    test = np.sort(test)
    return Split(
        protocol,
        seed,
        TrainPart(users[train], stops[train]),
        EvalPart(users[validation], truth_starts[validation], stops[validation]),
        EvalPart(users[test], truth_starts[test], stops[test]),
    )


def _split_by_time(dataset: Dataset, users: NDArray[np.int64], seed: int) -> Split:
    keep = np.repeat(dataset.history_lengths >= 2, dataset.history_lengths)
    times = np.asarray(dataset.timestamps)[keep]
    places = (8 * len(times)) // 10, (9 * len(times)) // 10
    times.partition(places)  # in its own place: the only array here that has a time for each event
    cuts = times[places[0]], times[places[1]]
    starts = np.asarray(dataset.user_offsets[:-1])[users]
    stops = np.asarray(dataset.user_offsets[1:])[users]
    first, second = (_rows_before(dataset.timestamps, starts, stops, cut) for cut in cuts)
    trained = first > starts
    validated = trained & (second > first)
    tested = (second > starts) & (stops > second)
    if not (trained.any() and validated.any() and tested.any()):
        raise DataError(
            "`temporal` wants users with events before and in both windows, but cutting the log at timestamps "
            f"{cuts[0]} and {cuts[1]} leaves {trained.sum()} training, {validated.sum()} validation and "
            f"{tested.sum()} test users."
        )
    return Split(
        "temporal",
        seed,
        TrainPart(users[trained], first[trained]),
        EvalPart(users[validated], first[validated], second[validated]),
        EvalPart(users[tested], second[tested], stops[tested]),
    )


def _rows_before(
    timestamps: NDArray[np.int64], starts: NDArray[np.int64], stops: NDArray[np.int64], cut: np.int64
) -> NDArray[np.int64]:
    """Return the first row of each user that is not before the moment, its stop where all are, (R,).

    Times are in order within a user, so all users' rows are searched at once, each step halving what is left of them.
    """
    low, high = starts, stops
    while (low < high).any():
        middle = (low + high) // 2
        before = (low < high) & (timestamps[np.minimum(middle, len(timestamps) - 1)] < cut)
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    return low


def expand_ranges(
    starts: NDArray[np.integer], stops: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (owners, positions): every position of the ranges `starts : stops`, in order, and the range it is from.

    >>> owners, positions = expand_ranges(np.array([5, 8]), np.array([7, 9]))
    >>> owners.tolist(), positions.tolist()
    ([0, 0, 1], [5, 6, 8])
    """
    lengths = np.maximum(np.asarray(stops, dtype=np.int64) - np.asarray(starts, dtype=np.int64), 0)
    owners = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    firsts = np.cumsum(lengths) - lengths
    return owners, np.arange(len(owners), dtype=np.int64) + (np.asarray(starts, dtype=np.int64) - firsts)[owners]


def input_events(
    dataset: Dataset, part: EvalPart, rows: NDArray[np.int64], *, last: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (owners, events): the events that some rows of the part may look at, at most the `last` ones of each.

    Owners count from 0 within `rows`; a row's events are in order of time.
    """
    starts, stops = dataset.user_offsets[part.users[rows]], part.truth_starts[rows]
    if last is not None:
        starts = np.maximum(starts, stops - last)
    return expand_ranges(starts, stops)
