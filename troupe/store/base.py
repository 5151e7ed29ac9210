"""A run's whole memory in one object: LangGraph's checkpoints, our journal, the turns and the leases."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from troupe.agents.errors import Blocked, describe
from troupe.sealing import Seal, key_of
from troupe.serializer import Named, SealedSerializer, StrictSerializer
from troupe.store.journal import Calls
from troupe.store.keeping import Keeping
from troupe.store.leases import Keeper, Lease
from troupe.store.turns import Turns

T = TypeVar("T")


class Store(Calls, Turns, Keeping):
    """What `SqliteStore` and `PostgresStore` have in common: all but how a transaction is made.

    They share a database with LangGraph's savers, so that a lease's epoch is checked in the very transaction that it
    guards. The sync saver serves async runs from threads, which suits any number of event loops.
    """

    _pool: ThreadPoolExecutor

    def _begin_books(self, types: Iterable[type | Named], key: str | bytes | None, threads: int) -> None:
        secret = key_of(key)
        self.sealed = Seal(secret) if secret is not None else None
        self.lease = None
        self._types = tuple(types)
        self.serde = self._serializer()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="troupe-store")
        self._keeper = Keeper(self)

    def _serializer(self, types: Iterable[Named] = ()) -> StrictSerializer:
        named = [*self._types, *types]
        return StrictSerializer(named) if self.sealed is None else SealedSerializer(named, self.sealed)

    def fenced(self, lease: Lease | None, types: Iterable[Named] = ()) -> Self:
        """The same store, writing only as long as `lease` is held; None is for one that only reads."""
        view = copy.copy(self)
        view.lease = lease
        view.serde = self._serializer(types)
        return view

    async def threaded(self, act: Callable[..., T], *args: Any, **options: Any) -> T:
        """Do something of the sync half in one of this store's threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(act, *args, **options))

    def close(self) -> None:
        """Close the database; leases that are still held expire."""
        self._keeper.stop()
        self._pool.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _naming(self, config: RunnableConfig | None) -> Iterator[None]:
        """Name the row that may not be loaded."""
        try:
            yield
        except (Blocked, ValueError, TypeError, LookupError, AttributeError) as error:
            inside = (config or {}).get("configurable", {})
            where = f"thread {inside.get('thread_id')!r}, checkpoint {inside.get('checkpoint_id', 'the latest')}"
            why = error if isinstance(error, Blocked) else f"It cannot be read: {describe(error)}."
            raise Blocked(f"{self.path}, {where}: {why}") from None

    def _sound(self, found: CheckpointTuple | None) -> CheckpointTuple | None:
        """A checkpoint that is one."""
        if found is not None:
            values: Any = found.checkpoint
            if not isinstance(values, dict) or not all(isinstance(values.get(name), dict) for name in _PARTS):
                raise Blocked("It is no checkpoint. The row was not written by us.")
            if not isinstance(found.metadata, dict):
                raise Blocked("Its metadata is none. The row was not written by us.")
        return found


_PARTS = ("channel_values", "channel_versions", "versions_seen")
