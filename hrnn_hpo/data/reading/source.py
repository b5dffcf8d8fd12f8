"""Which files a log consists of, and what each of them is: CSV, JSON lines or Parquet, packed or not, or a DataFrame.

A source is a path, a glob, several of them, a folder (interactions.csv and its tables, or part files), or a table.
Nothing but the first bytes of a file is looked at.
"""

import glob
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, cast
from urllib.parse import unquote

from hrnn_hpo.errors import DataError

Kind = Literal["csv", "jsonl", "parquet", "frame"]
ROLES = ("interactions", "items", "users")
FRAME = "DataFrame"
UNREADABLE = (OSError, EOFError, ValueError, zlib.error)  # what files raise that cannot be unpacked or read
_HEAD = 4096
_PIECE = 2**20
_PACKED = {".gz": "gzip", ".zst": "zstd"}
_ENDINGS = {".csv", ".tsv", ".txt", ".dat", ".data", ".tab", ".inter", ".jsonl", ".ndjson", ".json", ".parquet", ""}
_JSON = {".jsonl", ".ndjson", ".json"}
_MARKS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # how packed files begin
_OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save it as CSV",
    b"BZh": "packed with bzip2; unpack it, or pack it with gzip or zstd",
    b"\xfd7zXZ": "packed with xz; unpack it, or pack it with gzip or zstd",
    b"Obj\x01": "an Avro file; write it as Parquet or CSV",
    b"ORC": "an ORC file; write it as Parquet or CSV",
    b"SQLite format 3": "a SQLite database; write its table as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as CSV",
}
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_UTF16 = "UTF-16 text; write it as UTF-8, for example with iconv -f utf-16 -t utf-8"

SourceLike = Any  # str | Path | Sequence[str | Path] | DataFrame


@dataclass(frozen=True)
class LogFile:
    """One table of a log: its role, where it lies and how to open it."""

    role: str
    kind: Kind
    path: Path | None = None
    packing: str | None = None
    constants: tuple[tuple[str, str], ...] = ()  # columns that the names of its folders give, as in USER_ID=9/
    frame: Any = None

    @property
    def place(self) -> str:
        """Return what messages call it."""
        return FRAME if self.path is None else str(self.path)

    @property
    def row_word(self) -> str:
        """Return what a row's number counts: lines of text, rows from 1, or rows of a DataFrame from 0."""
        return {"frame": "iloc", "parquet": "row"}.get(self.kind, "line")

    def open(self) -> IO[bytes]:
        """Return the unpacked bytes."""
        assert self.path is not None
        return _open(self.path, self.packing)

    def is_whole(self) -> bool:
        """Return whether a packed file is there to its end, with the bytes that were packed.

        DuckDB takes the end of a file that is cut for the end of its rows, and compares no checksum.
        """
        if self.packing is None:
            return True
        try:
            with self.open() as content:
                while content.read(_PIECE):
                    pass
        except UNREADABLE:
            return False
        return True


@dataclass(frozen=True)
class Source:
    """The tables of a log, in the order in which they are read."""

    name: str
    files: tuple[LogFile, ...]

    def of(self, role: str) -> list[LogFile]:
        return [file for file in self.files if file.role == role]

    def content_hash(self, salt: str) -> str:
        """Return the sha256 over the bytes and roles of all files; where they lie does not matter."""
        digest = hashlib.sha256(salt.encode())
        for file in self.files:
            digest.update(f"\n{file.role}:{file.constants}:{_file_hash(file)}".encode())
        return digest.hexdigest()

    def stamps(self) -> list[tuple[int, int]]:
        """Return size and time of change of each file: what says whether one is written while it is read."""
        found = [file.path.stat() for file in self.files if file.path is not None]
        return [(stat.st_size, stat.st_mtime_ns) for stat in found]


def is_table(source: Any) -> bool:
    """Return whether a source is a table in memory: a DataFrame of pandas or polars, or an Arrow table."""
    return hasattr(source, "__arrow_c_stream__") or hasattr(source, "iloc")


def find_source(source: SourceLike) -> Source:
    """Return the tables that a source names.

    Raises DataError when there is no such file, no file at all, two for one role, or one of a kind that is not read.
    """
    if is_table(source):
        return Source(FRAME, (LogFile("interactions", "frame", frame=source),))
    if isinstance(source, Sequence) and not isinstance(source, str):
        files = [file for part in source for file in find_source(part).files]
        if not files:
            raise DataError("At least one file must be named, but got none.")
        named = [file.path for file in files]
        twice = [path for path in named if named.count(path) > 1]
        if twice:
            raise DataError(f"{twice[0]}: must be named once, but came {named.count(twice[0])} times.")
        return Source(", ".join(str(part) for part in source), _in_order(files))
    if not isinstance(source, str | Path):
        raise DataError(
            "A log must be a path, a pattern, several of them, or a table of pandas, polars or Arrow, but got "
            f"{source!r:.80} ({type(source).__name__})."
        )
    path = Path(source)
    try:
        if path.is_dir():
            return Source(str(source), _in_order(_folder_files(path)))
        if path.exists():
            return Source(str(source), (_log_file(path, "interactions"),))
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror}).") from error
    if glob.has_magic(str(source)):
        return Source(str(source), _in_order(_matching_files(str(source))))
    raise DataError(f"{path}: there is no such file or folder.")


def _matching_files(pattern: str) -> list[LogFile]:
    """Return the files with a name of a pattern, those aside that Spark and Hadoop put beside the data."""
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - a whole path with wildcards is what came
    found = sorted(Path(name) for name in names if Path(name).is_file())
    parts = Path(pattern).parts
    if not parts[-1].startswith("_"):
        found = [file for file in found if not file.name.startswith("_")]
    if not found:
        raise DataError(f"{pattern}: no file has a name of this pattern.")
    n_plain = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    return [_log_file(file, "interactions", _constants(file.parts[n_plain:-1])) for file in found]


def first_lines(file: LogFile, n: int) -> Iterator[str]:
    """Yield the first lines of a text file, bytes that are not UTF-8 as lone surrogates."""
    with file.open() as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from islice(text, n)


def begins_blank(file: LogFile) -> bool:
    """Return whether the first line of a text file is blank."""
    return not next(first_lines(file, 1), "x").strip("\r\n")


def _in_order(files: list[LogFile]) -> tuple[LogFile, ...]:
    files = sorted(files, key=lambda file: ROLES.index(file.role))  # stable: files of one role keep their order
    kinds = {file.kind: file.place for file in files if file.role == "interactions"}
    if len(kinds) > 1:
        shown = " and ".join(f"{kind} ({place})" for kind, place in sorted(kinds.items()))
        raise DataError(f"All files of a log must be of one kind, but got {shown}.")
    return tuple(files)


def _folder_files(folder: Path) -> list[LogFile]:
    found: dict[str, list[Path]] = {role: [] for role in ROLES}
    for entry in sorted(folder.iterdir()):
        ending, _ = _ending(entry)
        role = entry.name.split(".")[0]
        if entry.is_file() and role in ROLES and ending in {".csv", ".tsv", ".jsonl", ".parquet"}:
            found[role].append(entry)
    for role, files in found.items():
        if len(files) > 1:
            names = " and ".join(file.name for file in files)
            raise DataError(f"{folder}: one file must stand there for {role}, but got {names}.")
    tables = [_log_file(files[0], role) for role, files in found.items() if files]
    return tables if found["interactions"] else [*_part_files(folder, tables), *tables]


def _part_files(folder: Path, tables: Sequence[LogFile]) -> list[LogFile]:
    """Return the part files below a folder, in the order of their names; hidden ones and `_SUCCESS` do not count."""
    parts = []
    others = [table.path for table in tables]
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_dir() or path in others or any(part.startswith((".", "_")) for part in inside.parts):
            continue
        if _ending(path)[0] not in _ENDINGS:
            raise DataError(
                f"{path}: a folder of part files must hold nothing but CSV, JSON lines or Parquet files. Without this "
                "one, or with their names or a pattern in quotes in place of the folder, it can be read."
            )
        parts.append(_log_file(path, "interactions", _constants(inside.parts[:-1])))
    if not parts:
        raise DataError(
            f"{folder}: interactions.csv or interactions.parquet must stand in a data folder, or part files, "
            "but there is neither."
        )
    return parts


def _constants(folders: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the columns that names of folders such as USER_ID=9 give: codes like %2F as signs, Hive's null as ""."""
    pairs = (folder.partition("=") for folder in folders)
    values = ((unquote(name), unquote(value)) for name, mark, value in pairs if mark and name)
    return tuple((name, "" if value == _HIVE_NULL else value) for name, value in values)


def _ending(path: Path) -> tuple[str, str | None]:
    """Return (ending without that of packing, packing) by a file's name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packing = _PACKED.get(suffixes[-1]) if suffixes else None
    rest = suffixes[:-1] if packing else suffixes
    return rest[-1] if rest else "", packing


def _log_file(path: Path, role: str, constants: tuple[tuple[str, str], ...] = ()) -> LogFile:
    if not path.is_file():
        raise DataError(f"{path}: must be a plain file: it is read more than once.")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        packing = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
        if packing is not None:
            with _open(path, packing) as unpacked:
                head = unpacked.read(_HEAD)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    kind = _kind(path, head)
    if kind == "parquet" and packing is not None:
        raise DataError(f"{path}: is Parquet packed with {packing}; unpack it.")
    return LogFile(role, kind, path, packing, constants)


def _kind(path: Path, head: bytes) -> Kind:
    if head.startswith(b"PAR1"):
        return "parquet"
    for mark, name in _OTHERS.items():
        if head.startswith(mark):
            raise DataError(f"{path}: must be CSV, JSON lines or Parquet, but is {name}.")
    if head[257:262] == b"ustar":
        raise DataError(f"{path}: must be CSV, JSON lines or Parquet, but is a tar archive; unpack it.")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _alternates_with_nul(head):
        raise DataError(f"{path}: must be UTF-8 text, but is {_UTF16}.")
    ending = _ending(path)[0]
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if ending == ".parquet":
        begins = text[:30].decode("utf-8", "replace")
        what = "is text; rename it to .csv or .jsonl" if b"\0" not in head else "is none"
        raise DataError(f"{path}: must be a Parquet file by its name, but {what} (it begins with {begins!r}).")
    if ending in _JSON or text.startswith(b"{"):
        if text.startswith(b"["):
            raise DataError(
                f"{path}: must hold one JSON object a line, but is one list; jq -c '.[]' writes its entries as lines."
            )
        return "jsonl"
    return "csv"


def _alternates_with_nul(head: bytes) -> bool:
    """Return whether every other byte of nearly all is NUL: UTF-16 without its mark."""
    pairs = len(head) // 2
    fewer, more = sorted((head[0::2].count(0), head[1::2].count(0)))
    return pairs >= 8 and more > 0.9 * pairs and fewer < 0.1 * pairs


def _open(path: Path, packing: str | None) -> IO[bytes]:
    if packing == "gzip":
        import gzip

        return cast(IO[bytes], gzip.open(path, "rb"))
    if packing == "zstd":
        import pyarrow as pa

        return cast(IO[bytes], io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))
    return path.open("rb")


def _file_hash(file: LogFile) -> str:
    if file.path is None:
        raise DataError("A DataFrame has no bytes to hash.")
    try:
        with file.path.open("rb") as raw:
            return hashlib.file_digest(raw, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file.path}: cannot be read ({error.strerror}).") from error
