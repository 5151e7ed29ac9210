"""What recorded runs took, read from the database they are kept in: the `History` that predictions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph

from troupe.agents.contracts import Deliverable, Judgement
from troupe.agents.errors import Blocked, InputError
from troupe.agents.loop import run_sync
from troupe.agents.roster import known_roles
from troupe.checkpoints import default_place, is_missing
from troupe.graphs.hearing import place_of
from troupe.graphs.history import History, RunRecord, record
from troupe.graphs.state import TeamState
from troupe.opening import opened
from troupe.result import flat
from troupe.store.base import Store
from troupe.store.turns import Turn

NEWEST = 200
"""Turns that are read unless told otherwise."""


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
        store = books.kept
        tiers = {name: role.tier for name, role in known_roles().items()}
        runs = []
        for turn in await store.ended(workflow, simulated, limit):
            rows = await store.measured(f"{place_of(turn.thread, turn.turn)}/")
            runs.append(record(_known(turn), rows, tiers, *await _state(store, turn)))
        return History(tuple(runs))


def _known(turn: Turn) -> RunRecord:
    return RunRecord(
        run=turn.thread,
        turn=turn.turn,
        workflow=turn.workflow,
        task=turn.task,
        status=turn.status,  # type: ignore[arg-type]  # one that has ended
        simulated=turn.simulated,
        started=turn.started,
        seconds=max(0.0, (turn.finished or turn.started) - turn.started),
        usd=turn.usage.usd,
    )


async def _state(store: Store, turn: Turn) -> tuple[Mapping[str, Deliverable], Mapping[str, Judgement]]:
    """What the thread's last state says, if it is this turn's and holds nothing but what is ours to read."""
    reader: Any = StateGraph(TeamState)
    reader.add_node("read", lambda _: {}).add_edge(START, "read").add_edge("read", END)
    team = reader.compile(checkpointer=store.fenced(None))
    try:
        state = (await team.aget_state({"configurable": {"thread_id": turn.thread}})).values or {}
    except Blocked:  # of types of the user's own; the journal says enough
        return {}, {}
    if state.get("turn") != turn.turn:
        return {}, {}
    return flat(state.get("deliverables") or {}), state.get("verdicts") or {}
