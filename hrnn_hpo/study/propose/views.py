"""A study as samplers and pruners are to see it: some of its trials, and none that was retried.

A retry takes its original's place, so that a worker that dies changes neither what is proposed next nor what is pruned.
A pruned trial that was taken up again gives its place away when it has come to its new end.
"""

import copy
from collections.abc import Callable, Container
from typing import Any, cast

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import TAKEN_UP
from hrnn_hpo.study.seeds import ordinals


class StudyView:
    """The last attempt of each trial for which `shown` is true, numbered as if none had been retried."""

    def __init__(self, study: Study, shown: Callable[[FrozenTrial], bool]) -> None:
        self.whole = study
        self.shown = shown

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._select(self.whole.get_trials(deepcopy=deepcopy), states)

    def _get_trials(  # what Optuna's own samplers call
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return self._select(self.whole._get_trials(deepcopy=deepcopy, use_cache=use_cache), states)

    def _select(self, trials: list[FrozenTrial], states: Container[TrialState] | None) -> list[FrozenTrial]:
        places = ordinals(trials)
        last = {places[trial.number]: trial for trial in trials if not _is_going_on(trial)}
        numbered = [_numbered(last[place], place) for place in sorted(last)]
        return [trial for trial in numbered if (states is None or trial.state in states) and self.shown(trial)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)


def without_superseded(study: Study) -> Study:
    """Return a study in which each trial counts once; as it is while no pruned one was taken up again."""
    whole = study.whole if isinstance(study, StudyView) else study
    taken_up = any(TAKEN_UP in trial.user_attrs for trial in whole.get_trials(deepcopy=False))
    return view_of(study) if taken_up else study


def _is_going_on(trial: FrozenTrial) -> bool:
    """Return whether a trial was taken up again without having come to a new end: the attempt before it counts."""
    return TAKEN_UP in trial.user_attrs and trial.state not in (TrialState.COMPLETE, TrialState.PRUNED)


def view_of(study: Study, shown: Callable[[FrozenTrial], bool] = lambda trial: True) -> Study:
    """Return a view of a study, or a narrower one of a view; `shown` is asked with the place as the trial's number."""
    if isinstance(study, StudyView):
        wider = study.shown
        return cast(Study, StudyView(study.whole, lambda trial: wider(trial) and shown(trial)))
    return cast(Study, StudyView(study, shown))


def in_its_place(study: Study, trial: FrozenTrial) -> FrozenTrial:
    """Return a trial with the number that it would have in the whole study if none had been retried."""
    whole = study.whole if isinstance(study, StudyView) else study
    places = ordinals(whole.get_trials(deepcopy=False))
    return _numbered(trial, places.get(trial.number, len(set(places.values()))))


def _numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    copied = copy.copy(trial)
    copied.number = number
    return copied
