"""Files that are written whole or not at all, and what is asked of their places before hours are spent on them."""

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hrnn_hpo.errors import ConfigError, HRNNError, RunFailedError

# Streams also where they lead to a plain file, which is being written then.
_STREAMS = ("/dev/stdin", "/dev/stdout", "/dev/stderr")
_STREAM_FOLDERS = ("/dev/fd/", "/proc/")
_GAVE_OUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE)  # the disk or the reader, where the place was right


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a draft, with the same ending, to write; it takes the file's place if the block ends well, else it goes.

    The folders that the file needs are made. A link stays one. What is no plain file, such as /dev/stdout or a pipe, is
    written as it stands: a file in its place would take it away from everybody else. Raises OSError.
    """
    if _is_stream(path):
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    draft = target.with_name(f".partial-{uuid.uuid4().hex[:12]}{''.join(target.suffixes[-2:])[-20:]}")
    try:
        yield draft
        draft.replace(target)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the folders it needs."""
    try:
        with whole_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error


def require_html(path: Path, what: str) -> None:
    """Raise ConfigError for the name of an HTML file that ends otherwise: a log in its place would be lost."""
    if path.suffix.lower() not in (".html", ".htm") and not _is_stream(path):
        raise ConfigError(f"{path}: {what} is an HTML file, so its name must end in .html.")


def unwritable(path: Path, error: OSError, kind: type[HRNNError] = ConfigError) -> HRNNError:
    """Return the error of a file that could not be written: RunFailedError where the disk is full, else a `kind`."""
    failed = RunFailedError if error.errno in _GAVE_OUT else kind
    return failed(f"{path}: cannot be written ({error.strerror or error}).")


def _is_stream(path: Path) -> bool:
    place = str(path.absolute())
    if place in _STREAMS or place.startswith(_STREAM_FOLDERS):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def require_writable(path: Path) -> None:
    """Make the folder of a file that is to be written later, and raise ConfigError where no file can stand there."""
    try:
        if path.is_dir() or path.name in ("", ".."):
            raise ConfigError(f"{path}: a file is to be written there, but it is a folder.")
        if _is_stream(path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:200]}."):
            path.exists()  # raises where the name is too long
    except OSError as error:
        raise unwritable(path, error) from error
