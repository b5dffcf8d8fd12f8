"""The simulation of a confirmation's worth: budgets, screening by the product's functions, and what its table says."""

import pytest

from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.search.winners_curse import best_allocation, designs, measure, report, simulate


def test_the_raw_search_spends_what_screening_and_confirmation_take() -> None:
    told = measure(1.0, 20, 5, 2, n_repeats=20)
    assert (told["screening_runs"], told["budget"]) == (5 + 3, 20 + 8 + 3 * 5)
    plain = measure(1.0, 40, 0, 3, n_repeats=20)
    assert (plain["screening_runs"], plain["budget"], plain["bound"]) == (0, 40 + 4 * 5, None)
    assert designs(1.0, 20) == [("plain", 0, 1), ("screened", 5, 2), ("one", 5, 1)]


def test_without_noise_a_confirmation_finds_the_best_that_was_searched() -> None:
    raw, confirmed, _, optimism = simulate(0.0, 20, 5, 2, n_repeats=50)
    assert raw.max() == 0.0
    assert (confirmed == 0.0).mean() == pytest.approx(20 / 43, abs=0.2)  # the share of the raw search's trials
    assert optimism == pytest.approx(0.0, abs=1e-9)


def test_knowing_the_deviations_is_worth_something() -> None:
    raw, confirmed, ahead, _ = simulate(1.0, 40, 5, 2, n_repeats=1500)
    assert best_allocation(1.0, 40, 18, 1500) < confirmed.mean() / raw.mean() < 0.75
    assert (ahead >= 0).all()  # the defaults themselves may win


def test_the_table_says_where_the_target_is_missed_and_what_could_be_had() -> None:
    def row(n_search: int, ratio: float) -> Row:
        settings = {"noise": 1.0, "searched": n_search, "screened": 5, "k": 2, "repeats": 10}
        figures = {
            "yes": 0.6,
            "budget": 43,
            "screening_runs": 8,
            "regret_raw": 0.6,
            "regret_confirmed": 0.5,
            "bound": 0.7,
        }
        figures |= {"ratio": {"mean": ratio, "error": 0.01}, "optimism": 1.0}
        return Row(date="", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)

    assert "same deviation; missed with 0.81 after 20 trials, where the bound is 0.70." in report({"a": row(20, 0.81)})
    assert "same deviation; kept." in report({"a": row(40, 0.64)})
