"""The command line as a process: with a home of its own, and no terminal unless it is given one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 60.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Starts `troupe` in `folder`, with nothing of the developer's environment."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *args: str, input: str = "", **env: str) -> Done:
        """Run a command to its end."""
        with self.start(*args, **env) as process:
            out, err = process.communicate(input, PATIENCE)
            return Done(process.returncode, out, err)

    def all(self, commands: Sequence[Sequence[str]]) -> list[Done]:
        """Run commands side by side, as many as there are processors."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(lambda command: self(*command), commands))

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "troupe", *args],
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def terminal(self, *args: str, **env: str) -> tuple[int, str]:
        """Run a command in a terminal; its exit code, and everything that it wrote there."""
        leader, follower = pty.openpty()
        settings = self.environment({"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", **env})
        process = subprocess.Popen(
            [sys.executable, "-m", "troupe", *args],
            cwd=self.folder,
            env=settings,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        seen = b""
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while chunk := os.read(leader, 65536):
                seen += chunk
        os.close(leader)
        return process.wait(PATIENCE), seen.decode()

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """What a command sees of the world."""
        home = str(self.folder / "home")
        bare = {"PATH": os.environ["PATH"], "HOME": home, "XDG_STATE_HOME": f"{home}/state", "PYTHONUTF8": "1"}
        return {**bare, **self.env, **more}


def ask_to_stop(process: subprocess.Popen[str], number: int = signal.SIGINT) -> Done:
    """Send a signal and await the end."""
    process.send_signal(number)
    return ended(process)


def ended(process: subprocess.Popen[str]) -> Done:
    """Await the end of a command that was started."""
    with process:
        out, err = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, out, err)


def eventually(what: Any, seconds: float = 20.0) -> None:
    """Wait until `what()` is true."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.02)
