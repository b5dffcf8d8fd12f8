"""Studies with a screening from end to end: killed, with more workers, with runs that fail."""

import threading
import time
from typing import Any

import pytest
from optuna.study import Study
from screened import companion, searched, verdict_of
from study_fakes import FakeTracker

from hrnn_hpo.cli.progress import plan_lines
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CANDIDATE, ROLE
from hrnn_hpo.study.confirm.agenda import due, run_key, screening_runs
from hrnn_hpo.study.confirm.confirm_trial import ConfirmObjective
from hrnn_hpo.study.confirm.runs import runs_left
from hrnn_hpo.study.confirm.screening import screen
from hrnn_hpo.study.confirmation import Confirmation, confirmation_from, sentences
from hrnn_hpo.study.plan import plan
from hrnn_hpo.study.request.budget import Budget, write_budget
from hrnn_hpo.study.results.manage import delete_study
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.run.observer import Silent
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.team.worker import work
from hrnn_hpo.study.trials import last_attempts


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


@pytest.mark.usefixtures("tracker", "fake_figures")
def test_a_worker_that_comes_while_a_confirmation_begins_waits_until_it_has(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    ended: list[str] = []

    def begin(found: Study, budget: Budget) -> None:
        threads.append(threading.Thread(target=lambda: ended.append(work(log, "four"))))
        threads[-1].start()
        threads[-1].join(1.0)
        write_budget(found, budget)

    monkeypatch.setattr("hrnn_hpo.study.confirm.runs.write_budget", begin)
    found = verdict_of(searched(log, space, confirm=1, confirm_seeds=2, screen=0))
    for thread in threads:
        thread.join()
    assert (len(found.contenders), ended) == (2, ["all confirmation runs are done"])


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
