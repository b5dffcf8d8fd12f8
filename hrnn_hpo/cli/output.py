"""Where words go: results to standard output, progress and messages to standard error.

With --json, print_json's object is the one thing on standard output; commands then leave `results` alone.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

# Files and pipes get lines of one length, whatever the window of whoever started the program.
console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)  # progress, messages
results = Console(highlight=False, width=None if sys.stdout.isatty() else 120)  # what was asked for, for people


def print_json(value: dict[str, Any]) -> None:
    """Write one JSON object to standard output; NaN and infinity become null, numpy scalars plain numbers."""
    sys.stdout.write(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_error(message: str) -> None:
    """Write `error: message` to standard error, as it is: no markup, no wrapping."""
    console.print(f"[bold red]error:[/bold red] {_escaped(message)}", soft_wrap=True)


def print_warning(message: str) -> None:
    """Write `warning: message` to standard error, as it is: no markup, no wrapping."""
    console.print(f"[yellow]warning:[/yellow] {_escaped(message)}", soft_wrap=True)


def print_note(message: str) -> None:
    """Write `note: message` to standard error, as it is: no markup, no wrapping."""
    console.print(f"[cyan]note:[/cyan] {_escaped(message)}", soft_wrap=True)


def print_table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Write a table to standard output: text on the left, numbers on the right with four decimals."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric or index == 0)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    results.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else _escaped(str(value))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
