"""Whether another process of this machine still runs."""

import contextlib
import os
from pathlib import Path


def is_gone(pid: int) -> bool:
    """Return whether no process of this machine has the number any more; where nobody can tell, it is not gone."""
    if os.name == "nt":  # there, os.kill(pid, 0) ends a process
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended and only waits for its parent to notice."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
