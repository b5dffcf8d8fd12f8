"""What a screening queues, round by round, whoever asks and whatever fails."""

import pytest
from optuna.study import Study
from optuna.trial import Trial, TrialState
from screened import searched

from hrnn_hpo.cli.studies import confirmation_line
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIGURATION, FAILURE, ROLE, TRAIN_SEED, WORKER
from hrnn_hpo.study.confirm.agenda import Due, confirmation_runs, due, run_key, screening_runs
from hrnn_hpo.study.confirm.runs import begin_confirmation, queue_due, runs_left
from hrnn_hpo.study.confirm.settings import Numbers, Settings, how_many, remember_settings
from hrnn_hpo.study.record import read_record
from hrnn_hpo.study.results.status import status
from hrnn_hpo.study.results.sync import sync
from hrnn_hpo.study.run.recovery import Recovery, this_worker
from hrnn_hpo.study.storage.database import load_study, open_storage


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


def order(found: Study) -> list[tuple[str, int, int]]:
    return [(run.user_attrs[ROLE], *run_key(run)) for run in found.trials]


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

    def test_a_screening_that_is_called_off_is_neither_run_nor_counted(self, log: Dataset, space: SearchSpace) -> None:
        searched(log, space, confirm=0)
        remember_settings(load_study("four", open_storage()), 1, 2, None, 0)
        found = begin(Settings(k=1, n_seeds=2, screen=4))
        best = finish_next(found, 0.1)[1]
        begin(Settings(k=1, n_seeds=2, screen=0))
        assert waiting(found) == [("confirmation", trial, run) for trial in (0, best) for run in (0, 1)]
        assert runs_left(found) == 4
        told = status("four").confirmation
        assert told is not None
        assert (told["n_screening_runs_done"], told["n_screening_runs"]) == (1, 1)
        Recovery(found.study_name, open_storage()).run()
        assert len(waiting(found)) == 4  # what was called off is no lost run
        begin(Settings(k=1, n_seeds=2, screen=4))
        assert sum(role == "screening" for role, _, _ in waiting(found)) == 3

    def test_fewer_seeds_call_off_the_runs_of_the_others(self, log: Dataset, space: SearchSpace) -> None:
        searched(log, space, confirm=0)
        found = begin(Settings(k=1, n_seeds=3, screen=0))
        assert len(waiting(found)) == 6
        assert {run for _, _, run in waiting(begin(Settings(k=1, n_seeds=2, screen=0)))} == {0, 1}

    def test_without_confirmation_nothing_is_left_to_run(self, log: Dataset, space: SearchSpace) -> None:
        searched(log, space, confirm=0)
        found = begin(Settings(k=1, n_seeds=2, screen=4))
        study = load_study("four", open_storage())
        assert begin_confirmation(study, read_record(study), open_storage(), Settings(k=0)) is None
        assert waiting(found) == []
        assert runs_left(found) == 0
        assert status("four").confirmation is None
        assert len(waiting(begin(Settings(k=1, n_seeds=2, screen=4)))) == 4 + 2

    def test_a_run_whose_worker_is_gone_is_told_from_those_at_work(self, log: Dataset, space: SearchSpace) -> None:
        searched(log, space, confirm=0)
        remember_settings(load_study("four", open_storage()), 1, 2, None, 0)
        found = begin(Settings(k=1, n_seeds=2, screen=0))
        for worker in (this_worker(), {**this_worker(), "pid": 2**22 + 1}):  # Linux has no such process
            with pytest.warns(UserWarning, match="Heartbeat"):
                found.ask().set_user_attr(WORKER, worker)
        told = status("four").confirmation
        assert told is not None
        at_work, gone = ([f"confirming trial {trial}, run 1"] for trial in dict.fromkeys(t for _, t, _ in order(found)))
        assert (told["running"], told["lost"]) == (at_work, gone)
        assert confirmation_line(told).endswith(f"now {at_work[0]}; the worker of {gone[0]} is gone")
        sync("four")
        assert found.trials[1].state == TrialState.FAIL  # and it is queued again
