"""Files that are written whole or not at all."""

import os
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
