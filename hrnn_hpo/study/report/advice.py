"""What a study suggests for the next one: search/advice.py's rules, applied to the trials in Optuna's storage."""

from collections.abc import Mapping

from optuna.study import Study
from optuna.trial import TrialState

from hrnn_hpo.errors import HRNNError
from hrnn_hpo.search.advice import Advice, advise, next_space
from hrnn_hpo.search.files import list_spaces
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.report.importance import importances
from hrnn_hpo.study.trials import last_attempts, winner_trial

MIN_TRIALS_FOR_ADVICE = 4  # complete ones; before, the best value lies where it does by chance


def advice_of(study: Study, record: StudyRecord, shares: Mapping[str, float] | None = None) -> list[Advice]:
    """Return what a study suggests for its space, empty while it has too few complete trials.

    `shares` are the importances, where the caller has them already.
    """
    trials = last_attempts(study)
    winner = winner_trial(study)
    if winner is None or sum(trial.state == TrialState.COMPLETE for trial in trials) < MIN_TRIALS_FOR_ADVICE:
        return []
    return advise(named_space(record), winner.params, importances(study) if shares is None else shares)


def named_space(record: StudyRecord) -> SearchSpace:
    """Return the shipped space that a study searched, where it is still the same; else the recorded one."""
    recorded = record.search_space()
    if recorded.name in list_spaces():
        try:
            shipped = load_space(recorded.name)
        except HRNNError:  # its file is being edited
            return recorded
        if shipped.fingerprint() == record.space_fingerprint:
            return shipped
    return recorded


def next_space_text(space: SearchSpace, advice: list[Advice], own_file: str) -> str:
    """Return the text of the next study's space file; it extends `own_file` where the space is no shipped one."""
    text = next_space(space, advice)
    return text if space.path is not None else f"extends: {own_file}\n{text}"
