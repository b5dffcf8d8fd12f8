"""Rows of results as Markdown: tables, means with their errors, and where the figures come from."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scripts.benchmarks.kit.rows import Row, Rows

SHOWN_VERSIONS = {"torch": "PyTorch", "hrnn-hpo": "hrnn-hpo", "python": "Python"}

# A figure is a number, or the mean of several seeds as it was published: {"mean": 0.1411, "error": 0.0016}.
Figure = float | Mapping[str, float]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table, floats with three digits."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += [
        "| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |"
        for row in rows
    ]
    return "\n".join(lines)


def mean(figures: Sequence[Figure]) -> float:
    """Return the mean of the seeds' figures, or the published one."""
    published = _published(figures)
    return published["mean"] if published else statistics.mean(_numbers(figures))


def error(figures: Sequence[Figure]) -> float:
    """Return the standard error of the mean of the seeds' figures, or the published one; NaN for a single seed."""
    published = _published(figures)
    if published:
        return published["error"]
    return statistics.stdev(_numbers(figures)) / math.sqrt(len(figures)) if len(figures) > 1 else math.nan


def _published(figures: Sequence[Figure]) -> Mapping[str, float] | None:
    return figures[0] if len(figures) == 1 and isinstance(figures[0], Mapping) else None


def _numbers(figures: Sequence[Figure]) -> list[float]:
    assert not any(isinstance(figure, Mapping) for figure in figures), "seeds and published means do not mix"
    return [figure for figure in figures if not isinstance(figure, Mapping)]


def mean_and_error(figures: Sequence[Figure]) -> str:
    """Return "mean ± standard error", the error a dash for a single value."""
    spread = error(figures)
    return f"{mean(figures):.4f} ± {'–' if math.isnan(spread) else f'{spread:.4f}'}"


def paired_gain(values: Sequence[Any], base: Sequence[Any]) -> str:
    """Return the mean ± standard error of values minus those of a base, pair by pair; empty where one is missing."""
    if not values or len(values) != len(base) or None in [*values, *base]:
        return ""
    return mean_and_error([value - own for value, own in zip(values, base, strict=True)])


def verdict(reached: bool) -> str:
    """Return the word that says whether a goal is met."""
    return "reached" if reached else "missed"


def of_seeds(rows: "Rows", name: str, seeds: Sequence[int]) -> "list[Row]":
    """Return the rows NAME-SEED when all seeds are finished, else the published row NAME if there is one."""
    single = [rows[f"{name}-{seed}"] for seed in seeds if f"{name}-{seed}" in rows]
    if len(single) == len(seeds):
        return single
    return [rows[name]] if name in rows else []


def all_of(rows: "Sequence[Row]", one: str, many: str) -> list[Any]:
    """Return a figure of each seed: each row's `one`, or the list that the published row has as `many`."""
    if many in rows[0].figures:
        return list(rows[0].figures[many])
    return [row.figures[one] for row in rows]


def sources(rows: "Rows") -> str:
    """Return days, machine and versions of the rows, a line for each machine, and the commands below them."""
    days: dict[str, set[str]] = {}
    for row in rows.values():
        threads = f"{row.threads} thread{'s' * (row.threads != 1)}"
        versions = [f"{label} {row.versions[key]}" for key, label in SHOWN_VERSIONS.items() if key in row.versions]
        machine = ", ".join([row.processor, *([row.accelerator] if row.accelerator else []), threads, *versions])
        days.setdefault(machine, set()).add(row.date)
    lines = [f"{' to '.join(sorted({min(found), max(found)}))}, {machine}" for machine, found in days.items()]
    commands = dict.fromkeys(line for row in rows.values() for line in row.command.splitlines())
    return "\\\n".join(lines) + "\n\n" + "\n".join(f"    {command}" for command in commands)
