"""Explanations: influences are slopes of the score, sessions are counted, and repeats have their part."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import image
from small_runs import model_for, small_configuration
from strategies import dataset_of

from hrnn_hpo.data.featurize import event_features
from hrnn_hpo.data.repeats import own_items_after
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.model.encode import encode
from hrnn_hpo.model.folder import SavedModel, SplitRecord
from hrnn_hpo.model.inputs import StepInputs, history_inputs, pack
from hrnn_hpo.serving.explain import explain, plot
from hrnn_hpo.serving.recommender import Recommender

# u0 meets i02 three times, over two sessions; u1 has two events; u2 none is known of.
LOG = dataset_of([[2, 0, 2, 3, 2], [1, 0]], n_items=6, times=[[0, 60, 120, 10_000, 10_060], [0, 60]])
architectures = pytest.mark.parametrize("architecture", ["control", "hierarchical"])


def recommender_for(scale: float = 0.5, **changes: Any) -> Recommender:
    record = SplitRecord("personalize", 0, LOG.content_hash, "keep")
    return Recommender(
        SavedModel(Path("m"), model_for(LOG, scale=scale, **changes), small_configuration(**changes), record, LOG)
    )


def steps_of(recommender: Recommender, user: str) -> StepInputs:
    history = recommender.history(user)
    return history_inputs(history.items, event_features(history, 1800), history.n_items)


@architectures
def test_an_influence_is_what_the_score_loses_with_the_step_to_first_order(architecture: str) -> None:
    recommender = recommender_for(architecture=architecture, n_blocks=2)
    explanation = explain(recommender, "u0", "i03")
    assert explanation.item == "i03"
    model = recommender.saved.model.double()
    packed, _ = pack(steps_of(recommender, "u0"), np.zeros(1, np.int64), np.array([6]), torch.device("cpu"))

    @torch.no_grad()
    def score(scale: torch.Tensor) -> float:
        outputs, _ = model.run(model.embed(packed) * scale[:, None], packed, model.start_state(1))
        return float(outputs[-1] @ model.item_embedding[3])

    for event, found in enumerate(explanation.influences):
        change = torch.zeros(6, dtype=torch.double)
        change[event + 1] = 1e-4  # step 0 is the start token
        slope = (score(1 + change) - score(1 - change)) / 2e-4
        assert found.influence == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_events_are_told_in_order_with_their_sessions_and_shares() -> None:
    influences = explain(recommender_for(), "u0").influences
    assert [event.item for event in influences] == ["i02", "i00", "i02", "i03", "i02"]
    assert [event.timestamp for event in influences] == [0, 60, 120, 10_000, 10_060]
    assert [event.session for event in influences] == [1, 1, 1, 2, 2]
    assert sum(event.share for event in influences) == pytest.approx(1.0)
    largest = max(influences, key=lambda event: event.share)
    assert abs(largest.influence) == max(abs(event.influence) for event in influences)


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
    outputs = encode(model, steps_of(recommender, "u0"), np.zeros(1, np.int64), np.array([6]))
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


def test_the_plot_is_an_image_and_a_bad_place_is_told(tmp_path: Path) -> None:
    influences = explain(recommender_for(), "u0").influences
    plot(influences, "What counts", tmp_path / "influence.png")
    assert image.imread(tmp_path / "influence.png").std() > 0.01  # something is drawn
    with pytest.raises(ConfigError, match="cannot be written"):
        plot(influences, "What counts", tmp_path / "influence.txt")
