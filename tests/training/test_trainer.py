"""The loop: the same seed gives the same run, an interrupted one goes on bit for bit, only targets teach."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import model_for, same_weights, scores_in_order, small_hyperparameters, training_data

from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.data.synthetic import make_dataset, markov
from hrnn_hpo.errors import ConfigError, ModelError, RunFailedError
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.training.progress import EpochReport
from hrnn_hpo.training.stopping import Validation
from hrnn_hpo.training.trainer import FitResult, fit

DATASET = markov(n_users=30, n_items=12, n_events=20)
HIERARCHICAL = {"architecture": "hierarchical", "hierarchy": "all", "session_gap": 60}
KINDS: dict[str, dict[str, Any]] = {
    "control": {},
    "hierarchical": HIERARCHICAL,
    "averaged weights": {"weight_averaging": 0.9},
    "sampled softmax": {"n_negatives": 5},
    "targets ahead": {"targets_ahead": 3},
    "shuffled ties, repeats": {"shuffle_ties": True, "repeats": "mixed"},
    "targets ahead, repeats": {"targets_ahead": 3, "repeats": "mixed"},
    "further heads": {"further_heads_weight": 0.5},
    "further heads, repeats, hierarchical": {**HIERARCHICAL, "further_heads_weight": 0.5, "repeats": "mixed"},
    "request time": {"request_time": "gap+session+clock"},
    "request time, hierarchical": {**HIERARCHICAL, "request_time": "gap+session+clock"},
}
kinds = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
# A target that is drawn keeps a loss that no model can take away.
learn_the_next = pytest.mark.parametrize(
    "changes", [changes for changes in KINDS.values() if "targets_ahead" not in changes]
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def fresh(seed: int = 0, **changes: Any) -> HRNN:
    return model_for(DATASET, seed=seed, scale=0.1, **changes)


def trained(seed: int = 0, **changes: Any) -> tuple[HRNN, FitResult]:
    model = fresh(**changes)
    return model, fit(model, training_data(DATASET), small_hyperparameters(**changes), seed=seed)


@kinds
def test_the_same_seed_gives_the_same_run_bit_for_bit(changes: dict[str, Any]) -> None:
    once, first = trained(**changes)
    torch.manual_seed(12345)  # what happened before in the process plays no part
    again, second = trained(**changes)
    assert same_weights(once, again)
    assert [report.train_loss for report in first.history] == [report.train_loss for report in second.history]
    other, _ = trained(seed=1, **changes)
    assert not same_weights(once, other)


@learn_the_next
def test_training_learns(changes: dict[str, Any]) -> None:
    _, result = trained(**{**changes, "epochs": 12, "batch_size": 4, "learning_rate": 0.03})
    losses = [report.train_loss for report in result.history]
    assert losses[-1] < losses[0] - 0.5


class Interruption(Exception):
    """What a study raises to prune, a user to stop."""


@kinds
@pytest.mark.parametrize("where", ["between two epochs", "inside an epoch"])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, changes: dict[str, Any], where: str
) -> None:
    changes = {**changes, "epochs": 4, "input_dropout": 0.3}
    scores = [0.1, 0.3, 0.2, 0.25]
    whole = fresh(**changes)
    expected = fit(
        whole, training_data(DATASET), small_hyperparameters(**changes), seed=3, evaluate=scores_in_order(*scores)
    )

    seen: list[int] = []

    def stop_after_epoch_2(report: EpochReport) -> None:
        seen.append(report.epoch)
        if report.epoch == 2 and where == "between two epochs":
            raise Interruption

    def stop_inside_epoch_3(n_targets: int) -> None:
        if seen == [1, 2] and where == "inside an epoch" and n_targets > 300:
            raise Interruption

    path = tmp_path / "run.checkpoint"
    arguments: dict[str, Any] = {"seed": 3, "checkpoint": path}
    with pytest.raises(Interruption):
        fit(
            fresh(**changes),
            training_data(DATASET),
            small_hyperparameters(**changes),
            evaluate=scores_in_order(*scores),
            on_epoch=stop_after_epoch_2,
            on_update=stop_inside_epoch_3,
            **arguments,
        )
    resumed = fresh(seed=77, **changes)  # its weights come from the checkpoint
    torch.manual_seed(99)
    result = fit(
        resumed,
        training_data(DATASET),
        small_hyperparameters(**changes),
        evaluate=scores_in_order(*scores[2:]),
        on_epoch=lambda report: seen.append(report.epoch),
        **arguments,
    )
    assert seen == [1, 2, 3, 4]
    assert same_weights(resumed, whole)
    assert result.best_epoch == expected.best_epoch == 2

    def figures(history: list[EpochReport]) -> list[object]:
        return [(report.epoch, report.train_loss, report.metrics, report.is_best) for report in history]

    assert figures(result.history) == figures(expected.history)


def test_what_a_validation_found_is_kept_before_its_checkpoint(tmp_path: Path) -> None:
    path, kept = tmp_path / "run.checkpoint", []

    def evaluate(model: HRNN) -> Validation:
        return Validation({"ndcg_at_10": 0.1}, keep=lambda epoch: kept.append((epoch, path.exists())))

    def stop(report: EpochReport) -> None:
        raise Interruption

    arguments: dict[str, Any] = {"seed": 0, "checkpoint": path, "evaluate": evaluate}
    with pytest.raises(Interruption):
        fit(fresh(), training_data(DATASET), small_hyperparameters(), on_epoch=stop, **arguments)
    assert kept == [(1, False)]
    fit(fresh(), training_data(DATASET), small_hyperparameters(), **arguments)
    assert kept == [(1, False), (2, True), (3, True)]  # no epoch is missed, and none is validated twice


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"seed": 0, "checkpoint": tmp_path / "run.checkpoint"}
    first = fresh()
    fit(first, training_data(DATASET), small_hyperparameters(), **arguments)

    def never(n_targets: int) -> None:
        raise AssertionError("nothing was left to do")

    again = fresh(seed=5)
    result = fit(again, training_data(DATASET), small_hyperparameters(), on_update=never, **arguments)
    assert same_weights(first, again)
    assert len(result.history) == 3


def test_a_damaged_checkpoint_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    path.write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"run\.checkpoint"):
        fit(fresh(), training_data(DATASET), small_hyperparameters(), seed=0, checkpoint=path)


@pytest.mark.parametrize("name", ["batch_size", "targets_ahead"])
def test_a_number_that_is_left_to_the_data_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` must be a number here, but got auto"):
        fit(fresh(), training_data(DATASET), small_hyperparameters(**{name: "auto"}), seed=0)


def test_a_loss_that_diverges_names_epoch_and_update() -> None:
    weights = np.ones(DATASET.n_events, dtype=np.float32)
    weights[DATASET.n_events // 2 :] = np.inf
    data = replace(training_data(DATASET), weights=weights)
    with pytest.raises(
        RunFailedError, match=r"must stay finite, but got (inf|nan) in epoch 1, update \d+.*learning_rate"
    ):
        fit(fresh(), data, small_hyperparameters(), seed=0)


def test_values_in_the_data_that_are_too_large_are_a_failed_run_and_no_traceback() -> None:
    huge = make_dataset([[("a", 0, None, 3e38), ("b", 1, None, 3e38), ("a", 2, None, 1.0)] for _ in range(4)])
    with pytest.raises(RunFailedError, match="must stay finite"):
        fit(model_for(huge), training_data(huge), small_hyperparameters(), seed=0)


def test_only_training_events_are_targets() -> None:
    """Events after a user's stop, and users without a part in training, change nothing."""
    part = TrainPart(users=np.array([0, 1]), stops=np.asarray(DATASET.user_offsets)[1:3] - 5)
    items = np.asarray(DATASET.items).copy()
    trained_rows = np.zeros(len(items), dtype=bool)
    for user, stop in zip(part.users, part.stops, strict=True):
        trained_rows[DATASET.user_offsets[user] : stop] = True
    items[~trained_rows] = 0
    other = replace(DATASET, items=items)
    models = []
    for log in (DATASET, other):
        models.append(fresh())
        data = replace(training_data(log), train=part)
        assert data.n_targets == 30
        fit(models[-1], data, small_hyperparameters(), seed=0)
    assert same_weights(*models)


def test_a_target_of_weight_zero_teaches_nothing() -> None:
    """Its item may be any: inputs read it only later, so it stands last in its history."""
    last = np.asarray(DATASET.user_offsets[1:]) - 1
    weights = np.ones(DATASET.n_events, dtype=np.float32)
    weights[last] = 0.0
    items = np.asarray(DATASET.items).copy()
    items[last] = 0
    models = []
    for log in (DATASET, replace(DATASET, items=items)):
        models.append(fresh())
        fit(models[-1], replace(training_data(log), weights=weights), small_hyperparameters(), seed=0)
    torch.testing.assert_close(dict(models[0].state_dict()), dict(models[1].state_dict()), rtol=0, atol=1e-6)


def test_progress_counts_the_targets_of_an_epoch() -> None:
    seen: list[int] = []
    fit(fresh(), training_data(DATASET), small_hyperparameters(epochs=1), seed=0, on_update=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == DATASET.n_events


def test_a_user_without_training_events_is_skipped() -> None:
    starts = np.asarray(DATASET.user_offsets)
    part = TrainPart(users=np.array([0, 1]), stops=np.array([starts[0], starts[2]]))
    result = fit(fresh(), replace(training_data(DATASET), train=part), small_hyperparameters(epochs=1), seed=0)
    assert len(result.history) == 1


def test_a_new_users_lane_forgets_the_last_user() -> None:
    """With one lane, users follow each other in it; reset, each user's loss is the one it has alone."""
    log = markov(n_users=6, n_items=12, n_events=5)
    frozen = small_hyperparameters(batch_size=1, epochs=1, learning_rate=1e-12, weight_decay=0)
    model = model_for(log, **dropouts(0))
    alone = []
    for user in range(6):
        part = TrainPart(users=np.array([user]), stops=np.asarray(log.user_offsets)[[user + 1]])
        alone.append(fit(model, replace(training_data(log), train=part), frozen, seed=0).history[0].train_loss)
    together = fit(model, training_data(log), frozen, seed=0).history[0].train_loss
    assert together == pytest.approx(np.mean(alone), rel=1e-5)


def test_each_epoch_draws_anew() -> None:
    """With weights that stand still, only order and dropout can make one epoch's loss another's."""
    frozen = small_hyperparameters(epochs=2, learning_rate=1e-12, weight_decay=0)
    model = model_for(DATASET, **dropouts(0.5))
    first, second = fit(model, training_data(DATASET), frozen, seed=0).history
    assert first.train_loss != pytest.approx(second.train_loss, rel=1e-5)


def test_state_is_carried_from_window_to_window() -> None:
    """The loss of a history of many windows is that of the history read at once."""
    log = markov(n_users=2, n_items=12, n_events=100)
    model = model_for(log, **dropouts(0))
    losses = []
    for bptt in (2, 200):  # windows of 32 steps, and one of 200
        frozen = small_hyperparameters(bptt=bptt, epochs=1, learning_rate=1e-12, weight_decay=0)
        losses.append(fit(model, training_data(log), frozen, seed=0).history[0].train_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def dropouts(rate: float) -> dict[str, Any]:
    return {"input_dropout": rate, "hidden_dropout": rate, "output_dropout": rate}
