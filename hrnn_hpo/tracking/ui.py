"""MLflow's user interface, served from a store until someone ends it, and the addresses of its pages."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress

from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.stores import mlflow_address, sqlite_file, tracking_address, without_password
from hrnn_hpo.tracking.pages import APP_NAME
from hrnn_hpo.tracking.tracker import Tracker


def serve_ui(uri: str | None, host: str, port: int, ready: Callable[[str], None], *, study: str | None = None) -> None:
    """Serve MLflow's UI on a store until SIGINT or SIGTERM; `ready` is told the page's address once it answers.

    The page is that of the study's run, or of all studies. Raises RunFailedError when the port is taken or the server
    ends by itself, ConfigError for an address that is a server already and for a study without a run in the store.
    """
    address = tracking_address(uri)
    if address.startswith(("http:", "https:")):
        raise ConfigError(
            f"{without_password(address)} is a server with a user interface of its own: open it in a browser."
        )
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python names the address once more
        raise RunFailedError(
            f"{host}:{port}: cannot be listened on ({reason}); try another --port or --host."
        ) from None
    tracker = Tracker(address)  # creates or upgrades the store before the server reads it
    page = _page(tracker, study)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", mlflow_address(address)]
    command += ["--app-name", APP_NAME]
    command += ["--workers", "1"]  # one reader: each more takes a second core and 300 MB to start
    file = sqlite_file(address)
    if file is not None:
        command += ["--artifacts-destination", str(file.parent / "artifacts")]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the server too, as Ctrl-C does
    # A group of its own, ended as a whole: the server starts workers.
    process = subprocess.Popen(
        [*command, "--host", host, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )
    try:
        while process.poll() is None and not _answers(_named(host), port):
            time.sleep(0.3)
        if process.poll() is None:
            ready(f"http://{_named(host)}:{port}/{page}")
            process.wait()
        raise RunFailedError(f"MLflow's server ended by itself (exit code {process.returncode}).")
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(named: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{named}:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _page(tracker: Tracker, study: str | None) -> str:
    if study is None:
        return f"{tracker.address()}?workflowType=machine_learning"
    run = tracker.find_run({"study": study, "role": "study"})
    if run is None:
        raise ConfigError(
            f"{without_password(tracker.uri)} holds no run of study {study!r}: look for it with `hrnn-hpo studies "
            "list`, and write its runs with `hrnn-hpo sync`."
        )
    return f"{tracker.address(run)}?workflowType=machine_learning"


def _named(host: str) -> str:
    """Return how a browser on this machine calls the host."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # every address of this machine
    return f"[{host}]" if ":" in host else host
