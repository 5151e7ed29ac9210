"""Both databases behind one handle: what holds for one is written once and tried on the other, too.

Import `place` into a conftest or a test module: it is parametrised over an SQLite file and a PostgreSQL database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.postgres import Server
from troupe.checkpoints import is_url, store_at
from troupe.store.base import Store


@dataclass(frozen=True)
class Place:
    """Where a test's runs are kept."""

    db: str

    @property
    def kind(self) -> str:
        return "postgres" if is_url(self.db) else "sqlite"

    def open(self, **options: Any) -> Store:
        """A store on it; two of them are as two processes are."""
        if not options:
            return store_at(self.db)
        if self.kind == "sqlite":
            from troupe.sqlite import SqliteStore

            return SqliteStore(self.db, **options)
        from troupe.postgres import PostgresStore

        return PostgresStore(self.db, **options)

    def sql(self, query: str, args: Sequence[Any] = ()) -> list[Any]:
        """What somebody with access to the database does to it behind our back; values are marked with `?`."""
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.db, isolation_level=None, timeout=30)) as connection:
                return connection.execute(query, args).fetchall()
        with psycopg.connect(self.db, autocommit=True) as connection:
            cursor = connection.execute(query.replace("%", "%%").replace("?", "%s").encode(), args)
            return cursor.fetchall() if cursor.description is not None else []

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.sql(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608

    def forge(self, kind: str, value: bytes, which: str) -> int:
        """Put bytes of a `kind` into every checkpoint, or into every write of deliverables; how many rows changed."""
        if (self.kind, which) == ("postgres", "checkpoint"):  # whose values are rows of their own
            self.sql(
                "INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob) "
                "SELECT DISTINCT thread_id, checkpoint_ns, key, value, CAST(? AS text), CAST(? AS bytea) "
                "FROM checkpoints, jsonb_each_text(checkpoint -> 'channel_versions') "
                "ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO UPDATE SET type = excluded.type, "
                "blob = excluded.blob",
                (kind, value),
            )
        table, type_, blob, where = {
            ("sqlite", "checkpoint"): ("checkpoints", "type", "checkpoint", "1 = 1"),
            ("sqlite", "write"): ("writes", "type", "value", "channel = 'deliverables'"),
            ("postgres", "checkpoint"): ("checkpoint_blobs", "type", "blob", "1 = 1"),
            ("postgres", "write"): ("checkpoint_writes", "type", "blob", "channel = 'deliverables'"),
        }[self.kind, which]
        self.sql(f"UPDATE {table} SET {type_} = ?, {blob} = ? WHERE {where}", (kind, value))  # noqa: S608
        return int(self.sql(f"SELECT count(*) FROM {table} WHERE {where}")[0][0])  # noqa: S608

    def expire(self, thread: str) -> None:
        """Let a lease run out."""
        self.sql("UPDATE troupe_leases SET expires = 1 WHERE thread = ?", (thread,))

    def stored(self) -> bytes:
        """Everything that lies in the database, as somebody finds it who has its files."""
        if self.kind == "sqlite":
            path = Path(self.db)
            return b"".join(one.read_bytes() for one in sorted(path.parent.glob(f"{path.name}*")))
        tables = ["checkpoints", "checkpoint_blobs", "checkpoint_writes"]
        tables += ["troupe_turns", "troupe_journal", "troupe_leases", "troupe_meta"]
        found = b""
        with psycopg.connect(self.db) as connection, connection.cursor() as cursor:
            for table in tables:
                with cursor.copy(f"COPY {table} TO STDOUT (FORMAT binary)") as rows:
                    found += b"".join(bytes(row) for row in rows)
        return found


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty place of the test's own."""
    if request.param == "sqlite":
        yield Place(str(tmp_path / "runs.db"))
        return
    server: Server = request.getfixturevalue("postgres")
    url = server.database()
    yield Place(url)
    server.drop(url)
