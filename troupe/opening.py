"""Opening the books for a turn: one store, or nothing but memory where the caller brought a saver of another kind."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from troupe.agents.context import TeamContext
from troupe.agents.errors import Held, SettingsError, StoreError
from troupe.agents.events import Listener, Notice
from troupe.agents.journal import MemoryJournal
from troupe.caching import with_cache
from troupe.catalogue import Target
from troupe.graphs.team import Team
from troupe.recorded import recorded
from troupe.result import Result
from troupe.serializer import types_of
from troupe.store.base import Store
from troupe.store.leases import Lease
from troupe.store.turns import Turn
from troupe.underway import Durability, Underway

LONGEST_PAUSE = 1.0
"""Seconds between two looks at whether a thread is free."""


@dataclass(frozen=True, slots=True)
class Books:
    """Where a turn is kept: our store, or the saver that the caller's team was compiled with."""

    store: Store | None
    saver: BaseCheckpointSaver[Any] | None

    @property
    def kept(self) -> Store:
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
    if isinstance(own, Store) and db is None:
        yield Books(own, None)
    elif isinstance(own, BaseCheckpointSaver) and db is None:
        yield Books(None, own)
    elif isinstance(db, Store):
        yield Books(db, None)
    else:
        from troupe.checkpoints import store_at

        store = await asyncio.to_thread(store_at, db)
        try:
            yield Books(store, None)
        finally:
            await asyncio.to_thread(store.close)


@asynccontextmanager
async def underway(
    books: Books,
    where: Target,
    turn: Turn,
    context: TeamContext,
    store: Any,
    durability: Durability,
    new: bool = False,
    wait: bool = True,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[Underway]:
    """The team ready to run this turn, under the thread's lease.

    Raises:
        Held: another process works on the thread, and is not to be waited for.
    """
    options: dict[str, Any] = {} if store is None else {"store": store}
    context = await with_cache(context, books.store.path if books.store is not None else None)
    if books.store is None:
        team = where.team.copy(options)
        yield Underway(team, turn, context, MemoryJournal(), None, durability)
        return
    if context.history is None:
        kept, simulated = books.store, turn.simulated  # what is simulated tells of nothing but simulated runs
        context = context.model_copy(update={"history": lambda: recorded(kept, simulated=simulated)})
    lease = await _acquired(books.store, turn.thread, context.listeners, wait, stop)
    try:
        fenced = books.store.fenced(lease, types_of(where.team))
        if new:
            turn = await fenced.begin(turn)
        team = where.team.copy({**options, "checkpointer": fenced})
        yield Underway(team, turn, context, fenced, fenced, durability)
    finally:
        with suppress(StoreError):  # then it expires
            await asyncio.shield(books.store.release(lease))


async def worked(
    books: Books,
    where: Target,
    turn: Turn,
    context: TeamContext,
    store: Any,
    durability: Durability,
    act: Callable[[Underway], Awaitable[Result]],
    stop: asyncio.Event | None,
    new: bool = False,
    wait: bool = True,
) -> Result:
    """What `act` makes of the turn, under the thread's lease.

    Whoever slept until another process took the thread over writes no more; it waits, and gives the other's result.

    Raises:
        Held: another process works on the thread, and is not to be waited for.
    """
    begun = False
    while True:
        try:
            async with underway(books, where, turn, context, store, durability, new and not begun, wait, stop) as work:
                again, begun = begun, True
                return await (work.go_on(None, stop) if again else act(work))
        except Held:
            if not wait or (stop is not None and stop.is_set()):
                raise


async def _acquired(
    store: Store, thread: str, listeners: Sequence[Listener], wait: bool, stop: asyncio.Event | None
) -> Lease:
    """The thread's lease; whoever holds it is waited for, and the caller told of it."""
    told, pause = False, 0.05
    while True:
        try:
            return await store.acquire(thread)
        except Held as error:
            if not wait or (stop is not None and stop.is_set()):
                raise Held(
                    f"{error} Try again when that has ended, wait for it (without --no-wait, wait=False), or end that "
                    f"process and go on: troupe resume {shlex.quote(thread)}"
                ) from None
            for listener in () if told else listeners:
                listener(Notice(time.time(), "", f"{error} Waiting for that to end."))
            told = True
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
