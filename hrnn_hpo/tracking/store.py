"""An MLflow store: opened, with our experiment in it, or created; and MLflow kept quiet meanwhile."""

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hrnn_hpo.stores import creating, mlflow_address, sqlite_file, without_password

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# MLflow's own seven retries with growing pauses would hold up a trial for minutes when a server is down.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

EXPERIMENT = "hrnn-hpo"
# What MLflow's pages look for: that this is model training, and what it is about.
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Each run without a parent is a study; below it stand its trials.",
}
# Columns in which MLflow keeps absolute artifact addresses.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def open_store(uri: str) -> tuple[Any, str]:
    """Return a client and the id of our experiment, both created where they are missing."""
    file = sqlite_file(uri)
    with quiet():
        if file is None:
            return _client(uri, None)
        with creating(file):
            opened = _client(uri, file.parent / "artifacts")
            rebase_artifacts(file)
            return opened


def _client(uri: str, artifacts: Path | None) -> tuple[Any, str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow_address(uri), registry_uri=mlflow_address(uri))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        location = artifacts.absolute().as_uri() if artifacts else None
        return client, client.create_experiment(EXPERIMENT, artifact_location=location, tags=EXPERIMENT_TAGS)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    for key in EXPERIMENT_TAGS.keys() - experiment.tags.keys():  # of an earlier version's store; a user's own stay
        client.set_experiment_tag(experiment.experiment_id, key, EXPERIMENT_TAGS[key])
    return client, experiment.experiment_id


def rebase_artifacts(file: Path) -> None:
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
def quiet() -> Iterator[None]:
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
def default_store(uri: str) -> Iterator[None]:
    """Let those of MLflow's functions that take no address use this one; the caller's comes back afterwards.

    MLflow keeps an address that is set in the environment too, where it would outlive this call, for other stores of
    this process and for its children.
    """
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    mlflow.set_tracking_uri(mlflow_address(uri))
    mlflow.set_registry_uri(mlflow_address(uri))
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


def first_line(error: BaseException) -> str:
    """Return what an error says first, without the password of an address in it."""
    return without_password((str(error).strip().splitlines() or [type(error).__name__])[0])
