"""Everything that a configuration makes of a dataset before training: who trains on what, and who is asked.

Training is run.py's work. What tells one training from another is said here too.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hrnn_hpo.config import AUTO, Configuration, dump_configuration
from hrnn_hpo.data.featurize import (
    RECENT_DAYS,
    event_features,
    filter_by_history_length,
    log_popularity,
    recency_weights,
    some_users,
    value_scale,
)
from hrnn_hpo.data.ingest import check_minimum
from hrnn_hpo.data.repeats import occurrences, repeat_share, repeats_are_rare
from hrnn_hpo.data.requests import requests_of_events
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, Split, TrainPart, make_split
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.evaluation.protocols import Seen, resolve_seen
from hrnn_hpo.model.hrnn import Catalogue
from hrnn_hpo.model.inputs import StepInputs, step_inputs
from hrnn_hpo.training.batches import auto_batch_size
from hrnn_hpo.training.targets import auto_targets_ahead
from hrnn_hpo.training.trainer import TrainingData


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
    log_recent_popularity: NDArray[np.float32]  # (V,) in the last RECENT_DAYS, which recency_mask scores
    apart: bool  # whether figures for repeats and for new items are shown: where 1 % of the events or more repeat
    search_train: TrainPart  # who trains while the validation users validate; a refit adds these to split.train

    @property
    def inputs(self) -> StepInputs:
        return self.training.inputs

    @property
    def train(self) -> TrainPart:
        """Who really trains: percentile filtering applied."""
        return self.training.train


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
    and leaves the test users closed. `refit` adds the validation data to the training data; the configuration's
    `user_fraction` leaves a part of the training users and its `n_held_back` takes users out of validation. Raises
    DataError when the data is too small, ConfigError when it is not the data that the configuration was made with.
    """
    check_minimum(dataset)
    if configuration.data_hash not in (None, dataset.content_hash):
        raise ConfigError(
            f"The configuration was made with data {configuration.data_hash}, but got {dataset.content_hash}; "
            "remove data_hash from it to train on other data."
        )
    repeats = repeat_share(dataset)  # a pass over the log, which all that follows shares
    configuration = resolve_auto(dataset, configuration, repeats)
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
        seen=resolve_seen(dataset, seen, repeats),
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
        apart=not repeats_are_rare(dataset, repeats),
        search_train=searched,
    )


def resolve_auto(dataset: Dataset, configuration: Configuration, repeats: float | None = None) -> Configuration:
    """Return the configuration with numbers and words for each `auto` that the data decides.

    That is whether repeats are mixed in, how far ahead targets lie, and how many users an update takes. Like
    `resolve_seen` it asks the whole log how large it is, where items repeat and how long its sessions are, and nothing
    else of it. `repeats` is the log's `repeat_share`, where the caller has it.
    """
    hp = configuration.hyperparameters
    if repeats is None and AUTO in (hp.repeats, hp.targets_ahead):
        repeats = repeat_share(dataset)
    found: dict[str, Any] = {}
    if hp.repeats == AUTO:
        found["repeats"] = "ignored" if repeats_are_rare(dataset, repeats) else "mixed"
    if hp.targets_ahead == AUTO:
        found["targets_ahead"] = auto_targets_ahead(dataset, configuration.protocol, hp.session_gap, repeats)
    if hp.batch_size == AUTO:
        found["batch_size"] = auto_batch_size(dataset.n_events, hp.bptt)
    return configuration.with_hyperparameters(found, ", ".join(found)) if found else configuration


def training_digest(experiment: Experiment, objective: str, role: str, fixed_epochs: int | None = None) -> str:
    """Return what tells a training from every other one: a checkpoint is resumed only by the training it is of.

    It covers data, configuration, seed, who trains and validates on which events, objective and `role` (why it is
    trained), and `fixed_epochs` where nobody validates: a checkpoint may be past the end of a shorter training, and its
    model is the longer one's. The number of threads is left out: another machine may go on with its own.
    """
    split = experiment.split
    facts = dump_configuration(experiment.configuration)
    for name in ("n_threads", "best_epoch"):
        facts.pop(name, None)
    facts |= {"data": experiment.dataset.content_hash, "seen": experiment.seen, "objective": objective, "role": role}
    if fixed_epochs is not None:
        facts["fixed_epochs"] = fixed_epochs
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
