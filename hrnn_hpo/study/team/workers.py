"""`tune --workers W`: W processes that run trials of one study side by side, started, watched and replaced here.

They share nothing but the study's storage and, through mmap, the prepared data. On a Ray cluster
ray_team.py starts them.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import Study

from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.study.attributes import STOP_KEY
from hrnn_hpo.study.request.check import CheckedRequest
from hrnn_hpo.study.request.request import StudyRequest, objects_of
from hrnn_hpo.study.run.continuing import to_finish
from hrnn_hpo.study.run.control import Control
from hrnn_hpo.study.run.observer import Observer
from hrnn_hpo.study.run.recovery import Recovery
from hrnn_hpo.study.run.stop_rules import rule_that_stops
from hrnn_hpo.study.team.local_team import LocalTeam
from hrnn_hpo.study.team.team import Addresses, Team
from hrnn_hpo.study.team.watcher import Watcher
from hrnn_hpo.study.trials import progress_of

POLL_SECONDS = 1.0
# A worker that dies is replaced; so many deaths without a finished trial in between end the study.
MAX_DEATHS_IN_A_ROW = 10


def make_team(checked: CheckedRequest, addresses: Addresses) -> Team:
    """Return the team that a request asks for. Raises what RayTeam raises."""
    request = checked.request
    if request.launcher == "ray":
        from hrnn_hpo.study.team.ray_team import RayTeam

        return RayTeam(
            addresses, size=request.n_workers, gpus_per_trial=request.gpus_per_trial, address=request.ray_address
        )
    return LocalTeam(checked.n_workers, addresses)


def require_names(request: StudyRequest, **own: Sequence[Any] | Mapping[str, Any] | None) -> None:
    """Raise ConfigError for what only one process can have: objects and functions handed to `tune`."""
    objects = objects_of(request, **own)
    if objects:
        raise ConfigError(
            f"Worker processes know samplers and pruners by name; with n_workers > 1, leave out {objects}."
        )


def run_workers(
    study: Study, storage: RDBStorage, n_trials: int | None, control: Control, team: Team, observer: Observer
) -> str:
    """Keep the team's seats filled until the budget is used up or `control` says stop; return why it ended.

    Raises RunFailedError with a worker's own words when it gives up, or when workers keep dying.
    """
    recovery, watcher = Recovery(study.study_name, storage), Watcher(observer)
    recovery.run()
    deaths, n_done = 0, -1
    try:
        team.start(study)
        while team.running():
            time.sleep(POLL_SECONDS)
            trials = study.get_trials(deepcopy=False)
            watcher.look(trials)
            if control.reason is not None or study.user_attrs.get(STOP_KEY):
                control.look_for_request(study)
                break
            n_now = progress_of(study).done
            dead = team.collect()
            if dead:
                deaths = 1 if n_now > n_done else deaths + len(dead)
                n_done = n_now
                recovery.run()
                if deaths >= MAX_DEATHS_IN_A_ROW:
                    raise RunFailedError(f"Worker processes keep dying ({dead[-1]}). Last words:\n{team.last_words()}")
                left = n_trials is None or n_now < n_trials or to_finish(study)
                if left and not rule_that_stops(study):
                    team.start(study)
    finally:
        try:
            team.stop()
        finally:
            recovery.run()
        watcher.look(study.get_trials(deepcopy=False))
    return control.reason or rule_that_stops(study) or "all trials are done"
