"""SIGINT and SIGTERM while a run is under way: the first asks it to stop, a second ends the process at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from troupe.agents.text import printable

if TYPE_CHECKING:
    from troupe.agents.events import Event, RunStarted

T = TypeVar("T")

SHOW_CURSOR = b"\x1b[?25h"


class Signals:
    """Catches both while it is entered.

    Plain handlers, not the event loop's: they are heard also while a user's file that is being imported holds the loop.

    Args:
        say: shows a line.
        command: makes the text of a command about a run.

    Attributes:
        stop: set by the first signal; for `arun(stop=...)`.
        number: of that signal.
        started: the event of the run's beginning; before it there is nothing to stop and resume.
    """

    def __init__(self, say: Callable[[str], None], command: Callable[[str, str], str]) -> None:
        self.stop = asyncio.Event()
        self.number: int | None = None
        self.started: RunStarted | None = None
        self._say = say
        self._command = command
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._caught) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def see(self, event: Event) -> None:
        """Listen for the run's beginning."""
        if event.kind == "run_started":
            self.started = cast("RunStarted", event)

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, and hand signals to it from now on.

        Raises:
            CancelledError: a signal came before the run had begun.
        """
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            return await work
        finally:
            self._loop = None

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            end_now(number, self._command("resume", self.started.run) if self.started is not None else "")
        self.number = number
        if self._loop is None:
            sys.exit(128 + number)
        self._loop.call_soon_threadsafe(self._ask)

    def _ask(self) -> None:
        if self.started is not None:
            self._say("Stopping: calls in flight have 10 s to finish. Once more ends at once.")
            self.stop.set()
        elif self._task is not None:
            self._task.cancel()


def end_now(number: int, command: str) -> None:
    """End the process without waiting for anything; what was recorded is kept, and `command` goes on with it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # Straight to the file: whatever was interrupted may hold the stream's lock.
        terminal = SHOW_CURSOR if sys.stderr.isatty() else b""
        os.write(sys.stderr.fileno(), terminal + (f"\ngo on      {printable(command)}\n" if command else "").encode())
    os._exit(128 + number)
