"""`hrnn-hpo batch`: the best items for every user of a file."""

from pathlib import Path
from typing import Annotated

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console
from hrnn_hpo.errors import counted


def batch(
    model: options.Model,
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help='JSON lines, {"userId": "4638"} each.', show_default=False)
    ],
    target: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="JSON lines, one per input line.", show_default=False)
    ],
    k: Annotated[int, typer.Option("--k", min=1, max=500, help="How many items.")] = 25,
    seen: options.SeenOfModel = "auto",
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Recommend items to many users, in the format of Amazon Personalize's batch inference.

    A line may say when its user asks: {"userId": "4638", "context": {"REQUEST_TIME": "1700000000"}}.

    Example:

      hrnn-hpo batch models/best --input users.jsonl --output users.jsonl.out
    """
    from hrnn_hpo.cli.models import open_recommender
    from hrnn_hpo.cli.progress import share_bar
    from hrnn_hpo.errors import DataError
    from hrnn_hpo.serving.batch import recommend_file

    if not source.is_file():  # said before the model is loaded
        raise DataError(f"{source}: the input must be a file of JSON lines, but there is none.")
    recommender = open_recommender(model, tracking_uri, seen)
    with share_bar() as bar:
        task = bar.add_task("users", total=source.stat().st_size)
        report = recommend_file(recommender, source, target, k, lambda n_bytes: bar.advance(task, n_bytes))
    if report.n_lines and report.n_errors == report.n_lines:
        none = "its only line could not" if report.n_lines == 1 else f"none of its {report.n_lines:,} lines could"
        raise DataError(f"{source}: {none} be answered; {target} says why for each.")
    console.print(
        f"Wrote {counted(report.n_lines, 'line')} to {target}, {report.n_errors} of them with an error (seen items: "
        f"{recommender.seen}).",
        soft_wrap=True,
    )
