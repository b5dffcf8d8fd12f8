"""What further heads are worth where the truth is a set of coming events: ml-100k and complete-journey, three seeds.

Run: .venv/bin/python scripts/benchmarks/quality/further_heads.py [--users 0.1] [--rows 'ml-100k-*,baskets-none-0,…']

A variant is `none` (the next event alone), `W`, the weight of the further heads (`further_heads_weight`), or `ahead-K`
(`targets_ahead: K`), the other way to learn of later events. `ml-100k` is ablation.py's base with one block under
`personalize`, the seeds being those of the split too; `baskets` is hierarchy.py's log of complete-journey, H = 64,
under `newest-tenth`, with the household's own products mixed in. Choices belong to the validation column. The same
seeds draw all variants, so the differences to `none` are paired.

The product ranks by the next event's head alone. A model with further heads is also asked for mixtures of all heads'
probabilities: `equal` parts, and `events`, a part for each event that a head speaks for (1, 3 and 6). About half a
minute a row on a quiet core; an interrupted row resumes from its last epoch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrnn_hpo.config import Configuration, parse_hyperparameters
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.repeats import OwnItems
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.experiment import (
    Experiment,
    ExperimentResult,
    evaluate_model,
    prepare_experiment,
    run_experiment,
    test_part,
)
from hrnn_hpo.model.further_heads import HORIZONS
from hrnn_hpo.model.hrnn import HRNN
from scripts.benchmarks.kit.logs import write_copy
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import mean_and_error, of_seeds, table
from scripts.benchmarks.quality import ablation, hierarchy

SEEDS = (0, 1, 2)
METRIC = "ndcg_at_10"
ROLES = ("validation", "test")
LOGS = ("ml-100k", "baskets")
NONE = "none"
VARIANTS = (NONE, "0.2", "0.5", "1.0", "ahead-4")
PARTS_OF = {"ml-100k": ("",), "baskets": ("", "_repeats", "_new")}
SHARES = {  # of the heads in what ranks: the next event's first
    "equal": (1 / 3, 1 / 3, 1 / 3),
    "events": (0.1, *((last - first + 1) / 10 for first, last in HORIZONS)),
}


class ByHeads(HRNN):
    """A trained model whose answers mix its heads' probabilities; it takes over what the model has."""

    shares: tuple[float, ...]

    def readout(self, outputs: Tensor, requests: Any = None) -> Tensor:
        own = super().readout(outputs, requests)
        assert self.further_heads is not None
        later = [self.further_heads(own, np.full(len(own), first)) for first, _ in HORIZONS]
        return torch.cat([own, *later], dim=1)  # (R, 3H)

    def score(self, outputs: Tensor) -> Tensor:
        return self._mixed(outputs, lambda readouts: torch.log_softmax(HRNN.score(self, readouts), dim=1))

    def score_after(self, outputs: Tensor, own: OwnItems) -> Tensor:
        if self.repeats is None:
            return self.score(outputs)
        mix = self.repeats.mix
        return self._mixed(outputs, lambda readouts: mix(HRNN.score(self, readouts), readouts, own))

    def score_without_own(self, outputs: Tensor) -> Tensor:
        return self._mixed(outputs, lambda readouts: HRNN.score_without_own(self, readouts))

    def _mixed(self, outputs: Tensor, log_probabilities: Any) -> Tensor:
        found = [
            log_probabilities(readouts) + float(np.log(share))
            for share, readouts in zip(self.shares, outputs.split(self.hidden_dimension, dim=1), strict=True)
        ]
        return torch.stack(found).logsumexp(dim=0)


def asked_by(model: HRNN, shares: tuple[float, ...]) -> HRNN:
    """Return the model as it answers by a mixture of its heads."""
    asked = ByHeads.__new__(ByHeads)
    asked.__dict__ = dict(model.__dict__)
    asked.shares = shares
    return asked


def configuration_of(log: str, variant: str, seed: int) -> Configuration:
    changes: dict[str, Any] = {"targets_ahead": 1.0}
    if variant.startswith("ahead-"):
        changes["targets_ahead"] = int(variant.removeprefix("ahead-"))
    elif variant != NONE:
        changes["further_heads_weight"] = float(variant)
    if log == "ml-100k":
        values, split_seed, protocol = ablation.BASE | {"n_blocks": 1} | changes, seed, "personalize"
    else:
        own = {"repeats": "mixed", "hidden_dimension": 64, "epochs": 4}
        values, split_seed, protocol = hierarchy.COMMON | own | changes, 0, "newest-tenth"
    return Configuration(
        hyperparameters=parse_hyperparameters(values, "further_heads.py"),
        protocol=protocol,
        split_seed=split_seed,
        seed=seed,
        n_threads=1,
    )


def measure(name: str, dataset: Dataset, configuration: Configuration, checkpoint: Path) -> Figures:
    """Return a training's figures on validation and test users, the test users' by each way to rank."""
    torch.set_num_threads(1)
    experiment = prepare_experiment(dataset, configuration)
    result = run_experiment(experiment, device="cpu", checkpoint=checkpoint)
    figures: Figures = {
        "best_epoch": result.best_epoch,
        "n_epochs": len(result.history),
        "seen": experiment.seen,
        "seconds": sum(report.seconds + report.validation_seconds for report in result.history),
        "targets_per_second": float(np.median([report.targets_per_second for report in result.history])),
        "validation": answers(result, experiment, "validation"),
        "test": answers(result, experiment, "test"),
    }
    told = {role: {ranked: round(found[METRIC], 4) for ranked, found in figures[role].items()} for role in ROLES}
    print(f"{name}: best epoch {result.best_epoch}, {told}", flush=True)
    return figures


def answers(result: ExperimentResult, experiment: Experiment, role: str) -> dict[str, Mapping[str, float]]:
    part = experiment.split.validation if role == "validation" else test_part(experiment)
    assert part is not None
    found = {"next": evaluate_model(result.model, experiment, part).metrics}
    if result.model.further_heads is not None:
        for ranked, shares in SHARES.items():
            found[ranked] = evaluate_model(asked_by(result.model, shares), experiment, part).metrics
    return found


def report(rows: Rows) -> str:
    """Return a table for each log, of the variants whose seeds are all finished."""
    found = [table_of(log, rows) for log in LOGS]
    note = (
        f"{METRIC}, mean ± standard error over {len(SEEDS)} seeds; seen items removed on ml-100k, kept on the baskets. "
        "`ranked by`: the next event's head, or a mixture of all heads, in equal parts or by the events they speak for."
    )
    return "\n\n".join([*(text for text in found if text), note])


def table_of(log: str, rows: Rows) -> str:
    base = of_seeds(rows, f"{log}-{NONE}", SEEDS)
    lines: list[list[object]] = []
    for variant in VARIANTS:
        done = of_seeds(rows, f"{log}-{variant}", SEEDS)
        for ranked in ("next", *SHARES) if done else ():
            if ranked not in done[0].figures["test"]:
                continue
            cells = []
            for role in ROLES:
                cells += [mean_and_error(values(done, role, ranked, METRIC + part)) for part in PARTS_OF[log]]
                cells.append(_gain(done, base, role, ranked) if (variant, ranked) != (NONE, "next") else "")
            epochs = ", ".join(str(row.figures["best_epoch"]) for row in done)
            speed = f"{sum(row.figures['targets_per_second'] for row in done) / len(done):,.0f}"
            lines.append([variant, ranked, *cells, *((epochs, speed) if ranked == "next" else ("", ""))])
    if not lines:
        return ""
    heads = []
    for role in ROLES:
        heads += [f"{role}{', ' + part.strip('_') if part else ''}" for part in PARTS_OF[log]]
        heads.append("minus none")
    return f"**{log}**\n\n{table(['variant', 'ranked by', *heads, 'best epochs', 'targets/s'], lines)}"


def values(done: list[Row], role: str, ranked: str, metric: str) -> list[float]:
    return [row.figures[role][ranked][metric] for row in done]


def _gain(done: list[Row], base: list[Row], role: str, ranked: str) -> str:
    if len(base) != len(done):
        return ""
    ours, theirs = values(done, role, ranked, METRIC), values(base, role, "next", METRIC)
    return mean_and_error([mine - other for mine, other in zip(ours, theirs, strict=True)])


def main() -> None:
    parser = script_parser(__doc__, "further_heads")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of ml-100k and complete-journey")
    parser.add_argument("--users", type=float, default=0.1, help="share of complete-journey's households")
    options = parser.parse_args()
    results = Results("further_heads", options)

    def log_of(log: str, seed: int) -> Path:
        if log == "ml-100k":
            path: Path = options.data / log
            return path
        return write_copy(
            options.data / "complete-journey" / "interactions.csv",
            results.work / f"users-{options.users}-seed-{seed}.csv",
            lambda events: hierarchy.make_log(events, options.users, seed),
        )

    def cell(name: str) -> Cell:
        log = next(log for log in LOGS if name.startswith(log))
        variant, number = name.removeprefix(f"{log}-").rsplit("-", 1)
        dataset, configuration = load_dataset(log_of(log, int(number))), configuration_of(log, variant, int(number))
        settings = {"log": log, "variant": variant, "data_hash": dataset.content_hash, "seed": int(number)}
        settings |= {"users": options.users} if log == "baskets" else {}
        settings |= {"hyperparameters": configuration.hyperparameters.model_dump()}
        checkpoint = results.work / f"{name}.checkpoint"
        return Cell(settings, lambda: measure(name, dataset, configuration, checkpoint), leftovers=[checkpoint])

    known = [f"{log}-{variant}-{seed}" for log in LOGS for variant in VARIANTS for seed in SEEDS]
    for name in results.chosen(known):
        results.measure(name, cell(name))
    results.show(report)


if __name__ == "__main__":
    main()
