"""What `train` learns with its defaults on logs of many kinds: beside the best of 8 random trials, and the baselines.

Run: .venv/bin/python scripts/benchmarks/quality/defaults.py [--data data] [--rows 'ml-1m-600-*,…']

Every log is trained with the defaults under three seeds, and once with each of 8 configurations drawn from the space
`hrnn`. All figures are ndcg_at_10 on the same validation users; no test user is opened. The goals: the defaults reach
nine tenths of the best random trial, and no baseline is ahead of them by more than the standard error of the
difference over these users. No log has more than 254,000 events. ml-100k, ml-1m and complete-journey must be fetched
into --data. One thread; a row takes 1 to 15 minutes, the whole grid some 6 hours.
"""

import random
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np
import optuna
import pandas as pd

from hrnn_hpo.config import Configuration, Hyperparameters
from hrnn_hpo.data import USER_ID
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.schema import Dataset
from hrnn_hpo.data.synthetic import markov
from hrnn_hpo.experiment import compare_baselines, evaluate_model, prepare_experiment, run_experiment
from hrnn_hpo.search.space import load_space, suggest
from scripts.benchmarks.kit.logs import fifth_of_journey, some_users, write_copy
from scripts.benchmarks.kit.made_up_logs import browsing
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Row, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

METRIC = "ndcg_at_10"
SEEDS = (0, 1, 2)
N_RANDOM = 8
GOAL = 0.9
# The start `users` came into the space after the first rows: without it all random trials are drawn alike.
DRAWN = {"item_start": {"choices": ["random", "neighbours"]}}

# Made up: the events of users with tastes, with and without what a log may have beside user, item and time.
MADE_UP: dict[str, Callable[[], Dataset]] = {
    "markov-300": lambda: markov(n_users=2_000, n_items=300, n_events=50),
    "markov-3000": lambda: markov(n_users=2_000, n_items=3_000, n_events=50),
    "browsing-300": lambda: browsing(n_items=300),
    "browsing-300-repeats": lambda: browsing(n_items=300, repeats=0.3),
    "browsing-3000-values": lambda: browsing(n_items=3_000, values=True),
    "browsing-3000-types": lambda: browsing(n_items=3_000, types=True),
    "browsing-3000-sessions": lambda: browsing(n_items=3_000, sessions=True),
    "browsing-3000-all": lambda: browsing(n_items=3_000, repeats=0.3, values=True, types=True, sessions=True),
    "browsing-30000": lambda: browsing(n_items=30_000),
    "browsing-30000-all": lambda: browsing(n_items=30_000, repeats=0.3, values=True, types=True, sessions=True),
}


def sampled_users(events: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return all events of `n` users, drawn from their names in order."""
    chosen = random.Random(0).sample(sorted(events[USER_ID].unique()), n)
    return events[events[USER_ID].isin(chosen)]


COPIES: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "ml-1m-300": ("ml-1m", lambda events: sampled_users(events, 300)),
    "ml-1m-600": ("ml-1m", lambda events: sampled_users(events, 600)),
    "ml-1m-1500": ("ml-1m", lambda events: sampled_users(events, 1_500)),
    "journey-tenth": ("complete-journey", lambda events: some_users(events, 0.1, seed=0)),
    "journey-fifth": ("complete-journey", fifth_of_journey),
}
LOGS = ["ml-100k", *COPIES, *MADE_UP]


@cache
def read_log(name: str, data: Path, work: Path) -> Dataset:
    if name in MADE_UP:
        return MADE_UP[name]()
    if name not in COPIES:
        return load_dataset(data / name)
    source, make = COPIES[name]
    return load_dataset(write_copy(data / source / "interactions.csv", work / name / "interactions.csv", make).parent)


def random_configuration(number: int) -> Hyperparameters:
    """Return the configuration that a random search of the space `hrnn` tries as trial `number`, the defaults aside."""
    space = load_space("hrnn").narrow(DRAWN, {}, "defaults.py")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
    return space.resolve(suggest(space, study.ask()))


def measure(name: str, data: Path, work: Path, configuration: Configuration, checkpoint: Path) -> Figures:
    """Train a configuration; return its figure and what each baseline is ahead of it on the same users."""
    dataset = read_log(name, data, work)
    experiment = prepare_experiment(dataset, configuration)
    part = experiment.split.validation
    assert part is not None
    result = run_experiment(experiment, device="cpu", checkpoint=checkpoint)
    own = evaluate_model(result.model, experiment, part).per_user[METRIC]  # (R,)
    ahead = {}
    for baseline, evaluation in compare_baselines(experiment, part).evaluations.items():
        difference = evaluation.per_user[METRIC] - own
        ahead[baseline] = {
            "figure": evaluation.metrics[METRIC],
            "ahead": float(difference.mean()),
            "error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
        }
    return {
        "n_events": dataset.n_events,
        "n_items": dataset.n_items,
        "n_validation_users": len(part),
        "batch_size": result.configuration.hyperparameters.batch_size,
        "best_epoch": result.best_epoch,
        "n_epochs": len(result.history),
        METRIC: result.metrics[METRIC],
        "baselines": ahead,
    }


def report(rows: Rows) -> str:
    """Return a line for each log of which a default training is finished."""
    lines: list[list[object]] = []
    for log in LOGS:
        own = [row for row in rows.values() if row.settings["log"] == log]
        defaults = [row for row in own if row.settings["kind"] == "defaults"]
        trials = [row for row in own if row.settings["kind"] == "random"]
        if defaults:
            lines.append([log, *_line(defaults, trials)])
    columns = ["log", "events", "items", "users", "batch", "defaults", "best random trial", "share", "goal"]
    columns += ["best baseline", "ahead", "goal"]
    text = (
        f"{METRIC} on the validation users; defaults: the mean of the finished seeds of {len(SEEDS)}, and each. "
        "`ahead`: the best baseline minus the defaults, ± the standard error over the users. Goals: at least "
        f"{GOAL} of the best of {N_RANDOM} random trials; no baseline ahead by more than a standard error."
    )
    return f"{table(columns, lines)}\n\n{text}"


def _line(defaults: list[Row], trials: list[Row]) -> list[object]:
    figures = [row.figures for row in defaults]
    found = [one[METRIC] for one in figures]
    mean = sum(found) / len(found)
    best = max((row.figures[METRIC] for row in trials), default=None)
    name, ahead, error = _hardest([one["baselines"] for one in figures])
    whole = len(trials) == N_RANDOM
    return [
        f"{figures[0]['n_events']:,}",
        f"{figures[0]['n_items']:,}",
        figures[0]["n_validation_users"],
        figures[0]["batch_size"],
        f"{mean:.4f} ({', '.join(f'{one:.3f}' for one in found)})",
        f"{best:.4f}{'' if whole else f' of {len(trials)}'}" if best is not None else "",
        f"{mean / best:.2f}" if best else "",
        verdict(mean >= GOAL * best) if best is not None and whole else "",
        f"{name} {figures[0]['baselines'][name]['figure']:.4f}",
        f"{ahead:.4f} ± {error:.4f}",
        verdict(ahead <= error),
    ]


def _hardest(seeds: list[Mapping[str, Mapping[str, float]]]) -> tuple[str, float, float]:
    """Return the baseline that is furthest ahead, by how much on average, and the mean error of that."""
    n = len(seeds)
    known = [name for name in seeds[0] if all(name in one for one in seeds)]  # earlier rows have fewer
    ahead = {name: sum(one[name]["ahead"] for one in seeds) / n for name in known}
    name = max(ahead, key=lambda one: ahead[one])
    return name, ahead[name], sum(one[name]["error"] for one in seeds) / n


def main() -> None:
    parser = script_parser(__doc__, "defaults")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the public logs lie")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results = Results("defaults", options)

    def cell(log: str, kind: str, number: int) -> Cell:
        chosen = Hyperparameters() if kind == "defaults" else random_configuration(number)
        configuration = Configuration(hyperparameters=chosen, seed=number, n_threads=1)
        checkpoint = results.work / f"{log}-{kind}-{number}.checkpoint"
        return Cell(
            {"log": log, "kind": kind, "hyperparameters": chosen.model_dump(), "seed": number},
            partial(measure, log, options.data, results.work, configuration, checkpoint),
            leftovers=[checkpoint],
        )

    runs = [("defaults", seed) for seed in SEEDS] + [("random", number) for number in range(N_RANDOM)]
    results.run({f"{log}-{kind}-{number}": cell(log, kind, number) for kind, number in runs for log in LOGS})
    results.show(report)


if __name__ == "__main__":
    main()
