"""What is wrong with a log, collected over all its files: the first of each kind in words, the others as counts.

In the mode `skip` the same problems become lines of rejects.csv. Finding them is load's and records' work.
"""

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from hrnn_hpo.errors import DataError, counted

N_SHOWN = 20  # of each kind
REJECTS = "rejects.csv"
REJECTS_HEADER = ("FILE", "ROW", "COLUMN", "RULE", "VALUE")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: in a file as a whole, in a row, or in a cell of it.

    `row` is the line on which a record of a text file begins, else the row (Parquet: from 1, DataFrames: from 0).
    """

    place: str  # the file
    says: str  # the rule
    row: int | None = None
    row_word: str = "line"
    column: str = ""
    value: str | None = None  # the cell as it is
    hint: str = ""  # what to do
    fatal: bool = True  # False: leaving the row out mends it

    def text(self) -> str:
        where = self.place if self.row is None else f"{self.place}, {self.row_word} {self.row}"
        what = f"{self.column} {self.says}" if self.column else self.says
        got = f", but got {shorten(self.value)}" if self.value is not None else ""
        return f"{where}: {what}{got}{'; ' + self.hint if self.hint else ''}."

    @property
    def kind(self) -> str:
        return f"{self.column} {self.says}" if self.row is not None else self.says


@dataclass
class Problems:
    """Collects problems. With `skip`, those of single rows are counted and written to `rejects` instead."""

    skip: bool = False
    rejects: Path | None = None
    shown: list[str] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)  # kind -> how many, in the mode skip
    n_rejected_rows: int = 0
    _counts: dict[str, int] = field(default_factory=dict)
    _file: TextIO | None = None
    _writer: Any = None
    _last: tuple[str, int | None] | None = None

    def add(self, problem: Problem) -> None:
        if self.skip and not problem.fatal:
            self._reject(problem)
            return
        count = self._counts.get(problem.kind, 0)
        self._counts[problem.kind] = count + 1
        if count < N_SHOWN:
            self.shown.append(problem.text())

    @property
    def count(self) -> int:
        """Return the number of problems that stop the reading."""
        return sum(self._counts.values())

    def raise_if_any(self) -> None:
        if self._counts:
            hidden = [(kind, count - N_SHOWN) for kind, count in self._counts.items() if count > N_SHOWN]
            tail = [f"… and {counted(n, 'more row')}: {kind.strip()}." for kind, n in hidden]
            raise DataError("\n".join([*self.shown, *tail]))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _reject(self, problem: Problem) -> None:
        self.rejected[problem.kind.strip()] = self.rejected.get(problem.kind.strip(), 0) + 1
        if (problem.place, problem.row) != self._last:
            self.n_rejected_rows += 1
            self._last = problem.place, problem.row
        if self.rejects is None:
            return
        if self._file is None:
            self._file = self.rejects.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow(REJECTS_HEADER)
        self._writer.writerow(
            (problem.place, problem.row, problem.column, problem.says, "" if problem.value is None else problem.value)
        )


def as_keywords(hint: str) -> str:
    """Return a hint with options as a program gives them: `timestamps='iso'` for `--timestamps iso`."""
    return re.sub(r"--(\w+) (\w+)", r"\1='\2'", hint)


def shorten(cell: str) -> str:
    """Return a cell as it may stand in a message: quoted, long ones cut."""
    return repr(cell) if len(cell) <= 60 else f"{cell[:50]!r}… ({len(cell)} characters)"
