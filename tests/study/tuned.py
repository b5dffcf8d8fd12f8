"""The study that `tune` left, for tests to look at."""

from typing import Any

import optuna

from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts


def study_of(name: str = "s") -> optuna.Study:
    return load_study(name, open_storage())


def table(name: str) -> list[tuple[Any, ...]]:
    """Return what a reader compares: hyperparameters, seed, value, in order, without retried attempts."""
    return [
        (trial.params, trial.user_attrs["configuration"]["seed"], trial.state, trial.value)
        for trial in last_attempts(study_of(name))
    ]
