"""`--deterministic`: trials in batches of four, of which samplers and pruners see the earlier batches alone.

So a trial's proposal and its end depend on the study's seed and its place, not on how many workers ran its batch, nor
on how many of them died.
"""

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import TAKEN_UP
from hrnn_hpo.study.propose.views import in_its_place, view_of
from hrnn_hpo.study.propose.wrapping import WrappingSampler
from hrnn_hpo.study.seeds import ordinals

BATCH = 4


class BatchSampler(WrappingSampler):
    """A sampler that draws from the trials of earlier batches."""

    def _seen(self, study: Study, trial: FrozenTrial) -> Study:
        return earlier_batches(study, trial)


class BatchPruner(BasePruner):
    """A pruner that compares a trial with those of earlier batches."""

    def __init__(self, inner: BasePruner) -> None:
        self._inner = inner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return self._inner.prune(earlier_batches(study, trial), trial)


def earlier_batches(study: Study, trial: FrozenTrial) -> Study:
    """Return the study as it looks to a trial: without its own batch and the later ones."""
    place = in_its_place(study, trial).number
    first = place - place % BATCH
    return view_of(study, lambda other: other.number < first)


def batch_to_start(trials: list[FrozenTrial]) -> tuple[bool, bool]:
    """Return whether the next trial may start, its batch's predecessors having ended, and whether it opens a batch.

    A trial that waits behind the next one, because its worker was killed, holds up nobody: Optuna takes them in order.
    """
    places = ordinals(trials)
    waiting = next((trial for trial in trials if trial.state == TrialState.WAITING), None)
    if waiting is not None and TAKEN_UP in waiting.user_attrs:  # its end is no longer a matter of what others did
        return True, False
    following = waiting.number if waiting is not None else len(trials)
    place = places.get(following, len(set(places.values())))
    first = place - place % BATCH
    ahead = (trial for trial in trials if places[trial.number] < first and trial.number < following)
    return all(trial.state.is_finished() for trial in ahead), place == first
