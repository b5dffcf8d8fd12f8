"""Other people's trainers, each behind a driver (drivers/) that runs in an environment of its own.

A driver reads its settings as JSON from standard input and tells `EPOCH {…}` and `RESULT {…}` on standard output, a
line each; whatever else a library prints there is passed over.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DRIVERS = Path(__file__).parent / "drivers"
EPOCH, RESULT = "EPOCH", "RESULT"


def told_by(
    driver: str, python: Path | str, settings: Mapping[str, Any], environment: Mapping[str, str | None], folder: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a driver tells as it comes, (EPOCH or RESULT, content); it works in `folder`.

    `environment` is set over that of this process; None takes a variable away. SystemExit tells of a driver that fails.
    """
    # GOMP_SPINCOUNT is ours, set when hrnn_hpo was imported here: each library waits in its own way.
    wanted = {**os.environ, "GOMP_SPINCOUNT": None, **environment}
    with subprocess.Popen(
        [str(python), "-W", "ignore", str(DRIVERS / driver)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in wanted.items() if value is not None},
        cwd=folder,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(settings))
        process.stdin.close()
        for line in process.stdout:
            kind, _, text = line.partition(" ")
            if kind in (EPOCH, RESULT):
                yield kind, json.loads(text)
    if process.returncode:
        raise SystemExit(f"{driver} ended with exit code {process.returncode}.")
