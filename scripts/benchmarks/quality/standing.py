"""Where the recommender stands: a table for each log, with baselines measured here and what others published.

Run: .venv/bin/python scripts/benchmarks/quality/standing.py [--data data] [--rows 'ml-1m-ties-*,…']

Leave-one-out on ml-1m, with ties in time in the order of the file and shuffled, and `personalize` on ml-100k. Baselines
are fitted on training events, their constants chosen on validation users. Our own rows come from the result files of
movielens_1m.py, quality.py and item_start.py, rivals trained here from that of rivals.py. Published figures stand
beside what they really measured: in which order events of the same second were (it tells much on ml-1m), whether the
model knew when the next event happens, whether it trained on the event that we hold back for validation, and how many
items were ranked. A row takes one to five minutes of one core.
"""

import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hrnn_hpo.config import Configuration
from hrnn_hpo.data.prepared import load_dataset
from hrnn_hpo.data.splits import Protocol
from hrnn_hpo.experiment import compare_baselines, prepare_experiment, test_part
from scripts.benchmarks.kit.logs import shuffle_ties, write_copy
from scripts.benchmarks.kit.rows import RESULTS, Cell, Figures, Results, Rows, read_rows, script_parser
from scripts.benchmarks.kit.tables import error, mean, mean_and_error, table
from scripts.benchmarks.rivals.rivals_report import NAMES, figure, systems_of

METRICS = ("ndcg_at_10", "hit_rate_at_10")


@dataclass(frozen=True)
class Ours:
    """A line of our own: which rows of a result file, and whether the model was told when the request is made."""

    file: str
    kind: str  # the rows KIND-SEED, or the row KIND of a published mean where there are none
    system: str = "**hrnn-hpo**"
    told: bool = False


@dataclass(frozen=True)
class Log:
    data: str
    protocol: Protocol
    seeds: tuple[int, ...]
    ties: str
    ours: tuple[Ours, ...] = ()
    shuffled: bool = False
    trained: str | None = None  # the log of rivals.json on the same split
    draws_users: bool = False  # then seeds have other test users, and a rival must have them all


READS = "**hrnn-hpo** that reads the request time"
NEAR = f"{READS}, items start near neighbours"
ALSO_TIES = f"{NEAR}, ties shuffled each epoch"
AT_USERS = "**hrnn-hpo**, items start near those of the same users, ties shuffled each epoch"
READS_AT_USERS = f"{READS}, items start near those of the same users, ties shuffled each epoch"
LOGS = {
    "ml-1m": Log(
        "ml-1m",
        "leave-one-out",
        (0,),
        "file",
        (
            Ours("movielens_1m", "loo"),
            Ours("movielens_1m", "known", READS),
            Ours("movielens_1m", "known", READS, told=True),
            Ours("movielens_1m", "all", NEAR),
            Ours("movielens_1m", "all", NEAR, told=True),
        ),
        trained="ml-1m-loo",
    ),
    "ml-1m-ties": Log(
        "ml-1m",
        "leave-one-out",
        (0, 1, 2),
        "shuffled",
        (
            Ours("movielens_1m", "ties"),
            Ours("movielens_1m", "all_ties", ALSO_TIES),
            Ours("movielens_1m", "all_ties", ALSO_TIES, told=True),
            Ours("movielens_1m", "users_ties", READS_AT_USERS),
            Ours("movielens_1m", "users_ties", READS_AT_USERS, told=True),
        ),
        shuffled=True,
        trained="ml-1m-ties",
    ),
    "ml-100k": Log(
        "ml-100k",
        "personalize",
        (0, 1, 2, 3, 4),
        "file",
        (Ours("quality", "ml-100k-personalize"), Ours("item_start", "personalize-users+shuffled-ties", AT_USERS)),
        trained="ml-100k-personalize",
        draws_users=True,
    ),
}


@dataclass(frozen=True)
class Published:
    """A figure of others on ml-1m, leave-one-out, the whole catalogue ranked, seen items removed."""

    system: str
    ndcg: float
    hit: float | None
    ties: str
    items: str
    size: str
    knows_time: str
    trains_on_last_but_one: str
    source: str


HSTU = "meta-recsys/generative-recommenders, README"
RERUN = "blondered/transformer_benchmark, README"
PUBLISHED = [
    Published(
        "HSTU-large, mixture of logits",
        0.1979,
        0.3412,
        "unstable sort",
        "3,706",
        "50, 8 blocks",
        "yes",
        "yes",
        "bailuding/rails, README",
    ),
    Published(
        "HSTU, full softmax",
        0.1944,
        0.3419,
        "HSTU's file, presumed",
        "3,706",
        "50, 8 blocks",
        "yes",
        "not checked",
        "NetEase-Media/HSTU-Tensorflow, README",
    ),
    Published(
        "FuXi-alpha-large",
        0.1934,
        0.3359,
        "unstable sort",
        "3,706",
        "50, 8 blocks",
        "yes",
        "yes",
        "arXiv 2502.03036, recalled",
    ),
    Published("LRURec", 0.1930, 0.3264, "by item id", "3,416", "64, 2 blocks", "no", "no", "yueqirex/LRURec"),
    Published("HSTU-large", 0.1893, 0.3294, "unstable sort", "3,706", "50, 8 blocks", "yes", "yes", HSTU),
    Published(
        "SASRec, 3,000 negatives",
        0.1857,
        0.3159,
        "SASRec's file, not checked",
        "not checked",
        "64 to 128",
        "no",
        "no",
        "Klenitskiy & Vasilev 2023",
    ),
    Published("FuXi-alpha, rerun", 0.1813, 0.3164, "file", "3,706", "50, 2 blocks", "yes", "not checked", RERUN),
    Published("eSASRec", 0.1772, 0.3133, "file", "3,706", "64, 2 blocks", "no", "no", RERUN),
    Published("HSTU, rerun", 0.1719, 0.3037, "file", "3,706", "50, 2 blocks", "yes", "not checked", RERUN),
    Published("SASRec, sampled softmax, rerun", 0.1684, 0.2929, "file", "3,706", "64, 2 blocks", "no", "no", RERUN),
    Published("SASRec of HSTU's authors", 0.1603, 0.2853, "unstable sort", "3,706", "50", "no", "yes", HSTU),
]


def measure(log: Log, seed: int, data: Path, work: Path) -> Figures:
    """Return the baselines' test figures, their constants, and the seconds all of them took."""
    interactions = data / log.data / "interactions.csv"
    if log.shuffled:
        file = work / f"{log.data}-shuffled-ties-{seed}.csv"
        interactions = write_copy(interactions, file, lambda events: shuffle_ties(events, seed))
    dataset = load_dataset(interactions)
    began = time.perf_counter()
    experiment = prepare_experiment(dataset, Configuration(protocol=log.protocol, split_seed=seed, n_threads=1))
    found = compare_baselines(experiment, test_part(experiment))
    return {
        "n_items": dataset.n_items,
        "seen": experiment.seen,
        "seconds": round(time.perf_counter() - began, 1),
        "baselines": {name: {metric: of[metric] for metric in METRICS} for name, of in found.metrics.items()},
        "constants": found.constants,
        "left_out": found.left_out,
    }


def report(rows: Rows) -> str:
    """Return the tables of the logs that have a finished row."""
    texts = [_table(name, log, rows) for name, log in LOGS.items() if any(_of(rows, name, log))]
    return "\n\n".join(texts)


def _of(rows: Rows, name: str, log: Log) -> list[Figures]:
    return [rows[key].figures for seed in log.seeds if (key := f"{name}-{seed}") in rows]


def _table(name: str, log: Log, rows: Rows) -> str:
    done = _of(rows, name, log)
    items = f"{done[0]['n_items']:,}"
    here = "here" if len(done) == 1 else f"here, {len(done)} seeds"
    lines: list[tuple[float, list[object]]] = []
    for baseline in done[0]["baselines"]:
        values = {metric: [figures["baselines"][baseline][metric] for figures in done] for metric in METRICS}
        told = [mean_and_error(of) if len(of) > 1 else f"{of[0]:.4f}" for of in values.values()]
        lines.append((mean(values[METRICS[0]]), [baseline, *told, log.ties, "no", "no", items, "", "", here]))
    lines += [line for ours in log.ours for line in _ours(log, ours, items, done[0]["seen"])] + _trained_here(log)
    if log.data == "ml-1m" and not log.shuffled:
        lines += [_published(one) for one in PUBLISHED]
    lines.sort(key=lambda line: -line[0])
    columns = ["system", *METRICS, "order of ties", "request time known", "trains on the last but one", "items", "size"]
    seconds = sum(figures["seconds"] for figures in done) / len(done)
    return (
        f"**{name}**, {log.protocol}, seen items {done[0]['seen']}\n\n"
        f"{table([*columns, 'core-minutes, processor', 'from'], [line for _, line in lines])}\n\n"
        f"All baselines of a seed together: {seconds:.0f} seconds of one core, the choice of their constants included."
    )


def _ours(log: Log, ours: Ours, items: str, seen: str) -> list[tuple[float, list[object]]]:
    """Return our line, none where no row is finished."""
    rows = read_rows(RESULTS / f"{ours.file}.json")
    single = [row for name, row in rows.items() if name.rpartition("-")[0] == ours.kind]
    done = single or [rows[name] for name in (ours.kind,) if name in rows]
    if not done:
        return []
    tested = [_tested(row.figures, log.protocol, seen, ours.told) for row in done]
    values = {metric: [of[metric] for of in tested] for metric in METRICS}
    cells = [f"{of[0]:.4f}" if math.isnan(error(of)) else mean_and_error(of) for of in values.values()]
    spent = f"{sum(row.figures['seconds'] for row in done) / len(done) / 60:.1f}, {done[0].processor}"
    told = "yes" if ours.told else "no"
    seeds = f", {len(done)} seed{'s' * (len(done) > 1)}" if single else ""
    size, source = "best/ configuration", f"{ours.file}.py{seeds}"
    return [(mean(values[METRICS[0]]), [ours.system, *cells, log.ties, told, "no", items, size, spent, source])]


def _tested(found: Figures, protocol: str, seen: str, told: bool) -> Figures:
    """Return the metrics of a row of ours; quality.py has them by protocol and ranker."""
    if protocol in found:
        return dict(found[protocol][seen]["hrnn"])
    return dict(found["test, request time known" if told else "test"][seen])


def _trained_here(log: Log) -> list[tuple[float, list[object]]]:
    """Return the lines of rivals.json's trainers on the same split; of baselines this table has its own."""
    found = [row for row in read_rows(RESULTS / "rivals.json").values() if row.settings["log"] == log.trained]
    lines: list[tuple[float, list[object]]] = []
    for system, done in systems_of(found).items():
        seeds = [row.settings["seed"] for row in done]
        if system not in NAMES or (log.draws_users and seeds != list(log.seeds)):
            continue
        first, settings = done[0].figures, done[0].settings
        told = [figure([row.figures["test"][metric] for row in done]) for metric in METRICS]
        known = ["yes" if settings[key] else "no" for key in ("knows_request_time", "trains_on_last_but_one")]
        minutes = sum(row.figures["core_seconds"] for row in done) / len(done) / 60
        size, items = f"{first['n_parameters']:,} parameters", f"{first['n_ranked_items']:,}"
        spent = f"{minutes:.1f}, {done[0].processor}"
        seed = f"rivals.py, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        score = sum(row.figures["test"][METRICS[0]] for row in done) / len(done)
        lines.append((score, [NAMES[system], *told, settings["ties"], *known, items, size, spent, seed]))
    return lines


def _published(one: Published) -> tuple[float, list[object]]:
    hit = "" if one.hit is None else f"{one.hit:.4f}"
    known = [one.ties, one.knows_time, one.trains_on_last_but_one, one.items, one.size, "", one.source]
    return one.ndcg, [one.system, f"{one.ndcg:.4f}", hit, *known]


def main() -> None:
    parser = script_parser(__doc__, "standing")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where ml-1m and ml-100k lie")
    options = parser.parse_args()
    results = Results("standing", options)
    cells = {
        f"{name}-{seed}": Cell(
            {"log": name, "protocol": log.protocol, "seed": seed},
            partial(measure, log, seed, options.data, results.work),
        )
        for name, log in LOGS.items()
        for seed in log.seeds
    }
    results.run(cells)
    results.show(report)


if __name__ == "__main__":
    main()
