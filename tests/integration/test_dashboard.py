"""optuna-dashboard opens the storage of a study."""

import json
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
from servers import free_port, skip_without

from hrnn_hpo.study.storage.database import create_study, open_storage


@pytest.mark.slow
@skip_without(find_spec("optuna_dashboard"), "optuna-dashboard")
def test_optuna_dashboard_lists_our_studies(mlruns: Path) -> None:
    create_study("movies", open_storage(create=True))
    port = free_port()
    command = [str(Path(sys.executable).parent / "optuna-dashboard"), f"sqlite:///{mlruns}/optuna.db"]
    with subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL) as dashboard:
        try:
            listed = json.loads(answer(f"http://127.0.0.1:{port}/api/studies", dashboard))
            assert [entry["study_name"] for entry in listed["study_summaries"]] == ["movies"]
        finally:
            dashboard.terminate()


def answer(address: str, server: "subprocess.Popen[bytes]") -> bytes:
    for _ in range(300):
        try:
            with urllib.request.urlopen(address, timeout=10) as page:
                return bytes(page.read())
        except OSError:
            assert server.poll() is None, "the dashboard ended before it answered"
            time.sleep(0.2)
    raise AssertionError("the dashboard did not answer within a minute")
