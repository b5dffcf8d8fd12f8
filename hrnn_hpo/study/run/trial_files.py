"""The files of a study's trials: checkpoints and models are kept for the best, the defaults and what may go on."""

import contextlib
import shutil
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.study.folders import study_folder, trial_folder
from hrnn_hpo.study.run.continuing import may_go_on, to_finish
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.storage.stale_trials import is_lost
from hrnn_hpo.study.trials import best_trial, defaults_trial, last_attempts, winner_trial

MOST_FROZEN_BYTES = 5_000_000_000  # of the checkpoints of pruned trials that may go on


def model_folder(study: Study, trial: FrozenTrial) -> Path:
    """Return where a trial's model is while it is worth keeping."""
    return trial_folder(study, original_number(trial)) / "model"


def drop_files(study: Study) -> None:
    """Delete the checkpoints and models of trials that nothing will ask for again."""
    folder = study_folder(study)
    # Listed before the trials are read: the folder of a trial that starts meanwhile is not among them.
    found: list[Path] = []
    # There is none yet, or the process that has the verdict just deleted all of them.
    with contextlib.suppress(OSError):
        found = [path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()]
    trials = last_attempts(study)
    wanted = {str(original_number(trial)) for trial in trials if is_lost(trial) or not trial.state.is_finished()}
    wanted |= {str(original_number(trial)) for trial in to_finish(study)}
    wanted |= _within(MOST_FROZEN_BYTES, [folder / str(original_number(trial)) for trial in may_go_on(study, trials)])
    for trial in (best_trial(trials), winner_trial(study), defaults_trial(trials)):
        if trial is not None:
            wanted.add(str(original_number(trial)))
    for path in found:
        if path.name not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def drop_all_files(study: Study) -> None:
    """Delete every checkpoint and model of a study, which the storage still holds."""
    shutil.rmtree(study_folder(study), ignore_errors=True)


def _within(n_bytes: int, folders: list[Path]) -> set[str]:
    """Return the names of the first folders whose files fit into so many bytes."""
    kept = set()
    for folder in folders:
        n_bytes -= _size(folder)
        if n_bytes < 0:
            break
        kept.add(folder.name)
    return kept


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files, of what is there while another worker deletes or replaces them."""
    n_bytes = 0
    with contextlib.suppress(OSError):
        for path in folder.rglob("*"):
            n_bytes += path.stat().st_size if path.is_file() else 0
    return n_bytes
