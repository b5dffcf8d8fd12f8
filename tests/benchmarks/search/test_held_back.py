"""The simulation of who judges: planted studies whose end is known, and a table that shows each share."""

import numpy as np
import pytest

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.search.held_back import SHARES, Design, measure, report, simulate


@pytest.mark.parametrize("n_trials", [12, 20, 60])
def test_defaults_far_below_are_called_worse_by_any_share(n_trials: int) -> None:
    generator = np.random.default_rng(0)
    for share in SHARES:
        quality, yes = simulate(Design(943, n_trials, step=0.2), share, generator)
        assert yes
        assert quality > -0.1  # not the defaults'


def test_defaults_far_above_win_and_nothing_is_called_better() -> None:
    assert simulate(Design(943, 20, step=-0.2), 0.4, np.random.default_rng(0)) == (0.2, False)


def test_equal_configurations_are_seldom_called_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.benchmarks.search.held_back.QUALITY", 0.0)
    found = measure(Design(300, 20, step=0.0), n_studies=400)
    assert max(found["yes"].values()) < 0.06
    assert {one["mean"] for one in found["quality"].values()} == {0.0}


def test_the_table_has_a_column_for_each_share() -> None:
    design = Design(300, 12, step=0.01)
    settings = {"n_users": 300, "n_trials": 12, "step": 0.01, "studies": 20}
    row = Row(
        date="2026-11-26",
        processor="",
        threads=1,
        versions={},
        command="",
        settings=settings,
        figures=measure(design, 20),
    )
    text = report({"300-12-0.01": row})
    assert text.splitlines()[0].count("|") == 3 + len(SHARES) + 1
    assert "20 studies a line" in text
