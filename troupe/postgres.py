"""The store in PostgreSQL: LangGraph's saver and our books over one pool of connections, through outages."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

import psycopg
import tenacity
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row, tuple_row
from psycopg_pool import ConnectionPool

from troupe.agents.errors import Blocked, Held, StoreError, describe
from troupe.serializer import Named, Wrapped
from troupe.store import tables
from troupe.store.base import Store
from troupe.store.database import Cursor
from troupe.store.leases import Lease

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds for which a server that is away is waited for."""
CONNECTIONS = 8
STUCK = 10
"""Seconds for which a write may be interrupted by its own process; then its connection is ended."""
_ALIVE: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "troupe",
}
_answered: set[str] = set()  # servers that this process has talked to
_LOCK = 7_205_759_403  # of ours alone: who makes the tables
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.IdleInTransactionSessionTimeout)
# What a server says that is not away: waiting does not help.
_LASTING = (
    psycopg.errors.DiskFull,
    psycopg.errors.InvalidPassword,
    psycopg.errors.InvalidAuthorizationSpecification,
    psycopg.errors.ConfigurationLimitExceeded,
    psycopg.errors.ProgramLimitExceeded,
)

# Lost connections are mended here, and told of only where that fails.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class PostgresStore(Store, PostgresSaver):
    """Checkpoints, journal, runs and leases in a PostgreSQL database.

    Args:
        url: of the database, as libpq takes it.
        types: classes of your own state schemas that may be read back.
        key: to encrypt what is stored; by default that of the environment variable `TROUPE_DB_KEY`, if there is one.
        patience: seconds for which a server that is away, or restarts, is waited for.
        clock: seconds since the epoch; leases go by the server's clock, whatever this one says.
        monotonic: seconds, for how long a server is waited for.
        sleep: waits between attempts.

    Raises:
        StoreError: nobody answers there, or will not let us in.
        SettingsError: the key is none.
    """

    locked = " FOR UPDATE"
    shared = " FOR SHARE"
    contents: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "checkpoints": ("thread_id", "checkpoint", "metadata"),
        "checkpoint_blobs": ("thread_id", "blob"),
        "checkpoint_writes": ("thread_id", "blob"),
    }
    measure = "pg_column_size({})"

    def __init__(
        self,
        url: str,
        *,
        types: Iterable[type | Named] = (),
        key: str | bytes | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            self.path = shown(url)
            known = conninfo_to_dict(url)
            where = make_conninfo(url, **{name: value for name, value in _ALIVE.items() if name not in known})
        except psycopg.Error as error:
            raise StoreError(f"PostgreSQL cannot be used: {describe(error)}. Check its URL.") from None
        self.patience = patience
        self.clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._given_up = threading.Event()
        self._greet(where)
        # Attempts to connect are short, and it is this store that repeats them: a pool's own waits double.
        self.pool: Any = ConnectionPool(
            where,
            min_size=0,
            max_size=CONNECTIONS,
            timeout=min(3.0, patience),
            reconnect_timeout=1.0,
            configure=_configure,
            kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
            open=True,
        )
        super().__init__(self.pool)
        self._begin_books(types, key, threads=CONNECTIONS)
        try:
            self.setup()
        except BaseException:
            self.close()
            raise

    def _greet(self, where: str) -> None:
        """Find out whether somebody answers there; a pool would only wait, and not say why."""

        def away(error: BaseException) -> bool:
            # Who never answered may have been given with a wrong address: that is to be said at once.
            return _passes(error) and (where in _answered or "the database system is" in str(error))

        began = self._monotonic()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(away),
            wait=tenacity.wait_exponential(multiplier=0.05, max=1.0),
            stop=lambda _: self._monotonic() - began >= self.patience,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            retrying(lambda: psycopg.connect(where).close())
        except psycopg.Error as error:
            raise StoreError(f"PostgreSQL cannot be used: {describe(error)}. Check its URL.") from None
        _answered.add(where)

    def setup(self) -> None:
        """Make the tables, or bring those of an older version up to today's."""
        if not self._steady(self._is_ready):
            self._steady(self._make)
        tables.agree_on_key(self)

    def _is_ready(self) -> bool:
        with self.pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute("SELECT to_regclass('troupe_meta'), to_regclass('checkpoint_migrations')")
            if None in cursor.fetchone():
                return False
            cursor.execute("SELECT value FROM troupe_meta WHERE name = 'schema'")
            found = int((cursor.fetchone() or ("0",))[0])
            tables.must_be_known(self.path, found)
            cursor.execute("SELECT MAX(v) FROM checkpoint_migrations")
            (migrated,) = cursor.fetchone()
            return bool(found == tables.SCHEMA and migrated is not None and migrated >= len(self.MIGRATIONS) - 1)

    def _make(self) -> None:
        with self.pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            # Asked for again and again: whoever waits inside of a query holds up the making of an index.
            while not cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()[0]:
                self._sleep(0.05)
            try:
                if self._is_ready():
                    return
                super().setup()
                with connection.transaction():
                    tables.make(_Marked(cursor), tables.POSTGRES, 0)
            finally:
                if not connection.closed:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))

    def close(self) -> None:
        """Close the connections; leases that are still held expire."""
        super().close()
        self.pool.close()

    # --- leases -----------------------------------------------------------------------------------------------------

    def _taken(self, cursor: Cursor, thread: str, owner: str) -> Lease | Held:
        cursor.execute("SET LOCAL lock_timeout = '1s'")
        try:
            return super()._taken(cursor, thread, owner)
        except psycopg.errors.LockNotAvailable:  # somebody is in the middle of a write: this is tried again
            self.rows_of(_END_STUCK, (STUCK,))
            raise

    # --- transactions -----------------------------------------------------------------------------------------------

    def write(self, act: Callable[[Cursor], T]) -> T:
        """See `Database`. It may be done again when the answer of the server got lost: `act` must allow for that."""

        def attempt() -> T:
            with self._transaction() as connection, connection.cursor(row_factory=tuple_row) as cursor:
                return act(_Marked(cursor))

        return self._steady(attempt)

    def read(self, act: Callable[[Cursor], T]) -> T:
        """See `Database`."""

        def attempt() -> T:
            with self.pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
                return act(_Marked(cursor))

        return self._steady(attempt)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self.pool.connection() as connection, connection.transaction():
            if self.lease is not None:
                with connection.cursor(row_factory=tuple_row) as cursor:
                    self._check(_Marked(cursor))
            yield connection

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Any]:
        """LangGraph's cursor: what it pipelines are its writes."""
        if not pipeline:
            with self.pool.connection() as connection, connection.cursor(binary=True, row_factory=dict_row) as cursor:
                yield cursor
            return
        with (
            self._transaction() as connection,
            connection.pipeline(),
            connection.cursor(binary=True, row_factory=dict_row) as cursor,
        ):
            yield cursor

    def _steady(self, act: Callable[[], T]) -> T:
        """Do something, again and again while the server is away; once it was waited for in vain, only once.

        Raises:
            StoreError: it stayed away, or it is something else.
        """
        began = self._monotonic()
        try:
            try:
                done = act()
                self._given_up.clear()
                return done
            except _PASSING as error:
                if not _passes(error) or self._given_up.is_set():
                    raise
            self.pool.check()  # the other connections are lost, too
            retrying = tenacity.Retrying(
                retry=tenacity.retry_if_exception(_passes),
                wait=tenacity.wait_exponential(multiplier=0.05, max=1.0),
                stop=lambda _: self._monotonic() - began >= self.patience,
                sleep=self._sleep,
                reraise=True,
            )
            return retrying(act)
        except UnicodeError as error:
            raise self._unstorable(error) from None
        except psycopg.DataError as error:
            raise self._unstorable(error) from None
        except psycopg.Error as error:
            then = ""
            if _passes(error):
                self._given_up.set()
                then = f" It was waited for, {self.patience:g} s long. When it is back, go on with: troupe resume"
            raise StoreError(f"The database {self.path} cannot be used: {describe(error)}.{then}") from error

    def now(self, cursor: Cursor) -> float:
        """See `Database`: the server's clock."""
        (now,) = cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        return float(now)

    def size(self) -> int:
        """See `Database`."""
        names = [*self.contents, "troupe_turns", "troupe_leases", "troupe_journal", "troupe_meta"]
        marks = ", ".join("?" * len(names))
        query = f"SELECT COALESCE(SUM(pg_total_relation_size(to_regclass(n))), 0) FROM unnest(ARRAY[{marks}]) n"  # noqa: S608
        return int(self.rows_of(query, names)[0][0])

    def compact(self) -> None:
        """Make the room free for others; PostgreSQL gives the end of a table back to the file system."""

        def attempt() -> None:
            with self.pool.connection() as connection:
                for table in (*self.contents, "troupe_turns", "troupe_journal"):
                    connection.execute(f"VACUUM {table}")

        self._steady(attempt)

    # --- LangGraph's saver ------------------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See LangGraph; a row that may not be loaded is named."""
        with self._naming(config):
            return self._sound(self._steady(lambda: super(PostgresStore, self).get_tuple(config)))

    def list(self, config: RunnableConfig | None, **options: Any) -> Iterator[CheckpointTuple]:
        """See LangGraph; all are read at once."""
        with self._naming(config):
            return iter(self._steady(lambda: [*super(PostgresStore, self).list(config, **options)]))

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        """See LangGraph."""
        if self.sealed is not None:
            # What is short and plain would stand in the checkpoint as it is.
            values = {name: _wrapped(value) for name, value in checkpoint["channel_values"].items()}
            checkpoint = {**checkpoint, "channel_values": values}
        return self._steady(lambda: super(PostgresStore, self).put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See LangGraph."""
        self._steady(lambda: super(PostgresStore, self).put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """See LangGraph."""
        self._steady(lambda: super(PostgresStore, self).delete_thread(thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """See LangGraph."""
        self._steady(lambda: super(PostgresStore, self).prune(thread_ids, strategy=strategy))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See LangGraph; a row that may not be loaded is named."""
        with self._naming(config):
            return self._steady(
                lambda: super(PostgresStore, self).get_delta_channel_history(config=config, channels=channels)
            )

    def _load_checkpoint_tuple(self, value: Any) -> CheckpointTuple:
        if self.sealed is not None:
            plain = (value["checkpoint"].get("channel_values") or {}).items()
            if readable := sorted(name for name, one in plain if one is not None and one is not True):
                raise Blocked(f"Values in it are not encrypted: {', '.join(readable)}. It was not written by us.")
        return super()._load_checkpoint_tuple(value)


# The timeout of idle transactions does not hold inside of a pipeline: its server goes on waiting for the next query.
# Nor does it hurry where the other writes of a stopped process get the lock one after the other.
_END_STUCK = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity AS them
WHERE datname = current_database() AND usename = current_user AND wait_event = 'ClientRead'
AND xact_start < clock_timestamp() - make_interval(secs => ?)
AND EXISTS (SELECT 1 FROM pg_locks WHERE pid = them.pid AND relation = 'troupe_leases'::regclass AND granted)
"""


class _Marked:
    """A cursor for queries with `?`."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    def execute(self, query: str, args: Sequence[Any] = (), /) -> Any:
        return self._cursor.execute(_translated(query), args)

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> Any:
        return self._cursor.fetchall()


@lru_cache(maxsize=256)
def _translated(query: str) -> str:
    return query.replace("%", "%%").replace("?", "%s")


def _configure(connection: Any) -> None:
    # Whoever is stopped in the middle of a write must not keep the lease from others for ever.
    query = "SELECT set_config('idle_in_transaction_session_timeout', %s, false)"
    connection.execute(query, (f"{STUCK:d}s",))


def _wrapped(value: Any) -> Any:
    return Wrapped(value) if isinstance(value, str | int | float) else value


def _passes(error: BaseException) -> bool:
    """Whether the server may be back, and whole, in a while."""
    return isinstance(error, _PASSING) and not isinstance(error, _LASTING)


def shown(url: str) -> str:
    """A database's address for people, without its password.

    >>> shown("postgresql://ada:secret@db.example:5433/runs")
    'postgresql://ada@db.example:5433/runs'
    """
    known = conninfo_to_dict(url)
    user = f"{known['user']}@" if known.get("user") else ""
    port = f":{known['port']}" if known.get("port") else ""
    return f"postgresql://{user}{known.get('host') or ''}{port}/{known.get('dbname') or ''}"
