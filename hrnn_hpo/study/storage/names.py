"""Whose a study is. A storage may be shared with other programs, and what they made is never taken over or deleted."""

from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.errors import StudyError
from hrnn_hpo.stores import RESERVED_ENDINGS
from hrnn_hpo.study.attributes import CONFIRMS, WIDENS
from hrnn_hpo.study.record import KEY
from hrnn_hpo.study.storage.database import has_study, load_study

OURS = (KEY, CONFIRMS, WIDENS)  # written into a study before anything else is


def is_ours(study: Study) -> bool:
    """Return whether a study was made here: a search, its confirmation's runs, or the copy in a wider space."""
    return any(key in study.user_attrs for key in OURS)


def is_empty(study: Study) -> bool:
    """Return whether a study holds nothing: a process of ours that died in the moment of its creation leaves it so."""
    return not study.user_attrs and not study.get_trials(deepcopy=False)


def require_names_beside(name: str, storage: RDBStorage) -> None:
    """Raise StudyError where another program's study has a name that a study of ours keeps things under."""
    for ending in RESERVED_ENDINGS:
        if not has_study(name + ending, storage):
            continue
        found = load_study(name + ending, storage)
        if not is_ours(found) and not is_empty(found):
            raise StudyError(
                f"Study {name + ending!r} was not made by hrnn-hpo, and study {name!r} needs that name: give another "
                "--study name."
            )
