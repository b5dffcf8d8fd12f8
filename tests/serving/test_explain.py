"""Explanations: influences are what leaving an event out changes, sessions are counted, and repeats have their part."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import image
from small_runs import model_for, small_configuration
from strategies import dataset_of

from hrnn_hpo.data.repeats import own_items_after
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.model.folder import SavedModel, SplitRecord
from hrnn_hpo.model.repeats import SCALE
from hrnn_hpo.serving import explain as explaining
from hrnn_hpo.serving.explain import explain, plot
from hrnn_hpo.serving.recommender import Recommender

# u0 meets i02 three times, over two sessions; u1 has two events, u2 one.
LOG = dataset_of([[2, 0, 2, 3, 2], [1, 0], [4]], n_items=6, times=[[0, 60, 120, 10_000, 10_060], [0, 60], [0]])
architectures = pytest.mark.parametrize("architecture", ["control", "hierarchical"])


def recommender_for(scale: float = 0.5, **changes: Any) -> Recommender:
    record = SplitRecord("personalize", 0, LOG.content_hash, "keep")
    return Recommender(
        SavedModel(Path("m"), model_for(LOG, scale=scale, **changes), small_configuration(**changes), record, LOG)
    )


def without(user: int, event: int) -> Dataset:
    """Return LOG as if one event had never been logged."""
    row = int(LOG.user_offsets[user]) + event
    kept = np.arange(LOG.n_events) != row
    offsets = LOG.user_offsets - (np.arange(LOG.n_users + 1) > user)
    return replace(LOG, user_offsets=offsets, items=LOG.items[kept], timestamps=LOG.timestamps[kept])


@architectures
@pytest.mark.parametrize("repeats", ["mixed", "ignored"])
@pytest.mark.parametrize("item", ["i02", "i03", "i05"])  # had thrice, once, never
def test_an_influence_is_what_a_log_without_the_event_changes(architecture: str, repeats: str, item: str) -> None:
    changes = {"architecture": architecture, "n_blocks": 2, "repeats": repeats}
    recommender = recommender_for(**changes)
    explanation = explain(recommender, "u0", item)
    assert (explanation.item, explanation.n_events, len(explanation.influences)) == (item, 5, 5)
    scores = {entry.item: entry.score for entry in recommender.recommend("u0")}
    assert explanation.probability == pytest.approx(scores[item], rel=1e-5)
    for place, found in enumerate(explanation.influences):
        elsewhere = Recommender(replace(recommender.saved, histories=without(0, place)), "keep")
        expected = {entry.item: entry.score for entry in elsewhere.recommend("u0")}[item]
        assert found.probability_without == pytest.approx(expected, rel=1e-5)
        assert found.influence == pytest.approx(math.log(scores[item] / expected), abs=1e-5)


def test_the_items_own_events_speak_for_it_where_repeats_are_mixed_in() -> None:
    recommender = recommender_for(scale=0.01, repeats="mixed")  # a softmax that hardly knows the history
    mixture = recommender.saved.model.repeats
    assert mixture is not None
    with torch.no_grad():  # half of the probability is shared out by count alone
        mixture.count_weight.fill_(1 / SCALE)
        mixture.recency.zero_()
        mixture.gate_bias.zero_()
    influences = explain(recommender, "u0", "i02").influences
    strongest = sorted(influences, key=lambda event: -event.influence)[:3]
    assert {event.item for event in strongest} == {"i02"}
    assert min(event.influence for event in strongest) > 0.05
    # Without its one event, i03 has no part in the repeats any more: most of its probability goes.
    only = next(event for event in explain(recommender, "u0", "i03").influences if event.item == "i03")
    assert only.influence > 0.3


def test_events_are_told_in_order_with_their_sessions() -> None:
    influences = explain(recommender_for(), "u0").influences
    assert [event.event for event in influences] == [1, 2, 3, 4, 5]
    assert [event.item for event in influences] == ["i02", "i00", "i02", "i03", "i02"]
    assert [event.timestamp for event in influences] == [0, 60, 120, 10_000, 10_060]
    assert [event.session for event in influences] == [1, 1, 1, 2, 2]


def test_a_history_of_one_event_is_compared_with_the_start_state() -> None:
    recommender = recommender_for(repeats="mixed")
    (only,) = explain(recommender, "u2", "i04").influences
    stranger = {entry.item: entry.score for entry in recommender.recommend("a stranger")}
    assert only.probability_without == pytest.approx(stranger["i04"], rel=1e-5)


def test_of_a_long_history_the_newest_events_are_measured_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = recommender_for(repeats="mixed")
    whole = explain(recommender, "u0", "i02")
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(explaining, "MAX_STEPS", 17)  # three variants of five steps
    monkeypatch.setattr(explaining, "STEPS_AT_ONCE", 10)  # two at once
    part = explain(recommender, "u0", "i02", lambda done, total: told.append((done, total)))
    assert told == [(2, 3), (3, 3)]
    assert part.n_events == 5
    for found, expected in zip(part.influences, whole.influences[2:], strict=True):
        assert (found.event, found.item) == (expected.event, expected.item)
        assert found.influence == pytest.approx(expected.influence, abs=1e-5)


def test_unless_named_the_best_item_is_explained() -> None:
    recommender = recommender_for()
    assert explain(recommender, "u0").item == recommender.recommend("u0", 1)[0].item


@torch.no_grad()
def test_the_part_of_repeats_is_that_of_the_mixture() -> None:
    recommender = recommender_for(scale=0.2, repeats="mixed")
    model, history = recommender.saved.model, recommender.history("u0")
    assert model.repeats is not None
    probability = {entry.item: entry.score for entry in recommender.recommend("u0")}
    parts = {item: explain(recommender, "u0", item).repeat_share for item in probability}
    assert parts["i01"] == parts["i04"] == parts["i05"] == 0.0  # never met
    # The gate's probability, shared out by count and time since.
    outputs = recommender.outputs_after(history)
    own = own_items_after(np.zeros(5, np.int64), history.items, history.timestamps)
    scored = [
        float(model.repeats.weights()[bucket] + model.repeats.weights()[-1] * math.log(count))
        for bucket, count in zip(own.gap_buckets.tolist(), own.counts.tolist(), strict=True)
    ]
    q = torch.softmax(torch.tensor(scored), dim=0)
    gate = torch.sigmoid(model.repeats.gate_logits(outputs))[0]
    for item, weight in zip(own.items, q, strict=True):
        name = f"i{item:02d}"
        assert parts[name] * probability[name] == pytest.approx(float(gate * weight), rel=1e-4)
    assert explain(recommender_for(repeats="ignored"), "u0").repeat_share is None


def test_who_has_no_history_and_what_is_no_item_is_said() -> None:
    recommender = recommender_for()
    with pytest.raises(ConfigError, match="User 'u9' has no history in this model"):
        explain(recommender, "u9")
    with pytest.raises(ConfigError, match="Item 'i99' is not in this model's catalogue"):
        explain(recommender, "u0", "i99")


def test_where_nothing_is_recommended_an_item_must_be_named() -> None:
    everything = dataset_of([[0, 1, 2]], n_items=3)
    recommender = Recommender(
        replace(recommender_for().saved, model=model_for(everything), histories=everything), "remove"
    )
    with pytest.raises(ConfigError, match=r"User 'u0' has had every item of this model.* Name the item to explain"):
        explain(recommender, "u0")
    assert explain(recommender, "u0", "i01").item == "i01"


def test_the_plot_is_an_image_and_a_bad_place_is_told(tmp_path: Path) -> None:
    explanation = explain(recommender_for(), "u0")
    plot(explanation, "What counts", tmp_path / "influence.png")
    assert image.imread(tmp_path / "influence.png").std() > 0.01  # something is drawn
    with pytest.raises(ConfigError, match="cannot be written"):
        plot(explanation, "What counts", tmp_path / "influence.txt")
    with pytest.raises(RunFailedError, match="/dev/full: cannot be written"):
        plot(explanation, "What counts", Path("/dev/full"))
