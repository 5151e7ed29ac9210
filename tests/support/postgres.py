"""A real PostgreSQL server for tests: of the package pgserver, or of the system's binaries; else they skip, saying why.

Import `postgres` (the server, one per session) or `database` (the URL of an empty database of the test's own) into a
conftest. `Server.restart()` is an outage.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

NONE = "no PostgreSQL here: neither the package pgserver nor /usr/lib/postgresql, nor initdb on the PATH"


class Server:
    """A server of our own on loopback, with data in `folder`; it is started at once.

    Raises:
        FileNotFoundError: there are no binaries to start one with.
    """

    def __init__(self, folder: Path) -> None:
        self._bin = _binaries()
        self._data, self._log = folder / "data", folder / "log"
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._user = _unprivileged(folder)
        self._do("initdb", "-A", "trust", "-U", "postgres", "--encoding=UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        # Durable, as a real one: what was committed must be there after `stop("immediate")`.
        options = f"-p {self.port} -h 127.0.0.1 -k '' -c max_connections=200"
        self._do("pg_ctl", "start", "-w", "-l", str(self._log), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `immediate` is a crash, `fast` breaks off what is under way in good order."""
        self._do("pg_ctl", "stop", "-w", "-m", mode)

    def restart(self, away: float = 0.0, mode: str = "immediate") -> None:
        """An outage of `away` seconds and what starting takes."""
        self.stop(mode)
        time.sleep(away)
        self.start()

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        name = url.rpartition("/")[2]
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def url_of(self, name: str) -> str:
        """The URL of a database of this server."""
        return f"{self.url.rpartition('/')[0]}/{name}"

    def _do(self, program: str, *args: str) -> None:
        command: Sequence[Any] = [self._bin / program, "-D", self._data, *args]
        # Its own session, so that a signal for the tests is none for the server; no pipe, which it would hold open.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=self._user,
            group=self._user,
            cwd="/",
            timeout=120,
        )
        if done.returncode:
            told = self._log.read_text(errors="replace")[-3000:] if self._log.exists() else "no log"
            raise RuntimeError(f"{program} {' '.join(args)} failed with {done.returncode}: {told}")


def _binaries() -> Path:
    spec = find_spec("pgserver")
    if spec is not None and spec.origin is not None:
        carried = Path(spec.origin).parent / "pginstall" / "bin"
        if (carried / "initdb").exists():
            return carried
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: float(one.parts[-3]), reverse=True)
    if found:
        return found[0].parent
    if (on_path := shutil.which("initdb")) is not None:
        return Path(on_path).resolve().parent
    raise FileNotFoundError(NONE)


def _unprivileged(folder: Path) -> int | None:
    """Who runs the server: it refuses to be root, for whom `nobody` does it; the folder becomes theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return None
    nobody = 65534
    os.chown(folder, nobody, nobody)
    folder.chmod(0o700)
    for parent in folder.parents:  # which may be root's alone
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return nobody


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this session."""
    # Not in pytest's folder: each pytest that starts takes that from all but its owner, who may not run a server.
    with tempfile.TemporaryDirectory(prefix="troupe-postgres-", ignore_cleanup_errors=True) as folder:
        try:
            server = Server(Path(folder) / "server")
        except FileNotFoundError as error:
            pytest.skip(str(error))
        yield server
        server.stop()


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    url = postgres.database()
    yield url
    postgres.drop(url)
