"""From the finished runs of a confirmation to the verdict that the study keeps."""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.data.splits import LEAST_VALIDATION, REDRAWN
from hrnn_hpo.study.attributes import (
    CONFIRMATION,
    FIGURES,
    RUN_INDEX,
    SUMMARY,
)
from hrnn_hpo.study.confirm.agenda import (
    confirmation_runs,
    read_agenda,
    results_of,
    run_key,
    screening_runs,
)
from hrnn_hpo.study.confirm.figures import from_text
from hrnn_hpo.study.confirm.runs import runs_left
from hrnn_hpo.study.confirm.screening import mean_so_far
from hrnn_hpo.study.confirm.settings import Settings
from hrnn_hpo.study.confirm.verdict import RunScores, judge, level_of_next, side_by_side
from hrnn_hpo.study.confirmation import EARLIER_VERSION, Confirmation, Screened
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.resolution import REDRAWN_POOL, Design, Resolution, detectable_gain, resolution, spread_of
from hrnn_hpo.study.run.trial_files import drop_all_files
from hrnn_hpo.study.trials import defaults_trial, last_attempts, read_confirmation


def conclude(study: Study, record: StudyRecord, companion: Study, settings: Settings) -> Confirmation | None:
    """Return the verdict on the finished runs and write it into the study; None while runs are left.

    A configuration of which a run failed is out of the contest; without the defaults, or where screening or failed runs
    left nobody else, there is no contest.
    """
    runs = {run_key(run): run for run in confirmation_runs(companion) if run.user_attrs[RUN_INDEX] < settings.n_seeds}
    if runs_left(companion):
        return None
    numbers = sorted({number for number, _ in runs})
    scored: dict[int, list[RunScores]] = {}
    failed = []
    for number in numbers:
        mine = [runs.get((number, repeat)) for repeat in range(settings.n_seeds)]
        ended = [run for run in mine if run is not None and run.state == TrialState.COMPLETE]
        if len(ended) == settings.n_seeds:
            scored[number] = [run_scores(run) for run in ended]
        else:
            failed.append(number)
    trials = last_attempts(study)
    defaults = defaults_trial(trials)
    if defaults is None or defaults.number not in scored or len(scored) == 1:
        return None
    stored = read_confirmation(study)
    confirmation = judge(
        scored,
        defaults.number,
        {trial.number: trial.value for trial in trials if trial.state == TrialState.COMPLETE},
        objective=record.objective,
        redrawn=record.protocol in REDRAWN,
        failed=failed,
        comparable=record.user_fraction is None,
        doubt=_doubt(record),
        looks=stored.looks if stored is not None else (),
    )
    confirmation = replace(
        confirmation, resolution=_resolution(scored, confirmation, record), screened=_screened(companion, trials)
    )
    if stored is not None and replace(confirmation, time=stored.time) == stored:
        confirmation = stored
    else:
        confirmation = replace(confirmation, time=round(time.time(), 3))
        study.set_user_attr(CONFIRMATION, confirmation.content())
    drop_all_files(companion)  # also those of a process that died here
    return confirmation


def _screened(companion: Study, trials: list[FrozenTrial]) -> list[Screened]:
    """Return what screening found of each candidate, best of the search first; empty where nobody was screened."""
    agenda = read_agenda(companion)
    if agenda is None or len(agenda.candidates) <= agenda.k:
        return []
    results, values = results_of(screening_runs(companion)), {trial.number: trial.value for trial in trials}
    found = []
    for trial in agenda.candidates:
        runs = [results[key] for key in sorted(results) if key[0] == trial]
        failed = None in runs
        mean = None if failed or not runs else mean_so_far(trial, len(runs), results, agenda.search_scores)
        scores = [score for score in runs if score is not None]
        found.append(Screened(trial, values[trial] or 0.0, scores, mean, failed))
    return found


def _doubt(record: StudyRecord) -> str | None:
    """Return why the runs are judged on the users that chose the winner; None where they are not."""
    if record.protocol in REDRAWN or record.n_held_back:
        return None
    if record.n_held_back is None:
        return EARLIER_VERSION
    return (
        f"`{record.protocol}` draws no users anew, and fewer than {LEAST_VALIDATION} validation users are too few to "
        "hold some back, so the runs were judged on the users that the search chose by"
    )


def _resolution(scored: Mapping[int, list[RunScores]], found: Confirmation, record: StudyRecord) -> Resolution | None:
    """Return what runs like these can see; None where runs are the units."""
    theirs = scored[found.defaults]
    challengers = [scored[one.trial] for one in found.contenders if one.trial != found.defaults]
    if not len(theirs[0].users):
        return None
    figures, users, runs = side_by_side([theirs, *challengers])
    spread = spread_of(figures[1:] - figures[0], users, runs)
    if spread is None:
        return None
    n_users = len(theirs[0].users)
    n_pool = REDRAWN_POOL * n_users if record.protocol in REDRAWN else n_users
    gain = max((one.difference or 0.0 for one in found.contenders), default=0.0)
    design = Design(n_users, n_pool, len(challengers), found.alpha)
    seen = detectable_gain(design, spread, found.n_seeds)
    wanted = [gain] if 0.0 < gain < seen else []
    next_alpha = level_of_next(found.looks)
    return resolution(record.objective, design, spread, found.n_seeds, [*wanted, seen / 2], next_alpha=next_alpha)


def run_scores(run: FrozenTrial) -> RunScores:
    """Return what a finished run of a confirmation scored."""
    packed = run.user_attrs[FIGURES]
    assert run.value is not None
    return RunScores(
        score=run.value,
        best_epoch=run.user_attrs[SUMMARY]["best_epoch"],
        users=from_text(packed["users"], np.int64),
        figures=from_text(packed["figures"], np.float64),
    )
