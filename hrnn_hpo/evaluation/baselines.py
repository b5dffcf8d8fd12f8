"""Recommenders without training that every tuned model must beat: which there are, their constants, their figures.

All are fitted on the training events of a split alone. What each of them does is untrained's work, ranking and metrics
are protocols'. Constants are chosen by validation users, never by test users.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from hrnn_hpo.data.repeats import repeats_are_rare
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, TrainPart
from hrnn_hpo.errors import counted
from hrnn_hpo.evaluation.protocols import Evaluation, ScoreRows, Seen, UserMetric, evaluate
from hrnn_hpo.evaluation.untrained.common import Constants, Scorer
from hrnn_hpo.evaluation.untrained.ease import KEPT_SIDE, ease, ease_own_items, how_long_ease, why_no_ease
from hrnn_hpo.evaluation.untrained.knn import item_knn, item_knn_decay
from hrnn_hpo.evaluation.untrained.own import own_items, tifu_knn
from hrnn_hpo.evaluation.untrained.popular import popularity, recent_popularity

OBJECTIVE = "ndcg_at_10"
MOST_CHOOSERS = 2_000  # validation users who choose constants, drawn once where there are more
LEAST_CHOOSERS = 100
MANY_SCORES = 5_000_000  # of the evaluated users; from here on whoever waits is told
MOST_CHOOSING_SCORES = 200_000_000  # their scores for one value of a constant: bounds the time on large catalogues


@dataclass(frozen=True)
class Baseline:
    """A recommender without training, and the values that each of its constants may take, the default first."""

    fit: Callable[[Dataset, TrainPart], Scorer]
    grid: Mapping[str, Sequence[float | str]] = field(default_factory=dict)
    fit_small: Callable[[Dataset, TrainPart], Scorer] | None = None  # what constants are chosen with, if not `fit`
    wants_repeats: bool = False  # only where 1 % of the events or more are repeats
    why_not: Callable[[Dataset, TrainPart, EvalPart], str | None] = lambda dataset, train, part: None
    how_long: Callable[[Dataset, TrainPart], str | None] = lambda dataset, train: None

    @property
    def defaults(self) -> dict[str, float | str]:
        """Return the constants where nobody chooses."""
        return {name: values[0] for name, values in self.grid.items()}

    def __call__(
        self, dataset: Dataset, train: TrainPart, part: EvalPart, constants: Constants | None = None
    ) -> ScoreRows:
        """Return the function that scores rows of a part, fitted on training events."""
        return self.fit(dataset, train)(part, self.defaults if constants is None else constants)


_HALF_LIVES = ("120 days", "30 days", "365 days", "10 events", "30 events", "100 events", "300 events")
_REGULARIZATION = (300.0, 30.0, 100.0, 1_000.0, 3_000.0)

BASELINES: dict[str, Baseline] = {
    "popularity": Baseline(popularity),
    "recent_popularity": Baseline(recent_popularity),
    "own_items": Baseline(own_items, {"half_life": _HALF_LIVES}),
    "item_knn": Baseline(item_knn),
    "item_knn_decay": Baseline(
        item_knn_decay,
        {"half_life": ("10 events", "1 event", "3 events", "30 events", "100 events", "1 day", "7 days", "30 days")},
    ),
    "ease": Baseline(
        ease,
        {"regularization": _REGULARIZATION},
        partial(ease, most_items=KEPT_SIDE),
        why_not=why_no_ease,
        how_long=how_long_ease,
    ),
    "tifu_knn": Baseline(
        tifu_knn,
        {"group_decay": (0.9, 0.7, 1.0), "own_share": (0.7, 0.3, 0.5, 0.9), "neighbours": (100, 30, 300)},
        wants_repeats=True,
    ),
    "ease_own_items": Baseline(
        ease_own_items,
        {"weight": (0.1, 0.03, 0.3, 1.0), "half_life": _HALF_LIVES, "regularization": _REGULARIZATION},
        partial(ease_own_items, most_items=KEPT_SIDE),
        wants_repeats=True,
        why_not=why_no_ease,
        how_long=how_long_ease,
    ),
}


@dataclass(frozen=True)
class Chooser:
    """Who chooses constants, and by what: validation users, beside what trains while they validate."""

    train: TrainPart
    part: EvalPart
    objective: str = OBJECTIVE


@dataclass(frozen=True)
class BaselineFigures:
    """The figures of the baselines on one part, the constants behind them, and which were left out, and why."""

    evaluations: dict[str, Evaluation]
    constants: dict[str, dict[str, float | str]]  # of those that have any
    left_out: dict[str, str]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        return {name: evaluation.metrics for name, evaluation in self.evaluations.items()}


def evaluate_baselines(
    dataset: Dataset,
    train: TrainPart,
    part: EvalPart,
    *,
    seen: Seen,
    chooser: Chooser | None = None,
    value_weighted: bool = False,
    extra_metrics: Mapping[str, UserMetric] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> BaselineFigures:
    """Return the figures of the baselines on a part, fitted on the same training events as the model beside it.

    `chooser` chooses their constants; without one they have their defaults. Those that read repeats are there where
    repeats are not rare. `tell` is told of what takes long.
    """
    evaluations: dict[str, Evaluation] = {}
    constants: dict[str, dict[str, float | str]] = {}
    left_out: dict[str, str] = {}
    rare = repeats_are_rare(dataset)
    if len(part) * dataset.n_items > MANY_SCORES:
        tell(f"Comparing with the baselines on {counted(len(part), 'user')}; their constants are chosen first.")
    for name, baseline in BASELINES.items():
        if baseline.wants_repeats and rare:
            continue
        reason = baseline.why_not(dataset, train, part)
        if reason is not None:
            left_out[name] = reason
            continue
        if (long := baseline.how_long(dataset, train)) is not None:
            tell(f"{name} {long}.")
        chosen = baseline.defaults
        if chooser is not None and baseline.grid:
            chosen = choose_constants(baseline, dataset, chooser, seen=seen, extra_metrics=extra_metrics)
        if chosen:
            constants[name] = chosen
        evaluations[name] = evaluate(
            dataset,
            part,
            baseline(dataset, train, part, chosen),
            seen=seen,
            apart=not rare,
            value_weighted=value_weighted,
            extra_metrics=extra_metrics,
        )
    return BaselineFigures(evaluations, constants, left_out)


def choose_constants(
    baseline: Baseline,
    dataset: Dataset,
    chooser: Chooser,
    *,
    seen: Seen,
    extra_metrics: Mapping[str, UserMetric] | None = None,
) -> dict[str, float | str]:
    """Return the constants by which a baseline serves validation users best, its default where that is as good.

    The constants are chosen one after the other, in the order of the grid, the others at their best value so far. EASE
    chooses on the 4,000 most popular items.
    """
    scorer = (baseline.fit_small or baseline.fit)(dataset, chooser.train)
    part = _some_rows(chooser.part, dataset.n_items)
    tried: dict[tuple[float | str, ...], float] = {}

    def value(constants: dict[str, float | str]) -> float:
        key = tuple(constants.values())
        if key not in tried:
            found = evaluate(dataset, part, scorer(part, constants), seen=seen, extra_metrics=extra_metrics)
            tried[key] = found.metrics[chooser.objective]
        return tried[key]

    chosen = baseline.defaults
    for name, values in baseline.grid.items():
        chosen[name] = max(values, key=lambda one: value({**chosen, name: one}))
    return chosen


def constants_note(constants: Mapping[str, Constants]) -> str | None:
    """Return a sentence on the chosen constants, None where there are none."""
    if not constants:
        return None
    told = [
        f"{name} {', '.join(f'{constant} {_short(value)}' for constant, value in chosen.items())}"
        for name, chosen in constants.items()
    ]
    return f"Constants of the baselines, chosen on validation users: {'; '.join(told)}."


def left_out_note(left_out: Mapping[str, str]) -> str | None:
    """Return a sentence on the baselines that were left out, None where there are none."""
    if not left_out:
        return None
    return "Left out: " + "; ".join(f"{name}, since {reason}" for name, reason in left_out.items()) + "."


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _some_rows(part: EvalPart, n_items: int) -> EvalPart:
    """Return the part, or so many of its users, drawn once, as choosing may take."""
    n = max(LEAST_CHOOSERS, min(MOST_CHOOSERS, MOST_CHOOSING_SCORES // max(n_items, 1)))
    if len(part) <= n:
        return part
    rows = np.sort(np.random.default_rng(0).permutation(len(part))[:n])
    return part.take(rows)
