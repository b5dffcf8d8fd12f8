"""Where words go: results to standard output, progress and messages to standard error.

What a user named may stand in any of them, so nothing printed here is read as markup, emoji or a terminal's command:
style is given beside a text, never inside. With --json, print_json's object is the one thing on standard output;
commands then leave `results` alone.
"""

import codecs
import io
import json
import math
import os
import sys
import unicodedata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


class PlainConsole(Console):
    """A console that shows every text as it is; control characters, which a terminal would obey, by their codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text, also one that stands in a table, as what is shown of it."""
        return super().render_str(visible(text), **options)


def visible(text: str) -> str:
    """Return a text with control characters other than line ends and tabs as `\\x1b` and the like."""
    return "".join(_code(c) if _obeyed(c) else c for c in text)


def _obeyed(character: str) -> bool:
    """Return whether a terminal acts on a character: controls, line ends of their own, changes of direction."""
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS


_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def open_missing_streams() -> None:
    """Let a program that was started without a standard stream (`>&-`) have one that leads nowhere.

    Python has None there, and the first file that is opened, a database for example, would take the stream's number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # by their numbers: the lowest free is taken
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we run


open_missing_streams()

# Files and pipes get lines of one length, whatever the window of whoever started the program.
console = PlainConsole(stderr=True, width=None if sys.stderr.isatty() else 120)  # progress, messages
results = PlainConsole(width=None if sys.stdout.isatty() else 120)  # what was asked for, for people


def show_what_encodings_lack() -> None:
    """Let standard output and error write a character that their encoding lacks by its code, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_BY_CODES)


_BY_CODES = "hrnn-hpo-codes"
_IN_ASCII = {"█": "#", "…": "...", "±": "+-", "–": "-", "—": "-", "−": "-", "×": "x", "→": "->"}  # of our own texts


def _by_codes(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that cannot be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(character) or _code(character) for character in lacking), error.end


codecs.register_error(_BY_CODES, _by_codes)


def print_json(value: dict[str, Any]) -> None:
    """Write one JSON object to standard output; NaN and infinity become null, numpy scalars plain numbers.

    Where the output's encoding lacks a character, all of them stand by JSON's own codes.
    """
    plain = _plain(value)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain, indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_error(message: str) -> None:
    """Write `error: message` to standard error, without wrapping."""
    _print_headed("error:", "bold red", message)


def print_warning(message: str) -> None:
    """Write `warning: message` to standard error, without wrapping."""
    _print_headed("warning:", "yellow", message)


def print_note(message: str) -> None:
    """Write `note: message` to standard error, without wrapping."""
    _print_headed("note:", "cyan", message)


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
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _print_headed(head: str, style: str, message: str) -> None:
    console.print(Text.assemble((head, style), " ", visible(message)), soft_wrap=True)


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
