"""Confirmations as a study would keep them, of two runs each, imported by the tests of what shows them."""

from collections.abc import Sequence
from typing import Any

from hrnn_hpo.study.confirmation import Confirmation, Contender


def confirmation_of(contenders: Sequence[Contender], **changes: Any) -> Confirmation:
    """Return a confirmation of nine users in which trial 1 won, with fields changed."""
    told: dict[str, Any] = {
        "verdict": "undecided",
        "winner": 1,
        "defaults": 0,
        "raw_best": 1,
        "optimism": 0.0,
        "optimism_of_defaults": 0.0,
        "objective": "ndcg_at_10",
        "n_seeds": 2,
        "n_users": 9,
        "redrawn": True,
        "contenders": list(contenders),
    }
    return Confirmation(**{**told, **changes})
