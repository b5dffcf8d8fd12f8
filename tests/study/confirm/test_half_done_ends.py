"""The end of a study, killed between two writes that must both happen: the next command does the second one."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from shop import GOOD
from study_fakes import KilledError, dies

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.model.folder import load_model
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.confirm import refit
from hrnn_hpo.study.confirm.refit import FINAL, ensemble_folder, left_model_folder
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.folders import study_folder
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.run.recovery import Recovery
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import read_confirmation
from hrnn_hpo.study.tune import tune

REQUEUE = "hrnn_hpo.study.storage.stale_trials.RetryHeartbeatStaleTrialCallback"  # the write after FAIL


def study() -> optuna.Study:
    return load_study("s", open_storage())


def companion() -> optuna.Study:
    found = companion_of(study(), open_storage())
    assert found is not None
    return found


def searched(log: Dataset, space: SearchSpace | None) -> StudyResult:
    return tune(log, study="s", space=space, n_trials=3, pruner="none", confirm=1, confirm_seeds=2, screen=0)


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("seen_late", [False, True])
def test_a_run_that_was_stopped_and_not_queued_again_goes_on_and_is_not_asked_for_twice(
    log: Dataset,
    space: SearchSpace,
    fake_figures: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    seen_late: bool,
) -> None:
    whole = searched(log, space).confirmation
    n_epochs = len(fake_figures.epochs)
    assert whole is not None
    with monkeypatch.context() as patch:
        patch.setenv("HRNN_HPO_HOME", str(tmp_path / "other"))
        _dies_in_the_last_run(log, space, fake_figures, patch)
        recover = Recovery.run
        looks: list[str] = []

        def late(self: Recovery) -> None:  # the other process dies after this one's first look at the runs
            looks.append(self._study.study_name)
            if looks.count("s (confirmation)") != 1:
                recover(self)

        if seen_late:
            patch.setattr(Recovery, "run", late)
        found = searched(log, None).confirmation
        assert found is not None
        assert found.contenders == whole.contenders
        assert len(companion().trials) == 4 + 1
    assert len(fake_figures.epochs) == 2 * n_epochs


def _dies_in_the_last_run(log: Dataset, space: SearchSpace, fake: Any, patch: pytest.MonkeyPatch) -> None:
    first = len(fake.configurations)

    def interrupt(run: int, epoch: int) -> None:
        if (run, epoch) == (first + 3 + 4 - 1, 2):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(REQUEUE, dies)
        dying.setattr(fake, "before_epoch", interrupt)
        with pytest.raises(KilledError):
            searched(log, space)


@pytest.mark.usefixtures("fake_figures", "tracker")
def test_the_runs_files_go_though_the_process_died_right_after_the_verdict(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hrnn_hpo.study.confirm.conclude.drop_all_files", dies)
        with pytest.raises(KilledError):
            searched(log, space)
    verdict = read_confirmation(study())
    (study_folder(companion()) / "0").mkdir(parents=True, exist_ok=True)
    assert verdict is not None
    assert searched(log, None).confirmation == verdict
    assert not study_folder(companion()).exists()


def confirmed(shop: Dataset, space: SearchSpace | None) -> StudyResult:
    options: dict[str, Any] = {"enqueue": [GOOD], "confirm": 1, "confirm_seeds": 2, "ensemble": True}
    return tune(shop, study="s", space=space, n_trials=2, device="cpu", n_threads=1, **options)


@pytest.mark.usefixtures("tracker")
def test_refits_and_what_is_told_of_them_are_whole_wherever_the_process_dies(
    shop: Dataset, shop_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, save, remove = optuna.Study.set_user_attr, refit.save_experiment, shutil.rmtree

    def dies_after_facts(self: optuna.Study, key: str, value: Any) -> None:
        write(self, key, value)
        if key == FINAL:
            raise KilledError

    def dies_before_facts(self: optuna.Study, key: str, value: Any) -> None:
        if key == FINAL:
            raise KilledError
        write(self, key, value)

    def dies_after_model(*args: Any, **options: Any) -> None:
        save(*args, **options)
        raise KilledError

    for place, name, dying in (
        (optuna.Study, "set_user_attr", dies_before_facts),
        (optuna.Study, "set_user_attr", dies_after_facts),
        (refit, "save_experiment", dies_after_model),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, dying)
            with pytest.raises(KilledError):
                confirmed(shop, shop_space)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, **how: dies() if "member" in path.name else remove(path, **how))
        with pytest.raises(KilledError):
            confirmed(shop, None)
    result = confirmed(shop, None)
    assert result.leaderboard is not None
    assert result.leaderboard.opening == 1
    winner = study().trials[result.leaderboard.winner]
    assert set(study().user_attrs[FINAL]) == {str(winner.number), "0"}
    folder = left_model_folder(study(), winner).parent
    assert sorted(path.name for path in folder.iterdir()) == ["ensemble", "model"]

    weights = load_model(folder / "model").model.state_dict()
    for half in (folder / "model", ensemble_folder(study(), winner)):  # a process died while it deleted the folder
        (half / "weights.safetensors").unlink()
    study().set_user_attr("leaderboard", None)
    again = confirmed(shop, None).leaderboard
    assert again is not None
    assert again.metrics == result.leaderboard.metrics
    for name, value in load_model(folder / "model").model.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])
    assert Path(folder / "ensemble" / "weights.safetensors").is_file()
