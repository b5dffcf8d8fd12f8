"""`tune --deterministic` with real trainings in real processes: one worker and four make the same table."""

from pathlib import Path
from typing import Any

import pytest
from real_studies import finish, start, write_project

from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts

N_TRIALS = 9  # two batches of four and the beginning of a third


@pytest.mark.slow
def test_one_worker_and_four_make_the_same_table(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_project(tmp_path, n_users=120, epochs=4)
    for workers in ("1", "4"):
        options = ["--n-trials", str(N_TRIALS), "--workers", workers, "--deterministic", "--pruner", "median"]
        finish(start(*options, study=f"with-{workers}"))
    alone, four = table("with-1"), table("with-4")
    assert len(alone) == N_TRIALS
    assert alone == four
    assert {state for _, state, *_ in alone} == {"COMPLETE", "PRUNED"}


def table(name: str) -> list[tuple[Any, ...]]:
    """Return what each trial proposed, how it ended and every epoch's figures, times left out."""
    return [
        (
            trial.params,
            trial.state.name,
            trial.value,
            [epochs_of(trial)[n]["metrics"] for n in sorted(epochs_of(trial))],
        )
        for trial in last_attempts(load_study(name, open_storage()))
    ]
