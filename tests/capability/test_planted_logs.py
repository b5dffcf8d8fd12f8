"""The planted logs hold what their descriptions promise: rules that work, and nothing that gives them away."""

from pathlib import Path

import numpy as np
import planted_logs as logs
import pytest

from hrnn_hpo.data.featurize import recency_weights
from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.sessions import session_starts
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.data.synthetic import MINUTE, write_csv
from hrnn_hpo.errors import ConfigError

GENERATORS = [
    logs.delayed_dependence,
    logs.shifting_popularity,
    logs.time_gap_dependence,
    logs.event_type_dependence,
    logs.event_value_dependence,
    logs.session_start_dependence,
    logs.preference_across_sessions,
]


def table_of(dataset: Dataset) -> np.ndarray:
    """Return the items of equally long histories, (U, n)."""
    return np.asarray(dataset.items).reshape(dataset.n_users, -1)


@pytest.mark.parametrize("generate", GENERATORS)
def test_a_seed_fixes_the_log_and_another_changes_it(generate) -> None:  # type: ignore[no-untyped-def]
    assert generate(seed=1).content_hash == generate(seed=1).content_hash != generate(seed=2).content_hash


@pytest.mark.parametrize("generate", GENERATORS)
def test_written_logs_read_back_to_the_same_content(generate, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    dataset = generate(n_users=30)
    assert read_interactions(write_csv(dataset, tmp_path)).content_hash == dataset.content_hash


@pytest.mark.parametrize("gap", [3, 10, 15])
def test_delayed_answers_are_told_by_the_cue_and_by_nothing_between(gap: int) -> None:
    dataset = logs.delayed_dependence(n_users=2000, gap=gap, n_blocks=2)
    blocks = table_of(dataset).reshape(-1, gap + 1)
    cues, answers = blocks[:, 0], blocks[:, -1]
    assert np.array_equal(answers, cues + 4)
    assert set(blocks[:, -2]) == {8}
    between = blocks[:, 1:-2]
    assert between.size == 0 or between.min() > 8
    for place in range(between.shape[1]):  # the cue's distribution is the same whatever item stands between
        for item in range(9, 20):
            shares = np.bincount(cues[between[:, place] == item], minlength=4) / (between[:, place] == item).sum()
            assert shares == pytest.approx(np.full(4, 0.25), abs=0.12)
    assert session_starts(dataset, 1800).sum() == dataset.n_users


def test_the_delayed_answer_is_all_the_truth_of_personalize() -> None:
    dataset = logs.delayed_dependence(gap=18)
    split = make_split(dataset, "personalize", 0)
    assert split.test is not None
    assert np.all(split.test.truth_stops - split.test.truth_starts == 1)


def test_favourites_shift_late_and_recency_weights_follow_them() -> None:
    dataset = logs.shifting_popularity()
    last = np.asarray(dataset.items)[dataset.user_offsets[1:] - 1]
    best = ((last >= 10) & (last < 20)).mean()
    assert best == pytest.approx(0.9 + 0.1 * 10 / 100, abs=0.03)
    assert set(np.argsort(-np.bincount(dataset.items, minlength=100))[:10]) == set(range(10))
    weights = recency_weights(dataset, make_split(dataset, "none", 0).train, 30.0)
    weighted = np.bincount(dataset.items, weights=weights, minlength=100)
    assert set(np.argsort(-weighted)[:10]) == set(range(10, 20))
    assert set(dataset.history_lengths) == set(range(9, 18))


@pytest.mark.parametrize("generate", [logs.time_gap_dependence, logs.event_type_dependence])
def test_two_successors_are_equally_likely_until_the_second_sign_is_read(generate) -> None:  # type: ignore[no-untyped-def]
    dataset = generate(n_users=500)
    items = table_of(dataset)
    if dataset.event_types is None:
        pauses = np.diff(np.asarray(dataset.timestamps).reshape(items.shape), axis=1, prepend=0)
        assert set(pauses[:, 1:].ravel()) == {MINUTE, 20 * MINUTE}
        signs = (pauses == 20 * MINUTE).astype(int)
        assert session_starts(dataset, 1800).sum() == dataset.n_users  # the control signal tells nothing
    else:
        signs = np.asarray(dataset.event_types).reshape(items.shape)
    followers = np.zeros((20, 2, 20))
    np.add.at(followers, (items[:, :-1].ravel(), signs[:, :-1].ravel(), items[:, 1:].ravel()), 1)
    assert followers.max(axis=2).sum() == followers.sum()  # with the sign: always right
    assert followers.sum(axis=1).max(axis=1).sum() / followers.sum() == pytest.approx(0.5, abs=0.03)


def test_preferences_must_be_carried_across_sessions() -> None:
    dataset = logs.preference_across_sessions(n_users=1000)
    items = table_of(dataset)
    assert np.array_equal(items[:, -1], items[:, 0] + 4)
    assert set(items[:, -2]) == {8}
    assert items[:, 1:-2].min() > 8
    starts = session_starts(dataset, 1800).reshape(items.shape)
    assert np.flatnonzero(starts[0]).tolist() == [0, 4, 8, 12]
    assert np.all(starts == starts[0])
    assert np.bincount(items[:, 0]) / 1000 == pytest.approx(np.full(4, 0.25), abs=0.06)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"but got gap=10, n_items=9, n_cues=4"):
        logs.delayed_dependence(n_items=9)
    with pytest.raises(ConfigError, match="n_sessions=1"):
        logs.preference_across_sessions(n_sessions=1)
    with pytest.raises(ConfigError, match="n_items=2"):
        logs.time_gap_dependence(n_items=2)
