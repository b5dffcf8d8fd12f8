"""Small models and short trainings on one thread, imported by tests of model, training, serving and commands."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from strategies import train_part_of

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data.featurize import AS_IT_IS, ValueScale, event_features
from hrnn_hpo.data.repeats import occurrences
from hrnn_hpo.data.requests import requests_of_events
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.experiment import Experiment, ExperimentResult, prepare_experiment, run_experiment
from hrnn_hpo.model.hrnn import HRNN, Catalogue
from hrnn_hpo.model.inputs import StepInputs, step_inputs
from hrnn_hpo.training.stopping import Validation
from hrnn_hpo.training.trainer import TrainingData

SMALL: dict[str, Any] = {
    "hidden_dimension": 8,
    "bptt": 8,
    "batch_size": 16,
    "epochs": 3,
    "learning_rate": 0.01,
    "max_user_history_length_percentile": 1.0,
    "targets_ahead": 1.0,
}


def small_configuration(protocol: str = "personalize", *, seed: int = 0, split_seed: int = 0, **changes: Any) -> Any:
    """Return a configuration that trains in a fraction of a second; `changes` are hyperparameters."""
    return Configuration(
        hyperparameters=Hyperparameters(**{**SMALL, **changes}),
        protocol=protocol,  # type: ignore[arg-type]
        seed=seed,
        split_seed=split_seed,
        n_threads=1,
    )


def small_hyperparameters(**changes: Any) -> Hyperparameters:
    """Return those of `small_configuration`."""
    made: Hyperparameters = small_configuration(**changes).hyperparameters
    return made


def run_small(dataset: Dataset, **changes: Any) -> tuple[Experiment, ExperimentResult]:
    """Return a short training on the dataset and what it came from; `changes` as in `small_configuration`."""
    experiment = prepare_experiment(dataset, small_configuration(**changes))
    return experiment, run_experiment(experiment, device="cpu")


def inputs_of(dataset: Dataset, session_gap: int = 1800) -> StepInputs:
    """Return the input of the step before each event of the log."""
    return step_inputs(dataset, event_features(dataset, session_gap))


def training_data(dataset: Dataset, session_gap: int = 1800) -> TrainingData:
    """Return a log whose events all train, with the occurrences of repeats and the requests of known times."""
    requests = requests_of_events(dataset, event_features(dataset, session_gap))
    return TrainingData(
        dataset,
        inputs_of(dataset, session_gap),
        train_part_of(dataset),
        occurrences=occurrences(dataset),
        requests=requests,
    )


def scores_in_order(*values: float) -> Callable[[HRNN], Validation]:
    """Return an evaluation that gives these scores, epoch by epoch, to each of two users."""
    left = iter(values)

    def evaluate(model: HRNN) -> Validation:
        value = next(left)
        return Validation({"ndcg_at_10": value}, np.array([value, value]))

    return evaluate


def model_for(
    dataset: Dataset, *, seed: int = 0, scale: float = 0.5, value_scale: ValueScale = AS_IT_IS, **changes: Any
) -> HRNN:
    """Return a model of the dataset's shape in evaluation mode, every weight drawn from a normal distribution.

    `scale` is its deviation: fresh weights are so small that a wrong state would hardly show.
    """
    n_types, has_values = len(dataset.event_type_names), dataset.event_values is not None
    catalogue = Catalogue(dataset.n_items, n_types, has_values, value_scale)
    model = HRNN(catalogue, Hyperparameters(**{**SMALL, **changes}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, scale, generator=generator)
    return model.eval()


def same_weights(left: HRNN, right: HRNN) -> bool:
    """Return whether two models have the same weights bit for bit."""
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def rows_of(dataset: Dataset, users: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return (first row, number of rows) of some users' events."""
    starts = np.asarray(dataset.user_offsets)[list(users)]
    return starts, dataset.history_lengths[list(users)]
