"""Steps that start together and wait for one another inside one superstep, so that no barrier holds up anybody.

LangGraph goes on when all nodes of a superstep have ended; here they end one by one, and whoever needs one starts then.
What has ended in an earlier attempt at the same superstep (the process died, or a person was asked) is not run again by
LangGraph; it is read from what LangGraph saved of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphInterrupt

from troupe.agents.contracts import Deliverable, Judgement
from troupe.graphs.node import Here
from troupe.graphs.saver import SAVER

TIDES = "__troupe_tides"
"""In `configurable`: the tides of one invocation of a team."""


class Tides:
    """One invocation's: by the number of its superstep, who is at work in it."""

    def __init__(self) -> None:
        self.by_step: dict[int, Tide] = {}
        self.drained: str | None = None
        """Why steps that could have begun did not, if they were asked not to."""

    def at(self, number: int) -> Tide:
        """The tide of a superstep."""
        return self.by_step.setdefault(number, Tide())

    @staticmethod
    def of(config: RunnableConfig) -> Tides:
        """Those of the invocation that a node belongs to."""
        found: Tides = config["configurable"][TIDES]
        return found


class Tide:
    """The steps at work in one superstep.

    Attributes:
        begun: those that have what they need.
        ended: what those that have ended delivered, by step.
        undone: those that a gate sent back together with what they were built on: they are not needed as they are.
    """

    def __init__(self) -> None:
        self.begun: set[str] = set()
        self.ended: dict[str, Deliverable] = {}
        self.undone: set[str] = set()
        self._here: set[str] = set()
        self._paused: set[str] = set()
        self._events: dict[str, asyncio.Event] = {}
        self._known = asyncio.Lock()
        self._recalled = False

    @contextmanager
    def joined(self, name: str) -> Iterator[None]:
        """A step takes part; whatever keeps it from ending makes those that need it leave as well."""
        self._here.add(name)
        self._paused.discard(name)
        try:
            yield
        finally:
            if name not in self.ended and name not in self.undone:
                self._paused.add(name)
            self._event(name).set()

    async def recall(self, names: Sequence[str], undone: Mapping[str, Sequence[str]], here: Here) -> None:
        """Take in what those of `names` delivered that LangGraph does not run again; once.

        Args:
            names: everybody who was to work in this superstep.
            undone: by step, everything that is done again when a gate finds it to blame.
            here: where the caller stands.
        """
        await asyncio.sleep(0)  # until then everybody who takes part has begun
        async with self._known:
            if self._recalled:
                return
            self._recalled = True
            if absent := [name for name in names if name not in self._here]:
                for channel, value in await _saved(here.config):
                    if channel == "verdicts":
                        self._blamed(value, undone)
                    if channel == "deliverables":
                        self._take(value, absent)

    def _take(self, value: Any, absent: Sequence[str]) -> None:
        for name, one in (value or {}).items():
            done = one if isinstance(one, Deliverable) else Deliverable.model_validate(one)
            if done.status == "superseded":
                self.undone.add(name)
            if name in absent:
                self.ended[name] = done
                self._event(name).set()

    def _blamed(self, value: Any, undone: Mapping[str, Sequence[str]]) -> None:
        for one in (value or {}).values():
            verdict = one if isinstance(one, Judgement) else Judgement.model_validate(one)
            if verdict.decision == "rollback":
                self.undone |= {*undone.get(str(verdict.blame), ())}

    async def wait_for(self, needs: Sequence[str]) -> None:
        """Wait until all of these have ended.

        Raises:
            GraphInterrupt: one of them did not, as it waits for a person or was stopped; who waits for it leaves, and
                asks nothing.
        """
        for name in needs:
            await self._event(name).wait()
            if name in self._paused:
                raise GraphInterrupt(())

    def _event(self, name: str) -> asyncio.Event:
        return self._events.setdefault(name, asyncio.Event())


async def _saved(config: RunnableConfig) -> list[tuple[str, Any]]:
    """What LangGraph saved of nodes of this superstep that have ended before, by channel."""
    inside = config["configurable"]
    saver = inside.get(SAVER)
    if not isinstance(saver, BaseCheckpointSaver):
        return []
    outer = "|".join(str(inside.get("checkpoint_ns", "")).split("|")[:-1])
    known = {"thread_id": inside.get("thread_id"), "checkpoint_ns": outer}
    if (id := (inside.get("checkpoint_map") or {}).get(outer)) is not None:
        known["checkpoint_id"] = id
    found = await saver.aget_tuple({"configurable": known})
    return [(channel, value) for _, channel, value in (found.pending_writes or ())] if found is not None else []
