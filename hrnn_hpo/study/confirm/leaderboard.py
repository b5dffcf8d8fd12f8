"""The figures on the test users side by side: winner, defaults and baselines, with their intervals.

How the test users are opened is test_part.py's work.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study

from hrnn_hpo.evaluation.baselines import BASELINES

LEADERBOARD = "leaderboard"
WINNER, DEFAULTS = "tuned", "defaults"
ENSEMBLE = "ensemble"  # the mean of several refits of the winner, where the study leaves one
Interval = tuple[float, float]


@dataclass(frozen=True)
class Leaderboard:
    """Test figures by name; `opening` counts how often this study had looked at its test users by then."""

    metrics: dict[str, dict[str, float]]
    winner: int  # trial
    opening: int
    n_done: int  # trials complete or pruned when it was made
    n_test_users: int
    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)  # 95 % bootstrap over users, as `metrics`
    refit: bool = False  # whether the validation data trained too: after a confirmation
    gain: dict[str, float] = field(default_factory=dict)  # tuned minus defaults, in the objective
    # Tuned minus every other row, in the objective, paired by user: difference, low, high (95 %), p.
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    constants: dict[str, dict[str, float | str]] = field(default_factory=dict)  # of baselines, by validation users
    left_out: dict[str, str] = field(default_factory=dict)  # baselines that are not there, and why
    n_members: int = 0  # of the ensemble; 0: there is none
    seconds_per_user: dict[str, float] = field(default_factory=dict)  # that answering the test users took a model

    @property
    def reopened(self) -> bool:
        """Whether the figures are tainted: chosen after an earlier look at the test users."""
        return self.opening > 1


def read_leaderboard(study: Study) -> Leaderboard | None:
    """Return the newest leaderboard of a study, None before the test part was opened."""
    content = study.user_attrs.get(LEADERBOARD)
    if not content:
        return None
    intervals = {
        name: {metric: (low, high) for metric, (low, high) in row.items()}
        for name, row in content.get("intervals", {}).items()
    }
    known = {name: value for name, value in content.items() if name in Leaderboard.__dataclass_fields__}
    return Leaderboard(**{**known, "intervals": intervals})


def baselines_ahead(board: Leaderboard, objective: str) -> str | None:
    """Return a sentence on the baselines that are above the winner in the objective; None where there are none."""
    values = {name: row[objective] for name, row in board.metrics.items() if objective in row}
    ahead = [name for name in BASELINES if WINNER in values and values.get(name, -math.inf) > values[WINNER]]
    if not ahead:
        return None
    told = ", ".join(f"{name} {values[name]:.4f}" for name in ahead)
    noun = "A baseline is" if len(ahead) == 1 else "Baselines are"
    return f"{noun} above the tuned model on the test users: {objective} {told} against {values[WINNER]:.4f}."


def ensemble_note(board: Leaderboard) -> str | None:
    """Return a sentence on what the ensemble is and what it costs, None where there is none."""
    if not board.n_members:
        return None
    ours, single = board.seconds_per_user[ENSEMBLE], board.seconds_per_user[WINNER]
    return (
        f"ensemble is the mean of {board.n_members} refits of tuned on as many seeds, and the model that the study "
        f"leaves. Its answers took {ours / single:.1f} times as long: {1000 * ours:.2f} ms a test user against "
        f"{1000 * single:.2f}."
    )


def leaderboard_content(board: Leaderboard) -> dict[str, Any]:
    """Return a leaderboard as plain values, for --json and leaderboard.json."""
    return {**vars(board), "reopened": board.reopened}
