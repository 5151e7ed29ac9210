"""The page, served on loopback from a thread of the test's process, and a reader of its events."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tests.support.command import PATIENCE, eventually
from troupe.store.base import Store
from troupe.web.app import application
from troupe.web.guard import Guard
from troupe.web.offers import Offers
from troupe.web.runs import Runs
from troupe.web.server import Server

SHOWS = tuple(f"tests.support.shows:{name}" for name in ("team", "still", "quick", "broken", "attack", "many", "large"))


class Served:
    """A page that is served; `runs` is what it knows."""

    def __init__(self, address: str, app: Any) -> None:
        self.address, self._app = address, app
        self.http = httpx.Client(base_url=address, timeout=PATIENCE, headers={"Origin": address})

    @property
    def runs(self) -> Runs:
        found: Runs = self._app.state.runs
        return found

    def start(self, name: str, task: str = "Do it.", **more: Any) -> str:
        """Start one of `SHOWS` by its API; gives the run's id."""
        given = {"workflow": f"tests.support.shows:{name}", "task": task, **more}
        answer = self.http.post("/api/runs", json=given)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["run"])

    def run(self, run: str) -> Any:
        """A run as the API tells of it."""
        answer = self.http.get(f"/api/runs/{run}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def becomes(self, run: str, status: str) -> Any:
        """The run, once it stands so."""
        eventually(lambda: (self.run(run)["status"] == status and not self.run(run)["here"]) or status == "running")
        return self.run(run)

    def events(self, path: str, **headers: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events: their names and data."""
        with self.http.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, json.loads(line.removeprefix("data: "))
                    name = ""


@contextmanager
def serving(store: Store, at_once: int = 4, token: str | None = None) -> Iterator[Served]:
    """The page of a store."""
    app = application(store, Offers(SHOWS, Path.cwd()), at_once)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        guard = Guard(app, token=token, port=port)
        options: dict[str, Any] = {"log_level": "error", "lifespan": "on", "timeout_graceful_shutdown": 1}
        server = Server(uvicorn.Config(guard, **options), app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        eventually(lambda: server.started)
        served = Served(f"http://127.0.0.1:{port}", app)
        try:
            with served.http:
                yield served
        finally:
            server.handle_exit(signal.SIGTERM, None)
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the server did not end"
