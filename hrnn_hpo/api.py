"""The commands as Python functions: `train`, `evaluate`, `recommend`. The command line adds tables and bars to them.

What opens test users is opening.py's work. Studies have their own functions, `tune` first, in study/.
"""

import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data.prepared import files_of, load_dataset
from hrnn_hpo.data.reading.options import read_options
from hrnn_hpo.data.reading.source import SourceLike
from hrnn_hpo.data.schema import Dataset, id_text
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment import (
    Device,
    Experiment,
    ExperimentResult,
    prepare_experiment,
    resolve_device,
    run_experiment,
    trained_model,
    training_digest,
)
from hrnn_hpo.model.folder import SavedModel, count_test_opening, record_in_folder, require_model_target, write_model
from hrnn_hpo.opening import TestResult as TestResult
from hrnn_hpo.opening import name_of, open_test_users, require_split
from hrnn_hpo.serving.recommender import Recommendation, Recommender
from hrnn_hpo.serving.source import open_model
from hrnn_hpo.serving.times import TimeLike, request_seconds
from hrnn_hpo.training.checkpoint import remove_checkpoints
from hrnn_hpo.training.progress import EpochReport

DataLike = Dataset | SourceLike  # SourceLike: a path, a pattern, several of them, or a DataFrame
SeenOption = Literal["auto", "remove", "keep"]
N_DIGEST = 12  # hexadecimal digits in the name of a checkpoint


@dataclass
class TrainedModel:
    """What `train` made: a model that recommends and is evaluated in memory, and the run whose figures it carries."""

    saved: SavedModel
    result: ExperimentResult
    experiment: Experiment

    @property
    def folder(self) -> Path | None:
        """Return the model folder; None until the model is written to one."""
        return self.saved.folder

    @property
    def metrics(self) -> dict[str, float]:
        """Return the validation metrics of the best epoch; empty for a model that had no validation users."""
        return self.result.metrics

    def recommend(self, user: object, k: int = 25, at: TimeLike = None) -> list[Recommendation]:
        """Return the `k` best items for a user, best first; an unknown user gets the popular ones.

        `at` is as in the function `recommend`.
        """
        return recommend(self, user, k=k, at=at)

    def evaluate(self, **options: Any) -> TestResult:
        """Return the figures on the test users of the model's own split; the options are those of `evaluate`."""
        return evaluate(self, **options)

    def save(self, folder: str | Path) -> Path:
        """Write the model folder and return it.

        Raises ModelError where something else stands there, RunFailedError where it cannot be written.
        """
        record = write_model(Path(folder), self.saved)
        self.saved = replace(self.saved, folder=Path(folder), split=record)
        return Path(folder)


ModelLike = TrainedModel | SavedModel | str | Path  # a model in memory, a model folder, or models:/NAME/VERSION


def train(
    data: DataLike,
    out: str | Path | None = None,
    *,
    configuration: Configuration | None = None,
    refit: bool = False,
    device: Device = "auto",
    seen: SeenOption = "auto",
    objective: str = "ndcg_at_10",
    on_start: Callable[[Experiment], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_update: Callable[[int], None] | None = None,
    extra_metrics: Mapping[str, UserMetric] | None = None,
    **reading: Any,
) -> TrainedModel:
    """Train one configuration on a log; return the model, and write the model folder `out` where one is given.

    The log is a path, a Dataset, or a DataFrame, whose columns `reading` names: `user="userId", item="movieId",
    time="timestamp"`. Validation users decide when to stop. `refit` adds them to the training data, for the
    configuration's best_epoch epochs, which a first run finds where it is missing; protocol `none` trains on everything
    for the configuration's best_epoch, or for `epochs` where that was set. With `out`, a run that was interrupted goes
    on from its last epoch when it is started again with the same arguments.

    Raises DataError, ConfigError and ModelError for what cannot be read, trained or overwritten, and RunFailedError
    when training diverges.
    """
    target = None if out is None else Path(out)
    place = Path() if out is None else Path(out).resolve()  # while it is there: `.` is replaced by the model
    configuration = Configuration() if configuration is None else configuration
    if not isinstance(configuration, Configuration):
        raise ConfigError(
            "`configuration` must be a Configuration, which load_configuration reads from a file, but got "
            f"{configuration!r:.80}."
        )
    ours = [name for name in reading if name in (*Configuration.model_fields, *Hyperparameters.model_fields)]
    if ours:
        raise ConfigError(
            f"{', '.join(ours)}: stands in a configuration: train(data, configuration=Configuration("
            "hyperparameters={…}, protocol=…))."
        )
    if target is not None:
        require_model_target(target)
    dataset = read_data(data, **reading)
    if refit and configuration.protocol == "none":
        raise ConfigError("`--refit` adds validation data, but protocol `none` trains on everything already.")
    if configuration.protocol == "none" and configuration.best_epoch is None:
        if "epochs" not in configuration.hyperparameters.model_fields_set:
            raise ConfigError(
                "Protocol `none` has no validation users to stop by: say how long to train with `--set epochs=N`, or "
                "give a configuration that has a best_epoch."
            )
        configuration = configuration.model_copy(update={"best_epoch": configuration.hyperparameters.epochs})

    def run(refitting: bool, configuration: Configuration) -> tuple[Experiment, ExperimentResult]:
        experiment = prepare_experiment(dataset, configuration, seen, refit=refitting)
        if on_start is not None:
            on_start(experiment)
        fixed_epochs = _fixed_epochs(configuration) if refitting or configuration.protocol == "none" else None
        checkpoint = None
        if target is not None:
            checkpoint = _checkpoint_file(place, experiment, refitting, objective, fixed_epochs)
        result = run_experiment(
            experiment,
            device=device,
            objective=objective,
            on_epoch=on_epoch,
            on_update=on_update,
            checkpoint=checkpoint,
            fixed_epochs=fixed_epochs,
            validate=fixed_epochs is None,
            extra_metrics=extra_metrics,
        )
        return experiment, result

    if refit and configuration.best_epoch is None:
        _, searched = run(False, configuration)
        configuration = configuration.model_copy(update={"best_epoch": searched.best_epoch})
    experiment, result = run(refit, configuration)
    trained = TrainedModel(trained_model(experiment, result, refit=refit), result, experiment)
    if target is not None:
        trained.save(target)
        # The digest's exact length keeps model `m` from taking the checkpoints of an unfinished `m-large` away.
        remove_checkpoints(place.parent, f".{glob.escape(place.name)}-{'?' * N_DIGEST}")
    return trained


def _fixed_epochs(configuration: Configuration) -> int:
    """Return how long to train where nobody validates: for the best epoch, and never longer than `epochs`."""
    most = configuration.hyperparameters.epochs
    return most if configuration.best_epoch is None else min(configuration.best_epoch, most)


def evaluate(
    model: ModelLike,
    data: DataLike | None = None,
    *,
    protocol: Protocol | None = None,
    split_seed: int | None = None,
    seen: SeenOption | None = None,
    baselines: bool = False,
    rankings: str | Path | None = None,
    rankings_from: str | Path | Sequence[str | Path] = (),
    value_weighted: bool = False,
    again: bool = False,
    device: Device = "auto",
    extra_metrics: Mapping[str, UserMetric] | None = None,
    **reading: Any,
) -> TestResult:
    """Evaluate a model on the test users of its own split, and count that they were opened.

    The model is one in memory, a model folder or an address in MLflow's registry, `models:/NAME/VERSION`. `data` is
    what it was trained on, given as to `train`; what `train` returned knows it already. `protocol` and `split_seed`
    only confirm what the model was trained with; another one is refused, and so are other data, a model that trained
    on everything, and a second opening without `again`. `seen` is remove, keep, or auto, as the model was validated:
    None is the same. `rankings` is a file that gets one line per test user.
    `rankings_from` are files of lines {"user": id, "items": [best first]}, plain or packed with gzip, whose lists are
    evaluated on the same users under the same rule for seen items; a row has its file's name. `request_time="known"`
    adds the figures of the same model when it is told that each list is asked for at the time of the first truth event;
    the rankings that are written are then these.

    Raises ModelError for each of these, DataError for rankings that do not fit the test users, ConfigError for a model
    that does not read the time of a request, and opening.RankingsUnwrittenError, whose `result` has the figures, for a
    disk that is full in the end.
    """
    request_time = reading.pop("request_time", "unknown")
    if request_time not in ("known", "unknown"):
        raise ConfigError(f"`request_time` must be known or unknown, but got {request_time!r}.")
    saved = _open(model, device)
    saved = replace(saved, split=record_in_folder(saved) or saved.split)
    require_split(saved, protocol, split_seed)
    if data is not None:
        dataset = read_data(data, **reading)
    elif isinstance(model, TrainedModel):
        dataset = read_data(model.experiment.dataset, **reading)
    else:
        raise ConfigError(f"{name_of(saved)}: `data` must be given, since the model does not hold its test events.")
    if rankings is not None and _is_one_of(Path(rankings), files_of(data)):
        raise ConfigError(f"{rankings}: the rankings must go to another file than the log.")
    return open_test_users(
        saved,
        dataset,
        lambda: _count_opening(model, saved),
        seen=seen,
        request_time=request_time,
        baselines=baselines,
        rankings=None if rankings is None else Path(rankings),
        rankings_from=rankings_from,
        value_weighted=value_weighted,
        again=again,
        extra_metrics=extra_metrics,
    )


def recommend(
    model: ModelLike, user: object, *, k: int = 25, seen: SeenOption = "auto", at: TimeLike = None
) -> list[Recommendation]:
    """Return the `k` best items for a user, best first; an unknown user gets the popular ones.

    The model is one in memory, a model folder or `models:/NAME/VERSION`; a user that is a whole number stands for its
    digits. `at` is when the user asks, for a model that reads `request_time`: unix seconds, a datetime, a text in ISO
    8601 (UTC unless it says its zone), or `now`; unless given, nobody knows. Raises DataError for what is no user and
    for a time before the user's last event, ConfigError unless 1 <= k <= 500 and for what is no time or is not read.
    """
    return recommender_of(model, seen).recommend(id_text(user), k, request_seconds(at))


def recommender_of(model: ModelLike, seen: SeenOption = "auto") -> Recommender:
    """Return what recommends to many users, for a model wherever it is."""
    return Recommender(_open(model, "cpu"), None if seen == "auto" else seen)


def read_data(data: DataLike, **reading: Any) -> Dataset:
    """Return a log wherever it is; `reading` are load_dataset's. Raises ConfigError for any of them with a Dataset."""
    if not isinstance(data, Dataset):
        return load_dataset(data, **reading)
    if reading:
        read_options(**reading)  # tells a misspelled word
        raise ConfigError(f"A Dataset has been read already: leave {', '.join(reading)} out.")
    return data


def _open(model: ModelLike, device: Device) -> SavedModel:
    """Return a model wherever it is; one in memory stays on the device that trained it."""
    return model.saved if isinstance(model, TrainedModel) else open_model(model, resolve_device(device))


def _is_one_of(path: Path, files: Sequence[Path]) -> bool:
    try:
        return any(file.samefile(path) for file in files)
    except OSError:  # there is no such file yet, or none can be
        return False


def _count_opening(model: ModelLike, saved: SavedModel) -> None:
    """Count that the test users are opened: in the folder where one holds the model, and in memory."""
    if saved.folder is not None and record_in_folder(saved) is not None:
        count_test_opening(saved.folder)
    if isinstance(model, TrainedModel):
        counted = replace(saved.split, test_openings=saved.split.test_openings + 1)
        model.saved = replace(saved, split=counted)


def _checkpoint_file(out: Path, experiment: Experiment, refit: bool, objective: str, fixed_epochs: int | None) -> Path:
    """Return where an unfinished run of just this training keeps its state: beside its model's resolved folder."""
    digest = training_digest(experiment, objective, "refit" if refit else "train", fixed_epochs)
    return out.parent / f".{out.name}-{digest[:N_DIGEST]}.checkpoint"
