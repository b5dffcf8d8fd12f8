"""One training of a prepared experiment, from its first epoch or its checkpoint to its best model.

The loop itself is training/trainer.py's.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hrnn_hpo.config import Configuration
from hrnn_hpo.cores import default_threads
from hrnn_hpo.device import Device, resolve_device, undisturbed_caller
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.evaluation.metrics import METRICS
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment.figures import evaluate_model, popularity_figure
from hrnn_hpo.experiment.prepared import Experiment
from hrnn_hpo.model.encode import encode
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.settings import nearest
from hrnn_hpo.training.item_start import item_vectors
from hrnn_hpo.training.progress import EpochReport
from hrnn_hpo.training.stopping import Validation
from hrnn_hpo.training.trainer import fit

N_ASKED = 8  # users whose scores are looked at where nobody validates


@dataclass(frozen=True)
class ExperimentResult:
    model: HRNN  # with the weights of the best epoch
    configuration: Configuration  # with best_epoch, data_hash and n_threads filled in: trains again to the same figures
    best_epoch: int
    metrics: dict[str, float]  # validation metrics of the best epoch; empty without validation
    history: list[EpochReport]
    n_parameters: int
    seconds: float


def run_experiment(
    experiment: Experiment,
    *,
    device: Device = "auto",
    objective: str = "ndcg_at_10",
    on_users: Callable[[int, NDArray[np.float64]], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_update: Callable[[int], None] | None = None,
    checkpoint: Path | None = None,
    fixed_epochs: int | None = None,
    validate: bool = True,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> ExperimentResult:
    """Train the experiment's configuration and return its best model, its validation metrics and its history.

    `checkpoint` is a file that is resumed from when it exists. `fixed_epochs` trains so many epochs without early
    stopping; `validate=False` never looks at validation users and needs it. `on_users` is told each epoch's objective
    for every validation user (R,), the same users in the same order each time, before that epoch's checkpoint is
    written; not where the objective is no mean over users. Raises RunFailedError when training diverges.
    """
    configuration = experiment.configuration
    part = experiment.split.validation if validate else None
    if part is None and fixed_epochs is None:
        raise ConfigError("Without validation users the number of epochs must be given, by best_epoch for example.")
    known = [*METRICS, *(extra_metrics or {})]
    if objective not in known:
        raise ConfigError(
            f"`objective` must be one of {', '.join(known)}, but got {objective!r}{nearest(objective, known) or '.'}"
        )
    began = time.perf_counter()
    place = resolve_device(device)
    n_threads = configuration.n_threads or default_threads()
    floor = -math.inf
    if part is not None and fixed_epochs is None:
        floor = popularity_figure(experiment, part, objective, extra_metrics)

    def validate_model(model: HRNN) -> Validation:
        assert part is not None
        evaluation = evaluate_model(model, experiment, part, extra_metrics=extra_metrics)
        users = evaluation.per_user.get(objective)
        if on_users is None or users is None:
            return Validation(evaluation.metrics, users)
        return Validation(evaluation.metrics, users, keep=lambda epoch: on_users(epoch, users))

    with undisturbed_caller(n_threads, place):
        torch.manual_seed(configuration.seed)
        model = HRNN(experiment.catalogue, configuration.hyperparameters)
        model.set_popularity(
            torch.from_numpy(experiment.log_popularity), torch.from_numpy(experiment.log_recent_popularity)
        )
        start = configuration.hyperparameters.item_start
        if start != "random":
            width, seed = model.hidden_dimension, configuration.seed
            vectors = item_vectors(experiment.dataset, experiment.train, width, seed, start)
            model.start_items_at(torch.from_numpy(vectors))
        model.to(place)
        fitted = fit(
            model,
            experiment.training,
            configuration.hyperparameters,
            seed=configuration.seed,
            evaluate=None if part is None else validate_model,
            objective=objective,
            floor=floor,
            on_epoch=on_epoch,
            on_update=on_update,
            checkpoint=checkpoint,
            fixed_epochs=fixed_epochs,
        )
        if part is None:
            _require_numbers(model, experiment)
    return ExperimentResult(
        model=model,
        configuration=configuration.model_copy(
            update={
                "best_epoch": fitted.best_epoch,
                "data_hash": experiment.dataset.content_hash,
                "n_threads": n_threads,
            }
        ),
        best_epoch=fitted.best_epoch,
        metrics=fitted.metrics,
        history=fitted.history,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        seconds=time.perf_counter() - began,
    )


def _require_numbers(model: HRNN, experiment: Experiment) -> None:
    """Raise RunFailedError where the last update has left scores that are no numbers: no loss and nobody else sees it.

    Asked for a few training users, since one user's scores have the weights of all.
    """
    dataset, some = experiment.dataset, experiment.train.take(np.arange(min(N_ASKED, len(experiment.train.users))))
    starts = np.asarray(dataset.user_offsets)[some.users]
    outputs = encode(model, experiment.inputs, starts, np.maximum(some.lengths(dataset), 1))
    with torch.no_grad():
        finite = bool(torch.isfinite(model.score(model.readout(outputs))).all())
    if not finite:
        raise RunFailedError(
            "Every score must be a number, but the last update has left some that are none; a lower learning_rate "
            "usually helps."
        )
