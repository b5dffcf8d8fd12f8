"""Puts the tables of docs/results/*.json into docs/benchmarks.md, between the marks that name them.

Run: .venv/bin/python scripts/benchmarks/publish.py [--check]

`<!-- table: NAME -->` … `<!-- end -->` holds what the `report` function of the benchmark NAME.py makes of
docs/results/NAME.json, below the machine and the command that the rows tell of. `<!-- table: NAME KEY=VALUE -->` takes
the rows with this setting alone. Everything outside the marks is written by hand and left alone. `--check` changes
nothing and fails when the document says something else than the rows, or when a row is in no table.
"""

import argparse
import difflib
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

from scripts.benchmarks.kit.rows import BENCHMARKS, RESULTS, ROOT, read_rows
from scripts.benchmarks.kit.tables import sources

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BLOCK = re.compile(r"<!-- table: (?P<name>\w+)(?P<filters>(?: [\w-]+=\S+)*) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)
MARK = re.compile(r"<!-- (table\b|end\b)")


def filled(text: str, folder: Path = RESULTS) -> str:
    """Return a document with its tables made anew; SystemExit tells of marks without a pair and of rows left out."""
    if len(MARK.findall(text)) != 2 * len(BLOCK.findall(text)):
        raise SystemExit(
            "each `<!-- table: NAME -->` must have its `<!-- end -->`, and nothing else may look like one."
        )
    shown: dict[str, set[str]] = {}

    def fill(match: re.Match[str]) -> str:
        name, filters = match["name"], dict(pair.split("=", 1) for pair in match["filters"].split())
        rows = {
            key: row
            for key, row in read_rows(folder / f"{name}.json").items()
            if all(str(row.settings.get(setting)) == value for setting, value in filters.items())
        }
        if not rows:
            raise SystemExit(f"<!-- table: {name}{match['filters']} -->: no row of {folder / name}.json fits.")
        shown.setdefault(name, set()).update(rows)
        body = benchmark(name).report(rows)
        opening = match[0].partition("\n")[0]
        return f"{opening}\n{sources(rows)}\n\n{body.strip()}\n<!-- end -->"

    text = BLOCK.sub(fill, text)
    hidden = [
        f"{file.name}: {row}"
        for file in sorted(folder.glob("*.json"))
        for row in read_rows(file)
        if row not in shown.get(file.stem, ())
    ]
    if hidden:
        raise SystemExit("no table of the document shows these rows:\n" + "\n".join(hidden))
    return text


def benchmark(name: str) -> ModuleType:
    """Return the module of a benchmark, whichever folder it lies in."""
    files = list(BENCHMARKS.glob(f"*/{name}.py"))
    if len(files) != 1:
        raise SystemExit(f"docs/results/{name}.json: one benchmark of this name must be in {BENCHMARKS}/*/.")
    return importlib.import_module(f"scripts.benchmarks.{files[0].parent.name}.{name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; show what differs, and fail if it does")
    options = parser.parse_args()
    text = DOCUMENT.read_text(encoding="utf-8")
    new = filled(text)
    if options.check:
        names = str(DOCUMENT.relative_to(ROOT)), "what docs/results says"
        sys.stdout.writelines(difflib.unified_diff(text.splitlines(True), new.splitlines(True), *names, n=1))
        sys.exit(text != new)
    DOCUMENT.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
