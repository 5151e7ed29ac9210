"""One SQLite object for a run's whole memory: LangGraph's checkpoints, our journal, the runs and the leases.

They share a connection and a lock, so that a lease's epoch is checked in the very transaction that it guards. The
sync saver serves async runs from one thread, which suits any number of event loops.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.sqlite import SqliteSaver

from troupe.agents.contracts import NO_USAGE, Usage
from troupe.agents.errors import Blocked, Held, StoreError, UnknownRun
from troupe.agents.journal import Row
from troupe.agents.text import clean
from troupe.deltas import history
from troupe.graphs.saver import AsyncInThreads
from troupe.serializer import Named, StrictSerializer

T = TypeVar("T")

SCHEMA = 1
LEASE_SECONDS = 15.0
_TABLES = """
PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS troupe_turns (
    thread TEXT NOT NULL, turn INTEGER NOT NULL, workflow TEXT NOT NULL, reference TEXT, task TEXT NOT NULL,
    input TEXT NOT NULL, models TEXT, simulated INTEGER NOT NULL, budget REAL, deadline REAL, status TEXT NOT NULL,
    reason TEXT, usage TEXT NOT NULL, started REAL NOT NULL, finished REAL, PRIMARY KEY (thread, turn)
);
CREATE TABLE IF NOT EXISTS troupe_leases (
    thread TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, expires REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS troupe_journal (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, root TEXT NOT NULL, kind TEXT NOT NULL, path TEXT, agent TEXT,
    sent TEXT, received TEXT, usage TEXT, started REAL, seconds REAL, owner TEXT, epoch INTEGER
);
CREATE INDEX IF NOT EXISTS troupe_journal_root ON troupe_journal (root);
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is known of a turn of a run before, while and after it is worked on."""

    thread: str
    turn: int
    workflow: str
    task: str
    input: dict[str, Any]
    reference: str | None = None
    models: dict[str, str] | None = None
    simulated: bool = True
    budget: float | None = None
    deadline: float | None = None
    status: str = "running"
    reason: str | None = None
    usage: Usage = NO_USAGE
    started: float = 0.0
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a thread. An epoch is never given twice."""

    thread: str
    owner: str
    epoch: int


class SqliteStore(AsyncInThreads, SqliteSaver):
    """Checkpoints, journal, runs and leases in one file.

    Args:
        path: of the database; `:memory:` for none.
        types: classes of your own state schemas that may be read back.
        clock: seconds since the epoch, the same for all processes that share the file.

    Raises:
        StoreError: the file cannot be used; the message says why.
    """

    def __init__(
        self, path: str | Path, *, types: Iterable[type | Named] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self.path = str(path)
        self.clock = clock
        self.lease: Lease | None = None
        try:
            if self.path != ":memory:":
                _private(Path(self.path))
            conn = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(self.path, error) from None
        self._types = tuple(types)
        super().__init__(conn, serde=StrictSerializer(self._types))
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="troupe-store")
        self._keeper = _Keeper(self)
        try:
            self.setup()
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from None

    def setup(self) -> None:
        """Make the tables."""
        if self.is_setup:
            return
        # A checkpoint has 2 to 3 KB: of the usual pages of 4 KB, each would hold one and be half empty.
        self.conn.execute("PRAGMA page_size=8192")
        super().setup()
        self.conn.executescript(_TABLES)
        (found,) = self.conn.execute("PRAGMA user_version").fetchone()
        if found > SCHEMA:
            self.is_setup = False
            raise StoreError(
                f"{self.path} was written by a newer version of Troupe. Upgrade, or use another file: --db."
            )
        self.conn.execute(f"PRAGMA user_version={SCHEMA:d}")

    def close(self) -> None:
        """Close the file; leases that are still held expire."""
        self._keeper.stop()
        self._pool.shutdown(wait=True)
        self.conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """A cursor; a writing one begins with the check that the lease is still ours."""
        with self.lock:
            cursor = self.conn.cursor()
            try:
                if not transaction:
                    yield cursor
                    return
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    self._check(cursor)
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException:
                    if self.conn.in_transaction:
                        cursor.execute("ROLLBACK")
                    raise
            except sqlite3.DatabaseError as error:
                raise _unusable(self.path, error) from error
            finally:
                cursor.close()

    def fenced(self, lease: Lease | None, types: Iterable[Named] = ()) -> SqliteStore:
        """The same store, writing only as long as `lease` is held; None is for one that only reads."""
        view = copy.copy(self)
        view.lease = lease
        view.serde = StrictSerializer([*self._types, *types])
        return view

    def _check(self, cursor: sqlite3.Cursor) -> None:
        if self.lease is None:
            return
        query = "SELECT owner, epoch FROM troupe_leases WHERE thread = ?"
        row = cursor.execute(query, (self.lease.thread,)).fetchone()
        if row is None or row[1] != self.lease.epoch:
            holder = row[0] if row else "nobody"
            raise Held(
                f"Run {self.lease.thread} was taken over by {holder}; this process writes no more. "
                f"See it with: troupe runs {self.lease.thread}"
            )

    # --- LangGraph's saver ------------------------------------------------------------------------------------------

    async def threaded(self, act: Callable[..., T], *args: Any, **options: Any) -> T:
        """One thread for all, so that this process is one writer."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(act, *args, **options))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See LangGraph; a row that may not be loaded is named."""
        with self._naming(config):
            return super().get_tuple(config)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See LangGraph; a row that may not be loaded is named."""
        inside = config["configurable"]
        id_ = inside.get("checkpoint_id")
        if not id_ and (found := self.get_tuple(config)) is not None:
            id_ = found.config["configurable"]["checkpoint_id"]
        if not (id_ and channels):
            return {channel: {"writes": []} for channel in channels}
        thread, ns = str(inside["thread_id"]), inside.get("checkpoint_ns", "")
        with self._naming(config), self.cursor(transaction=False) as cursor:
            return history(cursor, self.serde, thread, ns, id_, channels)

    @contextmanager
    def _naming(self, config: RunnableConfig) -> Iterator[None]:
        try:
            yield
        except Blocked as error:
            inside = config["configurable"]
            where = f"thread {inside['thread_id']!r}, checkpoint {inside.get('checkpoint_id', 'the latest')}"
            raise Blocked(f"{self.path}, {where}: {error}") from None

    # --- the journal ------------------------------------------------------------------------------------------------

    async def reserve(self, key: str) -> Row | bool:
        """See `Journal`."""
        return await self.threaded(self._reserve, key)

    def _reserve(self, key: str) -> Row | bool:
        owner, epoch = (self.lease.owner, self.lease.epoch) if self.lease else ("", 0)
        with self.cursor() as cursor:
            found = cursor.execute(f"SELECT {_COLUMNS} FROM troupe_journal WHERE key = ?", (key,)).fetchone()  # noqa: S608
            if found is None:
                query = "INSERT INTO troupe_journal (key, root, kind, owner, epoch) VALUES (?, ?, 'reserved', ?, ?)"
                cursor.execute(query, (key, _root(key), owner, epoch))
                return False
            if found[1] == "outcome":
                return _row(found)
            cursor.execute("UPDATE troupe_journal SET owner = ?, epoch = ? WHERE key = ?", (owner, epoch, key))
            return True

    async def find(self, key: str) -> Row | None:
        """See `Journal`."""
        query = f"SELECT {_COLUMNS} FROM troupe_journal WHERE key = ? AND kind != 'reserved'"  # noqa: S608
        rows = await self.threaded(self._read, query, (key,))
        return _row(rows[0]) if rows else None

    async def record(self, row: Row) -> None:
        """See `Journal`."""
        await self.threaded(self._record, row)

    def _record(self, row: Row) -> None:
        values = (
            row.key, row.root, row.kind, row.path, row.agent, _json(row.sent), _json(row.received),
            row.usage.model_dump_json(), row.started, row.seconds,
        )  # fmt: skip
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO troupe_journal (key, root, kind, path, agent, sent, received, usage, started, seconds) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, "
                "path = excluded.path, agent = excluded.agent, sent = excluded.sent, received = excluded.received, "
                "usage = excluded.usage, started = excluded.started, seconds = excluded.seconds "
                "WHERE troupe_journal.kind = 'reserved'",
                values,
            )

    async def rows(self, prefix: str) -> Sequence[Row]:
        """See `Journal`."""
        query = (
            f"SELECT {_COLUMNS} FROM troupe_journal WHERE kind != 'reserved' "  # noqa: S608
            "AND substr(key, 1, length(?)) = ? ORDER BY started, id"
        )
        return [_row(one) for one in await self.threaded(self._read, query, (prefix, prefix))]

    async def spent(self, root: str) -> Usage:
        """See `Journal`."""
        query = (
            "SELECT usage FROM troupe_journal WHERE root = ? AND kind IN ('request', 'failure') AND usage IS NOT NULL"
        )
        rows = await self.threaded(self._read, query, (root,))
        return sum((Usage.model_validate_json(one) for (one,) in rows), NO_USAGE)

    # --- runs -------------------------------------------------------------------------------------------------------

    async def begin(self, turn: Turn) -> Turn:
        """Record a new turn, before anything of it is done; gives it its number."""
        return await self.threaded(self._begin, turn)

    def _begin(self, turn: Turn) -> Turn:
        with self.cursor() as cursor:
            query = "SELECT COALESCE(MAX(turn), 0) + 1 FROM troupe_turns WHERE thread = ?"
            (number,) = cursor.execute(query, (turn.thread,)).fetchone()
            turn = replace(turn, turn=number, started=self.clock())
            cursor.execute(
                "UPDATE troupe_turns SET status = 'stopped', reason = 'A new turn began.' "
                "WHERE thread = ? AND status IN ('running', 'waiting')",
                (turn.thread,),
            )
            cursor.execute(
                "INSERT INTO troupe_turns (thread, turn, workflow, reference, task, input, models, simulated, budget, "
                "deadline, status, reason, usage, started, finished) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    turn.thread, turn.turn, turn.workflow, turn.reference, turn.task, _json(turn.input),
                    _json(turn.models), turn.simulated, turn.budget, turn.deadline, turn.status, turn.reason,
                    turn.usage.model_dump_json(), turn.started, turn.finished,
                ),
            )  # fmt: skip
        return turn

    async def end(self, turn: Turn, status: str, reason: str | None, usage: Usage) -> None:
        """Record how far a turn came."""
        await self.threaded(self._end, turn, status, reason, usage)

    def _end(self, turn: Turn, status: str, reason: str | None, usage: Usage) -> None:
        finished = None if status in ("running", "waiting", "stopped") else self.clock()
        with self.cursor() as cursor:
            cursor.execute(
                "UPDATE troupe_turns SET status = ?, reason = ?, usage = ?, finished = ? WHERE thread = ? AND turn = ?",
                (status, reason, usage.model_dump_json(), finished, turn.thread, turn.turn),
            )

    async def turns(self, thread: str | None = None) -> list[Turn]:
        """The turns of a thread, oldest first; without one the last turn of every thread, newest first."""
        args: tuple[str, ...] = ()
        if thread is not None:
            query, args = f"SELECT {_TURN} FROM troupe_turns WHERE thread = ? ORDER BY turn", (thread,)  # noqa: S608
        else:
            query = (
                f"SELECT {_TURN} FROM troupe_turns AS t WHERE turn = "  # noqa: S608
                "(SELECT MAX(turn) FROM troupe_turns WHERE thread = t.thread) ORDER BY started DESC"
            )
        return [self._turn(one) for one in await self.threaded(self._read, query, args)]

    async def last(self, thread: str) -> Turn:
        """The last turn of a thread.

        Raises:
            UnknownRun: there is none.
        """
        turns = await self.turns(thread)
        if not turns:
            raise UnknownRun(f"There is no run {thread!r} in {self.path}. See those that there are with: troupe runs")
        return turns[-1]

    def _turn(self, row: Any) -> Turn:
        values = dict(zip(_TURN.split(", "), row, strict=True))
        values["input"] = json.loads(values["input"])
        values["models"] = json.loads(values["models"]) if values["models"] else None
        values["usage"] = Usage.model_validate_json(values["usage"])
        values["simulated"] = bool(values["simulated"])
        return Turn(**values)

    def _read(self, query: str, args: Sequence[Any]) -> list[Any]:
        with self.cursor(transaction=False) as cursor:
            return cursor.execute(query, args).fetchall()

    # --- leases -----------------------------------------------------------------------------------------------------

    async def acquire(self, thread: str) -> Lease:
        """The lease of a thread.

        Raises:
            Held: another process that is alive holds it.
        """
        return await self.threaded(self._acquire, thread)

    def _acquire(self, thread: str) -> Lease:
        owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        now = self.clock()
        with self.cursor() as cursor:
            query = "SELECT owner, epoch, expires FROM troupe_leases WHERE thread = ?"
            row = cursor.execute(query, (thread,)).fetchone()
            if row is not None and row[2] > now and _alive(row[0]):
                raise Held(f"Run {thread} is being worked on by {row[0]}.")
            lease = Lease(thread, owner, row[1] + 1 if row else 1)
            cursor.execute(
                "INSERT INTO troupe_leases (thread, owner, epoch, expires) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (thread) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, "
                "expires = excluded.expires",
                (thread, owner, lease.epoch, now + LEASE_SECONDS),
            )
        self._keeper.keep(lease)
        return lease

    def renew(self, lease: Lease) -> bool:
        """Hold a lease for longer; False if it was lost."""
        with self.cursor() as cursor:
            cursor.execute(
                "UPDATE troupe_leases SET expires = ? WHERE thread = ? AND epoch = ? AND owner = ?",
                (self.clock() + LEASE_SECONDS, lease.thread, lease.epoch, lease.owner),
            )
            return cursor.rowcount == 1

    async def release(self, lease: Lease) -> None:
        """Give a lease back; its epoch stays used."""
        self._keeper.forget(lease)
        await self.threaded(self._release, lease)

    def _release(self, lease: Lease) -> None:
        with self.cursor() as cursor:
            cursor.execute(
                "UPDATE troupe_leases SET expires = 0 WHERE thread = ? AND epoch = ? AND owner = ?",
                (lease.thread, lease.epoch, lease.owner),
            )

    async def holder(self, thread: str) -> str | None:
        """Who works on a thread now."""
        query = "SELECT owner, expires FROM troupe_leases WHERE thread = ?"
        rows = await self.threaded(self._read, query, (thread,))
        return rows[0][0] if rows and rows[0][1] > self.clock() and _alive(rows[0][0]) else None


class _Keeper:
    """Renews this process's leases from a thread, so that a busy event loop does not lose them."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._leases: set[Lease] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def keep(self, lease: Lease) -> None:
        with self._lock:
            self._leases.add(lease)
            if self._thread is None or not self._thread.is_alive():
                self._wake.clear()
                self._thread = threading.Thread(target=self._run, name="troupe-leases", daemon=True)
                self._thread.start()

    def forget(self, lease: Lease) -> None:
        self._leases.discard(lease)

    def stop(self) -> None:
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._wake.wait(LEASE_SECONDS / 3):
            for lease in tuple(self._leases):
                try:
                    if not self._store.renew(lease):
                        self.forget(lease)
                except StoreError:  # a database that is busy or away now may answer at the next beat
                    continue


_COLUMNS = "key, kind, path, agent, sent, received, usage, started, seconds"
_TURN = (
    "thread, turn, workflow, reference, task, input, models, simulated, budget, deadline, status, reason, usage, "
    "started, finished"
)


def _row(found: Sequence[Any]) -> Row:
    key, kind, path, agent, sent, received, usage, started, seconds = found
    used = Usage.model_validate_json(usage) if usage else NO_USAGE
    return Row(key, kind, path, agent, json.loads(sent), json.loads(received), used, started, seconds)


def _root(key: str) -> str:
    return "/".join(key.split("/", 2)[:2])


def _json(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def _alive(owner: str) -> bool:
    """Whether a lease's owner may still be at work: a process of this machine that is gone is not."""
    host, pid, _ = owner.split("/")
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _private(path: Path) -> None:
    """Make the file and its folder, readable by their owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)


def _unusable(path: str, error: Exception) -> StoreError:
    return StoreError(f"The database {path} cannot be used: {error}. Choose another file with --db or TROUPE_DB.")
