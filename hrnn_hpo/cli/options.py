"""The arguments and options that several commands share, each spelled and explained once.

Used as annotations: `def train(data: Data, device: Device = "auto", json: Json = False) -> None`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hrnn_hpo.study.request.request import StudyRequest, duration_seconds, option_name


def named(text: str) -> str:
    """Return what names a log; an empty text, as of an unset variable of the shell, would be the working folder."""
    if not text:
        raise typer.BadParameter("must name a log, but got an empty text: is a variable of the shell unset?")
    return text


def log_path(text: str) -> Path:
    """Return the path of a log that an argument names."""
    return Path(named(text))


Protocols = Literal["personalize", "personalize-last", "leave-one-out", "newest-tenth", "temporal", "none"]

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="CSV, JSON lines or Parquet, packed or not: a file, a quoted pattern, a folder with interactions.csv or "
        "with part files; or a prepared folder.",
        parser=log_path,
        show_default=False,
    ),
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Model folder or models:/ address.", show_default=False)]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Device = Annotated[
    str,
    typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where to compute; auto takes a GPU if there is one."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="CPU threads of a training. Default: the cores, shared by the workers, at most OMP_NUM_THREADS.",
        show_default=False,
    ),
]
Seen = Annotated[
    Literal["auto", "remove", "keep"],
    typer.Option(
        "--seen",
        help="Whether items of the input may be ranked: remove, keep, or auto, which removes them where fewer than 1 % "
        "of events are repeats.",
    ),
]
SeenOfModel = Annotated[
    Literal["auto", "remove", "keep"],
    typer.Option(
        "--seen",
        help="Whether items of the user's history may be listed: remove, keep, or auto, as the model was validated.",
    ),
]
# None stands for the configuration's own entry.
Protocol = Annotated[
    Protocols | None,
    typer.Option("--protocol", help="Who trains, validates and tests. Default: that of --config, else personalize."),
]
SplitSeed = Annotated[
    int | None,
    typer.Option("--split-seed", min=0, help="Draws the validation and test users. Default: that of --config, else 0."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Optuna's database. Default: HRNN_HPO_STORAGE, else sqlite in mlruns/.",
        show_default=False,
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        help="MLflow's store. Default: MLFLOW_TRACKING_URI, else sqlite in mlruns/.",
        show_default=False,
    ),
]


def of_study(field: str, *, off: bool = False, **more: Any) -> Any:
    """Return the option of a StudyRequest's field: its own name, and its description as help text.

    `off` adds the option that says no: `--priors/--no-priors`.
    """
    described, name = StudyRequest.model_fields[field].description, option_name(field)
    named = f"{name}/--no-{name.removeprefix('--')}" if off else name
    return typer.Option(named, help=described, show_default=False, **more)


def checked_device(device: str) -> Literal["auto", "cpu", "cuda", "mps"]:
    """Return the device's name; raises typer.BadParameter for any other word."""
    if device not in ("auto", "cpu", "cuda", "mps"):
        raise typer.BadParameter(f"must be one of auto, cpu, cuda, mps, but got {device!r}.", param_hint="--device")
    return device  # type: ignore[return-value]


def parse_duration(text: str | None) -> float | None:
    """Return the seconds in 90, 90s, 30m, 2h or 1h30m; raises typer.BadParameter for anything else."""
    if text is None:
        return None
    try:
        return duration_seconds(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, but got {text!r}.", param_hint="--timeout") from None
