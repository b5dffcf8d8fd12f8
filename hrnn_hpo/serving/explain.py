"""How much each event of a user's history still counts for what is recommended now.

The measure is what happens without the event: the history is read again, each time with one event left out, as if it
had never been logged. Gradients of the score would be cheaper, but say little here: gates and layer norms bend between
an event's embedding and none, and an item's count among the user's own items has no gradient at all
(docs/benchmarks.md, "Explanations: a gradient beside leaving out").
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.sessions import session_starts
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.files import unwritable
from hrnn_hpo.pictures import drawing, new_figure, save
from hrnn_hpo.serving.recommender import Recommender, code_of, log_of_events, scored_at_once

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_STEPS = 4_000_000  # read for one explanation: bounds its time, some seconds; all events of histories up to 2,000
STEPS_AT_ONCE = 500_000  # bounds memory


@dataclass(frozen=True)
class Influence:
    """One event of the history, and what the explained item's probability would be without it."""

    event: int  # counts from 1, oldest first
    item: str
    timestamp: int
    session: int  # counts from 1
    probability_without: float
    influence: float  # log(probability / probability without it): above 0, the event speaks for the item


@dataclass(frozen=True)
class Explanation:
    item: str  # the one that is explained
    probability: float
    repeat_share: float | None  # of the probability, what the user's own items give; None: the model mixes none in
    n_events: int
    influences: list[Influence]  # of the newest events, oldest first: of all n_events where they are not too many


def explain(
    recommender: Recommender,
    user_id: str,
    item_id: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    at: int | None = None,
) -> Explanation:
    """Return what counts for an item, the user's best one unless it is named.

    `on_progress` is told (events done, events to do). `at` is when recommendations are asked for, in unix seconds;
    without the last event the gap before it is longer. Raises ConfigError for a user without history, for one to whom
    nothing is recommended where no item is named, and for an item that the model does not know, and what
    `Recommender.recommend` raises for a time.
    """
    history = recommender.history(user_id)
    n = history.n_events
    if n == 0:
        raise ConfigError(f"User {user_id!r} has no history in this model: there is nothing to explain.")
    chosen = item_id if item_id is not None else _best_item(recommender, user_id, at)
    item = code_of(history.item_ids, chosen)
    if item is None:
        raise ConfigError(f"Item {chosen!r} is not in this model's catalogue.")
    log_probability = float(_log_probabilities(recommender, history, item, at)[0])

    newest = np.arange(n - min(n, max(1, MAX_STEPS // n)), n)
    without = np.empty(len(newest))
    at_once = max(1, STEPS_AT_ONCE // n)
    for begin in range(0, len(newest), at_once):
        left_out = newest[begin : begin + at_once]
        without[begin : begin + at_once] = _log_probabilities(recommender, _without(history, left_out), item, at)
        if on_progress is not None:
            on_progress(begin + len(left_out), len(newest))

    sessions = np.cumsum(session_starts(history, recommender.saved.configuration.hyperparameters.session_gap))
    return Explanation(
        item=chosen,
        probability=math.exp(log_probability),
        repeat_share=_repeat_share(recommender, history, item, log_probability, at),
        n_events=n,
        influences=[
            Influence(
                event=int(event) + 1,
                item=str(history.item_ids[history.items[event]]),
                timestamp=int(history.timestamps[event]),
                session=int(sessions[event]),
                probability_without=math.exp(log_without),
                influence=log_probability - float(log_without),
            )
            for event, log_without in zip(newest, without, strict=True)
        ],
    )


def _best_item(recommender: Recommender, user_id: str, at: int | None) -> str:
    best = recommender.recommend(user_id, 1, at)
    if not best:
        raise ConfigError(
            f"User {user_id!r} has had every item of this model, and seen items are removed: nothing is recommended. "
            "Name the item to explain."
        )
    return best[0].item


def _without(history: Dataset, left_out: NDArray[np.int64]) -> Dataset:
    """Return a log of one user's history in as many variants as events are left out, one in each."""
    kept = np.arange(history.n_events - 1) + (np.arange(history.n_events - 1) >= left_out[:, None])
    lengths = np.full(len(left_out), history.n_events - 1)
    return log_of_events(history, kept.reshape(-1), lengths, [""] * len(left_out))


@torch.no_grad()
def _log_probabilities(recommender: Recommender, log: Dataset, item: int, at: int | None) -> NDArray[np.float64]:
    """Return the log probability of an item after each history of a log, (U,)."""
    outputs = recommender.outputs_after(log, [at] * log.n_users)
    log_probabilities = np.empty(log.n_users)
    for past in scored_at_once(log):
        scores = recommender.saved.model.score_after(outputs[past.users], past.own)
        log_probabilities[past.users] = torch.log_softmax(scores, dim=1)[:, item].cpu().numpy()
    return log_probabilities


@torch.no_grad()
def _repeat_share(
    recommender: Recommender, history: Dataset, item: int, log_probability: float, at: int | None
) -> float | None:
    """Return which part of an item's probability the mixture takes from the user's own items; None: it mixes none."""
    model = recommender.saved.model
    if model.repeats is None:
        return None
    output = recommender.outputs_after(history, [at])
    return max(0.0, -math.expm1(float(model.score_without_own(output)[0, item]) - log_probability))


def plot(explanation: Explanation, title: str, file: Path) -> None:
    """Draw every event's influence, oldest left, sessions in alternating shades, into an image file."""
    try:
        with drawing():
            save(_figure(explanation, title), file, dpi=100)
    except OSError as error:
        raise unwritable(file, error) from error
    except ValueError as error:
        raise ConfigError(f"{file}: the plot cannot be written ({error}).") from error


def _figure(explanation: Explanation, title: str) -> "Figure":
    figure = new_figure(10, 4)
    axes = figure.add_subplot()
    events = explanation.influences
    colors = ["tab:blue" if event.session % 2 else "tab:cyan" for event in events]
    axes.bar([event.event for event in events], [event.influence for event in events], color=colors, width=1.0)
    axes.set(
        title=title,
        xlabel="event, oldest first (shades alternate by session)",
        ylabel="log(probability / without the event)",
    )
    axes.axhline(0.0, color="black", linewidth=0.5)
    return figure
