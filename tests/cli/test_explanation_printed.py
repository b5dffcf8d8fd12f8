"""What `recommend --explain` prints of an explanation."""

import math

import pytest

from hrnn_hpo.cli.recommend import _print_explanation
from hrnn_hpo.serving.explain import Explanation, Influence


@pytest.mark.parametrize(
    ("log_score", "log_without", "change"),
    [
        (math.log(0.2), math.log(0.1), "-50.0%"),
        (math.log(0.1), math.log(0.2), "+100.0%"),
        (-800.0, -801.0, "-63.2%"),  # both round to a score of 0
        (-5000.0, -1.0, "10^2171 times"),  # more than a float holds
    ],
)
def test_a_change_is_told_where_scores_round_to_nothing(
    capsys: pytest.CaptureFixture[str], log_score: float, log_without: float, change: str
) -> None:
    event = Influence(1, "a", 0, 1, math.exp(log_without), log_score - log_without)
    _print_explanation(Explanation("b", math.exp(log_score), None, 1, [event]))
    assert change in capsys.readouterr().out
