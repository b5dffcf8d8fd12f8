"""One configuration, trained and validated on one split: what `train` runs once and a study runs per trial.

It ties data, model, training and evaluation together, and knows neither Optuna nor MLflow: `prepared` what is trained
on, `run` the training, `figures` what its model and the baselines reach, `saving` the model folder. The names for
others are these.
"""

from hrnn_hpo.device import Device, resolve_device
from hrnn_hpo.experiment.figures import compare_baselines, evaluate_model, popularity_figure
from hrnn_hpo.experiment.prepared import Experiment, prepare_experiment, resolve_auto, test_part, training_digest
from hrnn_hpo.experiment.run import ExperimentResult, run_experiment
from hrnn_hpo.experiment.saving import save_experiment, trained_model

__all__ = [
    "Device",
    "Experiment",
    "ExperimentResult",
    "compare_baselines",
    "evaluate_model",
    "popularity_figure",
    "prepare_experiment",
    "resolve_auto",
    "resolve_device",
    "run_experiment",
    "save_experiment",
    "test_part",
    "trained_model",
    "training_digest",
]
