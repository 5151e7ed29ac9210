"""Slots: a cap on what is at work at once, over every event loop and thread of the process.

who waits, in the order they came:   run A   run B   run A   run A    --> each place belongs to a run,
run A gives its places away by urgency, the most urgent first         --> so nobody waits for another's urgency
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

PAUSE = 0.01
"""Seconds that a slot stays free where somebody more urgent than those who wait may come at once: what follows on a
step asks for a slot a moment after that step gave its own back."""


class Urgency(NamedTuple):
    """How urgent a call is.

    Attributes:
        group: those among whom it counts; nobody else is passed because of it.
        seconds: of work behind the call that cannot begin before it has ended.
        rivals: how many others of the group have not asked yet, and may do so at any moment.
    """

    group: Hashable = None
    seconds: float = 0.0
    rivals: int = 0


_NONE = Urgency()
_urgency: ContextVar[Urgency] = ContextVar("troupe_urgency", default=_NONE)


@contextmanager
def urgent(seconds: float, group: Hashable, rivals: int = 0) -> Iterator[None]:
    """Every call inside has so many seconds of work behind it that cannot begin before it has ended.

    What is urgent inside of something urgent belongs to the same group, and is as urgent as both.
    """
    around = _urgency.get()
    inner = Urgency(group if around.group is None else around.group, around.seconds + seconds, around.rivals + rivals)
    token = _urgency.set(inner)
    try:
        yield
    finally:
        _urgency.reset(token)


class _Waiting(NamedTuple):
    """Somebody who waits; the first of a group is the most urgent, then whoever came first."""

    rank: float
    order: int
    loop: asyncio.AbstractEventLoop
    turn: asyncio.Future[None]
    pause: float


class Slots:
    """So many at once. Groups take turns by when theirs came; inside of a group the most urgent goes first.

    An async context manager; a slot is held inside.
    """

    def __init__(self, cap: int) -> None:
        self._free = cap
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._line: list[Hashable] = []
        """The groups of all who wait, in the order they came."""
        self._waiting: dict[Hashable, list[_Waiting]] = {}
        self._pausing = False

    async def __aenter__(self) -> None:
        group, seconds, rivals = _urgency.get()
        with self._lock:
            if self._free > len(self._line) + rivals:  # enough for all who may come
                self._free -= 1
                return
            loop = asyncio.get_running_loop()
            mine: asyncio.Future[None] = loop.create_future()
            place = _Waiting(-seconds, next(self._order), loop, mine, PAUSE if rivals else 0.0)
            self._line.append(group)
            heapq.heappush(self._waiting.setdefault(group, []), place)
            self._give()
        try:
            await mine
        except BaseException:  # cancelled, or its event loop is gone
            with self._lock:
                if not self._leave(group, place):
                    self._free += 1  # the slot was on its way to us
                self._give(at_once=True)  # whatever pause there was may have been on our loop
            raise

    async def __aexit__(self, *_: object) -> None:
        with self._lock:
            self._free += 1
            self._give()

    @property
    def spare(self) -> int:
        """How many could begin now without making anybody wait; 0 where some wait already."""
        with self._lock:
            return max(0, self._free - len(self._line))

    def _leave(self, group: Hashable, place: _Waiting) -> bool:
        """Wait no longer; False if that is so already. The group gives up the last of its places in the line."""
        waiting = self._waiting.get(group, [])
        if place not in waiting:
            return False
        waiting.remove(place)
        heapq.heapify(waiting)
        self._leave_line(group, max(at for at, one in enumerate(self._line) if one == group))
        return True

    def _leave_line(self, group: Hashable, at: int) -> None:
        del self._line[at]
        if not self._waiting[group]:
            del self._waiting[group]

    def _give(self, at_once: bool = False) -> None:
        """Give free slots to those who wait, after a pause if somebody more urgent may come; with the lock held."""
        while self._free and self._line:
            group = self._line[0]
            first = self._waiting[group][0]
            try:
                if first.pause and not at_once:
                    if not self._pausing:
                        first.loop.call_soon_threadsafe(first.loop.call_later, first.pause, self._after_pause)
                        self._pausing = True
                    return
                first.loop.call_soon_threadsafe(_grant, first.turn)
                self._free -= 1
            except RuntimeError:  # its loop is closed, and so is whoever waited
                pass
            heapq.heappop(self._waiting[group])
            self._leave_line(group, 0)

    def _after_pause(self) -> None:
        with self._lock:
            self._pausing = False
            self._give(at_once=True)


def _grant(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
