"""The time of a request moves the readout as its formula says, and no state; a new session is opened for it alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import inputs_of, model_for
from strategies import dataset_of, datasets, eval_part_of
from torch import Tensor
from torch.nn import functional as F

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.data.featurize import CONTINUE, N_GAP_BUCKETS, NEW_SESSION, event_features
from hrnn_hpo.data.repeats import occurrences
from hrnn_hpo.data.requests import RequestTimes, requests_of_events, unknown_requests
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.model.encode import encode, score_rows
from hrnn_hpo.model.hrnn import HRNN, Catalogue
from hrnn_hpo.model.inputs import PackedInputs, pack
from hrnn_hpo.model.recurrence import HierarchicalGRU
from hrnn_hpo.model.request_time import RequestTime, pack_requests, parts_read
from hrnn_hpo.training.batches import Window
from hrnn_hpo.training.criterion import full_softmax, repeat_shares, sampled_softmax

CPU = torch.device("cpu")
ALL = "gap+session+clock"
H = 8  # of SMALL

# Requests: a pause within the session on Monday at 5, a new session on Sunday at 23, one without a time.
REQUESTS = RequestTimes(
    known=np.array([True, True, False]),
    gap_buckets=np.array([4, N_GAP_BUCKETS - 1, 7], dtype=np.uint8),
    control=np.array([CONTINUE, NEW_SESSION, NEW_SESSION], dtype=np.uint8),
    clock=np.array([5, 24 * 6 + 23, 100], dtype=np.uint8),
)
LOG = dataset_of(
    [[0, 1, 2, 1, 0, 3], [3, 2, 3, 1], [1, 0]],
    times=[[0, 60, 90_000, 90_060, 200_000, 200_001], [50, 7_000, 7_010, 9_999], [3, 4]],
)


def requests_in(log: Dataset) -> RequestTimes:
    return requests_of_events(log, event_features(log, 1800))


def window_of(log: Dataset) -> tuple[Window, PackedInputs, np.ndarray]:
    """Return all of a log as one window, users by descending length."""
    order = np.argsort(-log.history_lengths, kind="stable")
    window = Window(order, log.user_offsets[order], log.history_lengths[order], np.ones(len(order), dtype=np.bool_))
    return window, *pack(inputs_of(log), window.starts, window.lengths, CPU)


@pytest.mark.parametrize("request_time", ["gap", "session", "clock", "gap+clock", ALL])
def test_the_readout_by_hand(request_time: Any) -> None:
    parts = parts_read(request_time)
    layer = RequestTime(3, parts)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    readouts = torch.randn(3, 3)
    found = layer(readouts, pack_requests(REQUESTS, CPU))
    assert torch.equal(found[2], readouts[2])
    for row, (bucket, control, weekday, hour) in enumerate([(4, 0, 0, 5), (N_GAP_BUCKETS - 1, 1, 6, 23)]):
        rows = {"gap": [(layer.gap, bucket)], "session": [(layer.session, control)]}
        rows["clock"] = [(layer.weekday, weekday), (layer.hour, hour)]
        total = torch.zeros(6)
        for part in parts:
            for table, place in rows[part]:
                assert table is not None
                total = total + table[place]
        torch.testing.assert_close(found[row], readouts[row] * (1 + total[:3]) + total[3:])


@pytest.mark.parametrize("request_time", ["gap", "session+clock", ALL])
@pytest.mark.parametrize("known", [[True, True, True], [False, True, False], [False, False, False]])
def test_only_rows_with_a_time_are_moved_and_all_gradients_are_the_formulas(
    request_time: Any, known: list[bool]
) -> None:
    """To the last bit, beside the formula on every row, where a request without a time looks up a row of zeros."""
    layer = RequestTime(H, parts_read(request_time))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    asked = replace(REQUESTS, known=np.array([True, True, True]))
    readouts = torch.randn(3, H, requires_grad=True)
    found = layer(readouts, pack_requests(asked, CPU, np.array(known)))

    totals = torch.zeros(3, 2 * H)
    for tables in (
        ((layer.gap, asked.gap_buckets), (layer.session, asked.control)),
        ((layer.weekday, asked.clock // 24), (layer.hour, asked.clock % 24)),
    ):
        rows = [table[places.astype(np.int64)] for table, places in tables if table is not None]
        if rows:
            totals = totals + (rows[0] if len(rows) == 1 else rows[0] + rows[1]) * torch.tensor(known)[:, None]
    expected = torch.addcmul(readouts + totals[:, H:], readouts, totals[:, :H])
    assert torch.equal(found, expected)
    slopes, leaves = torch.randn(3, H), [readouts, *layer.parameters()]
    ours = torch.autograd.grad(found, leaves, slopes)
    for mine, theirs in zip(ours, torch.autograd.grad(expected, leaves, slopes), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


def test_only_the_tables_of_the_named_parts_are_there() -> None:
    names = {name for name, _ in RequestTime(4, parts_read("session+clock")).named_parameters()}
    assert names == {"session", "hour", "weekday"}
    assert parts_read("none") == frozenset()
    assert HRNN(Catalogue(5), Hyperparameters(hidden_dimension=8)).request_time is None


@pytest.mark.parametrize("architecture", ["control", "hierarchical"])
def test_an_untrained_model_starts_like_one_that_reads_no_time(architecture: Any) -> None:
    """Its tables are 0 and draw no random numbers; the hierarchical one alone knows what a new session begins with."""
    weights = {}
    for request_time in ("none", ALL):
        torch.manual_seed(3)
        hp = Hyperparameters(hidden_dimension=8, architecture=architecture, request_time=request_time)
        weights[request_time] = HRNN(Catalogue(5), hp).state_dict()
    added = weights[ALL].keys() - weights["none"].keys()
    assert {name.partition(".")[0] for name in added} == {"request_time"}
    assert all((weights[ALL][name] == 0).all() for name in added)
    assert all(torch.equal(weights[ALL][name], value) for name, value in weights["none"].items())


@settings(max_examples=25)
@given(
    dataset=datasets(max_users=4, max_events=8),
    architecture=st.sampled_from(["control", "hierarchical"]),
    hierarchy=st.sampled_from(["init", "all"]),
    n_blocks=st.integers(1, 2),
    request_time=st.sampled_from(["gap", "session", ALL]),
)
@torch.no_grad()
def test_requests_alter_no_state_and_are_read_afterwards_as_on_the_way(
    dataset: Dataset, architecture: str, hierarchy: str, n_blocks: int, request_time: str
) -> None:
    changes = {"architecture": architecture, "hierarchy": hierarchy, "n_blocks": n_blocks}
    model = model_for(dataset, request_time=request_time, **changes)
    requests = requests_in(dataset)
    _, packed, rows = window_of(dataset)
    asked = pack_requests(requests.take(rows), CPU)
    told, with_requests = model(packed, model.start_state(dataset.n_users), requests=asked)
    outputs, without = model(packed, model.start_state(dataset.n_users))
    assert torch.equal(with_requests, without)
    assert outputs.shape == (dataset.n_events, model.output_width)
    torch.testing.assert_close(model.readout(outputs, asked), told, rtol=0, atol=1e-5)

    nobody_knows = pack_requests(unknown_requests(len(rows)), CPU)
    silent, _ = model(packed, model.start_state(dataset.n_users), requests=nobody_knows)
    assert torch.equal(model.readout(outputs), outputs[:, :H])
    torch.testing.assert_close(silent, outputs[:, :H], rtol=0, atol=1e-6)

    some = torch.tensor([len(rows) - 1])
    kept, _ = model(packed, model.start_state(dataset.n_users), keep=some)
    torch.testing.assert_close(kept, outputs[some], rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_new_session_is_opened_in_every_block_and_for_the_readout_alone() -> None:
    """The second output by the paper's own equations: u' = GRU(session state, u), the session starts at tanh(W u')."""
    model = model_for(LOG, architecture="hierarchical", n_blocks=2, request_time="session")
    starts, lengths = LOG.user_offsets[[0]], np.array([5])  # a start token and four events
    outputs = encode(model, inputs_of(LOG), starts, lengths)
    packed, _ = pack(inputs_of(LOG), starts, lengths, CPU)
    _, state = model(packed, model.start_state(1))
    x = model.embed(packed)[-1:]
    for block, own in zip(model.blocks, state, strict=True):
        recurrence = block.recurrence
        assert isinstance(recurrence, HierarchicalGRU)
        x = x + torch.tanh(recurrence.start(recurrence.user(own[:, :H], own[:, H:])))
        x = x + block.feed_forward(x)
    torch.testing.assert_close(outputs[:, H:], model.norm(x), rtol=0, atol=1e-5)
    assert not torch.allclose(outputs[:, H:], outputs[:, :H], atol=1e-2)


@pytest.mark.parametrize("repeats", ["ignored", "mixed"])
@pytest.mark.parametrize("n_negatives", [0, 3])
@pytest.mark.parametrize(("architecture", "request_time"), [("control", ALL), ("hierarchical", "gap+session")])
def test_gradients_of_the_written_out_loss_are_autograds(
    architecture: str, request_time: str, n_negatives: int, repeats: str
) -> None:
    """By autograd alone: a recurrence step by step, the scores of all items, and cross-entropy."""
    model = model_for(
        LOG,
        architecture=architecture,
        request_time=request_time,
        repeats=repeats,
        n_negatives=n_negatives,
        scale=0.3,
        input_dropout=0.0,
        hidden_dropout=0.0,
        output_dropout=0.0,
    ).double()
    window, packed, rows = window_of(LOG)
    asked = pack_requests(requests_in(LOG).take(rows), CPU, known=rows % 3 > 0)
    targets = torch.from_numpy(LOG.items[rows]).long()
    outputs, _ = model(packed, model.start_state(LOG.n_users), requests=asked)
    shares = None
    if model.repeats is not None:
        shares = repeat_shares(model.repeats, outputs, packed, LOG, occurrences(LOG), window)
    if n_negatives:
        loss = sampled_softmax(model, outputs, targets, None, _EveryItem(), np.random.default_rng(0), shares)  # type: ignore[arg-type]
    else:
        loss = full_softmax(model, outputs, targets, None, shares)

    readouts = _step_by_step(model, packed, requests_in(LOG).take(rows), rows % 3 > 0)
    log_probabilities = torch.log_softmax(model.score(readouts), dim=1)[torch.arange(len(rows)), targets]
    if shares is not None and model.repeats is not None:
        own = repeat_shares(model.repeats, readouts, packed, LOG, occurrences(LOG), window)
        log_probabilities = torch.logaddexp(own[0] + log_probabilities, own[1])
    expected = -log_probabilities.mean()
    torch.testing.assert_close(loss, expected)
    leaves = dict(model.named_parameters())
    found = _gradients(loss, leaves)
    for name, wanted in _gradients(expected, leaves).items():
        torch.testing.assert_close(found[name], wanted, msg=lambda text, name=name: f"{name}: {text}")
    tables = [name for name in leaves if name.startswith("request_time")]
    assert all(found[name].abs().max() > 0 for name in tables)


class _EveryItem:
    """Negatives that are the whole catalogue, for certain: the sampled softmax is then the full one."""

    def draw(self, _: object) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(LOG.n_items), np.zeros(LOG.n_items)


def _gradients(loss: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if grad is None else grad.to_dense()
        for (name, leaf), grad in zip(leaves.items(), found, strict=True)
    }


def _step_by_step(model: HRNN, packed: PackedInputs, requests: RequestTimes, known: np.ndarray) -> Tensor:
    """Return the readouts (N, H) of a model of one block, every step and every new session made by itself."""
    block = model.blocks[0]
    recurrence = block.recurrence
    embedded = model.embed(packed)
    inner = block.norm(embedded)
    n_users = packed.step_sizes[0]
    hidden: list[Tensor] = [inner.new_zeros(H)] * n_users
    users: list[Tensor] = [inner.new_zeros(H)] * n_users
    rows, at = [], 0
    for size in packed.step_sizes:
        for user in range(size):
            h = hidden[user]
            if isinstance(recurrence, HierarchicalGRU) and int(packed.control[at]) == NEW_SESSION:
                users[user] = recurrence.user(h[None], users[user][None])[0]
                h = torch.tanh(recurrence.start(users[user]))
            gates, back = recurrence.input(inner[at]), h @ recurrence.recurrent
            reset = torch.sigmoid(gates[:H] + back[:H])
            update = torch.sigmoid(gates[H : 2 * H] + back[H : 2 * H])
            candidate = torch.tanh(gates[2 * H :] + reset * (back[2 * H :] + recurrence.candidate_bias))
            hidden[user] = h = (1 - update) * candidate + update * h
            opens = known[at] and int(requests.control[at]) == NEW_SESSION
            if opens and isinstance(recurrence, HierarchicalGRU):
                h = torch.tanh(recurrence.start(recurrence.user(h[None], users[user][None])[0]))
            x = embedded[at] + h
            readout = model.norm(x + block.feed_forward(x))
            if known[at]:
                assert model.request_time is not None
                tables = model.request_time
                hour, weekday = int(requests.clock[at]) % 24, int(requests.clock[at]) // 24
                places = [int(requests.gap_buckets[at]), int(requests.control[at]), hour, weekday]
                total = readout.new_zeros(2 * H)
                for table, place in zip([tables.gap, tables.session, tables.hour, tables.weekday], places, strict=True):
                    total = total if table is None else total + table[place]
                readout = readout * (1 + total[:H]) + total[H:]
            rows.append(readout)
            at += 1
    return torch.stack(rows)


@pytest.mark.parametrize("architecture", ["control", "hierarchical"])
def test_in_evaluation_the_first_truth_event_says_when(architecture: str) -> None:
    part = eval_part_of(LOG, [2, 2, 1])
    model = model_for(LOG, architecture=architecture, request_time=ALL)
    scores = score_rows(model, LOG, inputs_of(LOG), part, requests_in(LOG))(np.arange(3))
    unknown = score_rows(model, LOG, inputs_of(LOG), part)(np.arange(3))
    for row, first_truth in enumerate(part.truth_starts):
        start = LOG.user_offsets[part.users[row] : part.users[row] + 1]
        output = encode(model, inputs_of(LOG), start, first_truth - start + 1)
        asked = pack_requests(requests_in(LOG).take(np.array([first_truth])), CPU)
        with torch.no_grad():
            expected = model.score(model.readout(output, asked))[0].numpy()
        np.testing.assert_allclose(scores[row], expected, atol=1e-5)
        assert not np.allclose(scores[row], unknown[row], atol=1e-2)


def test_the_loss_is_the_plain_one_where_no_time_is_known() -> None:
    """What makes an answer without a time as good as that of a model that never had one."""
    plain, told = (model_for(LOG, request_time=request_time) for request_time in ("none", ALL))
    told.load_state_dict(plain.state_dict(), strict=False)
    _, packed, rows = window_of(LOG)
    targets = torch.from_numpy(LOG.items[rows]).long()
    silent = pack_requests(requests_in(LOG).take(rows), CPU, known=np.zeros(len(rows), dtype=np.bool_))
    one, _ = plain(packed, plain.start_state(LOG.n_users))
    other, _ = told(packed, told.start_state(LOG.n_users), requests=silent)
    assert torch.equal(full_softmax(plain, one, targets, None), full_softmax(told, other, targets, None))
    torch.testing.assert_close(F.cross_entropy(plain.score(one), targets), full_softmax(told, other, targets, None))
