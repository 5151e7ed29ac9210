"""Opening the books for a turn: one store, or nothing but memory where the caller brought a saver of another kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from troupe.agents.context import TeamContext
from troupe.agents.errors import (
    Held,
    SettingsError,
)
from troupe.agents.events import Listener, Notice
from troupe.agents.journal import MemoryJournal
from troupe.catalogue import Target
from troupe.graphs.team import Team
from troupe.serializer import types_of
from troupe.sqlite import Lease, SqliteStore, Turn
from troupe.underway import Durability, Underway


@dataclass(frozen=True, slots=True)
class Books:
    """Where a turn is kept: our store, or the saver that the caller's team was compiled with."""

    store: SqliteStore | None
    saver: BaseCheckpointSaver[Any] | None

    @property
    def kept(self) -> SqliteStore:
        """Our store.

        Raises:
            SettingsError: there is none.
        """
        if self.store is None:
            raise SettingsError("This needs the database of runs: give db=, and no checkpointer of another kind.")
        return self.store


@asynccontextmanager
async def opened(team: Team | None, db: Any) -> AsyncIterator[Books]:
    """The books of a team or path; a store that is opened here is closed again."""
    own = team.checkpointer if team is not None else None
    if isinstance(own, SqliteStore) and db is None:
        yield Books(own, None)
    elif isinstance(own, BaseCheckpointSaver) and db is None:
        yield Books(None, own)
    elif isinstance(db, SqliteStore):
        yield Books(db, None)
    else:
        from troupe.checkpoints import sqlite

        store = await asyncio.to_thread(sqlite, db)
        try:
            yield Books(store, None)
        finally:
            await asyncio.to_thread(store.close)


@asynccontextmanager
async def underway(
    books: Books, where: Target, turn: Turn, context: TeamContext, store: Any, durability: Durability, new: bool = False
) -> AsyncIterator[Underway]:
    """The team ready to run this turn, under the thread's lease."""
    options: dict[str, Any] = {} if store is None else {"store": store}
    if books.store is None:
        team = where.team.copy(options)
        yield Underway(team, turn, context, MemoryJournal(), None, durability)
        return
    lease = await _acquired(books.store, turn.thread, context.listeners)
    try:
        fenced = books.store.fenced(lease, types_of(where.team))
        if new:
            turn = await fenced.begin(turn)
        team = where.team.copy({**options, "checkpointer": fenced})
        yield Underway(team, turn, context, fenced, fenced, durability)
    finally:
        await asyncio.shield(books.store.release(lease))


async def _acquired(store: SqliteStore, thread: str, listeners: Sequence[Listener]) -> Lease:
    """The thread's lease; whoever holds it is waited for, and the caller told of it."""
    told = False
    while True:
        try:
            return await store.acquire(thread)
        except Held as error:
            for listener in () if told else listeners:
                listener(Notice(time.time(), "", f"{error} Waiting for that to end."))
            told = True
            await asyncio.sleep(0.1)
