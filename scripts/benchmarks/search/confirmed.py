"""A whole study with its confirmation and its look at the test users, as `hrnn-hpo tune` runs it.

Run: .venv/bin/python scripts/benchmarks/search/confirmed.py LOG --space quickstart [--name NAME] [--n-trials 8]
     [--confirm 2] [--confirm-seeds 5] [--protocol leave-one-out] [--pruner wilcoxon] [--data data]

LOG is a file or folder, or one of the copies that defaults.py trains on, such as journey-fifth, made from a log in
--data. The row is --name, else the log's name. The study is kept in --work: an interrupted one resumes after its last
epoch. The studies of the space `hrnn` itself (one core; ml-100k's took an hour and a half):

    scripts/benchmarks/search/confirmed.py data/ml-100k --name ml-100k-hrnn \\
        --space scripts/benchmarks/search/hrnn-space.yaml --n-trials 20 \\
        --confirm 1 --protocol leave-one-out --pruner wilcoxon --ensemble
    scripts/benchmarks/search/confirmed.py journey-fifth --name journey-hrnn \\
        --space scripts/benchmarks/search/hrnn-space.yaml --n-trials 20 \\
        --confirm 1 --protocol newest-tenth --pruner wilcoxon
    scripts/benchmarks/search/confirmed.py ml-1m-1500 --name ml-1m-hrnn \\
        --space scripts/benchmarks/search/hrnn-space.yaml --n-trials 20 \\
        --confirm 1 --protocol leave-one-out --pruner wilcoxon --workers 2
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hrnn_hpo.study.confirm.leaderboard import ensemble_note, leaderboard_content
from hrnn_hpo.study.confirmation import sentences
from hrnn_hpo.study.result import StudyResult
from hrnn_hpo.study.tune import tune
from scripts.benchmarks.kit.logs import write_copy
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table
from scripts.benchmarks.quality.defaults import COPIES

SHOWN = ("ndcg_at_10", "mrr_at_25")


def measure(data: Path, work: Path, options: argparse.Namespace) -> Figures:
    """Return what the study said, its confirmed configurations, and the test figures."""
    os.environ["HRNN_HPO_HOME"] = str(work)
    for name in ("HRNN_HPO_STORAGE", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    spent = work / f"{options.name}.seconds"
    with _counted(spent):
        found = _study(data, options)
    if found.confirmation is None or found.leaderboard is None:
        raise SystemExit("the study was interrupted: the same command resumes it.")
    confirmation, board = found.confirmation.content(), leaderboard_content(found.leaderboard)
    note = ensemble_note(found.leaderboard)
    ensemble = {} if note is None else {"ensemble": board["differences"]["ensemble"] | {"note": note}}
    return ensemble | {
        "seconds": float(spent.read_text()),
        "told": sentences(found.confirmation),
        "defaults": confirmation["defaults"],
        "contenders": confirmation["contenders"],
        "n_test_users": board["n_test_users"],
        "opening": board["opening"],
        "metrics": {name: {metric: row[metric] for metric in SHOWN} for name, row in board["metrics"].items()},
        "intervals": {name: row["ndcg_at_10"] for name, row in board["intervals"].items()},
        "gain": board["gain"],
    }


def log_at(log: str, data: Path, work: Path) -> Path:
    """Return where a log lies, a copy written anew if it is one."""
    if log not in COPIES:
        return Path(log)
    source, make = COPIES[log]
    return write_copy(data / source / "interactions.csv", work / log / "interactions.csv", make).parent


def _study(data: Path, options: argparse.Namespace) -> StudyResult:
    return tune(
        data,
        study=options.name,
        space=options.space,
        n_trials=options.n_trials,
        confirm=options.confirm,
        confirm_seeds=options.confirm_seeds,
        protocol=options.protocol,
        pruner=options.pruner,
        ensemble=options.ensemble or None,
        seed=options.seed,
        n_workers=options.workers,
        screen=options.screen,
        n_threads=1,
    )


@contextmanager
def _counted(file: Path) -> Iterator[None]:
    """Add the seconds that the block takes to those in a file: of a study that was interrupted, of all its parts."""
    before = float(file.read_text()) if file.exists() else 0.0
    began = time.monotonic()
    try:
        yield
    finally:
        file.write_text(f"{before + time.monotonic() - began:.1f}")


def report(rows: Rows) -> str:
    return "\n\n".join(tell(row.figures) for row in rows.values())


def tell(found: Figures) -> str:
    """Return a study's own sentences, its confirmed configurations and its test figures."""
    contenders = [
        [
            f"trial {one['trial']}" + " (defaults)" * (one["trial"] == found["defaults"]),
            number(one["search_value"]),
            number(one["mean"]),
            interval(one["difference"], one["low"], one["high"], "+") if one.get("difference") is not None else "",
            number(one.get("p_holm")),
            one["best_epoch"],
        ]
        for one in found["contenders"]
    ]
    metrics = [metric for metric in SHOWN if metric in next(iter(found["metrics"].values()))]
    ranked = [
        [name, interval(row[metrics[0]], *found["intervals"][name]), *(number(row[metric]) for metric in metrics[1:])]
        for name, row in found["metrics"].items()
    ]
    opened = "once" if found["opening"] == 1 else f"{found['opening']} times"
    columns = ["", "search", "confirmed", "minus defaults (95 %)", "p (Holm)", "epochs"]
    parts = [
        "\n".join(found["told"]),
        table(columns, contenders),
        f"{found['n_test_users']} test users, opened {opened}, every row trained on validation users too:",
        table(["", f"{metrics[0]} (95 %)", *metrics[1:]], ranked),
    ]
    if seconds := found.get("seconds"):
        parts.insert(1, f"The whole study took {seconds / 60:.0f} minutes.")
    if gain := found.get("gain"):
        told = interval(gain["difference"], gain["low"], gain["high"], "+")
        parts.append(f"Tuned minus defaults on the test users: {told}, p {gain['p']:.3f}.")
    if lacks := found.get("ensemble"):
        told = interval(lacks["difference"], lacks["low"], lacks["high"], "+")
        parts.append(f"{lacks['note']} Tuned minus ensemble: {told}, p {lacks['p']:.3f}.")
    return "\n\n".join(parts)


def number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"


def interval(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{value:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"


def main() -> None:
    parser = script_parser(__doc__, "confirmed")
    parser.add_argument("log", help="a file, a folder, or a name of defaults.py")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the public logs lie")
    parser.add_argument("--name", help="the row's and the study's name; default: the log's")
    parser.add_argument("--space", required=True, help="what to search")
    parser.add_argument("--n-trials", type=int, default=8)
    parser.add_argument("--confirm", type=int, default=2, help="configurations to confirm")
    parser.add_argument("--confirm-seeds", type=int, default=5)
    parser.add_argument("--protocol")
    parser.add_argument("--pruner", help="default: that of `tune`")
    parser.add_argument("--ensemble", action="store_true", help="train the winner on all confirmation seeds")
    parser.add_argument("--screen", type=int, help="trials that run again before; default: that of `tune`")
    parser.add_argument("--workers", type=int, help="processes side by side, one thread each; default: one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results = Results("confirmed", options)
    data = log_at(options.log, options.data, results.work).absolute()
    options.name = options.name or data.name
    asked = ("n_trials", "confirm", "confirm_seeds", "protocol", "pruner", "seed")
    settings = {"study": options.name, "space": Path(options.space).stem} | {
        name: getattr(options, name) for name in asked
    }
    settings |= {"ensemble": True} if options.ensemble else {}
    settings |= {name: told for name in ("workers", "screen") if (told := getattr(options, name)) is not None}
    results.run({options.name: Cell(settings, partial(measure, data, results.work, options))})
    results.show(report)


if __name__ == "__main__":
    main()
