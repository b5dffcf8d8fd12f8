"""Intervals of mean differences of users in runs: what they are by hand, and how often they miss."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from hrnn_hpo.study.confirm.intervals import crossed_intervals

Rows = NDArray[np.int64]


def interval(differences: NDArray[np.float64], users: Rows, runs: Rows, level: float = 0.95) -> tuple[float, float]:
    [found] = crossed_intervals(differences[None], users, runs, level=level)
    assert found is not None
    return found


def of_t(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the interval of Student's t for values that are independent."""
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


def test_one_run_or_one_figure_a_run_has_students_interval() -> None:
    values = np.array([0.3, -0.1, 0.2, 0.0, 0.4])
    ids = np.arange(5)
    assert interval(values, ids, np.zeros(5, dtype=np.int64)) == pytest.approx(of_t(values))
    assert interval(values, ids, ids) == pytest.approx(of_t(values))


def test_where_runs_alone_differ_they_are_the_units() -> None:
    luck = np.array([0.3, -0.1, 0.2])
    users, runs = np.tile(np.arange(4), 3), np.repeat(np.arange(3), 4)
    assert interval(luck[runs], users, runs) == pytest.approx(of_t(luck))


def test_where_users_alone_differ_they_are_the_units() -> None:
    tastes = np.array([0.3, -0.1, 0.2, 0.0, 0.4])
    users, runs = np.tile(np.arange(5), 3), np.repeat(np.arange(3), 5)
    assert interval(tastes[users], users, runs) == pytest.approx(of_t(tastes))


def test_equal_differences_leave_no_room_and_a_single_user_says_nothing() -> None:
    users, runs = np.tile(np.arange(4), 2), np.repeat([0, 1], 4)
    assert interval(np.full(8, 0.25), users, runs) == (0.25, 0.25)
    assert crossed_intervals(np.array([[0.1, 0.2]]), np.array([7, 7]), np.array([0, 1]), level=0.95) == [None]


def test_several_rows_have_the_intervals_that_they_have_alone() -> None:
    differences = np.random.default_rng(0).normal(0.1, 0.2, (3, 40))
    users, runs = np.tile(np.arange(20), 2), np.repeat([0, 1], 20)
    together = crossed_intervals(differences, users, runs, level=0.9)
    assert together == [interval(one, users, runs, level=0.9) for one in differences]


@pytest.mark.parametrize("again", [False, True], ids=["other users in each run", "the same users in each run"])
@pytest.mark.parametrize("luck", [0.0, 0.02, 0.1], ids=["no luck", "as much as users", "luck alone"])
def test_one_side_misses_as_often_as_it_should(luck: float, again: bool) -> None:
    """Five runs of 60 users: an interval of the users alone misses in a third of studies where luck is all."""
    generator = np.random.default_rng(0)
    n_studies, n_users, n_runs = 800, 60, 5
    missed = 0
    for _ in range(n_studies):
        tastes = generator.normal(0, 0.1, n_users * n_runs)
        users = np.concatenate([np.arange(n_users) + (0 if again else run * n_users) for run in range(n_runs)])
        runs = np.repeat(np.arange(n_runs), n_users)
        differences = tastes[users] + generator.normal(0, luck, n_runs)[runs] + generator.normal(0, 0.1, len(users))
        missed += interval(differences, users, runs)[0] > 0
    assert 0.008 <= missed / n_studies <= 0.045  # .025 and three of its deviations
