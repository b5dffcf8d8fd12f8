"""Checkpoints: everything comes back, a torn file is refused, and no pickled code runs."""

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_runs import model_for, same_weights
from strategies import dataset_of

from hrnn_hpo.errors import ModelError, RunFailedError
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.training.averaging import AveragedWeights
from hrnn_hpo.training.checkpoint import load_checkpoint, save_checkpoint
from hrnn_hpo.training.optimizer import Optimizer
from hrnn_hpo.training.progress import EpochReport, TrainingState

DATASET = dataset_of([[0, 1, 2, 3, 1], [3, 2, 0]])
REPORT = EpochReport(
    epoch=1,
    train_loss=0.1 + 0.2,
    metrics={"ndcg_at_10": 1 / 3},
    seconds=0.5,
    validation_seconds=0.25,
    targets_per_second=16.0,
    is_best=True,
)


def pieces(seed: int, **changes: object) -> tuple[HRNN, Optimizer, AveragedWeights]:
    model = model_for(DATASET, seed=seed, **changes)
    return model, Optimizer(model, 0.01, 0.1), AveragedWeights(model, 0.9)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    model, optimizer, averaged = pieces(seed=1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    averaged.update(model)
    best = {name: value + 1 for name, value in model.state_dict().items()}
    state = TrainingState(
        epoch=1,
        update=9,
        best_epoch=1,
        best_value=1 / 3,
        best_per_user=np.array([0.1 + 0.2, 0.0]),
        epochs_without_gain=2.5,
        history=[REPORT],
        best_weights=best,
    )
    path = tmp_path / "new" / "run.checkpoint"
    save_checkpoint(path, state, model, optimizer, averaged)
    return path


def test_everything_comes_back(written: Path) -> None:
    model, optimizer, averaged = pieces(seed=2)
    state = load_checkpoint(written, model, optimizer, averaged)
    expected = model_for(DATASET, seed=1)
    twin = Optimizer(expected, 0.01, 0.1)
    for parameter in expected.parameters():
        parameter.grad = torch.ones_like(parameter)
    twin.step()
    assert same_weights(model, expected)
    assert optimizer.state_tensors().keys() == twin.state_tensors().keys()
    for name, value in twin.state_tensors().items():
        assert torch.equal(optimizer.state_tensors()[name], value), name
    assert averaged.n_updates == 1
    assert (state.epoch, state.update, state.best_epoch, state.epochs_without_gain) == (1, 9, 1, 2.5)
    assert state.best_per_user is not None
    assert state.best_per_user.tolist() == [0.1 + 0.2, 0.0]  # to the last digit
    assert state.best_value == 1 / 3
    assert state.history == [REPORT]
    for name, value in expected.state_dict().items():
        assert torch.equal(state.best_weights[name], value + 1), name


def test_values_that_are_no_numbers_come_back_too(tmp_path: Path) -> None:
    state = TrainingState(best_value=-math.inf, history=[])
    save_checkpoint(tmp_path / "a", state, *pieces(seed=1))
    assert load_checkpoint(tmp_path / "a", *pieces(seed=2)).best_value == -math.inf


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_torn_checkpoint_is_a_model_error(written: Path, share: float) -> None:
    content = written.read_bytes()
    written.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match="is not a checkpoint of this configuration"):
        load_checkpoint(written, *pieces(seed=2))


def test_garbage_is_a_model_error(written: Path) -> None:
    written.write_bytes(b"\x80\x04 a pickle, perhaps")
    with pytest.raises(ModelError, match="is not a checkpoint of this configuration"):
        load_checkpoint(written, *pieces(seed=2))


@pytest.mark.parametrize("changes", [{"hidden_dimension": 16}, {"n_blocks": 2}, {"architecture": "hierarchical"}])
def test_a_checkpoint_of_another_model_is_a_model_error(written: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="is not a checkpoint of this configuration"):
        load_checkpoint(written, *pieces(seed=2, **changes))


@pytest.mark.parametrize("lost", ["model.norm.weight", "averaged.0"])
def test_a_checkpoint_without_one_of_its_tensors_is_a_model_error(written: Path, lost: str) -> None:
    with safe_open(written, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    del tensors[lost]
    save_file(tensors, written, metadata)
    with pytest.raises(ModelError, match="is not a checkpoint of this configuration"):
        load_checkpoint(written, *pieces(seed=2))


@pytest.mark.parametrize("content", ["[]", "{}", '{"epoch": 1}', "not json"])
def test_a_checkpoint_with_another_header_is_a_model_error(written: Path, content: str) -> None:
    with safe_open(written, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    save_file(tensors, written, {"state": content})
    with pytest.raises(ModelError, match="is not a checkpoint of this configuration"):
        load_checkpoint(written, *pieces(seed=2))


def test_a_process_that_dies_while_writing_leaves_the_older_checkpoint(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()

    def dies(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("hrnn_hpo.training.checkpoint.save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(written, TrainingState(), *pieces(seed=3))
    assert written.read_bytes() == before


def test_what_dead_processes_left_half_written_goes_and_what_living_ones_write_stays(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for number in (dead.pid, os.getppid()):
        written.with_suffix(f".partial-{number}").write_bytes(b"half of it")
    written.with_name(f"other.partial-{dead.pid}").write_bytes(b"another run's")
    save_checkpoint(written, TrainingState(), *pieces(seed=3))
    left = sorted([written.name, f"run.partial-{os.getppid()}", f"other.partial-{dead.pid}"])
    assert sorted(file.name for file in written.parent.iterdir()) == left

    def interrupted(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("hrnn_hpo.training.checkpoint.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(written, TrainingState(), *pieces(seed=3))
    assert sorted(file.name for file in written.parent.iterdir()) == left


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_older_checkpoint_and_nothing_half_written(small_disk: Path) -> None:
    model, optimizer, averaged = pieces(seed=1)
    state = TrainingState(epoch=1, history=[REPORT])
    path = small_disk / "a"
    save_checkpoint(path, state, model, optimizer, averaged)
    before = path.read_bytes()
    (small_disk / "filler").write_bytes(bytes(64 * 1024 - 4096 * -(-len(before) // 4096) - 4096))
    with pytest.raises(RunFailedError, match=r"cannot be written .*No space left on device"):
        save_checkpoint(path, state, model, optimizer, averaged)
    assert path.read_bytes() == before
    assert sorted(file.name for file in small_disk.iterdir()) == ["a", "filler"]


def test_the_header_is_json_and_the_rest_are_tensors(written: Path) -> None:
    with safe_open(written, framework="pt") as file:
        progress = json.loads(file.metadata()["state"])
        kinds = {name.split(".")[0] for name in file.keys()}  # noqa: SIM118
        assert kinds == {"model", "best", "best_per_user", "averaged", "optimizer"}
    assert progress["history"][0]["metrics"] == {"ndcg_at_10": 1 / 3}
