"""`compare`: of several studies on the same data, which one's winner is better, by how much, and how sure that is.

Confirmations are the evidence: other seeds and other users than those that the search chose by. Where a study has only
searched, its best score stands beside a warning, since the best of many noisy scores flatters, and nothing is decided.
The search's figures of each user tell how much of such a lead the draw of users explains (all studies of one split have
the same validation users, so they are paired), and nothing of what the choice among many trials adds to it.
Test figures choose nothing; where the studies have opened their test users already they are shown.

A study's winner is the best of its contenders by the very runs that are compared here, so chance helps whoever had more
of them. p-values and intervals are corrected for the larger number of contenders of the two (Bonferroni). It suffices:
where the winner of `a` is truly no better than that of `b`, it is far ahead only if some contender of `a` is far ahead,
by chance, of the one that is truly best in `b`; for the winner of `b` has at least that one's mean. Of several pairs
p-values carry Holm's correction too, intervals Bonferroni's. Studies that go on may be compared again, and each look
gives chance another try: nobody counts them here, as a confirmation does.
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from hrnn_hpo.errors import ConfigError, counted
from hrnn_hpo.evaluation.significance import holm, paired_difference
from hrnn_hpo.study.compare.evidence import Entrant, Entry, Evidence, read_entrant, require_same_data
from hrnn_hpo.study.compare.pairs import Difference, compare_runs
from hrnn_hpo.study.confirm.verdict import ALPHA, NEGLIGIBLE
from hrnn_hpo.study.propose.paired import LEAST_USERS
from hrnn_hpo.study.record import StudyRecord
from hrnn_hpo.study.storage.database import load_study, open_storage

ROUNDING = 2**-11  # of the difference of two figures in [0, 1] that were rounded to float16
Finding = Literal["better", "alike", "undecided"]


@dataclass(frozen=True)
class InSearch:
    """The best trials of two searches on the same validation users, by whose very figures both were chosen."""

    ahead: str
    behind: str
    difference: float
    low: float  # 95 %, users drawn by chance; it counts neither the choice among trials nor the luck of a training
    high: float
    p: float  # paired by user, likewise
    n_users: int
    n_trials: tuple[int, int]  # among which either was chosen

    def sentence(self, objective: str) -> str:
        """Return it in words, with what it does not count."""
        first, second = self.n_trials
        if self.difference == 0.0:
            return (
                f"On the {counted(self.n_users, 'user')} of both searches the best trials of {self.ahead} and "
                f"{self.behind} are level in {objective}."
            )
        return (
            f"On the {counted(self.n_users, 'user')} of both searches the best trial of {self.ahead} is ahead by "
            f"{objective} {self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}], p {self.p:.3g} (paired by "
            f"user). But these users chose both trials, the best of {first} and of {second}: that flatters either, the "
            "more the more trials there were, and interval and p do not count it."
        )


@dataclass(frozen=True)
class Pair:
    """Two studies, the one that is ahead first. Without two confirmations only the search's scores differ."""

    ahead: str
    behind: str
    evidence: Evidence
    finding: Finding
    difference: float  # at least 0
    low: float | None = None  # holds for all pairs at once, and for the choice of the winners
    high: float | None = None
    p: float | None = None  # corrected likewise
    how: str = ""  # what was compared: "paired, 283 users, 5 runs"
    doubt: str | None = None  # why neither can be called better
    unconfirmed: tuple[str, ...] = ()  # which of the two have only searched
    in_search: InSearch | None = None  # the searches' best trials, user by user; it decides nothing

    def sentence(self, objective: str) -> str:
        """Return it in words, what the searches' users say where nothing is decided included."""
        told = self._finding(objective)
        if self.in_search is None or self.finding != "undecided":
            return told
        return f"{told.removesuffix('.')}. {self.in_search.sentence(objective)}"

    def _finding(self, objective: str) -> str:
        gain = f"{objective} {self.difference:+.4f}"
        if self.evidence == "search":
            level = f"{self.ahead} and {self.behind} are level in {objective}"
            found = level if self.difference == 0.0 else f"{self.ahead} is ahead of {self.behind} by {gain}"
            whose = "both studies" if len(self.unconfirmed) != 1 else f"study {self.unconfirmed[0]}"
            doubt = "" if self.doubt is None else f", {self.doubt}"
            return (
                f"undecided: {found} in the search{doubt}, and a search flatters its winner; `tune --confirm K` of "
                f"{whose} tells."
            )
        sure = f"{gain} [{self.low:+.4f}, {self.high:+.4f}], p {self.p:.3g} ({self.how})"
        if self.finding == "better":
            return f"{self.ahead} is better than {self.behind}: {sure}"
        if self.finding == "alike":
            return f"{self.ahead} and {self.behind} are alike, less than {NEGLIGIBLE:.0%} apart: {sure}"
        doubt = "" if self.doubt is None else f". Neither can be called better: {self.doubt}"
        return f"undecided: {self.ahead} is ahead of {self.behind} by {sure}{doubt}"


@dataclass(frozen=True)
class OnTestUsers:
    """Two studies' models on the test users, which both had opened. It chooses nothing."""

    ahead: str
    behind: str
    difference: float
    low: float | None = None  # 95 %, users drawn by chance
    high: float | None = None
    p: float | None = None  # paired by user; None for studies of version 0.1.0, which kept no figure per user


@dataclass(frozen=True)
class Comparison:
    """Studies on the same data. `ranking`: the confirmed ones by their mean, then those that only searched."""

    data_hash: str
    protocol: str
    split_seed: int
    seen: str
    objective: str
    ranking: list[Entry]
    pairs: list[Pair]
    test: list[OnTestUsers]  # empty unless every study has opened its test users

    def sentences(self) -> list[str]:
        """Return a sentence for each pair of studies."""
        return [pair.sentence(self.objective) for pair in self.pairs]

    def content(self) -> dict[str, Any]:
        """Return it as plain values, for --json."""
        return {**asdict(self), "sentences": self.sentences()}


def compare(*studies: str, storage: str | None = None) -> Comparison:
    """Return which study's winner is better, by how much, and how sure that is; nothing is trained or written.

    Two studies or more of one storage, on the same data, protocol, split and objective. Raises ConfigError for fewer or
    for one study twice, StudyError for a study that is not there or has no complete trial, and with every difference
    for studies of different data or objectives.
    """
    if len(studies) < 2:
        raise ConfigError(f"Two or more studies must be named, but got {len(studies)}.")
    twice = next((name for name in studies if studies.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"The studies must be different ones, but got {twice!r} more than once.")
    database = open_storage(storage)
    entrants = [read_entrant(load_study(name, database), database) for name in studies]
    require_same_data(entrants)
    record: StudyRecord = entrants[0].record
    ranked = sorted(entrants, key=lambda one: (one.entry.evidence == "search", -one.entry.mean))
    return Comparison(
        data_hash=record.data_hash,
        protocol=record.protocol,
        split_seed=record.split_seed,
        seen=record.seen,
        objective=record.objective,
        ranking=[one.entry for one in ranked],
        pairs=judge_pairs(ranked),
        test=_test_pairs(ranked),
    )


def judge_pairs(entrants: Sequence[Entrant]) -> list[Pair]:
    """Return every pair of studies, in the order of the ranking, corrected for there being several."""
    both = list(itertools.combinations(entrants, 2))
    confirmed = [pair for pair in both if all(one.entry.evidence == "confirmation" for one in pair)]
    found = []
    for first, second in confirmed:
        n_chosen = max(first.entry.n_contenders, second.entry.n_contenders)
        level = 1.0 - ALPHA / (n_chosen * len(confirmed))
        found.append((compare_runs(first.runs, second.runs, level=level), n_chosen))
    adjusted = holm([min(difference.p * n_chosen, 1.0) for difference, n_chosen in found])
    judged = {
        (first.entry.study, second.entry.study): _judged(first.entry, second.entry, difference, p)
        for (first, second), (difference, _), p in zip(confirmed, found, adjusted, strict=True)
    }
    return [
        replace(
            judged.get((one.entry.study, other.entry.study)) or _searched(one, other),
            in_search=_in_search(one, other),
        )
        for one, other in both
    ]


def _judged(first: Entry, second: Entry, found: Difference, p: float) -> Pair:
    low, high, difference = found.low, found.high, found.difference
    if difference < 0:  # on the runs that both have, the other one is ahead
        first, second = second, first
        low, high, difference = -high, -low, -difference
    doubt = first.doubt or second.doubt
    room = NEGLIGIBLE * max(abs(first.mean), abs(second.mean))
    finding: Finding = "undecided"
    if max(abs(low), abs(high)) < room:
        finding = "alike"
    elif p < ALPHA and low > 0.0 and doubt is None:
        finding = "better"
    return Pair(first.study, second.study, "confirmation", finding, difference, low, high, p, found.words(), doubt)


def _searched(first: Entrant, second: Entrant) -> Pair:
    if first.entry.best_value < second.entry.best_value:
        first, second = second, first
    shares = [one.record.user_fraction for one in (first, second)]
    told = ["all training users" if share is None else f"{share:.0%} of them" for share in shares]
    return Pair(
        first.entry.study,
        second.entry.study,
        "search",
        "undecided",
        first.entry.best_value - second.entry.best_value,
        doubt=None if shares[0] == shares[1] else f"where one trained on {told[0]} and the other on {told[1]}",
        unconfirmed=tuple(one.entry.study for one in (first, second) if one.entry.evidence == "search"),
    )


def _in_search(first: Entrant, second: Entrant) -> InSearch | None:
    """Return the searches' best trials against each other; None where one has no figures of the same users."""
    ours, theirs = first.search_figures, second.search_figures
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return None
    known = ~np.isnan(ours - theirs)
    if known.sum() < LEAST_USERS:
        return None
    ours, theirs = ours[known], theirs[known]
    # Figures by user are rounded to float16: where the trials' scores are the means of the same users, they are exact.
    difference = float((ours - theirs).mean())
    scores = first.entry.best_value - second.entry.best_value
    if known.all() and abs(scores - difference) < ROUNDING:
        difference = scores
    if difference < 0:
        first, second, ours, theirs, difference = second, first, theirs, ours, -difference
    found = paired_difference(ours, theirs)
    return InSearch(
        ahead=first.entry.study,
        behind=second.entry.study,
        difference=difference,
        low=found["low"],
        high=found["high"],
        p=found["p"],
        n_users=len(ours),
        n_trials=(first.entry.n_trials, second.entry.n_trials),
    )


def _test_pairs(entrants: Sequence[Entrant]) -> list[OnTestUsers]:
    """Return the studies' models on the test users; empty where one of them has kept these closed."""
    if not all(one.entry.test for one in entrants):
        return []
    found = []
    for first, second in itertools.combinations(sorted(entrants, key=lambda one: -one.entry.test["value"]), 2):
        names = first.entry.study, second.entry.study
        told = OnTestUsers(*names, first.entry.test["value"] - second.entry.test["value"])
        if first.test_figures is not None and second.test_figures is not None:
            (users, ours), (others, theirs) = first.test_figures, second.test_figures
            if len(users) and np.array_equal(users, others):
                pair = paired_difference(ours, theirs)
                told = replace(told, low=pair["low"], high=pair["high"], p=pair["p"])
        found.append(told)
    return found
