"""Histories in, what scores the next item out: inference over many users, in windows of bounded memory."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrnn_hpo.data.repeats import own_items_after
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import EvalPart, input_events
from hrnn_hpo.model.accelerator import send
from hrnn_hpo.model.ensemble import AnyModel
from hrnn_hpo.model.inputs import StepInputs, pack

WINDOW_ROWS = 16_384  # events read at once
USERS_AT_ONCE = 1024


@torch.no_grad()
def encode(model: AnyModel, inputs: StepInputs, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
    """Return the output after the last of each user's steps, (R, H), and leave the model in evaluation mode.

    Steps of user r are the rows `starts[r] : starts[r] + lengths[r]` of `inputs`, at least one.
    """
    model.eval()
    device = model.item_bias.device
    outputs = torch.empty(len(starts), model.hidden_dimension, device=device)
    order = np.argsort(-lengths, kind="stable")
    for begin in range(0, len(order), USERS_AT_ONCE):
        users = order[begin : begin + USERS_AT_ONCE]  # by descending length
        state = model.start_state(len(users))
        position, stop = starts[users], starts[users] + lengths[users]
        n_left = len(users)
        while n_left:
            steps = max(1, WINDOW_ROWS // n_left)
            size = np.minimum(stop[:n_left] - position[:n_left], steps)
            packed, _ = pack(inputs, position[:n_left], size, device)
            position[:n_left] += size
            n_stay = int(np.count_nonzero(stop[:n_left] > position[:n_left]))
            # Only the last steps of users who end here are worth finishing.
            ends = last_packed_rows(size, n_stay)
            done, state = model(packed, state[:, :n_left], keep=send(ends, device))
            outputs[send(users[n_stay:n_left], device)] = done
            n_left = n_stay
    return outputs


def last_packed_rows(lengths: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Return where in a packed batch the last steps of users `first`, `first` + 1, ... stand, (B - first,).

    `lengths` (B,) descend. Step t begins after the sum over earlier steps of the users that reach them.
    """
    step_sizes = (np.arange(lengths[0])[:, None] < lengths).sum(axis=1)
    step_begins = np.concatenate([[0], np.cumsum(step_sizes)])
    rows: NDArray[np.int64] = step_begins[lengths[first:] - 1] + np.arange(first, len(lengths))
    return rows


def score_rows(
    model: AnyModel, dataset: Dataset, inputs: StepInputs, part: EvalPart
) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """Return a function from rows of `part` (b,) to the scores of all items (b, V), float32.

    The users' inputs are encoded here, once.
    """
    starts = np.asarray(dataset.user_offsets)[part.users]
    # The step that predicts the first truth event reads the last input event: its row is truth_starts.
    outputs = encode(model, inputs, starts, part.truth_starts - starts + 1)

    @torch.no_grad()
    def score(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        some = outputs[send(rows, outputs.device)]
        if model.repeats is None:  # spared the sort of everybody's history
            plain: NDArray[np.float32] = model.score(some).cpu().numpy()
            return plain
        owners, events = input_events(dataset, part, rows)
        own = own_items_after(owners, np.asarray(dataset.items)[events], np.asarray(dataset.timestamps)[events])
        scores: NDArray[np.float32] = model.score_after(some, own).cpu().numpy()
        return scores

    return score
