"""Screening: who goes on, how many are screened and confirmed, by small tables."""

from typing import Any

import pytest

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.confirm.screening import mean_so_far, round_sizes, screen
from hrnn_hpo.study.confirm.settings import Numbers, Settings, how_many
from hrnn_hpo.study.forecast.forecast import Trainings
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.request.check import check_request
from hrnn_hpo.study.request.request import study_request

FIVE = [4, 7, 2, 9, 5]  # best search score first
SEARCHED = {4: 0.9, 7: 0.8, 2: 0.7, 9: 0.6, 5: 0.5}
FIRST = {(4, 0): 0.1, (7, 0): 0.2, (2, 0): 0.5, (9, 0): 0.8, (5, 0): 0.1}


@pytest.mark.parametrize(
    ("n", "k", "sizes"),
    [(5, 1, [5, 3, 2]), (5, 2, [5, 3]), (5, 3, [5]), (8, 2, [8, 4]), (3, 3, []), (2, 5, []), (5, 0, []), (0, 1, [])],
)
def test_rounds_halve_the_field_until_those_are_left_who_are_confirmed(n: int, k: int, sizes: list[int]) -> None:
    assert round_sizes(n, k) == sizes


class TestScreen:
    def test_the_first_round_runs_all_of_them(self) -> None:
        found = screen(FIVE, 1, {}, SEARCHED)
        assert (found.runs, found.n_later, found.chosen) == ([(trial, 0) for trial in FIVE], 5, None)
        waits = screen(FIVE, 1, {key: score for key, score in FIRST.items() if key != (9, 0)}, SEARCHED)
        assert (waits.runs, waits.chosen) == ([(9, 0)], None)  # the round is over when all of it is

    def test_the_mean_with_the_search_says_who_goes_on(self) -> None:
        # Means: 4 (.9 + .1) / 2 = .5, 7 .5, 2 .6, 9 .7, 5 .3. Of 4 and 7, both at .5, the earlier trial is ahead.
        second = screen(FIVE, 1, FIRST, SEARCHED)
        assert (second.runs, second.n_later) == ([(9, 1), (2, 1), (4, 1)], 2)
        # Now 9 (.6 + .8 + .1) / 3 = .5, 2 (.7 + .5 + .3) / 3 = .5, 4 (.9 + .1 + .8) / 3 = .6.
        results = {**FIRST, (9, 1): 0.1, (2, 1): 0.3, (4, 1): 0.8}
        assert screen(FIVE, 1, results, SEARCHED).runs == [(4, 2), (2, 2)]
        over = screen(FIVE, 1, {**results, (4, 2): 0.0, (2, 2): 0.4}, SEARCHED)
        assert (over.runs, over.n_later, over.chosen) == ([], 0, [2])  # .475 against .45
        assert screen(FIVE, 2, results, SEARCHED).chosen == [4, 2]

    def test_scores_of_less_data_do_not_count(self) -> None:
        assert screen(FIVE, 1, FIRST).runs == [(9, 1), (2, 1), (7, 1)]
        assert mean_so_far(9, 1, FIRST) == 0.8
        assert mean_so_far(9, 1, FIRST, SEARCHED) == pytest.approx(0.7)

    def test_who_failed_is_out_and_the_others_go_on(self) -> None:
        found = screen(FIVE, 2, {**FIRST, (9, 0): None}, SEARCHED)
        assert found.runs == [(2, 1), (4, 1), (7, 1)]
        assert screen(FIVE, 2, {**FIRST, (9, 0): None, (2, 1): None, (4, 1): None, (7, 1): 0.1}, SEARCHED).chosen == [7]
        assert screen(FIVE, 1, dict.fromkeys(FIRST, None), SEARCHED).chosen == []

    def test_few_candidates_need_no_round(self) -> None:
        assert screen([4, 7], 2, {}, SEARCHED).chosen == [4, 7]


@pytest.mark.parametrize(
    ("settings", "n_trials", "expected"),
    [
        ({}, 19, (0, 0)),
        ({}, 20, (2, 5)),
        ({}, 60, (2, 8)),
        ({"screen": 0}, 40, (3, 0)),  # as many as half the trials pay for
        ({"k": 1}, 40, (1, 5)),
        ({"k": 1}, 8, (1, 0)),
        ({"k": 5}, 40, (5, 0)),  # all of those who would be screened are confirmed
        ({"k": 0}, 40, (0, 0)),
        ({"screen": 4}, 8, (1, 4)),
        ({"screen": 2}, 40, (1, 2)),
        ({"n_seeds": 10}, 20, (2, 5)),  # who asks for more certainty does not lose the confirmation
        ({"n_seeds": 20, "screen": 0}, 40, (1, 0)),
        ({"n_seeds": 2}, 8, (0, 0)),
    ],
)
def test_unless_told_five_are_screened_and_two_confirmed_from_twenty_trials_on(
    settings: dict[str, int], n_trials: int, expected: tuple[int, int], log: Dataset, space: SearchSpace
) -> None:
    found = how_many(Settings(**settings), n_trials, record_of(log, space))
    assert (found.confirmed, found.screened) == expected


def record_of(log: Dataset, space: SearchSpace, **options: Any) -> StudyRecord:
    return check_request(log, study_request(study="s", space=space, **options), None, data="log").record


def test_a_search_on_a_part_of_the_users_is_screened_where_it_is_large(log: Dataset, space: SearchSpace) -> None:
    record = record_of(log, space, user_fraction=0.5)
    assert how_many(Settings(), 8, record) == Numbers(1, 0)
    assert how_many(Settings(), 20, record) == Numbers(2, 5)


@pytest.mark.parametrize(("confirm", "screen"), [(0, 5), (3, 3), (4, 2)])
def test_a_screening_that_chooses_nobody_is_refused(confirm: int, screen: int) -> None:
    with pytest.raises(ConfigError, match="`0 < --confirm < --screen` must hold, but got"):
        study_request(study="s", confirm=confirm, screen=screen)


def test_the_defaults_runs_fill_the_seats_that_a_round_leaves_idle() -> None:
    after = Trainings([5, 3], confirming=10, at_any_time=5)
    assert after.turns(1) == 18
    assert after.turns(4) == 2 + 1 + 2  # (8 + 4) seats of rounds for 8 + 4 runs, 6 more
    assert Trainings([], 10, 5).turns(4) == 3
