"""What a study is expected to take: a measured epoch, the pruner's cuts, the budget; and nothing written for a plan."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from shop import GOOD, clashing

from hrnn_hpo.cli.progress import plan_lines
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.errors import ConfigError, SpaceError
from hrnn_hpo.search.space import SearchSpace, load_space
from hrnn_hpo.study.forecast.forecast import FORECAST_KEY, Forecast, rungs, seconds_per_trial
from hrnn_hpo.study.forecast.measure import Measure, measure
from hrnn_hpo.study.forecast.simulation import simulate
from hrnn_hpo.study.plan import plan
from hrnn_hpo.study.record import StudyRecord, new_record
from hrnn_hpo.study.resolution import PRIOR, PRIOR_OF_ONE_EVENT, detectable_gain
from hrnn_hpo.study.run.continuing import take_up
from hrnn_hpo.study.run.observer import Silent
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune
from hrnn_hpo.training import trainer

# The fake measure: 2 s an epoch and 1 s before the first; the space has 4 epochs and patience 6, so 9 s a whole trial.


def expected(log: Dataset, space: SearchSpace, **request: Any) -> Forecast:
    return plan(log, study="planned", space=space, pruner=request.pop("pruner", "none"), **request)


@pytest.mark.usefixtures("fake_experiment")
class TestPlan:
    def test_without_a_pruner_each_trial_takes_all_its_epochs(self, log: Dataset, space: SearchSpace) -> None:
        found = expected(log, space, n_trials=10)
        assert (found.epochs_per_trial, found.seconds_per_trial, found.seconds) == (4.0, 9.0, 90.0)
        assert found.rungs == []

    def test_workers_share_the_trials(self, log: Dataset, space: SearchSpace) -> None:
        assert expected(log, space, n_trials=10, n_workers=4).seconds == 27.0  # three rounds of nine seconds

    def test_a_time_budget_counts_the_trials_that_end_in_it(self, log: Dataset, space: SearchSpace) -> None:
        found = expected(log, space, timeout=100.0, n_workers=2)
        assert (found.n_trials, found.seconds) == (22, 100.0)  # eleven in 99 seconds, twice
        assert expected(log, space, timeout=100.0, n_trials=3).seconds == 27.0

    def test_a_pruner_cuts_trials_but_never_the_first(self, log: Dataset, space: SearchSpace) -> None:
        found = expected(log, space, n_trials=20, pruner="successive-halving")
        assert 2 < found.epochs_per_trial < 4
        assert found.rungs == [[2]]
        assert expected(log, space, n_trials=1, pruner="successive-halving").epochs_per_trial == 4

    def test_the_confirmation_comes_on_top(self, log: Dataset, space: SearchSpace) -> None:
        found = expected(
            log, space, n_trials=20, screen=0
        )  # one of twenty is confirmed, and the defaults, five times each
        assert (found.seconds, found.confirm_runs, found.confirm_seconds) == (180.0, 10, 90.0)
        assert (
            expected(log, space, n_trials=20, screen=0, pruner="median").confirm_seconds == 90.0
        )  # nothing prunes its runs
        assert expected(log, space, n_trials=20, screen=0, n_workers=4).confirm_seconds == 27.0  # three rounds
        assert expected(log, space, n_trials=20, screen=0, confirm=0).confirm_runs == 0
        assert expected(log, space, n_trials=2, confirm=3, confirm_seeds=2).confirm_runs == 4  # there is one challenger
        part = expected(log, space, n_trials=3, user_fraction=0.5)
        assert (part.confirm_runs, part.confirm_seconds) == (10, 10 * 17.0)  # epochs of all users: 4 s each
        with pytest.raises(ConfigError, match="confirm-seeds"):
            expected(log, space, n_trials=20, confirm_seeds=1)

    def test_refits_come_at_the_end(self, log: Dataset, space: SearchSpace) -> None:
        found = expected(log, space, n_trials=20)  # of the winner and of the defaults
        assert found.refits == 2
        assert found.seconds_per_trial / 2 < found.refit_seconds / 2 <= found.seconds_per_trial
        several = expected(log, space, n_trials=20, ensemble=True)
        assert (several.refits, several.refit_seconds) == (6, pytest.approx(3 * found.refit_seconds))
        assert expected(log, space, n_trials=20, ensemble=True, confirm_seeds=3, n_workers=4).refits == 4
        part = expected(log, space, n_trials=20, user_fraction=0.5)
        assert part.refit_seconds > found.refit_seconds  # on all users again
        assert expected(log, space, n_trials=20, confirm=0).refits == 0
        assert "  At the end 6 refits: about " in "\n".join(plan_lines(several))

    def test_pairs_of_users_end_the_more_the_more_users_there_are(self, space_file: Path) -> None:
        text = (
            space_file.read_text(encoding="utf-8")
            .replace("epochs: 4", "epochs: 20")
            .replace("default: 4", "default: 20")
        )
        space_file.write_text(text, encoding="utf-8")
        space = load_space(space_file)
        epochs = [
            expected(
                markov(n_users=n_users, n_items=20, n_events=20), space, n_trials=40, pruner=pruner
            ).epochs_per_trial
            for n_users, pruner in [(60, "paired"), (3000, "paired"), (60, "none"), (3000, "none")]
        ]
        few, many, unpruned, _ = epochs
        assert unpruned == epochs[3]  # users count for pairs alone
        assert many < 0.9 * few
        assert few > 0.9 * unpruned  # six users make no test

    def test_trials_of_a_few_epochs_end_and_the_best_go_on(self, log: Dataset, space: SearchSpace) -> None:
        found = expected(log, space, n_trials=10, pruner="epochs:2", keep=2)
        assert found.epochs_per_trial == (4 + 7 * 2 + 2 * 4) / 10  # the defaults, seven that end, two that go on
        assert (found.rungs, found.keep) == ([[2]], 2)

    def test_without_an_end_in_sight_only_the_speed_is_told(self, log: Dataset, space: SearchSpace) -> None:
        found = expected(log, space, patience_trials=5)
        assert (found.n_trials, found.seconds, found.seconds_per_trial) == (None, None, 9.0)

    def test_a_plan_writes_nothing_and_refuses_what_tune_refuses(
        self, log: Dataset, space: SearchSpace, home: Path
    ) -> None:
        expected(log, space, n_trials=3)
        with pytest.raises(SpaceError):
            plan(log, study="planned", space="hrn")
        with pytest.raises(ConfigError):
            plan(log, study="planned", space=space, objective="ndgc_at_10")
        assert not home.exists()


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_a_study_keeps_its_forecast_and_plans_what_is_left(log: Dataset, space: SearchSpace) -> None:
    tune(log, study="s", space=space, n_trials=3, pruner="none")
    study = load_study("s", open_storage())
    assert study.user_attrs[FORECAST_KEY]["seconds"] == 27.0
    left = plan(log, study="s", n_trials=5)
    assert (left.n_trials, left.seconds) == (2, 18.0)


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_nothing_is_measured_for_a_handful_of_trials(
    log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrnn_hpo.study.plan.measure", lambda *args, **options: 1 / 0)
    tune(log, study="s", space=space, n_trials=1)
    tune(log, study="s", space=space, n_trials=3)
    assert FORECAST_KEY not in load_study("s", open_storage()).user_attrs


def test_own_durations_take_over_from_the_forecast() -> None:
    study = optuna.create_study()
    assert seconds_per_trial(study, []) is None
    assert seconds_per_trial(study, [4.0, 6.0]) == 5.0
    study.set_user_attr(FORECAST_KEY, {"seconds_per_trial": 10.0})
    assert seconds_per_trial(study, []) == 10.0
    assert seconds_per_trial(study, [2.0] * 3) == (3 * 10.0 + 3 * 2.0) / 6


def test_rungs_follow_the_pruner() -> None:
    assert rungs("hyperband", 27) == [[1, 3, 9], [3, 9], [9], []]
    assert rungs("successive-halving", 18) == [[2, 6]]
    assert rungs("median", 18) == []


def record_for(log: Dataset, space: SearchSpace) -> StudyRecord:
    return new_record(
        space,
        data="log",
        data_hash=log.content_hash,
        protocol="personalize",
        split_seed=0,
        seen="keep",
        objective="ndcg_at_10",
        seed=0,
        sampler="tpe",
        pruner="none",
    )


def test_a_measured_epoch_is_positive_and_larger_models_take_longer(log: Dataset, space_file: Path) -> None:
    space_file.write_text(space_file.read_text(encoding="utf-8").replace("range: [8, 64]", "range: [8, 256]"))
    space = load_space(space_file)

    def seconds(**fix: Any) -> Measure:
        narrowed = space.narrow({}, {"hidden_dimension": 8, **fix}, "test")
        record = record_for(log, narrowed)
        # The fastest of three: an epoch of milliseconds is easily held up by another process.
        measures = [measure(log, narrowed, record, device="cpu", n_threads=1) for _ in range(3)]
        assert {one.measured_share for one in measures} == {1.0}
        return min(measures, key=lambda one: one.defaults_epoch_seconds)

    small, large = seconds(), seconds(hidden_dimension=256)
    assert 0 < small.defaults_epoch_seconds < large.defaults_epoch_seconds < 60
    assert 0 < small.setup_seconds < 60


@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_nothing_is_assumed_of_the_deviations_of_a_metric_of_ones_own(log: Dataset, space: SearchSpace) -> None:
    plans: list[Forecast] = []

    class Keeps(Silent):
        def planned(self, forecast: Forecast) -> None:
            plans.append(forecast)

    mine = {"mine": lambda top_items, truth: np.zeros(len(top_items))}
    for name, metrics in (("mine", mine), ("ndcg_at_10", None)):
        asked = {"space": space, "objective": name, "extra_metrics": metrics}
        tune(log, study=name, n_trials=4, confirm=0, observer=Keeps(), **asked)
    assert [one.resolution is None for one in plans] == [True, False]


def test_draws_that_break_a_rule_between_hyperparameters_are_not_measured(log: Dataset, space: SearchSpace) -> None:
    found = measure(log, clashing(space), record_for(log, clashing(space)), device="cpu", n_threads=1)
    assert found.epoch_seconds > 0


def test_a_short_first_epoch_only_warms_up(log: Dataset, space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyTorch does once per process must not count for every epoch to come."""
    updates = trainer.Optimizer.step
    slow = [0.5]  # seconds of the first update

    def step(self: Any, warmup: float) -> None:
        if slow:
            time.sleep(slow.pop())
        updates(self, warmup)

    monkeypatch.setattr(trainer.Optimizer, "step", step)
    found = measure(log, space, record_for(log, space), device="cpu", n_threads=1)
    assert not slow
    assert found.epoch_seconds < 0.5


def test_a_simulated_trial_stops_with_its_patience_and_the_pruner_spares_trial_0() -> None:
    class PruneAll(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    sampler = optuna.samplers.RandomSampler(seed=0)
    trials = simulate(lambda trial: [1.0, 3.0, 2.0, 2.0, 9.0], sampler=sampler, pruner=PruneAll(), patience=2)
    first, second = next(trials), next(trials)
    assert (first.n_epochs, first.value, first.pruned) == (4, 3.0, False)
    assert (second.n_epochs, second.pruned) == (1, True)


def test_a_simulated_trial_that_is_taken_up_goes_on_from_its_epochs_and_keeps_its_place() -> None:
    class PruneAll(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    def take_up_the_pruned(study: optuna.Study) -> None:
        if len(study.trials) == 3:  # two of them pruned
            take_up(study, [study.trials[1]])

    asked = []

    def curve(trial: optuna.Trial) -> list[float]:
        asked.append(trial.suggest_float("x", 0.0, 1.0))
        return [1.0, 3.0, 2.0, 4.0]

    sampler = optuna.samplers.RandomSampler(seed=0)
    trials = simulate(curve, sampler=sampler, pruner=PruneAll(), patience=9, before_trial=take_up_the_pruned)
    whole, cut, other, again, new = (next(trials) for _ in range(5))
    assert [(one.place, one.went_on, one.pruned, one.n_epochs) for one in (whole, cut, other, again, new)] == [
        (0, False, False, 4),
        (1, False, True, 1),
        (2, False, True, 1),
        (1, True, False, 3),  # the epochs that were missing
        (3, False, True, 1),
    ]
    assert again.params == cut.params
    assert (again.value, again.best_epoch) == (4.0, 4)


# ---- what the confirmation will be able to tell


@pytest.mark.usefixtures("fake_experiment")
class TestWhatCanBeTold:
    def test_a_plan_says_which_gain_stays_undecided_before_anything_ran(self, log: Dataset, space: SearchSpace) -> None:
        found = expected(log, space, n_trials=20).resolution
        assert found is not None
        assert (found.design.n_users, found.design.n_challengers, found.n_seeds) == (6, 2, 5)  # a tenth of 60 users
        assert found.spread == PRIOR
        assert not found.measured
        assert "0.005" in found.seeds_for  # a gain worth having
        assert found.detectable == pytest.approx(detectable_gain(found.design, PRIOR, 5))
        more = expected(log, space, n_trials=20, confirm_seeds=20, confirm=3).resolution
        assert more is not None
        assert (more.n_seeds, more.design.n_challengers) == (20, 3)
        assert more.detectable < found.detectable

    def test_it_is_told_on_the_screen(self, log: Dataset, space: SearchSpace) -> None:
        lines = plan_lines(expected(log, space, n_trials=20))
        told = next(line for line in lines if "stays undecided" in line)
        assert told.startswith("  With 6 users a run, 5 seeds and 2 challengers a gain below 0.")
        over = plan_lines(replace(expected(log, space, n_trials=20), confirm_runs=0))  # all of them are done already
        assert not any("If one challenger were confirmed" in line for line in over)
        unconfirmed = plan_lines(expected(log, space, n_trials=3, confirm=0))
        assert any(line.startswith("  If one challenger were confirmed: With 6 users") for line in unconfirmed)

    def test_an_end_has_its_date_beyond_a_week_and_none_beyond_ten_years(
        self, log: Dataset, space: SearchSpace
    ) -> None:
        found = expected(log, space, n_trials=3, confirm=0)

        def end(days: float) -> str:
            [line] = [one for one in plan_lines(replace(found, seconds=days * 86_400)) if "to come" in one]
            return line.partition("about ")[2]

        assert re.fullmatch(r"24 h 0 min, until [A-Z][a-z]{2} \d\d:\d\d\.", end(1))
        assert re.fullmatch(r"720 h 0 min, until \d{4}-\d\d-\d\d \d\d:\d\d\.", end(30))
        assert "until" not in end(1e12)

    def test_users_that_are_too_few_to_hold_back_tell_nothing(self, log: Dataset, space: SearchSpace) -> None:
        assert expected(log, space, n_trials=20, protocol="leave-one-out").resolution is None
        assert expected(log, space, n_trials=20, objective="coverage").resolution is None
        many = markov(n_users=250, n_items=20, n_events=20)
        held = expected(many, space, n_trials=20, protocol="leave-one-out").resolution
        assert held is not None
        assert (held.design.n_users, held.design.n_pool) == (100, 100)  # the same ones in every run
        assert held.spread == PRIOR_OF_ONE_EVENT


@pytest.mark.usefixtures("tracker")
def test_deviations_of_an_earlier_confirmation_take_the_place_of_assumed_ones(
    shop: Dataset, shop_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue = [GOOD]
    options = {"device": "cpu", "n_threads": 1}
    result = tune(shop, study="s", space=shop_space, n_trials=2, enqueue=enqueue, confirm=1, confirm_seeds=2, **options)
    assert result.confirmation is not None
    known = result.confirmation.resolution
    assert known is not None
    assert known.measured
    assert known.spread.total > 0
    assert (known.design.n_users, known.design.n_pool, known.design.n_challengers) == (8, 72, 1)
    monkeypatch.setattr("hrnn_hpo.study.plan.measure", lambda *args, **options: Measure(2.0, 2.0, 1.0, 1.0))
    planned = plan(shop, study="s", n_trials=4).resolution
    assert planned is not None
    assert planned.spread == known.spread
    assert f"of {known.spread.n_users} users" in planned.sentence()


@pytest.mark.usefixtures("tracker", "fake_figures")
def test_the_plan_of_a_further_look_has_its_level_and_the_trials_that_stay_in_the_contest(
    log: Dataset, space: SearchSpace
) -> None:
    tune(log, study="s", space=space, n_trials=4, pruner="none", confirm=2, confirm_seeds=2)
    same = plan(log, study="s", n_trials=4)
    assert same.resolution is not None
    assert (same.confirm_runs, same.resolution.design.alpha) == (0, 0.05)  # its runs are there and judged
    further = plan(log, study="s", n_trials=4, confirm=1, confirm_seeds=4)
    assert further.resolution is not None
    assert (further.challengers, further.confirm_runs) == (2, 3 * 4 - 3 * 2)
    assert (further.resolution.design.alpha, further.resolution.design.n_challengers) == (0.025, 2)
    result = tune(log, study="s", n_trials=4, confirm=1, confirm_seeds=4)
    assert result.confirmation is not None
    assert (result.confirmation.alpha, len(result.confirmation.contenders)) == (0.025, 3)
