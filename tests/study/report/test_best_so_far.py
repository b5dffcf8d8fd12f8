"""The line of the best score so far, where a trial that had been pruned went on after later ones."""

import itertools
import re

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hrnn_hpo.pictures import drawing
from hrnn_hpo.study.report.charts import history_chart
from hrnn_hpo.study.results.plots import _history


@pytest.fixture
def trials() -> list[FrozenTrial]:
    """Return trials 0 to 3 in their places; the second one is trial 4's, which goes on where it was pruned."""
    numbers, scores = [0, 4, 2, 3], [0.10, 0.20, 0.12, 0.11]
    made = [create_trial(state=TrialState.COMPLETE, value=value) for value in scores]
    for trial, number in zip(made, numbers, strict=True):
        trial.number = number
    return made


def test_in_the_report_it_goes_from_left_to_right_and_up(trials: list[FrozenTrial]) -> None:
    found = re.search(r'<polyline[^>]*class="best"[^>]*>', history_chart(trials, trials, "ndcg_at_10"))
    assert found is not None
    numbers = [float(number) for number in re.findall(r"[\d.]+", re.findall(r'points="([^"]*)"', found[0])[0])]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    assert len(points) == 6  # .10, then .12 from trial 2 on, then .20 from trial 4 on
    assert all(x <= then and y >= up for (x, y), (then, up) in itertools.pairwise(points))


def test_in_the_picture_it_does_too(trials: list[FrozenTrial]) -> None:
    with drawing():
        line = _history(trials, "ndcg_at_10").axes[0].get_lines()[-1]
    assert np.asarray(line.get_xdata()).tolist() == [0, 2, 3, 4]
    assert np.asarray(line.get_ydata()).tolist() == [0.10, 0.12, 0.12, 0.20]
