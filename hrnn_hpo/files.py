"""Files that are written whole or not at all, and what is asked of their places before hours are spent on them.

What is being written lies beside its place as a hidden draft, which its process holds locked: a draft that nobody holds
was left by a killed one, and goes when the file is written again.
"""

import errno
import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hrnn_hpo.errors import ConfigError, HRNNError, RunFailedError

if os.name != "nt":  # there, drafts of killed processes stay
    import fcntl

# Streams also where they lead to a plain file, which is being written then.
_STREAMS = ("/dev/stdin", "/dev/stdout", "/dev/stderr")
_STREAM_FOLDERS = ("/dev/fd/", "/proc/")
_GAVE_OUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE)  # the disk or the reader, where the place was right


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a draft, with the same ending, to write; it takes the file's place if the block ends well, else it goes.

    The folders that the file needs are made. A link stays one. What is no plain file, such as /dev/stdout or a pipe, is
    written as it stands: a file in its place would take it away from everybody else. Drafts of this file that killed
    processes left go first. Raises OSError.
    """
    if _is_stream(path):
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    beginning = _beginning(target)
    _remove_left_drafts(target.parent, beginning)
    draft = target.with_name(f"{beginning}{uuid.uuid4().hex[:12]}{''.join(target.suffixes[-2:])[-20:]}")
    with _held(draft):
        try:
            yield draft
            draft.replace(target)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _beginning(target: Path) -> str:
    """Return how the names of a file's drafts begin: short, whatever the length of its own name."""
    return f".partial-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}-"


@contextmanager
def _held(draft: Path) -> Iterator[None]:
    """Make an empty draft and hold it, so that others see that its process lives; writers that open it keep it."""
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        if os.name != "nt":
            with suppress(OSError):  # a file system without locks: nobody gets one there, so nobody removes it either
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_left_drafts(folder: Path, beginning: str) -> None:
    if os.name == "nt":
        return
    name = re.compile(re.escape(beginning) + r"[0-9a-f]{12}(\..*)?")
    for entry in [entry for entry in folder.iterdir() if name.fullmatch(entry.name)]:
        with suppress(OSError):  # it is held, gone already, or not ours to remove
            handle = os.open(entry, os.O_WRONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                entry.unlink()
            finally:
                os.close(handle)


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
