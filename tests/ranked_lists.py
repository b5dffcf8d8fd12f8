"""Parts of small logs and the lists that baselines rank for them, imported by the tests of baselines."""

import numpy as np
from strategies import eval_part_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart
from hrnn_hpo.evaluation.baselines import (
    BASELINES,
)
from hrnn_hpo.evaluation.protocols import rank


def lists_of(name: str, dataset: Dataset, train: TrainPart, part: EvalPart, k: int = 5) -> list[list[int]]:
    """Return the ranked lists of a baseline, seen items kept."""
    return rank(dataset, part, BASELINES[name](dataset, train, part), seen="keep", k=k).tolist()


def train_on(dataset: Dataset, *users: int) -> TrainPart:
    codes = np.array(users, dtype=np.int64)
    return TrainPart(codes, dataset.user_offsets[1:][codes])


def evaluate_on(dataset: Dataset, *users: int) -> EvalPart:
    part = eval_part_of(dataset)
    rows = np.flatnonzero(np.isin(part.users, users))
    return EvalPart(part.users[rows], part.truth_starts[rows], part.truth_stops[rows])
