"""The loop: the same seed gives the same run, an interrupted run goes on bit for bit, and training stops in time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import inputs_of, model_for, same_weights, small_configuration
from strategies import train_part_of

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.data.featurize import event_features
from hrnn_hpo.data.repeats import occurrences
from hrnn_hpo.data.requests import requests_of_events
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import TrainPart
from hrnn_hpo.data.synthetic import make_dataset, markov
from hrnn_hpo.errors import ConfigError, ModelError, RunFailedError
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.training.progress import EpochReport
from hrnn_hpo.training.stopping import Validation
from hrnn_hpo.training.trainer import FitResult, TrainingData, fit

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


def hyperparameters(**changes: Any) -> Hyperparameters:
    made: Hyperparameters = small_configuration(**changes).hyperparameters
    return made


def data_of(dataset: Dataset, session_gap: int = 1800) -> TrainingData:
    requests = requests_of_events(dataset, event_features(dataset, session_gap))
    return TrainingData(
        dataset,
        inputs_of(dataset, session_gap),
        train_part_of(dataset),
        occurrences=occurrences(dataset),
        requests=requests,
    )


def fresh(seed: int = 0, **changes: Any) -> HRNN:
    return model_for(DATASET, seed=seed, scale=0.1, **changes)


def scores_in_order(*values: float) -> Callable[[HRNN], Validation]:
    """Return an evaluation that gives these scores, epoch by epoch, to each of two users."""
    left = iter(values)

    def evaluate(model: HRNN) -> Validation:
        value = next(left)
        return Validation({"ndcg_at_10": value}, np.array([value, value]))

    return evaluate


def trained(seed: int = 0, **changes: Any) -> tuple[HRNN, FitResult]:
    model = fresh(**changes)
    return model, fit(model, data_of(DATASET), hyperparameters(**changes), seed=seed)


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
    expected = fit(whole, data_of(DATASET), hyperparameters(**changes), seed=3, evaluate=scores_in_order(*scores))

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
            data_of(DATASET),
            hyperparameters(**changes),
            evaluate=scores_in_order(*scores),
            on_epoch=stop_after_epoch_2,
            on_update=stop_inside_epoch_3,
            **arguments,
        )
    resumed = fresh(seed=77, **changes)  # its weights come from the checkpoint
    torch.manual_seed(99)
    result = fit(
        resumed,
        data_of(DATASET),
        hyperparameters(**changes),
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
        fit(fresh(), data_of(DATASET), hyperparameters(), on_epoch=stop, **arguments)
    assert kept == [(1, False)]
    fit(fresh(), data_of(DATASET), hyperparameters(), **arguments)
    assert kept == [(1, False), (2, True), (3, True)]  # no epoch is missed, and none is validated twice


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"seed": 0, "checkpoint": tmp_path / "run.checkpoint"}
    first = fresh()
    fit(first, data_of(DATASET), hyperparameters(), **arguments)

    def never(n_targets: int) -> None:
        raise AssertionError("nothing was left to do")

    again = fresh(seed=5)
    result = fit(again, data_of(DATASET), hyperparameters(), on_update=never, **arguments)
    assert same_weights(first, again)
    assert len(result.history) == 3


def test_a_damaged_checkpoint_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    path.write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"run\.checkpoint"):
        fit(fresh(), data_of(DATASET), hyperparameters(), seed=0, checkpoint=path)


def test_training_stops_after_patience_epochs_without_gain_and_keeps_the_best() -> None:
    at_epoch: list[dict[str, torch.Tensor]] = []
    scores = iter([0.1, 0.5, 0.5, 0.4, 0.2])

    def evaluate(model: HRNN) -> Validation:
        at_epoch.append({name: value.clone() for name, value in model.state_dict().items()})
        return Validation({"ndcg_at_10": next(scores)})

    model = fresh()
    changes = {"epochs": 50, "patience": 3, "batch_size": 1}  # 30 updates an epoch: warmed up in the second
    result = fit(model, data_of(DATASET), hyperparameters(**changes), seed=0, evaluate=evaluate)
    assert [report.is_best for report in result.history] == [True, True, False, False, False]  # a tie is no gain
    assert result.best_epoch == 2
    assert result.metrics == {"ndcg_at_10": 0.5}
    for name, value in model.state_dict().items():
        assert torch.equal(value, at_epoch[1][name])


@pytest.mark.parametrize(("floor", "n_epochs"), [(0.4, 5), (0.5, 8)])
def test_a_run_that_has_not_passed_the_floor_goes_on_while_its_loss_falls(floor: float, n_epochs: int) -> None:
    scores = scores_in_order(0.1, 0.5, 0.5, 0.4, 0.2, 0.1, 0.1, 0.1)
    changes = {"epochs": 8, "patience": 3, "batch_size": 1, "learning_rate": 0.03}
    result = fit(fresh(), data_of(DATASET), hyperparameters(**changes), seed=0, evaluate=scores, floor=floor)
    assert len(result.history) == n_epochs


def test_epochs_within_the_noise_of_the_users_count_half() -> None:
    """The same mean in each epoch, once with users who differ from epoch to epoch, once without them."""
    changes = {"epochs": 50, "patience": 2, "batch_size": 1}
    n_epochs = []
    for users in (True, False):
        generator = np.random.default_rng(0)

        def evaluate(model: HRNN, users: bool = users, generator: np.random.Generator = generator) -> Validation:
            per_user = generator.permutation([0.2, 0.4, 0.6])
            return Validation({"ndcg_at_10": 0.4}, per_user if users else None)

        n_epochs.append(
            len(fit(fresh(), data_of(DATASET), hyperparameters(**changes), seed=0, evaluate=evaluate).history)
        )
    assert n_epochs[1] == 3
    assert n_epochs[0] > 3


def test_epochs_of_the_warm_up_do_not_count() -> None:
    """Two updates an epoch: the first 25 epochs are the warm-up's."""
    changes = {"epochs": 50, "patience": 2, "batch_size": 16}
    result = fit(fresh(), data_of(DATASET), hyperparameters(**changes), seed=0, evaluate=scores_in_order(*[0.5] * 50))
    assert len(result.history) == 27


@pytest.mark.parametrize("name", ["batch_size", "targets_ahead"])
def test_a_number_that_is_left_to_the_data_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` must be a number here, but got auto"):
        fit(fresh(), data_of(DATASET), hyperparameters(**{name: "auto"}), seed=0)


def test_another_objective_decides_what_is_best() -> None:
    figures = iter([{"ndcg_at_10": 0.9, "recall_at_10": 0.1}, {"ndcg_at_10": 0.1, "recall_at_10": 0.9}])
    result = fit(
        fresh(),
        data_of(DATASET),
        hyperparameters(epochs=2),
        seed=0,
        evaluate=lambda model: Validation(next(figures)),
        objective="recall_at_10",
    )
    assert result.best_epoch == 2


def test_fixed_epochs_run_to_their_end_and_keep_the_last_weights() -> None:
    free = fresh()
    fit(free, data_of(DATASET), hyperparameters(epochs=4), seed=0)
    model = fresh()
    result = fit(
        model,
        data_of(DATASET),
        hyperparameters(epochs=99, patience=1),
        seed=0,
        evaluate=scores_in_order(0.9, 0.1, 0.1, 0.1),
        fixed_epochs=4,
    )
    assert len(result.history) == 4
    assert result.best_epoch == 4
    assert same_weights(model, free)


def test_averaged_weights_are_what_is_evaluated_and_kept() -> None:
    evaluated: list[dict[str, torch.Tensor]] = []

    def evaluate(model: HRNN) -> Validation:
        assert not model.training
        evaluated.append({name: value.clone() for name, value in model.state_dict().items()})
        return Validation({"ndcg_at_10": float(len(evaluated))})

    plain, averaged = fresh(), fresh()
    fit(plain, data_of(DATASET), hyperparameters(), seed=0)
    fit(averaged, data_of(DATASET), hyperparameters(weight_averaging=0.99), seed=0, evaluate=evaluate)
    for name, value in averaged.state_dict().items():
        assert torch.equal(value, evaluated[-1][name])
    assert not same_weights(averaged, plain)


def test_a_loss_that_diverges_names_epoch_and_update() -> None:
    weights = np.ones(DATASET.n_events, dtype=np.float32)
    weights[DATASET.n_events // 2 :] = np.inf
    data = replace(data_of(DATASET), weights=weights)
    with pytest.raises(
        RunFailedError, match=r"must stay finite, but got (inf|nan) in epoch 1, update \d+.*learning_rate"
    ):
        fit(fresh(), data, hyperparameters(), seed=0)


def test_values_in_the_data_that_are_too_large_are_a_failed_run_and_no_traceback() -> None:
    huge = make_dataset([[("a", 0, None, 3e38), ("b", 1, None, 3e38), ("a", 2, None, 1.0)] for _ in range(4)])
    with pytest.raises(RunFailedError, match="must stay finite"):
        fit(model_for(huge), data_of(huge), hyperparameters(), seed=0)


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
        data = replace(data_of(log), train=part)
        assert data.n_targets == 30
        fit(models[-1], data, hyperparameters(), seed=0)
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
        fit(models[-1], replace(data_of(log), weights=weights), hyperparameters(), seed=0)
    torch.testing.assert_close(dict(models[0].state_dict()), dict(models[1].state_dict()), rtol=0, atol=1e-6)


def test_progress_counts_the_targets_of_an_epoch() -> None:
    seen: list[int] = []
    fit(fresh(), data_of(DATASET), hyperparameters(epochs=1), seed=0, on_update=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == DATASET.n_events


def test_a_user_without_training_events_is_skipped() -> None:
    starts = np.asarray(DATASET.user_offsets)
    part = TrainPart(users=np.array([0, 1]), stops=np.array([starts[0], starts[2]]))
    result = fit(fresh(), replace(data_of(DATASET), train=part), hyperparameters(epochs=1), seed=0)
    assert len(result.history) == 1


def test_a_new_users_lane_forgets_the_last_user() -> None:
    """With one lane, users follow each other in it; reset, each user's loss is the one it has alone."""
    log = markov(n_users=6, n_items=12, n_events=5)
    frozen = hyperparameters(batch_size=1, epochs=1, learning_rate=1e-12, weight_decay=0)
    model = model_for(log, **dropouts(0))
    alone = []
    for user in range(6):
        part = TrainPart(users=np.array([user]), stops=np.asarray(log.user_offsets)[[user + 1]])
        alone.append(fit(model, replace(data_of(log), train=part), frozen, seed=0).history[0].train_loss)
    together = fit(model, data_of(log), frozen, seed=0).history[0].train_loss
    assert together == pytest.approx(np.mean(alone), rel=1e-5)


def test_each_epoch_draws_anew() -> None:
    """With weights that stand still, only order and dropout can make one epoch's loss another's."""
    frozen = hyperparameters(epochs=2, learning_rate=1e-12, weight_decay=0)
    model = model_for(DATASET, **dropouts(0.5))
    first, second = fit(model, data_of(DATASET), frozen, seed=0).history
    assert first.train_loss != pytest.approx(second.train_loss, rel=1e-5)


def test_state_is_carried_from_window_to_window() -> None:
    """The loss of a history of many windows is that of the history read at once."""
    log = markov(n_users=2, n_items=12, n_events=100)
    model = model_for(log, **dropouts(0))
    losses = []
    for bptt in (2, 200):  # windows of 32 steps, and one of 200
        frozen = hyperparameters(bptt=bptt, epochs=1, learning_rate=1e-12, weight_decay=0)
        losses.append(fit(model, data_of(log), frozen, seed=0).history[0].train_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def dropouts(rate: float) -> dict[str, Any]:
    return {"input_dropout": rate, "hidden_dropout": rate, "output_dropout": rate}
