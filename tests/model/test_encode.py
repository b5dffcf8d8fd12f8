"""Encoding many ragged users in windows of bounded memory gives what reading each user alone gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import inputs_of, model_for
from strategies import dataset_of, datasets, eval_part_of

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.model import encode as encoding
from hrnn_hpo.model.encode import encode, last_packed_rows, score_rows
from hrnn_hpo.model.inputs import pack

CPU = torch.device("cpu")


@settings(max_examples=25)
@given(
    dataset=datasets(max_users=8, max_events=15),
    architecture=st.sampled_from(["control", "hierarchical"]),
    n_blocks=st.integers(1, 2),
    window_rows=st.integers(1, 20),
    users_at_once=st.integers(1, 5),
    data=st.data(),
)
def test_ragged_users_in_small_windows_equal_one_user_at_a_time(
    dataset: Dataset,
    architecture: str,
    n_blocks: int,
    window_rows: int,
    users_at_once: int,
    data: st.DataObject,
) -> None:
    model = model_for(dataset, architecture=architecture, n_blocks=n_blocks)
    inputs = inputs_of(dataset)
    order = data.draw(st.permutations(range(dataset.n_users)))
    starts = np.asarray(dataset.user_offsets)[order]
    lengths = np.array([data.draw(st.integers(1, int(dataset.history_lengths[user]))) for user in order])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "WINDOW_ROWS", window_rows)
        patch.setattr(encoding, "USERS_AT_ONCE", users_at_once)
        outputs = encode(model, inputs, starts, lengths)
    for row in range(len(order)):
        packed, _ = pack(inputs, starts[row : row + 1], lengths[row : row + 1], CPU)
        with torch.no_grad():
            alone, _ = model(packed, model.start_state(1))
        torch.testing.assert_close(outputs[row], alone[-1], rtol=0, atol=1e-5)


def test_last_rows_of_a_packed_batch() -> None:
    # Lengths 3, 2, 2: rows are steps (0 1 2) (3 4 5) (6); the users end at rows 6, 4 and 5.
    lengths = np.array([3, 2, 2])
    assert last_packed_rows(lengths, 0).tolist() == [6, 4, 5]
    assert last_packed_rows(lengths, 1).tolist() == [4, 5]
    assert last_packed_rows(lengths, 3).tolist() == []


def test_scores_of_a_part_come_from_the_step_before_the_truth() -> None:
    dataset = dataset_of([[0, 1, 2, 3], [3, 2, 1], [1, 1, 0, 2]])
    part = eval_part_of(dataset, [2, 1, 1])
    model, inputs = model_for(dataset), inputs_of(dataset)
    scores = score_rows(model, dataset, inputs, part)(np.array([2, 0, 1]))
    assert scores.dtype == np.float32
    for row, (user, n_inputs) in zip((1, 2, 0), ((0, 2), (1, 2), (2, 3)), strict=True):
        # n inputs are n + 1 steps, the start token first.
        packed, _ = pack(inputs, dataset.user_offsets[[user]], np.array([n_inputs + 1]), CPU)
        with torch.no_grad():
            outputs, _ = model(packed, model.start_state(1))
            expected = model.score(outputs[-1:])[0].numpy()
        np.testing.assert_allclose(scores[row], expected, atol=1e-5)


def test_scores_do_not_depend_on_the_truth() -> None:
    one = dataset_of([[0, 1, 2, 3], [3, 2, 1]], n_items=4)
    other = dataset_of([[0, 1, 0, 0], [3, 2, 3]], n_items=4)
    part = eval_part_of(one, [2, 1])
    model = model_for(one, architecture="hierarchical")
    rows = np.arange(2)
    ours, theirs = (score_rows(model, log, inputs_of(log), part)(rows) for log in (one, other))
    np.testing.assert_array_equal(ours, theirs)


def test_scores_may_be_overwritten_by_the_caller() -> None:
    dataset = dataset_of([[0, 1, 2]])
    score = score_rows(model_for(dataset), dataset, inputs_of(dataset), eval_part_of(dataset))
    first = score(np.array([0]))
    kept = first.copy()
    first[:] = -np.inf
    np.testing.assert_array_equal(score(np.array([0])), kept)


def test_encoding_leaves_dropout_off() -> None:
    dataset = dataset_of([[0, 1, 2]])
    model = model_for(dataset, input_dropout=0.5).train()
    rows = np.array([0]), np.array([3])
    assert torch.equal(encode(model, inputs_of(dataset), *rows), encode(model, inputs_of(dataset), *rows))
    assert not model.training
