"""What preparing a log takes as it grows: rows a second, memory and disk, beside one bare DuckDB statement.

Run: .venv/bin/python scripts/benchmarks/speed/prepare.py [--rows 1M,10M,100M]

Each row simulates a log as Parquet (a twentieth as many users and a hundredth as many items as events), prepares it in
a process of its own and, in another, lets DuckDB read the same file and write it sorted by user and time, with the same
memory limit. The most resident memory is read from the system ten times a second; anonymous memory leaves mapped files
out. Goals at 100 million: at most 6 GiB resident, and at least half of the bare statement's rows a second. That row
needs about 15 GB of disk in --work and a quarter of an hour.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from hrnn_hpo.data.prepared import prepare
from hrnn_hpo.data.simulate import simulate
from scripts.benchmarks.kit.machine import most_memory
from scripts.benchmarks.kit.rows import Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table, verdict

SIZES = {"1M": 1_000_000, "10M": 10_000_000, "30M": 30_000_000, "100M": 100_000_000}
MEMORY = "4GB"
GIB = 1024**3


def main() -> None:
    parser = script_parser(__doc__, "prepare")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        kind, log, out = options.measure
        print(json.dumps(watched(bare if kind == "bare" else prepared, Path(log), Path(out))))
        return
    results = Results("prepare", options)
    cells = {
        name: Cell(
            {"events": n, "users": n // 20, "items": n // 100, "memory_limit": MEMORY},
            partial(measure, n, results.work),
            threads=2,
        )
        for name, n in SIZES.items()
    }
    results.run(cells)
    results.show(report)


def measure(n_events: int, work: Path) -> Figures:
    """Return the figures of one size; the log itself is removed afterwards."""
    log = work / f"log-{n_events}.parquet"
    if not log.exists():
        simulate(log, n_events=n_events, n_users=n_events // 20, n_items=n_events // 100)
    found: Figures = {"megabytes": log.stat().st_size / 1e6}
    for kind in ("prepare", "bare"):
        out = work / f"{kind}-{n_events}"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, __file__, "--measure", kind, str(log), str(out)]
        answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        found |= {f"{kind}_{name}": figure for name, figure in answer.items()}
        print(f"{n_events:,} events, {kind}: {answer}", flush=True)
        shutil.rmtree(out, ignore_errors=True)
    log.unlink()
    return found


def watched(work, log: Path, out: Path) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Return seconds, processor seconds and the most memory (GiB) of a piece of work in this process."""
    with most_memory() as most:
        began, used = time.monotonic(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        work(log, out)
        seconds = time.monotonic() - began
        processor = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - used
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "resident": most["VmRSS"] / GIB,
        "anonymous": most["RssAnon"] / GIB,
    }


def prepared(log: Path, out: Path) -> None:
    prepare(log, out, memory_limit=MEMORY)


def bare(log: Path, out: Path) -> None:
    """Let DuckDB sort the file as it would for anybody."""
    import duckdb

    out.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute("SET temp_directory = ?", [str(out / "spill")])
        target = str(out / "sorted.parquet").replace("'", "''")
        statement = f"COPY (FROM read_parquet(?) ORDER BY USER_ID, TIMESTAMP) TO '{target}' (FORMAT parquet)"
        connection.execute(statement, [str(log)]).fetchall()


def report(rows: Rows) -> str:
    """Return the table of sizes, and what the largest says of the goals."""
    lines = []
    said = ""
    for row in rows.values():
        f, n = row.figures, row.settings["events"]
        speed, bare_speed = n / f["prepare_seconds"], n / f["bare_seconds"]
        ratio = speed / bare_speed
        lines.append(
            [
                *(f"{n:,}", f"{f['megabytes']:,.0f}", f"{speed:,.0f}", f"{bare_speed:,.0f}", f"{ratio:.2f}"),
                f"{f['bare_processor_seconds'] / f['prepare_processor_seconds']:.2f}",
                *(f"{f[name]:.2f}" for name in ("prepare_resident", "prepare_anonymous", "bare_resident")),
            ]
        )
        if row.settings["events"] == SIZES["100M"]:
            said = (
                f"\n\n- 100 million events: {f['prepare_resident']:.1f} GiB resident (goal: at most 6, "
                f"{verdict(f['prepare_resident'] <= 6)}); {ratio:.2f} of the bare statement's rows a second (goal: at "
                f"least .5, {verdict(ratio >= 0.5)})."
            )
    columns = ["events", "MB of Parquet", "rows/s", "bare rows/s", "ratio", "ratio of processor time"]
    return table([*columns, "resident GiB", "anonymous GiB", "bare resident GiB"], lines) + said


if __name__ == "__main__":
    main()
