"""The copies of logs that benchmarks train on."""

from pathlib import Path

import pandas as pd

from scripts.benchmarks.kit import logs


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


def test_the_five_core_is_left_when_nobody_has_less_and_a_second_is_in_order_of_item_numbers() -> None:
    # Item 9 has 4 events; without them user 1 has 4 and falls out too, and with that user one event of each item.
    rows = [(1, 9), (2, 9), (3, 9), (4, 9)] + [(user, item) for user in range(1, 8) for item in (10, 2, 3, 4)]
    rows += [(user, 5) for user in range(2, 8)]
    events = pd.DataFrame(rows, columns=["USER_ID", "ITEM_ID"]).assign(TIMESTAMP=7).astype({"ITEM_ID": str})
    left = logs.five_core(events)
    assert left.USER_ID.nunique() == 6
    assert left.ITEM_ID.drop_duplicates().tolist() == ["2", "3", "4", "5", "10"]
    assert len(left) == 30
