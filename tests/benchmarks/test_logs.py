"""The copies of logs that benchmarks train on."""

from pathlib import Path

import logs
import pandas as pd


def log(rows: list[tuple[int, int, int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["USER_ID", "ITEM_ID", "TIMESTAMP"])


def test_the_newest_tenth_is_rounded_up_and_the_rest_keeps_its_order() -> None:
    # User 1 has 11 events, newest first in the file: ceil(1.1) = 2 go. User 2 has one event, and it goes.
    events = log([(1, item, 100 - item) for item in range(11)] + [(2, 50, 7)])
    assert logs.without_newest_tenth(events).ITEM_ID.tolist() == list(range(2, 11))


def test_of_events_in_the_same_second_the_later_row_is_newer() -> None:
    events = log([(1, 5, 100), (1, 3, 100)])
    assert logs.without_newest_tenth(events).ITEM_ID.tolist() == [5]


def test_shuffling_ties_keeps_the_order_of_time() -> None:
    events = log([(1, item, item // 10) for item in range(100)])
    shuffled = logs.shuffle_ties(events, seed=0)
    assert shuffled.TIMESTAMP.tolist() == events.TIMESTAMP.tolist()
    assert shuffled.ITEM_ID.tolist() != events.ITEM_ID.tolist()
    assert sorted(shuffled.ITEM_ID) == events.ITEM_ID.tolist()
    assert not shuffled.equals(logs.shuffle_ties(events, seed=1))


def test_shuffling_ties_keeps_sessions_of_the_same_second_together() -> None:
    events = log([(1, item, 100) for item in range(40)]).assign(SESSION_ID=["a", "b"] * 20)
    sessions = logs.shuffle_ties(events, seed=0).SESSION_ID.tolist()
    assert sessions == ["a"] * 20 + ["b"] * 20


def test_rare_items_go_and_users_are_drawn() -> None:
    events = log([(1, 7, 1), (2, 7, 2), (3, 8, 3)])
    assert logs.frequent_items(events, 2).ITEM_ID.tolist() == [7, 7]
    assert logs.some_users(events, 0.67, seed=0).USER_ID.nunique() == 2
    assert logs.some_users(events, 1.0, seed=0).equals(events)


def test_a_copy_is_written_once(tmp_path: Path) -> None:
    log([(1, 7, 1), (1, 8, 2)]).to_csv(tmp_path / "log.csv", index=False)
    file = logs.write_copy(tmp_path / "log.csv", tmp_path / "new" / "copy.csv", lambda events: events.iloc[1:])
    assert file.read_text(encoding="utf-8") == "USER_ID,ITEM_ID,TIMESTAMP\n1,8,2\n"
    assert logs.write_copy(tmp_path / "log.csv", file, lambda events: events) == file
    assert len(pd.read_csv(file)) == 1
