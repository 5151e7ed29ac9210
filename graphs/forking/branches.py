"""A branch of a fan-out: a step that works beside others, under the race of their join.

A branch without a gate is a plain node. One with a gate is a graph of its own, so that no branch waits for another's
rework: the engine goes on only when all nodes of a superstep have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from zlib import crc32

from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from troupe.agents.contracts import Deliverable, Reason
from troupe.agents.race import Race, racing
from troupe.graphs.forking.joins import Join
from troupe.graphs.gates import Gate
from troupe.graphs.node import Here
from troupe.graphs.state import StepState
from troupe.graphs.wiring import add_step, supersteps
from troupe.graphs.work import Place, brief_for, noted, work

Loop = CompiledStateGraph[Any, Any, Any, Any]
Names = Callable[[Any], Sequence[str]]
"""The branches of a fan-out, from the state."""


@dataclass(frozen=True)
class Branch:
    """One branch, and the fan-out that it belongs to."""

    place: Place
    join: Join
    siblings: Names
    noted: bool = False
    """Whether the author is asked for notes on what was accepted."""
    loop: Loop | None = None

    async def run(self, state: Any, here: Here) -> dict[str, Any]:
        """Work, until the step is settled or its branch is given up."""
        name = self.place.step.name
        race = await self._race(state, here)
        if race is None:
            return await self._work(state, here)
        with racing(race, name):
            try:
                update = await self._work(state, here)
            except GraphInterrupt:
                # A person is asked only if the others cannot settle the join without this branch.
                if await race.alone(name) is None:
                    raise
                update = {"deliverables": {name: Deliverable(step=name, agent=self.place.step.agent.name)}}
        done: Deliverable = update["deliverables"][name]
        if (why := await race.end(name, done.usable)) is not None:
            update["deliverables"] = {name: given_up(done, why, needed=not self.join.counts)}
        return update

    async def _work(self, state: Any, here: Here) -> dict[str, Any]:
        step, place = self.place.step, self.place.at(state)
        if self.loop is None:
            update = await work(place, state, here)
        else:
            update = await run_loop(self.loop, place, state, here)
        done: Deliverable = update["deliverables"][step.name]
        if self.noted and done.usable and done.notes is None:
            brief = brief_for(self.place, state).model_copy(update={"round": done.rounds})
            update["deliverables"] = {step.name: await noted(done, step.agent, brief, state, here)}
        return update

    async def _race(self, state: Any, here: Here) -> Race | None:
        # Whoever is sent back alone races against nobody: the join was decided before.
        if not self.join.races or state.get("rounds", {}).get(self.place.step.name, 1) > 1:
            return None
        count = self.join.count if self.join.counts else None
        scope, key = here.scope, f"{await here.root(state)}/join"
        if (race := scope.races.get(key)) is None:
            race = scope.races[key] = Race(key, self.siblings(state), count, scope.journal, self._won)
        await race.start(self.place.step.name, self.join.patience(scope.remaining()))
        return race

    def _won(self, winners: Sequence[str]) -> str:
        shown = ", ".join(winners[:5]) + (" ..." if len(winners) > 5 else "")
        return f"Given up: not needed any more, {self.join.words} delivered ({shown})."


def branch(place: Place, join: Join, siblings: Names, noted: bool = False) -> Branch:
    """The branch of a step, with a loop of its own where it has a gate, or a person may be asked about it."""
    looped = isinstance(place.step.gate, Gate) or place.step.recovered.ask
    return Branch(place, join, siblings, noted, loop_of(place) if looped else None)


class LoopState(StepState, total=False):
    """What the loop of a step keeps."""

    where: dict[str, Any]
    """What is known of the step's place at run time only: one loop serves all items of a list."""


@dataclass(frozen=True)
class _Inside(Place):
    """A place inside the loop."""

    def at(self, state: Any) -> Place:
        """The place as `run_loop` gave it."""
        where = state.get("where")
        if not where or where == _where(self):
            return self
        given = {one.name: getattr(self, one.name) for one in fields(Place)}
        return Place(**given | where | {"step": self.step.named(where["step"])})

    def name(self, state: Any) -> str:
        """See `Place`."""
        where = state.get("where")
        return str(where["step"]) if where else self.step.name


def _where(place: Place) -> dict[str, Any]:
    return {"step": place.step.name, "index": place.index, "total": place.total, "item": place.item}


def loop_of(place: Place) -> Loop:
    """The graph in which a step works, is judged and works again."""
    alone = {one.name: getattr(place, one.name) for one in fields(Place)} | {"redo": {}}
    return loop_at(_Inside(**alone), LoopState)


def loop_at(place: Place, state_schema: type[Any], blamed: str | None = None) -> Loop:
    """The same for a place that finds out by its state where it is; what a gate rolls back leads to `blamed`."""
    graph: Any = StateGraph(state_schema)
    add_step(graph, place, END, END, blamed=blamed)
    graph.add_edge(START, place.step.name)
    return graph.compile(name=place.step.name).with_config(recursion_limit=supersteps([place.step]))  # type: ignore[no-any-return]


async def run_loop(loop: Loop, place: Place, state: Any, here: Here) -> dict[str, Any]:
    """Run the loop of a step as a part of the team, and give what it changed of that step's own."""
    name = place.step.name
    done, verdicts = state.get("deliverables", {}), state.get("verdicts", {})
    given = {key: state[key] for key in ("task", "messages", "turn", "origin", "rounds") if key in state}
    seen = {one: done[one] for one in [*(step.name for step in place.earlier), name] if one in done}
    given |= {"deliverables": seen, "verdicts": verdicts, "where": _where(place)}
    out = await loop.ainvoke(given, here.framed(_mark(place, done)))
    last: Deliverable = out["deliverables"][name]
    return {
        "deliverables": {name: last},
        "verdicts": {key: one for key, one in out.get("verdicts", {}).items() if verdicts.get(key) != one},
        "rounds": {name: max(last.rounds, out.get("rounds", {}).get(name, 1))},
    }


def _mark(place: Place, done: Mapping[str, Deliverable]) -> str:
    """A number for what the step builds on: after a crash that may have changed, and the step then begins anew."""
    built_on = [done[one.name].content for one in place.earlier if one.name in done]
    return str(crc32("\0".join(built_on).encode("utf-8", "replace"))) if built_on else ""


def given_up(done: Deliverable, why: str, needed: bool) -> Deliverable:
    """What is left of a branch that was given up: whatever it had by then, and why nobody builds on that."""
    reason = Reason(kind="limit" if needed else "stopped", message=why, step=done.step)
    return done.but(status="skipped", reason=reason, required=needed)
