"""MLflow behind one small class: runs, parameters, metrics, tags and files. The only file that imports mlflow.

A tracking store that fails never costs a trial: it turns into a warning, and the run is noted for a later sync.
"""

import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hrnn_hpo import __version__
from hrnn_hpo.errors import ConfigError, RunFailedError
from hrnn_hpo.stores import creating, sqlite_file, tracking_address

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# MLflow's own seven retries with growing pauses would hold up a trial for minutes when a server is down.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

T = TypeVar("T")
EXPERIMENT = "hrnn-hpo"
PYFUNC_LOADER = "hrnn_hpo.serving.pyfunc_model"
PAUSE_SECONDS = 15.0  # after a failure the store is left alone for so long
# Columns in which MLflow keeps absolute artifact addresses.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_log = logging.getLogger(__name__)


class Tracker:
    """Runs in one MLflow store. Opening it may fail; after that, nothing it is told to write raises.

    `behind` holds the runs that missed something: whoever has the facts writes them again. Writing the same
    metric (name, value, step, timestamp) twice leaves one.
    """

    def __init__(self, uri: str | None = None) -> None:
        self.uri = tracking_address(uri)
        self.behind: set[str] = set()
        self._warned = False
        self._resume_at = 0.0
        try:
            self._client, self._experiment = _open(self.uri)
        except Exception as error:
            raise RunFailedError(
                f"The tracking store {self.uri} cannot be opened: {_first_line(error)}\n"
                "Start the server, or leave --tracking-uri out to use the embedded store."
            ) from error

    def start_run(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str], params: Mapping[str, Any] | None = None
    ) -> str | None:
        """Create a run, below `parent` where one is given, and return its id; None when the store failed."""
        from mlflow.entities import Param

        all_tags = {**tags, **({"mlflow.parentRunId": parent} if parent else {})}

        def create() -> str:
            run_id: str = self._client.create_run(self._experiment, run_name=name, tags=all_tags).info.run_id
            if params:
                self._client.log_batch(run_id, params=[Param(key, _text(value)) for key, value in params.items()])
            return run_id

        return self._attempt(None, create)

    def find_run(self, tags: Mapping[str, str]) -> str | None:
        """Return the id of the newest run that carries all these tags."""
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = self._attempt(None, lambda: self._client.search_runs([self._experiment], query, max_results=1))
        return found[0].info.run_id if found else None

    def log_metrics(self, run_id: str | None, metrics: Mapping[str, float], step: int, timestamp: float) -> None:
        """Write metrics of one step in one batch; `timestamp` is seconds since 1970 and part of their identity."""
        from mlflow.entities import Metric

        moment = int(timestamp * 1000)
        entries = [Metric(name, float(value), moment, step) for name, value in metrics.items()]
        self._write(run_id, lambda: self._client.log_batch(run_id, metrics=entries))

    def set_tags(self, run_id: str | None, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a run."""
        from mlflow.entities import RunTag

        self._write(
            run_id, lambda: self._client.log_batch(run_id, tags=[RunTag(key, _text(tags[key])) for key in tags])
        )

    def log_text(self, run_id: str | None, text: str, file: str) -> None:
        """Write a text as an artifact of a run."""
        self._write(run_id, lambda: self._client.log_text(run_id, text, file))

    def log_file(self, run_id: str | None, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder's content, to the artifacts of a run."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._write(run_id, lambda: log(run_id, str(path), folder))

    def register_model(self, run_id: str | None, name: str, folder: Path, tags: Mapping[str, str]) -> None:
        """Register a model folder as the next version of `name`, with the run that made it.

        It is a pyfunc model whose loader is serving/pyfunc_model.py: no pickled code is written. A version with the
        same tags stays as it is, so writing twice leaves one.
        """
        self._write(run_id, lambda: _register(self._client, self._experiment, self.uri, run_id, name, folder, tags))

    def end_run(self, run_id: str | None, status: str) -> None:
        """Close a run as FINISHED, FAILED or KILLED, or open it again as RUNNING."""
        if status == "RUNNING":
            self._write(run_id, lambda: self._client.update_run(run_id, status=status))
        else:
            self._write(run_id, lambda: self._client.set_terminated(run_id, status))

    def delete_run(self, run_id: str | None) -> None:
        """Mark a run deleted, as MLflow's own UI does."""
        self._write(run_id, lambda: self._client.delete_run(run_id))

    def child_runs(self, parent: str) -> list[str]:
        """Return the ids of the runs below a run."""
        return [run.info.run_id for run in self._children(parent) or []]

    def closed_children(self, parent: str, tag: str) -> set[str] | None:
        """Return the values of a tag over the ended runs below a run; None when the store failed."""
        found = self._children(parent)
        if found is None:
            return None
        return {run.data.tags[tag] for run in found if tag in run.data.tags and run.info.status != "RUNNING"}

    def _children(self, parent: str) -> list[Any] | None:
        query = f"tags.`mlflow.parentRunId` = '{parent}'"
        return self._attempt(
            None, lambda: list(self._client.search_runs([self._experiment], query, max_results=50_000))
        )

    def _write(self, run_id: str | None, call: Callable[[], Any]) -> None:
        if run_id is not None:
            self._attempt(run_id, call)

    def _attempt(self, run_id: str | None, call: Callable[[], T]) -> T | None:
        """Return what the call returns; None when it fails or the store is being left alone after a failure."""
        if time.monotonic() >= self._resume_at:
            try:
                with _quiet():
                    return call()
            except Exception as error:  # whatever a store, a network or a disk may raise
                self._resume_at = time.monotonic() + PAUSE_SECONDS
                if not self._warned:
                    _log.warning("MLflow could not be written (%s); the study goes on.", _first_line(error))
                self._warned = True
        if run_id is not None:
            self.behind.add(run_id)
        return None


def git_commit() -> str | None:
    """Return the commit of the working folder, with `-dirty` where files differ; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def serve_ui(uri: str | None, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve MLflow's UI on a store until SIGINT or SIGTERM; `ready` is told the address once it answers.

    Raises RunFailedError when the port is taken or the server ends by itself, ConfigError for an address that is a
    server already.
    """
    address = tracking_address(uri)
    if address.startswith(("http:", "https:")):
        raise ConfigError(f"{address} is a server with a user interface of its own: open it in a browser.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RunFailedError(f"Port {port} of {host} is not free ({error.strerror}); try --port.") from None
    Tracker(address)  # creates or upgrades the store before the server's processes race for it
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address]
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
    )
    try:
        while process.poll() is None and not _answers(host, port):
            time.sleep(0.3)
        if process.poll() is None:
            ready(f"http://{host}:{port}")
            process.wait()
        raise RunFailedError(f"MLflow's server ended by itself (exit code {process.returncode}).")
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _register(
    client: Any, experiment: str, uri: str, run_id: str | None, name: str, folder: Path, tags: Mapping[str, str]
) -> None:
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    if client.search_registered_models(f"name = '{name}'"):
        known = client.search_model_versions(f"name = '{name}'")
        if any(tags.items() <= version.tags.items() for version in known):
            return
    else:
        client.create_registered_model(name)
    signature = ModelSignature(params=ParamSchema([ParamSpec("k", "long", 25)]))  # without, MLflow drops `params`
    with _default_store(uri):
        model = client.create_logged_model(experiment, name="model", source_run_id=run_id, tags=dict(tags))
        with tempfile.TemporaryDirectory() as parent:
            packed = Path(parent) / "packed"
            mlflow.pyfunc.save_model(
                path=packed,
                loader_module=PYFUNC_LOADER,
                data_path=str(folder),
                mlflow_model=Model(run_id=run_id, model_id=model.model_id),
                signature=signature,
                pip_requirements=[f"hrnn-hpo=={__version__}"],
            )
            client.log_model_artifacts(model.model_id, str(packed))
        client.finalize_logged_model(model.model_id, "READY")
        source = f"models:/{model.model_id}"
        client.create_model_version(name, source=source, run_id=run_id, model_id=model.model_id, tags=dict(tags))


def _answers(host: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _open(uri: str) -> tuple[Any, str]:
    """Return a client and the id of our experiment, both created where they are missing."""
    file = sqlite_file(uri)
    with _quiet():
        if file is None:
            return _client(uri, None)
        with creating(file):
            opened = _client(uri, file.parent / "artifacts")
            _rebase_artifacts(file)
            return opened


def _client(uri: str, artifacts: Path | None) -> tuple[Any, str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        location = artifacts.absolute().as_uri() if artifacts else None
        return client, client.create_experiment(EXPERIMENT, artifact_location=location)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return client, experiment.experiment_id


def _rebase_artifacts(file: Path) -> None:
    """Point MLflow's absolute artifact addresses at the folder beside the database, which may have been moved."""
    here = (file.parent / "artifacts").absolute().as_uri()
    connection = sqlite3.connect(file, timeout=60)
    try:
        row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
        if row is None or row[0] == here or not row[0].startswith("file:") or not row[0].endswith("/artifacts"):
            return
        for table, column in _LOCATIONS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE substr({column} || '/', 1, ?) = ? || '/'",
                (here, len(row[0]) + 1, len(row[0]) + 1, row[0]),
            )
        connection.commit()
    finally:
        connection.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's migration messages and its dependencies' deprecation warnings from the user's screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        # About MLflow's own models, on import; and that a model of ours comes without an example.
        warnings.filterwarnings("ignore", ".*(Any type hint|input example)", UserWarning)
        import mlflow  # noqa: F401 (sets its own log level on import)

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        yield


@contextmanager
def _default_store(uri: str) -> Iterator[None]:
    """Let those of MLflow's functions that take no address use this one; the caller's comes back afterwards.

    MLflow keeps an address that is set in the environment too, where it would outlive this call, for other stores of
    this process and for its children.
    """
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        # Unset, MLflow looks at the environment, which holds what the caller had set in either way.
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def download_model(address: str, uri: str | None = None) -> Path:
    """Return the model folder of a registered model, `models:/name/version` or `models:/name@alias`.

    Raises ConfigError when the registry does not hold it.
    """
    import mlflow

    store = tracking_address(uri)
    file = sqlite_file(store)
    try:
        if file is not None and file.exists():
            _rebase_artifacts(file)
        with _quiet(), _default_store(store):
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=address))
        packed = folder / "MLmodel"
        if not packed.is_file():
            return folder
        content = yaml.safe_load(packed.read_text(encoding="utf-8"))
        return folder / str(content["flavors"]["python_function"]["data"])
    except Exception as error:
        raise ConfigError(f"{address}: cannot be fetched from {store} ({_first_line(error)}).") from error
