"""Optuna's database: opened with heartbeats and, on SQLite, with transactions that several workers can trust.

Where the embedded one lives is stores.py's business; what to do about dead workers is run/recovery.py's.
"""

import difflib
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from hrnn_hpo.errors import ConfigError, RunFailedError, StudyError
from hrnn_hpo.stores import BUSY_SECONDS, RESERVED_ENDINGS, creating, sqlite_file, storage_address
from hrnn_hpo.study.optuna_quiet import experimental_allowed, optuna_quiet
from hrnn_hpo.study.storage.retrying import RetryingStorage
from hrnn_hpo.study.storage.stale_trials import GRACE_SECONDS, HEARTBEAT_SECONDS, retry_stale_trial

TABLES_KEY = 0x68726E6E  # of the advisory lock: "hrnn"


def open_storage(url: str | None = None, *, create: bool = False) -> RDBStorage:
    """Return the storage at an address, the embedded one unless told.

    `create` makes it where there is none; without, a missing SQLite file is a StudyError. RunFailedError when a
    server does not answer.
    """
    address = storage_address(url)
    file = sqlite_file(address)
    if file is None:
        return _open(address)
    if not create and not file.exists():
        raise StudyError(f"There is no study storage at {file}; `hrnn-hpo tune` makes one, --storage names another.")
    with creating(file):
        return _open(address)


def create_study(
    name: str,
    storage: RDBStorage,
    *,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    directions: Sequence[StudyDirection] = (StudyDirection.MAXIMIZE,),
) -> Study:
    """Return a new study with a direction for each objective, or the one that has this name already.

    Raises StudyError for one that goes in other directions: a search would look for the worst.
    """
    with optuna_quiet():
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=sampler or RandomSampler(),
            pruner=pruner,
            directions=list(directions),
            load_if_exists=True,
        )
    if study.directions != list(directions):
        there, ours = (", ".join(one.name.lower() for one in some) for some in (study.directions, directions))
        raise StudyError(
            f"Study {name!r} is there already, to {there} and not to {ours}: another program has made it, or a command "
            "that was cut off. Give another --study name, or delete it."
        )
    return study


def load_study(
    name: str, storage: RDBStorage, *, sampler: BaseSampler | None = None, pruner: BasePruner | None = None
) -> Study:
    """Return the study of a name. Raises StudyError with the nearest name for one that the storage does not hold."""
    try:
        with optuna_quiet():
            return optuna.load_study(
                study_name=name, storage=storage, sampler=sampler or RandomSampler(), pruner=pruner
            )
    except KeyError:
        names = [one for one in study_names(storage) if not one.endswith(RESERVED_ENDINGS)]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f", did you mean {close[0]!r}?" if close else f"; it holds {', '.join(names[:10]) or 'none'}."
        raise StudyError(f"There is no study {name!r} in {storage_label(storage)}{hint}") from None


def has_study(name: str, storage: RDBStorage) -> bool:
    """Return whether the storage holds a study of this name."""
    return name in study_names(storage)


def study_names(storage: RDBStorage) -> list[str]:
    """Return the names of all studies in a storage, in alphabetical order."""
    return sorted(optuna.get_all_study_names(storage))


def storage_label(storage: RDBStorage) -> str:
    """Return a storage's address without its password."""
    return storage.engine.url.render_as_string(hide_password=True)


def _open(address: str) -> RDBStorage:
    from sqlalchemy.exc import ArgumentError

    sqlite = address.startswith("sqlite:")
    engine = {"connect_args": {"timeout": BUSY_SECONDS}} if sqlite else _server_options(address)
    retry: Callable[[Study, FrozenTrial], None] = retry_stale_trial
    try:
        with optuna_quiet(), experimental_allowed(), _creating_tables(address, engine):
            storage = RetryingStorage(
                address.replace("{", "{{").replace("}", "}}"),  # a template to Optuna
                engine_kwargs=engine,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=retry,
            )
    except ImportError as error:
        driver = "pip install 'hrnn-hpo[postgres]'" if address.startswith("postgresql") else "install its driver"
        raise ConfigError(f"--storage {address.partition(':')[0]}: needs a driver ({error}): {driver}.") from None
    except Exception as error:  # whatever a database driver raises
        if type(error) is ArgumentError:
            raise ConfigError(f"--storage must be an address such as sqlite:///optuna.db, but {error}.") from None
        reason = (str(error.__cause__ or error).strip().splitlines() or [type(error).__name__])[0]
        raise RunFailedError(
            f"The storage {address.partition('@')[2] or address} cannot be opened: {reason}"
        ) from error
    weakref.finalize(storage, storage.engine.dispose)  # a server counts the connections that nobody closes
    if sqlite:
        _serialize_transactions(storage)
    return storage


@contextmanager
def _creating_tables(address: str, options: dict[str, Any]) -> Iterator[None]:
    """Let one process at a time create PostgreSQL's tables: of two at once, one would fail."""
    if not address.startswith("postgresql"):
        yield
        return
    from sqlalchemy import create_engine, text

    engine = create_engine(address, **options)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": TABLES_KEY})
            yield
    finally:
        engine.dispose()  # and with the connection goes the lock


def _server_options(address: str) -> dict[str, Any]:
    """Return how to connect to a server: each connection is tried before its use, and a silent one is given up."""
    options: dict[str, Any] = {"pool_pre_ping": True}
    if address.startswith("postgresql"):
        options["connect_args"] = {
            "client_encoding": "utf8",  # of a database in SQL_ASCII the driver would return bytes
            "connect_timeout": 10,  # seconds, as all but the last
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,  # ms that sent data may stay unanswered
        }
    return options


def _serialize_transactions(storage: RDBStorage) -> None:
    """Let a SQLite transaction take the write lock when it begins.

    Optuna reads a row "for update" and then writes it, which SQLite ignores: two workers would both take the same
    waiting trial. BEGIN IMMEDIATE makes the second one wait its turn.
    """
    from sqlalchemy import event

    @event.listens_for(storage.engine, "connect")
    def _leave_begin_to_us(connection: object, _: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]
        # With the write-ahead log, what a killed process has committed stays; a power cut may cost the last moments.
        connection.execute("PRAGMA synchronous=NORMAL")  # type: ignore[attr-defined]

    @event.listens_for(storage.engine, "begin")
    def _begin(connection: object) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]

    storage.engine.dispose()  # connections made before the listeners
