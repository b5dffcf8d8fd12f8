"""kill -9 at random moments: a study on ml-100k whose workers, and whose parent, are killed twenty times.

Run: .venv/bin/python scripts/benchmarks/robustness/chaos.py [--storage sqlite|postgres|URL]... [--kills 20]

Small models, so that the kills hit every part of a trial's life. When the study ends before the last kill its budget
grows. It asserts that no trial stays RUNNING, that no finished trial is lost or changed, that none is in MLflow twice
or left open there, and that a kill costs at most the epoch that was running: no epoch's checkpoint is written twice.
`postgres` starts a server of its own.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial
from safetensors import safe_open

from hrnn_hpo.errors import HRNNError
from hrnn_hpo.stores import mlruns_folder, tracking_address
from hrnn_hpo.study.attributes import epochs_of
from hrnn_hpo.study.seeds import original_number
from hrnn_hpo.study.storage.database import load_study, open_storage
from hrnn_hpo.study.trials import last_attempts
from scripts.benchmarks.kit.rows import ROOT, Cell, Figures, Results, Rows, script_parser
from scripts.benchmarks.kit.tables import table

sys.path.append(str(ROOT / "tests"))
from servers import PostgresServer, postgres_binaries  # the tests start one as well

STUDY = "chaos"
SPACE = """extends: hrnn
tune:
  hidden_dimension: {range: [16, 32]}
  learning_rate: {range: [0.001, 0.02]}
fix: {epochs: 8, patience: 8, batch_size: 64, feed_forward: 0, item_start: random,
  max_user_history_length_percentile: 0.5}
"""
PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")
FEWEST_SECONDS, MOST_SECONDS = 1.0, 30.0  # between two kills
PARENT_SHARE = 0.25  # of the kills


@dataclass
class Chaos:
    """One study under fire."""

    data: Path
    storage: str
    workers: int
    seed: int
    n_trials: int
    kills: Counter[str] = field(default_factory=Counter)
    finished: dict[int, FrozenTrial] = field(default_factory=dict)

    def run(self, n_kills: int) -> None:
        """Kill and start again until there were enough kills, then let the study end."""
        draw = random.Random(self.seed)
        tune = self._start()
        while sum(self.kills.values()) < n_kills:
            time.sleep(draw.uniform(FEWEST_SECONDS, MOST_SECONDS))
            if tune.poll() is not None:
                assert tune.returncode == 0, Path("tune.log").read_text(encoding="utf-8")
                self.n_trials += 5 * self.workers
                tune = self._start()
                continue
            self._remember()
            who = "parent" if draw.random() < PARENT_SHARE else "worker"
            victims = [tune.pid] if who == "parent" else children(tune.pid)
            if not victims:  # they are being started
                continue
            os.kill(draw.choice(victims), 9)
            self.kills[who] += 1
            print(f"{self.kills.total()}: {who}, {len(self.finished)} trials finished", flush=True)
            if who == "parent":
                tune.wait()
                tune = self._start()
        assert tune.wait() == 0, Path("tune.log").read_text(encoding="utf-8")
        self._remember()

    def study(self) -> Study:
        """Return the study as its storage has it."""
        return load_study(STUDY, open_storage(self.storage))

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [PROGRAM, "tune", str(self.data), "--study", STUDY, "--space", "space.yaml", "--device", "cpu"]
        command += ["--workers", str(self.workers), "--threads", "1", "--n-trials", str(self.n_trials)]
        with Path("tune.log").open("wb") as log:
            return subprocess.Popen([*command, "--storage", self.storage], stdout=log, stderr=log)

    def _remember(self) -> None:
        """Note each trial that has ended; one that has must stay as it is."""
        with contextlib.suppress(HRNNError):  # killed before the study was written
            for trial in self.study().get_trials():
                if trial.state.is_finished():
                    before = self.finished.setdefault(trial.number, trial)
                    assert outcome(before) == outcome(trial), f"trial {trial.number} has changed"
            found = {trial.number for trial in self.study().get_trials(deepcopy=False)}
            assert self.finished.keys() <= found, f"lost: {self.finished.keys() - found}"


def outcome(trial: FrozenTrial) -> tuple[Any, ...]:
    """Return what a finished trial is remembered for."""
    return trial.state, trial.value, trial.params, trial.intermediate_values, trial.user_attrs


def children(parent: int) -> list[int]:
    """Return the process ids of the workers that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


@contextlib.contextmanager
def watching_checkpoints(seen: dict[str, list[int]]) -> Iterator[None]:
    """Note the epoch of every checkpoint that is written, by trial folder, in order."""
    stop = threading.Event()
    versions: dict[str, tuple[int, int]] = {}

    def watch() -> None:
        while not stop.wait(0.02):
            for path in (mlruns_folder() / "checkpoints").glob("*/*/checkpoint-*.safetensors"):  # of one study
                with contextlib.suppress(OSError):
                    status = path.stat()
                    version = (status.st_ino, status.st_mtime_ns)
                    if versions.get(path.parent.name) == version:
                        continue
                    with safe_open(path, framework="pt") as file:
                        epoch = json.loads(file.metadata()["state"])["epoch"]
                    versions[path.parent.name] = version
                    seen.setdefault(path.parent.name, []).append(epoch)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def check_trials(chaos: Chaos) -> Counter[str]:
    """Assert that Optuna's storage has no loose ends; return the last attempts by state."""
    trials = chaos.study().get_trials()
    states = Counter(trial.state.name for trial in trials)
    assert states["RUNNING"] == 0, states
    assert states["COMPLETE"] + states["PRUNED"] == chaos.n_trials, states
    for trial in trials:
        if trial.state.name == "COMPLETE":
            assert sorted(epochs_of(trial)) == list(range(1, 9)), f"trial {trial.number}: {sorted(epochs_of(trial))}"
    return Counter(trial.state.name for trial in last_attempts(chaos.study()))


def check_mlflow(chaos: Chaos) -> None:
    """Assert that MLflow has each trial once, closed, with each of its epochs once."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_address())
    experiment = client.get_experiment_by_name("hrnn-hpo")
    runs = list(client.search_runs([experiment.experiment_id], max_results=10_000))
    assert not [run.info.run_name for run in runs if run.info.status == "RUNNING"]
    by_trial = {run.data.tags["trial"]: run for run in runs if run.data.tags["role"] == "trial"}
    assert len(by_trial) == sum(run.data.tags["role"] == "trial" for run in runs), "a trial is in MLflow twice"
    ended = [trial for trial in last_attempts(chaos.study()) if trial.state.is_finished()]
    assert by_trial.keys() == {str(original_number(trial)) for trial in ended}
    for trial in ended:
        run = by_trial[str(original_number(trial))]
        steps = [entry.step for entry in client.get_metric_history(run.info.run_id, "train_loss")]
        assert sorted(steps) == sorted(epochs_of(trial)), f"trial {trial.number}: {sorted(steps)}"


def attack(data: Path, storage: str, options: argparse.Namespace) -> Figures:
    """Return the figures of one study under fire, in the working folder."""
    Path("space.yaml").write_text(SPACE, encoding="utf-8")
    chaos = Chaos(data, storage, options.workers, options.seed, n_trials=5 * options.workers)
    checkpoints: dict[str, list[int]] = {}
    began = time.monotonic()
    with watching_checkpoints(checkpoints):
        chaos.run(options.kills)
    states = check_trials(chaos)
    check_mlflow(chaos)
    repeated = sum(len(epochs) - len(set(epochs)) for epochs in checkpoints.values())
    assert repeated == 0, checkpoints
    trials = chaos.study().get_trials(deepcopy=False)
    return {
        "workers_killed": chaos.kills["worker"],
        "parents_killed": chaos.kills["parent"],
        "complete": states["COMPLETE"],
        "pruned": states["PRUNED"],
        "retries": len(trials) - states.total(),
        "running": states["RUNNING"],
        "repeated_epochs": repeated,
        "minutes": (time.monotonic() - began) / 60,
    }


def measure(data: Path, storage: str, options: argparse.Namespace) -> Figures:
    """Return the figures of a study in an empty folder, on a storage of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.ExitStack() as stack:
        if storage == "postgres":
            binaries = postgres_binaries()
            if binaries is None:
                raise SystemExit("PostgreSQL (initdb, pg_ctl) is not installed.")
            server = PostgresServer(binaries)
            stack.callback(server.remove)
            storage = server.url
        elif storage == "sqlite":
            storage = f"sqlite:///{folder}/mlruns/optuna.db"
        return attack(data, storage, options)


def report(rows: Rows) -> str:
    """Return the table of the storages; a row is there only when every check held."""
    names = ["workers_killed", "parents_killed", "complete", "pruned", "retries", "running", "repeated_epochs"]
    lines = [
        [row.settings["storage"], *(row.figures[name] for name in names), f"{row.figures['minutes']:.0f} min"]
        for row in rows.values()
    ]
    columns = ["storage", "workers killed", "parents killed", "complete", "pruned", "retries", "still running",
               "epochs saved twice", "time"]  # fmt: skip
    checked = "No finished trial lost or changed; each once in MLflow, closed, with each of its epochs once."
    return f"{table(columns, lines)}\n\n{checked}"


def main() -> None:
    parser = script_parser(__doc__, "chaos")
    parser.add_argument("--data", type=Path, default=Path("data/ml-100k"))
    parser.add_argument("--storage", action="append", help="sqlite, postgres or an address; default: both")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="draws moments and victims")
    options = parser.parse_args()
    data = options.data.absolute()
    results = Results("chaos", options)
    cells = {}
    for storage in options.storage or ["sqlite", "postgres"]:
        name = {"postgres": "postgresql"}.get(storage, storage.partition(":")[0].partition("+")[0])
        settings = {"storage": name, "kills": options.kills, "workers": options.workers, "seed": options.seed}
        cells[name] = Cell(settings, partial(measure, data, storage, options))
    results.run(cells)
    results.show(report)


if __name__ == "__main__":
    main()
