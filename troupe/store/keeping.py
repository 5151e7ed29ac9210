"""What the runs of a database take up, and how they are deleted: whole, under their lease, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from troupe.agents.errors import Held, UnknownRun
from troupe.store.database import Cursor
from troupe.store.leases import Lease, Leases

_LAST = chr(0x10FFFF)
_JOURNAL = ("sent", "received", "usage", "key")
_TURNS = ("task", "input", "reason", "usage")


@dataclass(frozen=True, slots=True)
class Aged:
    """A run and when it was last worked on, in seconds since the epoch."""

    thread: str
    touched: float


class Keeping(Leases):
    """Sizes and deletion."""

    async def sizes(self, thread: str | None = None) -> Mapping[str, int]:
        """Bytes of what is stored of each thread, or of one; the database itself is somewhat larger."""
        return await self.threaded(self._sizes, thread)

    def _sizes(self, thread: str | None) -> Mapping[str, int]:
        return self.read(lambda cursor: self._measured(cursor, thread))

    def _measured(self, cursor: Cursor, thread: str | None) -> Mapping[str, int]:
        sizes: Counter[str] = Counter()
        tables = {**self.contents, "troupe_turns": ("thread", *_TURNS)}
        for table, (name, *columns) in tables.items():
            where = "" if thread is None else f" WHERE {name} = ?"
            args = () if thread is None else (thread,)
            query = f"SELECT {name}, {self._sum(columns)} FROM {table}{where} GROUP BY {name}"  # noqa: S608
            for one, size in cursor.execute(query, args).fetchall():
                sizes[one] += int(size)
        where = "" if thread is None else " WHERE root >= ? AND root < ?"
        query = f"SELECT root, {self._sum(_JOURNAL)} FROM troupe_journal{where} GROUP BY root"  # noqa: S608
        for root, size in cursor.execute(query, () if thread is None else _roots(thread)).fetchall():
            sizes[unquote(root.rpartition("/")[0])] += int(size)
        return sizes

    def _sum(self, columns: list[str] | tuple[str, ...]) -> str:
        return " + ".join(f"COALESCE(SUM({self.measure.format(one)}), 0)" for one in columns)

    async def aged(self, seconds: float) -> list[Aged]:
        """The runs that nobody has worked on for so long, oldest first."""
        return await self.threaded(self._aged, seconds)

    def _aged(self, seconds: float) -> list[Aged]:
        query = (
            "SELECT t.thread, MAX(t.started), MAX(COALESCE(t.finished, 0)), MAX(COALESCE(l.since, 0)) "
            "FROM troupe_turns t LEFT JOIN troupe_leases l ON l.thread = t.thread GROUP BY t.thread"
        )

        def act(cursor: Cursor) -> list[Aged]:
            before = self.now(cursor) - seconds
            found = [Aged(thread, max(times)) for thread, *times in cursor.execute(query).fetchall()]
            return sorted((one for one in found if one.touched < before), key=lambda one: one.touched)

        return self.read(act)

    async def delete(self, thread: str, untouched: Aged | None = None) -> int:
        """Remove a thread, whole; the bytes that it had.

        Args:
            thread: its id.
            untouched: as it was found; if somebody worked on it since, it stays, and the answer is 0.

        Raises:
            UnknownRun: there is no such thread.
            Held: it is being worked on.
        """
        return await self.threaded(self._delete, thread, untouched)

    def _delete(self, thread: str, untouched: Aged | None) -> int:
        if not (size := self._sizes(thread).get(thread, 0)):
            raise UnknownRun(f"There is no run {thread!r} in {self.path}. See those that there are with: troupe runs")
        try:
            lease = self._acquire(thread)
        except Held as error:
            raise Held(f"{error} It can be deleted when that has ended.") from None
        done = False
        try:
            done = self.write(lambda cursor: self._deleted(cursor, lease, untouched))
        finally:
            self._keeper.forget(lease)
            if not done:
                self._release(lease)
        return size if done else 0

    def _deleted(self, cursor: Cursor, lease: Lease, untouched: Aged | None) -> bool:
        thread = lease.thread
        if untouched is not None:
            query = "SELECT MAX(started), MAX(COALESCE(finished, 0)) FROM troupe_turns WHERE thread = ?"
            times = cursor.execute(query, (thread,)).fetchone()
            if max(time or 0.0 for time in times) > untouched.touched:
                return False
        # No epoch is given twice: a writer that slept through all of this finds no lease, or a later one.
        query = f"SELECT value FROM troupe_meta WHERE name = 'epoch'{self.locked}"  # noqa: S608
        (floor,) = cursor.execute(query).fetchone()
        query = f"SELECT epoch FROM troupe_leases WHERE thread = ?{self.locked}"  # noqa: S608
        row = cursor.execute(query, (thread,)).fetchone()
        if row is None or row[0] != lease.epoch:
            raise Held(f"Run {thread} was taken over by somebody else meanwhile, and is not deleted.")
        highest = str(max(int(floor), lease.epoch))
        cursor.execute("UPDATE troupe_meta SET value = ? WHERE name = 'epoch'", (highest,))
        for table, (name, *_) in self.contents.items():
            cursor.execute(f"DELETE FROM {table} WHERE {name} = ?", (thread,))  # noqa: S608
        cursor.execute("DELETE FROM troupe_journal WHERE root >= ? AND root < ?", _roots(thread))
        cursor.execute("DELETE FROM troupe_turns WHERE thread = ?", (thread,))
        cursor.execute("DELETE FROM troupe_leases WHERE thread = ?", (thread,))
        return True


def _roots(thread: str) -> tuple[str, str]:
    """The range of a thread's roots in the journal."""
    prefix = f"{quote(thread, safe='')}/"
    return prefix, prefix + _LAST
