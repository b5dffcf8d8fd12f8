"""The page of a report: style, skeleton, tables. It knows HTML and nothing of studies; it escapes what it is given.

The page refers to nothing outside itself, and its policy lets a browser load nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5d6778; --line: #d9dee7; --paper: #fff; --panel: #f5f7fa;
  --blue: #2f6fbb; --red: #c8352c; --grey: #9aa3b0; --amber: #fff4d6; --mark: #e6f0fb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --soft: #9aa5b5; --line: #363e4b; --paper: #151a21;
  --panel: #1d242e; --blue: #6aa5e8; --red: #ef6b61; --grey: #6c7686; --amber: #3d3417; --mark: #1e3148; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1100px;
  margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p.lead, p.note, figcaption { color: var(--soft); } p.note { font-size: .9rem; } p.lead { margin-top: 0; }
.verdict { background: var(--panel); border-left: 4px solid var(--blue); padding: .7rem 1rem; font-size: 1.05rem; }
.warning { background: var(--amber); padding: .5rem 1rem; }
.wide { overflow-x: auto; } .slices { display: flex; flex-wrap: wrap; gap: .5rem; } .slices svg { flex: 1 1 320px; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } td.number { text-align: right; white-space: nowrap; }
td.top { font-weight: 700; } tr.marked td { background: var(--mark); }
td { overflow-wrap: anywhere; min-width: 2.5rem; }
pre { background: var(--panel); padding: .7rem 1rem; overflow-x: auto; font-size: .85rem; }
summary { cursor: pointer; color: var(--blue); }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); } svg text.name { fill: var(--ink); }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .axis { stroke: var(--soft); stroke-width: 1; }
svg polyline { fill: none; stroke-linejoin: round; } svg .curve { stroke-width: 1; opacity: .75; }
svg .complete { fill: var(--blue); stroke: none; } svg .pruned, svg .other { fill: var(--grey); }
svg polyline.complete { stroke: var(--blue); fill: none; }
svg polyline.pruned, svg polyline.other { stroke: var(--grey); fill: none; }
svg .winner { fill: var(--red); } svg .best { stroke: var(--red); stroke-width: 2.2; opacity: 1; }
svg .bar { fill: var(--blue); } svg [class*=shade] { stroke: var(--blue); }
svg .shade0 { opacity: .15; } svg .shade1 { opacity: .25; } svg .shade2 { opacity: .4; } svg .shade3 { opacity: .6; }
svg .shade4 { opacity: .9; }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } svg { break-inside: avoid; } }
"""


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
    return Html(f"<{tag}{_class(style)}>{_inside(content)}</{tag}>")


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
    """Return a chart that scrolls where it is wider than the page."""
    return Html(f'<div class="wide">{svg}</div>' if svg else "")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    marked: int | None = None,
    top: frozenset[tuple[int, int]] = frozenset(),
) -> Html:
    """Return a table: numbers on the right with four decimals, one row marked, some cells (row, column) bold."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = []
    for i, row in enumerate(rows):
        cells = []
        for j, value in enumerate(row):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            style = " ".join(name for name, holds in (("number", is_number), ("top", (i, j) in top)) if holds)
            cells.append(f"<td{_class(style)}>{_inside(_cell(value))}</td>")
        lines.append(f"<tr{_class('marked' if i == marked else '')}>{''.join(cells)}</tr>")
    return Html(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>')


def _cell(value: Any) -> Any:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.3g}"
    return value


def _inside(content: Any) -> str:
    return content.text if isinstance(content, Html) else escape(str(content))


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""
