"""The durable record of calls by key: a recorded call is never made, or paid for, twice.

A key reads `thread/turn/path#round/purpose/digest`. Under it lie one row for the call's outcome (the key itself) and
one for each model request or tool call inside it (`key/0`, `key/1`, ... in order; `key/1!2` is a failed second attempt
at `key/1`, kept only to be shown).
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from troupe.agents.contracts import NO_USAGE, FailureKind, Usage
from troupe.agents.errors import StoreError

T = TypeVar("T")

Kind = Literal["request", "tool", "outcome", "failure", "question", "answer"]


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
    failure: FailureKind | None = None
    """Of a failed attempt, why it failed: such rows are the log of errors."""

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


def reliability(tally: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """By agent, how likely an attempt of theirs comes to a good end; nothing known would be 0.5 (Laplace's rule).

    >>> reliability({"ada": {"outcome": 8}, "bob": {"timeout": 8}})
    {'ada': 0.9, 'bob': 0.1}
    """
    return {
        agent: (counts.get("outcome", 0) + 1) / (sum(counts.values()) + 2) for agent, counts in sorted(tally.items())
    }


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

    async def failures(self, prefix: str = "") -> Sequence[Row]:
        """Every failed attempt whose key starts with `prefix`, oldest first."""
        ...

    async def tally(self) -> Mapping[str, Mapping[str, int]]:
        """By agent, over all runs: how many calls had an "outcome", and how many attempts failed, by kind."""
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

    async def failures(self, prefix: str = "") -> Sequence[Row]:
        """See `Journal`."""
        return [row for row in await self.rows(prefix) if row.kind == "failure"]

    async def tally(self) -> Mapping[str, Mapping[str, int]]:
        """See `Journal`."""
        counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in await self.rows(""):
            if row.kind in ("outcome", "failure"):
                counted[row.agent][row.failure or row.kind] += 1
        return counted


class Guarded:
    """A run's journal that fails once: from then on nothing is asked or paid for that could not be recorded.

    Attributes:
        lost: why.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.lost: StoreError | None = None

    def must_be_kept(self) -> None:
        """Refuse to go on without the record.

        Raises:
            StoreError: it failed.
        """
        if self.lost is not None:
            raise self.lost

    async def _do(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            self.must_be_kept()
            return await work
        except StoreError as error:
            self.lost = self.lost or error
            raise
        finally:
            work.close()

    async def reserve(self, key: str) -> Row | bool:
        """See `Journal`."""
        return await self._do(self._journal.reserve(key))

    async def find(self, key: str) -> Row | None:
        """See `Journal`."""
        return await self._do(self._journal.find(key))

    async def record(self, row: Row) -> None:
        """See `Journal`."""
        await self._do(self._journal.record(row))

    async def rows(self, prefix: str) -> Sequence[Row]:
        """See `Journal`."""
        return await self._do(self._journal.rows(prefix))

    async def spent(self, root: str) -> Usage:
        """See `Journal`."""
        return await self._do(self._journal.spent(root))

    async def failures(self, prefix: str = "") -> Sequence[Row]:
        """See `Journal`."""
        return await self._do(self._journal.failures(prefix))

    async def tally(self) -> Mapping[str, Mapping[str, int]]:
        """See `Journal`."""
        return await self._do(self._journal.tally())
