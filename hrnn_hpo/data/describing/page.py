"""Figures of a log as one HTML page that opens offline, with charts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hrnn_hpo.data.describing.figures import Description
from hrnn_hpo.data.describing.text import facts_of, tables_of
from hrnn_hpo.errors import DataError, counted
from hrnn_hpo.files import unwritable, whole_file
from hrnn_hpo.pages.page import Html, chart, element, page, section, table
from hrnn_hpo.pages.svg import Axis, Plot, number_axis


def write_page(description: Description, path: Path, warnings: Sequence[str] = ()) -> Path:
    """Write the page; return the path. Raises DataError when the file cannot be written."""
    try:
        text = describe_page(description, warnings)
        with whole_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error, DataError) from error
    return path


def describe_page(description: Description, warnings: Sequence[str] = ()) -> str:
    """Return the HTML of all figures; `warnings` are what reading the log found strange."""
    name = description.name or "A log"
    gaps, protocols, tenths = tables_of(description)
    problems = [f"{p.protocol}: {p.problem}" for p in description.protocols if p.problem]
    facts = [list(fact) for fact in facts_of(description)[:-1]]  # the last one, the hash, stays on one line
    popular = [[item, count] for item, count in description.popularity.most_popular]
    return page(
        name,
        [
            element("h1", name),
            *(element("p", warning, "warning") for warning in warnings),
            section(
                "Figures",
                table(["", ""], [*facts, ["content hash", element("span", description.content_hash, "whole")]]),
            ),
            section(
                "History lengths",
                chart(_lengths(description)),
                "Users by their number of events. Very short histories teach popularity, very long ones are often "
                "robots: min_ and max_user_history_length_percentile leave them out of training.",
                table(
                    list(description.history_length_percentiles),
                    [[f"{length:g}" for length in description.history_length_percentiles.values()]],
                ),
            ),
            section("Events over time", chart(_over_time(description, "events")), *_as_table(tenths)),
            section(
                "New items over time",
                chart(_over_time(description, "cold")),
                "The share of the events of each tenth on items that had no event before it. A model that knows items "
                "by their past alone cannot recommend these.",
            ),
            section(
                "Popularity and its drift",
                chart(_over_time(description, "kept")),
                "The share of the 100 most popular items of each tenth that were among those of the tenth before.",
                table(["the most popular items", "events"], popular, names=frozenset({0})),
            ),
            section(gaps[0], chart(_sessions(description)), *_as_table(gaps)),
            section(protocols[0], *_as_table(protocols), *problems),
        ],
    )


def _as_table(content: tuple[str, list[str], list[list[str]]]) -> list[Html]:
    return [table(content[1], content[2])]


def _lengths(description: Description) -> str:
    groups = description.history_lengths
    edges = [*(group.shortest for group in groups), groups[-1].longest + 1]
    plot = Plot(
        "history lengths",
        Axis("events of a user", edges[0], edges[-1], log=edges[-1] > edges[0] > 0, whole=True),
        Axis("users", 0.0, max(group.n_users for group in groups) * 1.05, whole=True),
    )
    tips = [f"{group.shortest:,} to {group.longest:,} events: {counted(group.n_users, 'user')}" for group in groups]
    plot.bars(edges, [group.n_users for group in groups], tips)
    return plot.svg()


def _over_time(description: Description, what: str) -> str:
    """Return a chart over the tenths of the events; time runs by events, so that each tenth is as wide."""
    tenths = description.tenths
    labels = {"events": "events a day", "cold": "events on new items", "kept": "top items kept"}
    days = [max((t.last_timestamp - t.first_timestamp) / 86_400, 1 / 24) for t in tenths]
    values: list[float | None] = {
        "events": [t.n_events / day for t, day in zip(tenths, days, strict=True)],
        "cold": [t.cold_share for t in tenths],
        "kept": [t.kept_top for t in tenths],
    }[what]  # type: ignore[assignment]
    known = [value for value in values if value is not None]
    if not known:
        return ""
    up = number_axis(labels[what], [0.0, *known]) if what == "events" else Axis(labels[what], 0.0, 1.0)
    plot = Plot(labels[what], Axis("share of all events that came before", 0.0, 1.0), up, height=240)
    points = [((place + 0.5) / len(tenths), value) for place, value in enumerate(values) if value is not None]
    plot.line(points, "complete")
    for place, (tenth, value) in enumerate(zip(tenths, values, strict=True)):
        if value is not None:
            tip = f"from {_day(tenth.first_timestamp)}: {value:,.3g}"
            plot.dot((place + 0.5) / len(tenths), value, "complete", tip)
    return plot.svg()


def _sessions(description: Description) -> str:
    gaps = description.sessions_at_gaps
    plot = Plot(
        "sessions at several gaps",
        number_axis("pause that ends a session, in seconds", [g.session_gap for g in gaps], log=True),
        number_axis("sessions of a user", [0.0, *(g.sessions_per_user for g in gaps)]),
        height=240,
    )
    plot.line([(g.session_gap, g.sessions_per_user) for g in gaps], "complete")
    for g in gaps:
        tip = f"{g.session_gap:,} s: {g.sessions_per_user:.2f} sessions a user"
        plot.dot(
            g.session_gap,
            g.sessions_per_user,
            "winner" if g.session_gap == description.session_gap else "complete",
            tip,
        )
    return plot.svg()


def _day(timestamp: int) -> str:
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return str(timestamp)
