"""Markdown for MLflow's descriptions. What a user named comes through `escaped`, so that it is text and no syntax."""

import re
from collections.abc import Sequence
from typing import Any

_SYNTAX = re.compile(r"[\\`*_{}\[\]()#+!|<>&~$=:@^\"']")


def escaped(text: str) -> str:
    """Return a text that every renderer of Markdown shows as it is, on one line."""
    return _SYNTAX.sub(lambda found: f"&#{ord(found.group())};", " ".join(text.split()))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table: texts escaped, numbers with four decimals on the right."""
    lines = [f"| {' | '.join(escaped(column) for column in columns)} |"]
    numeric = [any(isinstance(row[i], float) for row in rows) for i in range(len(columns))]
    lines.append(f"| {' | '.join('---:' if right else '---' for right in numeric)} |")
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else escaped(str(value))
