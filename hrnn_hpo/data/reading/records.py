"""The pass over a bad text file with Python's csv and json: it names each bad row's line and yields the good rows.

Slow, and only for files in which DuckDB found something, or that it could not read at all.
"""

import csv
import io
import math
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import IO, Any

from hrnn_hpo.data import ITEM_ID, USER_ID
from hrnn_hpo.data.reading.header import Layout, quotes_count
from hrnn_hpo.data.reading.options import ReadOptions
from hrnn_hpo.data.reading.problems import Problem, Problems
from hrnn_hpo.data.reading.rules import Rule
from hrnn_hpo.data.reading.source import UNREADABLE, LogFile
from hrnn_hpo.plain_data import load_json

_INNER = '(?:[^"]|"")*'  # of a quoted cell
MAX_LINE_BYTES = 2_000_000  # DuckDB's own limit; a longer line is a file that was damaged
_NO_QUOTES = "where a double quote is no more than a character, give --no-quotes"
_UTF8 = "write the file as UTF-8, for example with iconv -f cp1252 -t utf-8"

Rules = Mapping[str, Sequence[Rule]]  # our column -> its rules
Record = tuple[int, list[Any], str]  # line of its beginning, cells, or what is wrong with it as a whole


def good_rows(
    file: LogFile, layout: Layout, rules: Rules, options: ReadOptions, problems: Problems
) -> Iterator[list[str]]:
    """Yield the cells of `layout.places` of each row that breaks no rule; add a problem for each other one."""
    places = list(layout.places.values())
    checked = [(spot, column, rules[column]) for spot, column in enumerate(layout.places) if column in rules]
    records = _json_records(file, layout) if file.kind == "jsonl" else _csv_records(file, options)
    width = len(layout.names)
    for line, row, wrong in records:
        bad = False

        def add(
            says: str, column: str = "", value: str | None = None, hint: str = "", fatal: bool = False, line: int = line
        ) -> None:
            nonlocal bad
            bad = True
            problems.add(Problem(file.place, says, line, "line", column, value, hint, fatal))

        if wrong:
            says, _, hint = wrong.partition("\n")
            add(says, hint=hint)
        elif any(isinstance(cell, str) and re.search("[\ud800-\udfff]", cell) for cell in row):
            raw, windows = _strange(row)
            add("must be UTF-8 text", value=raw, hint=_UTF8 + (f" (there it reads {windows!r})" if windows else ""))
        elif len(row) != width:
            cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
            says = f"must have {width} cells like the {'first line' if options.no_header else 'header'}, but has"
            add(f"{says} {cells}")
        else:
            for spot, column, column_rules in checked:
                cell = row[places[spot]]
                if not isinstance(cell, str):
                    add(f"must be one value, but is {cell[0]}", column)
                    continue
                if isinstance(cell, _NoId) and column in (USER_ID, ITEM_ID):
                    add("must be text or a whole number", column, cell)
                    continue
                for rule in column_rules:
                    if rule.breaks(cell):
                        add(rule.says, column, cell, rule.hint, rule.unit)
        if not bad:
            yield [row[place] if isinstance(row[place], str) else "" for place in places]


class _Lines:
    """Physical lines with their count; what a record has taken can be put back, its first line aside."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self._waiting: deque[str] = deque()
        self._taken: list[str] = []
        self._bytes = 0
        self.line = 1  # on which the next record begins

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._bytes > MAX_LINE_BYTES:
            raise _TooLongError
        line = self._waiting.popleft() if self._waiting else next(self._text)
        self._taken.append(line)
        self._bytes += len(line)
        return line

    def begin(self) -> int:
        """Start a record; return the line on which it begins."""
        self.line += len(self._taken)
        self._taken, self._bytes = [], 0
        return self.line

    def n_taken(self) -> int:
        return len(self._taken)

    def put_back(self) -> None:
        """Put all but the first line of the record back."""
        self._waiting.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]


class _Unpadded:
    """Lines without one blank before a quoted cell and those behind it, which DuckDB passes over.

    No generator: after the last line there may be more, when some were put back.
    """

    def __init__(self, lines: _Lines, separator: str) -> None:
        self._lines = lines
        self._inside = False  # of a quoted cell that began on an earlier line
        blank, behind = ("", "") if separator == " " else (" ?", " *")
        end = rf"(?=[{re.escape(separator)}\r\n]|\Z)"
        self._begun = re.compile(rf'{blank}(?P<open>"{_INNER})\Z|{blank}(?P<closed>"{_INNER}"){behind}{end}')
        self._ended = re.compile(rf'(?P<closed>{_INNER}"){behind}{end}')
        self._other = re.compile(rf"[^{re.escape(separator)}\r\n]*")

    def __iter__(self) -> "_Unpadded":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if self._lines.n_taken() == 1:  # a new record begins outside, whatever became of the last one
            self._inside = False
        if '"' not in line:
            return line
        parts, place = [], 0
        while place < len(line):
            cell = (self._ended if self._inside else self._begun).match(line, place)
            if self._inside and cell is None:  # it goes on, or is broken, as the reader will say
                break
            self._inside = cell is not None and cell.groupdict().get("open") is not None
            found = cell or self._other.match(line, place)
            assert found
            parts.append(next((text for text in found.groupdict().values() if text is not None), found[0]))
            parts.append(line[found.end() : found.end() + 1])  # the separator, or the end of the line
            place = found.end() + 1
        return "".join(parts) + line[place:]


class _TooLongError(Exception):
    pass


class _NoId(str):
    """A JSON value that is a number, but not whole, or true or false, as text."""


def _csv_records(file: LogFile, options: ReadOptions) -> Iterator[Record]:
    separator = options.separator or ","
    quotes = quotes_count(options)
    skip_header = not (options.no_header and file.role == "interactions")
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with _text(file) as text:
            lines = _Lines(text)
            if len(separator) > 1:
                reader: Iterator[list[str]] = (line.rstrip("\r\n").split(separator) for line in lines)
            else:
                reader = csv.reader(
                    _Unpadded(lines, separator) if quotes else lines,
                    delimiter=separator,
                    quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
                    strict=quotes,
                )
            width = None
            while True:
                line = lines.begin()
                wrong = ""
                row: list[str] = []
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    wrong = f"must be valid CSV, but {error}\n{_NO_QUOTES if quotes else ''}"
                except _TooLongError:
                    wrong = f"must be shorter than {MAX_LINE_BYTES:,} bytes\n{_NO_QUOTES if quotes else ''}"
                else:
                    if not row or (row == [""] and not quotes):
                        continue  # a blank line
                    if skip_header and width is None:
                        width = len(row)
                        continue
                    width = width or len(row)
                    while len(row) > width and not row[-1]:
                        row.pop()  # separators without anything behind them, as DuckDB takes them
                    if sum(len(cell.encode("utf-8", "surrogateescape")) for cell in row) > MAX_LINE_BYTES:
                        wrong = f"must be shorter than {MAX_LINE_BYTES:,} bytes"
                if (wrong or len(row) != width) and lines.n_taken() > 1:
                    lines.put_back()  # a stray quote has swallowed lines that may be good
                yield line, row, wrong
    except UNREADABLE as error:
        yield lines.line, [], f"cannot be unpacked or read from here on ({error})"
    finally:
        csv.field_size_limit(limit)


def _json_records(file: LogFile, layout: Layout) -> Iterator[Record]:
    number = 0
    try:
        with _text(file) as text:
            for number, line in enumerate(text, 1):
                if not line.strip():
                    continue
                if len(line) > MAX_LINE_BYTES:
                    yield number, [], f"must be shorter than {MAX_LINE_BYTES:,} bytes"
                    continue
                try:
                    record = load_json(
                        line,
                        parse_float=lambda token: _NoId(number_text(token)),
                        parse_int=number_text,
                        parse_constant=_NoId,
                        object_pairs_hook=_first_of_each,
                    )
                except ValueError as error:
                    yield number, [], f"must be valid JSON, but {str(error).splitlines()[0]}"
                    continue
                if not isinstance(record, dict):
                    yield number, [], "must be one JSON object"
                    continue
                yield number, [_cell(record.get(name)) for name in layout.names], ""
    except UNREADABLE as error:
        yield number + 1, [], f"cannot be unpacked or read from here on ({error})"


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the first value of each key, which DuckDB takes too."""
    return dict(reversed(pairs))


def number_text(token: str) -> str:
    """Return a JSON number as DuckDB writes it: a label must be the same one in files with bad rows and without."""
    if not set(token) & set(".eE"):
        return "0" if token == "-0" else token
    number = float(token)
    mantissa, mark, exponent = repr(number).partition("e")
    if math.isinf(number):
        return token
    if not mark:
        return mantissa
    if not -6 <= int(exponent) < 21:
        return f"{mantissa}e{int(exponent)}"
    digits = format(Decimal(repr(number)), "f")
    return digits if "." in digits else f"{digits}.0"


def _cell(value: Any) -> Any:
    """Return a JSON value as text; a list or an object as a word in a tuple, which is no cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return _NoId("true" if value else "false")
    if isinstance(value, str):
        return value
    return ("a list",) if isinstance(value, list) else ("an object",)


def _text(file: LogFile) -> IO[str]:
    return io.TextIOWrapper(file.open(), encoding="utf-8-sig", errors="surrogateescape", newline="")


def _strange(row: Sequence[Any]) -> tuple[str, str]:
    """Return the first cell with bytes that are not UTF-8, escaped, and as Windows would read it, or ""."""
    cell = next(cell for cell in row if isinstance(cell, str) and re.search("[\ud800-\udfff]", cell))
    try:
        raw = cell.encode("utf-8", "surrogateescape")
        return raw.decode("utf-8", "backslashreplace"), raw.decode("cp1252")
    except (UnicodeDecodeError, UnicodeEncodeError):
        return cell.encode("ascii", "backslashreplace").decode(), ""
