"""What a study is asked to do, as one frozen model: from the command line, from Python, from a solutionConfig.

Its field descriptions are the help texts of `hrnn-hpo tune`. It knows the rules that hold for any data and any study;
what data, space and an existing study have to say is check.py's work. Imports nothing heavy: `--help` reads it.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hrnn_hpo.config import LARGEST_SEED, MOST_THREADS
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.settings import Settings
from hrnn_hpo.stores import RESERVED_ENDINGS

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from hrnn_hpo.search.space import SearchSpace

    SpaceLike = str | Path | SearchSpace
    SamplerLike = str | BaseSampler | Callable[[int], BaseSampler]
    PrunerLike = str | BasePruner
else:
    SpaceLike = SamplerLike = PrunerLike = Any

Launcher = Literal["local", "ray"]
_METHODS = {"sampler": "sample_relative", "pruner": "prune"}  # by which Optuna's objects are known
LONGEST_NAME = 400  # characters: Optuna's column holds 512
# A number beyond these is a slip; so many trials can still be planned, and such a time has a date.
MOST_TRIALS, MOST_SEEDS, MOST_SECONDS = 1_000_000, 1_000, 10 * 366 * 86_400
OPTION_NAMES = {"n_workers": "--workers", "n_threads": "--threads"}  # where they are not the field's own words


def _as_tuple(value: Any) -> Any:
    """Return one name or entry as a tuple of one."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str | Path | Mapping) else tuple(value)


def duration_seconds(text: str) -> float:
    """Return the seconds in 90, 90s, 30m, 2h or 1h30m; raises ValueError for anything else."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise ValueError("must look like 90s, 30m, 2h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


class StudyRequest(Settings):
    """What `tune` is asked: options that stay None take what an existing study recorded, else their default."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    # What is searched.
    study: Annotated[str, Field(description="Name; an existing study is continued.")]
    space: Annotated[SpaceLike | None, Field(description="What to search; a new study needs it.")] = None
    objective: Annotated[
        tuple[str, ...],
        BeforeValidator(_as_tuple),
        Field(
            description="Metric to maximize. Default: ndcg_at_10. Repeated, several objectives trade off: other "
            "metrics, or n_parameters and seconds (of training), which are minimized. Such a study has no pruner."
        ),
    ] = ()
    protocol: Annotated[
        Literal["personalize", "personalize-last", "leave-one-out", "newest-tenth", "temporal", "none"] | None,
        Field(description="Who trains, validates and tests; not `none`. Default: personalize."),
    ] = None
    split_seed: Annotated[
        int | None, Field(ge=0, le=LARGEST_SEED, description="Draws the validation and test users. Default: 0.")
    ] = None
    seen: Annotated[
        Literal["auto", "remove", "keep"] | None,
        Field(description="Items of the input in the ranking. Default: auto."),
    ] = None
    user_fraction: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="Search on this share of the training users, 0.3 for example. First 8 configurations train on "
            "the part and on all users, and must rank alike; the confirmation trains on all.",
        ),
    ] = None

    # How trials are proposed and ended.
    seed: Annotated[
        int | None,
        Field(
            ge=0,
            le=LARGEST_SEED,
            description="Seed of the study: of proposals, of each trial's training, of the runs and users of a "
            "confirmation. Default: 0.",
        ),
    ] = None
    sampler: Annotated[SamplerLike | None, Field(description="How to propose trials. Default: tpe.")] = None
    priors: Annotated[
        bool | None,
        Field(description="Whether to also draw from what the space says about good values. Default: yes."),
    ] = None
    pruner: Annotated[
        PrunerLike | None,
        Field(description="When to cut a trial short. Default: median. epochs:3 trains all for 3 epochs; see --keep."),
    ] = None
    keep: Annotated[
        int | None,
        Field(
            gt=0,
            description="With --pruner epochs:K: when --n-trials have had K epochs, so many of the best go on to their "
            "end. Default: 5.",
        ),
    ] = None
    deterministic: Annotated[
        bool,
        Field(
            description="The same trials and figures for any number of workers: batches of 4, one thread a trial, "
            "proposals and pruning by earlier batches alone. Waits for each batch's slowest trial."
        ),
    ] = False
    enqueue: Annotated[
        tuple[Path | dict[str, Any], ...],
        BeforeValidator(_as_tuple),
        Field(description="Configuration to try early; may be repeated."),
    ] = ()
    warm_start: Annotated[
        str | None,
        Field(description="Earlier study whose 5 best configurations that fit this space are tried early."),
    ] = None
    solution_config: Annotated[
        Path | None, Field(description="Amazon Personalize's solutionConfig (JSON) to obey.")
    ] = None

    # How long.
    n_trials: Annotated[
        int | None,
        Field(
            gt=0,
            le=MOST_TRIALS,
            description="Complete and pruned trials in total. Default: 40; none with --timeout or --patience-trials.",
        ),
    ] = None
    timeout: Annotated[
        float | None,
        Field(
            gt=0, le=MOST_SECONDS, allow_inf_nan=False, description="Time this command may search: 90s, 30m, 2h, 1h30m."
        ),
    ] = None
    patience_trials: Annotated[
        int | None,
        Field(
            gt=0,
            description="Stop after so many trials in a row without a better value.",
        ),
    ] = None
    target: Annotated[
        float | None, Field(allow_inf_nan=False, description="Stop when a trial's objective reaches this value.")
    ] = None

    # What is done with the result.
    confirm: Annotated[
        int | None,
        Field(
            ge=0,
            description="Train the K best and the defaults again before one is called better; 0: do not. Default: 2 "
            "from 20 trials on, none below (at least 1 with --user-fraction, --ensemble or --screen F); with --screen "
            "0 as many as half the trials pay for, 1 to 5.",
        ),
    ] = None
    screen: Annotated[
        int | None,
        Field(
            ge=0,
            description="Train the F best of the search again before, in rounds that halve them, to choose the K to "
            "confirm; 0: take the K best scores. Default: 5 from 20 finished trials on, 8 from 60, else 0.",
        ),
    ] = None
    confirm_seeds: Annotated[
        int | None,
        Field(
            ge=2,
            le=MOST_SEEDS,
            description="Fresh seeds; under `personalize` each with other training and validation users. Default: 5.",
        ),
    ] = None
    ensemble: Annotated[
        bool | None,
        Field(
            description="Train the confirmed winner's refit on as many seeds as the confirmation has, and leave the "
            "mean of their probabilities as the study's model; each answer takes as many times as long.",
        ),
    ] = None
    again: Annotated[bool, Field(description="Open the test users once more, which is counted and shown.")] = False
    out: Annotated[
        Path | None,
        Field(description="Folder for best.yaml, the model, trials.csv and what the console shows, as JSON."),
    ] = None

    # Where it runs, and where it is kept.
    n_workers: Annotated[int | None, Field(gt=0, description="Processes side by side. Default: 1.")] = None
    n_threads: Annotated[
        int | None,
        Field(
            gt=0, le=MOST_THREADS, description="CPU threads of a training. Default: the cores, shared by the workers."
        ),
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        Field(description="Where to compute; auto, the default, takes a GPU if there is one."),
    ] = "auto"
    launcher: Annotated[
        Launcher,
        Field(description="Where workers run: processes of this machine, the default, or tasks of a Ray cluster."),
    ] = "local"
    ray_address: Annotated[
        str | None,
        Field(description="Ray's head node. Default: the cluster that Ray finds; without any, one on this machine."),
    ] = None
    gpus_per_trial: Annotated[
        float | None,
        Field(
            ge=0,
            description="What a trial asks of Ray beside --threads CPUs; 0.5 shares a GPU. Default: 1 where there are "
            "any.",
        ),
    ] = None
    storage: Annotated[
        str | None, Field(description="Optuna's database. Default: HRNN_HPO_STORAGE, else sqlite in mlruns/.")
    ] = None
    tracking_uri: Annotated[
        str | None, Field(description="MLflow's store. Default: MLFLOW_TRACKING_URI, else sqlite in mlruns/.")
    ] = None

    @field_validator("timeout", mode="before")
    @classmethod
    def _as_seconds(cls, value: Any) -> Any:
        return duration_seconds(value) if isinstance(value, str) else value

    @field_validator("space")
    @classmethod
    def _is_a_space(cls, space: Any) -> Any:
        if space is None or isinstance(space, str | Path) or hasattr(space, "searched"):
            return space
        raise ValueError("a shipped space's name, a file or a SearchSpace must stand here")

    @field_validator("sampler", "pruner")
    @classmethod
    def _is_asked(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or isinstance(value, str) or callable(value) or hasattr(value, _METHODS[str(info.field_name)]):
            return value
        raise ValueError(f"a name or an Optuna {info.field_name} must stand here")

    @field_validator("study")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise ValueError(f"a name has 1 to {LONGEST_NAME} printable characters")
        if name.endswith(RESERVED_ENDINGS):
            raise ValueError(f"names ending in {' or '.join(RESERVED_ENDINGS)} are those of studies kept beside others")
        return name

    @classmethod
    def refusal(cls, error: ValidationError, source: str = "") -> ConfigError:
        """Return our error for Pydantic's, with the names of the command line's options."""
        return ConfigError("\n".join(_explain(problem) for problem in error.errors()))

    @model_validator(mode="after")
    def _fit_together(self) -> "StudyRequest":
        if self.protocol == "none":
            raise ValueError("A study needs validation users, but protocol `none` trains on everyone.")
        if self.launcher != "ray" and (self.ray_address is not None or self.gpus_per_trial is not None):
            raise ValueError("--ray-address and --gpus-per-trial are for --launcher ray.")
        if self.screen == 1 and self.confirm is None:
            raise ValueError(
                "--screen chooses the trials to confirm among more: 0 or at least 2 must stand there, not 1."
            )
        if self.screen and self.confirm is not None and not 0 < self.confirm < self.screen:
            raise ValueError(
                "--screen chooses the trials to confirm among more: `0 < --confirm < --screen` must hold, but got "
                f"--confirm {self.confirm} and --screen {self.screen}."
            )
        return self


def study_request(request: StudyRequest | None = None, **fields: Any) -> StudyRequest:
    """Return the request with `fields` changed, checked as a whole.

    Raises ConfigError with every rule that is broken: a number out of range, an unknown field, options that exclude
    each other.
    """
    if request is not None and not isinstance(request, StudyRequest):
        raise ConfigError(
            f"A study is asked for by a StudyRequest or by its fields (study='first', space='hrnn', …), "
            f"but got {request!r}."
        )
    given = {} if request is None else {name: getattr(request, name) for name in request.model_fields_set}
    try:
        return StudyRequest.model_validate({**given, **fields})
    except ValidationError as error:
        raise StudyRequest.refusal(error) from None


def option_name(field: str) -> str:
    """Return the command line's spelling of a field: `n_trials` is `--n-trials`, `n_workers` is `--workers`."""
    return OPTION_NAMES.get(field, "--" + field.replace("_", "-"))


def _explain(problem: Any) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if not problem["loc"]:
        return str(problem["msg"].removeprefix("Value error, "))
    field = str(problem["loc"][0])
    option, came = option_name(field), problem["input"]
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(field, StudyRequest.model_fields, n=1)
        return f"`tune` knows no {field!r}" + (f", did you mean {close[0]!r}?" if close else ".")
    if kind == "missing":
        return f"{option} must be given: the study's name."
    if field == "user_fraction" and kind in ("greater_than", "less_than"):
        return f"`0 < {option} < 1` must hold, but got {came}."
    rules = (("greater_than", ">", "gt"), ("greater_than_equal", ">=", "ge"), ("less_than_equal", "<=", "le"))
    for rule, sign, bound in rules:
        if kind == rule:
            why = " (one run says nothing about chance)" if (field, bound) == ("confirm_seeds", "ge") else ""
            limit = int(context[bound]) if float(context[bound]).is_integer() else context[bound]
            return f"`{option} {sign} {limit}` must hold{why}, but got {came}."
    if kind == "literal_error":
        return f"{option} must be {context['expected']}, but got {came!r}."
    return f"{option}: {problem['msg'].removeprefix('Value error, ')}, but got {came!r}."


def objects_of(request: StudyRequest, **own: Sequence[Any] | Mapping[str, Any] | None) -> list[str]:
    """Return the names of what only this process can have: a sampler or pruner that is no name, functions handed in."""
    named = {"sampler": request.sampler, "pruner": request.pruner}
    found = [name for name, value in named.items() if value is not None and not isinstance(value, str)]
    return found + [name for name, value in own.items() if value]
