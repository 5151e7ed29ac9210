"""What recorded runs took, read from the database they are kept in: the `History` that predictions are made from."""

from __future__ import annotations

from pathlib import Path

from troupe.agents.errors import InputError
from troupe.agents.loop import run_sync
from troupe.checkpoints import default_place, is_missing
from troupe.graphs.history import History
from troupe.opening import opened
from troupe.recorded import NEWEST, recorded
from troupe.store.base import Store


def history(
    workflow: str | None = None,
    *,
    db: str | Path | Store | None = None,
    simulated: bool = False,
    limit: int = NEWEST,
) -> History:
    """What recorded runs took: seconds, USD, verdicts and failures, run by run and step by step, newest first.

    Args:
        workflow: only the runs of this one.
        db: where they are kept; see `arun`. One that is not there yet has no runs.
        simulated: whether runs in which no real model was called count, too.
        limit: the most turns that are read.

    Raises:
        StoreError: the database cannot be read.

    >>> from troupe import agent, run, scripted
    >>> done = run(agent("poet", "Write."), "a haiku", model=scripted(["verse"]), db="history.db")
    >>> [(one.workflow, one["poet"].calls) for one in history(db="history.db", simulated=True).runs]
    [('poet', 1)]
    """
    return run_sync(ahistory(workflow, db=db, simulated=simulated, limit=limit))


async def ahistory(
    workflow: str | None = None,
    *,
    db: str | Path | Store | None = None,
    simulated: bool = False,
    limit: int = NEWEST,
) -> History:
    """What recorded runs took; see `history`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"limit={limit!r}: say how many turns may be read, 1 or more.")
    if not isinstance(db, Store) and is_missing(db or default_place()):
        return History()
    async with opened(None, db) as books:
        return await recorded(books.kept, workflow, simulated, limit)
