"""`--pruner paired` and `wilcoxon`: users side by side, and how often a trial ends that is as good as the incumbent."""

from itertools import islice

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from study_fakes import FakeTracker

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.search.space import SearchSpace
from hrnn_hpo.study.forecast.simulation import simulate
from hrnn_hpo.study.propose.paired import BUDGET, chance_of_a_lead
from hrnn_hpo.study.propose.pruners import BY_USER, WARMUP_EPOCHS, make_pruner
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.tune import tune

EPOCHS = 12


def test_the_chance_is_students() -> None:
    leads = np.array([0.3, 0.1, 0.2, 0.0, 0.2, 0.1, 0.3, 0.2, 0.1])
    from scipy.stats import ttest_1samp

    assert chance_of_a_lead(leads) == pytest.approx(ttest_1samp(leads, 0.0, alternative="greater").pvalue)
    assert chance_of_a_lead(-leads) == pytest.approx(1 - chance_of_a_lead(leads))
    assert chance_of_a_lead(np.append(leads, np.nan)) == chance_of_a_lead(leads)
    assert chance_of_a_lead(leads[:7]) == 1.0  # few users make no test
    assert chance_of_a_lead(np.full(20, 0.125)) == 0.0
    assert chance_of_a_lead(np.zeros(20)) == 1.0


def pruned_after(leads: list[NDArray[np.float64]], complete: int = 1, pruner: str = "paired") -> int | None:
    """Return the epoch after which a trial ends that is behind the incumbent by `leads`, an array by epoch."""
    figures = {0: [np.full(50, 0.5)] * len(leads), complete: [0.5 - lead for lead in leads]}
    made = make_pruner(pruner, len(leads) + 1, figures=lambda place, epoch: figures[place][epoch - 1])
    study = optuna.create_study(direction="maximize", pruner=made)
    for _ in range(complete):
        study.add_trial(optuna.trial.create_trial(value=0.5))
    trial = study.ask()
    for epoch, lead in enumerate(leads, start=1):
        trial.report(0.5 - float(lead.mean()), epoch - 1)
        if trial.should_prune():
            return epoch
    return None


def test_a_trial_ends_where_its_users_are_surely_worse() -> None:
    noise = np.resize([0.1, -0.1], 50)
    assert pruned_after([noise + 0.1] * 8) == WARMUP_EPOCHS + 1
    assert pruned_after([noise + 0.01] * 8) is None  # .01 is less than one standard error, .014
    assert pruned_after([noise - 0.1] * 8) is None  # better
    assert pruned_after([noise + 0.01] * 5 + [noise + 0.1] * 3) == 6


def test_more_complete_trials_ask_for_a_clearer_lead() -> None:
    noise = np.resize([0.1, -0.1], 50)
    assert pruned_after([noise + 0.038] * 8) is not None
    assert pruned_after([noise + 0.038] * 8, complete=30) is None


def test_wilcoxon_ends_a_trial_where_one_look_says_so_at_its_own_level() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.1, 50)
    noise -= noise.mean()
    assert pruned_after([noise + 0.1] * 8, pruner="wilcoxon") == WARMUP_EPOCHS + 1
    assert pruned_after([noise - 0.01] * 8, pruner="wilcoxon") is None  # better in the mean
    nearly = [
        noise + 1.8 * noise.std() / 50**0.5
    ] * 8  # 1.8 standard errors: enough for one look at 10 %, not for all looks at theirs
    assert pruned_after(nearly, pruner="wilcoxon") == WARMUP_EPOCHS + 1
    assert pruned_after(nearly, pruner="paired") is None
    with_gaps = [np.where(np.arange(50) < 44, np.nan, noise + 0.1)] * 8
    assert pruned_after(with_gaps, pruner="wilcoxon") is None  # six users make no test


@pytest.mark.parametrize("pruner", BY_USER)
def test_nothing_is_compared_that_is_not_there(pruner: str) -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner(pruner, 9, figures=lambda *_: None))
    study.add_trial(optuna.trial.create_trial(value=0.5))
    trial = study.ask()
    trial.report(0.0, 5)
    assert not trial.should_prune()
    lengths = {0: np.ones(20), 1: np.zeros(30)}  # of another validation part
    other = optuna.create_study(
        direction="maximize", pruner=make_pruner(pruner, 9, figures=lambda place, _: lengths[place])
    )
    other.add_trial(optuna.trial.create_trial(value=0.5))
    trial = other.ask()
    trial.report(0.0, 5)
    assert not trial.should_prune()


def wrongly_ended(seed: int, n_trials: int = 12, n_users: int = 60, shared: float = 0.5) -> list[bool]:
    """Return which trials the pruner ends in a study where all are equally good, but for the draw of users."""
    rng = np.random.default_rng(seed)
    skill = rng.normal(0.3, 0.2, n_users)  # what all trials share
    figures: list[NDArray[np.float64]] = []

    def curve(trial: optuna.Trial) -> list[float]:
        own = rng.normal(0.0, 0.2, n_users)  # of this trial, in all epochs
        figures.append(skill + shared * own + rng.normal(0.0, 0.1, (EPOCHS, n_users)))
        return [float(score) for score in figures[-1].mean(axis=1)]

    trials = simulate(
        curve,
        sampler=RandomSampler(seed=seed),
        pruner=make_pruner("paired", EPOCHS, figures=lambda place, epoch: figures[place][epoch - 1]),
        patience=EPOCHS,
    )
    return [trial.pruned for trial in islice(trials, n_trials)][1:]


def test_equally_good_trials_are_rarely_ended() -> None:
    ended = [one for seed in range(40) for one in wrongly_ended(seed)]
    assert np.mean(ended) <= BUDGET


@pytest.mark.parametrize("pruner", BY_USER)
def test_a_study_with_pairs_of_users_ends_the_worse_ones(
    log: Dataset, space: SearchSpace, fake_experiment: object, tracker: FakeTracker, pruner: str
) -> None:
    for deterministic in (False, True):
        name = f"s{deterministic}"
        tune(log, study=name, space=space, n_trials=12, pruner=pruner, confirm=0, deterministic=deterministic)
        trials = load_study(name, open_storage()).trials
        pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
        best = max(trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None)
        assert pruned
        assert all(max(trial.intermediate_values.values()) < best for trial in pruned)


@pytest.mark.parametrize("pruner", BY_USER)
@pytest.mark.usefixtures("tracker", "fake_experiment")
def test_an_objective_without_users_is_refused(log: Dataset, space: SearchSpace, pruner: str) -> None:
    with pytest.raises(ConfigError, match="coverage is no mean over users"):
        tune(log, study="s", space=space, n_trials=2, pruner=pruner, objective="coverage")
