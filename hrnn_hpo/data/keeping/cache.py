"""Where the cache lies, and which log was prepared where, so that a command given the raw file can say what to give.

What lies in the cache is prepared's and datasets' work.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Return where prepared and fetched data is kept.

    HRNN_HPO_CACHE, else cache/ under HRNN_HPO_HOME, else hrnn-hpo in the user's cache folder.
    """
    chosen = os.environ.get("HRNN_HPO_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    home = os.environ.get("HRNN_HPO_HOME")
    if home:
        return Path(home).expanduser() / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hrnn-hpo"


def _record_file(source: Any) -> Path | None:
    if not isinstance(source, str | Path):
        if not isinstance(source, list | tuple) or len(source) != 1:
            return None
        source = source[0]
    digest = hashlib.sha256(str(Path(source).absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "prepared_from" / f"{digest[:32]}.json"


def remember(source: Any, folder: Path, options: str) -> None:
    """Keep where a log was prepared, and with which options of the command line."""
    file = _record_file(source)
    if file is None:
        return
    content = {"folder": str(folder.absolute()), "options": options}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as text:
            json.dump(content, text)
        Path(text.name).replace(file)
    except OSError:
        return  # a hint less


def earlier_preparation(source: Any, is_prepared: Callable[[Path], bool]) -> str | None:
    """Return a sentence on where a log was prepared with options, if it was and is still there."""
    file = _record_file(source)
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file is not None else {}
        folder, told = Path(content["folder"]), str(content["options"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not told or not is_prepared(folder):
        return None
    return f"It was prepared with {told}: give {folder} in its place."
