"""The store in one SQLite file: LangGraph's saver and our books on one connection, under one lock."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.sqlite import SqliteSaver

from troupe.agents.errors import Blocked, StoreError
from troupe.deltas import history
from troupe.sealing import key_of
from troupe.serializer import Named
from troupe.store import tables
from troupe.store.base import Store
from troupe.store.database import Cursor

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for which a file that another process is writing to is waited for."""
_VACUUM_STEP = 1000  # pages that are given back at a time, so that others can write in between


class SqliteStore(Store, SqliteSaver):
    """Checkpoints, journal, runs and leases in one file.

    Args:
        path: of the database; `:memory:` for none.
        types: classes of your own state schemas that may be read back.
        key: to encrypt what is stored; by default that of the environment variable `TROUPE_DB_KEY`, if there is one.
        clock: seconds since the epoch, the same for all processes that share the file.
        patience: seconds for which a file that another process is writing to is waited for.

    Raises:
        StoreError: the file cannot be used; the message says why.
        SettingsError: the key is none.
    """

    contents: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "checkpoints": ("thread_id", "checkpoint", "metadata"),
        "writes": ("thread_id", "value"),
    }
    measure = "LENGTH(CAST({} AS BLOB))"

    def __init__(
        self,
        path: str | Path,
        *,
        types: Iterable[type | Named] = (),
        key: str | bytes | None = None,
        clock: Callable[[], float] = time.time,
        patience: float = PATIENCE,
    ) -> None:
        key = key_of(key)
        self.path = str(path)
        self.clock = clock
        self.patience = patience
        try:
            if self.path != ":memory:":
                _private(Path(self.path))
            conn = sqlite3.connect(self.path, timeout=patience, isolation_level=None, check_same_thread=False)
        except (OSError, ValueError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        super().__init__(conn)
        # One thread for all, so that this process is one writer.
        self._begin_books(types, key, threads=1)
        try:
            self.setup()
        except sqlite3.Error as error:
            conn.close()
            raise self._unusable(error) from None
        except BaseException:
            conn.close()
            raise

    def setup(self) -> None:
        """Make the tables, or bring those of an older version up to today's."""
        if self.is_setup:
            return
        (found,) = self.conn.execute("PRAGMA user_version").fetchone()
        tables.must_be_known(self.path, found)
        if self.path != ":memory:":
            _close_to_others(Path(self.path))
        # A checkpoint has 2 to 3 KB: of the usual pages of 4 KB, each would hold one and be half empty.
        self.conn.execute("PRAGMA page_size=8192")
        self.conn.execute("PRAGMA auto_vacuum=INCREMENTAL")
        super().setup()
        self.conn.execute("PRAGMA synchronous=NORMAL")
        self.conn.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
        if found < tables.SCHEMA:
            self.write(self._make)
        tables.agree_on_key(self)

    def _make(self, cursor: Cursor) -> None:
        (found,) = cursor.execute("PRAGMA user_version").fetchone()  # another process may have been first
        if found < tables.SCHEMA:
            tables.make(cursor, tables.SQLITE, found)
            cursor.execute(f"PRAGMA user_version={tables.SCHEMA:d}")

    def close(self) -> None:
        """Close the file; leases that are still held expire."""
        super().close()
        self.conn.close()

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """A cursor; a writing one begins with the check that the lease is still ours."""
        with self.lock:
            cursor: sqlite3.Cursor | None = None
            try:
                cursor = self.conn.cursor()
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
            except UnicodeDecodeError as error:
                raise Blocked(f"A stored text cannot be read: {error}") from None
            except UnicodeError as error:
                raise self._unstorable(error) from None
            except sqlite3.Error as error:
                raise self._unusable(error) from error
            finally:
                if cursor is not None:
                    cursor.close()

    def write(self, act: Callable[[Cursor], T]) -> T:
        """See `Database`."""
        with self.cursor() as cursor:
            return act(cursor)

    def read(self, act: Callable[[Cursor], T]) -> T:
        """See `Database`."""
        with self.cursor(transaction=False) as cursor:
            return act(cursor)

    def now(self, cursor: Cursor) -> float:
        """See `Database`."""
        return self.clock()

    def size(self) -> int:
        """See `Database`."""
        if self.path == ":memory:":
            ((pages,),), ((size,),) = self.rows_of("PRAGMA page_count"), self.rows_of("PRAGMA page_size")
            return int(pages * size)
        return sum(one.stat().st_size for one in _files(Path(self.path)) if one.exists())

    def compact(self) -> None:
        """Give pages back to the file system, some at a time; one of version 0.1 is rewritten when nobody uses it."""
        ((mode,),) = self.rows_of("PRAGMA auto_vacuum")
        if mode == 2:
            while (free := self.rows_of("PRAGMA freelist_count")[0][0]) > 0:
                self.rows_of(f"PRAGMA incremental_vacuum({min(free, _VACUUM_STEP):d})")
        elif not self.rows_of("SELECT 1 FROM troupe_leases WHERE expires > ? LIMIT 1", (self.clock(),)):
            self.rows_of("VACUUM")
        self.rows_of("PRAGMA wal_checkpoint(TRUNCATE)")

    def _unusable(self, error: Exception) -> StoreError:
        why, where = str(error), "Choose another file with --db or TROUPE_DB."
        if "locked" in why:
            why = f"{why}: another process has been writing to it for {self.patience:g} s. Let it end, and try again"
        return StoreError(f"The database {self.path} cannot be used: {why}. {where}")

    # --- LangGraph's saver ------------------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See LangGraph; a row that may not be loaded is named."""
        with self._naming(config):
            return self._sound(super().get_tuple(config))

    def list(self, config: RunnableConfig | None, **options: Any) -> Iterator[CheckpointTuple]:
        """See LangGraph; all are read at once, so that the store can be used between them."""
        with self._naming(config):
            return iter([*super().list(config, **options)])

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


def _private(path: Path) -> None:
    """Make the file and its folders, readable by their owner alone.

    Raises:
        OSError: it cannot be.
    """
    missing = [one for one in path.absolute().parents if not one.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600, exist_ok=True)


def _close_to_others(path: Path) -> None:
    """Take a database that was there from all but its owner.

    Raises:
        StoreError: it is somebody else's.
    """
    for one in _files(path) if os.name == "posix" else ():
        with suppress(FileNotFoundError):
            if one.stat().st_mode & 0o077:
                try:
                    one.chmod(0o600)
                except PermissionError:
                    raise StoreError(
                        f"Others can read {one}, and it belongs to somebody else, who can end that: chmod 600 {one}. "
                        "Or choose another file with --db or TROUPE_DB."
                    ) from None


def _files(path: Path) -> tuple[Path, ...]:
    """A database's files: the log and its index lie beside it."""
    return tuple(path.with_name(f"{path.name}{end}") for end in ("", "-wal", "-shm"))
