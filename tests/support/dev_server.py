"""LangGraph's own server on loopback, for tests. It is no dependency: its licence (Elastic 2.0) is not permissive."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
_STARTS_WITHIN = 120.0


def command() -> str | None:
    """Where `langgraph dev` is: beside this Python, or on the path."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("langgraph", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    return found if found and _serves(found) else None


def _serves(found: str) -> bool:
    """Whether the server itself is installed where that command is: `langgraph-cli` alone has none."""
    return any(Path(found).parent.parent.glob("lib/python*/site-packages/langgraph_api"))


class DevServer:
    """A server of these graphs, started in `folder`, with a log of what it says."""

    def __init__(self, folder: Path, graphs: Mapping[str, str], **env: str) -> None:
        found = command()
        assert found is not None
        given = {"dependencies": ["."], "graphs": dict(graphs)}
        (folder / "langgraph.json").write_text(json.dumps(given), "utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "log.txt"
        quiet = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGGRAPH_NO_VERSION_CHECK": "1"}
        given_on = {name: value for name, value in os.environ.items() if not name.startswith(("TROUPE_", "OPENAI_"))}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [found, "dev", "--host", "127.0.0.1", "--port", str(port), "--no-browser", "--no-reload"],
                cwd=folder,
                env={**given_on, **quiet, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder), **env},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text("utf-8", "replace")

    def __enter__(self) -> DevServer:
        ends = time.monotonic() + _STARTS_WITHIN
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/ok", timeout=5).status_code == 200:
                    return self
            except httpx.HTTPError:
                time.sleep(0.1)
        self.__exit__()
        raise RuntimeError(f"langgraph dev did not start:\n{self.log}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
