"""Training speed on ml-100k against this machine's own limit: the sum of the parts that nobody can leave out.

Run: .venv/bin/python scripts/benchmarks/throughput.py [--data DIR] [--threads N] [--write]

The limit of a configuration is the time of its three products with the item embedding, one softmax, the forward and
backward pass of PyTorch's own fused GRU, and a pass of norms, embedding and AdamW, each measured alone in this run at
the block size that suits it best. The trainer's figure is its real epoch, everything included.
"""

import argparse
from pathlib import Path

import torch
from machine import describe_machine, median_seconds, table, write_section
from torch.nn import functional as F

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.experiment import prepare_experiment, run_experiment

N_TARGETS, STEPS = 8192, 32  # of the window whose parts are measured


def machine_limit(hidden: int, n_items: int) -> dict[str, float]:
    """Return the seconds per target of each part, in microseconds."""
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

    embedding = torch.nn.Parameter(torch.randn(n_items + 1, hidden))
    norm = torch.nn.LayerNorm(hidden)
    optimizer = torch.optim.AdamW([embedding, *norm.parameters()], fused=True)
    rows = torch.randint(0, n_items, (N_TARGETS,))

    def rest() -> None:
        optimizer.zero_grad()
        norm(norm(F.embedding(rows, embedding))).sum().backward()
        optimizer.step()

    seconds["embedding, norms, optimizer"] = median_seconds(rest) / N_TARGETS
    return {name: 1e6 * value for name, value in seconds.items()}


def trainer_speed(data: Path, hidden: int, architecture: str, threads: int, epochs: int) -> float:
    """Return the best epoch's targets per second of the real trainer, one recurrent layer, no feed-forward part."""
    hyperparameters = parse_hyperparameters(
        {
            "hidden_dimension": hidden,
            "architecture": architecture,
            "feed_forward": 0,
            "batch_size": 256,
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--write", action="store_true", help="put the result into docs/benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    n_items = load_dataset(options.data).n_items
    rows: list[list[object]] = []
    for hidden in (64, 128):
        parts = machine_limit(hidden, n_items)
        limit = 1e6 / sum(parts.values())
        for architecture in ("control", "hierarchical"):
            speed = trainer_speed(options.data, hidden, architecture, options.threads, options.epochs)
            rows.append(
                [hidden, architecture, *(f"{part:.1f}" for part in parts.values()), f"{limit:,.0f}", f"{speed:,.0f}",
                 f"{speed / limit:.0%}"]
            )  # fmt: skip
    body = table(
        ["H", "architecture", *(f"{name}, µs" for name in parts), "limit, targets/s", "trainer", "share"], rows
    )
    print(describe_machine(), body, sep="\n\n")
    if options.write:
        command = f"scripts/benchmarks/throughput.py --threads {options.threads}"
        write_section(f"Training speed against the machine's limit, {options.threads} thread(s)", command, body)


if __name__ == "__main__":
    main()
