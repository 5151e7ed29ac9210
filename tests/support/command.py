"""The command line as a process: with a home of its own, and no terminal unless it is given one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PATIENCE = 60.0
ROOT = Path(__file__).parents[2]


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


class Process:
    """A command under way, whose output is read all the time."""

    def __init__(self, number: int, report: int, out: int, err: int) -> None:
        self.number = number
        self._report = report
        self._read: dict[int, bytes] = {out: b"", err: b""}
        self._out, self._err = out, err
        self._readers = [threading.Thread(target=self._drain, args=(one,), daemon=True) for one in {out, err}]
        for reader in self._readers:
            reader.start()

    def _drain(self, file: int) -> None:
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while chunk := os.read(file, 65536):
                self._read[file] += chunk
        os.close(file)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.number, number)

    def end(self) -> Done:
        """Await its end; what does not end is killed, and fails the test."""
        late = threading.Timer(PATIENCE, self.signal, (signal.SIGKILL,))
        began = time.monotonic()
        late.start()
        said = b""
        while chunk := os.read(self._report, 64):
            said += chunk
        os.close(self._report)
        late.cancel()
        for reader in self._readers:
            reader.join(PATIENCE)
        assert time.monotonic() - began < PATIENCE, "the command did not end"
        return Done(int(said), self._read[self._out].decode(), self._read[self._err].decode())


@cache
def _forge() -> socket.socket:
    """The process that makes commands, started once; it ends when this process does."""
    ours, theirs = socket.socketpair()
    arguments = [sys.executable, "-m", "tests.support.forge", str(theirs.fileno())]
    subprocess.Popen(arguments, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True)
    theirs.close()
    return ours


_one_at_a_time = threading.Lock()


@dataclass
class Shell:
    """Starts `troupe` in `folder`, with nothing of the developer's environment."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *args: str, input: str = "", **env: str) -> Done:
        """Run a command to its end."""
        return self.start(*args, input=input, **env).end()

    def start(self, *args: str, input: str = "", **env: str) -> Process:
        """Start a command."""
        given, giver = os.pipe()
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        os.write(giver, input.encode())
        os.close(giver)
        number, report = self._order(args, env, (given, out_end, err_end))
        return Process(number, report, out, err)

    def terminal(self, *args: str, typed: str = "", **env: str) -> tuple[int, str]:
        """Run a command in a terminal where somebody types; its exit code, and everything that it wrote there."""
        ours, theirs = pty.openpty()
        os.write(ours, typed.encode())
        settings = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", **env}
        number, report = self._order(args, settings, (theirs, os.dup(theirs), os.dup(theirs)), terminal=True)
        done = Process(number, report, ours, ours).end()
        return done.code, done.out

    def fresh(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Start a command in a Python of its own, imports and all."""
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

    def all(self, commands: Sequence[Sequence[str]]) -> list[Done]:
        """Run commands side by side, as many as there are processors."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(lambda command: self(*command), commands))

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """What a command sees of the world."""
        home = str(self.folder / "home")
        bare = {"PATH": os.environ["PATH"], "HOME": home, "XDG_STATE_HOME": f"{home}/state", "PYTHONUTF8": "1"}
        return {**bare, **self.env, **more}

    def _order(
        self, args: Sequence[str], env: dict[str, str], streams: tuple[int, int, int], terminal: bool = False
    ) -> tuple[int, int]:
        """Its process id, and the pipe on which its exit code will come."""
        report, report_end = os.pipe()
        order = {"args": args, "folder": str(self.folder), "env": self.environment(env), "terminal": terminal}
        with _one_at_a_time:
            socket.send_fds(_forge(), [json.dumps(order).encode()], [*streams, report_end])
        for file in (*streams, report_end):
            os.close(file)
        number = b""
        while not number.endswith(b"\n"):
            number += os.read(report, 1)
        return int(number), report


def ended(process: subprocess.Popen[str]) -> Done:
    """Await the end of a fresh command."""
    with process:
        out, err = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, out, err)


def listens(number: int) -> bool:
    """Whether a process has set up its handling of signals; Python by itself leaves SIGTERM to the system."""
    caught = Path(f"/proc/{number}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def eventually(what: Any, seconds: float = 20.0) -> None:
    """Wait until `what()` is true."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.02)
