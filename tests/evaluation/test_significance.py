"""Intervals and tests: hand-worked small cases, literal references, and error rates on planted data."""

from itertools import product
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrnn_hpo.evaluation import significance
from hrnn_hpo.evaluation.significance import (
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    n_resamples_of,
    paired_difference,
    paired_test,
)

figures = st.integers(-8, 8).map(lambda n: n / 8)


def literal_sign_flip(differences: list[float]) -> float:
    """Return the share of all sign patterns with a sum at least as large as the one seen."""
    patterns = list(product([1, -1], repeat=len(differences)))
    observed = abs(sum(differences))
    totals = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in patterns]
    return sum(total >= observed - 1e-9 for total in totals) / len(patterns)


# ---- bootstrap


def test_the_interval_of_equal_figures_is_a_point() -> None:
    assert bootstrap_interval([0.25] * 7, seed=0) == (0.25, 0.25)


def test_the_interval_is_close_to_the_normal_one_for_many_users() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.1, size=2_000)
    low, high = bootstrap_interval(values, seed=1)
    margin = 1.96 * values.std() / np.sqrt(2_000)
    assert low == pytest.approx(values.mean() - margin, abs=margin * 0.05)
    assert high == pytest.approx(values.mean() + margin, abs=margin * 0.05)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [bootstrap_interval(generator.binomial(1, 0.3, 150), seed, 0.9, 500) for seed in range(200)]
    assert 0.84 <= np.mean([low <= 0.3 <= high for low, high in intervals]) <= 0.96


def test_all_resamples_of_two_users_are_seen() -> None:
    # Means of two draws from {0, 1}: 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    assert bootstrap_interval([0, 1], seed=0, level=0.95) == (0, 1)
    assert bootstrap_interval([0, 1], seed=0, level=0.4) == (0.5, 0.5)


@given(st.lists(figures, min_size=1, max_size=8), st.integers(0, 5))
def test_intervals_stay_within_the_figures_and_grow_with_the_level(values: list[float], seed: int) -> None:
    low, high = bootstrap_interval(values, seed, 0.95, n_resamples=200)
    inner_low, inner_high = bootstrap_interval(values, seed, 0.5, n_resamples=200)
    assert min(values) <= low <= inner_low <= inner_high <= high <= max(values)
    assert (low, high) == bootstrap_interval(values, seed, 0.95, n_resamples=200)


def test_resampling_in_blocks_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(6)  # 6 int32 draws: whole words, so that blocks use up the stream alike
    whole = bootstrap_interval(values, seed=3, n_resamples=100)
    monkeypatch.setattr(significance, "RESAMPLE_BLOCK", 60)
    assert bootstrap_interval(values, seed=3, n_resamples=100) == whole


def test_users_without_a_figure_are_left_out() -> None:
    assert bootstrap_interval([0.5, nan, 0.5], seed=0) == (0.5, 0.5)
    assert all(isnan(bound) for bound in bootstrap_interval([nan], seed=0))


def test_metrics_drawn_together_have_the_intervals_that_they_have_alone() -> None:
    rng = np.random.default_rng(0)
    one, two, few, none = rng.random(40), rng.random(40), rng.random(40), np.full(40, np.nan)
    few[::3] = np.nan
    found = bootstrap_intervals({"one": one, "few": few, "none": none, "two": two}, 5, n_resamples=500)
    assert list(found) == ["one", "few", "none", "two"]
    for name, values in {"one": one, "few": few, "two": two}.items():
        assert found[name] == pytest.approx(bootstrap_interval(values, 5, n_resamples=500))
    assert np.isnan(found["none"]).all()


def test_a_paired_difference_has_an_interval_and_a_p_value() -> None:
    found = paired_difference(np.array([1, 1, 1, nan]), np.array([0, 0, 0, 0]))
    assert found == {"difference": 1, "low": 1, "high": 1, "p": 2 / 8}


def test_very_many_users_take_fewer_resamples() -> None:
    assert [n_resamples_of(n) for n in (100, 10_000, 1_000_000)] == [10_000, 5_000, 1_000]


def test_a_level_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`0 < level < 1` must hold, but got level=95"):
        bootstrap_interval([1.0], seed=0, level=95)


# ---- paired test


def test_three_users_that_all_gain_are_the_2_extreme_of_8_patterns() -> None:
    assert paired_test([0.3, 0.5, 0.9], [0.2, 0.3, 0.4]) == 2 / 8


def test_one_loss_the_size_of_a_gain_makes_more_patterns_as_extreme() -> None:
    # Differences 1, 1, -1: the sum is 1 or -1 in 6 of 8 patterns, 3 or -3 in the other 2; all are at least 1.
    assert paired_test([1, 1, 0], [0, 0, 1]) == 1


def test_equal_models_give_1() -> None:
    assert paired_test([0.1, 0.2], [0.1, 0.2]) == 1
    assert paired_test([], []) == 1


def test_users_without_a_difference_or_a_figure_change_nothing() -> None:
    assert paired_test([0.3, 0.5, 0.9, 0.7, nan], [0.2, 0.3, 0.4, 0.7, 1]) == 2 / 8


def test_figures_of_several_seeds_change_sign_with_their_user() -> None:
    # Two users with three seeds each are two observations, however often they were measured.
    assert paired_test([1] * 6, [0] * 6, users=[4, 9, 4, 9, 4, 9]) == 2 / 4
    # User 4's seeds cancel: one user is left.
    assert paired_test([1, 0, 1], [0, 1, 0], users=[4, 4, 9]) == 1


@given(st.lists(figures, min_size=1, max_size=8))
def test_the_test_of_few_users_counts_every_pattern(differences: list[float]) -> None:
    assert paired_test(differences, [0] * len(differences)) == pytest.approx(literal_sign_flip(differences))


@given(st.lists(st.tuples(figures, figures), min_size=1, max_size=10))
def test_the_test_does_not_ask_which_model_comes_first(pairs: list[tuple[float, float]]) -> None:
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert paired_test(a, b) == paired_test(b, a)
    assert 0 < paired_test(a, b) <= 1


def test_random_patterns_agree_with_all_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(5).normal(0.4, 1, size=12)
    exact = paired_test(differences, np.zeros(12))
    monkeypatch.setattr(significance, "MAX_EXACT_USERS", 0)
    monkeypatch.setattr(significance, "RESAMPLE_BLOCK", 12 * 999)
    assert paired_test(differences, np.zeros(12), n_resamples=20_000) == pytest.approx(exact, abs=0.015)


def test_the_same_seed_gives_the_same_p_value() -> None:
    a, b = np.random.default_rng(0).random((2, 60))
    assert paired_test(a, b, seed=1) == paired_test(a, b, seed=1)


def test_a_clear_gain_reaches_the_smallest_p_value() -> None:
    b = np.random.default_rng(0).random(200)
    assert paired_test(b + 0.1, b, n_resamples=999) == 1 / 1000


def test_equally_good_models_are_called_different_as_often_as_agreed() -> None:
    generator = np.random.default_rng(0)
    p_values = [paired_test(*generator.random((2, 40)), n_resamples=400) for _ in range(300)]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.08


def test_measuring_the_same_users_again_does_not_make_a_chance_difference_significant() -> None:
    generator = np.random.default_rng(1)
    n_called = 0
    for _ in range(200):
        difference = generator.normal(size=30)  # belongs to the user: every seed shows it again
        n_called += paired_test(np.tile(difference, 5), np.zeros(150), users=np.tile(np.arange(30), 5)) <= 0.05
    assert n_called / 200 <= 0.1


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((2, 2), (2, 2))])
def test_unpaired_figures_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="One figure per user and model"):
        paired_test(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_users_must_match_the_figures() -> None:
    with pytest.raises(ValueError, match="One user per figure"):
        paired_test([1, 2], [1, 2], users=[0])


# ---- Holm


def test_holm_by_hand() -> None:
    # Sorted .01 .03 .04 times 3, 2, 1: .03 .06 .04; the last is raised to .06.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, corrected in zip(p_values, adjusted, strict=True):
        assert p <= corrected <= min(1, p * len(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@pytest.mark.parametrize("p_value", [-0.1, 1.5, nan])
def test_what_is_no_p_value_is_refused(p_value: float) -> None:
    with pytest.raises(ValueError, match="`0 <= p <= 1` must hold"):
        holm([0.5, p_value])
