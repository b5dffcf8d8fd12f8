"""`hrnn-hpo report` writes a study as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from hrnn_hpo.cli import options
from hrnn_hpo.cli.output import console, print_json


def report(
    study: options.Study,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="File to write.", show_default=False)],
    storage: options.Storage = None,
    json: options.Json = False,
) -> None:
    """Write a study as one HTML file that opens offline: verdict, leaderboard, charts, advice, how to repeat it.

    Example:

      hrnn-hpo report first --out first.html
    """
    from hrnn_hpo.study.report.report import report as write

    written = write(study, out, storage=storage)
    if json:
        print_json({"study": study, "out": written, "bytes": written.stat().st_size})
    else:
        console.print(f"Written to {written}.", soft_wrap=True)
