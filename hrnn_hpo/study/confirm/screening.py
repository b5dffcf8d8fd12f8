"""Screening: which of the search's best go into the confirmation. Scores in, trials out; who trains is runs.py's work.

The best score of a search belongs to the luckiest of many trials, and confirmation runs are too dear to spend on luck.
So the best F trials run again first, in rounds: in each one those who are left run once more on a fresh seed, and the
better half of them stays, until K are left. All ran on the same seeds and users by then, and a trial's rank is that of
its mean over them, with the search's own score as one more run where that was made from the same data.

These runs choose, so they prove nothing: the confirmation's verdict reads its own runs alone, on other seeds. Nor may
they choose by those who judge. Where users are drawn anew, whom a confirmation's first ten runs validate only trains
here (without that, equal configurations were called better in 3.5 % of first looks instead of 2.6 %: simulated,
scripts/benchmarks/search/false_yes.py); elsewhere the held-back users stay closed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RunKey = tuple[int, int]  # trial, and which of its runs, from 0
# Unless told: simulated (scripts/benchmarks/search/winners_curse.py), these numbers lose least against the runs they
# take, and two confirmed configurations are called better no less often than one, whatever Holm's correction costs.
LEAST_SEARCHED, LARGE_SEARCH = 20, 60  # finished trials
SCREENED, SCREENED_OF_LARGE = 5, 8
CONFIRMED_OF_SCREENED = 2


@dataclass(frozen=True)
class Screening:
    """Where a screening stands: what the round needs now, or who went through."""

    runs: list[RunKey]  # of this round without a result, done or not begun; empty once it is over
    n_later: int  # runs of the rounds after this one, if nobody fails
    chosen: list[int] | None  # best first; None before the last round is over


def round_sizes(n: int, k: int) -> list[int]:
    """Return how many of `n` trials run in each round before `k` are left.

    >>> round_sizes(5, 1), round_sizes(5, 2), round_sizes(8, 2), round_sizes(2, 2)
    ([5, 3, 2], [5, 3], [8, 4], [])
    """
    sizes = []
    while n > k > 0:
        sizes.append(n)
        n = max((n + 1) // 2, k)
    return sizes


def default_n_screened(n_trials: int) -> int:
    """Return how many trials to screen after a search of so many finished ones, unless told."""
    if n_trials < LEAST_SEARCHED:
        return 0
    return SCREENED if n_trials < LARGE_SEARCH else SCREENED_OF_LARGE


def screen(
    candidates: Sequence[int],
    k: int,
    results: Mapping[RunKey, float | None],
    search_scores: Mapping[int, float] | None = None,
) -> Screening:
    """Return what is to run next to choose `k` of the candidates, or who is chosen.

    `candidates` come best search score first. `results` has the score of each finished run, None for one that failed:
    its trial is out. `search_scores` count as a run of each trial; None where they are of other data. What comes out
    follows from these alone, so whoever asks, and however often, gets the same answer.
    """
    sizes = round_sizes(len(candidates), k)
    left = list(candidates)
    for repeat, size in enumerate(sizes):
        left = left[:size]
        waiting = [(trial, repeat) for trial in left if (trial, repeat) not in results]
        if waiting:
            return Screening(waiting, sum(sizes[repeat + 1 :]), None)
        left = [trial for trial in left if results[trial, repeat] is not None]
        means = {trial: mean_so_far(trial, repeat + 1, results, search_scores) for trial in left}
        left.sort(key=lambda trial: (-means[trial], trial))
    return Screening([], 0, left[:k])


def mean_so_far(
    trial: int, n_runs: int, results: Mapping[RunKey, float | None], search_scores: Mapping[int, float] | None = None
) -> float:
    """Return the mean of a trial's first `n_runs` runs, its search score among them where there is one."""
    scores = [results[trial, repeat] for repeat in range(n_runs)]
    own = [] if search_scores is None else [search_scores[trial]]
    return float(np.mean([*own, *(score for score in scores if score is not None)]))
