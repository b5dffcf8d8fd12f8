"""MLflow's UI on the embedded store: it starts, answers, and leaves no process behind."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).parent / "hrnn-hpo")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_answers_and_ends_with_all_its_processes(mlruns: Path, how: signal.Signals) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mark = {**os.environ, "HRNN_UI_TEST": str(mlruns)}
    with subprocess.Popen([PROGRAM, "ui", "--port", str(port)], stderr=subprocess.PIPE, text=True, env=mark) as ui:
        assert ui.stderr is not None
        line = next((line for line in ui.stderr if "ready" in line), "")
        assert f"http://127.0.0.1:{port}" in line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert b"MLflow" in page.read()
        ui.send_signal(how)
        try:
            assert ui.wait(60) == 0
        finally:
            ui.kill()  # does nothing to a process that has ended; leaving the block waits for one that has not
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if _holds(path, mark["HRNN_UI_TEST"])]


def _holds(environ: Path, mark: str) -> bool:
    try:
        return f"HRNN_UI_TEST={mark}".encode() in environ.read_bytes() and environ.parent.name != str(os.getpid())
    except OSError:
        return False
