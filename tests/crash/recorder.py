"""The ground truth: a process of its own writes down every call that is paid for, and outlives whoever is killed.

    python -m tests.crash.recorder --socket PATH --log FOLDER

It speaks lines of JSON over a Unix socket. A client sends {"run", "life", "who", "asked", "hold"}; the recorder
appends the call to the run's log before anything else, keeps the client waiting for `hold` seconds (null: for good),
appends that it answers, and answers. Real HTTP costs several times as much; tests/support/openai_server.py is for that.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Recorder:
    """A log for each run, any number of clients."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._numbers = itertools.count(1)

    def _write(self, run: str, **event: Any) -> None:
        with (self._log / f"{run}.jsonl").open("a") as log:
            log.write(f"{json.dumps(event)}\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One call: a connection each, so that a client that is gone is noticed."""
        with suppress(ConnectionError), closing(writer):
            line = await reader.readline()
            call = json.loads(line or b"null")
            if call is None:  # killed before it had asked for anything
                return
            number, hold, run = next(self._numbers), call.pop("hold"), call.pop("run")
            self._write(run, event="received", id=number, **call)
            gone = asyncio.ensure_future(reader.read())
            if hold != 0:
                await asyncio.wait({gone}, timeout=hold)
            self._write(run, event="gone" if gone.done() else "answered", id=number)
            gone.cancel()
            writer.write(b"{}\n")
            await writer.drain()


async def main() -> None:
    """Serve until told to end."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--socket", required=True)
    arguments.add_argument("--log", type=Path, required=True)
    given = arguments.parse_args()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_unix_server(Recorder(given.log).serve, given.socket, backlog=1024)
    print("ready", flush=True)
    await ended.wait()
    server.close()


async def pay(socket: str, **call: Any) -> None:
    """Make a call: when this returns, it is paid for and answered."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(f"{json.dumps(call)}\n".encode())
        await writer.drain()
        if not await reader.readline():
            raise ConnectionError("The recorder of calls has gone away.")
    finally:
        writer.close()


@dataclass(frozen=True)
class Paid:
    """A call that was made: in which life of its run, by whom, what was asked (a digest), whether it was answered."""

    life: int
    who: str
    asked: str
    answered: bool = False


@dataclass
class Truth:
    """The logs as others read them."""

    socket: str
    log: Path

    def calls(self, run: str) -> list[Paid]:
        """The calls of a run, in order."""
        made: dict[int, Paid] = {}
        log = self.log / f"{run}.jsonl"
        for line in log.read_text().splitlines() if log.exists() else ():
            event = json.loads(line)
            if event["event"] == "received":
                made[event["id"]] = Paid(event["life"], event["who"], event["asked"])
            elif event["event"] == "answered":
                made[event["id"]] = replace(made[event["id"]], answered=True)
        return list(made.values())


@contextmanager
def recording(folder: Path) -> Iterator[Truth]:
    """A recorder at work, with its socket and logs in `folder`."""
    truth = Truth(str(folder / "recorder"), folder / "calls")
    truth.log.mkdir()
    command = [sys.executable, "-m", "tests.crash.recorder", "--socket", truth.socket, "--log", str(truth.log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield truth
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(main())
