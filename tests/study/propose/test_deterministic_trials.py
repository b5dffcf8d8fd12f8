"""`--deterministic`: what a trial may see of the others, and the same table for one worker and for four."""

import random
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from study_fakes import Helpers

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError, StudyError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.attributes import CONFIGURATION
from hrnn_hpo.study.propose.deterministic import batch_to_start, earlier_batches
from hrnn_hpo.study.propose.pruners import make_pruner
from hrnn_hpo.study.propose.samplers import make_sampler
from hrnn_hpo.study.seeds import ordinals
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.storage.stale_trials import retry_stale_trial
from hrnn_hpo.study.trials import last_attempts
from hrnn_hpo.study.tune import tune

RUNNING, WAITING, COMPLETE, FAIL = TrialState.RUNNING, TrialState.WAITING, TrialState.COMPLETE, TrialState.FAIL


def trials(states: Sequence[TrialState], retries: dict[int, int] | None = None) -> list[optuna.trial.FrozenTrial]:
    """Return trials of these states; `retries` says which number retries which."""
    made = []
    for number, state in enumerate(states):
        original = (retries or {}).get(number)
        system = {} if original is None else {"failed_trial": original, "retry_history": [original]}
        trial = optuna.trial.create_trial(state=state, value=0.0 if state == COMPLETE else None, system_attrs=system)
        trial.number = number
        made.append(trial)
    return made


def test_a_retry_has_its_originals_place() -> None:
    assert ordinals(trials([COMPLETE, FAIL, COMPLETE, WAITING], {2: 1})) == {0: 0, 1: 1, 2: 1, 3: 2}


@pytest.mark.parametrize(
    ("states", "may_start", "opens"),
    [
        ([], True, True),
        ([RUNNING, COMPLETE], True, False),  # the third of the first batch
        ([RUNNING, COMPLETE, COMPLETE, COMPLETE], False, True),  # the second batch waits for trial 0
        ([FAIL, COMPLETE, COMPLETE, COMPLETE], True, True),
        ([COMPLETE] * 4 + [RUNNING], True, False),
        ([RUNNING, WAITING, WAITING, WAITING, WAITING], True, False),
        ([RUNNING, COMPLETE, COMPLETE, COMPLETE, WAITING], False, True),
    ],
)
def test_a_batch_starts_when_the_one_before_has_ended(states: list[TrialState], may_start: bool, opens: bool) -> None:
    assert batch_to_start(trials(states)) == (may_start, opens)


def test_a_retry_that_waits_behind_a_later_batch_does_not_hold_it_up() -> None:
    states = [COMPLETE, COMPLETE, FAIL, COMPLETE, WAITING, WAITING]
    assert batch_to_start(trials(states, {5: 2})) == (True, True)


def test_a_trial_sees_earlier_batches_alone() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials([COMPLETE] * 10))
    seen = [len(earlier_batches(study, trial).get_trials()) for trial in study.trials]
    assert seen == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    assert earlier_batches(study, study.trials[5]).direction == study.direction


def table(name: str) -> list[Any]:
    return [
        (trial.params, trial.user_attrs["configuration"]["seed"], trial.state, trial.value, trial.intermediate_values)
        for trial in last_attempts(load_study(name, open_storage()))
    ]


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("limit", [{}, {"patience_trials": 5}])
def test_one_worker_and_four_make_the_same_table(
    log: Dataset, space: SearchSpace, fake_experiment: Any, limit: dict[str, int]
) -> None:
    tune(log, study="one", space=space, n_trials=18, seed=5, deterministic=True, confirm=0, **limit)
    helpers, draw = Helpers(log), random.Random(0)
    fake_experiment.before_epoch = lambda run, epoch: time.sleep(draw.uniform(0, 0.05))
    tune(log, study="four", space=space, n_trials=18, seed=5, deterministic=True, confirm=0, observer=helpers, **limit)
    for thread in helpers.threads:
        thread.join()
    assert table("one") == table("four")
    if not limit:
        assert len(table("one")) == 18
        assert TrialState.PRUNED in {row[2] for row in table("one")}
    spans = [(trial.datetime_start, trial.datetime_complete) for trial in load_study("four", open_storage()).trials]
    assert any(begun < ended for (_, ended), (begun, _) in pairwise(spans)), "the workers took turns"


def proposals(space: SearchSpace, sampler: str, pruner: str, kills: int) -> list[Any]:
    """Return what each trial of a deterministic study proposed and when it was pruned, by place.

    The first `kills` trials of each batch lose their worker once, after two epochs, and are queued again.
    """
    study = optuna.create_study(
        study_name=f"{sampler} {pruner}",
        direction="maximize",
        sampler=make_sampler(sampler, 3, space, deterministic=True),
        pruner=make_pruner(pruner, 9, deterministic=True),
    )
    found: dict[int, Any] = {}
    while len(found) < 24:
        trial = study.ask()
        space.suggest(trial)
        trial.set_user_attr(CONFIGURATION, {})  # all is drawn
        here = study.get_trials(deepcopy=False)
        place = ordinals(here)[trial.number]
        retried = sum(ordinals(here)[other.number] == place for other in here) > 1
        score, pruned = 1.0 / trial.params["hidden_dimension"], None
        n_done = len(study._storage.get_trial(trial._trial_id).intermediate_values)
        for epoch in range(max(n_done - 1, 0), 9):
            if epoch >= n_done:
                trial.report(score * (epoch + 1), epoch)
                if epoch == 1 and place % 4 < kills and not retried:
                    study.tell(trial, state=TrialState.FAIL)
                    retry_stale_trial(study, study.trials[trial.number])
                    break
            if epoch < 8 and trial.should_prune():
                pruned = epoch
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, score)
        if place % 4 >= kills or retried:
            found[place] = (trial.params, pruned)
    return [found[place] for place in sorted(found)]


@pytest.mark.parametrize(
    ("sampler", "pruner"), [("tpe", "median"), ("tpe", "hyperband"), ("random", "successive-halving"), ("gp", "median")]
)
def test_workers_that_die_change_neither_proposals_nor_pruning(space: SearchSpace, sampler: str, pruner: str) -> None:
    undisturbed = proposals(space, sampler, pruner, kills=0)
    assert any(pruned is not None for _, pruned in undisturbed)
    assert proposals(space, sampler, pruner, kills=1) == undisturbed
    assert proposals(space, sampler, pruner, kills=3) == undisturbed


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_what_would_break_the_promise_is_refused(log: Dataset, space: SearchSpace) -> None:
    with pytest.raises(ConfigError, match=r"--deterministic needs a sampler .* but got qmc"):
        tune(log, study="s", space=space, n_trials=1, deterministic=True, sampler="qmc")
    with pytest.raises(ConfigError, match="one thread a trial, but got --threads 2"):
        tune(log, study="s", space=space, n_trials=1, deterministic=True, n_threads=2)
    tune(log, study="s", space=space, n_trials=1, confirm=0)
    with pytest.raises(StudyError, match="deterministic: False -> True"):
        tune(log, study="s", n_trials=2, deterministic=True)
