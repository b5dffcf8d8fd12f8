"""Figures of a log, counted by hand."""

import json
import re
from dataclasses import replace
from html import escape
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hrnn_hpo.cli.output import PlainConsole, visible
from hrnn_hpo.data.describing.figures import describe
from hrnn_hpo.data.describing.page import _lengths, describe_page, write_page
from hrnn_hpo.data.describing.picture import plot
from hrnn_hpo.data.describing.text import render
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.errors import DataError, RunFailedError
from hrnn_hpo.pages.page import table


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


def test_the_largest_values_and_times_are_shown_whole() -> None:
    log = make_dataset([[("a", 0, None, -3e38), ("b", 1, None, 3e38), ("c", 2**63 - 1, None, 3e38)]])
    figures = describe(log)
    assert list(figures.event_value_quantiles.values()) == pytest.approx([-3e38, 0.0, 3e38, 3e38, 3e38], abs=1e32)
    written = StringIO()
    Console(width=200, file=written).print(render(figures))
    shown = written.getvalue().split("temporal: ")[0]  # what follows says why the log cannot be cut in time
    assert shown.count(str(2**63 - 1)) == 2  # the last time, and the last tenth's day


def test_the_plot_is_a_picture(dataset: Dataset, tmp_path: Path) -> None:
    path = plot(describe(dataset), tmp_path / "deep" / "lengths.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_plot_without_an_ending_is_a_png_of_that_name(dataset: Dataset, tmp_path: Path) -> None:
    assert plot(describe(dataset), tmp_path / "lengths").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["lengths"]


def test_a_plot_that_cannot_be_written_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        plot(describe(dataset), Path("/dev/full"))
    with pytest.raises(DataError, match=r"cannot be written \(Is a directory\)"):
        plot(describe(dataset), tmp_path)
    with pytest.raises(DataError, match=r"lengths\.xyz: the picture cannot be written"):
        plot(describe(dataset), tmp_path / "lengths.xyz")


def test_many_users_are_described_in_groups_that_grow() -> None:
    lengths = np.arange(1, 60)
    groups = describe(make_dataset([[("a", 0)] * n for n in lengths])).history_lengths
    assert [(group.shortest, group.longest) for group in groups][-3:] == [(21, 31), (32, 47), (48, 71)]


# What one needs to choose: gaps, popularity, drift, protocols.


def test_sessions_are_counted_at_several_gaps_and_the_one_asked_for(dataset: Dataset) -> None:
    figures = describe(dataset, 10)
    assert [(found.session_gap, found.n_sessions) for found in figures.sessions_at_gaps] == [
        (10, 6),
        (300, 5),
        (900, 5),
        (1800, 5),
        (3600, 5),
        (21600, 3),
        (86400, 3),
    ]


def test_popularity_is_counted_by_hand() -> None:
    figures = describe(
        make_dataset([[("a", t) for t in range(6)], [("b", 1), ("b", 2), ("c", 3), ("d", 4)]])
    ).popularity
    assert figures.top_1_percent == figures.top_10_percent == 6 / 10  # one item of four
    assert figures.n_items_for_half == 1
    assert figures.n_items_once == 2
    assert figures.most_popular == (("a", 6), ("b", 2), ("c", 1), ("d", 1))
    # Gini of 1, 1, 2, 6: mean absolute difference over twice the mean, (0+1+5+1+5+4) x 2 / 16 / 5
    assert figures.gini == pytest.approx(32 / 16 / 2 / 2.5)


def test_tenths_tell_what_is_new_and_what_stays() -> None:
    """Twenty events, two in each tenth: item x all the time, and every tenth an item of its own."""
    rows = [(item, 10 * step + place) for step in range(10) for place, item in enumerate(("x", f"n{step}"))]
    figures = describe(make_dataset([rows[:10], rows[10:]])).tenths
    assert [tenth.n_events for tenth in figures] == [2] * 10
    assert [tenth.n_new_items for tenth in figures] == [2] + [1] * 9
    assert [tenth.cold_share for tenth in figures] == [1.0] + [0.5] * 9
    assert [tenth.kept_top for tenth in figures] == [None] + [0.5] * 9
    assert [tenth.n_new_users for tenth in figures] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert figures[1].first_timestamp == 10


def test_users_of_each_protocol_are_those_of_the_split() -> None:
    log = make_dataset([[("a", 10 * user + step) for step in range(4)] for user in range(30)])
    found = {users.protocol: users for users in describe(log).protocols}
    assert list(found) == ["personalize", "personalize-last", "leave-one-out", "newest-tenth", "temporal"]
    assert (found["personalize"].n_train, found["personalize"].n_validation, found["personalize"].n_test) == (24, 3, 3)
    assert found["leave-one-out"].n_validation == found["leave-one-out"].n_validation_truth == 30
    small = {users.protocol: users for users in describe(make_dataset([[("a", 1)]])).protocols}
    assert "two or more events" in small["personalize"].problem
    written = StringIO()
    Console(width=300, file=written).print(render(describe(make_dataset([[("a", 1)]]))))
    assert "temporal: A split wants users with two or more events, but none of 1 has them." in written.getvalue()


def test_event_values_have_quartiles_and_repeats_say_what_seen_does() -> None:
    figures = describe(make_dataset([[("a", 0, None, 1.0), ("b", 1, None, 3.0), ("a", 2)]]))
    assert figures.event_value_quantiles == {"0": 1.0, "0.25": 1.5, "0.5": 2.0, "0.75": 2.5, "1": 3.0}
    assert figures.seen == "keep"
    assert describe(make_dataset([[("a", 0), ("b", 1)]])).seen == "remove"


HOSTILE = ["[cart]", "[/b]", "[bold]x", "$\\frac{1}{2}$", "<script>alert(1)</script>", "a&b", "100 %", "{x}", "\\[red]"]


def test_a_terminal_obeys_no_name() -> None:
    name = "\x1b[31mred\x1b]0;owned\x07"
    figures = describe(make_dataset([[("a", 0, name), ("b", 1, name)]], name=name))
    written = StringIO()
    PlainConsole(width=300, file=written).print(render(figures, visible))
    assert "\x1b" not in written.getvalue()
    assert written.getvalue().count(visible(name)) == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_shown_as_they_are(name: str, tmp_path: Path) -> None:
    figures = describe(make_dataset([[(name, 0, name), ("b", 1, name)]], name=name))
    written = StringIO()
    Console(width=300, file=written).print(render(figures))
    assert f"event types {name} 2".replace(" ", "") in written.getvalue().replace(" ", "")
    assert written.getvalue().startswith(name)
    page = describe_page(figures)
    assert re.search(f"<h1>(<span[^>]*>)?{re.escape(escape(name))}(</span>)?</h1>", page)
    assert "<script" not in page
    assert plot(figures, tmp_path / "lengths.png").is_file()


def test_a_dollar_in_a_plot_is_text(dataset: Dataset, tmp_path: Path) -> None:
    named = replace(describe(dataset), name="costs $5 or $\\frac{1}{ $6")
    assert plot(named, tmp_path / "lengths.png").is_file()


def test_the_page_opens_offline_and_shows_everything(dataset: Dataset, tmp_path: Path) -> None:
    path = write_page(describe(dataset), tmp_path / "deep" / "log.html", ["2 events lie at time 0."])
    page = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|src=|url\(", page)
    assert page.count("<svg") == 5
    for part in ("History lengths", "Events over time", "Popularity and its drift", "personalize", "2 events lie at"):
        assert part in page
    with pytest.raises(DataError, match="cannot be written"):
        write_page(describe(dataset), tmp_path)


def test_numbers_stand_on_the_right_and_names_on_the_left(tmp_path: Path) -> None:
    """An item named 50 is no number; 1,123 and a dash among numbers are."""
    log = make_dataset([[("50", 0), ("50", 1), ("7", 2)], [("50", 3)]])
    page = describe_page(describe(log))
    assert re.search(r"<td>(<span[^>]*>)?50(</span>)?</td><td class=\"number\">3</td>", page)
    assert "1 item just one" in page
    shown = table(["item", "events", "kept"], [["a", "1,123", "-"], ["b", "45", "81%"]]).text
    assert '<th>item</th><th class="number">events</th><th class="number">kept</th>' in shown
    assert '<td class="number">1,123</td><td class="number">-</td>' in shown
    assert "number" not in table(["", ""], [["users", "943"], ["items", "1,682 (3 unused)"]]).text


def test_lengths_are_labelled_by_whole_numbers() -> None:
    labels = re.findall(r">([\d.]+)</text>", _lengths(describe(make_dataset([[("a", 0), ("b", 60)], [("a", 30)]]))))
    assert labels
    assert all(label.isdigit() for label in labels)
