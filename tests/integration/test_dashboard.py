"""optuna-dashboard opens the storage of a study, and shows it in a browser."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pages import STUDY
from servers import chromium, free_port, skip_without

from hrnn_hpo.study.storage.database import create_study, open_storage

PROGRAM = str(Path(sys.executable).parent / "optuna-dashboard")
if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.mark.slow
@skip_without(find_spec("optuna_dashboard"), "optuna-dashboard")
def test_optuna_dashboard_lists_our_studies(mlruns: Path) -> None:
    create_study("movies", open_storage(create=True))
    with dashboard_of(mlruns) as address:
        with urllib.request.urlopen(f"{address}/api/studies", timeout=10) as page:
            listed = json.loads(page.read())
        assert [entry["study_name"] for entry in listed["study_summaries"]] == ["movies"]


@pytest.mark.slow
@skip_without(find_spec("optuna_dashboard"), "optuna-dashboard")
@skip_without(chromium(), "Chromium")
def test_optuna_dashboard_shows_a_finished_study(finished_home: Path, page: "Page") -> None:
    with dashboard_of(finished_home / "mlruns") as address:
        page.goto(f"{address}/dashboard/")
        # After its number, and not the study of its confirmation, which has no hyperparameters to draw.
        page.get_by_text(re.compile(re.escape(STUDY) + "$")).first.click()
        page.locator(".js-plotly-plot").first.wait_for()
        page.goto("about:blank")  # the page asks again and again, and would note that nobody answers any more


@contextmanager
def dashboard_of(mlruns: Path) -> Iterator[str]:
    """Yield the address of a dashboard that answers. A server that waits for a browser's connection is killed."""
    port = free_port()
    command = [PROGRAM, f"sqlite:///{mlruns}/optuna.db", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as dashboard:
        try:
            wait_for_answer(f"http://127.0.0.1:{port}/api/studies", dashboard)
            yield f"http://127.0.0.1:{port}"
        finally:
            dashboard.terminate()
            try:
                dashboard.wait(timeout=20)
            except subprocess.TimeoutExpired:
                dashboard.kill()


def wait_for_answer(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except OSError:
            assert server.poll() is None, "the dashboard ended before it answered"
            time.sleep(0.2)
    raise AssertionError("the dashboard did not answer within a minute")
