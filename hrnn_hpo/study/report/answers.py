"""What a study's trials answer beside "which is best": what each hyperparameter brought, and whether to go on.

One surface is learned from the complete trials (surrogate.py); effects.py and outlook.py read it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.propose.distinct import untried
from hrnn_hpo.study.record import StudyRecord, read_record
from hrnn_hpo.study.report.effects import Effects, measure_effects
from hrnn_hpo.study.report.outlook import N_MORE, Outlook, look_ahead
from hrnn_hpo.study.report.surrogate import Surrogate, fit, n_needed, varied
from hrnn_hpo.study.trials import last_attempts, winner_trial

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """Both answers. Where the trials are too few, neither has figures, and both say so."""

    effects: Effects
    outlook: Outlook

    @property
    def told(self) -> bool:
        """Whether there are figures."""
        return self.outlook.worth is not None

    def content(self) -> dict[str, Any]:
        """Return them as plain values, for --json and answers.json."""
        return {
            "effects": {**asdict(self.effects), "sentences": self.effects.sentences()},
            "outlook": {**asdict(self.outlook), "sentence": self.outlook.sentence()},
        }


def answers_of(study: Study, record: StudyRecord) -> Answers:
    """Return what the complete trials of a study answer; the same trials give the same figures.

    A second or two with 100 trials; nothing is computed where the trials are too few.
    """
    space, winner = record.search_space(), winner_trial(study)
    trials = [
        trial
        for trial in last_attempts(study)
        if trial.state == TrialState.COMPLETE and trial.value is not None and np.isfinite(trial.value)
    ]
    configurations = [trial.params for trial in trials]
    needed = n_needed(space, configurations)
    left = untried(study, space, N_MORE)
    n_more = N_MORE if left is None else len(left)
    few = len(trials) < needed or len({trial.value for trial in trials}) < 2
    if winner is None or few or not varied(space, configurations):
        return Answers(Effects(len(trials), needed), Outlook(len(trials), needed, n_more))
    surrogate = _learn(space, trials, winner.params)
    scores = [float(trial.value or 0.0) for trial in trials]
    return Answers(
        measure_effects(surrogate, configurations, winner.params),
        look_ahead(surrogate, configurations, scores, winner.params, left),
    )


def try_answers(study: Study) -> Answers | None:
    """Return `answers_of` a study; a failure is a warning, since figures about it are no reason to lose its end."""
    try:
        return answers_of(study, read_record(study))
    except Exception as error:
        _log.warning("What the trials answer cannot be told (%s: %s).", type(error).__name__, error)
        return None


def _learn(space: SearchSpace, trials: Sequence[FrozenTrial], winner: Mapping[str, Any]) -> Surrogate:
    """Return what complete trials teach; the scores of defaults and winner count as they are, however low."""
    scores = [float(trial.value or 0.0) for trial in trials]
    asked = [space.varied({}), space.varied(winner)]
    known = [score for trial, score in zip(trials, scores, strict=True) if space.varied(trial.params) in asked]
    return fit(space, [trial.params for trial in trials], scores, kept=min(known, default=max(scores)))
