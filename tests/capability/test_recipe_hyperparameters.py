"""The five hyperparameters of aws-hrnn are alive: each does on planted data what the recipe says of it."""

import pytest
from planted import hit_rate, train
from planted_logs import delayed_dependence, humans_and_robots, shifting_popularity, spread_over_days

from hrnn_hpo.data.synthetic import markov


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bptt_reaches_a_cue_that_carried_state_alone_does_not(seed: int) -> None:
    """Only an item 12 steps back tells the answer among 30. Without it ten guesses find a third of them.

    Windows, updates and carried state are the same for both; only the gradient's reach differs.
    """
    log = delayed_dependence(n_users=2000, n_items=80, gap=12, seed=seed, n_cues=30)
    arguments = {"k": 10, "protocol": "personalize-last", "seed": seed, "epochs": 15, "learning_rate": 0.005}
    far = hit_rate(log, bptt=32, **arguments)
    near = hit_rate(log, bptt=2, **arguments)
    assert far >= 0.95
    assert far - near >= 0.2


@pytest.mark.parametrize("seed", [0, 1])
def test_recency_mask_follows_favourites_that_change_late(seed: int) -> None:
    log = shifting_popularity(n_users=800, seed=seed)
    arguments = {"k": 10, "protocol": "personalize-last", "seed": seed, "hidden_dimension": 8, "epochs": 5}
    best = 0.9 + 0.1 * 10 / 100
    follows = hit_rate(log, recency_mask=True, **arguments)
    clings = hit_rate(log, recency_mask=False, **arguments)
    assert follows >= best - 0.15  # 80 test users: two standard errors are .07
    assert follows - clings >= 0.4
    assert clings <= 0.35


def test_recency_mask_costs_little_on_a_stationary_log() -> None:
    log = spread_over_days(markov(n_users=400, n_items=20, n_events=20), n_days=120)
    with_mask = hit_rate(log, recency_mask=True, epochs=8)
    without = hit_rate(log, recency_mask=False, epochs=8)
    assert without >= 0.85  # .9 + .1 / 20 at best
    assert with_mask >= without - 0.03


def test_hidden_dimension_is_capacity() -> None:
    log = markov(n_users=300, n_items=80, n_events=20)
    small = hit_rate(log, hidden_dimension=4, epochs=12)
    large = hit_rate(log, hidden_dimension=32, epochs=12)
    assert large >= 0.8
    assert large - small >= 0.2


@pytest.mark.parametrize(
    ("percentiles", "human_learns", "robot_learns"),
    [((0.0, 1.0), True, True), ((0.0, 0.4), True, False), ((0.6, 1.0), False, True)],
    ids=["everybody trains", "short histories train", "long histories train"],
)
def test_percentiles_of_the_history_length_choose_whose_habits_are_learned(
    percentiles: tuple[float, float], human_learns: bool, robot_learns: bool
) -> None:
    log = humans_and_robots()
    trained = train(
        log,
        protocol="personalize-last",
        epochs=12,
        min_user_history_length_percentile=percentiles[0],
        max_user_history_length_percentile=percentiles[1],
    )
    test = trained.experiment.split.test
    assert test is not None
    human = test.users % 2 == 0
    assert 5 <= human.sum() <= 35  # of 40 test users; filtered kinds are evaluated too
    hits = trained.hits()
    for kind, learns in ((human, human_learns), (~human, robot_learns)):
        assert hits[kind].mean() >= 0.95 if learns else hits[kind].mean() <= 0.3
