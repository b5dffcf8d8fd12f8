"""Every command of the README runs as it stands, in its order, on a small log in place of the public one."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from hrnn_hpo.data.synthetic import markov, write_csv

README = Path(__file__).resolve().parents[2] / "README.md"
PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")


def readme_commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line.split() for line in lines]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_csv(markov(n_users=80, n_items=30, n_events=20), tmp_path / "data" / "ml-100k")
    for table in (tmp_path / "data" / "ml-100k").glob("*.csv"):  # users are called as in the public log: 1, 2, ...
        table.write_text(re.sub(r"\bu0?(\d+)", r"\1", table.read_text(encoding="utf-8")), encoding="utf-8")
    space = re.search(r"```yaml\n(extends: hrnn\n.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert space is not None
    (tmp_path / "my-space.yaml").write_text(space.group(1), encoding="utf-8")
    (tmp_path / "users.jsonl").write_text('{"userId": "1"}\n{"userId": "nobody"}\n', encoding="utf-8")
    return tmp_path


def environment(project: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HRNN_HPO_CACHE": str(project / "cache"),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BROWSER": "true",  # the program of that name, for `ui --open`
    }


@pytest.mark.slow
def test_every_command_of_the_readme_runs(project: Path) -> None:
    commands = readme_commands()
    assert len(commands) >= 12
    for command in commands:
        assert command[0] == "hrnn-hpo"
        if command[1:3] == ["data", "fetch"]:
            continue  # test_datasets fetches; here a small log stands in its place
        if command[1] in ("ui", "serve"):
            _probe_server(command[1:], project)
            continue
        done = subprocess.run(
            [PROGRAM, *command[1:]], cwd=project, env=environment(project), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    assert (project / "best.yaml").is_file()
    assert (project / "models" / "deployed" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_the_notebooks_lines_run(project: Path) -> None:
    """Those of HRNNRecommender and those of the functions, after a study of the name that they ask for."""
    five, functions = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    log = pd.read_csv(project / "data" / "ml-100k" / "interactions.csv")
    names = {"USER_ID": "userId", "ITEM_ID": "movieId", "TIMESTAMP": "timestamp"}
    log.rename(columns=names).to_csv(project / "ratings.csv", index=False)
    tune = ["tune", "data/ml-100k", "--space", "quickstart", "--study", "first", "--n-trials", "2", "--confirm", "0"]
    for program in ([PROGRAM, *tune], [sys.executable, "-c", five + functions]):
        done = subprocess.run(
            program, cwd=project, env=environment(project), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
    assert (project / "models" / "notebook" / "weights.safetensors").is_file()


def _probe_server(arguments: list[str], project: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    if "--port" in arguments:
        at = arguments.index("--port")
        arguments = arguments[:at] + arguments[at + 2 :]
    arguments = [*arguments, "--port", port]
    server = subprocess.Popen([PROGRAM, *arguments], cwd=project, env=environment(project))
    try:
        for _ in range(180):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert server.poll() is None, "the server ended before it answered"
                time.sleep(1)
        pytest.fail("the server did not answer within 180 seconds")
    finally:
        server.terminate()
        server.wait(30)
