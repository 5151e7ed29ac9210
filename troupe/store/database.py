"""What a database must offer for the books: fenced transactions, reads, a clock, and locks on rows."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from troupe.agents.errors import Blocked, StoreError, describe
from troupe.agents.text import clean
from troupe.graphs.saver import AsyncInThreads
from troupe.sealing import Seal

if TYPE_CHECKING:
    from troupe.store.leases import Lease

T = TypeVar("T")


class Cursor(Protocol):
    """A cursor whose queries mark their values with `?`."""

    @property
    def rowcount(self) -> int:
        """How many rows the last query changed."""
        ...

    def execute(self, query: str, args: Sequence[Any] = (), /) -> Any:
        """Run a query; its result is the cursor."""
        ...

    def fetchone(self) -> Any:
        """The next row."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows."""
        ...


class Database(AsyncInThreads):
    """A database as the books see it.

    Attributes:
        path: how messages name it; never with a password.
        clock: seconds since the epoch, as this process counts them.
        lease: what may be written under it, or None for whatever needs none.
        locked: what stands after a query that locks the rows it finds until the transaction ends.
        shared: the same for readers, of whom there may be several.
        contents: the columns that make up a thread's size, by table, after the column that names the thread.
        measure: the bytes of a column.
    """

    path: str
    clock: Callable[[], float]
    lease: Lease | None
    sealed: Seal | None
    locked: ClassVar[str] = ""
    shared: ClassVar[str] = ""
    contents: ClassVar[Mapping[str, tuple[str, ...]]]
    measure: ClassVar[str]

    @abstractmethod
    def write(self, act: Callable[[Cursor], T]) -> T:
        """Do something in one transaction, which begins with the check that the lease is still ours.

        Raises:
            Held: the lease was taken over.
            StoreError: the database cannot be used.
        """

    @abstractmethod
    def read(self, act: Callable[[Cursor], T]) -> T:
        """Do something that only reads.

        Raises:
            StoreError: the database cannot be used.
        """

    @abstractmethod
    def now(self, cursor: Cursor) -> float:
        """Seconds since the epoch, by the clock that all who share this database go by."""

    @abstractmethod
    def compact(self) -> None:
        """Give back the space of what was deleted, as far as that disturbs nobody."""

    @abstractmethod
    def size(self) -> int:
        """Bytes of the whole database, without what others keep in it."""

    def rows_of(self, query: str, args: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query."""
        return self.read(lambda cursor: cursor.execute(query, args).fetchall())

    def _unstorable(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.path} cannot store a text: {describe(error)}. No id of a thread may hold NUL or half a character."
        )

    # --- what is put into columns -----------------------------------------------------------------------------------

    def seal(self, text: str | None, place: str) -> str | None:
        """A text as it is stored at `place`: as it is, or encrypted."""
        if text is None:
            return None
        text = clean(text)
        return text if self.sealed is None else self.sealed.seal(text, place)

    def unseal(self, stored: str | None, place: str) -> str | None:
        """The text again.

        Raises:
            Blocked: see `Seal.unseal`; the message names the database and the place.
        """
        if stored is None or self.sealed is None:
            return stored
        try:
            return self.sealed.unseal(stored, place)
        except Blocked as error:
            raise Blocked(f"{self.path}: {error}") from None

    def pack(self, value: Any, place: str) -> str:
        """Plain data as it is stored at `place`."""
        return self.seal(json.dumps(value, ensure_ascii=False, default=str), place) or ""

    def unpack(self, stored: str | None, place: str) -> Any:
        """The plain data again.

        Raises:
            Blocked: it is not what we stored; the message names the database and the place.
        """
        if stored is None:
            return None
        try:
            return json.loads(self.unseal(stored, place) or "")
        except (ValueError, TypeError, RecursionError) as error:
            raise Blocked(f"{self.path}: {place} cannot be read: {error}. The row was not written by us.") from None
