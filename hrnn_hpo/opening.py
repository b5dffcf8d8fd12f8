"""The test users of a saved model, opened: its figures, and those of baselines and other rankings on the same users.

Every opening is counted before a figure is known. Where model and data come from is api.py's business.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hrnn_hpo.data.requests import NO_REQUEST_TIME
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.errors import ConfigError, ModelError, RunFailedError
from hrnn_hpo.evaluation.baselines import BASELINES, OBJECTIVE, BaselineFigures
from hrnn_hpo.evaluation.protocols import Evaluation, UserMetric, evaluate_ranking, require_metrics
from hrnn_hpo.evaluation.rankings import Rankings, ranking_name, read_rankings, write_rankings
from hrnn_hpo.evaluation.significance import paired_difference
from hrnn_hpo.experiment import Experiment, compare_baselines, evaluate_model, prepare_experiment, test_part
from hrnn_hpo.files import require_writable
from hrnn_hpo.model.folder import SavedModel

MODEL = "model"  # the model's own rows in a table of rankers
MODEL_KNOWN = "model, request time known"
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


class RankingsUnwrittenError(RunFailedError):
    """The test users were opened, and their rankings could not be written: a full disk must not lose the figures."""

    def __init__(self, reason: str, result: TestResult) -> None:
        super().__init__(reason)
        self.result = result


def require_split(saved: SavedModel, protocol: Protocol | None, split_seed: int | None) -> None:
    """Raise ModelError for a model that has no test users, or other ones than those that are asked for."""
    name, record = name_of(saved), saved.split
    if record.protocol == "none":
        raise ModelError(f"{name}: trained on everything (protocol `none`), so no test user is left to evaluate it on.")
    asked = {"protocol": (protocol, record.protocol), "split_seed": (split_seed, record.split_seed)}
    for setting, (wanted, stored) in asked.items():
        if wanted not in (None, stored):
            raise ModelError(
                f"{name}: was trained with {setting} {stored}; evaluating with {wanted} would test on training data."
            )


def open_test_users(
    saved: SavedModel,
    dataset: Dataset,
    count: Callable[[], None],
    *,
    seen: Literal["auto", "remove", "keep"] | None = None,
    request_time: Literal["known", "unknown"] = "unknown",
    baselines: bool = False,
    rankings: Path | None = None,
    rankings_from: str | Path | Sequence[str | Path] = (),
    value_weighted: bool = False,
    again: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> TestResult:
    """Return the figures on a model's test users; `count` is called when they are opened, after all that may refuse.

    The options and the errors are those of api.evaluate.
    """
    name, record = name_of(saved), saved.split
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
    own_way = record.seen if seen in (None, "auto") else seen  # as where the model recommends
    experiment = prepare_experiment(dataset, saved.configuration, own_way, refit=record.refit)
    part = test_part(experiment)
    _require_disjoint(experiment, name)
    if request_time == "known" and saved.model.request_time is None:
        raise ConfigError(f"{name}: {NO_REQUEST_TIME}")
    # Before the test users are opened, as what follows.
    require_metrics(dataset, part, value_weighted=value_weighted, extra_metrics=extra_metrics)
    lists = _read_rankings(rankings_from, experiment)
    if rankings is not None:
        require_writable(rankings)
        _require_other_file(rankings, rankings_from)
    count()
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
    result = TestResult(
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
    if rankings is not None:
        try:
            write_rankings(rankings, dataset, part, known or evaluation, with_request_time=known is not None)
        except ConfigError as error:
            raise RankingsUnwrittenError(str(error), result) from error
    return result


def _read_rankings(files: str | Path | Sequence[str | Path], experiment: Experiment) -> dict[str, Rankings]:
    """Return the lists of files of rankings for the test users, by the files' names.

    Raises ConfigError for a name that another row has.
    """
    found: dict[str, Rankings] = {}
    for file in _each(files):
        name = ranking_name(file)
        if name in (MODEL, MODEL_KNOWN, *BASELINES, *found):
            raise ConfigError(
                f"{file}: a row takes its file's name, but {name!r} is another row's; rename or link the file."
            )
        found[name] = read_rankings(
            file, experiment.dataset, test_part(experiment), seen=experiment.seen, apart=experiment.apart
        )
    return found


def _require_other_file(target: Path, files: str | Path | Sequence[str | Path]) -> None:
    """Raise ConfigError for a file that is to be written in place of rankings that are read."""
    if target.exists() and any(file.samefile(target) for file in _each(files)):
        raise ConfigError(f"{target}: the model's rankings must go to another file than those that are read.")


def _each(files: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]


def name_of(saved: SavedModel) -> str:
    """Return what a model is called in an error: by its folder, where it has one."""
    return "The model" if saved.folder is None else str(saved.folder)


def _require_disjoint(experiment: Experiment, name: str) -> None:
    """Raise ModelError when a truth event of the test users was a training target."""
    part = test_part(experiment)
    stops = {int(user): int(stop) for user, stop in zip(experiment.train.users, experiment.train.stops, strict=True)}
    overlap = [int(u) for u, start in zip(part.users, part.truth_starts, strict=True) if stops.get(int(u), 0) > start]
    if overlap:
        raise ModelError(f"{name}: {len(overlap)} test users' truth events were training targets of this model.")
