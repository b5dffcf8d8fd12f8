"""Searches with priors, replayed: where a prior's center lies, when a search arrives, what the table says of it."""

import math

import numpy as np
import pytest

from hrnn_hpo.search.prior import draw
from hrnn_hpo.study.propose.samplers import make_sampler
from scripts.benchmarks.kit.rows import Row
from scripts.benchmarks.search import priors
from scripts.benchmarks.search.curves import EPOCHS, Curve, Users, benchmark_space
from scripts.benchmarks.search.races import replays


@pytest.fixture(scope="module")
def recorded() -> tuple[list[Curve], Users]:
    """Return forty configurations, of which the one at the upper end of every range is the best."""
    space = benchmark_space()
    rng = np.random.default_rng(0)
    curves = [Curve(space.draw(lambda one: draw(one, rng)), []) for _ in range(40)]
    top = {name: one.high for name, one in space.searched.items()}
    level = np.array([1.0 - space.distance(curve.values, top) for curve in curves])
    return curves, np.repeat(level[:, None, None], EPOCHS, axis=1) + rng.normal(0.0, 0.001, (40, EPOCHS, 60))


def test_a_center_beside_the_best_lies_a_width_off_towards_the_middle(recorded: tuple[list[Curve], Users]) -> None:
    curves, users = recorded
    best, worst = priors.centers(curves, [users])
    levels = users.mean(axis=(1, 2))
    assert best == curves[int(levels.argmax())].values
    assert worst == curves[int(levels.argmin())].values
    made = priors.with_prior({"hidden_dimension": 64, "output_dropout": 0.6, "learning_rate": 0.0005}, apart=0.25)
    told = {name: one.prior.center for name, one in made.searched.items() if one.prior is not None}
    assert told == {
        "hidden_dimension": pytest.approx(16 * 4**0.75),
        "output_dropout": pytest.approx(0.45),
        "learning_rate": pytest.approx(0.0005 * 60**0.25),
    }
    assert priors.with_prior(None).priors() == {}
    assert type(make_sampler("tpe", 0, made)).__name__ == "MixingSampler"


def test_a_search_around_the_best_arrives_sooner_than_one_around_the_worst(recorded: tuple[list[Curve], Users]) -> None:
    curves, users = recorded
    best, worst = priors.centers(curves, [users])
    found = list(replays(curves, [users], 20, 3))
    good = priors.measure(found, priors.with_prior(best))
    bad = priors.measure(found, priors.with_prior(worst))
    assert good["n_arrived"] == 3
    assert good["median_trials"] < (bad["median_trials"] or math.inf)
    assert all(n >= 2 for n in good["trials"])  # the first trial is the defaults', whatever the prior


def test_the_table_tells_what_a_prior_changes_and_whether_the_target_is_met() -> None:
    def row(prior: str, trials: float | None) -> Row:
        settings = {"log": "ml-100k-94", "prior": prior, "seeds": 20, "configurations": 100}
        figures = {"median_trials": trials, "n_arrived": 19, "trials": []}
        return Row(date="", processor="", threads=1, versions={}, command="", settings=settings, figures=figures)

    told = priors.report({name: row(name, n) for name, n in zip(priors.PRIORS, (20.0, 6.0, 11.0, 29.0), strict=True)})
    assert "| ml-100k-94 | 100 | beside | 11 | -9 | 19 of 20 |" in told
    assert "0.30 best, 0.55 beside of the trials without a prior (missed), +9 trials with the worst (met)" in told
    never = priors.report({"a": row("none", 20.0), "b": row("worst", None)})
    assert "| ml-100k-94 | 100 | worst | inf | – | 19 of 20 |" in never
    rarely = priors.report({"a": row("none", None), "b": row("best", 6.0)})
    assert "| ml-100k-94 | 100 | best | 6 | – | 19 of 20 |" in rarely
