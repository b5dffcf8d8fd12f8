"""Rivals trained here: on exactly our training events, for exactly our test users, ranked by our own metrics.

Run: .venv/bin/python scripts/benchmarks/rivals/rivals.py [--data data] [--rows 'ml-100k-loo-*,ml-1m-loo-als-*,…']

eSASRec and SASRec of RecTools and ALS of `implicit` run in an environment of their own, .venv-rivals, which the first
of their rows makes from rivals-requirements.txt (`--python` gives another). A driver (drivers/) gets training events,
validation users and the input of the test users, never their truth, and writes its lists as files for `hrnn-hpo
evaluate --rankings-from`; they lie in results/rivals. Beside them stand the baselines of `evaluate --baselines`, and
this project with its defaults and with its best/ configuration. One thread each.

Hyperparameters are the rivals' own: those of eSASRec's authors for ml-1m (blondered/transformer_benchmark), 256 sampled
negatives among them, whose SASRec differs in its layers alone. `sasrec` has RecTools' default loss instead, the full
softmax, `sasrec-sampled` theirs. Logs of fewer than 2,000 users get batches of 32 users in place of 128, four times the
updates for the same time. ALS begins with its library's defaults and chooses its constants on validation users. SASRec
trains for the log's budget of core-minutes at most, validation included, until 100 epochs are over or 50 have passed
without a better one; the weights of the best epoch on validation users rank the test users.
"""

import argparse
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from hrnn_hpo.config import Configuration, dump_configuration, load_configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.evaluation.baselines import BASELINES
from hrnn_hpo.experiment import prepare_experiment, test_part
from scripts.benchmarks.kit.logs import shuffle_ties, write_copy
from scripts.benchmarks.kit.rows import ROOT, Cell, Figures, Results, script_parser
from scripts.benchmarks.quality.hierarchy import make_log
from scripts.benchmarks.rivals.rivals_measure import measure_baseline, measure_ours, measure_rival
from scripts.benchmarks.rivals.rivals_report import report

REQUIREMENTS = Path(__file__).parent / "rivals-requirements.txt"
ENVIRONMENT = ROOT / ".venv-rivals"
BEST = ROOT / "search_spaces" / "best"


@dataclass(frozen=True)
class Log:
    data: str
    protocol: Protocol
    ties: str
    minutes: int  # of one core, that a rival may train
    seeds: tuple[int, ...] = (0,)  # of a split that draws users, of shuffled ties, and of every training
    users: float = 1.0  # the share that takes part


LOGS = {
    "ml-1m-loo": Log("ml-1m", "leave-one-out", "file", 90),
    "ml-1m-ties": Log("ml-1m", "leave-one-out", "shuffled", 90),
    "ml-100k-loo": Log("ml-100k", "leave-one-out", "file", 12, (0, 1, 2)),
    "ml-100k-personalize": Log("ml-100k", "personalize", "file", 12, (0, 1, 2, 3, 4)),
    "complete-journey-baskets": Log("complete-journey", "newest-tenth", "shuffled", 12, (0, 1, 2), users=0.1),
}

SASREC = {
    "n_factors": 64,
    "n_blocks": 2,
    "n_heads": 1,
    "dropout_rate": 0.1,
    "session_max_len": 200,
    "lr": 0.001,
    "batch_size": 128,
    "epochs": 100,
    "patience": 50,
}
FEW_USERS, SMALL_BATCH = 2_000, 32
SAMPLED = {"loss": "sampled_softmax", "n_negatives": 256}
ALS = {
    "iterations": 15,
    "grid": {"alpha": [1.0, 5.0, 20.0], "regularization": [0.01, 1.0, 10.0], "factors": [100, 32, 256]},
}
RIVALS: dict[str, tuple[str, dict[str, Any]]] = {
    "esasrec": ("rectools_sasrec.py", SASREC | SAMPLED | {"layers": "LiGR", "use_key_padding_mask": True}),
    "sasrec": ("rectools_sasrec.py", SASREC | {"loss": "softmax", "layers": "SASRec"}),
    "sasrec-sampled": ("rectools_sasrec.py", SASREC | SAMPLED | {"layers": "SASRec"}),
    "als": ("implicit_als.py", ALS),
}
OURS = ("hrnn-defaults", "hrnn-best")
SYSTEMS = (*RIVALS, *BASELINES, *OURS)


def rivals_python(asked: Path | None) -> Path:
    """Return the interpreter of the rivals' environment, made anew where it is not that of the requirements."""
    if asked is not None:
        return asked
    made_from, text = ENVIRONMENT / REQUIREMENTS.name, REQUIREMENTS.read_text(encoding="utf-8")
    python = ENVIRONMENT / "bin" / "python"
    if not made_from.exists() or made_from.read_text(encoding="utf-8") != text:
        print("making the rivals' environment …", file=sys.stderr, flush=True)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        made_from.write_text(text, encoding="utf-8")
    return python


def configuration_of(system: str, log: Log, seed: int) -> Configuration:
    """Return the configuration of one of our own rows; rivals and baselines read its split alone."""
    configuration = load_configuration(BEST / f"{log.data}.yaml") if system == "hrnn-best" else Configuration()
    drawn = {"protocol": log.protocol, "split_seed": seed, "seed": seed, "n_threads": 1}
    return configuration.model_copy(update={**drawn, "best_epoch": None, "data_hash": None})


@cache
def dataset_of(name: str, seed: int, data: Path, work: Path) -> Dataset:
    """Return a log of a seed, as it is or as a copy with ties shuffled."""
    log, source = LOGS[name], data / LOGS[name].data / "interactions.csv"
    if log.data == "complete-journey":
        copy = work / f"complete-journey-{log.users}-{seed}.csv"
        return load_dataset(write_copy(source, copy, lambda events: make_log(events, log.users, seed)))
    if log.ties == "shuffled":
        return load_dataset(
            write_copy(source, work / f"{log.data}-shuffled-{seed}.csv", lambda events: shuffle_ties(events, seed))
        )
    return load_dataset(source)


def cell(key: tuple[str, str, int], options: argparse.Namespace, work: Path) -> Cell | None:
    """Return the cell of a log, a system and a seed; None for a baseline that the log does not have."""
    name, system, seed = key
    log, dataset = LOGS[name], dataset_of(name, seed, options.data, work)
    configuration = configuration_of(system, log, seed)
    experiment = prepare_experiment(dataset, configuration)
    settings: dict[str, Any] = {
        "log": name,
        "protocol": log.protocol,
        "ties": log.ties,
        "system": system,
        "seed": seed,
        "users": log.users,
        "seen": experiment.seen,
        "n_items": dataset.n_items,
        "knows_request_time": False,
        "trains_on_last_but_one": False,
        "data_hash": dataset.content_hash,
    }
    row = "-".join(map(str, key))
    measure: Callable[[], Figures]
    if system in RIVALS:
        driver, hyperparameters = RIVALS[system]
        asked: dict[str, Any] = {"hyperparameters": hyperparameters, "seed": seed, "threads": 1}
        if driver == "rectools_sasrec.py":
            if dataset.n_users < FEW_USERS:
                asked["hyperparameters"] = hyperparameters | {"batch_size": SMALL_BATCH}
            asked["budget_core_seconds"] = 60 * (options.minutes or log.minutes)
        settings |= asked
        python = partial(rivals_python, options.python)
        measure = partial(measure_rival, row, experiment, work, python, driver, asked)
    elif system in BASELINES:
        baseline = BASELINES[system]
        if not experiment.apart and baseline.wants_repeats:
            return None
        if baseline.why_not(dataset, experiment.split.train, test_part(experiment)):
            return None
        measure = partial(measure_baseline, system, experiment)
    else:
        settings["hyperparameters"] = dump_configuration(experiment.configuration)["hyperparameters"]
        measure = partial(measure_ours, row, experiment)
    return Cell(settings, measure)


def main() -> None:
    parser = script_parser(__doc__, "rivals")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where ml-1m, ml-100k and complete-journey lie")
    parser.add_argument("--python", type=Path, help="interpreter of the rivals' environment; default: .venv-rivals")
    parser.add_argument("--minutes", type=int, help="core-minutes that a rival may train; default: the log's")
    options = parser.parse_args()
    results = Results("rivals", options)
    results.work.mkdir(parents=True, exist_ok=True)
    known = {
        "-".join(map(str, key)): key
        for name, log in LOGS.items()
        for seed in log.seeds
        for system in SYSTEMS
        for key in [(name, system, seed)]
    }
    for row in results.chosen(list(known)):
        found = cell(known[row], options, results.work)
        if found is not None:
            results.measure(row, found)
    results.show(report)


if __name__ == "__main__":
    main()
