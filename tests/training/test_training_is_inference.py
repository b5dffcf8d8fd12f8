"""What training asks of each step is what inference answers there: two ways to one probability."""

import numpy as np
import pytest
import torch
from small_runs import small_hyperparameters, training_data

from hrnn_hpo.data.splits import EvalPart
from hrnn_hpo.data.synthetic import make_dataset
from hrnn_hpo.model.encode import score_rows
from hrnn_hpo.model.hrnn import HRNN, Catalogue
from hrnn_hpo.model.inputs import pack
from hrnn_hpo.model.request_time import pack_requests
from hrnn_hpo.training.batches import epoch_windows
from hrnn_hpo.training.criterion import Criterion, Targets
from hrnn_hpo.training.targets import draw_targets

CPU = torch.device("cpu")
DRAWN = np.random.default_rng(0)
HISTORIES = [
    [("abcdefg"[item], time) for item, time in zip(DRAWN.integers(0, 7, n), times.tolist(), strict=True)]
    for n in (1, 2, 9, 30, 70)
    for times in [np.sort(DRAWN.integers(0, 20_000, n))]
]


@pytest.mark.parametrize("repeats", ["mixed", "ignored"])
@pytest.mark.parametrize(
    ("architecture", "request_time", "n_blocks", "targets_ahead"),
    [
        ("control", "none", 2, 1.0),
        ("control", "gap+session+clock", 1, 3.0),
        ("hierarchical", "none", 1, 3.0),
        ("hierarchical", "session+clock", 2, 1.0),
    ],
)
def test_the_loss_of_an_epoch_is_made_of_the_probabilities_that_inference_gives(
    repeats: str, architecture: str, request_time: str, n_blocks: int, targets_ahead: float
) -> None:
    hp = small_hyperparameters(
        repeats=repeats,
        architecture=architecture,
        request_time=request_time,
        n_blocks=n_blocks,
        recency_mask=True,
        input_dropout=0.0,
        hidden_dropout=0.0,
        output_dropout=0.0,
    )
    dataset = make_dataset(HISTORIES)
    data, generator = training_data(dataset), np.random.default_rng(1)
    torch.manual_seed(0)
    model = HRNN(Catalogue(dataset.n_items), hp)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    ahead = draw_targets(dataset, data.train, targets_ahead, generator)
    known = np.full(dataset.n_events, model.request_time is not None) & (generator.random(dataset.n_events) < 0.5)
    criterion = Criterion(model, dataset, data.occurrences, None)
    lanes, total = model.start_state(3), 0.0
    starts = np.asarray(dataset.user_offsets[:-1])
    with torch.no_grad():
        for window in epoch_windows(starts, data.train.stops, 3, 16, generator):
            inputs, rows = pack(data.inputs, window.starts, window.lengths, CPU)
            lanes[:, window.lanes[window.fresh]] = 0.0
            assert data.requests is not None
            told = pack_requests(data.requests.take(rows), CPU, known[rows]) if model.request_time is not None else None
            outputs, lanes[:, window.lanes] = model(inputs, lanes[:, window.lanes], requests=told)
            total += float(criterion(outputs, Targets(inputs, window, rows, None), ahead[rows], generator)) * len(rows)

    events = np.arange(dataset.n_events)
    part = EvalPart(np.asarray(dataset.event_users, dtype=np.int64), events, events + 1)
    asked = None if model.request_time is None else data.requests
    if asked is not None:
        asked = type(asked)(known, asked.gap_buckets, asked.control, asked.clock)
    scores = torch.from_numpy(score_rows(model, dataset, data.inputs, part, asked)(events))
    found = torch.log_softmax(scores.double(), dim=1)[events, dataset.items[events + ahead]]
    assert total == pytest.approx(-float(found.sum()), rel=1e-5)
