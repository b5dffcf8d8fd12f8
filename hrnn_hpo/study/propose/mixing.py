"""Priors in a search: some trials come from the space's priors or from near the incumbent, the others from the sampler.

It is the mixture of PriorBand (Mallik et al. 2023) with shares of another making: a source whose trials disappoint
loses its share by halves, so a prior that is wrong costs a few trials and one that is right keeps proposing.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Literal

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.search.prior import draw, draw_near
from hrnn_hpo.search.space import SearchSpace, distributions
from hrnn_hpo.study.attributes import PROPOSED_BY
from hrnn_hpo.study.objectives import leading
from hrnn_hpo.study.propose.views import in_its_place, view_of
from hrnn_hpo.study.propose.wrapping import WrappingSampler
from hrnn_hpo.study.seeds import MIXING_STREAM, trial_seed
from hrnn_hpo.study.trials import DONE, best_trial

Source = Literal["prior", "incumbent", "sampler"]
FIRST_SHARES: dict[Source, float] = {"prior": 0.5, "incumbent": 0.25}  # the sampler has the rest
LOSS, GAIN = 0.5, math.sqrt(2.0)  # of a share, by a trial below the median of those before it, or one that is not
LEAST_TRIALS = 4  # that have ended, before there is an incumbent to search around


class MixingSampler(WrappingSampler):
    """Propose from the prior, from near the incumbent, or what another sampler does; the trial remembers which.

    The source and its draws depend on the study's seed, the trial's place and the trials that it sees, so a stopped and
    resumed study proposes the same.
    """

    def __init__(self, inner: BaseSampler, space: SearchSpace, seed: int) -> None:
        super().__init__(inner)
        self._space = space
        self._seed = seed
        self._distributions = distributions(space)
        self._chosen: tuple[int, Source] | None = None  # the newest trial (its id) and who proposes it

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._source(study, trial)[0] != "sampler":
            return self._distributions
        return super().infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        source, rng = self._source(study, trial)
        if not is_given(trial):
            study._storage.set_trial_user_attr(trial._trial_id, PROPOSED_BY, source)
        if source == "prior":
            return self._space.draw(lambda parameter: draw(parameter, rng))
        if source == "incumbent":
            best = best_trial(_seen(study))
            assert best is not None
            values = self._space.complete(best.params)
            return self._space.draw(lambda parameter: draw_near(parameter, values[parameter.name], rng))
        return super().sample_relative(study, trial, search_space)

    def _source(self, study: Study, trial: FrozenTrial) -> tuple[Source, np.random.Generator]:
        """Return who proposes a trial, and the generator that draws from there.

        Optuna asks twice, and a trial that ends in between in another worker moves the shares: the first answer holds.
        """
        rng = np.random.default_rng(trial_seed(self._seed, in_its_place(study, trial).number, MIXING_STREAM))
        drawn = float(rng.uniform())
        if self._chosen is None or self._chosen[0] != trial._trial_id:
            self._chosen = (trial._trial_id, _pick(shares(_seen(study)), drawn))
        return self._chosen[1], rng


def _seen(study: Study) -> list[FrozenTrial]:
    """Return the trials that a proposal may see; of several objectives the first leads here, too."""
    return [leading(trial) for trial in view_of(study).get_trials(deepcopy=False)]


def shares(trials: Sequence[FrozenTrial]) -> dict[Source, float]:
    """Return the shares of the prior and of the incumbent's neighbourhood in what is proposed next.

    Each starts with its first share. A trial below the median of those that ended before it, in the study's order,
    halves the share of its source; another one gives it back by a factor of 1.4, up to the first.
    """
    found = dict(FIRST_SHARES)
    before: list[float] = []
    for trial in trials:
        if trial.state not in DONE or trial.value is None:
            continue
        source = trial.user_attrs.get(PROPOSED_BY)
        if source in found and before:
            factor = LOSS if trial.value < median(before) else GAIN
            found[source] = min(found[source] * factor, FIRST_SHARES[source])
        before.append(trial.value)
    if len(before) < LEAST_TRIALS or best_trial(list(trials)) is None:
        found["incumbent"] = 0.0
    return found


def _pick(found: dict[Source, float], drawn: float) -> Source:
    """Return the source on which a number from [0, 1) falls."""
    for source, share in found.items():
        if drawn < share:
            return source
        drawn -= share
    return "sampler"


def is_given(trial: FrozenTrial) -> bool:
    """Return whether a trial's values were given to it: enqueued, or those of the trial that it retries."""
    return bool(trial.params or trial.system_attrs.get("fixed_params"))
