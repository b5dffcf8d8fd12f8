"""The model folder: what comes back, what never enters it, and what it may replace."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_folders import CHANGES, FILES, log_of, record_of, saved
from small_runs import inputs_of, model_for, same_weights, small_configuration

from hrnn_hpo.data.featurize import AS_IT_IS, ValueScale
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol, make_split
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.errors import ModelError, RunFailedError
from hrnn_hpo.model import folder as model_folder
from hrnn_hpo.model.encode import encode
from hrnn_hpo.model.folder import (
    count_test_opening,
    keep_model,
    load_model,
    read_record,
    require_model_target,
    write_model,
)
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.model.inputs import pack


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return log_of()


@pytest.fixture
def model(dataset: Dataset) -> HRNN:
    return model_for(dataset, **CHANGES)


def test_a_saved_model_comes_back_bit_for_bit(tmp_path: Path, model: HRNN, dataset: Dataset) -> None:
    loaded = saved(tmp_path / "model", model, dataset)
    assert same_weights(loaded.model, model)
    assert not loaded.model.training
    assert loaded.configuration == small_configuration(**CHANGES)
    written = replace(loaded.split, sha256={})
    assert written == record_of(make_split(dataset, "personalize", 0), dataset)  # .1 + .2 to the last digit
    assert loaded.histories.item_ids.tolist() == dataset.item_ids.tolist()
    assert loaded.histories.user_ids.tolist() == dataset.user_ids.tolist()
    assert loaded.histories.event_type_names == ("buy", "view")
    rows = np.array([0]), np.array([5])
    assert torch.equal(
        encode(loaded.model, inputs_of(loaded.histories), *rows), encode(model, inputs_of(dataset), *rows)
    )


@pytest.mark.parametrize("scale", [ValueScale(3.25, 1 / 3, 5.0), ValueScale(0.0, 1.0, 0.0)])
def test_the_scale_of_values_travels_with_the_model(tmp_path: Path, dataset: Dataset, scale: ValueScale) -> None:
    loaded = saved(tmp_path / "model", model_for(dataset, value_scale=scale, **CHANGES), dataset)
    assert loaded.model.catalogue.value_scale == scale  # to the last digit


def test_a_folder_without_a_scale_reads_values_as_version_0_1_0_did(tmp_path: Path, dataset: Dataset) -> None:
    model = model_for(dataset, value_scale=ValueScale(3.25, 2.0, 5.0), **CHANGES)
    folder = saved(tmp_path / "model", model, dataset).folder
    vocabulary = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    del vocabulary["value_scale"]
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary), "utf-8")
    record = json.loads((folder / "split.json").read_text("utf-8"))
    del record["sha256"]  # that version wrote none either
    (folder / "split.json").write_text(json.dumps(record), "utf-8")
    loaded = load_model(folder)
    assert loaded.model.catalogue.value_scale == AS_IT_IS
    packed, rows = pack(inputs_of(dataset), np.array([0]), np.array([5]), torch.device("cpu"))
    raw = torch.tensor([0.0, *np.asarray(dataset.event_values)[:4]])  # the start token's, then what the log has
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert model.value_projection is not None
    shift = loaded.model.embed(packed) - loaded.model.embed(replace(packed, event_values=None))
    torch.testing.assert_close(shift, raw[:, None] * model.value_projection)


@pytest.mark.parametrize(
    "protocol", ["personalize", "personalize-last", "leave-one-out", "newest-tenth", "temporal", "none"]
)
def test_truth_events_never_enter_the_folder(tmp_path: Path, model: HRNN, dataset: Dataset, protocol: Protocol) -> None:
    log = dataset
    if protocol == "temporal":  # its windows are days of the whole log: users must be active at the same time
        log = make_dataset([[(f"i{step % 7}", 100 * step + user) for step in range(12)] for user in range(30)])
        model = model_for(log, **CHANGES)
    split = make_split(log, protocol, 0)
    histories = saved(tmp_path / "model", model, log, protocol).histories
    kept = set(zip(histories.event_users.tolist(), histories.timestamps.tolist(), strict=True))
    assert len(kept) == histories.n_events
    owners, times = np.asarray(log.event_users), np.asarray(log.timestamps)
    truth: set[tuple[int, int]] = set()
    if split.test is not None:
        for start, stop in zip(split.test.truth_starts, split.test.truth_stops, strict=True):
            truth |= {(int(owners[row]), int(times[row])) for row in range(start, stop)}
        assert truth
    assert not kept & truth
    if split.test is None:
        assert len(kept) == log.n_events
    if protocol in ("leave-one-out", "newest-tenth"):  # everybody is tested: all other events are input
        assert len(kept) == log.n_events - len(truth)


def test_validation_truth_of_other_users_stays_out_too(tmp_path: Path, model: HRNN, dataset: Dataset) -> None:
    split = make_split(dataset, "personalize", 0)
    histories = saved(tmp_path / "model", model, dataset).histories
    assert split.validation is not None
    for user, start, stop in zip(
        split.validation.users, split.validation.truth_starts, split.validation.truth_stops, strict=True
    ):
        assert histories.history_lengths[user] == dataset.history_lengths[user] - (stop - start)


@pytest.mark.parametrize("protocol", ["personalize", "newest-tenth"])
def test_a_refit_keeps_the_events_of_validation_users_that_it_was_trained_on(
    model: HRNN, dataset: Dataset, protocol: Protocol
) -> None:
    split = make_split(dataset, protocol, 0, n_held_back=1)
    record = replace(record_of(split, dataset), refit=True)
    histories = keep_model(model, small_configuration(protocol, **CHANGES), dataset, split, record).histories
    assert split.test is not None
    expected = dataset.history_lengths.copy()
    expected[split.test.users] -= split.test.truth_stops - split.test.truth_starts
    assert histories.history_lengths.tolist() == expected.tolist()


def test_optional_columns_are_cut_with_the_events(tmp_path: Path, model: HRNN, dataset: Dataset) -> None:
    histories = saved(tmp_path / "model", model, dataset, "leave-one-out").histories
    first = slice(0, 11)  # all of user 0's twelve events but the truth
    for name in ("items", "timestamps", "session_ids", "event_types", "event_values"):
        assert getattr(histories, name)[first].tolist() == getattr(dataset, name)[first].tolist()
        assert len(getattr(histories, name)) == histories.n_events


def test_the_folder_holds_safetensors_yaml_and_json_and_no_pickle(
    tmp_path: Path, model: HRNN, dataset: Dataset
) -> None:
    folder = tmp_path / "model"
    saved(folder, model, dataset)
    assert sorted(file.name for file in folder.iterdir()) == FILES
    for file in folder.iterdir():
        content = file.read_bytes()
        assert not content.startswith((b"PK", b"\x80"))  # neither a zip of pickles nor a pickle


def test_loading_never_unpickles(
    tmp_path: Path, model: HRNN, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    saved(tmp_path / "model", model, dataset)

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model folder was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, forbidden)
    load_model(tmp_path / "model")


def test_an_older_model_is_replaced_whole(tmp_path: Path, model: HRNN, dataset: Dataset) -> None:
    folder = tmp_path / "model"
    saved(folder, model, dataset)
    other = model_for(dataset, seed=1, **CHANGES)
    assert same_weights(saved(folder, other, dataset).model, other)
    assert sorted(file.name for file in folder.iterdir()) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_stops_no_other_and_goes(tmp_path: Path, model: HRNN, dataset: Dataset) -> None:
    folder = tmp_path / "model"
    saved(folder, model, dataset)
    shutil.copytree(folder, tmp_path / ".model.old")  # as earlier versions called what they were about to remove
    shutil.copytree(folder, tmp_path / f".model.{'0' * 12}")
    (tmp_path / f".model.{'0' * 12}.lock").touch()
    other = model_for(dataset, seed=1, **CHANGES)
    assert same_weights(saved(folder, other, dataset).model, other)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.old", "model"]


def test_a_model_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path, model: HRNN, dataset: Dataset) -> None:
    saved(tmp_path / "first", model, dataset)
    (tmp_path / "latest").symlink_to("first")
    other = model_for(dataset, seed=1, **CHANGES)
    saved(tmp_path / "latest", other, dataset)
    assert (tmp_path / "latest").is_symlink()
    assert same_weights(load_model(tmp_path / "first").model, other)


def test_a_name_that_leaves_no_room_for_the_making_is_refused_beforehand(
    tmp_path: Path, model: HRNN, dataset: Dataset
) -> None:
    longest = tmp_path / ("m" * 236)  # and 19 more for what is in the making: 255
    assert same_weights(saved(longest, model, dataset).model, model)
    with pytest.raises(ModelError, match="the model cannot be written"):
        require_model_target(tmp_path / ("m" * 237))


def test_something_else_than_a_model_is_never_overwritten(tmp_path: Path, model: HRNN, dataset: Dataset) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("precious")
    with pytest.raises(ModelError, match="holds something else"):
        saved(folder, model, dataset)
    assert (folder / "chapter1.txt").read_text() == "precious"
    with pytest.raises(ModelError, match="holds something else"):
        require_model_target(folder / "chapter1.txt")


def test_an_empty_folder_may_be_filled(tmp_path: Path, model: HRNN, dataset: Dataset) -> None:
    (tmp_path / "model").mkdir()
    assert same_weights(saved(tmp_path / "model", model, dataset).model, model)


def test_a_write_that_fails_leaves_the_older_model_and_nothing_else(
    tmp_path: Path, model: HRNN, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    saved(folder, model, dataset)

    def full(*args: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(model_folder, "save_arrays", full)
        with pytest.raises(RunFailedError, match="no space"):
            saved(folder, model_for(dataset, seed=1, **CHANGES), dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert same_weights(load_model(folder).model, model)


@pytest.fixture
def folder(tmp_path: Path, model: HRNN, dataset: Dataset) -> Path:
    written = saved(tmp_path / "model", model, dataset).folder
    assert written is not None
    return written


@pytest.fixture
def full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the disk fill up at split.json, the last file of a folder, from now on."""
    write = Path.write_text

    def refuse(path: Path, *arguments: Any, **options: Any) -> int:
        content = arguments[0]
        if "test_openings" in content:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", refuse)


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_fills_up_at_the_last_file_is_a_failed_run_and_leaves_nothing(folder: Path) -> None:
    saved = load_model(folder)
    target = folder.parent / "again"
    before = sorted(folder.parent.iterdir())
    with pytest.raises(RunFailedError, match=r"again: the model cannot be written \(.*No space left"):
        write_model(target, saved)
    assert sorted(folder.parent.iterdir()) == before


@pytest.mark.usefixtures("full_disk")
def test_an_opening_that_cannot_be_written_down_is_a_failed_run(folder: Path) -> None:
    before = read_record(folder)
    with pytest.raises(RunFailedError, match=r"split.json: .*opening of the test users.*\(No space left on device\)"):
        count_test_opening(folder)
    assert read_record(folder) == before
    assert sorted(file.name for file in folder.iterdir()) == FILES


def test_openings_of_the_test_data_are_counted(folder: Path) -> None:
    before = read_record(folder)
    for _ in range(2):
        count_test_opening(folder)
    assert read_record(folder) == replace(before, test_openings=2)
    assert sorted(file.name for file in folder.iterdir()) == FILES
