"""How long runs are kept: one is deleted by name, old ones all together; nothing of them stays in the database.

A run that is being worked on is never deleted. What it takes away are its checkpoints, its journal and its turns, in
one transaction under the run's lease. Files that `--out` wrote, logs, and the cache stay.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from troupe.agents.errors import Held, InputError
from troupe.agents.loop import run_sync
from troupe.caching import prune_cache
from troupe.opening import opened
from troupe.store.base import Store

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Removed:
    """What was deleted, or would be.

    Attributes:
        runs: their ids, oldest first.
        bytes: what was stored of them.
        held: runs that are old enough, and that somebody works on.
        freed: bytes by which the database got smaller; the rest of its room is used again.
    """

    runs: tuple[str, ...] = ()
    bytes: int = 0
    held: tuple[str, ...] = ()
    freed: int = 0


def delete(run: str, *, db: str | Path | Store | None = None) -> Removed:
    """Delete a run, whole.

    Args:
        run: its id.
        db: where it is kept; see `arun`.

    Raises:
        UnknownRun: no such run.
        Held: it is being worked on.

    >>> from troupe import agent, run
    >>> done = run(agent("poet", "Write."), "a haiku", db="kept.db")
    >>> delete(done.run, db="kept.db").runs == (done.run,)
    True
    """
    return run_sync(adelete(run, db=db))


async def adelete(run: str, *, db: str | Path | Store | None = None) -> Removed:
    """Delete a run, whole; see `delete`."""
    async with opened(None, db) as books:
        store = books.kept
        before = await store.threaded(store.size)
        size = await store.delete(run)
        await store.threaded(store.compact)
        return Removed((run,), size, freed=max(0, before - await store.threaded(store.size)))


def prune(
    older_than: str | float | timedelta, *, db: str | Path | Store | None = None, dry_run: bool = False
) -> Removed:
    """Delete the runs that nobody has worked on for a while, those that wait for a person among them.

    Args:
        older_than: as `"30d"`, `"12h"`, `"1d 12h 45m"`, seconds, or a `timedelta`, since a run was last worked on.
        db: where they are kept; see `arun`.
        dry_run: only say which.

    Raises:
        InputError: `older_than` is no duration.

    >>> prune("30d", db="kept.db").runs
    ()
    """
    return run_sync(aprune(older_than, db=db, dry_run=dry_run))


async def aprune(
    older_than: str | float | timedelta, *, db: str | Path | Store | None = None, dry_run: bool = False
) -> Removed:
    """Delete the runs that nobody has worked on for a while; see `prune`."""
    seconds = duration(older_than)
    async with opened(None, db) as books:
        store = books.kept
        if not dry_run:
            await asyncio.to_thread(prune_cache, store.path)
        aged = await store.aged(seconds)
        if not aged:
            return Removed()
        sizes, before = await store.sizes(), await store.threaded(store.size)
        gone: list[str] = []
        held: list[str] = []
        for one in aged:
            if dry_run:
                (gone if await store.holder(one.thread) is None else held).append(one.thread)
                continue
            try:
                if await store.delete(one.thread, one):
                    gone.append(one.thread)
            except Held:
                held.append(one.thread)
        size = sum(sizes.get(one, 0) for one in gone)
        if dry_run or not gone:
            return Removed(tuple(gone), size, tuple(held))
        await store.threaded(store.compact)
        return Removed(tuple(gone), size, tuple(held), max(0, before - await store.threaded(store.size)))


def duration(given: str | float | timedelta) -> float:
    """Seconds.

    Raises:
        InputError: it is none.

    >>> duration("1d 12h"), duration("45m"), duration(90)
    (129600.0, 2700.0, 90.0)
    """
    if isinstance(given, timedelta):
        seconds = given.total_seconds()
    elif isinstance(given, str):
        found = re.fullmatch(r"\s*(?:(\d{1,9})\s*([smhdw])\s*)+", given.lower(), re.ASCII)
        parts = re.findall(r"(\d{1,9})\s*([smhdw])", given.lower(), re.ASCII) if found else []
        seconds = float(sum(int(number) * _UNITS[unit] for number, unit in parts)) if parts else -1.0
    else:
        seconds = float(given)
    if not 0 <= seconds < 1e11:
        raise InputError(f"{given!r} is no duration. Say it as 30d, 12h, 45m or 1d 12h (w, d, h, m, s).")
    return seconds
