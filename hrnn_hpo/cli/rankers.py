"""Several rankers on the same users as one table: a row for each, the model first, with what it is ahead of the others.

All metrics stand in --json; a table has the few that fit on a line.
"""

from collections.abc import Mapping
from typing import Any

from hrnn_hpo.cli.output import print_note, print_table, results

OBJECTIVE = "ndcg_at_10"
VALUE_WEIGHTED = f"value_weighted_{OBJECTIVE}"
SHOWN = ("hit_rate_at_10", "mrr_at_25", "coverage")  # as many of them as a line of 120 characters has room for


def show_rankers(
    title: str,
    rows: Mapping[str, Mapping[str, float]],
    *,
    objective: str = OBJECTIVE,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    differences: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Print a row for each ranker: the objective, for repeats and new items apart and by value where known, and others.

    `intervals` are the objective's, by ranker; `differences` what the first row is ahead of each of the others.
    """
    apart = [name for name in (f"{OBJECTIVE}_repeats", f"{OBJECTIVE}_new") if _known(name, rows)]
    weighted = [VALUE_WEIGHTED] if _known(VALUE_WEIGHTED, rows) else []
    n_others = len(SHOWN) - (1 if intervals else 0) - (2 if apart and intervals else 1 if apart else 0) - len(weighted)
    others = [name for name in SHOWN if name != objective][: max(n_others, 0)]
    if objective != OBJECTIVE:
        others.insert(0, OBJECTIVE)
    columns = ["", f"{objective} (95 %)" if intervals else objective]
    columns += [name.removeprefix(f"{OBJECTIVE}_") for name in apart] + ["by value" for _ in weighted] + others
    if differences:
        columns += [f"{next(iter(rows))} minus (95 %)", "p"]
    lines = []
    for name, row in rows.items():
        low, high = (intervals or {}).get(name, (None, None))
        line: list[Any] = [name, interval(row.get(objective), low, high) if intervals else row.get(objective)]
        line += [row.get(metric) for metric in (*apart, *weighted, *others)]
        if differences:
            found = differences.get(name, {})
            line.append(interval(found.get("difference"), found.get("low"), found.get("high"), sign="+"))
            line.append(f"{found['p']:.3f}" if found else "-")
        lines.append(line)
    told = f"; {' and '.join(name.removeprefix(f'{OBJECTIVE}_') for name in apart)}: their {OBJECTIVE}" if apart else ""
    told += f"; by value: {VALUE_WEIGHTED}" if weighted else ""
    print_table(title + told, columns, lines)


def _known(metric: str, rows: Mapping[str, Mapping[str, float]]) -> bool:
    return any(metric in row for row in rows.values())


def show_baseline_notes(constants: Mapping[str, Mapping[str, Any]], left_out: Mapping[str, str]) -> None:
    """Print which constants the baselines have, and which were left out."""
    from hrnn_hpo.evaluation.baselines import constants_note, left_out_note

    if (told := constants_note(constants)) is not None:
        results.print(told, soft_wrap=True)
    if (told := left_out_note(left_out)) is not None:
        print_note(told)


def interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    """Return a figure with its interval, as far as they are known."""
    if value is None:
        return "-"
    if low is None or high is None:
        return f"{value:{sign}.4f}"
    return f"{value:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"
