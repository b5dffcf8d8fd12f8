"""What each trial scored for each validation user after each epoch, in a table of the study's own database.

So every worker reaches the figures, wherever it runs. They stay outside Optuna's attributes, which samplers and pages
read whole. Trials go by their place in the study, which retries and continuations share.
"""

import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from optuna.storages import RDBStorage
from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    delete,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from hrnn_hpo.errors import RunFailedError
from hrnn_hpo.study.folders import files_key
from hrnn_hpo.study.storage.retrying import retried

MOST_BYTES = 2_000_000  # of a trial's figures, before they are compressed
_BYTES = 2  # of a float16: a figure in [0, 1] to three digits
# A metric of one's own may be larger than a float16 can be, or lose its digits there: then a power of 2 stands before
# the figures, behind a byte with which no compressed text begins.
_SCALED, _SCALE = b"s", struct.Struct("<d")
_USUAL = 2.0**-7, float(np.finfo(np.float16).max)  # between which the largest figure needs none
_TABLE = Table(
    "hrnn_hpo_user_figures",
    MetaData(),
    Column("study", String(64), primary_key=True),  # folders.files_key: uid and name
    Column("trial", Integer, primary_key=True, autoincrement=False),  # its place
    Column("epoch", Integer, primary_key=True, autoincrement=False),  # counts from 1
    Column("figures", LargeBinary(MOST_BYTES), nullable=False),
)


class UserFigures:
    """The figures of one study's trials, read and written by place and epoch."""

    def __init__(self, storage: RDBStorage, uid: str, name: str, max_epochs: int) -> None:
        self._engine = storage.engine
        self._study = files_key(uid, name)
        self._most_users = max(MOST_BYTES // (_BYTES * max_epochs), 1)

    def write(self, place: int, epoch: int, figures: NDArray[np.floating]) -> None:
        """Keep an epoch's figures, (R,); of more users than fit every second, third, … one, always the same."""
        every = math.ceil(len(figures) / self._most_users)
        content = _packed(figures[::every])
        row = {"study": self._study, "trial": place, "epoch": epoch, "figures": content}

        def replace() -> None:
            with self._engine.begin() as connection:
                connection.execute(delete(_TABLE).where(self._is(place, epoch)))
                connection.execute(insert(_TABLE).values(**row))

        try:
            retried(replace)()
        except IntegrityError:  # a worker that was taken for dead wrote the same epoch in the same moment
            retried(replace)()

    def read(self, place: int, epoch: int) -> NDArray[np.float64] | None:
        """Return an epoch's figures, the same users in the same order for all trials; None where none were kept."""

        def find() -> bytes | None:
            with self._engine.connect() as connection:
                found: bytes | None = connection.scalar(select(_TABLE.c.figures).where(self._is(place, epoch)))
                return found

        content = retried(find)()
        return None if content is None else _unpacked(content)

    def standard_error(self, place: int, epoch: int, n_users: int) -> float | None:
        """Return the standard error of the mean of an epoch's figures over `n_users`, some of which may be kept.

        It is their standard deviation over the root of their number, what a bootstrap over users estimates by drawing.
        """
        figures = self.read(place, epoch)
        known = np.empty(0) if figures is None else figures[~np.isnan(figures)]
        return None if len(known) < 2 else float(known.std(ddof=1)) / math.sqrt(n_users)

    def _is(self, place: int, epoch: int) -> ColumnElement[bool]:
        return and_(_TABLE.c.study == self._study, _TABLE.c.trial == place, _TABLE.c.epoch == epoch)


def _packed(figures: NDArray[np.floating]) -> bytes:
    largest = float(np.nanmax(np.abs(figures), initial=0.0))
    if largest == 0.0 or _USUAL[0] <= largest <= _USUAL[1]:
        return zlib.compress(figures.astype(np.float16).tobytes(), 1)
    scale = 2.0 ** math.floor(math.log2(largest))
    return _SCALED + _SCALE.pack(scale) + zlib.compress((figures / scale).astype(np.float16).tobytes(), 1)


def _unpacked(content: bytes) -> NDArray[np.float64]:
    scale = 1.0
    if content.startswith(_SCALED):
        (scale,) = _SCALE.unpack_from(content, len(_SCALED))
        content = content[len(_SCALED) + _SCALE.size :]
    return np.frombuffer(zlib.decompress(content), np.float16).astype(np.float64) * scale


def create_table(storage: RDBStorage) -> None:
    """Create the table where the database lacks it. Raises RunFailedError where that is not allowed."""
    try:
        try:
            retried(_TABLE.create)(storage.engine, checkfirst=True)
        except DBAPIError:  # another process was first
            _TABLE.create(storage.engine, checkfirst=True)
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise RunFailedError(
            f"The table {_TABLE.name}, which keeps the users' figures, cannot be created in the study's storage: "
            f"{reason}. Let whoever may create tables there run `tune` once."
        ) from error


def has_figures(storage: RDBStorage) -> bool:
    """Return whether the database has the table: one that earlier versions alone have used lacks it."""
    found: bool = retried(lambda: inspect(storage.engine).has_table(_TABLE.name))()
    return found


def studies_with_figures(storage: RDBStorage) -> list[str]:
    """Return the keys (`files_key`) of all studies that the table holds figures of."""

    def find() -> list[str]:
        with storage.engine.connect() as connection:
            return list(connection.scalars(select(_TABLE.c.study).distinct()))

    found: list[str] = retried(find)() if has_figures(storage) else []
    return found


def drop_figures(storage: RDBStorage, key: str) -> None:
    """Delete the figures of the study with this key."""

    def drop() -> None:
        with storage.engine.begin() as connection:
            connection.execute(delete(_TABLE).where(_TABLE.c.study == key))

    if has_figures(storage):
        retried(drop)()
