"""No configuration twice: in a finite space a sampler's repeat gives way to the closest configuration still untried."""

import itertools
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hrnn_hpo.search.space import SearchSpace, Value, distributions
from hrnn_hpo.study.propose.wrapping import WrappingSampler
from hrnn_hpo.study.seeds import original_number

MAX_ENUMERATED = 20_000  # in larger spaces the closest of so many random ones is taken, where repeats are rare anyway


class DistinctSampler(WrappingSampler):
    """Propose what another sampler does, unless a trial of the study has it already.

    What stands in for a repeat depends on it and on the earlier trials alone, so a resumed study proposes the same.
    Where nothing is untried, the repeat is proposed: `is_exhausted` says beforehand that a study is at its end.
    """

    def __init__(self, inner: BaseSampler, space: SearchSpace) -> None:
        super().__init__(inner)
        self._space = space
        self._distributions = distributions(space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        proposal = self._propose(study, trial)
        taken = tried(study, self._space, but=trial.number)
        return proposal if _key(proposal) not in taken else self._closest(proposal, taken)

    def _propose(self, study: Study, trial: FrozenTrial) -> dict[str, Value]:
        """Return the inner sampler's whole proposal, drawn as Optuna would draw it name by name."""
        together = self._inner.infer_relative_search_space(study, trial)
        related = self._inner.sample_relative(study, trial, together)
        values = self._space.defaults()
        for name, parameter in self._space.searched.items():
            if not self._space.is_active(name, values):
                continue
            value = related.get(name)
            if parameter.n_values() == 1:
                value = parameter.nth(0)
            elif value is None or parameter.problem(value) is not None:
                value = self._inner.sample_independent(study, trial, name, self._distributions[name])
            values[name] = parameter.normalise(value)
        return self._space.varied(values)

    def _closest(self, proposal: dict[str, Value], taken: set[str]) -> dict[str, Value]:
        generator = np.random.default_rng(zlib.crc32(_key(proposal).encode()))
        if (self._space.cardinality() or 0) <= MAX_ENUMERATED:
            candidates = list(self._space.configurations())
            generator.shuffle(candidates)  # equally close ones must not come in order
        else:
            candidates = [self._draw(generator) for _ in range(MAX_ENUMERATED // 100)]
        free = [candidate for candidate in candidates if _key(candidate) not in taken]
        if not free:  # of a large space nearly all have been tried, or of any space all
            free = list(itertools.islice((one for one in self._space.configurations() if _key(one) not in taken), 1))
        return min(free, key=lambda candidate: self._space.distance(proposal, candidate), default=proposal)

    def _draw(self, generator: np.random.Generator) -> dict[str, Value]:
        return self._space.draw(lambda parameter: parameter.nth(int(generator.integers(parameter.n_values() or 1))))


def tried(study: Study, space: SearchSpace, *, but: int | None = None) -> set[str]:
    """Return the configurations that the trials of a study have or will have, `but` aside, failed ones included.

    An attempt that was retried has none: its retry has it, or draws it anew. Neither has what died while it drew.
    """
    found = set()
    last = {original_number(trial): trial for trial in study.get_trials(deepcopy=False)}
    for trial in last.values():
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        values = space.varied(params)
        if params and values.keys() <= params.keys() and trial.number != but:
            found.add(_key(values))
    return found


def is_exhausted(study: Study, space: SearchSpace) -> bool:
    """Return whether every configuration of a finite space has its trial."""
    n_configurations = space.cardinality()
    if n_configurations is None or len(study.get_trials(deepcopy=False)) < n_configurations:
        return False
    return len(tried(study, space)) >= n_configurations


def untried(study: Study, space: SearchSpace, most: int) -> list[dict[str, Value]] | None:
    """Return the configurations of a finite space that have no trial; None for more than `most`, or an endless one."""
    n_configurations = space.cardinality()
    if n_configurations is None:
        return None
    taken = tried(study, space)
    if n_configurations - len(taken) > most:
        return None
    return [values for values in space.configurations() if _key(values) not in taken]


def _key(values: Mapping[str, Value]) -> str:
    return json.dumps(values, sort_keys=True)
