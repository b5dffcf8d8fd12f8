"""The hierarchical recurrent network: event embedding, residual recurrent blocks, and scores from the tied embedding.

Reads packed steps (inputs) and returns states and scores; what is learned from them is training's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.data.featurize import AS_IT_IS, N_CONTROL_SIGNALS, N_GAP_BUCKETS, ValueScale
from hrnn_hpo.data.repeats import OwnItems
from hrnn_hpo.model.accelerator import send
from hrnn_hpo.model.dropout import Dropout
from hrnn_hpo.model.further_heads import FurtherHeads
from hrnn_hpo.model.inputs import PackedInputs
from hrnn_hpo.model.recurrence import ControlGRU, HierarchicalGRU
from hrnn_hpo.model.repeats import RepeatMixture
from hrnn_hpo.model.request_time import Requests, RequestTime, parts_read


@dataclass(frozen=True)
class Catalogue:
    """What the data says about the model: its shape, and how it reads EVENT_VALUE."""

    n_items: int
    n_event_types: int = 0  # 0: the data has no event types
    has_event_values: bool = False
    value_scale: ValueScale = AS_IT_IS


class RecurrentBlock(nn.Module):
    """x + recurrence(norm(x)), then x + feed-forward(norm(x)): gradients reach the embedding past every gate."""

    def __init__(self, hidden_dimension: int, architecture: str, hierarchy: str, feed_forward: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dimension)
        self.recurrence: ControlGRU | HierarchicalGRU = (
            ControlGRU(hidden_dimension)
            if architecture == "control"
            else HierarchicalGRU(hidden_dimension, variant=hierarchy)
        )
        self.dropout = Dropout(dropout)
        self.feed_forward = (
            nn.Sequential(
                nn.LayerNorm(hidden_dimension),
                nn.Linear(hidden_dimension, feed_forward * hidden_dimension),
                nn.GELU(approximate="tanh"),
                nn.Linear(feed_forward * hidden_dimension, hidden_dimension),
            )
            if feed_forward
            else None
        )

    def forward(
        self,
        x: Tensor,
        state: Tensor,
        step_sizes: Sequence[int],
        session_starts: Sequence[Tensor | None],
        bptt: int,
        keep: Tensor | None = None,
        opened: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return outputs (N, H) and final states (B, S) from inputs (N, H) and states (B, S).

        With `keep`, rows (K,), the outputs are those rows alone: what follows the recurrence is spared the others.
        `opened`, rows (M,) and what the block reads of them (M, H), asks for a third result, (M, H): the output with
        the state of a session that is opened after the row's step, which no later step reads.
        """
        fresh = None
        if opened is None:
            y, state = self.recurrence(self.norm(x), state, step_sizes, session_starts, bptt)
        else:
            assert isinstance(self.recurrence, HierarchicalGRU)
            y, state, users = self.recurrence.with_users(self.norm(x), state, step_sizes, session_starts, bptt)
            rows, before = opened
            assert users is not None
            fresh = self._feed_forward(before + self.dropout(self.recurrence.opened(y[rows], users[rows])))
        x = x + self.dropout(y)
        if keep is not None:
            x = x[keep]
        return self._feed_forward(x), state, fresh

    def _feed_forward(self, x: Tensor) -> Tensor:
        if self.feed_forward is not None:
            x = x + self.dropout(self.feed_forward(x))
        return x


RANDOM_START, ITEM_START = 0.02, 0.1  # deviations of embeddings; scripts/benchmarks/quality/item_start.py has others


class HRNN(nn.Module):
    """A hierarchical recurrent recommender over V items.

    Scores of a state h are h E^T + b, E the input embedding itself (tied), b a bias per item that starts at the log
    frequency; with `recency_mask`, plus one learned multiple of the items' log popularity in the last window of the
    training data. With `repeats: mixed` their softmax is mixed with a distribution over the user's own items.

    With `request_time` h is the readout at the time of a request, where that is known. The hierarchical architecture
    then has two outputs of a step, (2H,): the first goes on in the session, the second opens a new one.
    """

    def __init__(self, catalogue: Catalogue, hyperparameters: Hyperparameters) -> None:
        super().__init__()
        hp = hyperparameters
        self.catalogue = catalogue
        self.architecture = hp.architecture
        self.hidden_dimension = hp.hidden_dimension
        self.state_width = hp.hidden_dimension * (1 if hp.architecture == "control" else 2)
        self.sparse = hp.n_negatives > 0
        width = hp.hidden_dimension
        # The last row is the start token's.
        self.item_embedding = nn.Parameter(torch.randn(catalogue.n_items + 1, width) * RANDOM_START)
        self.item_bias = nn.Parameter(torch.zeros(catalogue.n_items))
        self.recency_mask = hp.recency_mask
        self.popularity_scale = nn.Parameter(torch.zeros(1)) if hp.recency_mask else None
        self.log_recent_popularity: Tensor
        self.register_buffer("log_recent_popularity", torch.zeros(catalogue.n_items if hp.recency_mask else 0))
        self.gap_embedding = nn.Parameter(torch.randn(N_GAP_BUCKETS, width) * RANDOM_START) if hp.time_gaps else None
        self.control_embedding = (
            nn.Parameter(torch.randn(N_CONTROL_SIGNALS, width) * RANDOM_START) if hp.control_signal else None
        )
        with_types = hp.event_inputs and catalogue.n_event_types > 0
        n_types = catalogue.n_event_types + 1
        self.type_embedding = nn.Parameter(torch.randn(n_types, width) * RANDOM_START) if with_types else None
        with_values = hp.event_inputs and catalogue.has_event_values
        self.value_projection = nn.Parameter(torch.randn(width) * RANDOM_START) if with_values else None
        self.input_dropout = Dropout(hp.input_dropout)
        self.blocks = nn.ModuleList(
            RecurrentBlock(width, hp.architecture, hp.hierarchy, hp.feed_forward, hp.hidden_dropout)
            for _ in range(hp.n_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.output_dropout = Dropout(hp.output_dropout)
        self.repeats = RepeatMixture(width) if hp.repeats == "mixed" else None
        self.further_heads = FurtherHeads(width) if hp.further_heads_weight else None
        parts = parts_read(hp.request_time)
        self.request_time = RequestTime(width, parts) if parts else None
        self.opens_sessions = "session" in parts and hp.architecture == "hierarchical"
        self.output_width = width * (2 if self.opens_sessions else 1)

    def set_popularity(self, log_popularity: Tensor, log_recent_popularity: Tensor) -> None:
        """Start the item bias at the training log's log frequencies (V,), and keep those of its last window (V,)."""
        with torch.no_grad():
            self.item_bias.copy_(log_popularity)
            if self.recency_mask:
                self.log_recent_popularity.copy_(log_recent_popularity)

    def start_items_at(self, vectors: Tensor) -> None:
        """Add vectors (V, H) of deviation 1 to the item embeddings' random start, five times as large as that."""
        with torch.no_grad():
            self.item_embedding[:-1] += ITEM_START * vectors

    def start_state(self, n_users: int) -> Tensor:
        """Return the state of users before their first step, (n_blocks, B, S)."""
        return self.item_bias.new_zeros(len(self.blocks), n_users, self.state_width)

    def embed(self, inputs: PackedInputs) -> Tensor:
        """Return the embedded steps, (N, H)."""
        x = F.embedding(inputs.items, self.item_embedding, sparse=self.sparse)
        if self.gap_embedding is not None:
            x = x + F.embedding(inputs.gap_buckets, self.gap_embedding)
        if self.control_embedding is not None:
            x = x + F.embedding(inputs.control, self.control_embedding)
        if self.type_embedding is not None and inputs.event_types is not None:
            x = x + F.embedding(inputs.event_types, self.type_embedding)
        if self.value_projection is not None and inputs.event_values is not None:
            values = self._standardized(inputs.event_values)  # (N,)
            x = torch.addcmul(x, values[:, None], self.value_projection)
        return x

    def _standardized(self, values: Tensor) -> Tensor:
        """Return event values (N,) on the scale of the training events, an empty one as 0, their mean.

        The mean is taken away in two parts, so that values around 1,000,000 keep their differences in float32.
        """
        scale = self.catalogue.value_scale
        coarse = float(np.float32(scale.mean))
        values = (values - coarse - (scale.mean - coarse)) / scale.deviation
        return values.clamp(-scale.limit, scale.limit).nan_to_num(nan=0.0)

    def forward(
        self,
        inputs: PackedInputs,
        state: Tensor,
        bptt: int = 1 << 30,
        keep: Tensor | None = None,
        requests: Requests | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what scores the items after each step, (N, H), and the final states (n_blocks, B, S).

        `state` (n_blocks, B, S) carries the users' past, without gradient; inside, the gradient runs back at most
        `bptt` steps. With `keep`, packed rows (K,), only their outputs are made, (K, H). A model that reads the time of
        a request is given all rows' `requests` here, as in training, or leaves the outputs, (K, output_width), to
        `readout`, which makes them answer a request at any time.
        """
        return self.run(self.embed(inputs), inputs, state, bptt, keep, requests)

    def run(
        self,
        embedded: Tensor,
        inputs: PackedInputs,
        state: Tensor,
        bptt: int = 1 << 30,
        keep: Tensor | None = None,
        requests: Requests | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what `forward` does, for steps that are embedded already, (N, H)."""
        assert keep is None or requests is None, "requests are those of all rows"
        session_starts = self._session_starts(inputs)
        x = self.input_dropout(embedded)  # (N, H)
        opening = self._opening(len(x), keep, requests)
        fresh = None if opening is None else x[opening]  # (M, H)
        states = []
        for block, block_state in zip(self.blocks, state.unbind(0), strict=True):
            kept = keep if block is self.blocks[-1] else None
            opened = None if opening is None or fresh is None else (opening, fresh)
            x, block_state, fresh = block(x, block_state, inputs.step_sizes, session_starts, bptt, kept, opened)
            states.append(block_state)
        if requests is None:
            outputs = self.norm(x) if fresh is None else torch.cat([self.norm(x), self.norm(fresh)], dim=1)
        else:
            if opening is not None and fresh is not None:
                x = x.index_copy(0, opening, fresh)
            assert self.request_time is not None
            outputs = self.request_time(self.norm(x), requests)
        return self.output_dropout(outputs), torch.stack(states)

    def readout(self, outputs: Tensor, requests: Requests | None = None) -> Tensor:
        """Return what scores the items when they are asked for, (R, H), of outputs (R, output_width).

        Without `requests` nobody knows when that is. The outputs stay as they are, good for any other time.
        """
        readouts = outputs[:, : self.hidden_dimension]
        if requests is None:
            return readouts
        assert self.request_time is not None, "the model does not read the time of a request"
        if self.opens_sessions:
            readouts = readouts.index_copy(0, requests.opening, outputs[requests.opening, self.hidden_dimension :])
        read: Tensor = self.request_time(readouts, requests)
        return read

    def _opening(self, n_rows: int, keep: Tensor | None, requests: Requests | None) -> Tensor | None:
        """Return the packed rows (M,) whose output with a newly opened session is wanted, None where none is."""
        if not self.opens_sessions:
            return None
        if requests is None:
            return torch.arange(n_rows, device=self.item_bias.device) if keep is None else keep
        return requests.opening if len(requests.opening) else None

    def score_bias(self) -> Tensor:
        """Return what is added to every item's score, (V,)."""
        if self.popularity_scale is None:
            return self.item_bias
        return self.item_bias + self.popularity_scale * self.log_recent_popularity

    def score(self, outputs: Tensor) -> Tensor:
        """Return the scores of all items, (N, V), logits of the softmax."""
        return torch.addmm(self.score_bias(), outputs, self.item_embedding[:-1].t())

    def score_after(self, outputs: Tensor, own: OwnItems) -> Tensor:
        """Return the scores of all items, (N, V), for users who had items before: those of row i are `own.rows == i`.

        `outputs` are readouts, (N, H). With `repeats: mixed` the scores are log probabilities of the mixture, otherwise
        what `score` returns.
        """
        scores = self.score(outputs)
        if self.repeats is None:
            return scores
        return self.repeats.mix(scores, outputs, own)

    def score_without_own(self, outputs: Tensor) -> Tensor:
        """Return the log of what the softmax alone gives every item, (N, V), for users who had items before.

        With `repeats: mixed` that is a part of the probability: what the user's own items add is left out.
        """
        found = torch.log_softmax(self.score(outputs), dim=1)
        return found if self.repeats is None else found + F.logsigmoid(-self.repeats.gate_logits(outputs))[:, None]

    def _session_starts(self, inputs: PackedInputs) -> list[Tensor | None]:
        """Return per step the rows of users who open a session there; the control architecture needs none."""
        if self.architecture == "control":
            return []
        begins = np.cumsum([0, *inputs.step_sizes])  # (T + 1,)
        steps = np.searchsorted(begins, inputs.new_sessions, side="right") - 1  # (K,)
        rows = send(inputs.new_sessions - begins[steps], inputs.device)  # (K,)
        counts = np.bincount(steps, minlength=len(inputs.step_sizes)).tolist()
        return [some if len(some) else None for some in torch.split(rows, counts)]
