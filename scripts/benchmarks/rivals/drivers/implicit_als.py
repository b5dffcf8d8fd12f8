"""ALS of `implicit`, its constants chosen on validation users one after the other, the library's defaults first.

It learns from counts of training events. Every evaluated user is folded in: their factors are computed from the whole
input, so that users without training events are ranked too.
"""

import time
from importlib.metadata import version
from typing import Any

import numpy as np
from assignment import BLOCK_ROWS, LIST_LENGTH, Assignment, Sequences, read_settings, tell, top_lists
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

VERSIONS = ("pm-implicit", "numpy", "scipy")


def counts(sequences: Sequences, n_items: int) -> csr_matrix:
    """Return how often each user has each item, (R, V)."""
    ones = np.ones(len(sequences.items), dtype=np.float32)
    return csr_matrix((ones, (sequences.rows, sequences.items)), shape=(len(sequences), n_items))


def ranked(model: AlternatingLeastSquares, inputs: Sequences, assignment: Assignment, length: int) -> np.ndarray:
    """Return the lists of users, (R, length); items without a training event stay out of them."""
    known = assignment.popularity > 0
    lists = []
    for start in range(0, len(inputs), BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, len(inputs)))
        bounds = inputs.offsets[start : rows[-1] + 2]
        block = Sequences(inputs.items[bounds[0] : bounds[-1]], bounds - bounds[0])
        factors = model.recalculate_user(np.arange(len(rows)), counts(block, assignment.n_items))
        scores = factors @ model.item_factors.T
        scores[:, ~known] = -np.inf
        lists.append(top_lists(scores, inputs, start, remove_seen=assignment.remove_seen, length=length))
    return np.concatenate(lists)


def main() -> None:
    settings = read_settings()
    began = time.process_time()
    assignment = Assignment.read(settings["assignment"])
    train = counts(assignment.train, assignment.n_items)
    rival: dict[str, Any] = settings["hyperparameters"]
    tried: dict[tuple[float, ...], tuple[float, AlternatingLeastSquares]] = {}

    def fitted(constants: dict[str, float]) -> tuple[float, AlternatingLeastSquares]:
        key = tuple(constants.values())
        if key not in tried:
            model = AlternatingLeastSquares(
                **constants,
                iterations=rival["iterations"],
                num_threads=settings["threads"],
                random_state=settings["seed"],
            )
            model.fit(train, show_progress=False)
            ndcg = assignment.validation_ndcg(ranked(model, assignment.validation, assignment, LIST_LENGTH))
            tried[key] = ndcg, model
        return tried[key]

    chosen = {name: values[0] for name, values in rival["grid"].items()}
    default = fitted(chosen)[0]
    for name, values in rival["grid"].items():
        chosen[name] = max(values, key=lambda value: fitted({**chosen, name: value})[0])
    ndcg, model = fitted(chosen)
    lists = ranked(model, assignment.test, assignment, assignment.length)
    assignment.write_rankings(settings["rankings"], lists)
    tell(
        "RESULT",
        n_ranked_items=int((assignment.popularity > 0).sum()),
        n_parameters=model.user_factors.size + model.item_factors.size,
        constants=chosen,
        n_settings=len(tried),
        validation_ndcg_at_10=ndcg,
        validation_ndcg_at_10_of_defaults=default,
        core_seconds=time.process_time() - began,
        versions={package: version(package) for package in VERSIONS},
    )


if __name__ == "__main__":
    main()
