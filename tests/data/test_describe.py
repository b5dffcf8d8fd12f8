"""Figures of a log, counted by hand."""

import json
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hrnn_hpo.data.describe import describe, plot, render
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.errors import DataError


def test_figures_of_a_small_log(dataset: Dataset) -> None:
    figures = describe(dataset, 1800)
    assert (figures.n_interactions, figures.n_users, figures.n_items, figures.n_items_used) == (8, 3, 4, 3)
    assert figures.n_sessions == 5  # u0: 0, 4000; u1: 5, 5000; u2: 7
    assert figures.sessions_per_user == pytest.approx(5 / 3)
    assert figures.events_per_session == pytest.approx(8 / 5)
    assert figures.repeat_share == pytest.approx(2 / 8)  # u0's second a, u1's second b
    assert figures.tie_share == pytest.approx(1 / 8)  # u0 at 10
    assert (figures.first_timestamp, figures.last_timestamp) == (0, 5001)
    assert [(group.shortest, group.longest, group.n_users) for group in figures.history_lengths] == [
        (1, 1, 1),
        (2, 2, 0),
        (3, 3, 1),
        (4, 5, 1),
    ]
    assert figures.history_length_percentiles["0.5"] == 3.0
    assert figures.event_types == {}
    assert figures.event_value_share == 0.0


def test_event_types_and_values_are_counted() -> None:
    figures = describe(make_dataset([[("a", 0, "view", 1.0), ("b", 1, "view"), ("a", 2)], [("a", 3, "buy")]]))
    assert figures.event_types == {"": 1, "buy": 1, "view": 2}
    assert figures.event_value_share == 1 / 4


def test_the_session_gap_is_a_setting(dataset: Dataset) -> None:
    assert describe(dataset, 10).n_sessions == 6
    assert describe(dataset, 10_000).n_sessions == 3


def test_what_ends_a_session_is_said() -> None:
    def told(session: str | None) -> str:
        written = StringIO()
        log = make_dataset([[("a", 0, None, None, "s0"), ("b", 1, None, None, session)]] if session else [[("a", 0)]])
        Console(width=120, file=written).print(render(describe(log)))
        return written.getvalue()

    assert "2 (a pause of 1800 s or a new SESSION_ID ends one)" in told("s1")
    assert "1 (a pause of 1800 s or a new SESSION_ID ends one)" in told("s0")
    assert "1 (a pause of 1800 s ends one)" in told(None)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_the_histogram_counts_every_user_once_in_groups_that_touch(lengths: list[int]) -> None:
    groups = describe(make_dataset([[("a", 0)] * length for length in lengths])).history_lengths
    assert sum(group.n_users for group in groups) == len(lengths)
    for group in groups:
        assert group.n_users == sum(group.shortest <= length <= group.longest for length in lengths)
    for one, following in pairwise(groups):
        assert one.longest + 1 == following.shortest
    assert groups[0].n_users
    assert groups[-1].n_users


def test_the_table_shows_figures_histogram_and_percentiles(dataset: Dataset) -> None:
    written = StringIO()
    Console(width=120, file=written).print(render(describe(replace(dataset, n_duplicates=3))))
    text = written.getvalue()
    assert "8 (3 exact duplicates left out)" in text
    assert "4 (1 without an interaction)" in text
    assert "1970-01-01 01:23:21 UTC" in text
    assert dataset.content_hash in text
    assert "History length at each percentile" in text


def test_the_description_is_plain_json(dataset: Dataset) -> None:
    figures = json.loads(json.dumps(describe(dataset).to_dict()))
    assert figures["n_interactions"] == 8
    assert figures["history_lengths"][0] == {"shortest": 1, "longest": 1, "n_users": 1}
    assert figures["last_time"] == "1970-01-01 01:23:21 UTC"


def test_times_beyond_the_calendar_are_shown_with_a_hint() -> None:
    figures = describe(make_dataset([[("a", 978_300_760_000_000)]])).to_dict()
    assert figures["last_time"] == "978300760000000 (beyond the calendar: are these seconds?)"


def test_the_plot_is_a_picture(dataset: Dataset, tmp_path: Path) -> None:
    path = plot(describe(dataset), tmp_path / "deep" / "lengths.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lengths\.xyz: the picture cannot be written"):
        plot(describe(dataset), tmp_path / "lengths.xyz")


def test_many_users_are_described_in_groups_that_grow() -> None:
    lengths = np.arange(1, 60)
    groups = describe(make_dataset([[("a", 0)] * n for n in lengths])).history_lengths
    assert [(group.shortest, group.longest) for group in groups][-3:] == [(21, 31), (32, 47), (48, 71)]
