"""What a confirmation found, as plain values: the contenders, the verdict, and both in words.

How it is found is confirm/verdict.py's business.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from hrnn_hpo.errors import counted
from hrnn_hpo.study.resolution import Resolution, resolution_from

Verdict = Literal["yes", "no", "undecided"]
EARLIER_VERSION = (
    "the study began under a version that held no validation users back, so its runs were judged on the users that the "
    "search chose by"
)
ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}


@dataclass(frozen=True)
class Contender:
    """A confirmed configuration, named by its trial; the comparison is with the defaults, empty for themselves."""

    trial: int
    search_value: float | None  # None where its trial did not end
    scores: list[float]  # of its runs, in their order
    mean: float
    best_epoch: int  # the median of its runs'
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Screened:
    """A trial that ran again before the confirmation, to choose who is confirmed."""

    trial: int
    search_value: float
    scores: list[float]  # of its runs, a round each
    mean: float | None  # what it was ranked by last: the runs', and the search's where comparable; None: it failed
    failed: bool  # a run of it failed: it did not go on


@dataclass(frozen=True)
class Look:
    """One judging of a confirmation's runs: of how many seeds, of which trials (ascending), how strictly."""

    n_seeds: int
    contenders: list[int]
    alpha: float  # level of its test, two-sided
    verdict: Verdict


@dataclass(frozen=True)
class Confirmation:
    """What a confirmation found. `contenders` come best confirmed mean first."""

    verdict: Verdict
    winner: int  # trial with the best confirmed mean
    defaults: int
    raw_best: int  # trial with the best search score among the contenders
    optimism: float | None  # raw_best's search score minus its confirmed mean
    optimism_of_defaults: float | None
    objective: str
    n_seeds: int
    n_users: int  # different users judged over all runs; 0 where runs are the units
    redrawn: bool  # whether training and validation users differ from run to run
    contenders: list[Contender]
    failed: list[int] = field(default_factory=list)  # trials of which a run failed: out of the contest
    time: float = 0.0  # seconds since 1970 when it was concluded
    doubt: str | None = None  # why the users judged are those that chose: such a verdict is never "yes"
    look: int = 1  # which look at the study's runs it is, from 1: more seeds or challengers make another one
    alpha: float = 0.05  # level of this look's test and intervals
    looks: list[Look] = field(default_factory=list)  # all of them, this one at `look`
    resolution: Resolution | None = None  # what such runs can see; None for a metric without a figure per user
    screened: list[Screened] = field(default_factory=list)  # best of the search first; empty where nobody was

    def contender(self, trial: int) -> Contender:
        """Return the contender of a trial."""
        return next(one for one in self.contenders if one.trial == trial)

    @property
    def out(self) -> list[int]:
        """Trials of which a run failed, of screening or of confirmation."""
        return sorted({*self.failed, *(one.trial for one in self.screened if one.failed)})

    @property
    def search_winner(self) -> int:
        """The trial with the best search score of those that ran again; of equals the earlier one."""
        if not self.screened:
            return self.raw_best
        known = {one.trial: one.search_value for one in self.contenders if one.search_value is not None}
        known |= {one.trial: one.search_value for one in self.screened}
        return max(known, key=lambda trial: (known[trial], -trial))

    @property
    def interval(self) -> str:
        """What the intervals are called: "95 % interval" at the first look."""
        return f"{100 * (1 - self.alpha):.6g} % interval"

    def content(self) -> dict[str, Any]:
        """Return it as plain values, for --json, files and Optuna's storage."""
        return asdict(self)


def confirmation_from(content: Mapping[str, Any]) -> Confirmation:
    """Return the confirmation that `content` describes. One of version 0.1.0 was the only look there was."""
    contenders = [Contender(**entry) for entry in content["contenders"]]
    looks = [Look(**entry) for entry in content.get("looks", [])]
    seen = content.get("resolution")
    resolution = None if seen is None else resolution_from(seen)
    screened = [Screened(**entry) for entry in content.get("screened", [])]
    made = {"contenders": contenders, "looks": looks, "resolution": resolution, "screened": screened}
    found = Confirmation(**{**content, **made})
    if not looks:
        doubt = None if found.redrawn else EARLIER_VERSION
        verdict: Verdict = "undecided" if doubt and found.verdict == "yes" else found.verdict
        only = Look(found.n_seeds, sorted(one.trial for one in contenders), found.alpha, verdict)
        found = replace(found, verdict=verdict, doubt=doubt, looks=[only])
    return found


def _interval_of(contender: Contender, found: Confirmation) -> str:
    if contender.low is None:
        return f"no {found.interval} from a single user or run"
    return f"{found.interval} [{contender.low:+.4f}, {contender.high:+.4f}]"


def _screening(found: Confirmation) -> str:
    """Return a sentence on who was screened, who went on and who failed."""
    went_on = [one.trial for one in found.screened if one.trial in {other.trial for other in found.contenders}]
    n_runs = sum(len(one.scores) for one in found.screened)
    text = f"Screening: the best {len(found.screened)} of the search ran again ({n_runs} trainings on other seeds); "
    text += f"confirmed of them: {_trials(went_on)}."
    if failed := [one.trial for one in found.screened if one.failed]:
        text += f" Dropped, since a run failed: {_trials(failed)}."
    return text


def _trials(numbers: list[int]) -> str:
    return f"trial{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))}" if numbers else "none"


def sentences(found: Confirmation) -> list[str]:
    """Return the verdict and the optimism in words, for the screen and the report."""
    best = found.contenders[0]
    verdict = f"Better than the defaults: {found.verdict}."
    if found.doubt is not None:
        verdict += f" It cannot be yes: {found.doubt}."
    seeds = counted(found.n_seeds, "fresh seed") + (", users redrawn" if found.redrawn else "")
    if not found.redrawn and found.doubt is None:
        seeds += ", users held back from the search"
    challengers = [one for one in found.contenders if one.difference is not None]
    n = len(challengers)
    nearest = challengers[0] if challengers else None
    if nearest is not None:
        who = f"Trial {nearest.trial}" if nearest is best else f"The best challenger, trial {nearest.trial},"
        verdict += (
            f" {who} gains {nearest.difference:+.4f} {found.objective} over them, {_interval_of(nearest, found)}, "
            f"p {nearest.p_holm:.3g} after Holm ({seeds}" + (f", {n} challengers)." if n > 1 else ").")
        )
    if found.look > 1:
        which = ORDINALS.get(found.look, f"{found.look}th")
        verdict += f" It is the {which} look at these runs, judged at level {found.alpha:.4g}."
    told = [verdict]
    if found.verdict == "undecided" and found.doubt is None and found.resolution is not None:
        told.append(found.resolution.sentence())
    if found.screened:
        told.append(_screening(found))
    if best.trial != found.search_winner:
        told.append(f"Trial {found.search_winner} won the search, trial {best.trial} the confirmation.")
    if found.optimism is not None:
        text = f"Optimism of the search: {found.optimism:+.4f} (trial {found.raw_best}, search minus confirmed)"
        if found.optimism_of_defaults is not None and found.raw_best != found.defaults:
            text += f"; the defaults, whom nobody picked, {found.optimism_of_defaults:+.4f}"
        told.append(f"{text}.")
    if found.failed:
        trials = ", ".join(map(str, found.failed))
        told.append(f"Out of the contest, since a run of theirs failed: trials {trials}.")
    return told
