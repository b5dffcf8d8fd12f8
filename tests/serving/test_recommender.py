"""Recommendations: a known user's own, an unknown user's popular ones, and scores that are probabilities."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import model_for, run_small, small_configuration
from strategies import dataset_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import EPOCH, MINUTE, make_dataset
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.evaluation.protocols import rank
from hrnn_hpo.experiment import save_experiment
from hrnn_hpo.experiment import test_part as part_of
from hrnn_hpo.model.encode import score_rows
from hrnn_hpo.model.folder import SavedModel, SplitRecord, load_model
from hrnn_hpo.serving.recommender import Recommender


def skewed_log() -> Dataset:
    """Item i0 is taken most, then i1, …; users repeat items, events carry a type and a value."""
    generator = np.random.default_rng(0)
    share = 0.75 ** np.arange(12)
    share /= share.sum()
    return make_dataset(
        [
            [
                (f"i{item:02d}", EPOCH + MINUTE * step + 5000 * (step // 6), "view" if step % 2 else "buy", float(step))
                for step, item in enumerate(generator.choice(12, size=24, p=share))
            ]
            for _ in range(60)
        ]
    )


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return skewed_log()


@pytest.fixture(scope="module", params=[("control", "ignored"), ("control", "mixed"), ("hierarchical", "ignored")])
def saved(request: pytest.FixtureRequest, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    architecture, repeats = request.param
    experiment, result = run_small(dataset, architecture=architecture, repeats=repeats, epochs=10, batch_size=8)
    folder: Path = tmp_path_factory.mktemp("models") / "model"
    save_experiment(folder, experiment, result)
    return load_model(folder)


def test_scores_are_probabilities_over_the_whole_catalogue(saved: SavedModel) -> None:
    items = Recommender(saved, seen="keep").recommend("u07", k=500)
    assert len(items) == 12
    assert sum(entry.score for entry in items) == pytest.approx(1.0, abs=1e-5)
    assert [entry.score for entry in items] == sorted((entry.score for entry in items), reverse=True)
    assert {entry.item for entry in items} == {f"i{item:02d}" for item in range(12)}


def test_an_unknown_user_gets_the_popular_items(saved: SavedModel) -> None:
    recommender = Recommender(saved, seen="keep")
    assert not recommender.knows("a stranger")
    items = [entry.item for entry in recommender.recommend("a stranger", k=12)]
    assert set(items[:3]) <= {"i00", "i01", "i02", "i03"}
    places = {item: place for place, item in enumerate(items)}
    early = np.mean([places[f"i{item:02d}"] for item in range(4)])
    late = np.mean([places[f"i{item:02d}"] for item in range(8, 12)])
    assert early < late - 4


def test_every_unknown_user_gets_the_same(saved: SavedModel) -> None:
    recommender = Recommender(saved)
    assert recommender.recommend("a stranger") == recommender.recommend("")


def test_an_unknown_user_has_seen_nothing(saved: SavedModel) -> None:
    assert len(Recommender(saved, seen="remove").recommend("a stranger")) == 12


def test_seen_items_are_removed_and_the_others_keep_their_order_and_score(saved: SavedModel) -> None:
    kept = Recommender(saved, seen="keep").recommend("u07")
    removed = Recommender(saved, seen="remove").recommend("u07")
    history = Recommender(saved).history("u07")
    seen = set(history.item_ids[history.items].tolist())
    assert seen
    assert removed == [entry for entry in kept if entry.item not in seen]


def test_unless_told_it_does_what_the_model_was_validated_with(saved: SavedModel) -> None:
    assert saved.split.seen == "keep"  # every user repeats items
    recommender = Recommender(saved)
    assert recommender.recommend("u07") == Recommender(saved, seen="keep").recommend("u07")


def test_a_test_users_list_is_the_one_that_evaluation_ranks(saved: SavedModel, dataset: Dataset) -> None:
    """What is measured offline is what a user gets: the history ends where the truth begins."""
    experiment, _ = run_small(dataset, architecture=saved.configuration.hyperparameters.architecture, epochs=1)
    part = part_of(experiment)
    score = score_rows(saved.model, dataset, experiment.inputs, part)
    ranked = rank(dataset, part, score, seen="keep")
    recommender = Recommender(saved, seen="keep")
    for user, items in zip(part.users, ranked, strict=True):
        expected = dataset.item_ids[items[items >= 0]].tolist()
        assert [entry.item for entry in recommender.recommend(str(dataset.user_ids[user]))] == expected


def test_scores_that_float32_cannot_tell_apart_keep_their_order_as_in_evaluation() -> None:
    dataset = dataset_of([[0]], n_items=4)
    model = model_for(dataset)
    with torch.no_grad():
        model.item_embedding[:-1] = 0.0
        model.item_bias.copy_(torch.tensor([-200.0, 0.0, -150.0, -120.0]))  # exp(-120) is 0 in float32
    record = SplitRecord("personalize", 0, dataset.content_hash, "keep")
    found = Recommender(SavedModel(None, model, small_configuration(), record, dataset)).recommend("u0")
    assert [entry.item for entry in found] == ["i01", "i03", "i02", "i00"]
    assert [entry.score for entry in found] == [1.0, 0.0, 0.0, 0.0]


def test_a_model_without_numbers_for_scores_is_told_and_gives_no_empty_list() -> None:
    dataset = dataset_of([[0]], n_items=4)
    model = model_for(dataset)
    torch.nn.init.constant_(model.item_bias, float("nan"))
    record = SplitRecord("personalize", 0, dataset.content_hash, "keep")
    with pytest.raises(RunFailedError, match="scores that are no numbers: its training diverged"):
        Recommender(SavedModel(None, model, small_configuration(), record, dataset)).recommend("u0")


def test_two_recommendations_in_a_row_are_the_same(saved: SavedModel) -> None:
    recommender = Recommender(saved)
    torch.manual_seed(0)
    first = recommender.recommend("u03")
    torch.manual_seed(1)
    assert recommender.recommend("u03") == first


def test_a_history_is_the_users_own_rows_with_all_columns(saved: SavedModel, dataset: Dataset) -> None:
    history = Recommender(saved).history("u03")
    start = int(dataset.user_offsets[3])
    n = history.n_events
    assert n > 0
    assert history.n_users == 1
    for name in ("items", "timestamps", "event_types", "event_values"):
        assert getattr(history, name).tolist() == getattr(dataset, name)[start : start + n].tolist()


def test_k_is_the_length_of_the_list(saved: SavedModel) -> None:
    recommender = Recommender(saved, seen="keep")
    assert len(recommender.recommend("u03", k=5)) == 5
    assert recommender.recommend("u03", k=5) == recommender.recommend("u03", k=12)[:5]
    for k in (0, 501, -1):
        with pytest.raises(ConfigError, match=f"`1 <= k <= 500` must hold, but got k={k}"):
            recommender.recommend("u03", k=k)
