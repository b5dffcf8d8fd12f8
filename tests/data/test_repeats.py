"""Repeats of a log, counted in blocks of users."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import datasets

from hrnn_hpo.data import repeats
from hrnn_hpo.data.schema import Dataset


@given(datasets(), st.sampled_from([1, 3, 7, 1000]))
def test_repeats_are_counted_alike_in_blocks(dataset: Dataset, block: int) -> None:
    histories = np.split(dataset.items, dataset.user_offsets[1:-1])
    n_repeats = sum(len(items) - len(set(items.tolist())) for items in histories)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "BLOCK_EVENTS", block)
        assert repeats.repeat_share(dataset) == n_repeats / dataset.n_events
