"""Training on planted data, and the share of test users whose next item is found."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.evaluation.metrics import Truth
from hrnn_hpo.experiment import (
    Experiment,
    ExperimentResult,
    evaluate_model,
    prepare_experiment,
    run_experiment,
    test_part,
)

# Planted rules have no noise worth regularizing: what a model misses then is what it cannot do.
PLAIN: dict[str, Any] = {
    "hidden_dimension": 32,
    "batch_size": 32,
    "learning_rate": 0.01,
    "input_dropout": 0.0,
    "hidden_dropout": 0.0,
    "output_dropout": 0.0,
    "max_user_history_length_percentile": 1.0,
    "repeats": "ignored",  # what is planted here must come from the recurrence
}


@dataclass(frozen=True)
class Trained:
    """A model at its best validation epoch, and what it was trained on."""

    experiment: Experiment
    result: ExperimentResult
    k: int

    def hits(self) -> NDArray[np.bool_]:
        """Return for each test user whether the top `k` items hold a truth item, (R,)."""
        evaluation = evaluate_model(
            self.result.model, self.experiment, test_part(self.experiment), extra_metrics={"hit": self._hit}
        )
        return evaluation.per_user["hit"] > 0

    def hit_rate(self) -> float:
        return float(self.hits().mean())

    def _hit(self, top_items: NDArray[np.int32], truth: Truth) -> NDArray[np.float64]:
        return hit(self.k)(top_items, truth)


def hit(k: int) -> Any:
    """Return a metric: 1 where the top `k` items hold a truth item, else 0."""
    return lambda top_items, truth: truth.hits(top_items)[:, :k].any(axis=1).astype(np.float64)


def train(
    dataset: Dataset, *, k: int = 1, protocol: str = "leave-one-out", seed: int = 0, **hyperparameters: Any
) -> Trained:
    """Return a model trained on one thread, seen items kept; the best epoch has the most hits among the top `k`."""
    changes = {**PLAIN, **hyperparameters}
    configuration = Configuration(
        hyperparameters=Hyperparameters(**{"patience": changes.get("epochs", 40), **changes}),
        protocol=protocol,  # type: ignore[arg-type]
        seed=seed,
        n_threads=1,
    )
    experiment = prepare_experiment(dataset, configuration, "keep")
    result = run_experiment(experiment, device="cpu", objective="hit", extra_metrics={"hit": hit(k)})
    return Trained(experiment, result, k)


def hit_rate(dataset: Dataset, **arguments: Any) -> float:
    """Return the share of test users whose truth is among the top `k` (1 unless told) after training."""
    return train(dataset, **arguments).hit_rate()
