"""Would a gradient explain a recommendation as well as leaving events out does, which takes a forward pass an event?

Run: .venv/bin/python scripts/benchmarks/quality/explanations.py models/ml-100k models/baskets [--users 40]

For some users of each model the best item's log probability is explained twice: by leaving each event out, as
`recommend --explain` does, and by gradient times input, the change to first order if an event's embedded step went to
zero (Ancona et al., ICLR 2018). Told are the median rank correlation of the two over users, how many of the five
events that change most are among the gradient's five, and how large the largest gradient is beside the largest change.
The two models of docs/benchmarks.md are those of search_spaces/best/, trained in a minute each.
"""

import statistics
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hrnn_hpo.model.folder import load_model
from hrnn_hpo.model.inputs import pack
from hrnn_hpo.serving.explain import explain
from hrnn_hpo.serving.recommender import Recommender, code_of, scored_at_once
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table

STRONGEST = 5
LENGTHS = range(20, 500)  # events of the users that are asked for


@torch.enable_grad()
def gradient_times_input(recommender: Recommender, user: str, item: str) -> NDArray[np.float32]:
    """Return what each event counts for an item's log probability to first order, (n,)."""
    model, history = recommender.saved.model.eval(), recommender.history(user)
    steps, starts = recommender.steps_of(history)
    packed, _ = pack(steps, starts, history.history_lengths + 1, model.item_bias.device)
    embedded = model.embed(packed).detach().requires_grad_()
    outputs, _ = model.run(embedded, packed, model.start_state(1))
    (past,) = scored_at_once(history)
    log_probabilities = torch.log_softmax(model.score_after(outputs[-1:], past.own), dim=1)
    (gradient,) = torch.autograd.grad(log_probabilities[0, code_of(history.item_ids, item)], embedded)
    return (gradient * embedded).sum(dim=1)[1:].detach().numpy()


def measure(folder: Path, n_users: int) -> Figures:
    """Return the figures of one model."""
    torch.set_num_threads(1)
    recommender = Recommender(load_model(folder), "keep")
    log = recommender.saved.histories
    candidates = np.flatnonzero(np.isin(log.history_lengths, LENGTHS))
    users = np.random.default_rng(0).choice(candidates, min(n_users, len(candidates)), replace=False)
    correlations, found, sizes = [], [], []
    for user in log.user_ids[users]:
        explanation = explain(recommender, str(user))
        changes = np.array([event.influence for event in explanation.influences])
        gradients = gradient_times_input(recommender, str(user), explanation.item)
        correlations.append(float(pd.Series(gradients).corr(pd.Series(changes), method="spearman")))
        strongest, steepest = (set(np.argsort(-np.abs(values))[:STRONGEST]) for values in (changes, gradients))
        found.append(len(strongest & steepest))
        sizes.append(float(np.abs(gradients).max() / np.abs(changes).max()))
    return {
        "repeats": recommender.saved.configuration.hyperparameters.repeats,
        "n_users": len(users),
        "rank_correlation": statistics.median(correlations),
        "strongest_found": statistics.mean(found),
        "size": statistics.median(sizes),
    }


def report(rows: Rows) -> str:
    lines = [
        [
            row.settings["model"],
            row.figures["repeats"],
            row.figures["n_users"],
            row.figures["rank_correlation"],
            f"{row.figures['strongest_found']:.1f} of {STRONGEST}",
            row.figures["size"],
        ]
        for row in rows.values()
    ]
    return table(["model", "repeats", "users", "rank correlation", "strongest events found", "size of gradient"], lines)


def main() -> None:
    parser = script_parser(__doc__, "explanations")
    parser.add_argument("models", type=Path, nargs="+", help="model folders")
    parser.add_argument("--users", type=int, default=40)
    options = parser.parse_args()
    results = Results("explanations", options)
    results.run(
        {
            folder.name: Cell({"model": folder.name, "users": options.users}, partial(measure, folder, options.users))
            for folder in options.models
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
