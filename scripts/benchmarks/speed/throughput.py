"""Training speed on ml-100k against this machine's own limit: the sum of its parts, each measured alone.

Run: .venv/bin/python scripts/benchmarks/speed/throughput.py [--data DIR] [--threads N]

The parts of a configuration are its three products with the item embedding and one softmax, the forward and backward
pass of PyTorch's own fused GRU with its input projection, and the element-wise rest (embedding sums, dropout masks,
norms, residual sum, their gradients, clipping, AdamW), each in this run and at the block size that suits it best.
`arithmetic` counts the products, the softmax and the GRU alone. The trainer's figure is the median of its real epochs,
everything included. The parts are measured before and after the epochs, and the faster time counts.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.featurize import N_CONTROL_SIGNALS, N_GAP_BUCKETS
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment
from hrnn_hpo.model.hrnn import HRNN, Catalogue
from hrnn_hpo.model.inputs import PackedInputs
from hrnn_hpo.training.optimizer import Optimizer
from scripts.benchmarks.kit.machine import median_seconds
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table

N_TARGETS, STEPS = 8192, 32  # of the window whose parts are measured
USERS, BPTT = 256, 64  # of an update of the trainer: its fastest of 128 to 384 users and 32 or 64 steps on two threads


def machine_limit(hidden: int, n_items: int) -> dict[str, float]:
    """Return the time of each part in microseconds per target."""
    seconds: dict[str, float] = {}
    products, softmax = [], []
    for rows in (256, 512, 1024, 2048):
        states, items = torch.randn(rows, hidden), torch.randn(n_items, hidden)
        logits, out, grad = torch.randn(rows, n_items), torch.empty(rows, hidden), torch.zeros(n_items, hidden)
        bias = torch.zeros(n_items)

        def multiply(states=states, items=items, logits=logits, out=out, grad=grad, bias=bias) -> None:
            torch.addmm(bias, states, items.t(), out=logits)
            torch.mm(logits, items, out=out)
            grad.addmm_(logits.t(), states)

        products.append(median_seconds(multiply) / rows)
        softmax.append(median_seconds(lambda logits=logits: torch.softmax(logits, dim=1, out=logits)) / rows)
    seconds["products with the items"] = min(products)
    seconds["softmax"] = min(softmax)

    recurrent = []
    for users in (64, 128, 256, 512):
        gru = torch.nn.GRU(hidden, hidden)
        x, state = torch.randn(STEPS, users, hidden, requires_grad=True), torch.zeros(1, users, hidden)
        recurrent.append(
            median_seconds(lambda gru=gru, x=x, state=state: gru(x, state)[0].sum().backward(), 5) / (STEPS * users)
        )
    seconds["fused GRU"] = min(recurrent)

    seconds["element-wise"] = _element_wise_seconds(hidden, n_items)
    return {name: 1e6 * value for name, value in seconds.items()}


class _NoRecurrence(torch.nn.Module):
    def forward(self, x: torch.Tensor, state: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        return x, state


def _element_wise_seconds(hidden: int, n_items: int) -> float:
    """Return the seconds per target of a training step from which products, softmax and recurrence are taken out."""
    hyperparameters = parse_hyperparameters({"hidden_dimension": hidden, "feed_forward": 0}, "benchmark")
    model = HRNN(Catalogue(n_items), hyperparameters)
    model.blocks[0].recurrence = _NoRecurrence()
    optimizer = Optimizer(model, 1e-3, 0.01)
    inputs = PackedInputs(
        items=torch.randint(0, n_items, (N_TARGETS,)),
        gap_buckets=torch.randint(0, N_GAP_BUCKETS, (N_TARGETS,)),
        control=torch.randint(0, N_CONTROL_SIGNALS, (N_TARGETS,)),
        event_types=None,
        event_values=None,
        step_sizes=[N_TARGETS // STEPS] * STEPS,
        new_sessions=np.zeros(0, dtype=np.int64),
    )
    state, slope = model.start_state(N_TARGETS // STEPS), torch.randn(N_TARGETS, hidden)

    def step() -> None:
        optimizer.zero_grad()
        outputs, _ = model(inputs, state)
        outputs.backward(slope)
        optimizer.clip_gradients(1.0)
        optimizer.step()

    return median_seconds(step) / N_TARGETS


def trainer_speed(data: Path, hidden: int, architecture: str, threads: int, epochs: int) -> float:
    """Return the median targets per second of a real epoch with one recurrent layer and no feed-forward part."""
    hyperparameters = parse_hyperparameters(
        {
            "hidden_dimension": hidden,
            "architecture": architecture,
            "feed_forward": 0,
            "batch_size": USERS,
            "bptt": BPTT,
            "max_user_history_length_percentile": 1.0,
        },
        "benchmark",
    )
    experiment = prepare_experiment(
        load_dataset(data), Configuration(hyperparameters=hyperparameters, n_threads=threads)
    )
    result = run_experiment(experiment, device="cpu", fixed_epochs=epochs)
    speeds = sorted(report.targets_per_second for report in result.history[1:])
    return speeds[len(speeds) // 2]


def measure(data: Path, hidden: int, threads: int, epochs: int) -> Figures:
    """Return the microseconds of each part and the trainer's targets a second by architecture."""
    torch.set_num_threads(threads)
    n_items = load_dataset(data).n_items
    before = machine_limit(hidden, n_items)
    speeds = {
        architecture: trainer_speed(data, hidden, architecture, threads, epochs)
        for architecture in ("control", "hierarchical")
    }
    after = machine_limit(hidden, n_items)
    return {"microseconds": {name: min(before[name], after[name]) for name in before}, "targets_per_second": speeds}


def report(rows: Rows) -> str:
    lines: list[list[object]] = []
    for row in rows.values():
        parts = row.figures["microseconds"]
        limit = row.figures.get("limit") or 1e6 / sum(parts.values())
        arithmetic = 1e6 / (1e6 / limit - parts["element-wise"])
        for architecture, speed in row.figures["targets_per_second"].items():
            cells = [f"{part:.2f}" for part in parts.values()]
            shares = f"{speed / limit:.0%}", f"{speed / arithmetic:.0%}"
            asked = row.settings["threads"], row.settings["hidden"]
            lines.append([*asked, architecture, *cells, f"{limit:,.0f}", f"{speed:,.0f}", *shares])
    columns = [f"{name}, µs" for name in ("products with the items", "softmax", "fused GRU", "element-wise")]
    return table(
        [
            "threads",
            "H",
            "architecture",
            *columns,
            "limit, targets/s",
            "trainer",
            "share of the limit",
            "of arithmetic",
        ],
        lines,
    )


def main() -> None:
    parser = script_parser(__doc__, "throughput")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    results = Results("throughput", options)
    settings = {"data": options.data.name, "threads": options.threads, "epochs": options.epochs}
    results.run(
        {
            f"threads={options.threads}-H={hidden}": Cell(
                settings | {"hidden": hidden},
                partial(measure, options.data, hidden, options.threads, options.epochs),
                threads=options.threads,
            )
            for hidden in (64, 128)
        }
    )
    results.show(report)


if __name__ == "__main__":
    main()
