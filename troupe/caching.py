"""Where a run's cache lies: in a file beside the database of runs, or in memory where that one is."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from langgraph.cache.base import BaseCache

from troupe.agents import cache
from troupe.agents.context import TeamContext
from troupe.agents.errors import Blocked
from troupe.agents.settings import Settings
from troupe.sealing import Seal, key_of
from troupe.signing import state_folder

FILE = "cache.db"


def cache_file(db: str) -> Path | None:
    """The cache's file for the runs kept at `db`; None where they are in memory.

    >>> cache_file("work/runs.db").name, cache_file(":memory:")
    ('cache.db', None)
    """
    if db == ":memory:":
        return None
    if "://" in db:  # a server: what is kept there is reached from many machines, a cache is this one's
        return state_folder() / FILE
    return Path(db).with_name(FILE)


async def with_cache(context: TeamContext, db: str | None) -> TeamContext:
    """The context with the cache that is meant by it, opened.

    Raises:
        StoreError: its file cannot be used.
        SettingsError: what was given is no cache.
    """
    settings = Settings.current()
    if not cache.wanted(context.cache, settings):
        return context
    home: BaseCache[Any] | None = None
    file = cache_file(db) if db is not None else None
    if file is not None and not isinstance(context.cache, BaseCache | cache.Cache):
        home = await asyncio.to_thread(cache.in_file, file, _serializer())
    return context.model_copy(update={"cache": cache.cache_of(context.cache, settings, home)})


def prune_cache(db: str) -> int:
    """Remove the expired replies of the cache beside a database; how many there were."""
    file = cache_file(db)
    try:
        return 0 if file is None else cache.expired(file)
    except sqlite3.Error:
        return 0  # no cache of ours, or one that is being written to


def _serializer() -> Any:
    """Plain data, encrypted where the database of runs is."""
    key = key_of(None)
    return cache.PlainSerializer() if key is None else _Sealed(Seal(key))


class _Sealed(cache.PlainSerializer):
    """Plain data under a seal; what is not sealed is not ours."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def dumps_typed(self, value: Any) -> tuple[str, bytes]:
        """See `PlainSerializer`."""
        _, plain = super().dumps_typed(value)
        return "sealed", self._seal.seal(plain.decode(), FILE).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """See `PlainSerializer`."""
        kind, stored = data
        if kind != "sealed":
            raise Blocked("A cached value is not encrypted, and the database's key is set.")
        return super().loads_typed(("json", self._seal.unseal(bytes(stored).decode("utf-8", "replace"), FILE).encode()))
