"""The filters: what they leave equals a log with these events alone, and the users drawn are the same each time."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from data_rows import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn_hpo.data.ingest import read_interactions, read_report
from hrnn_hpo.data.prepared import load_dataset, load_prepared, load_report, prepare
from hrnn_hpo.data.reading.options import read_options
from hrnn_hpo.data.synthetic import make_dataset, write_csv
from hrnn_hpo.errors import ConfigError, DataError

LOG = make_dataset(
    [
        [("a", 10, "view", 1.0, "s0"), ("b", 20, "buy", 3.0, "s0"), ("a", 30, "view", None, "s1")],
        [("b", 15, "view", 5.0, "s2"), ("c", 25, "cart", 3.0, "s2")],
        [("d", 40, None, 2.0, None)],
    ],
    extra_items=["z"],
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = write_csv(LOG, tmp_path / "log")
    (folder / "items.csv").write_text("ITEM_ID\na\nz\n")
    return folder


@pytest.mark.parametrize(
    ("options", "rows", "items", "filtered"),
    [
        ({"event_types": "buy,cart"}, [("u0", "b", 20), ("u1", "c", 25)], "abcz", {"event_types": 4}),
        ({"min_event_value": 3}, [("u0", "b", 20), ("u1", "b", 15), ("u1", "c", 25)], "abcz", {"min_event_value": 3}),
        ({"from_time": 15, "until_time": 30}, [("u0", "b", 20), ("u1", "b", 15), ("u1", "c", 25)], "abcz",
         {"from_time": 1, "until_time": 2}),
        ({"min_user_events": 3}, [("u0", "a", 10), ("u0", "b", 20), ("u0", "a", 30)], "abz", {"min_user_events": 3}),
        # c and d go, then u1 with one event, then b with one, then u0 keeps its two.
        ({"min_item_events": 2, "min_user_events": 2}, [("u0", "a", 10), ("u0", "a", 30)], "a",
         {"min_item_events": 3, "min_user_events": 1}),
    ],
)  # fmt: skip
def test_what_is_left_is_counted_and_items_of_the_table_stay(
    source: Path, options: dict[str, object], rows: list[tuple[str, str, int]], items: str, filtered: dict[str, int]
) -> None:
    dataset, report = read_report(source, read_options(**options))
    assert rows_of(dataset) == rows
    assert "".join(dataset.item_ids) == items
    assert report.filtered == filtered


def test_the_same_filters_on_prepared_data_give_the_same_data(source: Path, tmp_path: Path) -> None:
    options = {"event_types": ("view", "buy"), "min_item_events": 2}
    raw = load_dataset(source, **options)
    prepared = prepare(source, tmp_path / "whole")
    assert load_dataset(prepared, **options).content_hash == raw.content_hash
    again = prepare(prepared, tmp_path / "part", **options)
    assert load_prepared(again).content_hash == raw.content_hash
    told, report = load_report(again)
    assert told == {"event_types": ["view", "buy"], "min_item_events": 2}
    assert report.n_rows == 6
    assert sum(report.filtered.values()) == 6 - raw.n_events
    with pytest.raises(ConfigError, match="is prepared already: timestamps can be given with the files"):
        load_dataset(prepared, timestamps="iso")


def test_filters_on_files_and_the_files_of_what_is_left_agree(source: Path, tmp_path: Path) -> None:
    """Down to the hash: codes, sessions and types are numbered anew."""
    for number, kinds in enumerate(("view", "buy,cart", "cart")):
        part = read_interactions(source, event_types=kinds)
        folder = write_csv(part, tmp_path / str(number))
        assert read_interactions(folder).content_hash == part.content_hash


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event_types": "purchse"}, "'purchse' is no event type of the log; it has buy, cart, view"),
        ({"event_types": "vew"}, "'vew' is no event type of the log, did you mean 'view'"),
        ({"min_event_value": 9}, "no event is left: min_event_value left out the last 6 of 6 events"),
        ({"from_time": "2024-01-01"}, "no event is left: from_time left out the last 6 of 6 events"),
        ({"min_user_events": 4}, "no event is left: min_user_events left out the last 6 of 6 events"),
    ],
)
def test_filters_that_leave_nothing_or_fit_nothing_are_refused(
    source: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_interactions(source, **options)


def test_drawn_users_lie_inside_larger_parts_and_do_not_depend_on_others() -> None:
    from hrnn_hpo.data.reading.selection import _sampled

    ids = np.array([f"user {number}" for number in range(1000)])
    everyone = np.ones(1000, dtype=bool)
    drawn = {part: set(ids[_sampled(ids, everyone, part)]) for part in (0.05, 0.1, 0.5, 1.0)}
    assert [len(users) for users in drawn.values()] == [50, 100, 500, 1000]
    for smaller, larger in itertools.pairwise(drawn.values()):
        assert smaller < larger
    half = ids[::2]
    assert set(half[_sampled(half, np.ones(500, dtype=bool), 0.05)]) & drawn[0.05]


rows = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcd"), st.integers(1, 5), st.sampled_from(["view", "buy"])),
    min_size=1, max_size=25, unique=True,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(rows, st.integers(1, 3), st.integers(1, 3))
def test_minima_equal_a_literal_reference(log: list[tuple[str, str, int, str]], users: int, items: int) -> None:
    from hrnn_hpo.data.keeping.arrays import ArrayStore
    from hrnn_hpo.data.reading.encode import Encoded
    from hrnn_hpo.data.reading.selection import select

    names = sorted({row[0] for row in log})
    dataset = make_dataset([[row[1:] for row in log if row[0] == name] for name in names], user_ids=names)
    left = list(log)
    while True:
        kept = [r for r in left if sum(o[1] == r[1] for o in left) >= items]
        kept = [r for r in kept if sum(o[0] == r[0] for o in kept) >= users]
        if kept == left:
            break
        left = kept
    encoded = Encoded(dataset, np.zeros(dataset.n_items, dtype=np.bool_))
    options = read_options(min_user_events=users, min_item_events=items)
    if not left:
        with pytest.raises(DataError, match="no event is left"):
            select(encoded, options, ArrayStore())
        return
    selected = select(encoded, options, ArrayStore())[0].dataset
    assert sorted(rows_of(selected)) == sorted(row[:3] for row in left)
    assert sorted(selected.item_ids) == sorted({row[1] for row in left})


def test_amazons_filters_become_these() -> None:
    options = read_options(on_bad_rows="skip").with_solution_filters("purchase", "3.5")
    assert options.event_types == ("purchase",)
    assert options.min_event_value == 3.5
    assert options.on_bad_rows == "skip"
    assert read_options().with_solution_filters() == read_options()
    with pytest.raises(ConfigError, match=r"min_event_value: .* but got 'much'"):
        read_options().with_solution_filters(None, "much")
