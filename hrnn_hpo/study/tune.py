"""`tune`: a study from the first trial to the leaderboard, begun or continued.

The trials themselves run in run/, in this process (team/worker.py) or in others (team/workers.py); what they share is
in the study's record.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.reading.source import SourceLike
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.evaluation.protocols import UserMetric
from hrnn_hpo.experiment import resolve_device
from hrnn_hpo.stores import require_apart, storage_address, tracking_address
from hrnn_hpo.study.confirm.conclude import conclude
from hrnn_hpo.study.confirm.leaderboard import Leaderboard, read_leaderboard
from hrnn_hpo.study.confirm.runs import begin_confirmation, companion_of
from hrnn_hpo.study.confirm.settings import Settings, remember_settings
from hrnn_hpo.study.confirm.test_part import open_test_part
from hrnn_hpo.study.plan import READING, data_on_disk, plan_ahead
from hrnn_hpo.study.request.begin import begin_or_continue, start_clock
from hrnn_hpo.study.request.budget import read_budget
from hrnn_hpo.study.request.check import CheckedRequest, check_request
from hrnn_hpo.study.request.part_of_users import check_fidelity
from hrnn_hpo.study.request.request import StudyRequest, study_request
from hrnn_hpo.study.request.widening import finish_widening
from hrnn_hpo.study.result import StudyResult, study_result
from hrnn_hpo.study.results.folder import require_results_target, write_results
from hrnn_hpo.study.results.to_mlflow import track_results
from hrnn_hpo.study.run.control import Control, signals_ask
from hrnn_hpo.study.run.loop import Callback
from hrnn_hpo.study.run.observer import Observer, Silent
from hrnn_hpo.study.run.recovery import Recovery
from hrnn_hpo.study.run.trial import TrialContext
from hrnn_hpo.study.storage.database import has_study, open_storage
from hrnn_hpo.study.storage.locks import holding
from hrnn_hpo.study.team.team import Addresses, Team
from hrnn_hpo.study.team.worker import run_here
from hrnn_hpo.study.team.workers import make_team, require_names, run_workers
from hrnn_hpo.study.track.study_runs import StudyRuns
from hrnn_hpo.study.trials import (
    progress_of,
    read_confirmation,
)
from hrnn_hpo.tracking import Tracker, git_commit

_log = logging.getLogger(__name__)


def tune(
    data: Dataset | SourceLike,
    request: StudyRequest | None = None,
    *,
    extra_metrics: Mapping[str, UserMetric] | None = None,
    callbacks: Sequence[Callback] = (),
    observer: Observer | None = None,
    **fields: Any,
) -> StudyResult:
    """Search a space and return the best configuration, compared with the defaults and the baselines on test users.

    `data` is a path, a Dataset, or a DataFrame (kept as a prepared folder in the cache), with the options of
    `load_dataset` by name: `tune(frame, study="first", space="hrnn", user="userId", item="movieId", time="ts")`.

    What is asked stands in a StudyRequest or in its fields, given by name: `tune(data, study="first", space="hrnn",
    n_trials=40)`. A study of this name that exists is continued under what it recorded; fields left at None take the
    recorded values. `n_trials` counts its complete and pruned trials in total, `timeout` the seconds of this call.
    `sampler` may be a name, an Optuna sampler, or a function from a seed to one (which keeps resumed studies
    reproducible). `extra_metrics` add to the metrics that `objective` may name; `callbacks` run after each trial.
    With more than one worker, samplers and pruners go by name, and metrics and callbacks are not available.

    After the search the best `confirm` configurations and the defaults train again, `confirm_seeds` times each; the
    winner is the one with the best mean of those. They are chosen by further trainings of the best `screen` before. The
    time budget is the search's alone.

    With `user_fraction` the search trains on that part of the training users. It begins only where some configurations,
    trained on the part and on all, rank alike (else StudyError), and at least one configuration is confirmed, on all
    users. Several objectives make a study without a pruner, whose `front` is the result; its best trial is the one that
    is best in the first objective.

    Raises ConfigError for a request that breaks a rule, StudyError where the study began with other settings or is
    deleted meanwhile, RunFailedError when five trials in a row fail or no trial completes. What is done stays in place.
    """
    reading = {name: fields.pop(name) for name in list(fields) if name in READING}
    asked = study_request(request, **fields)
    source = data_on_disk(data, asked, reading)
    dataset = source if isinstance(source, Dataset) else load_dataset(source)
    resolve_device(asked.device)
    require_apart(storage_address(asked.storage), tracking_address(asked.tracking_uri))
    if asked.out is not None:
        require_results_target(asked.out)
    database = open_storage(asked.storage, create=True)
    finish_widening(asked.study, database)
    name = str(source) if isinstance(source, Path) else dataset.name

    def check() -> CheckedRequest:
        return check_request(dataset, asked, database, data=name, metrics=list(extra_metrics or ()))

    checked = check()
    for note in checked.notes:
        _log.warning("%s", note)
    tracker = Tracker(asked.tracking_uri)  # may fail, so before anything is written
    team = None
    if asked.launcher == "ray" or checked.n_workers > 1:
        require_names(checked.request, extra_metrics=extra_metrics, callbacks=callbacks)
        path = _path_of(source, dataset)
        team = make_team(checked, Addresses(path, database.url, tracker.uri, asked.device, checked.n_threads))
    if has_study(asked.study, database):  # a wider space is refused while trials run, and those of dead workers do not
        Recovery(asked.study, database).run()
    study, checked = begin_or_continue(database, checked, check)
    runs = StudyRuns(tracker, asked.study, checked.record)
    runs.open_parent(study)
    work = _Work(
        study,
        database,
        dataset,
        checked,
        runs,
        observer or Silent(),
        team,
        extra_metrics=extra_metrics,
        callbacks=callbacks,
    )
    state = "failed"
    try:
        work.compare_part_of_users()
        settings = remember_settings(study, asked.confirm, asked.confirm_seeds, asked.ensemble, asked.screen)
        work.announce_plan(settings)
        stopped = work.search_and_confirm(settings)
        board = None if work.control.ended else work.open_test_part()
        result = study_result(study, stopped, database, tracker, board, asked.out, work.control)
        state = "stopped" if board is None else "complete"
        if asked.out is not None:
            result = replace(result, written=write_results(asked.out, study, result.answers))
        return result
    except KeyboardInterrupt:
        state = "stopped"
        raise
    except KeyError:  # Optuna's word for what is not there
        if has_study(asked.study, database):
            raise
        state = "deleted"
        raise StudyError(f"Study {asked.study!r} was deleted while this command worked on it.") from None
    finally:
        if team is not None:
            team.close()
        if state != "deleted":
            track_results(runs, study, companion_of(study, database))
            runs.close_parent(state)


@dataclass
class _Work:
    """A study under way in this process: its steps, in the order in which `tune` takes them."""

    study: Study
    storage: RDBStorage
    dataset: Dataset
    checked: CheckedRequest
    runs: StudyRuns
    observer: Observer
    team: Team | None
    extra_metrics: Mapping[str, UserMetric] | None = None
    callbacks: Sequence[Callback] = ()
    control: Control = field(default_factory=Control)
    without_verdict: bool = False  # whether a confirmation was begun that could not be judged

    def compare_part_of_users(self) -> None:
        """Let the search train on a part of the users only where that was found to rank as all of them do."""
        if self.checked.record.user_fraction is not None:
            check_fidelity(
                self.study,
                self.storage,
                self.checked.record,
                self.dataset,
                self.checked.space,
                device=self.checked.request.device,
                n_threads=self.checked.n_threads,
                extra_metrics=self.extra_metrics,
                compared=self.observer.compared,
            )

    def announce_plan(self, settings: Settings) -> None:
        """Tell what is left to do and how long it will take."""
        expected = plan_ahead(self.dataset, self.checked, self.study, self.storage, settings)
        if expected is not None:
            self.observer.planned(expected)

    def search_and_confirm(self, settings: Settings) -> str:
        """Run the trials that are left, then the confirmation's runs and the verdict; return why the search ended."""
        timeout = self.checked.request.timeout
        start_clock(self.study, self.checked)  # again: it starts now
        self.control = Control(timeout)
        companion = None
        with signals_ask(self.control, "stopping after this epoch; Ctrl-C again stops at once"):
            stopped = self._run_trials(self.study, self.checked.n_trials, timeout)
            if not self.control.ended:
                self.control.begin_next_phase()
                companion = begin_confirmation(self.study, self.checked.record, self.storage, settings)
                self.control.look_for_request(self.study)  # it may have come before there was a confirmation to ask
            if companion is not None and not self.control.ended:
                budget = read_budget(companion)
                self._run_trials(companion, budget.n_trials if budget is not None else None)
        if companion is None or self.control.ended:
            return stopped
        self.without_verdict = conclude(self.study, self.checked.record, companion, settings) is None
        if self.without_verdict:
            _log.warning(
                "There is no verdict on the study's winner: the defaults, or all trials that were to be compared with "
                "them, could not be trained again. The same command tries once more, and the test users are opened "
                "when there is a verdict. With --confirm 0 the study ends without one."
            )
        return stopped

    def open_test_part(self) -> Leaderboard | None:
        """Return the leaderboard; None where the test users stay closed."""
        if self.checked.record.user_fraction is not None and read_confirmation(self.study) is None:
            _log.warning("The test users stay closed: no configuration was confirmed on all training users.")
            return None
        if self.without_verdict:  # the test users are for the winner, which the next command may find
            return read_leaderboard(self.study)
        with holding(self.study.study_name, self.storage, "test"):  # whoever comes second finds the figures there
            return open_test_part(
                self.study,
                self.checked.record,
                self.dataset,
                device=self.checked.request.device,
                again=self.checked.request.again,
                extra_metrics=self.extra_metrics,
            )

    def _run_trials(self, study: Study, n_trials: int | None, timeout: float | None = None) -> str:
        """Run a study's trials, the search's or its confirmation's, here or in workers; return why it ended."""
        record, done = self.checked.record, progress_of(study).done
        self.observer.study_started(record.objective, n_trials, timeout, done)
        if self.team is not None:
            return run_workers(study, self.storage, n_trials, self.control, self.team, self.observer)
        context = TrialContext(
            record=record,
            dataset=self.dataset,
            space=self.checked.space,
            runs=self.runs,
            control=self.control,
            device=self.checked.request.device,
            n_threads=self.checked.n_threads,
            observer=self.observer,
            extra_metrics=self.extra_metrics,
            commit=git_commit(),
        )
        return run_here(study, self.storage, n_trials, context, self.callbacks if study is self.study else ())


def _path_of(source: Path | Dataset, dataset: Dataset) -> Path:
    if isinstance(source, Path):
        return source
    raise ConfigError(
        f"Worker processes read the data from disk: pass a path instead of the data set {dataset.name!r}."
    )
