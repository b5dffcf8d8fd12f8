"""The process that is told its noise: what it is told, what it predicts, what it proposes, and whom it names."""

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from hrnn_hpo.search.prior import draw
from hrnn_hpo.search.space import distributions
from scripts.benchmarks.search import known_noise
from scripts.benchmarks.search.curves import EPOCHS, Curve, benchmark_space
from scripts.benchmarks.search.known_noise import (
    N_STARTUP,
    NoiseToldSampler,
    Process,
    error_variances,
    posterior_means,
    tell,
)
from scripts.benchmarks.search.races import Replay, Step, incumbents, replays, smoothed_incumbents

SPACE = benchmark_space()
VALUES = {"hidden_dimension": 32, "output_dropout": 0.3, "learning_rate": 0.004}


def ended(number: int, state: TrialState, *scores: float) -> FrozenTrial:
    trial = create_trial(
        state=state,
        params=VALUES,
        distributions=distributions(SPACE),
        value=max(scores),
        intermediate_values=dict(enumerate(scores)),
    )
    trial.number = number
    return trial


def test_what_all_trials_have_in_common_is_no_noise() -> None:
    easy_and_hard = np.array([0.0, 0.2, 0.8, 1.0])
    figures = np.stack([easy_and_hard, easy_and_hard + 0.1])  # the second is better for every user alike
    assert error_variances(figures, "paired") == pytest.approx(0.0)
    assert error_variances(figures, "whole") == pytest.approx(np.var(easy_and_hard, ddof=1) / 4)
    assert error_variances(figures, "fitted") == pytest.approx(0.0)


def test_the_noise_that_ranks_trials_is_that_of_independent_errors() -> None:
    rng = np.random.default_rng(0)
    figures = rng.normal(0.0, 5.0, 500) + rng.normal(0.0, 0.3, (40, 500))
    assert error_variances(figures, "paired") == pytest.approx(0.09 / 500, rel=0.03)


def test_a_pruned_trial_gains_what_complete_ones_did() -> None:
    trials = [
        ended(0, TrialState.COMPLETE, 0.1, 0.2, 0.3),  # gains .2 after its first epoch
        ended(1, TrialState.COMPLETE, 0.2, 0.6, 0.5),  # gains .4, and its best is the second epoch
        ended(2, TrialState.PRUNED, 0.1),
    ]
    asked = []

    def figures(place: int, epoch: int) -> np.ndarray:
        asked.append((place, epoch))
        return np.full(5, 0.5)

    told = tell(SPACE, trials, figures, "fitted")
    assert asked == [(0, 3), (1, 2), (2, 1)]
    assert told.scores == pytest.approx([0.3, 0.6, 0.1 + (0.2 + 0.4) / 2])
    assert told.variances == pytest.approx([0.0, 0.0, 0.01])


def test_the_process_predicts_what_scikit_learn_does() -> None:
    rng = np.random.default_rng(1)
    rows, variances = rng.random((25, 3)), rng.uniform(0.001, 0.1, 25)
    scores = 3.0 + np.sin(4 * rows[:, 0]) + rng.normal(0.0, np.sqrt(variances))
    process = Process(rows, scores, variances)
    kernel = ConstantKernel(process.surface) * Matern(process.lengths, nu=2.5)
    known = variances / process.scale**2 + process.rest + 1e-8
    theirs = GaussianProcessRegressor(kernel, alpha=known, optimizer=None)
    theirs.fit(rows, (scores - process.mean_score) / process.scale - process.middle)
    asked = rng.random((10, 3))
    means, deviations = theirs.predict(asked, return_std=True)
    found = process.predict(asked)
    np.testing.assert_allclose(found[0], process.mean_score + process.scale * (process.middle + means))
    np.testing.assert_allclose(found[1], process.scale * deviations)
    assert process.lengths[0] < process.lengths[1:].min()  # it has seen which column matters


def test_a_noisy_trial_counts_less_than_a_certain_one() -> None:
    rows, surprising = np.linspace(0.0, 1.0, 12)[:, None], 5
    scores = np.sin(3.0 * rows[:, 0])
    scores[surprising] += 0.5
    sure, unsure = np.full(12, 1e-4), np.full(12, 1e-4)
    unsure[surprising] = 1.0
    lifted, smooth = (
        Process(rows, scores, one).predict(rows)[0][surprising] - np.sin(3.0 * rows[surprising, 0])
        for one in (sure, unsure)
    )
    assert abs(smooth) < lifted / 2


def search(n_trials: int, *parts: int) -> optuna.Study:
    """Return a study on a planted surface whose best place is a high learning rate with little dropout."""
    users = np.random.default_rng(0).normal(0.0, 0.05, (1000, 30))
    scored: dict[int, np.ndarray] = {}
    storage = optuna.storages.InMemoryStorage()
    for part in parts or (n_trials,):
        sampler = NoiseToldSampler(SPACE, 3, lambda place, epoch: scored[place], "paired")
        study = optuna.create_study(
            storage=storage, study_name="s", load_if_exists=True, direction="maximize", sampler=sampler
        )
        for _ in range(part):
            trial = study.ask()
            values = SPACE.suggest(trial)
            away = SPACE.distance(SPACE.varied(values), {**VALUES, "output_dropout": 0.0, "learning_rate": 0.03})
            scored[trial.number] = 1.0 - away + users[trial.number]
            trial.report(float(scored[trial.number].mean()), 0)
            study.tell(trial, float(scored[trial.number].mean()))
    return study


def test_a_search_goes_where_scores_are_good_and_resumes_to_the_same_proposals() -> None:
    whole = search(24)
    late = [
        SPACE.distance(one.params, {**VALUES, "output_dropout": 0.0, "learning_rate": 0.03}) for one in whole.trials
    ]
    assert np.mean(late[-6:]) < np.mean(late[:N_STARTUP]) / 2
    assert [one.params for one in search(24, 5, 12, 7).trials] == [one.params for one in whole.trials]


def test_the_posterior_names_a_good_neighbourhood_and_no_single_lucky_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = [SPACE.draw(lambda one: draw(one, rng)) for _ in range(40)]
    level = np.array([1.0 - SPACE.distance(one, VALUES) for one in values])
    figures = level[:, None] + rng.normal(0.0, 0.4, (40, 60))
    far = int(level.argmin())
    figures[far] += level.max() - level[far] + 0.2 - figures[far].mean() + level[far]  # the best score, far off
    assert figures.mean(axis=1).argmax() == far
    means = posterior_means(SPACE, values, figures)
    assert level[means.argmax()] > np.quantile(level, 0.8)
    few = slice(0, N_STARTUP - 1)
    np.testing.assert_array_equal(posterior_means(SPACE, values[few], figures[few]), figures[few].mean(axis=1))
    monkeypatch.setattr(
        Replay, "trials", lambda *asked, **how: (Step(place, False, EPOCHS, False) for place in range(40))
    )
    [replay] = replays([Curve(one, []) for one in values], [np.repeat(figures[:, None], EPOCHS, axis=1)], None, 1)
    [*_, (by_score, _)] = incumbents(replay, "random", "none")
    [*_, (by_posterior, _)] = smoothed_incumbents(replay, "random", "none")
    assert by_score == far
    assert level[by_posterior] > np.quantile(level, 0.8)


def test_every_sampler_of_the_table_has_its_noise() -> None:
    assert set(known_noise.NOISES.values()) == {"paired", "whole", "fitted"}
