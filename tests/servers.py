"""Real servers for tests: PostgreSQL in a folder of its own, started and stopped at will; and the browser for pages."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_binaries() -> Path | None:
    """Return the folder with initdb and pg_ctl, the newest version's; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    folders += [Path(found).resolve().parent] if found else []
    return next((folder for folder in reversed(folders) if (folder / "pg_ctl").exists()), None)


def chromium() -> str | None:
    """Return the program of a Chromium that is installed, None where there is none."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return next((program for program in found if program is not None), None)


def skip_without(found: object, what: str) -> pytest.MarkDecorator:
    """Return the mark of a test that needs something not everybody has; with CI set it runs, and fails without it."""
    return pytest.mark.skipif(not found and "CI" not in os.environ, reason=f"{what} is not installed")


def running_postgres() -> Iterator["PostgresServer"]:
    """Yield a server that runs, and remove it afterwards: the body of a fixture of any scope."""
    binaries = postgres_binaries()
    assert binaries is not None, "PostgreSQL is not installed"
    found = PostgresServer(binaries)
    try:
        yield found
    finally:
        found.remove()


class PostgresServer:
    """A PostgreSQL server with one database, reached at `url` by everyone on this machine."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Not pytest's folder: that one is closed to the user that the server runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._user: str | None = None
        if os.geteuid() == 0:  # a server refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(self.folder, self._user)
        self.port = free_port()
        self.url = f"postgresql://hrnn:secret@127.0.0.1:{self.port}/postgres"
        password = self.folder / "password"
        password.write_text("secret\n", encoding="utf-8")
        password.chmod(0o644)
        self._run(
            "initdb", "--username=hrnn", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync", "--no-locale"
        )
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={self.folder / 'log'}")

    def stop(self) -> None:
        """Stop the server; whoever is connected is cut off."""
        self._run("pg_ctl", "stop", "--wait", "--mode=fast")

    def remove(self) -> None:
        """Stop the server if it runs, and delete its files."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--wait", "--mode=immediate")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, f"--pgdata={self.folder / 'data'}", *arguments],
            check=True,
            cwd=self.folder,
            user=self._user,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "USER": self._user or getpass.getuser()},
        )
