"""Folders that appear under their name only when they are whole, and what killed processes have left of them.

A folder in the making lies beside its place under a hidden name, with a lock file that its process holds.
"""

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_STALE_SECONDS = 3600  # after which a lock file without a folder is litter


def longest_name(target: Path) -> Path:
    """Return the longest path that `temporary_sibling` makes: where it may not stand, no folder can be made."""
    return target.with_name(f".{target.name}.{'0' * 12}.lock")


@contextmanager
def temporary_sibling(target: Path) -> Iterator[Path]:
    """Give a new folder beside `target` that is gone afterwards, unless it was published."""
    folder = target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    with FileLock(lock):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def publish(folder: Path, target: Path, holds: Callable[[], bool]) -> None:
    """Give a complete folder its name, in one step for those who look: they see nothing, the old or the new.

    `holds` says whether the target has the same content already: another process was faster.
    """
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    try:
        folder.replace(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if holds():
            return
        with temporary_sibling(target) as old:
            target.replace(old)
            folder.replace(target)


def clean_up(parent: Path, name: str | None = None) -> int:
    """Remove what killed processes left beside a folder of that name, or of any; return how many folders it was."""
    pattern = re.compile(rf"\.{re.escape(name) if name else '.+'}\.[0-9a-f]{{12}}(\.lock)?")
    n_removed = 0
    if not parent.is_dir():
        return 0
    for entry in parent.iterdir():
        if not pattern.fullmatch(entry.name):
            continue
        if entry.suffix == ".lock":
            if not entry.with_suffix("").exists() and _age(entry) > _STALE_SECONDS:
                entry.unlink(missing_ok=True)
            continue
        lock = entry.with_name(f"{entry.name}.lock")
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(entry, ignore_errors=True)
                n_removed += 1
                lock.unlink(missing_ok=True)
        except (Timeout, OSError):
            continue  # its process lives, or it is not ours to remove
    return n_removed


def _age(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return 0.0
