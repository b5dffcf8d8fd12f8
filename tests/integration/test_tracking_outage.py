"""A study goes on while its MLflow server is away, and `sync` writes what the server has missed."""

import subprocess
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient
from real_studies import PROGRAM, check_whole, finish, running_trial, start, wait_for, write_project
from servers import free_port


@pytest.mark.slow
def test_a_study_outlasts_its_tracking_server(tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_project(tmp_path)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server = serve(port)
    try:
        tune = start("--n-trials", "3", "--tracking-uri", address)
        running_trial(tune, 2)
    finally:
        stop(server)
    assert finish(tune)["trials"]["complete"] == 3  # without a server to its end
    server = serve(port)
    try:
        done = subprocess.run([PROGRAM, "sync", "s", "--tracking-uri", address], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        check_whole(3, tracking=address)
        [parent] = MlflowClient(address).search_runs(
            [MlflowClient(address).get_experiment_by_name("hrnn-hpo").experiment_id], "tags.role = 'study'"
        )
        assert parent.data.tags["state"] == "complete"
    finally:
        stop(server)


def serve(port: int) -> "subprocess.Popen[str]":
    """Start MLflow's server on the embedded store, and return once it answers."""
    server = subprocess.Popen([PROGRAM, "ui", "--port", str(port)], stderr=subprocess.DEVNULL, text=True)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_for(answers, server)
    return server


def stop(server: "subprocess.Popen[str]") -> None:
    server.terminate()
    server.wait(60)
