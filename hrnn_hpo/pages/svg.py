"""Axes, dots, lines and bars as inline SVG: what the charts of a page are drawn with.

Plain text that a browser shows without a script; its colours are the page's style classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

Point = tuple[float, float]
_TOP, _RIGHT, _BOTTOM, _LEFT = 10, 14, 42, 62  # margins in pixels
PAGE = 900  # units across a chart, which a browser stretches over the page
_CHARACTER = 6.9  # units that a letter of a label takes


@dataclass(frozen=True)
class Axis:
    """A direction of a chart: numbers between two ends, perhaps on a log scale, or a row of choices."""

    label: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    whole: bool = False  # only whole numbers are labelled
    show: Callable[[Any], str] = str  # how a choice is written

    def place(self, value: Any) -> float | None:
        """Return where a value lies, 0 = low end, 1 = high end; None for one that the axis does not know."""
        if self.choices:
            index = next((i for i, choice in enumerate(self.choices) if _same(choice, value)), None)
            return None if index is None else (index + 0.5) / len(self.choices)
        if not isinstance(value, int | float) or not math.isfinite(value) or (self.log and value <= 0):
            return None
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, n: int = 5) -> list[tuple[float, str]]:
        """Return about n places with their texts."""
        if self.choices:
            return [((i + 0.5) / len(self.choices), self.show(choice)) for i, choice in enumerate(self.choices)]
        values = (
            _log_ticks(self.low, self.high, n, self.whole)
            if self.log
            else _linear_ticks(self.low, self.high, n, self.whole)
        )
        places = [(self.place(value), f"{value:.6g}") for value in values]
        return [(place, text) for place, text in places if place is not None]


def number_axis(
    label: str, values: Sequence[float], *, log: bool = False, margin: float = 0.04, whole: bool = False
) -> Axis:
    """Return an axis that shows all finite values, with a margin on a linear scale."""
    known = [float(value) for value in values if math.isfinite(value) and (not log or value > 0)] or [1.0]
    low, high = min(known), max(known)
    if log:
        return Axis(label, low, high, log=low < high)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return Axis(label, low - room, high + room, whole=whole)


@dataclass
class Plot:
    """A chart with two axes that marks are added to."""

    title: str
    x: Axis
    y: Axis
    width: int = PAGE
    height: int = 340
    marks: list[str] = field(default_factory=list)

    def dot(self, x: Any, y: Any, style: str, tip: str = "", radius: float = 3.5) -> None:
        """Add a dot; `tip` is shown under the pointer. Values outside the axes' knowledge are left out."""
        at = self._at(x, y)
        if at is not None:
            self.marks.append(
                f'<circle class="{style}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius}">{_tip(tip)}</circle>'
            )

    def range(self, x: Any, low: float, high: float, style: str) -> None:
        """Add an upright line from a low to a high value, such as a score with its standard error either way."""
        self.line([(x, max(low, self.y.low)), (x, min(high, self.y.high))], style)

    def line(self, points: Sequence[tuple[Any, Any]], style: str, tip: str = "") -> None:
        """Add a line through points."""
        places = [at for at in (self._at(x, y) for x, y in points) if at is not None]
        self.marks.append(polyline(places, style, tip))

    def bars(self, edges: Sequence[Any], heights: Sequence[float], tips: Sequence[str]) -> None:
        """Add bars that stand on the low end of the y axis, one between each edge and the next."""
        for left, right, height, tip in zip(edges[:-1], edges[1:], heights, tips, strict=True):
            low, high = self._at(left, self.y.low), self._at(right, height)
            if low is not None and high is not None:
                size = f'width="{max(high[0] - low[0] - 1, 1):.1f}" height="{max(low[1] - high[1], 0):.1f}"'
                self.marks.append(f'<rect class="bar" x="{low[0]:.1f}" y="{high[1]:.1f}" {size}>{_tip(tip)}</rect>')

    def svg(self) -> str:
        """Return the chart."""
        left, right, top, bottom = _LEFT, self.width - _RIGHT, _TOP, self.height - _BOTTOM
        parts = []
        for place, text in self.y.ticks():
            y = bottom - place * (bottom - top)
            parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(label(left - 6, y + 4, text, "end"))
        ticks = [(left + place * (right - left), text) for place, text in self.x.ticks(max(3, self.width // 110))]
        rows = in_rows(ticks, self.width)
        for (x, text), (middle, row) in zip(ticks, rows, strict=True):
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
            if row <= (1 if self.x.choices else 0):  # numbers between others can be guessed
                parts.append(label(middle, bottom + 14 + 12 * row, text, "middle"))
        parts += self.marks
        parts.append(label((left + right) / 2, self.height - 6, self.x.label, "middle", "name"))
        middle = (top + bottom) / 2
        turned = f'transform="rotate(-90 13 {middle:.0f})"'
        parts.append(label(13, middle, self.y.label, "middle", "name", turned))
        return picture(self.title, self.width, self.height, parts)

    def _at(self, x: Any, y: Any) -> Point | None:
        across, up = self.x.place(x), self.y.place(y)
        if across is None or up is None:
            return None
        bottom = self.height - _BOTTOM
        return _LEFT + across * (self.width - _RIGHT - _LEFT), bottom - up * (bottom - _TOP)


def picture(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    """Return an SVG element that is as wide as its place on the page."""
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    return head + "".join(parts) + "</svg>"


def text_width(text: str) -> float:
    """Return about how many units a label takes, in the widest of the usual fonts."""
    return len(text) * _CHARACTER


def in_rows(labels: Sequence[tuple[float, str]], width: float) -> list[tuple[float, int]]:
    """Return where each label (x, text) stands: its middle, moved inside the picture, and the first row with room."""
    ends: list[float] = []
    found = []
    for x, text in labels:
        half = text_width(text) / 2
        middle = max(min(x, width - half - 2), half + 2)
        row = next((i for i, end in enumerate(ends) if middle - half > end + 6), len(ends))
        ends[row : row + 1] = [middle + half]
        found.append((middle, row))
    return found


def polyline(points: Sequence[Point], style: str, tip: str = "") -> str:
    """Return a line through pixels; nothing for fewer than two."""
    if len(points) < 2:
        return ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{style}" points="{path}">{_tip(tip)}</polyline>'


def label(x: float, y: float, text: str, anchor: str, style: str = "tick", more: str = "") -> str:
    """Return a text at a place in pixels."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _same(one: Any, other: Any) -> bool:
    """Return whether two choices are one: in Python, True equals 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _linear_ticks(low: float, high: float, n: int, whole: bool) -> list[float]:
    if not low < high:
        return [low]
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, n: int, whole: bool) -> list[float]:
    """Return powers of ten where there are enough of them, else 1-2-5, else the ends and their middle."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        found = [factor * 10.0**power for power in decades for factor in factors]
        found = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(found) >= 3:
            return found[:: math.ceil(len(found) / (n + 1))]
    ends = [low, math.sqrt(low * high), high]
    return sorted({float(round(value)) for value in ends if low <= round(value) <= high}) if whole else ends
