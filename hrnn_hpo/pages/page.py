"""The page of a report: style, skeleton, tables. It knows HTML and nothing of studies; it escapes what it is given.

The page refers to nothing outside itself, and its policy lets a browser load nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5d6778; --line: #d9dee7; --paper: #fff; --panel: #f5f7fa;
  --blue: #2f6fbb; --red: #c8352c; --grey: #9aa3b0; --amber: #fff4d6; --mark: #e6f0fb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --soft: #9aa5b5; --line: #363e4b; --paper: #151a21;
  --panel: #1d242e; --blue: #6aa5e8; --red: #ef6b61; --grey: #6c7686; --amber: #3d3417; --mark: #1e3148; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1180px;
  margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p.lead, p.note, figcaption { color: var(--soft); } p.note { font-size: .9rem; } p.lead { margin-top: 0; }
.verdict { background: var(--panel); border-left: 4px solid var(--blue); padding: .7rem 1rem; font-size: 1.05rem; }
.warning { background: var(--amber); padding: .5rem 1rem; }
.wide { overflow-x: auto; display: flex; flex-wrap: wrap; gap: .8rem 1.6rem; align-items: flex-start; }
.wide svg { flex: 1 1 100%; } .slices { display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); }
h1, p, li, td { overflow-wrap: break-word; } .whole { white-space: nowrap; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.number { text-align: right; } td.number { white-space: nowrap; }
td.top { font-weight: 700; } tr.marked td { background: var(--mark); }
td { min-width: 2.5rem; } td.note { min-width: 14rem; max-width: 30rem; overflow-wrap: anywhere; }
pre { background: var(--panel); padding: .7rem 1rem; white-space: pre-wrap; overflow-wrap: break-word;
  font-size: .85rem; }
summary { cursor: pointer; color: var(--blue); }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); paint-order: stroke; stroke: var(--paper);
  stroke-width: 3px; stroke-linejoin: round; } svg text.name { fill: var(--ink); }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .axis { stroke: var(--soft); stroke-width: 1; }
svg polyline { fill: none; stroke-linejoin: round; } svg .curve { stroke-width: 1; opacity: .75; }
svg .complete { fill: var(--blue); stroke: none; } svg .pruned, svg .other { fill: var(--grey); }
svg polyline.complete { stroke: var(--blue); fill: none; }
svg polyline.error { stroke: var(--grey); stroke-width: 1; opacity: 0.6; fill: none; }
svg polyline.pruned, svg polyline.other { stroke: var(--grey); fill: none; }
svg .winner { fill: var(--red); } svg .best { stroke: var(--red); stroke-width: 2.2; opacity: 1; }
svg .bar { fill: var(--blue); } svg [class*=shade] { stroke: var(--blue); }
svg .shade0 { opacity: .15; } svg .shade1 { opacity: .25; } svg .shade2 { opacity: .4; } svg .shade3 { opacity: .6; }
svg .shade4 { opacity: .9; }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } svg { break-inside: avoid; } }
"""
CHARACTER, PADDING = 8.4, 20  # pixels that a character and a cell's margins take, in the widest of the usual fonts
NARROW = 740  # pixels that a page of 800 has for a table
N_NAME = 40  # characters of a name that is never broken
N_NOTE = 40  # characters from which on a cell's text may take several lines
_SIGNED = re.compile(r"[−+-]?\d[\d.,]*%?")  # a number with its sign, written out
_NONE = ("-", "–")  # what stands for no number
_SPACES = re.compile(r"(\s+)")


@dataclass(frozen=True)
class Html:
    """Text that is HTML already; everything else is escaped."""

    text: str


def page(title: str, sections: Sequence[Html]) -> str:
    """Return a whole HTML document."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(section.text for section in sections if section.text)
        + "\n</body>\n</html>\n"
    )


def element(tag: str, content: Any, style: str = "") -> Html:
    """Return an element with a text, or with HTML, inside."""
    inside = escape(str(content)) if tag == "pre" else _inside(content)
    return Html(f"<{tag}{_class(style)}>{inside}</{tag}>")


def section(title: str, *parts: Html | str) -> Html:
    """Return a heading with what belongs under it; nothing where all parts are empty. A text becomes a note."""
    texts = [_inside(part if isinstance(part, Html) else element("p", part, "note")) for part in parts if part]
    if not any(texts):
        return Html("")
    return Html(f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(texts) + "\n</section>")


def folded(summary: str, content: Html) -> Html:
    """Return something that opens with a click."""
    return Html(f"<details><summary>{escape(summary)}</summary>{content.text}</details>")


def chart(svg: str) -> Html:
    """Return a chart as wide as the page."""
    return Html(f'<div class="wide">{svg}</div>' if svg else "")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    marked: int | None = None,
    top: frozenset[tuple[int, int]] = frozenset(),
    names: frozenset[int] = frozenset(),
) -> Html:
    """Return a table: numbers with four decimals, one row marked, some cells (row, column) bold.

    Columns of numbers alone stand on the right, those in `names` never: their numbers are names. A table that is too
    wide for a narrow page becomes several, which stand side by side where there is room; the first column begins each.
    """
    numbers = {j for j in range(len(columns)) if j not in names and _all_numbers([row[j] for row in rows])}
    blocks = []
    for block in _blocks(columns, rows):
        head = "".join(f"<th{_class('number' if j in numbers else '')}>{escape(columns[j])}</th>" for j in block)
        lines = []
        for i, row in enumerate(rows):
            cells = "".join(_table_cell(row[j], j in numbers, (i, j) in top) for j in block)
            lines.append(f"<tr{_class('marked' if i == marked else '')}>{cells}</tr>")
        blocks.append(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>")
    return Html(f'<div class="wide">{"".join(blocks)}</div>')


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[int]]:
    """Return which columns stand in which of the tables that a table becomes."""
    widths = [
        min(max(len(texts) for texts in (column, *(_shown(row[j]) for row in rows))), N_NOTE) * CHARACTER + PADDING
        for j, column in enumerate(columns)
    ]
    blocks, used = [[0]], widths[0]
    for j in range(1, len(columns)):
        if used + widths[j] > NARROW and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(j)
        used += widths[j]
    return blocks


def _all_numbers(values: Sequence[Any]) -> bool:
    """Return whether a column holds numbers, beside dashes for none, and nothing else."""
    known = [value for value in values if value is not None and value not in _NONE]
    return bool(known) and all(
        (isinstance(value, int | float) and not isinstance(value, bool))
        or (isinstance(value, str) and _SIGNED.fullmatch(value) is not None)
        for value in known
    )


def _table_cell(value: Any, is_number: bool, is_top: bool) -> str:
    is_note = isinstance(value, str) and len(value) > N_NOTE
    style = " ".join(name for name, holds in (("number", is_number), ("top", is_top), ("note", is_note)) if holds)
    return f"<td{_class(style)}>{_inside(_cell(value))}</td>"


def _shown(value: Any) -> str:
    return "" if isinstance(value, Html) else str(_cell(value))


def _cell(value: Any) -> Any:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.3g}"
    return value


def _inside(content: Any) -> str:
    """Return HTML; in a text, what holds a hyphen or a slash stays on one line, as long as it has a name's length."""
    if isinstance(content, Html):
        return content.text
    words = _SPACES.split(str(content))
    return "".join(f'<span class="whole">{escape(w)}</span>' if _breaks(w) else escape(w) for w in words)


def _breaks(word: str) -> bool:
    return len(word) <= N_NAME and any(sign in word[1:-1] for sign in "-/?")


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""
