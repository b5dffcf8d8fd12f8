"""Variances of users, runs and the rest: by hand where the table is full, and of planted parts where it is not."""

import numpy as np
import pytest

from hrnn_hpo.evaluation.variances import variances_of


def test_a_full_table_has_the_variances_of_the_textbook() -> None:
    """Two-way analysis of variance without replicates: the mean squares of users, of runs and of the rest."""
    table = np.array([[0.1, 0.4, 0.3], [0.2, 0.9, 0.1], [0.7, 0.8, 0.6], [0.0, 0.5, 0.4]])  # (users, runs)
    n_users, n_runs = table.shape
    of_users, of_runs = table.mean(axis=1), table.mean(axis=0)
    rest = table - of_users[:, None] - of_runs + table.mean()
    square = (rest**2).sum() / (n_users - 1) / (n_runs - 1)
    wanted = (
        (n_runs * of_users.var(ddof=1) - square) / n_runs,
        (n_users * of_runs.var(ddof=1) - square) / n_users,
        square,
    )
    users, runs = np.repeat(np.arange(n_users), n_runs), np.tile(np.arange(n_runs), n_users)
    assert variances_of(table.ravel(), users, runs) == pytest.approx(wanted)


def test_planted_parts_are_found_where_each_run_has_some_of_the_users() -> None:
    generator = np.random.default_rng(0)
    n_users, n_runs = 3_000, 60
    users = np.concatenate([generator.permutation(n_users)[:500] for _ in range(n_runs)])
    runs = np.repeat(np.arange(n_runs), 500)
    figures = generator.normal(0, 0.3, n_users)[users] + generator.normal(0, 0.1, n_runs)[runs]
    figures += generator.normal(0, 0.2, len(users))
    assert variances_of(figures, users, runs) == pytest.approx((0.09, 0.01, 0.04), rel=0.25)


def test_no_variance_is_negative_and_users_of_one_run_share_theirs_with_the_rest() -> None:
    figures = np.array([0.1, 0.5, 0.3, 0.5, 0.1, 0.3])  # both runs have the same mean: less than chance would give
    found = variances_of(figures, np.arange(6), np.repeat([0, 1], 3))
    assert found.run == 0.0
    assert found.user == pytest.approx(found.rest)
    assert found.user > 0.0
