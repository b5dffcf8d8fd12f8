"""The commands as Python functions: `train`, `evaluate`, `recommend`. The command line adds tables and bars to them.

Studies have their own functions, `tune` first, in study/.
"""

import glob
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.errors import ConfigError, ModelError
from hrnn_hpo.evaluation.baselines import evaluate_baselines
from hrnn_hpo.evaluation.protocols import Evaluation, UserMetric, write_rankings
from hrnn_hpo.experiment import (
    Device,
    Experiment,
    ExperimentResult,
    evaluate_model,
    prepare_experiment,
    resolve_device,
    run_experiment,
    test_part,
    training_digest,
)
from hrnn_hpo.model.folder import SplitRecord, count_test_opening, load_model, require_model_target, save_model
from hrnn_hpo.serving.recommender import Recommendation, Recommender
from hrnn_hpo.training.progress import EpochReport

SeenOption = Literal["auto", "remove", "keep"]
N_DIGEST = 12  # hexadecimal digits in the name of a checkpoint


@dataclass(frozen=True)
class TrainedModel:
    """What `train` made: the model folder, and the run whose figures it carries."""

    folder: Path
    result: ExperimentResult
    experiment: Experiment


@dataclass(frozen=True)
class TestResult:
    """The figures of a model on the test users, and those of the baselines on the same users."""

    model: Evaluation
    baselines: dict[str, Evaluation]
    protocol: str
    seen: str
    n_users: int
    n_openings: int  # how often this model has been evaluated on its test users, this time included


def train(
    data: Path,
    out: Path,
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
) -> TrainedModel:
    """Train one configuration on a log and write the model folder `out`.

    Validation users decide when to stop. `refit` adds them to the training data, for the configuration's best_epoch
    epochs, which a first run finds where it is missing; protocol `none` trains on everything and needs best_epoch. A
    run that was interrupted goes on from its last epoch when it is started again with the same arguments.

    Raises DataError, ConfigError and ModelError for what cannot be read, trained or overwritten, and RunFailedError
    when training diverges.
    """
    configuration = configuration or Configuration()
    require_model_target(out)
    dataset = load_dataset(data)
    if refit and configuration.protocol == "none":
        raise ConfigError("`--refit` adds validation data, but protocol `none` trains on everything already.")
    if configuration.protocol == "none" and configuration.best_epoch is None:
        raise ConfigError(
            "Protocol `none` has no validation users to stop by: best_epoch must stand in the configuration."
        )

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
            checkpoint=_checkpoint_file(out, experiment, refitting, objective),
            fixed_epochs=None if validate else configuration.best_epoch,
            validate=validate,
            extra_metrics=extra_metrics,
        )
        return experiment, result

    if refit and configuration.best_epoch is None:
        _, searched = run(False, configuration)
        configuration = configuration.model_copy(update={"best_epoch": searched.best_epoch})
    experiment, result = run(refit, configuration)
    save_experiment(out, experiment, result, refit=refit)
    # The digest's exact length keeps model `m` from taking the checkpoints of an unfinished `m-large` away.
    for file in out.parent.glob(f".{glob.escape(out.name)}-{'?' * N_DIGEST}.checkpoint"):
        with suppress(FileNotFoundError):
            file.unlink()
    return TrainedModel(out, result, experiment)


def save_experiment(folder: Path, experiment: Experiment, result: ExperimentResult, *, refit: bool = False) -> None:
    """Write the model folder of a finished run."""
    record = SplitRecord(
        protocol=experiment.split.protocol,
        split_seed=experiment.split.seed,
        data_hash=experiment.dataset.content_hash,
        seen=experiment.seen,
        refit=refit,
        validation_metrics=result.metrics,
    )
    save_model(folder, result.model, result.configuration, experiment.dataset, experiment.split, record)


def evaluate(
    model: Path,
    data: Path,
    *,
    protocol: Protocol | None = None,
    split_seed: int | None = None,
    seen: SeenOption | None = None,
    baselines: bool = False,
    rankings: Path | None = None,
    value_weighted: bool = False,
    again: bool = False,
    device: Device = "auto",
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> TestResult:
    """Evaluate a model folder on the test users of its own split, and count that they were opened.

    `protocol` and `split_seed` only confirm what the model was trained with; another one is refused, and so are other
    data, a model that trained on everything, and a second opening without `again`. `rankings` is a file that gets one
    line per test user.

    Raises ModelError for each of these.
    """
    saved = load_model(model, resolve_device(device))
    record = saved.split
    if record.protocol == "none":
        raise ModelError(
            f"{model}: trained on everything (protocol `none`), so no test user is left to evaluate it on."
        )
    asked = {"protocol": (protocol, record.protocol), "split_seed": (split_seed, record.split_seed)}
    for name, (wanted, stored) in asked.items():
        if wanted not in (None, stored):
            raise ModelError(
                f"{model}: was trained with {name} {stored}; evaluating with {wanted} would test on training data."
            )
    dataset = load_dataset(data)
    if dataset.content_hash != record.data_hash:
        raise ModelError(
            f"{model}: was trained on data {record.data_hash[:12]}, but {data} is {dataset.content_hash[:12]}; "
            "its test users are only known for its own data."
        )
    if record.test_openings and not again:
        raise ModelError(
            f"{model}: its test users were opened {record.test_openings} time(s) before; figures are honest once. "
            "Say --again to open them again, and report it."
        )
    experiment = prepare_experiment(dataset, saved.configuration, seen or record.seen, refit=record.refit)
    part = test_part(experiment)
    _require_disjoint(experiment, model)
    count_test_opening(saved.folder)
    evaluation = evaluate_model(
        saved.model, experiment, part, value_weighted=value_weighted, extra_metrics=extra_metrics
    )
    if rankings is not None:
        write_rankings(rankings, dataset, part, evaluation)
    return TestResult(
        model=evaluation,
        baselines=(
            evaluate_baselines(
                dataset,
                experiment.split.train,
                part,
                seen=experiment.seen,
                value_weighted=value_weighted,
                extra_metrics=extra_metrics,
            )
            if baselines
            else {}
        ),
        protocol=record.protocol,
        seen=experiment.seen,
        n_users=len(part),
        n_openings=record.test_openings + 1,
    )


def recommend(model: Path, user: str, *, k: int = 25, seen: SeenOption = "auto") -> list[Recommendation]:
    """Return the `k` best items for a user of a model folder; an unknown user gets the popular ones."""
    recommender = Recommender(load_model(model), None if seen == "auto" else seen)
    return recommender.recommend(user, k)


def _require_disjoint(experiment: Experiment, model: Path) -> None:
    """Raise ModelError when a truth event of the test users was a training target."""
    part = test_part(experiment)
    stops = {int(user): int(stop) for user, stop in zip(experiment.train.users, experiment.train.stops, strict=True)}
    overlap = [int(u) for u, start in zip(part.users, part.truth_starts, strict=True) if stops.get(int(u), 0) > start]
    if overlap:
        raise ModelError(f"{model}: {len(overlap)} test users' truth events were training targets of this model.")


def _checkpoint_file(out: Path, experiment: Experiment, refit: bool, objective: str) -> Path:
    """Return where an unfinished run of just this training keeps its state."""
    digest = training_digest(experiment, objective, "refit" if refit else "train")
    return out.parent / f".{out.name}-{digest[:N_DIGEST]}.checkpoint"
