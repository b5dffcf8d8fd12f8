"""Screening: who goes on, by small tables; and its rounds in a study, queued once, killed, run by several, failing."""

import threading
import time
from typing import Any

import pytest
from optuna.study import Study
from optuna.trial import Trial, TrialState
from study_fakes import FakeTracker

from hrnn_hpo.cli.progress import plan_lines
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CANDIDATE, CONFIGURATION, FAILURE, ROLE, TRAIN_SEED
from hrnn_hpo.study.confirm.agenda import Due, confirmation_runs, due, run_key, screening_runs
from hrnn_hpo.study.confirm.confirm_trial import ConfirmObjective
from hrnn_hpo.study.confirm.runs import begin_confirmation, companion_of, queue_due, runs_left
from hrnn_hpo.study.confirm.screening import mean_so_far, round_sizes, screen
from hrnn_hpo.study.confirm.settings import Numbers, Settings, how_many
from hrnn_hpo.study.confirmation import Confirmation, confirmation_from, sentences
from hrnn_hpo.study.forecast.forecast import Trainings
from hrnn_hpo.study.plan import plan
from hrnn_hpo.study.record import StudyRecord, read_record
from hrnn_hpo.study.request.check import check_request
from hrnn_hpo.study.request.request import study_request
from hrnn_hpo.study.results.manage import delete_study
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.run.observer import Silent
from hrnn_hpo.study.run.recovery import Recovery
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.team.worker import work
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import StudyResult, tune

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
        ({"n_seeds": 10}, 20, (0, 0)),  # half the trials pay for none
    ],
)
def test_unless_told_five_are_screened_from_twenty_trials_on(
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


# A study with rounds: 6 trials, of which 4 are screened; arithmetic in place of training.


def searched(log: Dataset, space: SearchSpace | None, **options: Any) -> StudyResult:
    first: dict[str, Any] = {"pruner": "none", "sampler": "random", "seed": 3} if space is not None else {}
    return tune(log, study="four", space=space, n_trials=6, **(first | options))


def companion() -> Study:
    found = companion_of(load_study("four", open_storage()), open_storage())
    assert found is not None
    return found


def verdict_of(result: StudyResult) -> Confirmation:
    assert result.confirmation is not None
    return result.confirmation


def begin(settings: Settings) -> Study:
    study = load_study("four", open_storage())
    found = begin_confirmation(study, read_record(study), open_storage(), settings)
    assert found is not None
    return found


def finish_next(found: Study, value: float | None, *, lost: bool = False) -> tuple[str, int, int]:
    """End the run that waits longest, with this score or as a failure; return what it was."""
    taken = []

    def run(trial: Trial) -> float:
        taken.append(trial.number)
        if value is None:
            trial.set_user_attr(FAILURE, {"reason": "no score", **({} if lost else {"traceback": "…"})})
            raise RunFailedError("no score")
        return value

    found.optimize(run, n_trials=1, catch=(RunFailedError,))
    done = found.trials[taken[0]]
    return done.user_attrs[ROLE], *run_key(done)


def waiting(found: Study) -> list[tuple[str, int, int]]:
    return [(run.user_attrs[ROLE], *run_key(run)) for run in found.trials if run.state == TrialState.WAITING]


@pytest.mark.usefixtures("tracker", "fake_experiment")
class TestQueue:
    def test_each_round_is_queued_once_however_often_it_is_asked_for(self, log: Dataset, space: SearchSpace) -> None:
        searched(log, space, confirm=0)
        ranked = sorted(load_study("four", open_storage()).trials[1:], key=lambda trial: -trial.values[0])
        a, b, c, d = (trial.number for trial in ranked[:4])
        settings = Settings(k=1, n_seeds=2, screen=4)
        found = begin(settings)
        first = [("screening", trial, 0) for trial in (a, b, c, d)]
        assert waiting(found) == [*first, ("confirmation", 0, 0), ("confirmation", 0, 1)]
        assert waiting(begin(settings)) == waiting(found)  # as a command that was killed here does
        assert not queue_due(found, open_storage())
        assert runs_left(found) == 4 + 2 + 2 + 2  # a round of two and a trial's confirmation are to come
        for _ in range(3):
            finish_next(found, 0.0)
            assert not queue_due(found, open_storage())
        assert finish_next(found, 2.0) == ("screening", d, 0)
        assert due(found) == [Due("screening", d, 1), Due("screening", a, 1)]
        assert queue_due(found, open_storage())
        assert not queue_due(found, open_storage())
        assert waiting(begin(settings)) == [
            ("confirmation", 0, 0),
            ("confirmation", 0, 1),
            ("screening", d, 1),
            ("screening", a, 1),
        ]
        finish_next(found, 0.3)
        finish_next(found, 0.3)
        finish_next(found, 0.0)
        finish_next(found, 3.0)
        assert waiting(begin(settings)) == [
            ("confirmation", a, 0),
            ("confirmation", a, 1),
        ]  # the next command looks too
        assert runs_left(found) == 2

    def test_seeds_and_users_are_the_same_for_all_and_nobody_elses(self, log: Dataset, space: SearchSpace) -> None:
        searched(log, space, confirm=0)
        found = begin(Settings(k=1, n_seeds=3, screen=4))
        screening, confirming = screening_runs(found), confirmation_runs(found)
        for seed in (lambda run: run.user_attrs[CONFIGURATION]["seed"], lambda run: run.user_attrs[TRAIN_SEED]):
            assert len({seed(run) for run in screening}) == 1
            assert not {seed(run) for run in screening} & {seed(run) for run in confirming}

    def test_a_run_that_lost_its_worker_is_waited_for_and_one_that_failed_is_not(
        self, log: Dataset, space: SearchSpace
    ) -> None:
        searched(log, space, confirm=0)
        settings = Settings(k=1, n_seeds=2, screen=3)
        found = begin(settings)
        a = finish_next(found, None, lost=True)[1]  # and its worker died before it was queued again
        b, c = (finish_next(found, value)[1] for value in (0.1, None))
        assert due(found) == []
        assert runs_left(found) == 2 + 0 + 2 + 2
        begin(settings)
        Recovery(found.study_name, open_storage()).run()
        assert waiting(found)[2:] == [("screening", c, 0), ("screening", a, 0)]  # until the verdict, both once more

        finish_next(found, 0.1)
        finish_next(found, 0.1)
        finish_next(found, None)
        finish_next(found, 0.2)
        assert {(one.trial, one.repeat) for one in due(found)} == {(a, 1), (b, 1)}

    def test_a_study_confirmed_before_keeps_its_verdict_without_a_screening(
        self, log: Dataset, space: SearchSpace
    ) -> None:
        searched(log, space, confirm=0)
        found = begin(Settings(k=1, n_seeds=2, screen=0))
        record = read_record(load_study("four", open_storage()))
        assert how_many(Settings(), 40, record, found) == Numbers(3, 0)
        assert how_many(Settings(screen=4), 40, record, found) == Numbers(2, 4)
        assert not screening_runs(begin(Settings(k=1, n_seeds=2)))


def test_a_screened_study_from_end_to_end(
    log: Dataset, space: SearchSpace, fake_figures: Any, tracker: FakeTracker
) -> None:
    result = searched(log, space, confirm=1, confirm_seeds=2, screen=4)
    found = verdict_of(result)
    runs = {run_key(run): run.value for run in screening_runs(companion())}
    trials = {trial.number: trial.value for trial in last_attempts(load_study("four", open_storage()))}
    assert [one.trial for one in found.screened] == sorted(range(1, 6), key=lambda number: -trials[number])[:4]
    chosen = screen([one.trial for one in found.screened], 1, runs, trials)
    assert [one.trial for one in found.contenders if one.trial] == chosen.chosen
    assert sorted(len(one.scores) for one in found.screened) == [1, 1, 2, 2]
    for one in found.screened:
        assert one.mean == pytest.approx((trials[one.trial] + sum(one.scores)) / (1 + len(one.scores)))
    assert confirmation_from(found.content()) == found
    [told] = [text for text in sentences(found) if text.startswith("Screening")]
    assert told == (
        "Screening: the best 4 of the search ran again (6 trainings on other seeds); "
        f"confirmed of them: trial {chosen.chosen[0]}."
    )
    told = status("four").confirmation
    assert told is not None
    assert (told["n_screening_runs_done"], told["n_screening_runs"], told["n_runs"], told["running"]) == (6, 6, 4, [])
    assert len(tracker.by_role("screen")) == 6
    assert {run["tags"]["phase"] for run in tracker.by_role("screen")} == {"screen"}
    assert f"screen trial {chosen.chosen[0]}, run 2" in {run["name"] for run in tracker.by_role("screen")}
    again = searched(log, None)  # remembered, and nothing is run twice
    assert again.confirmation == found
    assert len(companion().trials) == 10
    tracker.runs.clear()
    assert sync("four") == 6 + 10 + 1


OPTIONS: dict[str, Any] = {"confirm": 1, "confirm_seeds": 2, "screen": 4, "deterministic": True}


def facts(found: Confirmation) -> dict[str, Any]:
    return {**found.content(), "time": 0}


@pytest.mark.usefixtures("fake_figures", "tracker")
def test_killed_between_two_rounds_it_goes_on_to_the_same_verdict(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = verdict_of(searched(log, space, **OPTIONS))
    delete_study("four")
    asked: list[int] = []

    def die(found: Study, storage: Any) -> bool:
        wanted = due(found)
        if wanted:  # the second round, and whom to confirm: when the command before it left it to this one
            asked.append(len(wanted))
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as patch:
        patch.setattr("hrnn_hpo.study.confirm.confirm_trial.queue_due", die)
        with pytest.raises(KeyboardInterrupt):
            searched(log, space, **OPTIONS)
        assert len(companion().trials) == 4 + 2
        with pytest.raises(KeyboardInterrupt):
            searched(log, None)
        assert len(companion().trials) == 4 + 2 + 2
    assert asked == [2, 2]
    result = searched(log, None)
    assert facts(verdict_of(result)) == facts(whole)
    assert len(companion().trials) == 10


class MoreWorkers(Silent):
    """Three workers that join when the confirmation starts."""

    def __init__(self, log: Dataset) -> None:
        self._log = log
        self._started = 0
        self.left: list[int] = []  # runs to be done when a worker left
        self.threads: list[threading.Thread] = []

    def study_started(self, *_: Any) -> None:
        self._started += 1
        if self._started == 2:
            self.threads = [threading.Thread(target=self._work) for _ in range(3)]
            for thread in self.threads:
                thread.start()

    def _work(self) -> None:
        work(self._log, "four")  # as a worker elsewhere does: it finds the search ended
        self.left.append(runs_left(companion()))


@pytest.mark.usefixtures("tracker")
def test_any_number_of_workers_screens_to_the_same_winner_and_none_leaves_between_rounds(
    log: Dataset, space: SearchSpace, fake_figures: Any
) -> None:
    alone = verdict_of(searched(log, space, **OPTIONS))
    delete_study("four")
    fake_figures.before_epoch = lambda run, epoch: time.sleep(0.02)
    helpers = MoreWorkers(log)
    together = verdict_of(searched(log, space, observer=helpers, **OPTIONS))
    for thread in helpers.threads:
        thread.join()
    assert facts(together) == facts(alone)
    assert helpers.left == [0, 0, 0]
    assert len(companion().trials) == 10


@pytest.mark.usefixtures("tracker")
def test_nobody_who_judges_is_screened_by(log: Dataset, space: SearchSpace, fake_figures: Any) -> None:
    splits: dict[str, list[set[int]]] = {"screening": [], "confirmation": []}
    original = ConfirmObjective._experiment

    def seen(self: Any, trial: Any, configuration: Any) -> Any:
        experiment = original(self, trial, configuration)
        splits[trial.user_attrs[ROLE]].append(set(experiment.split.validation.users.tolist()))
        return experiment

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfirmObjective, "_experiment", seen)
        searched(log, space, confirm=1, confirm_seeds=3, screen=4)
    assert [len(those) for those in splits.values()] == [6, 6]
    assert not set.union(*splits["screening"]) & set.union(*splits["confirmation"])


@pytest.mark.usefixtures("fake_figures", "tracker")
def test_a_trial_whose_screening_fails_is_dropped_with_a_note(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ConfirmObjective._experiment
    best: list[int] = []

    def fail(self: Any, trial: Any, configuration: Any) -> Any:
        if trial.user_attrs[ROLE] == "screening":
            best.append(trial.user_attrs[CANDIDATE])
            if trial.user_attrs[CANDIDATE] == best[0]:
                raise RunFailedError("loss is nan")
        return original(self, trial, configuration)

    monkeypatch.setattr(ConfirmObjective, "_experiment", fail)
    found = verdict_of(searched(log, space, confirm=1, confirm_seeds=2, screen=4))
    assert [one.trial for one in found.screened if one.failed] == found.out == [best[0]]
    assert best[0] not in {one.trial for one in found.contenders}
    assert any(f"Dropped, since a run failed: trial {best[0]}." in text for text in sentences(found))
    n_runs = len(companion().trials)
    searched(log, None)
    assert len(companion().trials) == n_runs  # not tried for ever


@pytest.mark.usefixtures("fake_figures", "tracker")
def test_where_every_screening_fails_there_is_no_verdict_and_the_next_command_tries_again(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ConfirmObjective._experiment

    def fail(self: Any, trial: Any, configuration: Any) -> Any:
        if trial.user_attrs[ROLE] == "screening":
            raise RunFailedError("out of memory")
        return original(self, trial, configuration)

    with monkeypatch.context() as patch:
        patch.setattr(ConfirmObjective, "_experiment", fail)
        assert searched(log, space, confirm=1, confirm_seeds=2, screen=4).confirmation is None
    assert verdict_of(searched(log, None)).screened


def test_the_plan_counts_screening(log: Dataset, space: SearchSpace, fake_experiment: Any) -> None:
    found = plan(log, study="planned", space=space, pruner="none", n_trials=20)
    assert (found.screening_runs, found.confirm_runs) == (8, 15)
    assert found.confirm_seconds == 23 * found.seconds_per_trial
    assert "Then 8 trainings screen the best trials and 15 trainings confirm the winner" in "\n".join(plan_lines(found))
    assert plan(log, study="planned", space=space, n_trials=20, screen=0).screening_runs == 0
    assert plan(log, study="planned", space=space, n_trials=10, screen=3).screening_runs == 5
