"""Further heads: the readout of a row is that of the head whose horizon its event lies in, and no answer asks them."""

import numpy as np
import pytest
import torch
from small_runs import inputs_of, model_for
from strategies import dataset_of

from hrnn_hpo.data.splits import EvalPart
from hrnn_hpo.model.encode import score_rows
from hrnn_hpo.model.further_heads import HORIZONS, FurtherHeads

AHEAD = np.array([0, 1, 3, 4, 9, 10, 2], dtype=np.uint8)
HEADS = [None, 0, 0, 1, 1, None, 0]


@torch.no_grad()
def test_each_row_is_mapped_by_the_head_of_its_horizon() -> None:
    heads = FurtherHeads(3)
    outputs = torch.randn(len(AHEAD), 3)
    assert torch.equal(heads(outputs, AHEAD), outputs)  # a fresh head answers as the next event's does
    heads.weight.normal_()
    heads.bias.normal_()
    found = heads(outputs, AHEAD)
    for row, head in enumerate(HEADS):
        expected = outputs[row]
        if head is not None:
            expected = expected + heads.weight[head] @ outputs[row] + heads.bias[head]
        torch.testing.assert_close(found[row], expected)


def test_the_horizons_follow_one_another_behind_the_next_event() -> None:
    assert [ahead for first, last in HORIZONS for ahead in range(first, last + 1)] == list(range(1, 10))


@pytest.mark.parametrize("changes", [{}, {"architecture": "hierarchical"}, {"repeats": "mixed"}])
def test_recommending_asks_the_next_events_head_alone(changes: dict[str, str]) -> None:
    """Whatever the further heads hold, scores are the same."""
    dataset = dataset_of([[0, 1, 0, 2, 3], [3, 4, 5, 4, 3]])
    part = EvalPart(users=np.array([0, 1]), truth_starts=np.array([4, 9]), truth_stops=np.array([5, 10]))
    model = model_for(dataset, further_heads_weight=0.5, **changes)
    assert model.further_heads is not None
    rows = np.array([0, 1])
    before = score_rows(model, dataset, inputs_of(dataset), part)(rows)
    with torch.no_grad():
        model.further_heads.weight.add_(1.0)
        model.further_heads.bias.add_(1.0)
    assert np.array_equal(score_rows(model, dataset, inputs_of(dataset), part)(rows), before)


def test_without_a_weight_there_are_none() -> None:
    model = model_for(dataset_of([[0, 1, 2]]))
    assert model.further_heads is None
    assert not any("further" in name for name in model.state_dict())
