"""One configuration, trained and validated on one split: what `train` runs once and a study runs per trial.

It ties data, model, training and evaluation together; it knows neither Optuna nor MLflow.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hrnn_hpo.config import AUTO, Configuration, dump_configuration, nearest
from hrnn_hpo.cores import default_threads
from hrnn_hpo.data.featurize import (
    event_features,
    filter_by_history_length,
    log_popularity,
    recency_weights,
    some_users,
    value_scale,
)
from hrnn_hpo.data.ingest import check_minimum
from hrnn_hpo.data.repeats import occurrences, repeats_are_rare
from hrnn_hpo.data.requests import NO_REQUEST_TIME, requests_of_events
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, Split, TrainPart, make_split
from hrnn_hpo.device import Device as Device
from hrnn_hpo.device import resolve_device as resolve_device
from hrnn_hpo.device import undisturbed_caller
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.evaluation.baselines import BASELINES, BaselineFigures, Chooser, evaluate_baselines
from hrnn_hpo.evaluation.metrics import METRICS
from hrnn_hpo.evaluation.protocols import Evaluation, Seen, UserMetric, evaluate, resolve_seen
from hrnn_hpo.model.encode import score_rows
from hrnn_hpo.model.ensemble import AnyModel
from hrnn_hpo.model.hrnn import HRNN, Catalogue
from hrnn_hpo.model.inputs import StepInputs, step_inputs
from hrnn_hpo.training.batches import auto_batch_size
from hrnn_hpo.training.progress import EpochReport
from hrnn_hpo.training.stopping import Validation
from hrnn_hpo.training.trainer import TrainingData, fit

RECENT_DAYS = 30.0  # the last window of the training log whose popularity recency_mask scores


@dataclass(frozen=True)
class Experiment:
    """Data, split and configuration, with everything derived from them that training and evaluation read."""

    dataset: Dataset
    split: Split
    configuration: Configuration  # without `auto` where the data decides
    seen: Seen
    catalogue: Catalogue
    training: TrainingData
    log_popularity: NDArray[np.float32]  # (V,) among who trains
    log_recent_popularity: NDArray[np.float32]  # (V,) in the last RECENT_DAYS
    apart: bool  # whether figures for repeats and for new items are shown: where 1 % of the events or more repeat
    search_train: TrainPart  # who trains while the validation users validate; a refit adds these to split.train

    @property
    def inputs(self) -> StepInputs:
        return self.training.inputs

    @property
    def train(self) -> TrainPart:
        """Who really trains: percentile filtering applied."""
        return self.training.train


@dataclass(frozen=True)
class ExperimentResult:
    model: HRNN  # with the weights of the best epoch
    configuration: Configuration  # with best_epoch, data_hash and n_threads filled in: trains again to the same figures
    best_epoch: int
    metrics: dict[str, float]  # validation metrics of the best epoch; empty without validation
    history: list[EpochReport]
    n_parameters: int
    seconds: float


def prepare_experiment(
    dataset: Dataset,
    configuration: Configuration,
    seen: Literal["auto", "remove", "keep"] = "auto",
    *,
    train_seed: int | None = None,
    apart_from: Sequence[int] = (),
    refit: bool = False,
) -> Experiment:
    """Return everything that a configuration, its `auto` resolved, makes of a dataset before training.

    `train_seed` redraws training and validation users, as far as can be others than those `apart_from` would validate,
    and leaves the test users closed. `refit` adds the validation
    data to the training data; the configuration's `user_fraction` leaves a part of the training users and its
    `n_held_back` takes users out of validation. Raises DataError when the data is too small, ConfigError when it is not
    the data that the configuration was made with.
    """
    check_minimum(dataset)
    if configuration.data_hash not in (None, dataset.content_hash):
        raise ConfigError(
            f"The configuration was made with data {configuration.data_hash}, but got {dataset.content_hash}; "
            "remove data_hash from it to train on other data."
        )
    configuration = resolve_auto(dataset, configuration)
    hp = configuration.hyperparameters
    split = make_split(
        dataset,
        configuration.protocol,
        configuration.split_seed,
        train_seed=train_seed,
        apart_from=apart_from,
        n_held_back=configuration.n_held_back or 0,
    )
    searched = split.train
    if refit:
        split = replace(split, train=_with_validation(dataset, split))
    if configuration.user_fraction is not None:
        fraction, split_seed = configuration.user_fraction, configuration.split_seed
        searched = some_users(searched, fraction, split_seed)
        split = replace(split, train=some_users(split.train, fraction, split_seed))
    train = filter_by_history_length(
        split, dataset, hp.min_user_history_length_percentile, hp.max_user_history_length_percentile
    )
    features = event_features(dataset, hp.session_gap)
    return Experiment(
        dataset=dataset,
        split=split,
        configuration=configuration,
        seen=resolve_seen(dataset, seen),
        catalogue=Catalogue(
            n_items=dataset.n_items,
            n_event_types=len(dataset.event_type_names),
            has_event_values=dataset.event_values is not None,
            value_scale=value_scale(dataset, train),
        ),
        training=TrainingData(
            dataset,
            step_inputs(dataset, features),
            train,
            recency_weights(dataset, train, hp.recency_half_life) if hp.recency_mask else None,
            occurrences(dataset) if hp.repeats == "mixed" else None,
            requests_of_events(dataset, features) if hp.request_time != "none" else None,
        ),
        log_popularity=log_popularity(dataset, train, None),
        log_recent_popularity=log_popularity(dataset, train, RECENT_DAYS),
        apart=not repeats_are_rare(dataset),
        search_train=searched,
    )


def resolve_auto(dataset: Dataset, configuration: Configuration) -> Configuration:
    """Return the configuration with numbers and words for each `auto` that the data decides.

    That is whether repeats are mixed in, and how many users an update takes. Like `resolve_seen` it asks the whole log
    how large it is and whether repeats are rare, and nothing else of it.
    """
    hp = configuration.hyperparameters
    found: dict[str, Any] = {}
    if hp.repeats == AUTO:
        found["repeats"] = "ignored" if repeats_are_rare(dataset) else "mixed"
    if hp.batch_size == AUTO:
        found["batch_size"] = auto_batch_size(dataset.n_events, hp.bptt)
    return configuration.with_hyperparameters(found, ", ".join(found)) if found else configuration


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


def evaluate_model(
    model: AnyModel,
    experiment: Experiment,
    part: EvalPart,
    *,
    request_time: Literal["known", "unknown"] = "unknown",
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> Evaluation:
    """Return the figures of a model on a part of the experiment's split, the whole catalogue ranked.

    With `request_time` known, the model is told that each list is asked for at the time of the first truth event.
    Raises ConfigError for a model that does not read it.
    """
    requests = None
    if request_time == "known":
        requests = experiment.training.requests
        if requests is None:
            raise ConfigError(NO_REQUEST_TIME)
    n_threads = experiment.configuration.n_threads or default_threads()
    with undisturbed_caller(n_threads, model.item_bias.device):
        return evaluate(
            experiment.dataset,
            part,
            score_rows(model, experiment.dataset, experiment.inputs, part, requests),
            seen=experiment.seen,
            apart=experiment.apart,
            value_weighted=value_weighted,
            extra_metrics=extra_metrics,
        )


def popularity_figure(
    experiment: Experiment, part: EvalPart, objective: str, extra_metrics: Mapping[str, UserMetric] | None
) -> float:
    """Return what popularity reaches in the objective on a part."""
    score = BASELINES["popularity"](experiment.dataset, experiment.split.train, part)
    found = evaluate(experiment.dataset, part, score, seen=experiment.seen, extra_metrics=extra_metrics)
    return found.metrics[objective]


def compare_baselines(
    experiment: Experiment,
    part: EvalPart,
    *,
    objective: str = "ndcg_at_10",
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> BaselineFigures:
    """Return the baselines' figures on a part that a model of this experiment is evaluated on.

    They learn what the model learned; validation users choose their constants by the objective. `tell` is told of what
    takes long.
    """
    assert experiment.split.validation is not None, "protocol none has no validation users"
    return evaluate_baselines(
        experiment.dataset,
        experiment.split.train,
        part,
        seen=experiment.seen,
        chooser=Chooser(experiment.search_train, experiment.split.validation, objective),
        value_weighted=value_weighted,
        extra_metrics=extra_metrics,
        tell=tell,
    )


def training_digest(experiment: Experiment, objective: str, role: str) -> str:
    """Return what tells a training from every other one: a checkpoint is resumed only by the training it is of.

    It covers data, configuration, seed, who trains and validates on which events, objective and `role` (why it is
    trained). The number of threads is left out: another machine may go on with its own.
    """
    split = experiment.split
    facts = dump_configuration(experiment.configuration)
    for name in ("n_threads", "best_epoch"):
        facts.pop(name, None)
    facts |= {"data": experiment.dataset.content_hash, "seen": experiment.seen, "objective": objective, "role": role}
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    arrays = [experiment.train.users, experiment.train.stops]
    if split.validation is not None:
        arrays += [split.validation.users, split.validation.truth_starts, split.validation.truth_stops]
    for array in arrays:
        found.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return found.hexdigest()


def test_part(experiment: Experiment) -> EvalPart:
    """Return the test users. Whoever calls this opens the test data, and must count it.

    Raises ConfigError for protocol `none`, which has no test users.
    """
    part = experiment.split.test
    if part is None:
        raise ConfigError("Protocol `none` trains on everything: there are no test users to evaluate.")
    return part


def _with_validation(dataset: Dataset, split: Split) -> TrainPart:
    """Return the training part with all validation events added to it, those of held-back users too."""
    stops = np.zeros(dataset.n_users, dtype=np.int64)
    stops[split.train.users] = split.train.stops
    for part in (split.validation, split.held_back):
        if part is not None:
            stops[part.users] = part.truth_stops
    users = np.flatnonzero(stops)
    return TrainPart(users, stops[users])
