"""Where a study keeps its files on this machine: in a folder of its own, found by its uid and never by its name alone.

Names can look alike, be taken again after a deletion, or stand for other studies in other storages.
"""

import hashlib
import logging
from pathlib import Path

from optuna.study import Study

from hrnn_hpo.stores import mlruns_folder
from hrnn_hpo.study.attributes import CONFIRMS, CONFIRMS_UID
from hrnn_hpo.study.record import uid_of

WIDENING = " (widening)"  # ends the name of the copy that is to take a study's place
N_DIGEST = 8  # hexadecimal digits of a name: they tell a study from a copy that has another name and the same uid
N_TRAINING_DIGEST = 16  # hexadecimal digits in a checkpoint's name
_log = logging.getLogger(__name__)


def study_folder(study: Study) -> Path:
    """Return the folder with a study's files; that of a confirmation lies inside the folder of its study."""
    confirmed, uid = study.user_attrs.get(CONFIRMS), study.user_attrs.get(CONFIRMS_UID)
    if confirmed is not None and uid is not None:
        return _folder(uid, confirmed) / "confirmation"
    return _folder(uid_of(study) or "without-record", study.study_name)


def trial_folder(study: Study, number: int) -> Path:
    """Return the folder that holds a trial's checkpoint and model while they are worth keeping."""
    return study_folder(study) / str(number)


def checkpoint_file(folder: Path, digest: str) -> Path:
    """Return the file in a folder that holds the state of just the training that `digest` describes.

    A checkpoint of another training, which a copied folder or an older version may have left there, is removed.
    """
    file = folder / f"checkpoint-{digest[:N_TRAINING_DIGEST]}.safetensors"
    for other in folder.glob("checkpoint*.safetensors"):
        if other != file:
            _log.warning(
                "%s belongs to another training: it is removed, and this one starts from its first epoch.", other
            )
            other.unlink(missing_ok=True)
    return file


def files_key(uid: str, name: str) -> str:
    """Return what tells the files and tables of one study from those of every other one."""
    return f"{uid}-{hashlib.sha256(name.encode()).hexdigest()[:N_DIGEST]}"


def files_keys_of(study: Study) -> list[str]:
    """Return the key of a study, and after it that of the study whose name it is about to take, if there is one."""
    uid, name = uid_of(study) or "without-record", study.study_name
    return [files_key(uid, one) for one in dict.fromkeys([name, name.removesuffix(WIDENING)])]


def _folder(uid: str, name: str) -> Path:
    return mlruns_folder() / "checkpoints" / files_key(uid, name)
