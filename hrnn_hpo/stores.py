"""Where the embedded stores live: mlruns/ with mlflow.db, optuna.db, artifacts and the trials' files.

Addresses only; opening a store is the work of study/storage/database.py and tracking/.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock

from hrnn_hpo.errors import ConfigError

_SQLITE = "sqlite:///"
RESERVED_ENDINGS = (" (confirmation)", " (widening)")  # of the names of studies that one keeps beside it
BUSY_SECONDS = 60  # how long a writer waits for another process's transaction


def mlruns_folder() -> Path:
    """Return the absolute mlruns/ folder: under HRNN_HPO_HOME where that is set, else under the working folder."""
    return Path(os.environ.get("HRNN_HPO_HOME") or ".").expanduser().absolute() / "mlruns"


def storage_address(url: str | None = None) -> str:
    """Return Optuna's database address, HRNN_HPO_STORAGE before the embedded one.

    A relative SQLite file becomes absolute, PostgreSQL's driver is named.
    """
    url = url or os.environ.get("HRNN_HPO_STORAGE")
    if not url:
        return sqlite_address(mlruns_folder() / "optuna.db")
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", _absolute(url))


def tracking_address(uri: str | None = None) -> str:
    """Return MLflow's store address, MLFLOW_TRACKING_URI before the embedded one; SQLite files become absolute."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    return _absolute(uri) if uri else sqlite_address(mlruns_folder() / "mlflow.db")


def require_apart(storage: str, tracking: str) -> None:
    """Raise ConfigError where Optuna and MLflow are to share a database: their tables carry the same names."""
    one, other = sqlite_file(storage), sqlite_file(tracking)
    plain = [re.sub(r"^postgresql\+\w+://", "postgresql://", address) for address in (storage, tracking)]
    shared = one == other if one is not None and other is not None else plain[0] == plain[1]
    if shared:
        place = one if one is not None else re.sub(r"//.*@", "//", storage)
        raise ConfigError(
            f"--storage and --tracking-uri (or HRNN_HPO_STORAGE and MLFLOW_TRACKING_URI) must be two databases, since "
            f"Optuna and MLflow both keep a table `alembic_version`, but both are {place}."
        )


def without_password(address: str) -> str:
    """Return an address as it may be shown."""
    return re.sub(r"(://[^/@]*?):[^/]*@", r"\1:***@", address)


def sqlite_address(file: Path) -> str:
    """Return SQLAlchemy's address of a SQLite file, whatever characters its path has: it decodes %XX and ends at ?."""
    return _SQLITE + str(file).replace("%", "%25").replace("?", "%3F")


def mlflow_address(address: str) -> str:
    """Return a store's address as MLflow, this process's or a server's, is to be told it.

    Of an address that begins with sqlite:/// MLflow makes the folder, and does not decode %XX as SQLAlchemy does: it
    would make another one. Where the driver is named it makes none.
    """
    return address.replace(_SQLITE, "sqlite+pysqlite:///", 1) if "%" in address else address


def sqlite_file(address: str) -> Path | None:
    """Return the file of a SQLite address, None for servers and for databases in memory."""
    if not address.startswith(_SQLITE) or ":memory:" in address:
        return None
    path = unquote(address.removeprefix(_SQLITE).partition("?")[0])
    return Path(path) if path else None


@contextmanager
def creating(file: Path) -> Iterator[None]:
    """Let one process at a time create a SQLite database, and leave it in write-ahead-log mode.

    MLflow's and Optuna's first migrations fail when two processes run them at once.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        connection = sqlite3.connect(file, timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA journal_mode=WAL")  # stays in the file; readers never block the writer
        finally:
            connection.close()
        yield


def _absolute(address: str) -> str:
    file = sqlite_file(address)
    if file is None or file.is_absolute():
        return address
    _, mark, options = address.partition("?")
    return sqlite_address(file.absolute()) + mark + options
