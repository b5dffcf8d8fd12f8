"""An experiment: data, split, training and evaluation of one configuration, and nothing of the test users in it."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import run_small, same_weights, small_configuration
from strategies import dataset_of

from hrnn_hpo import experiment as experiments
from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data import repeats
from hrnn_hpo.data.blocks import training_rows
from hrnn_hpo.data.featurize import log_popularity
from hrnn_hpo.data.fingerprint import with_content_hash
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, make_split
from hrnn_hpo.data.synthetic import make_dataset, markov
from hrnn_hpo.errors import ConfigError, DataError, RunFailedError
from hrnn_hpo.evaluation.metrics import METRICS
from hrnn_hpo.experiment import (
    compare_baselines,
    evaluate_model,
    prepare_experiment,
    resolve_auto,
    resolve_device,
    run_experiment,
)
from hrnn_hpo.experiment import run as experiment_run
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.training.progress import EpochReport
from hrnn_hpo.training.trainer import fit

DATASET = markov(n_users=60, n_items=15, n_events=20)


def with_other_items(dataset: Dataset, part: EvalPart) -> Dataset:
    """Return the log with every truth event of a part turned into another item."""
    items = np.asarray(dataset.items).copy()
    for start, stop in zip(part.truth_starts, part.truth_stops, strict=True):
        items[start:stop] = (items[start:stop] + 1) % dataset.n_items
    return with_content_hash(replace(dataset, items=items))


def test_a_run_reports_validation_metrics_of_its_best_epoch() -> None:
    _, result = run_small(DATASET)
    assert len(result.history) == 3
    best = result.history[result.best_epoch - 1]
    assert result.metrics == best.metrics
    assert best.metrics["ndcg_at_10"] == max(report.metrics["ndcg_at_10"] for report in result.history)
    assert set(METRICS) <= set(result.metrics)
    assert result.n_parameters == sum(parameter.numel() for parameter in result.model.parameters())


def test_a_model_that_nobody_validates_has_scores_after_its_last_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is seen before an update: the last one may leave any weights."""

    def diverging(model: HRNN, *given: Any, **named: Any) -> Any:
        result = fit(model, *given, **named)
        with torch.no_grad():
            model.norm.weight.fill_(3e38)
        return result

    monkeypatch.setattr(experiment_run, "fit", diverging)
    experiment = prepare_experiment(DATASET, small_configuration("none", epochs=1))
    with pytest.raises(RunFailedError, match=r"Every score must be a number.*lower learning_rate"):
        run_experiment(experiment, device="cpu", fixed_epochs=1, validate=False)


def test_each_epochs_users_are_told_and_their_mean_is_its_score() -> None:
    told: dict[int, Any] = {}
    experiment, result = run_small(DATASET)
    run_experiment(experiment, device="cpu", on_users=told.__setitem__)
    assert experiment.split.validation is not None
    assert {len(users) for users in told.values()} == {len(experiment.split.validation.users)}
    assert {epoch: users.mean() for epoch, users in told.items()} == pytest.approx(
        {report.epoch: report.metrics["ndcg_at_10"] for report in result.history}
    )
    told.clear()
    run_experiment(experiment, device="cpu", objective="coverage", on_users=told.__setitem__)
    assert told == {}  # which is no mean of them


def test_the_model_that_comes_out_has_the_figures_that_were_reported() -> None:
    experiment, result = run_small(DATASET, weight_averaging=0.5)
    assert experiment.split.validation is not None
    again = evaluate_model(result.model, experiment, experiment.split.validation)
    assert again.metrics == result.metrics


@pytest.mark.parametrize("architecture", ["control", "hierarchical"])
def test_the_configuration_that_comes_out_repeats_the_run_to_the_last_digit(architecture: str) -> None:
    _, first = run_small(DATASET, architecture=architecture)
    assert first.configuration.best_epoch == first.best_epoch
    assert first.configuration.data_hash == DATASET.content_hash
    assert first.configuration.n_threads == 1
    torch.manual_seed(4711)
    second = run_experiment(prepare_experiment(DATASET, first.configuration), device="cpu")
    assert second.metrics == first.metrics
    assert same_weights(second.model, first.model)


def test_another_seed_draws_other_weights_and_the_same_users() -> None:
    one, first = run_small(DATASET, seed=0)
    other, second = run_small(DATASET, seed=1)
    assert not same_weights(first.model, second.model)
    assert np.array_equal(one.split.train.users, other.split.train.users)


@pytest.mark.parametrize("protocol", ["personalize", "leave-one-out"])
def test_neither_training_nor_validation_knows_the_truth_of_the_test_users(protocol: str) -> None:
    split = make_split(DATASET, protocol, 0)  # type: ignore[arg-type]
    assert split.test is not None
    _, first = run_small(DATASET, protocol=protocol, recency_mask=True)
    _, second = run_small(with_other_items(DATASET, split.test), protocol=protocol, recency_mask=True)
    assert first.metrics == second.metrics
    assert same_weights(first.model, second.model)


@pytest.mark.parametrize("protocol", ["personalize", "leave-one-out"])
def test_weights_do_not_depend_on_the_validation_truth_before_refit(protocol: str) -> None:
    """Early stopping may look at it; with the epochs fixed nothing is left that could."""
    split = make_split(DATASET, protocol, 0)  # type: ignore[arg-type]
    assert split.validation is not None
    changed = with_other_items(DATASET, split.validation)
    runs = {}
    for refit in (False, True):
        for name, log in (("as it is", DATASET), ("changed", changed)):
            experiment = prepare_experiment(log, small_configuration(protocol), refit=refit)
            runs[refit, name] = run_experiment(experiment, device="cpu", fixed_epochs=2, validate=False)
    assert same_weights(runs[False, "as it is"].model, runs[False, "changed"].model)
    assert not same_weights(runs[True, "as it is"].model, runs[True, "changed"].model)


def test_refit_trains_on_the_validation_users_and_never_on_the_test_users() -> None:
    plain = prepare_experiment(DATASET, small_configuration())
    refit = prepare_experiment(DATASET, small_configuration(), refit=True)
    assert plain.split.validation is not None
    assert plain.split.test is not None
    assert set(refit.train.users) == set(plain.train.users) | set(plain.split.validation.users)
    assert not set(refit.train.users) & set(plain.split.test.users)


def test_refit_of_leave_one_out_stops_before_the_test_event() -> None:
    refit = prepare_experiment(DATASET, small_configuration("leave-one-out"), refit=True)
    assert np.array_equal(refit.split.train.stops, np.asarray(DATASET.user_offsets[1:]) - 1)


def test_a_redrawn_split_keeps_the_test_users_closed() -> None:
    plain = prepare_experiment(DATASET, small_configuration())
    redrawn = prepare_experiment(DATASET, small_configuration(), train_seed=5)
    assert plain.split.test is not None
    assert redrawn.split.test is not None
    assert np.array_equal(plain.split.test.users, redrawn.split.test.users)
    assert not np.array_equal(plain.split.train.users, redrawn.split.train.users)


def test_percentiles_choose_who_trains_and_never_who_is_evaluated() -> None:
    # 80 users with 10 to 89 events, so the quantiles are easy to see.
    log = dataset_of([[item % 7 for item in range(10 + user)] for user in range(80)])
    everybody = prepare_experiment(log, small_configuration(max_user_history_length_percentile=1.0))
    some = prepare_experiment(
        log,
        small_configuration(min_user_history_length_percentile=0.25, max_user_history_length_percentile=0.75),
    )
    lengths = log.history_lengths[everybody.train.users]
    low, high = np.quantile(lengths, [0.25, 0.75])
    expected = everybody.train.users[(lengths >= low) & (lengths <= high)]
    assert some.train.users.tolist() == expected.tolist()
    assert 0 < len(expected) < len(everybody.train.users)
    for part in ("validation", "test"):
        assert np.array_equal(getattr(some.split, part).users, getattr(everybody.split, part).users)


def test_the_score_bias_starts_at_the_popularity_among_those_who_train() -> None:
    configuration = small_configuration(learning_rate=1e-12)
    experiment = prepare_experiment(DATASET, configuration)
    result = run_experiment(experiment, device="cpu", fixed_epochs=1, validate=False)
    expected = log_popularity(DATASET, experiment.train, None)
    np.testing.assert_allclose(result.model.item_bias.detach().numpy(), expected, atol=1e-6)


def test_data_of_another_content_is_refused() -> None:
    configuration = small_configuration().model_copy(update={"data_hash": "f" * 64})
    with pytest.raises(ConfigError, match=f"made with data {'f' * 64}, but got {DATASET.content_hash}"):
        prepare_experiment(DATASET, configuration)


def test_too_little_data_is_refused() -> None:
    with pytest.raises(DataError, match=r"1,?000"):
        prepare_experiment(markov(n_users=30, n_events=10), small_configuration())
    with pytest.raises(DataError, match="25"):
        prepare_experiment(markov(n_users=20, n_events=60), small_configuration())


def test_without_validation_the_epochs_must_be_given() -> None:
    experiment = prepare_experiment(DATASET, small_configuration("none"))
    with pytest.raises(ConfigError, match="best_epoch"):
        run_experiment(experiment, device="cpu")
    result = run_experiment(experiment, device="cpu", fixed_epochs=2, validate=False)
    assert result.metrics == {}
    assert result.best_epoch == len(result.history) == 2
    with pytest.raises(ConfigError, match="no test users"):
        experiments.test_part(experiment)


def test_an_objective_that_is_no_metric_is_refused_before_training() -> None:
    experiment = prepare_experiment(DATASET, small_configuration())
    reports: list[EpochReport] = []
    with pytest.raises(ConfigError, match="but got 'ndcg_at_11', did you mean 'ndcg_at_10'"):
        run_experiment(experiment, device="cpu", objective="ndcg_at_11", on_epoch=reports.append)
    assert reports == []


def test_a_custom_metric_can_be_the_objective() -> None:
    experiment = prepare_experiment(DATASET, small_configuration())
    result = run_experiment(
        experiment,
        device="cpu",
        objective="share_of_hits",
        extra_metrics={"share_of_hits": lambda top_items, truth: truth.hits(top_items).mean(axis=1)},
    )
    assert result.history[result.best_epoch - 1].metrics["share_of_hits"] == max(
        report.metrics["share_of_hits"] for report in result.history
    )


def test_what_on_epoch_raises_passes_through_and_the_checkpoint_stays(tmp_path: Path) -> None:
    class PrunedError(Exception):
        pass

    def prune(report: EpochReport) -> None:
        raise PrunedError

    experiment = prepare_experiment(DATASET, small_configuration())
    path = tmp_path / "run.checkpoint"
    with pytest.raises(PrunedError):
        run_experiment(experiment, device="cpu", on_epoch=prune, checkpoint=path)
    assert path.exists()
    resumed = run_experiment(experiment, device="cpu", checkpoint=path)
    whole = run_experiment(experiment, device="cpu")
    assert [report.metrics for report in resumed.history] == [report.metrics for report in whole.history]
    assert same_weights(resumed.model, whole.model)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="--device cuda"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")


@pytest.mark.parametrize(
    ("histories", "settled"), [([[0, 1, 2], [2, 1, 0]], "ignored"), ([[0, 1, 0], [2, 1, 0]], "mixed")]
)
def test_the_data_says_whether_repeats_are_mixed_in_unless_the_configuration_does(
    histories: list[list[int]], settled: str
) -> None:
    log = dataset_of(histories)
    assert resolve_auto(log, Configuration()).hyperparameters.repeats == settled
    for choice in ("mixed", "ignored"):
        settled_by_hand = Hyperparameters(repeats=choice, batch_size=7, targets_ahead=1.0)  # type: ignore[arg-type]
        told = Configuration(hyperparameters=settled_by_hand)
        assert resolve_auto(log, told) is told


def test_a_log_is_read_once_to_count_its_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    blocks_of_users = repeats.blocks_of_users
    monkeypatch.setattr(repeats, "blocks_of_users", lambda log: passes.append(log) or blocks_of_users(log))
    log = dataset_of([list(range(first, first + 20)) for first in range(60)])  # no repeats
    experiment = prepare_experiment(log, Configuration())
    assert (experiment.seen, experiment.apart) == ("remove", False)
    assert experiment.configuration.hyperparameters.repeats == "ignored"
    assert len(passes) == 1


def test_the_size_of_an_update_is_the_logs_unless_the_configuration_says_it() -> None:
    told = Configuration(hyperparameters=Hyperparameters(batch_size=7))
    assert resolve_auto(DATASET, Configuration()).hyperparameters.batch_size == 16
    assert resolve_auto(DATASET, told).hyperparameters.batch_size == 7


def valued(change: Callable[[float], float] = lambda value: value) -> Dataset:
    """Return a log in which the value of an event tells the next item, its values changed."""
    generator = np.random.default_rng(0)
    histories = []
    for _ in range(60):
        values = generator.integers(1, 6, size=21)
        histories.append([(f"i{values[step]}", 60 * step, None, change(float(values[step + 1]))) for step in range(20)])
    return make_dataset(histories)


@pytest.mark.parametrize("change", [lambda v: 1000 * v, lambda v: v + 1000])
def test_the_unit_of_values_changes_no_figure(change: Callable[[float], float]) -> None:
    (_, plain), (_, other) = (
        run_small(log, epochs=4, batch_size=8, repeats="ignored") for log in (valued(), valued(change))
    )
    losses, others = ([report.train_loss for report in result.history] for result in (plain, other))
    assert others == pytest.approx(losses, rel=1e-5)
    assert other.metrics == pytest.approx(plain.metrics, rel=1e-3)


def test_values_of_users_who_do_not_train_play_no_part_in_their_scale() -> None:
    log = valued()
    part = make_split(log, "personalize", 0).test
    assert part is not None
    values = np.asarray(log.event_values).copy()
    for user in part.users:
        values[log.user_offsets[user] : log.user_offsets[user + 1]] = 1e6
    changed = with_content_hash(replace(log, event_values=values))
    scales = [prepare_experiment(data, small_configuration()).catalogue.value_scale for data in (log, changed)]
    assert scales[0] == scales[1]
    assert 2.5 < scales[0].mean < 3.5


def test_a_run_leaves_its_callers_threads_and_random_state_alone() -> None:
    experiment = prepare_experiment(DATASET, small_configuration(epochs=1))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(5)
        state = torch.get_rng_state()
        inside: list[int] = []
        run_experiment(experiment, device="cpu", on_update=lambda n: inside.append(torch.get_num_threads()))
        assert set(inside) == {1}  # what its configuration says
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
        with pytest.raises(ZeroDivisionError):
            run_experiment(experiment, device="cpu", on_epoch=lambda report: print(1 / 0))
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)


def test_popularity_on_the_validation_users_is_the_floor_of_early_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    floors: list[float] = []

    def told(*arguments: Any, floor: float, **options: Any) -> Any:
        floors.append(floor)
        return fit(*arguments, floor=floor, **options)

    monkeypatch.setattr(experiment_run, "fit", told)
    experiment = prepare_experiment(DATASET, small_configuration(epochs=1))
    run_experiment(experiment, device="cpu", objective="recall_at_10")
    run_experiment(experiment, device="cpu", fixed_epochs=1)
    assert experiment.split.validation is not None
    figures = compare_baselines(experiment, experiment.split.validation).metrics
    assert {"popularity", "item_knn", "ease"} <= figures.keys()
    assert floors == [figures["popularity"]["recall_at_10"], -math.inf]
    rows = np.concatenate(list(training_rows(DATASET, experiment.split.train)))
    counts = np.bincount(DATASET.items[rows], minlength=DATASET.n_items)
    best = set(np.argsort(-counts, kind="stable")[:10].tolist())
    part = experiment.split.validation
    assert part is not None
    hits = [
        len(best & set(DATASET.items[start:stop].tolist())) / len(set(DATASET.items[start:stop].tolist()))
        for start, stop in zip(part.truth_starts, part.truth_stops, strict=True)
    ]
    assert figures["popularity"]["recall_at_10"] == pytest.approx(np.mean(hits))


def test_a_trained_configuration_names_what_the_data_decided() -> None:
    _, result = run_small(DATASET, epochs=1, batch_size="auto")
    assert result.configuration.hyperparameters.batch_size == 16
    assert result.configuration.hyperparameters.repeats == "mixed"  # every user of this log repeats items
    assert result.model.repeats is not None
    again = prepare_experiment(DATASET, result.configuration)
    assert again.configuration == result.configuration
