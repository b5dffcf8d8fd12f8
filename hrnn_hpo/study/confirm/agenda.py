"""A confirmation's agenda: which trials it screens, how many it confirms, and which runs that asks for by now.

It stands in the companion study, beside the runs. What is due follows from the two alone, so any process can tell, and
one that was killed between two rounds leaves nothing behind that another one would need.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Literal

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hrnn_hpo.study.attributes import CANDIDATE, ROLE, RUN_INDEX, WITHDRAWN
from hrnn_hpo.study.confirm.screening import RunKey, Screening, screen
from hrnn_hpo.study.storage.stale_trials import is_lost
from hrnn_hpo.study.trials import last_attempts

AGENDA = "agenda"
SCREENING, CONFIRMING = "screening", "confirmation"  # a run's role
Role = Literal["screening", "confirmation"]


@dataclass(frozen=True)
class Agenda:
    """What a confirmation does, by trials of its study."""

    defaults: int
    candidates: list[int]  # best search score first; more than `k` are screened
    scores: list[float] | None  # of the candidates in the search; None where they are of less data than a run
    k: int  # how many of the candidates are confirmed
    n_seeds: int
    stay: list[int]  # confirmed by an earlier command: they stay in the contest
    out: list[int]  # a run of theirs had failed by the last verdict: it is not tried for ever

    @property
    def search_scores(self) -> dict[int, float] | None:
        """The candidates' scores in the search."""
        return None if self.scores is None else dict(zip(self.candidates, self.scores, strict=True))

    def standing(self, companion: Study, *, again: bool = False) -> Screening:
        """Return how far screening is; with `again`, a run that failed is still to be done."""
        results = results_of(screening_runs(companion))
        known = {key: score for key, score in results.items() if score is not None or not again or key[0] in self.out}
        return screen(self.candidates, self.k, known, self.search_scores)


@dataclass(frozen=True)
class Due:
    """A run to be queued: of which trial, which of its runs, for what."""

    role: Role
    trial: int
    repeat: int


def write_agenda(companion: Study, agenda: Agenda) -> None:
    """Write down what a confirmation does."""
    companion.set_user_attr(AGENDA, asdict(agenda))


def read_agenda(companion: Study) -> Agenda | None:
    """Return what a confirmation does; None where it was begun by a version that queued all of it at once."""
    content = companion.user_attrs.get(AGENDA)
    return Agenda(**content) if content else None


def confirmation_runs(companion: Study) -> list[FrozenTrial]:
    """Return the runs that a verdict reads, without those that were retried, or queued again after a failure."""
    return _runs(companion, screening=False)


def screening_runs(companion: Study) -> list[FrozenTrial]:
    """Return the runs that choose who is confirmed, without those that were retried or queued again."""
    return _runs(companion, screening=True)


def run_key(run: FrozenTrial) -> RunKey:
    """Return which run of which configuration it is: (trial that is confirmed, run from 0)."""
    return run.user_attrs[CANDIDATE], run.user_attrs[RUN_INDEX]


def results_of(runs: Collection[FrozenTrial]) -> dict[RunKey, float | None]:
    """Return the scores of the runs that have ended for good; None for those that failed."""
    ended = [run for run in runs if run.state.is_finished() and not is_lost(run)]
    return {run_key(run): run.value if run.state == TrialState.COMPLETE else None for run in ended}


def due(companion: Study, *, again: bool = False) -> list[Due]:
    """Return the runs that the results so far ask for and that nobody has queued, in the order to run them.

    The defaults are confirmed whoever is chosen: their runs come behind a round of screening, for whom it leaves idle.
    With `again`, runs that failed are asked for once more.
    """
    runs = {SCREENING: screening_runs(companion), CONFIRMING: confirmation_runs(companion)}
    there = {(role, *run_key(run)) for role, those in runs.items() for run in those if not again or _is_kept(run)}
    return [one for one in asked_for(companion, again=again) if (one.role, one.trial, one.repeat) not in there]


def asked_for(companion: Study, *, again: bool = False) -> list[Due]:
    """Return the runs that the results so far ask for, those of a confirmation also where they are done."""
    agenda = read_agenda(companion)
    if agenda is None:
        return []
    standing = agenda.standing(companion, again=again)
    wanted = [Due("screening", *key) for key in standing.runs]
    # All configurations of one seed first: a confirmation that is looked at half-way is balanced.
    trials = [trial for trial in dict.fromkeys(contest(agenda, standing)) if trial not in agenda.out]
    return wanted + [Due("confirmation", trial, repeat) for repeat in range(agenda.n_seeds) for trial in trials]


def contest(agenda: Agenda, standing: Screening) -> list[int]:
    """Return the trials that are confirmed, as far as they are known."""
    return [agenda.defaults, *(standing.chosen or []), *agenda.stay]


def n_staying(companion: Study) -> int:
    """Return how many trials beside the defaults have runs that a next confirmation goes on with."""
    trials = {run.user_attrs[CANDIDATE] for run in confirmation_runs(companion)}
    return max(len(trials) - 1, 0)


def n_to_come(companion: Study) -> tuple[int, int]:
    """Return how many runs of screening and of confirmation nobody has queued yet, if none fails."""
    agenda = read_agenda(companion)
    if agenda is None:
        return 0, 0
    standing, now = agenda.standing(companion), due(companion)
    n_screening = sum(one.role == SCREENING for one in now)
    later = agenda.k * agenda.n_seeds if standing.chosen is None else 0
    return n_screening + standing.n_later, len(now) - n_screening + later


def _is_kept(run: FrozenTrial) -> bool:
    """Return whether a run has ended well or goes on."""
    return run.state in (TrialState.COMPLETE, TrialState.WAITING, TrialState.RUNNING) or is_lost(run)


def _runs(companion: Study, *, screening: bool) -> list[FrozenTrial]:
    ours = [run for run in last_attempts(companion) if CANDIDATE in run.user_attrs and WITHDRAWN not in run.user_attrs]
    chosen = [run for run in ours if (run.user_attrs.get(ROLE) == SCREENING) == screening]
    return list({run_key(run): run for run in chosen}.values())
