"""The commands as Python functions: `train`, `evaluate`, `recommend`. The command line adds tables and bars to them.

Studies have their own functions, `tune` first, in study/.
"""

import glob
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.reading.options import read_options
from hrnn_hpo.data.reading.source import SourceLike
from hrnn_hpo.data.requests import NO_REQUEST_TIME
from hrnn_hpo.data.schema import Dataset, id_text
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.errors import ConfigError, ModelError
from hrnn_hpo.evaluation.baselines import BASELINES, OBJECTIVE, BaselineFigures
from hrnn_hpo.evaluation.protocols import Evaluation, UserMetric, evaluate_ranking
from hrnn_hpo.evaluation.rankings import Rankings, ranking_name, read_rankings, write_rankings
from hrnn_hpo.evaluation.significance import paired_difference
from hrnn_hpo.experiment import (
    Device,
    Experiment,
    ExperimentResult,
    compare_baselines,
    evaluate_model,
    prepare_experiment,
    resolve_device,
    run_experiment,
    test_part,
    training_digest,
)
from hrnn_hpo.files import require_writable
from hrnn_hpo.model.folder import (
    SavedModel,
    SplitRecord,
    count_test_opening,
    keep_model,
    require_model_target,
    write_model,
)
from hrnn_hpo.serving.recommender import Recommendation, Recommender
from hrnn_hpo.serving.source import open_model
from hrnn_hpo.serving.times import TimeLike, request_seconds
from hrnn_hpo.training.progress import EpochReport

DataLike = Dataset | SourceLike  # SourceLike: a path, a pattern, several of them, or a DataFrame
SeenOption = Literal["auto", "remove", "keep"]
MODEL = "model"  # the model's own row in a table of rankers
N_DIGEST = 12  # hexadecimal digits in the name of a checkpoint
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TestResult:
    """The figures of a model on the test users, and those of baselines and other rankings on the same users."""

    model: Evaluation
    baselines: dict[str, Evaluation]
    protocol: str
    seen: str
    n_users: int
    n_openings: int  # how often this model has been evaluated on its test users, this time included
    rankings: dict[str, Evaluation] = field(default_factory=dict)  # of files, by their names
    # The model minus every other row in ndcg_at_10, paired by user: difference, low, high (95 %), p.
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    constants: dict[str, dict[str, float | str]] = field(default_factory=dict)  # of baselines, by validation users
    left_out: dict[str, str] = field(default_factory=dict)  # baselines that are not there, and why
    notes: list[str] = field(default_factory=list)  # on the files of rankings
    known: Evaluation | None = None  # the model's figures where it is told the time of each request, if asked for


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
        write_model(Path(folder), self.saved)
        self.saved = replace(self.saved, folder=Path(folder))
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
        validate = not refitting and configuration.protocol != "none"
        result = run_experiment(
            experiment,
            device=device,
            objective=objective,
            on_epoch=on_epoch,
            on_update=on_update,
            checkpoint=None if target is None else _checkpoint_file(target, experiment, refitting, objective),
            fixed_epochs=None if validate else _fixed_epochs(configuration),
            validate=validate,
            extra_metrics=extra_metrics,
        )
        return experiment, result

    if refit and configuration.best_epoch is None:
        _, searched = run(False, configuration)
        configuration = configuration.model_copy(update={"best_epoch": searched.best_epoch})
    experiment, result = run(refit, configuration)
    trained = TrainedModel(_keep(experiment, result, refit), result, experiment)
    if target is not None:
        trained.save(target)
        # The digest's exact length keeps model `m` from taking the checkpoints of an unfinished `m-large` away.
        for file in target.parent.glob(f".{glob.escape(target.name)}-{'?' * N_DIGEST}.checkpoint"):
            with suppress(FileNotFoundError):
                file.unlink()
    return trained


def _fixed_epochs(configuration: Configuration) -> int:
    """Return how long to train where nobody validates: for the best epoch, and never longer than `epochs`."""
    most = configuration.hyperparameters.epochs
    return most if configuration.best_epoch is None else min(configuration.best_epoch, most)


def save_experiment(folder: Path, experiment: Experiment, result: ExperimentResult, *, refit: bool = False) -> None:
    """Write the model folder of a finished run."""
    write_model(folder, _keep(experiment, result, refit))


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
    on everything, and a second opening without `again`. `rankings` is a file that gets one line per test user.
    `rankings_from` are files of lines {"user": id, "items": [best first]}, plain or packed with gzip, whose lists are
    evaluated on the same users under the same rule for seen items; a row has its file's name. `request_time="known"`
    adds the figures of the same model when it is told that each list is asked for at the time of the first truth event;
    the rankings that are written are then these.

    Raises ModelError for each of these, DataError for rankings that do not fit the test users, ConfigError for a model
    that does not read the time of a request.
    """
    request_time = reading.pop("request_time", "unknown")
    if request_time not in ("known", "unknown"):
        raise ConfigError(f"`request_time` must be known or unknown, but got {request_time!r}.")
    saved = _open(model, device)
    name, record = _name_of(saved), saved.split
    if record.protocol == "none":
        raise ModelError(f"{name}: trained on everything (protocol `none`), so no test user is left to evaluate it on.")
    asked = {"protocol": (protocol, record.protocol), "split_seed": (split_seed, record.split_seed)}
    for setting, (wanted, stored) in asked.items():
        if wanted not in (None, stored):
            raise ModelError(
                f"{name}: was trained with {setting} {stored}; evaluating with {wanted} would test on training data."
            )
    if data is not None:
        dataset = read_data(data, **reading)
    elif isinstance(model, TrainedModel):
        dataset = read_data(model.experiment.dataset, **reading)
    else:
        raise ConfigError(f"{name}: `data` must be given, since the model does not hold its test events.")
    if dataset.content_hash != record.data_hash:
        raise ModelError(
            f"{name}: was trained on data {record.data_hash[:12]}, but {dataset.name or 'this'} is "
            f"{dataset.content_hash[:12]}; its test users are only known for its own data."
        )
    if record.test_openings and not again:
        raise ModelError(
            f"{name}: its test users were opened {record.test_openings} time(s) before; figures are honest once. "
            "Say --again to open them again, and report it."
        )
    experiment = prepare_experiment(dataset, saved.configuration, seen or record.seen, refit=record.refit)
    part = test_part(experiment)
    _require_disjoint(experiment, name)
    if request_time == "known" and saved.model.request_time is None:
        raise ConfigError(f"{name}: {NO_REQUEST_TIME}")
    lists = _read_rankings(rankings_from, experiment)  # before the test users are opened, as what follows
    if rankings is not None:
        require_writable(Path(rankings))
    _count_opening(model, saved)
    evaluation = evaluate_model(
        saved.model, experiment, part, value_weighted=value_weighted, extra_metrics=extra_metrics
    )
    known = None
    if request_time == "known":
        known = evaluate_model(
            saved.model,
            experiment,
            part,
            request_time="known",
            value_weighted=value_weighted,
            extra_metrics=extra_metrics,
        )
    if rankings is not None:
        write_rankings(Path(rankings), dataset, part, known or evaluation, with_request_time=known is not None)
    beside = BaselineFigures({}, {}, {})
    if baselines:
        beside = compare_baselines(
            experiment, part, value_weighted=value_weighted, extra_metrics=extra_metrics, tell=_log.warning
        )
    ranked = {
        own: evaluate_ranking(
            dataset,
            part,
            found.top_items if experiment.seen == "keep" else found.new_items,
            new_items=found.new_items if experiment.apart else None,
            value_weighted=value_weighted,
            extra_metrics=extra_metrics,
        )
        for own, found in lists.items()
    }
    others = beside.evaluations | ranked
    ours = evaluation.per_user[OBJECTIVE]
    return TestResult(
        model=evaluation,
        baselines=beside.evaluations,
        protocol=record.protocol,
        seen=experiment.seen,
        n_users=len(part),
        n_openings=record.test_openings + 1,
        known=known,
        rankings=ranked,
        differences={own: paired_difference(ours, other.per_user[OBJECTIVE]) for own, other in others.items()},
        constants=beside.constants,
        left_out=beside.left_out,
        notes=[note for found in lists.values() for note in found.notes],
    )


def _read_rankings(files: str | Path | Sequence[str | Path], experiment: Experiment) -> dict[str, Rankings]:
    """Return the lists of files of rankings for the test users, by the files' names.

    Raises ConfigError for a name that another row has.
    """
    found: dict[str, Rankings] = {}
    for file in [files] if isinstance(files, str | Path) else files:
        name = ranking_name(Path(file))
        if name in (MODEL, *BASELINES, *found):
            raise ConfigError(
                f"{file}: a row takes its file's name, but {name!r} is another row's; rename or link the file."
            )
        found[name] = read_rankings(Path(file), experiment.dataset, test_part(experiment), seen=experiment.seen)
    return found


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


def _name_of(saved: SavedModel) -> str:
    return "The model" if saved.folder is None else str(saved.folder)


def _count_opening(model: ModelLike, saved: SavedModel) -> None:
    """Count that the test users are opened: in the folder where there is one, and in memory."""
    if saved.folder is not None:
        count_test_opening(saved.folder)
    if isinstance(model, TrainedModel):
        counted = replace(saved.split, test_openings=saved.split.test_openings + 1)
        model.saved = replace(saved, split=counted)


def _keep(experiment: Experiment, result: ExperimentResult, refit: bool) -> SavedModel:
    record = SplitRecord(
        protocol=experiment.split.protocol,
        split_seed=experiment.split.seed,
        data_hash=experiment.dataset.content_hash,
        seen=experiment.seen,
        refit=refit,
        validation_metrics=result.metrics,
    )
    return keep_model(result.model, result.configuration, experiment.dataset, experiment.split, record)


def _require_disjoint(experiment: Experiment, name: str) -> None:
    """Raise ModelError when a truth event of the test users was a training target."""
    part = test_part(experiment)
    stops = {int(user): int(stop) for user, stop in zip(experiment.train.users, experiment.train.stops, strict=True)}
    overlap = [int(u) for u, start in zip(part.users, part.truth_starts, strict=True) if stops.get(int(u), 0) > start]
    if overlap:
        raise ModelError(f"{name}: {len(overlap)} test users' truth events were training targets of this model.")


def _checkpoint_file(out: Path, experiment: Experiment, refit: bool, objective: str) -> Path:
    """Return where an unfinished run of just this training keeps its state."""
    digest = training_digest(experiment, objective, "refit" if refit else "train")
    return out.parent / f".{out.name}-{digest[:N_DIGEST]}.checkpoint"
