"""A study launched from Python, with a metric of its own: copy this file and change what you need.

Run: .venv/bin/python scripts/tune.py data/ml-100k [--study NAME] [--space NAME|FILE] [--n-trials N]

The search maximizes F1 at 10, which the product does not have. The same call again continues the study, and every
command that takes a study's name takes this one: `hrnn-hpo status f1`, `report`, `export`, `ui`.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.evaluation.metrics import Truth
from hrnn_hpo.study.tune import tune


def f1_at_10(top_items: NDArray[np.int32], truth: Truth) -> NDArray[np.float64]:
    """Return the harmonic mean of precision and recall at 10 of each user, (R,); `top_items` (R, 25), best first."""
    n_hits = truth.hits(top_items[:, :10]).sum(axis=1)
    return 2.0 * n_hits / (10 + truth.sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="CSV or Parquet file, folder with interactions.csv, or prepared folder")
    parser.add_argument("--study", default="f1")
    parser.add_argument("--space", default="quickstart")
    parser.add_argument("--n-trials", type=int, default=12)
    options = parser.parse_args()
    result = tune(
        options.data,
        study=options.study,
        space=options.space,
        n_trials=options.n_trials,
        objective="f1_at_10",
        extra_metrics={"f1_at_10": f1_at_10},
        callbacks=[lambda study, trial: print(f"trial {trial.number}: {trial.state.name.lower()}, {trial.value}")],
        out=Path("results") / options.study,
    )
    print(f"Trial {result.best_trial}: f1_at_10 {result.best_value} on the validation users. Written to {result.out}.")


if __name__ == "__main__":
    main()
