"""Files that are written whole or not at all, and what is asked of their places before hours are spent on them."""

import os
import tempfile
from pathlib import Path

from hrnn_hpo.errors import ConfigError


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the folders it needs."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}).") from error


def require_writable(path: Path) -> None:
    """Make the folder of a file that is to be written later, and raise ConfigError where no file can stand there."""
    try:
        if path.is_dir() or path.name in ("", ".."):
            raise ConfigError(f"{path}: a file is to be written there, but it is a folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:200]}."):
            path.exists()  # raises where the name is too long
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}).") from error
