"""The whole network: chunks and single events equal the batch, the future stays unknown, scores are tied."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import inputs_of, model_for, rows_of
from torch import Tensor

from hrnn_hpo.config import Hyperparameters
from hrnn_hpo.data.featurize import ValueScale
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import Event, make_dataset
from hrnn_hpo.model.hrnn import HRNN, Catalogue
from hrnn_hpo.model.inputs import PackedInputs, pack

CPU = torch.device("cpu")
BODIES = [
    {"architecture": "control"},
    {"architecture": "hierarchical", "hierarchy": "init"},
    {"architecture": "hierarchical", "hierarchy": "all"},
]
bodies = pytest.mark.parametrize("body", BODIES, ids=["control", "init", "all"])


def history(seed: int, n_events: int) -> list[Event]:
    """A history with events of every kind, pauses inside and between sessions."""
    generator = np.random.default_rng(seed)
    times = np.cumsum(generator.choice([0, 60, 600, 4000, 100_000], size=n_events))
    return [
        (f"i{item}", int(time), ["view", "buy"][kind], float(value))
        for item, time, kind, value in zip(
            generator.integers(9, size=n_events),
            times,
            generator.integers(2, size=n_events),
            generator.integers(5, size=n_events),
            strict=True,
        )
    ]


@pytest.fixture
def dataset() -> Dataset:
    lengths = [40, 31, 31, 12, 5, 1]
    return make_dataset(
        [history(seed, length) for seed, length in enumerate(lengths)], extra_items=[f"i{n}" for n in range(9)]
    )


@torch.no_grad()
def outputs_in_chunks(model: HRNN, dataset: Dataset, steps: int) -> tuple[Tensor, Tensor]:
    """Return the output of every event's step, (N, H), and the final states, read `steps` events at a time."""
    inputs = inputs_of(dataset)
    position, left = rows_of(dataset, range(dataset.n_users))  # users stand by descending length
    position, left = position.copy(), left.copy()
    outputs = torch.full((dataset.n_events, model.hidden_dimension), torch.nan)
    final = model.start_state(dataset.n_users)
    while (n := int(np.count_nonzero(left))) > 0:
        size = np.minimum(left[:n], steps)
        packed, rows = pack(inputs, position[:n], size, CPU)
        done, final[:, :n] = model(packed, final[:, :n], bptt=3)
        outputs[torch.from_numpy(rows)] = done
        position[:n] += size
        left[:n] -= size
    return outputs, final


@bodies
@pytest.mark.parametrize("n_blocks", [1, 2])
@pytest.mark.parametrize("steps", [1, 7, 16])
def test_chunks_and_single_events_give_the_states_of_the_whole_history(
    dataset: Dataset, body: dict[str, str], n_blocks: int, steps: int
) -> None:
    model = model_for(dataset, n_blocks=n_blocks, **body)
    whole, whole_final = outputs_in_chunks(model, dataset, 1000)
    chunked, final = outputs_in_chunks(model, dataset, steps)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(final, whole_final, rtol=0, atol=1e-5)
    assert whole.std() > 0.1  # the states do differ from step to step


@bodies
def test_what_comes_later_changes_nothing_before(body: dict[str, str]) -> None:
    vocabulary = [[(f"i{item}", 0, kind, 0.0) for item in range(9) for kind in ("view", "buy")]]
    past, future = history(0, 10), history(1, 10)
    shifted = [(item, time + 10**7, kind, value) for item, time, kind, value in future]
    earlier = [(item, time + 10**6, "buy", 9.0) for item, time, _, _ in reversed(future)]
    earlier.sort(key=lambda event: event[1])
    one, other = (make_dataset([[*past, *later], *vocabulary]) for later in (shifted, earlier))
    model = model_for(one, **body)
    first, second = (outputs_in_chunks(model, log, 1000)[0] for log in (one, other))
    assert torch.equal(first[:11], second[:11])  # up to the step that predicts the first later event
    assert not torch.allclose(first[11], second[11])


def test_users_do_not_see_each_other(dataset: Dataset) -> None:
    model = model_for(dataset, architecture="hierarchical", hierarchy="all")
    together, _ = outputs_in_chunks(model, dataset, 1000)
    inputs = inputs_of(dataset)
    for user in range(dataset.n_users):
        start, length = rows_of(dataset, [user])
        packed, rows = pack(inputs, start, length, CPU)
        with torch.no_grad():
            alone, _ = model(packed, model.start_state(1))
        torch.testing.assert_close(alone, together[rows], rtol=0, atol=1e-5)


@bodies
def test_the_gradient_runs_back_bptt_steps_and_no_further(body: dict[str, str]) -> None:
    dataset = make_dataset([[(f"i{step:02d}", 4000 * step) for step in range(12)]])  # no item twice
    model = model_for(dataset, n_blocks=2, **body)
    packed, _ = pack(inputs_of(dataset), np.array([0]), np.array([12]), CPU)

    def reached(bptt: int) -> list[int]:
        model.zero_grad()
        outputs, _ = model(packed, model.start_state(1), bptt)
        outputs[11].sum().backward()
        assert model.item_embedding.grad is not None
        return model.item_embedding.grad.abs().sum(dim=1).nonzero()[:, 0].tolist()

    # Step t reads item t - 1, and the start token (item 12) comes first; step 11 reads item 10.
    assert reached(100) == [*range(11), 12]
    assert reached(4) == [7, 8, 9, 10]
    assert reached(2) == [9, 10]


@bodies
def test_keep_gives_the_rows_asked_for(dataset: Dataset, body: dict[str, str]) -> None:
    model = model_for(dataset, n_blocks=2, **body)
    start, length = rows_of(dataset, range(dataset.n_users))
    packed, _ = pack(inputs_of(dataset), start, length, CPU)
    state = model.start_state(dataset.n_users)
    rows = torch.tensor([5, 0, 44])
    with torch.no_grad():
        every, final = model(packed, state)
        some, same_final = model(packed, state, keep=rows)
    torch.testing.assert_close(some, every[rows], rtol=0, atol=1e-6)
    assert torch.equal(final, same_final)


@torch.no_grad()
def test_scores_are_products_with_the_input_embedding_and_the_start_token_has_none(dataset: Dataset) -> None:
    model = model_for(dataset)
    outputs = torch.randn(3, model.hidden_dimension)
    scores = model.score(outputs)
    assert scores.shape == (3, dataset.n_items)
    literal = [
        [float(outputs[row] @ model.item_embedding[item] + model.item_bias[item]) for item in range(dataset.n_items)]
        for row in range(3)
    ]
    torch.testing.assert_close(scores, torch.tensor(literal))
    assert len(model.item_embedding) == dataset.n_items + 1


def test_scores_start_at_the_log_frequencies() -> None:
    model = HRNN(Catalogue(n_items=3), Hyperparameters(hidden_dimension=4))
    model.set_popularity(torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-5.0, -5.0, 0.0]))
    torch.testing.assert_close(model.score(torch.zeros(1, 4)), torch.tensor([[-1.0, -2.0, -3.0]]))


def test_recency_mask_adds_one_learned_multiple_of_recent_popularity() -> None:
    model = HRNN(Catalogue(n_items=3), Hyperparameters(hidden_dimension=4, recency_mask=True))
    model.set_popularity(torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-5.0, -5.0, 0.0]))
    assert model.popularity_scale is not None
    assert model.popularity_scale.tolist() == [0.0]
    with torch.no_grad():
        model.popularity_scale.fill_(2.0)
    torch.testing.assert_close(model.score_bias(), torch.tensor([-11.0, -12.0, -3.0]))
    assert "log_recent_popularity" in model.state_dict()  # it belongs to the model, not to the data at hand


@pytest.mark.parametrize(
    ("option", "parameter"),
    [
        ("time_gaps", "gap_embedding"),
        ("control_signal", "control_embedding"),
        ("event_inputs", "type_embedding"),
        ("event_inputs", "value_projection"),
        ("recency_mask", "popularity_scale"),
    ],
)
def test_a_part_that_is_off_is_not_built(dataset: Dataset, option: str, parameter: str) -> None:
    assert getattr(model_for(dataset, **{option: True}), parameter) is not None
    assert getattr(model_for(dataset, **{option: False}), parameter) is None


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("time_gaps", lambda event: (event[0], event[1] * 2, *event[2:])),  # the same order, longer pauses
        ("event_inputs", lambda event: (*event[:2], "buy" if event[2] == "view" else "view", event[3])),
        ("event_inputs", lambda event: (*event[:3], event[3] + 1)),
    ],
    ids=["time gap", "event type", "event value"],
)
def test_an_input_counts_only_where_its_option_is_on(option: str, change: object) -> None:
    assert callable(change)
    events = [(f"i{step % 5}", 60 * step, ["view", "buy"][step % 2], float(step)) for step in range(10)]
    log, changed = make_dataset([events]), make_dataset([[change(event) for event in events]])
    for on in (True, False):
        model = model_for(log, **{option: on})
        left, right = (outputs_in_chunks(model, data, 100)[0] for data in (log, changed))
        assert torch.equal(left, right) != on


def test_values_are_read_on_the_scale_of_the_training_events() -> None:
    """(3 - 2) / 0.5 = 2; an empty one is the mean; 9 would be 14 deviations and is read as 5."""
    log = make_dataset([[("a", 0, None, 3.0), ("a", 1), ("a", 2, None, 2.0), ("a", 3, None, 9.0), ("a", 4, None, 1.0)]])
    model = model_for(log, value_scale=ValueScale(2.0, 0.5, 5.0))
    assert model.value_projection is not None
    packed, _ = pack(inputs_of(log), np.array([0]), np.array([5]), torch.device("cpu"))
    shift = model.embed(packed) - model.embed(replace(packed, event_values=None))
    expected = torch.tensor([0.0, 2.0, 0.0, 0.0, 5.0])  # the start token first
    torch.testing.assert_close(shift, expected[:, None] * model.value_projection)


def test_values_far_from_zero_keep_their_differences() -> None:
    model = model_for(make_dataset([[("a", 0, None, 1.0)]]), value_scale=ValueScale(1e6 + 0.3, 0.5, 5.0))
    inputs = PackedInputs(
        items=torch.zeros(1, dtype=torch.int64),
        gap_buckets=torch.zeros(1, dtype=torch.int64),
        control=torch.zeros(1, dtype=torch.int64),
        event_types=None,
        event_values=torch.tensor([1e6 + 1]),
        step_sizes=[1],
        new_sessions=np.zeros(0, dtype=np.int64),
    )
    shift = model.embed(inputs) - model.embed(replace(inputs, event_values=None))
    assert model.value_projection is not None
    torch.testing.assert_close(shift[0], 1.4 * model.value_projection)


def test_data_without_types_and_values_builds_no_inputs_for_them() -> None:
    model = model_for(make_dataset([[("a", 0), ("b", 1)]]))
    assert model.type_embedding is None
    assert model.value_projection is None


def test_a_session_start_reaches_both_architectures_their_own_way() -> None:
    """One pause more: the control signal changes for one, the state is rebuilt for the other."""
    short = make_dataset([[(f"i{step}", 60 * step) for step in range(6)]])
    long = make_dataset([[(f"i{step}", 60 * step + 5000 * (step >= 3)) for step in range(6)]])
    for body in BODIES:
        for signal in (True, False):
            model = model_for(short, time_gaps=False, control_signal=signal, **body)
            left, right = (outputs_in_chunks(model, data, 100)[0] for data in (short, long))
            assert torch.equal(left[:4], right[:4])  # step 4 is the first to read event 3
            differs = not torch.equal(left[4:], right[4:])
            assert differs == (signal or body["architecture"] == "hierarchical")


def test_training_mode_drops_out_and_evaluation_mode_does_not(dataset: Dataset) -> None:
    model = model_for(dataset, input_dropout=0.5, hidden_dropout=0.5, output_dropout=0.5)
    once, again = (outputs_in_chunks(model, dataset, 100)[0] for _ in range(2))
    assert torch.equal(once, again)
    model.train()
    once, again = (outputs_in_chunks(model, dataset, 100)[0] for _ in range(2))
    assert not torch.equal(once, again)
