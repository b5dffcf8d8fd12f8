"""Figures of a log as text for a rich console. Names in it are data: they are shown as they are."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hrnn_hpo.data.describing.figures import Description, time_text
from hrnn_hpo.errors import counted

if TYPE_CHECKING:
    from rich.console import RenderableType


def render(description: Description, shown: Callable[[str], str] = str) -> "RenderableType":
    """Return the figures as text: a table of facts, the histogram of history lengths, and tables.

    `shown` says what a terminal is to see of a text that holds names.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    name = Text(shown(description.name)) if description.name else None
    facts = Table(show_header=False, box=None, title=name, title_justify="left")
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")  # the hash stays whole
    for label, value in facts_of(description):
        facts.add_row(label, Text(shown(value)))  # names in it are no markup
    histogram = Table(title="History lengths", title_justify="left", box=None)
    for column in ("events", "users", "share", "up to here"):
        histogram.add_column(column, justify="right")
    histogram.add_column("")
    most = max(group.n_users for group in description.history_lengths)
    passed = 0
    for group in description.history_lengths:
        passed += group.n_users
        span = str(group.shortest) if group.shortest == group.longest else f"{group.shortest}-{group.longest}"
        histogram.add_row(
            span,
            f"{group.n_users:,}",
            f"{group.n_users / description.n_users:.1%}",
            f"{passed / description.n_users:.1%}",
            "█" * round(30 * group.n_users / most),
        )
    percentiles = Table(title="History length at each percentile", title_justify="left", box=None)
    for share in description.history_length_percentiles:
        percentiles.add_column(share, justify="right")
    percentiles.add_row(*(f"{length:g}" for length in description.history_length_percentiles.values()))
    problems = [Text(shown(f"{p.protocol}: {p.problem}")) for p in description.protocols if p.problem]
    return Group(
        facts,
        "",
        histogram,
        "",
        percentiles,
        *(part for title, columns, rows in tables_of(description) for part in ("", _table(title, columns, rows))),
        *("" for _ in problems[:1]),
        *problems,
    )


def tables_of(description: Description) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return (title, columns, rows) of the tables that come after the history lengths."""
    gaps = [
        [f"{g.session_gap:,} s", f"{g.n_sessions:,}", f"{g.sessions_per_user:.2f}", f"{g.events_per_session:.2f}"]
        for g in description.sessions_at_gaps
    ]
    protocols = [
        [p.protocol, f"{p.n_train:,}", f"{p.n_validation:,}", f"{p.n_test:,}", f"{p.n_validation_truth:,}"]
        for p in description.protocols
    ]
    tenths = [
        [
            time_text(t.first_timestamp).split()[0],
            f"{t.n_events:,}",
            f"{t.n_users:,}",
            f"{t.n_new_users:,}",
            f"{t.n_new_items:,}",
            f"{t.cold_share:.1%}",
            "-" if t.kept_top is None else f"{t.kept_top:.0%}",
        ]
        for t in description.tenths
    ]
    return [
        ("Sessions at other gaps", ["pause", "sessions", "per user", "events in one"], gaps),
        (
            "Users of each protocol (split seed 0)",
            ["protocol", "train", "validate", "test", "validation truth events"],
            protocols,
        ),
        (
            "Each tenth of the events: what is new, and how many of the 100 most popular items stay",
            ["from", "events", "users", "new users", "new items", "events on new items", "top items kept"],
            tenths,
        ),
    ]


def _table(title: str, columns: list[str], rows: list[list[str]]) -> "RenderableType":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def facts_of(description: Description) -> list[tuple[str, str]]:
    """Return (what, figure in words) for the table of facts."""
    d = description
    unused = d.n_items - d.n_items_used
    facts = [
        (
            "interactions",
            f"{d.n_interactions:,}"
            + (f" ({counted(d.n_duplicates, 'exact duplicate')} left out)" if d.n_duplicates else ""),
        ),
        ("users", f"{d.n_users:,}"),
        ("items", f"{d.n_items:,}" + (f" ({unused:,} without an interaction)" if unused else "")),
        (
            "sessions",
            f"{d.n_sessions:,} (a pause of {d.session_gap} s{' or a new SESSION_ID' * d.has_session_ids} ends one)",
        ),
        ("sessions per user", f"{d.sessions_per_user:.2f}"),
        ("events per session", f"{d.events_per_session:.2f}"),
        (
            "repeats",
            f"{d.repeat_share:.2%} of the events are on an item that the user had before (--seen auto: {d.seen})",
        ),
        ("ties", f"{d.tie_share:.2%} of the events share the second of the event before"),
        ("from", time_text(d.first_timestamp)),
        ("until", time_text(d.last_timestamp)),
    ]
    p = d.popularity
    facts.append(
        (
            "popularity",
            f"the top 1 % of the items have {p.top_1_percent:.1%} of the events, "
            f"{counted(p.n_items_for_half, 'item')} half of them; "
            f"{counted(p.n_items_once, 'item')} just one",
        )
    )
    if d.event_types:
        facts.append(
            ("event types", ", ".join(f"{name or '(none)'} {count:,}" for name, count in d.event_types.items()))
        )
    if d.event_value_share:
        quantiles = ", ".join(f"{value:,.7g}" for value in d.event_value_quantiles.values())
        facts.append(
            (
                "event values",
                f"{d.event_value_share:.1%} of the events have one (quartiles from least to most: {quantiles})",
            )
        )
    return [*facts, ("content hash", d.content_hash)]
