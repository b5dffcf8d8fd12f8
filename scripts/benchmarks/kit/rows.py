"""Benchmark results as data: a row for each finished seed or cell in docs/results/NAME.json, and resuming from it.

A benchmark FOLDER/NAME.py has a function that makes Markdown of rows, and a main function that measures what is
missing:

    def report(rows: Rows) -> str:              # publish.py calls it too, with the rows of docs/results/NAME.json
        return table(["H", "targets/s"], [[row.settings["hidden"], row.figures["speed"]] for row in rows.values()])

    def main() -> None:
        options = script_parser(__doc__, "NAME").parse_args()   # has --rows, --again, --results and --work
        results = Results("NAME", options)
        results.run({f"H-{hidden}": Cell({"hidden": hidden}, partial(measure, hidden)) for hidden in (64, 128)})
        results.show(report)

`measure` returns the figures: a dictionary that JSON can hold. The row's name identifies it. A finished row is not
measured again; its settings must be the same then. Each row notes date, processor, threads, versions and command.
Several processes may run the same command: they share the rows. In docs/benchmarks.md the line
`<!-- table: NAME -->` begins the place of the tables, and `publish.py` fills it.

No measurement of a row may be longer than 150 minutes of two cores: a longer benchmark is cut into rows. Files that a
row needs on its way, such as checkpoints, belong into `results.work`, which git ignores.
"""

import argparse
import fnmatch
import json
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from hrnn_hpo.config import AUTO, Hyperparameters
from hrnn_hpo.data.splits import SINGLE_TRUTH
from scripts.benchmarks.kit.tables import sources

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parents[1]
RESULTS = ROOT / "docs" / "results"
LONGEST_SECONDS = 150 * 60  # of a row's measurement, on two cores
AHEAD = "hyperparameters.targets_ahead"  # rows of single truths from before `auto` have the 1 that it is for them
VERSIONS = ("hrnn-hpo", "torch", "numpy", "optuna", "mlflow")

Figures = dict[str, Any]


class Row(BaseModel):
    """What one measurement found, and how it came about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str  # of its end, UTC
    processor: str
    threads: int
    accelerator: str | None = None
    versions: dict[str, str]
    command: str
    seconds: float | None = None  # that the measurement took, from its last start on
    note: str | None = None
    settings: dict[str, Any]
    figures: Figures


Rows = Mapping[str, Row]


@dataclass(frozen=True)
class Cell:
    """A row to be: the settings that it must keep, and the function that measures it."""

    settings: Mapping[str, Any]
    measure: Callable[[], Figures]
    threads: int = 1
    accelerator: str | None = None  # the name of the GPU that the figures are of
    leftovers: Sequence[Path] = ()  # files that go when the row is written, such as a checkpoint


class Results:
    """The rows of one benchmark: read, measured where they are missing, and written one by one."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.file: Path = options.results.absolute() / f"{name}.json"
        self.work: Path = options.work.absolute()
        self._wanted: str | None = options.rows
        self._again: bool = options.again

    def rows(self) -> dict[str, Row]:
        """Return the finished rows in the order in which they were written first."""
        return read_rows(self.file)

    def run(self, cells: Mapping[str, Cell]) -> None:
        """Measure the chosen cells in order, as `measure` does."""
        for name in self.chosen(list(cells)):
            self.measure(name, cells[name])

    def measure(self, name: str, cell: Cell) -> None:
        """Measure a cell that has no row yet; one that another process measures at this moment is left to it."""
        self.work.mkdir(parents=True, exist_ok=True)
        claim = FileLock(self.work / f"{name}.lock")
        try:
            claim.acquire(timeout=0)
        except Timeout:
            print(f"{name}: another process is at it", flush=True)
            return
        with claim:
            self._measure(name, cell)

    def show(self, report: Callable[[Rows], str]) -> None:
        """Print the tables of the finished rows."""
        rows = self.rows()
        print(f"\n{sources(rows)}\n\n{report(rows)}" if rows else "no row is finished")

    def chosen(self, known: list[str]) -> list[str]:
        """Return the names that --rows asks for, all of them without it; an unknown one ends the script."""
        if self._wanted is None:
            return known
        patterns = self._wanted.split(",")
        unknown = [pattern for pattern in patterns if not fnmatch.filter(known, pattern)]
        if unknown:
            raise SystemExit(f"--rows: {', '.join(unknown)}: must be among {', '.join(known)}.")
        return [name for name in known if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]

    def _measure(self, name: str, cell: Cell) -> None:
        settings = json.loads(json.dumps(cell.settings))  # as the file has them
        finished = self.rows().get(name)
        if finished is not None and not self._again:
            self._require_same(name, finished.settings, settings)
            return
        began = time.monotonic()
        figures = cell.measure()
        seconds = time.monotonic() - began
        row = Row(
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            processor=processor(),
            threads=cell.threads,
            accelerator=cell.accelerator,
            versions={"python": platform.python_version()} | {package: version(package) for package in VERSIONS},
            command=command_of(sys.argv),
            seconds=round(seconds, 1),
            settings=settings,
            figures=figures,
        )
        write_row(self.file, name, row)
        for file in cell.leftovers:
            file.unlink(missing_ok=True)
        print(f"{name}: {seconds:.0f} s", flush=True)
        if seconds > LONGEST_SECONDS:
            print(f"{name}: longer than {LONGEST_SECONDS // 60} minutes, cut it into smaller rows", file=sys.stderr)

    def _require_same(self, name: str, settings: dict[str, Any], asked: dict[str, Any]) -> None:
        before, now = _flat(settings), _flat(asked)
        different = [
            f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
            and not (key not in before and _came_later(key, now[key]))
            and not (
                key == AHEAD and before.get(key) == 1 and now.get(key) == AUTO and now.get("protocol") in SINGLE_TRUTH
            )
        ]
        if different:
            raise SystemExit(
                f"{self.file}: row {name} was made with other settings ({'; '.join(different)}). Measure it with "
                f"--again to replace it, or keep both by --results FOLDER."
            )


def _came_later(key: str, value: Any) -> bool:
    """Return whether a setting is a hyperparameter at its default: rows from before it was one were made with that."""
    fields = Hyperparameters.model_fields
    section, _, name = key.rpartition(".")
    return section == "hyperparameters" and name in fields and bool(value == fields[name].default)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one mapping, such as `hyperparameters.epochs`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def script_parser(doc: str | None, name: str) -> argparse.ArgumentParser:
    """Return a parser that shows a script's own text as its help and knows the options that all benchmarks share."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rows", help="the rows to measure, separated by commas, * for any text; all unless given")
    parser.add_argument("--again", action="store_true", help="measure finished rows again, in place of what is known")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the rows; default: docs/results")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "results" / name, help=f"folder of checkpoints; default: results/{name}"
    )
    return parser


def read_rows(file: Path) -> dict[str, Row]:
    """Return the rows of a file by name, none when it is not there."""
    if not file.exists():
        return {}
    try:
        return {name: Row(**row) for name, row in json.loads(file.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError, ValidationError) as error:
        raise SystemExit(f"{file}: not a file of benchmark rows: {error}") from None


def write_row(file: Path, name: str, row: Row) -> None:
    """Put one row into a file, whole or not at all; rows that other processes write meanwhile stay."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        text = dump_rows(read_rows(file) | {name: row})
        draft = file.with_suffix(f".{os.getpid()}.partial")
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)


def dump_rows(rows: Rows) -> str:
    """Return rows as JSON with a line for each field, so that a difference shows what changed."""
    entries = []
    for name, row in rows.items():
        fields = row.model_dump(exclude_none=True)
        lines = [
            f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
            for key, value in fields.items()
        ]
        entries.append(f" {json.dumps(name, ensure_ascii=False)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def processor() -> str:
    """Return the processor's name and the widest vectors that PyTorch uses on it."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"


def command_of(arguments: list[str]) -> str:
    """Return the command that a script was called by, without what says where and which rows.

    Absolute paths are told by their last part, and addresses without user and password.
    """
    script, *rest = arguments
    kept: list[str] = []
    skip = False
    for argument in rest:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        if skip or option in ("--rows", "--results", "--work", "--again"):
            skip = not skip and option != "--again" and not equals
            continue
        value = Path(value).name if Path(value).is_absolute() else re.sub(r"//[^/@]*@", "//", value)
        kept.append(f"{option}{equals}{value}")
    file = Path(script).absolute()
    return shlex.join([f"scripts/benchmarks/{file.parent.name}/{file.name}", *kept])
