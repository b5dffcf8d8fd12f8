"""Which files of trials are kept, while other workers write and delete theirs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hrnn_hpo.study.folders import study_folder, trial_folder
from hrnn_hpo.study.request.budget import Budget, write_budget
from hrnn_hpo.study.run.trial_files import drop_files
from hrnn_hpo.study.storage.database import create_study, open_storage


@pytest.fixture
def study() -> optuna.Study:
    """Return a study with two pruned trials that may go on, and their checkpoints."""
    study = create_study("s", open_storage(create=True))
    write_budget(study, Budget(None, "tpe", "median"))
    for number, score in enumerate((0.3, 0.2)):
        study.add_trial(create_trial(state=TrialState.PRUNED, value=score, intermediate_values={0: score}))
        trial_folder(study, number).mkdir(parents=True)
        (trial_folder(study, number) / "checkpoint-1.safetensors").write_bytes(b"x")
    return study


def vanishing(folder: Path, look: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return what a look at a path finds, while another process deletes the folder."""

    def looks(path: Path) -> Any:
        found = look(path)
        if path in (folder, folder / "checkpoint-1.safetensors"):
            shutil.rmtree(folder, ignore_errors=True)
        return found

    return looks


def test_a_trials_files_that_another_worker_deletes_meanwhile_stop_nobody(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_file", vanishing(trial_folder(study, 0), Path.is_file))
    drop_files(study)
    assert [path.name for path in study_folder(study).iterdir()] == ["1"]


@pytest.mark.parametrize("look", ["is_dir", "iterdir"])
def test_the_files_of_a_study_that_are_deleted_meanwhile_stop_nobody(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    monkeypatch.setattr(Path, look, vanishing(study_folder(study), getattr(Path, look)))
    drop_files(study)
