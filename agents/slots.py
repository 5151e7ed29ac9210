"""Slots: a cap on what is at work at once, over every event loop and thread of the process, the most urgent first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PATIENCE = 10.0
"""How many seconds of waiting weigh as much as one second of work that hangs on a call: nobody waits for ever."""

_urgency: ContextVar[float] = ContextVar("troupe_urgency", default=0.0)


@contextmanager
def urgent(seconds: float) -> Iterator[None]:
    """Every call inside has so many seconds of work behind it that cannot begin before it has ended."""
    token = _urgency.set(seconds)
    try:
        yield
    finally:
        _urgency.reset(token)


class Slots:
    """So many at once. Whoever waits goes first by the work that hangs on them, and by how long they have waited.

    An async context manager; a slot is held inside.
    """

    def __init__(self, cap: int) -> None:
        self._free = cap
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._queue: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    async def __aenter__(self) -> None:
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            loop = asyncio.get_running_loop()
            mine: asyncio.Future[None] = loop.create_future()
            place = (loop.time() - PATIENCE * _urgency.get(), next(self._order), loop, mine)
            heapq.heappush(self._queue, place)
        try:
            await mine
        except asyncio.CancelledError:
            with self._lock:
                waiting = place in self._queue
                if waiting:
                    self._queue.remove(place)
                    heapq.heapify(self._queue)
            if not waiting:
                self._release()  # the slot was on its way to us
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        with self._lock:
            while self._queue:
                _, _, loop, other = heapq.heappop(self._queue)
                try:
                    loop.call_soon_threadsafe(_grant, other)
                except RuntimeError:  # its loop is closed, and so is whoever waited
                    continue
                return
            self._free += 1


def _grant(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
