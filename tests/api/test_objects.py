"""Tables, data sets and models in memory, where other tests have files and folders."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from folders import names
from small_runs import same_weights, small_configuration

from hrnn_hpo import api
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, DataError, ModelError
from hrnn_hpo.model.folder import load_model, read_record

COLUMNS = {"user": "userId", "item": "movieId", "time": "when"}


def frame_of(dataset: Dataset) -> pd.DataFrame:
    """Return the log as a notebook has it: its own column names, any index, another column."""
    return pd.DataFrame(
        {
            "userId": dataset.user_ids[dataset.event_users],
            "when": pd.to_datetime(np.asarray(dataset.timestamps), unit="s"),
            "title": "?",
            "movieId": dataset.item_ids[dataset.items],
        },
        index=[0] * dataset.n_events,
    )


def test_a_table_trains_what_its_file_trains(dataset: Dataset, data: Path) -> None:
    from_table = api.train(frame_of(dataset), configuration=small_configuration(), device="cpu", **COLUMNS)
    from_file = api.train(data, configuration=small_configuration(), device="cpu")
    assert same_weights(from_table.result.model, from_file.result.model)
    assert from_table.saved.split.data_hash == from_file.saved.split.data_hash


def test_a_model_in_memory_is_the_one_in_the_folder(tmp_path: Path, data: Path, model: Path) -> None:
    trained = api.train(data, configuration=small_configuration(), device="cpu")
    assert trained.folder is None
    assert names(tmp_path) == ["model"]
    assert trained.recommend("u00", 5) == api.recommend(model, "u00", k=5)
    ours, theirs = trained.evaluate(), api.evaluate(model, data)
    assert ours.model.metrics == theirs.model.metrics
    assert (ours.n_users, ours.seen) == (theirs.n_users, theirs.seen)
    assert trained.save(tmp_path / "kept") == trained.folder
    assert names(tmp_path / "kept") == names(model)
    for name in names(model):
        assert (tmp_path / "kept" / name).read_bytes() == (model / name).read_bytes()


def test_a_model_in_memory_counts_its_openings(tmp_path: Path, data: Path) -> None:
    trained = api.train(data, configuration=small_configuration(), device="cpu")
    assert trained.evaluate().n_openings == 1
    with pytest.raises(ModelError, match="The model: its test users were opened 1 time"):
        trained.evaluate()
    folder = trained.save(tmp_path / "model")
    assert trained.evaluate(again=True).n_openings == 2
    assert read_record(folder).test_openings == 2
    with pytest.raises(ModelError, match="opened 2 time"):
        api.evaluate(str(folder), str(data))
    # Others open the folder's test users too, and the model that is held counts on from there.
    read_before = load_model(folder)
    assert api.evaluate(folder, data, again=True).n_openings == 3
    assert trained.evaluate(again=True).n_openings == 4
    assert api.evaluate(read_before, data, again=True).n_openings == 5
    assert read_record(folder).test_openings == 5


def test_a_model_whose_folder_holds_another_one_counts_for_itself(tmp_path: Path, data: Path) -> None:
    trained, other = (api.train(data, configuration=small_configuration(seed=seed), device="cpu") for seed in range(2))
    folder = trained.save(tmp_path / "model")
    assert trained.evaluate().n_openings == 1
    other.save(folder)
    assert trained.evaluate(again=True).n_openings == 2
    assert read_record(folder).test_openings == 0
    (folder / "split.json").write_text("{")
    assert trained.evaluate(again=True).n_openings == 3
    assert (folder / "split.json").read_text() == "{"
    shutil.rmtree(folder)
    assert trained.evaluate(again=True).n_openings == 4
    assert not folder.exists()


def test_a_model_from_a_folder_needs_its_data(model: Path) -> None:
    with pytest.raises(ConfigError, match="`data` must be given"):
        api.evaluate(model)


def test_a_dataset_has_no_columns_to_name(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="A Dataset has been read already: leave user out"):
        api.train(dataset, configuration=small_configuration(), user="userId")


@pytest.mark.parametrize("user", [None, float("nan"), "", True, 1.5, ["u00"]])
def test_what_is_no_user_is_refused(model: Path, user: object) -> None:
    with pytest.raises(DataError, match="must be a text or a whole number, but got"):
        api.recommend(model, user)


def test_a_whole_number_stands_for_its_digits(dataset: Dataset) -> None:
    frame = frame_of(dataset)
    frame["userId"] = dataset.event_users
    trained = api.train(frame, configuration=small_configuration(), device="cpu", **COLUMNS)
    assert trained.recommend(7) == trained.recommend("7") == trained.recommend(np.float64(7))
    assert trained.recommend(7) != trained.recommend(8)
