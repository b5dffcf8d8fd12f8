"""Checkpoints inside an epoch: a run that dies there goes on at the batch where it stopped, to the same figures."""

import errno
import json
import logging
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_runs import inputs_of, model_for, same_weights, small_configuration
from strategies import train_part_of

from hrnn_hpo.data.repeats import occurrences
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.errors import ModelError
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.training import keeping
from hrnn_hpo.training.progress import EpochReport
from hrnn_hpo.training.trainer import FitResult, TrainingData, fit

DATASET = markov(n_users=30, n_items=12, n_events=20)
DROPOUT = {"input_dropout": 0.3, "hidden_dropout": 0.2, "epochs": 3, "batch_size": 4}
KINDS: dict[str, dict[str, Any]] = {
    "control": {},
    "hierarchical": {"architecture": "hierarchical", "hierarchy": "all", "session_gap": 60},
    "averaged weights": {"weight_averaging": 0.9},
    "sampled softmax": {"n_negatives": 5},
    "targets ahead": {"targets_ahead": 3},
    "shuffled ties, repeats": {"shuffle_ties": True, "repeats": "mixed"},
    "further heads, sampled softmax": {"further_heads_weight": 0.5, "n_negatives": 5},
    "repeats": {"repeats": "mixed"},
}
EACH_UPDATE, NEVER = 0.0, math.inf


class Dies(Exception):
    """What ends a process at any moment."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def train(
    path: Path | None,
    *,
    dies_after: int | None = None,
    seconds: float = EACH_UPDATE,
    on_update: Callable[[int], None] | None = None,
    data: TrainingData | None = None,
    **changes: Any,
) -> tuple[HRNN, FitResult, list[int]]:
    """Train a small model; return it, the result and what each update had learned from. It may die after an update."""
    seen: list[int] = []

    def update(n_targets: int) -> None:
        seen.append(n_targets)
        if on_update is not None:
            on_update(n_targets)
        if len(seen) == dies_after:
            raise Dies

    weights = np.linspace(0.5, 1.5, DATASET.n_events, dtype=np.float32)
    data = data or TrainingData(DATASET, inputs_of(DATASET), train_part_of(DATASET), weights, occurrences(DATASET))
    model = model_for(DATASET, seed=0, scale=0.1, **{**DROPOUT, **changes})
    result = fit(
        model,
        data,
        small_configuration(**{**DROPOUT, **changes}).hyperparameters,
        seed=3,
        checkpoint=path,
        seconds_between_checkpoints=seconds,
        on_update=update,
    )
    return model, result, seen


def figures(history: list[EpochReport]) -> list[object]:
    return [(report.epoch, report.train_loss, report.metrics, report.is_best) for report in history]


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_a_run_that_dies_inside_an_epoch_goes_on_at_the_next_batch_bit_for_bit(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    whole, expected, every = train(None, **changes)
    n_updates = len(every) // 3
    assert n_updates > 4
    path = tmp_path / "run.checkpoint"
    with pytest.raises(Dies):
        train(path, dies_after=n_updates + 3, **changes)  # the third update of epoch 2 is learned from, and not kept
    torch.manual_seed(99)
    resumed, result, seen = train(path, **changes)
    assert seen == every[n_updates + 2 :]
    assert same_weights(resumed, whole)
    assert figures(result.history) == figures(expected.history)


def test_a_run_may_die_at_every_update(tmp_path: Path) -> None:
    """Two updates at a time, the second of them lost: each start goes one further."""
    whole, expected, every = train(None, epochs=2)
    path, n_starts = tmp_path / "run.checkpoint", 0
    while True:
        n_starts += 1
        try:
            resumed, result, _ = train(path, dies_after=2, epochs=2)
        except Dies:
            continue
        break
    assert n_starts == len(every)
    assert same_weights(resumed, whole)
    assert figures(result.history) == figures(expected.history)


def test_an_epoch_is_kept_only_when_the_time_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds an update and 35 between checkpoints: after updates 4 and 8, and after the epoch of 8."""
    now, kept = [0.0], []
    saved = keeping.save_checkpoint

    def save(path: Path, state: Any, *parts: Any) -> None:
        kept.append((state.epoch, state.begun and state.begun.n_windows))
        saved(path, state, *parts)

    monkeypatch.setattr(keeping, "save_checkpoint", save)
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now[0])

    def ten_seconds_pass(n_targets: int) -> None:
        now[0] += 10.0

    _, _, seen = train(tmp_path / "a", seconds=35.0, on_update=ten_seconds_pass, epochs=1)
    assert len(seen) == 8
    assert kept == [(0, 4), (0, 8), (1, None)]
    kept.clear()
    train(tmp_path / "b", seconds=NEVER, epochs=2)
    assert kept == [(1, None), (2, None)]
    train(None, epochs=1)
    assert len(kept) == 2


def test_ten_minutes_are_the_rule() -> None:
    assert keeping.SECONDS_BETWEEN_CHECKPOINTS == 600


def begun_checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "run.checkpoint"
    with pytest.raises(Dies):
        train(path, dies_after=4)
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    change(header, tensors)
    save_file(tensors, path, {"state": json.dumps(header)})


def test_the_time_before_the_break_counts(tmp_path: Path) -> None:
    path = begun_checkpoint(tmp_path)
    rewrite(path, lambda header, tensors: header["begun"].update(seconds=1000.0))
    _, result, _ = train(path)
    assert 1000 < result.history[0].seconds < 1100
    assert result.history[1].seconds < 100


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_torn_file_is_noticed(share: float, tmp_path: Path) -> None:
    path = begun_checkpoint(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"run\.checkpoint: is not a checkpoint of this configuration"):
        train(path)


@pytest.mark.parametrize("lost", ["begun.lanes", "begun.loss", "random.cpu"])
def test_a_file_without_one_of_its_parts_is_noticed(lost: str, tmp_path: Path) -> None:
    path = begun_checkpoint(tmp_path)
    rewrite(path, lambda header, tensors: tensors.pop(lost))  # type: ignore[arg-type, return-value]
    with pytest.raises(ModelError, match=r"run\.checkpoint: "):
        train(path)


def test_the_epoch_of_other_data_is_noticed(tmp_path: Path) -> None:
    path = begun_checkpoint(tmp_path)
    few = markov(n_users=8, n_items=12, n_events=20)
    data = TrainingData(few, inputs_of(few), train_part_of(few))
    with pytest.raises(ModelError, match=r"run\.checkpoint: the epoch that it is in is not one of this run"):
        train(path, data=data)


def test_random_states_of_another_size_are_noticed(tmp_path: Path) -> None:
    path = begun_checkpoint(tmp_path)
    rewrite(path, lambda header, tensors: tensors.update({"random.cpu": torch.zeros(3, dtype=torch.uint8)}))
    with pytest.raises(ModelError, match=r"run\.checkpoint: the epoch that it is in is not one of this run"):
        train(path)


def test_a_full_disk_is_a_warning_inside_an_epoch_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _, _ = train(None, epochs=1)
    path = begun_checkpoint(tmp_path)
    before = path.read_bytes()

    def full(tensors: object, file: Path, metadata: object) -> None:
        Path(file).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hrnn_hpo.training.checkpoint.save_file", full)
    with caplog.at_level(logging.WARNING):
        resumed, _, seen = train(path, epochs=1)
    assert same_weights(resumed, whole)
    assert len(caplog.records) == len(seen) + 1  # each update, and the epoch
    assert "No space left on device" in caplog.text
    assert "The run goes on without." in caplog.text
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.checkpoint"]


PROGRAM = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}]
from training.test_keeping import train
from safetensors.torch import save_file

def update(n_targets):
    print(n_targets, flush=True)
    time.sleep({pause})

model, result, seen = train(Path({path!r}), on_update=update)
save_file(model.state_dict(), {out!r})
"""


def test_kill_9_inside_an_epoch_costs_no_figure(tmp_path: Path) -> None:
    """The process is killed while it writes, learns or waits, after a few updates of the second epoch."""
    whole, _, every = train(None)
    path, out = tmp_path / "run.checkpoint", tmp_path / "out.safetensors"
    facts = {"tests": str(Path(__file__).parent.parent), "path": str(path), "out": str(out)}

    def start(pause: float) -> "subprocess.Popen[str]":
        program = PROGRAM.format(pause=pause, **facts)
        return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)

    with start(0.02) as first:
        assert first.stdout is not None
        for _ in range(len(every) // 3 + 3):
            assert first.stdout.readline()
        first.send_signal(signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert not out.exists()
    with start(0.0) as second:
        assert second.stdout is not None
        done = [int(line) for line in second.stdout]
    assert second.returncode == 0
    assert len(done) <= 2 * len(every) // 3 - 2  # nothing of the first epoch, and not all of the second
    with safe_open(out, framework="pt") as file:
        for name, value in whole.state_dict().items():
            assert torch.equal(file.get_tensor(name), value), name
