"""What a confirmation can tell apart: the smallest gain that it sees, and how many seeds a smaller one takes.

Numbers in, numbers out, before or after anything is trained. A paired difference of a user in a run is taken as

    gain + what the user likes of the challenger + the luck of the run + the rest,

three independent deviations. Over R runs of U users their sums give the variance of the mean, and what the verdict's
interval (confirm/intervals.py) makes of it: few runs tell their own luck badly, so its width is drawn too. A gain is
detectable where it is seen with POWER over these draws. Measured deviations come from a confirmation's runs; before
there are any, a prior stands in.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, norm, t

from hrnn_hpo.errors import counted
from hrnn_hpo.evaluation.variances import variances_of

POWER = 0.8
REDRAWN_POOL = 9  # users for each one of a run, where a tenth of all validates and the test users' tenth stays closed
MAX_SEEDS = 200
N_POINTS = 101  # of the distribution of what runs show of their luck


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a paired difference, in the objective's unit."""

    user: float  # what a user likes of a challenger: the same in every run
    run: float  # what all users of a run share
    rest: float
    n_users: int = 0  # behind it; 0: not measured

    @property
    def total(self) -> float:
        return math.sqrt(self.user**2 + self.run**2 + self.rest**2)


@dataclass(frozen=True)
class Design:
    """Who judges a confirmation, and how strictly."""

    n_users: int  # of a run
    n_pool: int  # from which a run draws them; as many as n_users where all runs have the same
    n_challengers: int = 1
    alpha: float = 0.05  # two-sided, of the look


@dataclass(frozen=True)
class Resolution:
    """What a confirmation by so many seeds sees with POWER, and which seeds would see smaller gains."""

    objective: str
    design: Design
    spread: Spread
    n_seeds: int
    detectable: float
    seeds_for: dict[str, int | None]  # by gain, written out; None: more than MAX_SEEDS

    @property
    def measured(self) -> bool:
        """Whether the deviations were measured, and not assumed."""
        return self.spread.n_users > 0

    def sentence(self) -> str:
        """Return in words what stays undecided."""
        source = f"of {counted(self.spread.n_users, 'user')}" if self.measured else "assumed before any run"
        rivals = counted(self.design.n_challengers, "challenger")
        told = (
            f"With {counted(self.design.n_users, 'user')} a run, {counted(self.n_seeds, 'seed')} and {rivals} a "
            f"gain below {_short(self.detectable)} {self.objective} most likely stays undecided ({POWER:.0%} power; "
            "paired "
            f"differences deviate by {self.spread.total:.2g}, {source})."
        )
        return told + "".join(f" A gain of {gain} takes {seeds_in_words(n)}." for gain, n in self.seeds_for.items())


# Of ndcg_at_10. Confirmations on record show totals from .03, where configurations are alike, to .2, where they differ
# much (docs/results/confirmed.json has their intervals).
PRIOR = Spread(user=0.06, run=0.003, rest=0.10)
# A truth of one event is hit or missed, and another training seed turns many of these: five runs of two configurations
# on 189 held-back users of ml-100k have .033, 0 and .204 (docs/benchmarks.md).
PRIOR_OF_ONE_EVENT = Spread(user=0.03, run=0.003, rest=0.20)


def resolution_from(content: Mapping[str, Any]) -> Resolution:
    """Return the resolution that plain values describe."""
    nested = {"design": Design(**content["design"]), "spread": Spread(**content["spread"])}
    return Resolution(**{**content, **nested})


def resolution(
    objective: str,
    design: Design,
    spread: Spread,
    n_seeds: int,
    gains: Sequence[float],
    *,
    next_alpha: float | None = None,
) -> Resolution:
    """Return what `n_seeds` see, and which numbers of seeds see some gains.

    These are judged at `next_alpha`, the level of the confirmation's next look, where that is not the design's.
    """
    stricter = replace(design, alpha=next_alpha or design.alpha)
    seeds = {_short(gain): seeds_for(stricter, spread, gain) for gain in gains if gain > 0.0}
    return Resolution(objective, design, spread, n_seeds, detectable_gain(design, spread, n_seeds), seeds)


def detectable_gain(design: Design, spread: Spread, n_seeds: int) -> float:
    """Return the gain that is called better with POWER, the challenger being as good as that and no other one."""
    most = spread.total or 1.0  # a metric of one's own has a unit of its own
    while power(design, spread, n_seeds, most) < POWER:
        most *= 4.0
    return float(brentq(lambda gain: power(design, spread, n_seeds, gain) - POWER, 0.0, most, xtol=1e-7 * most))


def seeds_for(design: Design, spread: Spread, gain: float) -> int | None:
    """Return the fewest seeds, 2 at least, that see a gain with POWER; None for more than MAX_SEEDS."""
    return next((n for n in range(2, MAX_SEEDS + 1) if power(design, spread, n, gain) >= POWER), None)


def power(design: Design, spread: Spread, n_seeds: int, gain: float) -> float:
    """Return the chance that the interval of a challenger with this gain lies above zero."""
    n, again = n_seeds * design.n_users, design.n_users / design.n_pool  # chance that a user is drawn in another run
    same_user = n * (n_seeds - 1) * again  # ordered pairs of one user's figures
    of_users = ((spread.user**2 + spread.rest**2) * n + spread.user**2 * same_user) / n**2
    of_runs = spread.run**2 / n_seeds
    # The runs' share is estimated from the variance of their means, in which users and rest have a part.
    part = (spread.rest**2 + (1.0 - again) * spread.user**2) / n
    drawn = chi2.ppf((np.arange(N_POINTS) + 0.5) / N_POINTS, n_seeds - 1) / (n_seeds - 1)
    estimated = np.maximum((of_runs + part) * drawn - part, 0.0)  # (N_POINTS,)
    variance = of_users + estimated
    n_different = max(design.n_pool * (1.0 - (1.0 - again) ** n_seeds), 2.0)
    lost = of_users**2 / (n_different - 1.0) + estimated * variance / (n_seeds - 1)
    freedom = np.divide(variance**2, lost, out=np.full(N_POINTS, 1e6), where=lost > 0.0)
    width = t.isf(design.alpha / design.n_challengers / 2.0, freedom) * np.sqrt(variance)
    deviation = max(math.sqrt(of_users + of_runs), 1e-12)
    return float(norm.cdf((gain - width) / deviation).mean())


def spread_of(differences: NDArray[np.float64], users: NDArray[np.integer], runs: NDArray[np.integer]) -> Spread | None:
    """Return the deviations that some differences show; None for fewer than two runs, or runs of a single user.

    `differences` is (m, N): those of m challengers, whose variances are averaged; `users` and `runs` (N,) name them.
    """
    _, sizes = np.unique(runs, return_counts=True)
    if len(sizes) < 2 or sizes.min() < 2:
        return None
    user, run, rest = np.sqrt(np.mean([variances_of(one, users, runs) for one in differences], axis=0)).tolist()
    return Spread(user, run, rest, len(np.unique(users)))


def seeds_in_words(n: int | None) -> str:
    """Return a number of seeds, or that it is too large."""
    return f"more than {MAX_SEEDS} seeds" if n is None else counted(n, "seed")


def _short(gain: float) -> str:
    return f"{gain:.2g}" if gain < 0.1 else f"{gain:.2f}"
