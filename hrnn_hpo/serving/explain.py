"""How much each event of a user's history still counts for what is recommended now.

The measure is gradient times input: the change of the score to first order if an event's embedded step were taken away
(Simonyan et al. 2013; Ancona et al. 2018). It is local: what the gates have let through for this user, at this moment.
A model that mixes in the user's own items (`repeats: mixed`) also says how much of the probability comes from there.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hrnn_hpo.data.featurize import event_features
from hrnn_hpo.data.repeats import own_items_after
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.sessions import session_starts
from hrnn_hpo.errors import ConfigError
from hrnn_hpo.model.hrnn import HRNN
from hrnn_hpo.model.inputs import history_inputs, pack
from hrnn_hpo.serving.recommender import Recommender


@dataclass(frozen=True)
class Influence:
    """One event of the history: `influence` in units of the score (logit), `share` of the sum of absolute values."""

    item: str
    timestamp: int
    session: int  # counts from 1
    influence: float
    share: float


@dataclass(frozen=True)
class Explanation:
    item: str  # the one that is explained
    influences: list[Influence]  # of every event, oldest first
    repeat_share: (
        float | None
    )  # the part of the item's probability that is the user's own items'; None: none is mixed in


@torch.enable_grad()
def explain(recommender: Recommender, user_id: str, item_id: str | None = None) -> Explanation:
    """Return what counts for an item, the user's best one unless it is named.

    Raises ConfigError for a user without history and for an item that the model does not know.
    """
    history = recommender.history(user_id)
    if history.n_events == 0:
        raise ConfigError(f"User {user_id!r} has no history in this model: there is nothing to explain.")
    chosen = item_id if item_id is not None else recommender.recommend(user_id, 1)[0].item
    item = int(np.searchsorted(history.item_ids, chosen))
    if item >= history.n_items or history.item_ids[item] != chosen:
        raise ConfigError(f"Item {chosen!r} is not in this model's catalogue.")
    model = recommender.saved.model.eval()
    gap = recommender.saved.configuration.hyperparameters.session_gap
    steps = history_inputs(history.items, event_features(history, gap), history.n_items)
    packed, _ = pack(steps, np.zeros(1, np.int64), np.array([len(steps.items)]), model.item_bias.device)
    embedded = model.embed(packed).detach().requires_grad_()  # (n + 1, H)
    outputs, _ = model.run(embedded, packed, model.start_state(1))
    score = outputs[-1] @ model.item_embedding[item].detach()
    (gradient,) = torch.autograd.grad(score, embedded)
    influence = (gradient * embedded).sum(dim=1)[1:].detach().cpu().numpy()  # the start token is no event
    total = float(np.abs(influence).sum()) or 1.0
    sessions = np.cumsum(session_starts(history, gap))
    return Explanation(
        chosen,
        [
            Influence(
                item=str(history.item_ids[history.items[event]]),
                timestamp=int(history.timestamps[event]),
                session=int(sessions[event]),
                influence=float(influence[event]),
                share=float(abs(influence[event]) / total),
            )
            for event in range(history.n_events)
        ],
        _repeat_share(model, outputs[-1:].detach(), history, item),
    )


@torch.no_grad()
def _repeat_share(model: HRNN, output: Tensor, history: Dataset, item: int) -> float | None:
    """Return which part of an item's probability the mixture takes from the user's own items; `output` is (1, H)."""
    if model.repeats is None:
        return None
    own = own_items_after(np.zeros(history.n_events, np.int64), history.items, history.timestamps)
    mixed = model.score_after(output, own)[0, item]
    rest = torch.log_softmax(model.score(output), dim=1)[0, item] + F.logsigmoid(-model.repeats.gate_logits(output))[0]
    return max(0.0, -math.expm1(float(rest - mixed)))


def plot(influences: list[Influence], title: str, file: Path) -> None:
    """Draw every event's influence, oldest left, sessions in alternating shades, into an image file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(influences))
    colors = ["tab:blue" if event.session % 2 else "tab:cyan" for event in influences]
    axes.bar(places, [event.influence for event in influences], color=colors, width=1.0)
    axes.set(title=title, xlabel="event, oldest first (shades alternate by session)", ylabel="influence on the score")
    axes.axhline(0.0, color="black", linewidth=0.5)
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: the plot cannot be written ({error}).") from error
