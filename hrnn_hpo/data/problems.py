"""What a table of interactions, items or users must fulfil, and the second pass that names file and line.

The rules stand here once, as SQL for ingest's fast check and as Python for the slow pass over a file that is
known to be bad. Reading good files is ingest's work.
"""

import csv
import difflib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hrnn_hpo.data.schema import EVENT_VALUE, ITEM_ID, TIMESTAMP, USER_ID
from hrnn_hpo.errors import DataError

MAX_ID_LENGTH = 256
MAX_TIMESTAMP = 2**63 - 1
MAX_FLOAT32 = 3.4028235e38
MAX_LINE_BYTES = 2_000_000  # DuckDB's own limit; a longer line is a file that was damaged
N_SHOWN = 10

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


@dataclass(frozen=True)
class Rule:
    """What every cell of a column must fulfil. Empty cells arrive as NULL in SQL and as "" in Python."""

    says: str
    sql: str  # true where `{cell}` breaks the rule, never NULL
    breaks: Callable[[str], bool]


_ID = Rule(
    f"must have 1 to {MAX_ID_LENGTH} characters and not be blank",
    f"{{cell}} IS NULL OR trim({{cell}}, E' \\t\\r\\n') = '' OR length({{cell}}) > {MAX_ID_LENGTH} "
    "OR contains({cell}, chr(0))",
    lambda cell: not cell.strip(" \t\r\n") or len(cell) > MAX_ID_LENGTH or "\0" in cell,
)
_TIMESTAMP = Rule(
    "must be a non-negative whole number of unix seconds",
    "{cell} IS NULL OR NOT regexp_full_match({cell}, '[0-9]+') OR TRY_CAST({cell} AS BIGINT) IS NULL",
    lambda cell: not re.fullmatch("[0-9]+", cell) or len(cell.lstrip("0")) > 19 or int(cell) > MAX_TIMESTAMP,
)
_EVENT_VALUE = Rule(
    "must be a finite number or empty",
    f"{{cell}} IS NOT NULL AND (NOT regexp_full_match({{cell}}, '{_NUMBER}') "
    f"OR coalesce(abs(TRY_CAST({{cell}} AS DOUBLE)) > {MAX_FLOAT32!r}, true))",
    lambda cell: bool(cell) and (not re.fullmatch(_NUMBER, cell) or not abs(float(cell)) <= MAX_FLOAT32),
)
RULES = {USER_ID: _ID, ITEM_ID: _ID, TIMESTAMP: _TIMESTAMP, EVENT_VALUE: _EVENT_VALUE}


@dataclass
class Problems:
    """Collects what is wrong over several files: the first ten in words, the others as a count."""

    shown: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.shown) < N_SHOWN:
            self.shown.append(text)

    def raise_if_any(self) -> None:
        if self.count:
            hidden = self.count - len(self.shown)
            tail = [f"… and {hidden} more {'problem' if hidden == 1 else 'problems'}."] if hidden else []
            raise DataError("\n".join([*self.shown, *tail]))


def check_header(path: Path, columns: Sequence[str], required: Sequence[str], problems: Problems) -> None:
    """Add a problem for each required column that is missing and for each name that stands twice."""
    for name in dict.fromkeys(column for column in columns if columns.count(column) > 1):
        problems.add(f"{path}: column names must be unique, but {name!r} stands {columns.count(name)} times.")
    separators = [mark for mark in ";\t|" if len(columns) == 1 and mark in columns[0]]
    if separators:
        problems.add(
            f"{path}: cells must be separated by commas, but the header has {separators[0]!r}: {columns[0]!r}."
        )
        return
    for name in required:
        if name not in columns:
            found = ", ".join(columns) if columns else "none"
            problems.add(f"{path}: column {name} is missing{_nearest_column(name, columns)} (columns: {found}).")


def find_csv_problems(path: Path, columns: Sequence[str], problems: Problems) -> None:
    """Add a problem, with the line on which its record begins, for each broken row or cell of a CSV file.

    Slow and meant for files that are known to be bad. Bytes that are not UTF-8, rows of another width than the
    header, overlong lines, unclosed quotes and every cell that breaks a rule are reported.
    """
    rules = [(position, name, RULES[name]) for position, name in enumerate(columns) if name in RULES]
    try:
        for line, row in _records(path):
            if any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
                problems.add(f"{path}, line {line}: must be UTF-8 text, but holds other bytes.")
            elif len(row) != len(columns):
                cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
                problems.add(f"{path}, line {line}: must have {len(columns)} cells like the header, but has {cells}.")
            elif sum(len(cell.encode()) for cell in row) > MAX_LINE_BYTES:
                problems.add(f"{path}, line {line}: must be shorter than {MAX_LINE_BYTES:,} bytes.")
            else:
                for position, name, rule in rules:
                    if rule.breaks(row[position]):
                        problems.add(f"{path}, line {line}: {name} {rule.says}, but got {shorten(row[position])}.")
    except _BrokenRecordError as error:
        problems.add(str(error))


def write_plain_csv(path: Path, target: Path) -> None:
    """Write a good file's records again with one kind of line end, for readers that refuse mixed ones."""
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([read_header(path), *(row for _, row in _records(path))])


def read_header(path: Path) -> list[str]:
    """Return the column names of a CSV file.

    Raises DataError when the file has no line or its first one is no UTF-8 text.
    """
    for _, row in _records(path, header=True):
        if any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
            raise DataError(f"{path}, line 1: must be UTF-8 text, but holds other bytes.")
        return row
    raise DataError(f"{path}: is empty; a header line and rows must stand there.")


def shorten(cell: str) -> str:
    """Return a cell as it may stand in a message: quoted, long ones cut."""
    return repr(cell) if len(cell) <= 60 else f"{cell[:50]!r}… ({len(cell)} characters)"


class _BrokenRecordError(DataError):
    pass


def _records(path: Path, header: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield (line of its beginning, cells) of each record, blank lines left out; the header only when asked for."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            first = True
            while True:
                line = reader.line_num + 1
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise _BrokenRecordError(f"{path}, line {line}: must be valid CSV, but {error}.") from None
                if row and (header or not first):
                    yield line, row
                first = first and not row
    finally:
        csv.field_size_limit(limit)


def _nearest_column(name: str, columns: Sequence[str]) -> str:
    folded = {column.strip().upper(): column for column in columns}
    close = difflib.get_close_matches(name, list(folded), n=1)
    return f", did you mean {folded[close[0]]!r}?" if close else ""
