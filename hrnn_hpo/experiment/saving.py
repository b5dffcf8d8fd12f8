"""The model that a finished training leaves, as its folder holds it; model/folder.py writes it."""

from pathlib import Path

from hrnn_hpo.experiment.prepared import Experiment
from hrnn_hpo.experiment.run import ExperimentResult
from hrnn_hpo.model.folder import SavedModel, SplitRecord, keep_model, write_model


def trained_model(experiment: Experiment, result: ExperimentResult, *, refit: bool = False) -> SavedModel:
    """Return a finished run's model as its folder holds it; `refit` says that validation users trained it too."""
    record = SplitRecord(
        protocol=experiment.split.protocol,
        split_seed=experiment.split.seed,
        data_hash=experiment.dataset.content_hash,
        seen=experiment.seen,
        refit=refit,
        validation_metrics=result.metrics,
    )
    return keep_model(result.model, result.configuration, experiment.dataset, experiment.split, record)


def save_experiment(folder: Path, experiment: Experiment, result: ExperimentResult, *, refit: bool = False) -> None:
    """Write the model folder of a finished run; raises what `write_model` raises."""
    write_model(folder, trained_model(experiment, result, refit=refit))
