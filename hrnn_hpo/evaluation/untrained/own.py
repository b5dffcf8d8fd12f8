"""The user's own items by faded counts, alone or mixed with those of similar users (TIFU-kNN)."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart, expand_ranges
from hrnn_hpo.evaluation.protocols import ScoreRows, top_k
from hrnn_hpo.evaluation.untrained.common import (
    Constants,
    Scorer,
    behind,
    faded_items,
    in_front,
    user_item_matrix,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

GROUP_BASKETS = 7  # of a group, within which a basket weighs BASKET_DECAY for each later one
BASKET_DECAY = 0.9
MOST_PEOPLE = 20_000  # among whom similar users are sought
DISTANCES_AT_ONCE = 4_000_000  # of asked users to all of these people


def own_items(dataset: Dataset, train: TrainPart) -> Scorer:
    """Return scores that rank the user's input items by faded counts, all others by popularity behind.

    Constants: `half_life` of an input event's weight.
    """
    rest = behind(dataset, train)

    def scorer(part: EvalPart, constants: Constants) -> ScoreRows:
        half_life = str(constants["half_life"])
        return lambda rows: in_front(faded_items(dataset, part, rows, half_life), rest)

    return scorer


def tifu_knn(dataset: Dataset, train: TrainPart) -> Scorer:
    """Return scores that mix the user's own items with those of similar users, popularity behind.

    TIFU-kNN (Hu et al., SIGIR 2020): a user is the faded sum of baskets, here events of one moment, and the score is
    own_share x own vector + (1 - own_share) x mean vector of the `neighbours` nearest training users by Euclidean
    distance (equally near: the lower user code; nobody is a neighbour of oneself). Constants: `group_decay`,
    `own_share`, `neighbours`. Of more than 20,000 training users so many, drawn once, may be neighbours.
    """
    rest = behind(dataset, train)
    people = np.arange(len(train.users))
    if len(people) > MOST_PEOPLE:
        people = np.sort(np.random.default_rng(0).permutation(len(people))[:MOST_PEOPLE])
    users = train.users[people]

    def scorer(part: EvalPart, constants: Constants) -> ScoreRows:
        decay, share, k = float(constants["group_decay"]), float(constants["own_share"]), int(constants["neighbours"])
        vectors = basket_vectors(dataset, dataset.user_offsets[users], train.stops[people], decay)  # (P, V)
        squares = np.asarray((vectors * vectors).sum(axis=1), dtype=np.float32)

        def score_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            asked = part.users[rows]
            own = basket_vectors(dataset, dataset.user_offsets[asked], part.truth_starts[rows], decay)  # (b, V)
            nearest = np.empty((len(rows), k), dtype=np.int32)
            step = max(1, DISTANCES_AT_ONCE // max(len(people), 1))
            for begin in range(0, len(rows), step):  # rows are as many as items allow: people may be more than these
                some = slice(begin, begin + step)
                nearness = 2.0 * (own[some] @ vectors.T).toarray() - squares  # without |own|², the same for all people
                nearness[asked[some, None] == users] = -np.inf
                nearest[some] = top_k(nearness.astype(np.float32), k)
            row, rank = np.nonzero(nearest >= 0)
            votes = 1.0 / np.maximum((nearest >= 0).sum(axis=1), 1)
            chosen = user_item_matrix(row, nearest[row, rank], (len(rows), len(people)), votes[row])
            return in_front(own * np.float32(share) + (chosen @ vectors) * np.float32(1.0 - share), rest)

        return score_rows

    return scorer


def basket_vectors(
    dataset: Dataset, starts: NDArray[np.int64], stops: NDArray[np.int64], group_decay: float
) -> "csr_array":
    """Return what each user's baskets come to, (R, V): row r has the events `starts[r] : stops[r]`.

    A basket is the user's events of one moment. Counted from the newest, seven baskets are a group (the oldest group
    may have fewer); a group's vector is the mean of its baskets, each times .9 for every later basket of the group, and
    the user's is the mean of the groups, each times `group_decay` for every later group.
    """
    owners, events = expand_ranges(starts, stops)
    times = dataset.timestamps[events]
    begins = np.ones(len(events), dtype=np.bool_)
    begins[1:] = (times[1:] != times[:-1]) | (owners[1:] != owners[:-1])
    basket = np.cumsum(begins) - 1  # over all users
    n_baskets = np.bincount(owners[begins], minlength=len(starts))
    back = np.cumsum(n_baskets)[owners] - 1 - basket  # 0: the user's newest basket
    group, place = np.divmod(back, GROUP_BASKETS)
    of_user = n_baskets[owners]
    size = np.minimum(GROUP_BASKETS, of_user - group * GROUP_BASKETS)
    n_groups = -(-of_user // GROUP_BASKETS)
    weights = group_decay**group * BASKET_DECAY**place / (size * n_groups)
    return user_item_matrix(owners, dataset.items[events], (len(starts), dataset.n_items), weights)
