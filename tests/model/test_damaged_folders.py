"""Damaged model folders, those of other versions and what is none: which are read, and how the others are refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_folders import CHANGES, FILES, log_of, record_of, saved
from small_runs import model_for, small_configuration

from hrnn_hpo.data.splits import make_split
from hrnn_hpo.errors import ModelError
from hrnn_hpo.model.folder import keep_model, load_model, read_record, write_model


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, dataset = tmp_path_factory.mktemp("intact") / "model", log_of()
    saved(folder, model_for(dataset, **CHANGES), dataset)
    return folder


@pytest.fixture
def copy(tmp_path: Path, intact: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "model"))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_a_model_error(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=r"is missing|is a damaged model folder"):
        load_model(copy)


@pytest.mark.parametrize("left", [0, 7, 0.5])
@pytest.mark.parametrize("name", FILES)
def test_a_torn_file_is_a_model_error(copy: Path, name: str, left: float) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: int(len(content) * left) if left == 0.5 else int(left)])
    with pytest.raises(ModelError, match="is a damaged model folder"):
        load_model(copy)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("split.json", "[]"),
        ("split.json", '{"format": 1}'),
        ("split.json", '{"format": 1, "protocol": "personalize", "unknown": 1}'),
        ("vocabulary.json", "[]"),
        ("vocabulary.json", '{"items": ["a"], "users": [], "event_types": []}'),
        ("vocabulary.json", '{"items": null, "users": null, "event_types": null}'),
        ("config.yaml", "hyperparameters: {hidden_dimensions: 3}"),
        ("config.yaml", "hyperparameters: {hidden_dimension: 16}"),
        ("config.yaml", "- just\n- a list"),
    ],
)
def test_a_file_of_another_content_is_a_model_error(copy: Path, name: str, content: str) -> None:
    (copy / name).write_text(content)
    with pytest.raises(ModelError, match="is a damaged model folder"):
        load_model(copy)


def test_a_configuration_cut_at_a_lines_end_is_a_model_error(copy: Path) -> None:
    lines = (copy / "config.yaml").read_text("utf-8").splitlines(keepends=True)
    (copy / "config.yaml").write_text("".join(lines[:-1]), "utf-8")
    with pytest.raises(ModelError, match=r"config\.yaml is not the one"):
        load_model(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_model_of_the_same_shape_is_a_model_error(copy: Path, tmp_path: Path, name: str) -> None:
    # As many users, items and kinds of events, under other names and with other items: all of it would load.
    log = log_of()
    other = replace(log, items=np.roll(log.items, 1), item_ids=np.array([f"j{item}" for item in range(7)]))
    split = make_split(other, "personalize", 0)
    kept = keep_model(
        model_for(other, seed=1, **CHANGES),
        small_configuration(seed=1, **CHANGES),
        other,
        split,
        record_of(split, other),
    )
    write_model(tmp_path / "other", kept)
    shutil.copy(tmp_path / "other" / name, copy / name)
    with pytest.raises(ModelError, match=r"is a damaged model folder \(\S+ is not the one that was written"):
        load_model(copy)


def test_a_folder_that_knows_its_configuration_alone_is_read(copy: Path) -> None:
    record = json.loads((copy / "split.json").read_text("utf-8"))
    record["config_sha256"] = record.pop("sha256")["config.yaml"]
    (copy / "split.json").write_text(json.dumps(record), "utf-8")
    assert load_model(copy).split.sha256 == {"config.yaml": record["config_sha256"]}


def test_a_record_holds_what_is_read_and_an_earlier_one_may_hold_a_train_seed(copy: Path) -> None:
    record = json.loads((copy / "split.json").read_text("utf-8"))
    assert "train_seed" not in record
    (copy / "split.json").write_text(json.dumps(record | {"train_seed": None}), "utf-8")
    assert load_model(copy).split == read_record(copy)


def test_another_format_is_refused_by_its_number(copy: Path) -> None:
    record = json.loads((copy / "split.json").read_text())
    (copy / "split.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(ModelError, match="but got 99"):
        load_model(copy)


def test_a_folder_that_is_none_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a model folder.*hrnn-hpo train"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match="is not a model folder"):
        load_model(tmp_path / "nowhere")
