"""The arguments and options that several commands share, each spelled and explained once.

Used as annotations: `def train(data: Data, device: Device = "auto", json: Json = False) -> None`.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

Protocols = Literal["personalize", "personalize-last", "leave-one-out", "newest-tenth", "temporal", "none"]

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="CSV or Parquet file, folder with interactions.csv, or prepared folder.",
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
Seen = Annotated[
    Literal["auto", "remove", "keep"],
    typer.Option(
        "--seen",
        help="Items of the input in the ranking: auto removes them where fewer than 1 % of events are repeats.",
    ),
]
# None stands for the configuration's own entry.
Protocol = Annotated[Protocols | None, typer.Option("--protocol", help="Who trains, validates and tests.")]
SplitSeed = Annotated[int | None, typer.Option("--split-seed", min=0, help="Draws the validation and test users.")]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage", metavar="URL", help="Optuna's database.  [default: sqlite in mlruns/]", show_default=False
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri", metavar="URI", help="MLflow's store.  [default: sqlite in mlruns/]", show_default=False
    ),
]


def checked_device(device: str) -> Literal["auto", "cpu", "cuda", "mps"]:
    """Return the device's name; raises typer.BadParameter for any other word."""
    if device not in ("auto", "cpu", "cuda", "mps"):
        raise typer.BadParameter(f"must be one of auto, cpu, cuda, mps, but got {device!r}.", param_hint="--device")
    return device  # type: ignore[return-value]
