"""The durable record of calls by key: a recorded call is never made, or paid for, twice.

A key reads `thread/turn/path#round/purpose/digest`. Under it lie one row for the call's outcome (the key itself) and
one for each model request or tool call inside it (`key/0`, `key/1`, ... in order; `key/1!2` is a failed second attempt
at `key/1`, kept only to be shown).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from troupe.agents.contracts import NO_USAGE, Usage

Kind = Literal["request", "tool", "outcome", "failure"]


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded thing: what was sent, what came back, what it used. `sent` and `received` are plain JSON data."""

    key: str
    kind: Kind
    path: str
    agent: str
    sent: Any
    received: Any
    usage: Usage = NO_USAGE
    started: float = 0.0
    seconds: float = 0.0

    @property
    def root(self) -> str:
        """`thread/turn`: the books are kept by it."""
        return root(self.key)


def root(key: str) -> str:
    """The `thread/turn` part of a key, by which the books are kept (a thread id's own slashes are quoted).

    >>> root("t/2/writer#1/review/0f")
    't/2'
    """
    return "/".join(key.split("/", 2)[:2])


class Journal(Protocol):
    """Where calls are recorded. Implementations are safe to use from several threads and event loops."""

    async def reserve(self, key: str) -> Row | bool:
        """The outcome recorded under `key`; else True if this call began before (look for its requests), or False."""
        ...

    async def find(self, key: str) -> Row | None:
        """One recorded request or tool call."""
        ...

    async def record(self, row: Row) -> None:
        """Store a row; a key that is recorded already keeps its first row."""
        ...

    async def rows(self, prefix: str) -> Sequence[Row]:
        """Every row whose key starts with `prefix`, oldest first."""
        ...

    async def spent(self, root: str) -> Usage:
        """What all recorded requests of a `thread/turn` used."""
        ...


class MemoryJournal:
    """A journal that lasts as long as the process and keeps the newest `threads` turns."""

    def __init__(self, threads: int = 256) -> None:
        self._threads = threads
        self._books: OrderedDict[str, dict[str, Row | None]] = OrderedDict()
        self._lock = threading.Lock()

    def _book(self, key: str) -> dict[str, Row | None]:
        """The rows of a thread's turn, with the lock held; whichever was longest out of use makes room."""
        name = root(key)
        book = self._books.setdefault(name, {})
        self._books.move_to_end(name)
        while len(self._books) > self._threads:
            self._books.popitem(last=False)
        return book

    async def reserve(self, key: str) -> Row | bool:
        """See `Journal`."""
        with self._lock:
            book = self._book(key)
            if key in book:
                return book[key] or True
            book[key] = None
            return False

    async def find(self, key: str) -> Row | None:
        """See `Journal`."""
        with self._lock:
            return self._book(key).get(key) if root(key) in self._books else None

    async def record(self, row: Row) -> None:
        """See `Journal`."""
        with self._lock:
            book = self._book(row.key)
            if book.get(row.key) is None:
                book[row.key] = row

    async def rows(self, prefix: str) -> Sequence[Row]:
        """See `Journal`."""
        return [
            row
            for book in list(self._books.values())
            for key, row in list(book.items())
            if row is not None and key.startswith(prefix)
        ]

    async def spent(self, root: str) -> Usage:
        """See `Journal`."""
        total = NO_USAGE
        for row in list(self._books.get(root, {}).values()):
            if row is not None and row.kind in ("request", "failure"):
                total = total + row.usage
        return total
