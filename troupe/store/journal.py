"""The record of calls in a database: see `troupe.agents.journal` for what it promises."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from troupe.agents.contracts import NO_USAGE, FailureKind, Usage
from troupe.agents.errors import Blocked
from troupe.agents.journal import Kind, Row, root
from troupe.store.database import Cursor, Database

_COLUMNS = "key, kind, path, agent, sent, received, usage, started, seconds, failure"
_LAST = chr(0x10FFFF)
_KINDS = frozenset(get_args(Kind))
_FAILURES = frozenset(get_args(FailureKind))


class Calls(Database):
    """The journal's table."""

    async def reserve(self, key: str) -> Row | bool:
        """See `Journal`."""
        return await self.threaded(self._reserve, key)

    def _reserve(self, key: str) -> Row | bool:
        return self.write(lambda cursor: self._reserved(cursor, key))

    def _reserved(self, cursor: Cursor, key: str) -> Row | bool:
        owner, epoch = (self.lease.owner, self.lease.epoch) if self.lease else ("", 0)
        query = (
            "INSERT INTO troupe_journal (key, root, kind, owner, epoch) VALUES (?, ?, 'reserved', ?, ?) "
            "ON CONFLICT (key) DO NOTHING"
        )
        if cursor.execute(query, (key, root(key), owner, epoch)).rowcount == 1:
            return False
        query = f"SELECT {_COLUMNS} FROM troupe_journal WHERE key = ?{self.locked}"  # noqa: S608 - no value in it
        found = cursor.execute(query, (key,)).fetchone()
        if found[1] == "outcome":
            return self._row(found)
        cursor.execute("UPDATE troupe_journal SET owner = ?, epoch = ? WHERE key = ?", (owner, epoch, key))
        return True

    async def find(self, key: str) -> Row | None:
        """See `Journal`."""
        query = f"SELECT {_COLUMNS} FROM troupe_journal WHERE key = ? AND kind != 'reserved'"  # noqa: S608
        rows = await self.threaded(self.rows_of, query, (key,))
        return self._row(rows[0]) if rows else None

    async def record(self, row: Row) -> None:
        """See `Journal`."""
        await self.threaded(self._record, row)

    def _record(self, row: Row) -> None:
        values = (
            row.key, row.root, row.kind, row.path, row.agent, self.pack(row.sent, _place(row.key, "sent")),
            self.pack(row.received, _place(row.key, "received")), row.usage.model_dump_json(), row.started,
            row.seconds, row.failure,
        )  # fmt: skip
        self.write(
            lambda cursor: cursor.execute(
                "INSERT INTO troupe_journal "
                "(key, root, kind, path, agent, sent, received, usage, started, seconds, failure) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, "
                "path = excluded.path, agent = excluded.agent, sent = excluded.sent, received = excluded.received, "
                "usage = excluded.usage, started = excluded.started, seconds = excluded.seconds, "
                "failure = excluded.failure WHERE troupe_journal.kind = 'reserved'",
                values,
            )
        )

    async def rows(self, prefix: str) -> Sequence[Row]:
        """See `Journal`."""
        return await self._all(prefix, "kind != 'reserved'")

    async def count(self, root: str) -> int:
        """How many rows a turn has: whoever looks on need not read them again before there are more."""
        query = "SELECT COUNT(*) FROM troupe_journal WHERE root = ? AND kind != 'reserved'"
        ((found,),) = await self.threaded(self.rows_of, query, (root,))
        return int(found)

    async def failures(self, prefix: str = "") -> Sequence[Row]:
        """See `Journal`."""
        return await self._all(prefix, "kind = 'failure'")

    async def measured(self, prefix: str) -> list[Row]:
        """Every row whose key starts with `prefix`, oldest first, without the texts: of what came back verdicts alone,
        and of what was sent questions.
        """
        query = (
            "SELECT key, kind, path, agent, CASE WHEN kind = 'question' THEN sent END, "
            "CASE WHEN kind = 'outcome' AND key LIKE ? THEN received END, usage, started, seconds, failure "
            "FROM troupe_journal WHERE kind != 'reserved' AND key >= ? AND key < ? ORDER BY started, id"
        )
        args = ("%/review.%", prefix, prefix + _LAST)
        return [self._row(one) for one in await self.threaded(self.rows_of, query, args)]

    async def _all(self, prefix: str, which: str) -> list[Row]:
        query = (
            f"SELECT {_COLUMNS} FROM troupe_journal WHERE {which} AND key >= ? AND key < ? "  # noqa: S608
            "ORDER BY started, id"
        )
        return [self._row(one) for one in await self.threaded(self.rows_of, query, (prefix, prefix + _LAST))]

    async def spent(self, root: str) -> Usage:
        """See `Journal`."""
        query = (
            "SELECT key, usage FROM troupe_journal "
            "WHERE root = ? AND kind IN ('request', 'failure') AND usage IS NOT NULL"
        )
        rows = await self.threaded(self.rows_of, query, (root,))
        return sum((self._usage(key, used) for key, used in rows), NO_USAGE)

    async def tally(self) -> Mapping[str, Mapping[str, int]]:
        """See `Journal`."""
        query = (
            "SELECT agent, kind, failure, COUNT(*) FROM troupe_journal WHERE kind IN ('outcome', 'failure') "
            "GROUP BY agent, kind, failure"
        )
        counted: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for agent, kind, failure, number in await self.threaded(self.rows_of, query):
            counted[agent or ""][failure or kind] = number
        return counted

    def _row(self, found: Sequence[Any]) -> Row:
        key, kind, path, agent, sent, received, usage, started, seconds, failure = found
        if kind not in _KINDS or (failure is not None and failure not in _FAILURES):
            raise Blocked(f"{self.path}: the journal's row {key!r} is of no kind of ours: {kind!r}, {failure!r}.")
        return Row(
            key, kind, path or "", agent or "", self.unpack(sent, _place(key, "sent")),
            self.unpack(received, _place(key, "received")), self._usage(key, usage), started or 0.0, seconds or 0.0,
            failure,
        )  # fmt: skip

    def _usage(self, key: str, stored: str | None) -> Usage:
        try:
            return Usage.model_validate_json(stored) if stored else NO_USAGE
        except ValidationError:
            raise Blocked(f"{self.path}: what the journal's row {key!r} used cannot be read.") from None


def _place(key: str, column: str) -> str:
    return f"the journal's row {key!r}, {column}"
