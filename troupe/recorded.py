"""Reading what recorded runs took from an open store: the half of `troupe.records` that a run itself needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langgraph.graph import END, START, StateGraph

from troupe.agents.contracts import Deliverable, Judgement
from troupe.agents.errors import Blocked
from troupe.agents.roster import known_roles
from troupe.graphs.hearing import place_of
from troupe.graphs.history import History, RunRecord, record
from troupe.graphs.state import TeamState
from troupe.result import flat
from troupe.store.base import Store
from troupe.store.turns import Turn

NEWEST = 200
"""Turns that are read unless told otherwise."""


async def recorded(store: Store, workflow: str | None = None, simulated: bool = False, limit: int = NEWEST) -> History:
    """What the runs in a store took, newest first."""
    tiers = {name: role.tier for name, role in (await asyncio.to_thread(known_roles)).items()}
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
