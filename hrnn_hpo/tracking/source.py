"""Where a run comes from: the program, who started it, the commit of the working folder."""

import getpass
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def git_commit() -> str | None:
    """Return the commit of the working folder, with `-dirty` where files differ; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def source_tags(commit: str | None) -> dict[str, str]:
    """Return the tags from which MLflow's pages tell source, author and commit of a run."""
    tags = {"mlflow.source.name": Path(sys.argv[0]).name or "python", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError):  # a container's user without a name
        tags["mlflow.user"] = getpass.getuser()
    return {**tags, **({"mlflow.source.git.commit": commit.removesuffix("-dirty")} if commit else {})}
