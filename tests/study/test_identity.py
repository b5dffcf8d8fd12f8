"""A trial's files belong to one trial of one study: names that look alike, come again or are copied share nothing."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study import tune as tune_module
from hrnn_hpo.study.attributes import CONFIRMS_UID
from hrnn_hpo.study.confirm.runs import companion_of
from hrnn_hpo.study.folders import checkpoint_file, study_folder, trial_folder
from hrnn_hpo.study.record import KEY, uid_of
from hrnn_hpo.study.request.request import study_request
from hrnn_hpo.study.results.manage import clean_up, delete_study
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.storage.database import load_study, open_storage, study_names
from hrnn_hpo.study.tune import tune

ALIKE = [
    "a b",
    "a_b",
    "a/b",
    "a:b",
    "A_b",
    "..",
    "...",
    "../x",
    ".a_b",
    "a_b.",
    "~",
    "con",
    "ａ_b",
    "a\u0301",
    "á",
    "[/b]",
    "%41",
    "o'brien",
]


@pytest.mark.usefixtures("tracker", "fake_figures")
def test_two_commands_that_begin_a_study_at_once_run_one_study(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find no study; the second one finds that of the first when it begins, and goes on under its record."""
    usual: dict[str, Any] = {"study": "s", "space": space, "confirm": 1, "confirm_seeds": 2}
    begin = tune_module.begin_or_continue

    def second(*arguments: Any) -> Any:
        monkeypatch.setattr(tune_module, "begin_or_continue", begin)
        tune(log, n_trials=2, **usual)
        return begin(*arguments)

    monkeypatch.setattr(tune_module, "begin_or_continue", second)
    result = tune(log, n_trials=3, **usual)
    study = load_study("s", open_storage())
    companion = companion_of(study, open_storage())
    assert result.record.uid == uid_of(study)
    assert companion is not None
    assert companion.user_attrs[CONFIRMS_UID] == uid_of(study)
    assert len(companion.trials) >= 4  # those of the first command stayed

    delete_study("s")
    monkeypatch.setattr(tune_module, "begin_or_continue", second)
    with pytest.raises(StudyError, match="seed: 0 -> 7"):
        tune(log, n_trials=3, seed=7, **usual)


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_studies_whose_names_look_alike_share_no_file(log: Dataset, space: SearchSpace, home: Path) -> None:
    for name in ALIKE:
        tune(log, study=name, space=space, n_trials=1)
    storage = open_storage()
    folders = {name: study_folder(load_study(name, storage)) for name in ALIKE}
    assert len({folder.name.lower() for folder in folders.values()}) == len(ALIKE)
    for folder in folders.values():
        assert folder.resolve().parent == (home / "checkpoints").resolve()
        assert (folder / "0").is_dir()
    for done, name in enumerate(ALIKE, start=1):
        delete_study(name)
        assert not folders[name].exists()
        assert all((folders[other] / "0").is_dir() for other in ALIKE[done:])
        assert study_names(open_storage()) == sorted(ALIKE[done:])


@pytest.mark.usefixtures("tracker")
def test_a_study_trains_its_own_trials_whatever_another_of_like_name_left(
    log: Dataset, space: SearchSpace, fake_experiment: Any
) -> None:
    tune(log, study="exp_1", space=space, n_trials=2)
    n_trained = len(fake_experiment.epochs)
    tune(log, study="exp/1", space=space, n_trials=2, seed=7)
    assert len(fake_experiment.epochs) == 2 * n_trained


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_a_name_that_is_taken_again_starts_from_nothing(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=1)
    first = study_folder(load_study("s", open_storage()))
    optuna.delete_study(study_name="s", storage=open_storage())  # by other means than ours: its files stay
    tune(log, study="s", space=space, n_trials=1)
    assert study_folder(load_study("s", open_storage())) != first


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_a_copy_of_a_study_has_files_of_its_own(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=1)
    storage = open_storage()
    optuna.copy_study(from_study_name="s", from_storage=storage, to_storage=storage, to_study_name="copy")
    original, copy = load_study("s", storage), load_study("copy", storage)
    assert original.user_attrs[KEY] == copy.user_attrs[KEY]
    delete_study("copy")
    assert (study_folder(original) / "0").is_dir()


@pytest.mark.usefixtures("tracker")
def test_the_confirmation_of_a_study_that_is_gone_is_not_taken_for_the_new_ones(
    shop: Dataset, shop_space: SearchSpace
) -> None:
    asked: dict[str, Any] = {"n_trials": 2, "confirm": 1, "confirm_seeds": 2, "device": "cpu", "n_threads": 1}
    tune(shop, study="s", space=shop_space, **asked)
    storage = open_storage()
    optuna.delete_study(study_name="s", storage=storage)  # the confirmation's study stays
    tune(shop, study="s", space=shop_space, seed=3, **{**asked, "confirm": 0})
    assert companion_of(load_study("s", storage), storage) is None
    result = tune(shop, study="s", **asked)
    companion = companion_of(load_study("s", storage), storage)
    assert companion is not None
    assert len(companion.trials) == 4  # two configurations on two seeds, and none of the earlier study's
    assert result.confirmation is not None


def test_a_checkpoint_of_another_training_is_removed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = checkpoint_file(tmp_path, "a" * 64), checkpoint_file(tmp_path, "b" * 64)
    old = tmp_path / "checkpoint.safetensors"  # as version 0.1.0 named it
    for file in (ours, theirs, old):
        file.write_text("state")
    assert checkpoint_file(tmp_path, "a" * 64) == ours
    assert [path.name for path in tmp_path.iterdir()] == [ours.name]
    assert caplog.text.count("belongs to another training") == 2


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0b", "x" * 401, "s (confirmation)", "s (widening)"])
def test_a_name_that_cannot_be_kept_or_told_apart_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--study"):
        study_request(study=name)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_two_names_never_have_one_folder(one: str, other: str) -> None:
    storage = optuna.storages.InMemoryStorage()
    first = optuna.create_study(study_name=one, storage=storage)
    second = optuna.create_study(study_name=other, storage=storage, load_if_exists=True)
    assert (study_folder(first) == study_folder(second)) == (one == other)
    assert trial_folder(first, 3).parent == study_folder(first)


@pytest.mark.usefixtures("home")
def test_cleaning_up_leaves_the_studies_of_other_software_alone(home: Path) -> None:
    storage = open_storage(create=True)
    optuna.create_study(study_name="theirs", storage=storage)
    (home / "checkpoints" / "theirs" / "0").mkdir(parents=True)
    assert clean_up() == ["theirs"]
    assert (home / "checkpoints" / "theirs" / "0").is_dir()


@pytest.mark.usefixtures("home", "tracker")
def test_failed_trials_of_other_software_are_not_queued_again() -> None:
    storage = open_storage(create=True)
    theirs = optuna.create_study(study_name="theirs", storage=storage)
    theirs.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    clean_up()
    with pytest.raises(StudyError, match="was not made by hrnn-hpo"):
        sync("theirs")
    assert [trial.state.name for trial in theirs.get_trials()] == ["FAIL"]
