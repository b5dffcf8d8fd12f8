"""The options that say how to read a log, shared by the `data` commands; their texts are those of ReadOptions' fields.

`hrnn_hpo/data/reading/options.py` says what each means and checks it.
"""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hrnn_hpo.cli.options import named
from hrnn_hpo.data.reading.options import FILTERS, ReadOptions, option_name, read_options


def _of(field: str, **more: Any) -> Any:
    """Return the option of a field of ReadOptions, with its description as help text."""
    described = ReadOptions.model_fields[field]
    return typer.Option(
        option_name(field),
        help=described.description,
        rich_help_panel="What to keep of it" if field in FILTERS else "How to read the log",
        show_default=described.default not in (None, {}),
        **more,
    )


Logs = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="CSV, JSON lines or Parquet, plain or packed (.gz, .zst): files, a pattern in quotes, a folder with "
        "interactions.csv or part files, or a prepared folder.",
        show_default=False,
    ),
]
Columns = Annotated[str | None, _of("columns", metavar="OURS=THEIRS,…")]
NoHeader = Annotated[bool, _of("no_header")]
Separator = Annotated[str | None, _of("separator", metavar="S")]
NoQuotes = Annotated[bool, _of("no_quotes")]
Timestamps = Annotated[Literal["seconds", "milliseconds", "microseconds", "iso"] | None, _of("timestamps")]
OnBadRows = Annotated[Literal["stop", "skip"], _of("on_bad_rows")]
SchemaFile = Annotated[Path | None, _of("schema_file", metavar="FILE")]
MemoryLimit = Annotated[str | None, _of("memory_limit", metavar="SIZE")]
EventTypes = Annotated[str | None, _of("event_types", metavar="A,B")]
MinEventValue = Annotated[float | None, _of("min_event_value", metavar="X")]
From = Annotated[str | None, _of("from_time", metavar="TIME")]
Until = Annotated[str | None, _of("until_time", metavar="TIME")]
SampleUsers = Annotated[float | None, _of("sample_users", metavar="PART")]
MinUserEvents = Annotated[int | None, _of("min_user_events", metavar="N")]
MinItemEvents = Annotated[int | None, _of("min_item_events", metavar="N")]

_ALL: dict[str, tuple[Any, Any]] = {  # name -> option, default
    "columns": (Columns, None),
    "no_header": (NoHeader, False),
    "separator": (Separator, None),
    "no_quotes": (NoQuotes, False),
    "timestamps": (Timestamps, None),
    "on_bad_rows": (OnBadRows, "stop"),
    "schema": (SchemaFile, None),
    "memory_limit": (MemoryLimit, None),
    "event_types": (EventTypes, None),
    "min_event_value": (MinEventValue, None),
    "from_time": (From, None),
    "until_time": (Until, None),
    "sample_users": (SampleUsers, None),
    "min_user_events": (MinUserEvents, None),
    "min_item_events": (MinItemEvents, None),
}


def with_read_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes all options of reading in place of its last parameter, `options`."""
    own = [one for one in signature(command).parameters.values() if one.name != "options"]
    ours = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=option)
        for name, (option, default) in _ALL.items()
    ]

    @wraps(command)
    def with_options(**given: Any) -> None:
        told = {name: given.pop(name) for name in _ALL}
        command(**given, options=options_of(**told))

    with_options.__signature__ = Signature([*own, *ours])  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in (*own, *ours)}
    return with_options


def options_of(**told: Any) -> ReadOptions:
    """Return ReadOptions of a command's options; a plain flag that is off and `stop` say nothing."""
    # `is`: the number 0 equals False, and says something.
    said = {name: value for name, value in told.items() if value is not None and value is not False and value != "stop"}
    return read_options(**said)


def one_or_many(data: list[str]) -> Any:
    """Return a single DATA as it is, several as a list."""
    logs = [named(text) for text in data]
    return logs[0] if len(logs) == 1 else logs
