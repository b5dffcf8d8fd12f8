"""The simulation of intervals: what is drawn, and that a narrow interval is told from a wide one."""

import numpy as np
import pytest

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.search.intervals import N_USERS, WAYS, measure, report, simulate


@pytest.mark.parametrize("again", [True, False])
def test_each_run_has_its_users_once(again: bool) -> None:
    users, runs, differences = simulate(np.random.default_rng(0), again, 3, 0.1)
    assert len(differences) == 3 * N_USERS
    each = [set(users[runs == run]) for run in range(3)]
    assert [len(one) for one in each] == [N_USERS] * 3
    assert (each[0] == each[1]) is again


def test_users_alone_miss_most_where_runs_are_lucky() -> None:
    found = measure(False, 3, 0.1, n_studies=60)
    assert found["users alone"] > 0.15 > found["ours"]


def test_the_table_tells_the_range_of_each_way() -> None:
    figures = dict.fromkeys(WAYS, 0.03)
    rows = {
        str(luck): Row(
            date="",
            processor="",
            threads=1,
            versions={},
            command="",
            settings={"again": False, "runs": 3, "luck": luck, "studies": 10},
            figures=figures | {"ours": 0.02 + luck},
        )
        for luck in (0.0, 0.01)
    }
    text = report(rows)
    assert "| others | 3 | none | 0.020 | 0.030 | 0.030 |" in text
    assert "ours 0.020 to 0.030, bootstrap 0.030 to 0.030" in text
