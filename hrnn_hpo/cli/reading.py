"""The options that say how to read a log, shared by the `data` commands; their texts are those of ReadOptions' fields.

`hrnn_hpo/data/reading/options.py` says what each means and checks it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

PANEL = "How to read the log"
CHOICE = "What to keep of it"

Logs = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="CSV, JSON lines or Parquet, plain or packed (.gz, .zst): files, a pattern in quotes, a folder with "
        "interactions.csv or part files, or a prepared folder.",
        show_default=False,
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="OURS=THEIRS,…",
        rich_help_panel=PANEL,
        help="Which column of the log is ours: USER_ID=userId,ITEM_ID=movieId,TIMESTAMP=ts, also EVENT_TYPE, "
        "EVENT_VALUE and SESSION_ID. Without a header: their numbers, counted from 1.",
        show_default=False,
    ),
]
NoHeader = Annotated[
    bool,
    typer.Option(
        "--no-header",
        rich_help_panel=PANEL,
        help="The first line is a row already; --columns gives numbers.",
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(
        "--separator",
        metavar="S",
        rich_help_panel=PANEL,
        help="What stands between cells, `tab` for a tab. Default: a comma.",
        show_default=False,
    ),
]
NoQuotes = Annotated[
    bool,
    typer.Option(
        "--no-quotes",
        rich_help_panel=PANEL,
        help='A double quote is a character like others (tab-separated files with 12" in a title).',
    ),
]
Timestamps = Annotated[
    Literal["seconds", "milliseconds", "microseconds", "iso"] | None,
    typer.Option(
        "--timestamps",
        rich_help_panel=PANEL,
        help="What TIMESTAMP holds; iso: dates and times as text, UTC where no zone stands. Default: seconds, and what "
        "looks like anything else is refused.",
        show_default=False,
    ),
]
OnBadRows = Annotated[
    Literal["stop", "skip"],
    typer.Option(
        "--on-bad-rows",
        rich_help_panel=PANEL,
        help="stop: name the bad rows and end; skip: leave them out, write them to rejects.csv.",
    ),
]
SchemaFile = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        rich_help_panel=PANEL,
        help="Amazon's (Avro) schema that the interactions must fit.",
        show_default=False,
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="SIZE",
        rich_help_panel=PANEL,
        help="Memory that reading may take, such as 4GB. Default: half of what there is.",
        show_default=False,
    ),
]
EventTypes = Annotated[
    str | None,
    typer.Option(
        "--event-types",
        metavar="A,B",
        rich_help_panel=CHOICE,
        help="Keep events of these types, with commas between them.",
        show_default=False,
    ),
]
MinEventValue = Annotated[
    float | None,
    typer.Option(
        "--min-event-value",
        metavar="X",
        rich_help_panel=CHOICE,
        help="Keep events whose EVENT_VALUE is so large or larger.",
        show_default=False,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        rich_help_panel=CHOICE,
        help="Keep events from this time on: a date, an ISO time (UTC unless said) or unix seconds.",
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="TIME",
        rich_help_panel=CHOICE,
        help="Keep events before this time, itself left out.",
        show_default=False,
    ),
]
SampleUsers = Annotated[
    float | None,
    typer.Option(
        "--sample-users",
        metavar="PART",
        rich_help_panel=CHOICE,
        help="Keep this part of the users, drawn by their ids: the same ones each time.",
        show_default=False,
    ),
]
MinUserEvents = Annotated[
    int | None,
    typer.Option(
        "--min-user-events",
        metavar="N",
        rich_help_panel=CHOICE,
        help="Keep users with so many events, again and again until --min-item-events holds too.",
        show_default=False,
    ),
]
MinItemEvents = Annotated[
    int | None,
    typer.Option(
        "--min-item-events",
        metavar="N",
        rich_help_panel=CHOICE,
        help="Keep items with so many events; rarer ones leave the catalogue.",
        show_default=False,
    ),
]


def options_of(**told: Any) -> Any:
    """Return ReadOptions of a command's options; a plain flag that is off and `stop` say nothing."""
    from hrnn_hpo.data.reading.options import read_options

    # `is`: the number 0 equals False, and says something.
    said = {name: value for name, value in told.items() if value is not None and value is not False and value != "stop"}
    return read_options(**said)


def one_or_many(data: list[str]) -> Any:
    """Return a single DATA as it is, several as a list."""
    return data[0] if len(data) == 1 else data
