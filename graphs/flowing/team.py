"""A team of steps that each begin as soon as what they need is there, those first that most work hangs on.

All steps start in one superstep and wait inside of it (`tide.py`): a barrier would hold up whoever needs only a part of
what ran before. A step with a gate is a graph of its own, as a gated branch is. What a gate rolls back is done again in
a superstep of its own, together with everything that was built on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, StateGraph

from troupe.agents.contracts import Deliverable, Reason
from troupe.agents.slots import urgent
from troupe.graphs.flowing.order import behind, following, ordered, ranks
from troupe.graphs.flowing.tide import Tide, Tides
from troupe.graphs.forking.branches import LoopState, loop_at, run_loop
from troupe.graphs.gates import Gate
from troupe.graphs.node import Choice, Here, Node
from troupe.graphs.state import TeamState
from troupe.graphs.step import Step
from troupe.graphs.team import Redo, TeamGraph
from troupe.graphs.wiring import Ways
from troupe.graphs.work import Place, progress, roll_back, settle, why, work

ESTIMATE = {"economy": 20.0, "standard": 40.0, "premium": 60.0}
"""Seconds that a step is thought to take by the tier of its agent, as long as nothing is known: only how they compare
matters."""
_ENGINE = "finish"
_GATED = "◇"
"""On the card of a step with a gate, as gates are drawn elsewhere."""


@dataclass(frozen=True)
class Flowing:
    """A step of such a team.

    Attributes:
        needs: the steps that it waits for, and gets in full.
        phase: the part of the workflow that it belongs to, for pictures.
        seconds: how long it takes, where that is known.
        priority: seconds by which it goes before others with as much work behind them.
    """

    step: Step
    needs: tuple[str, ...] = ()
    phase: str = ""
    seconds: float | None = None
    priority: float = 0.0


def flowing_team(
    plan: Sequence[Flowing],
    name: str,
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
) -> TeamGraph:
    """The graph of these steps; each of them is under its own gate and recovery.

    Raises:
        BuildError: steps that need one another in a circle.
    """
    return _Flow(plan).build(name, state_schema, context_schema)


class _Flow:
    """The builder at work: its nodes see the plan, and nothing else."""

    def __init__(self, plan: Sequence[Flowing]) -> None:
        self.plan = {one.step.name: one for one in plan}
        self.steps = {name: one.step for name, one in self.plan.items()}
        self.needs = {name: one.needs for name, one in self.plan.items()}
        ancestors = self.behind = behind(self.needs)
        self.again = self._again(ancestors)
        seconds = {name: one.seconds or estimated(one.step) for name, one in self.plan.items()}
        self.ranks = ranks(self.needs, seconds)
        self.places = {
            name: Place(
                step,
                at,
                len(self.steps),
                earlier=[self.steps[one] for one in ancestors[name]],
                needs=self.needs[name],
                redo={one: [self.steps[far] for far in self.again[one]] for one in ancestors[name]},
            )
            for at, (name, step) in enumerate(self.steps.items())
        }
        self.loops = {name: _loop(place) for name, place in self.places.items() if _looped(place.step)}

    def _again(self, ancestors: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """By step, it and everything that builds on it, in order."""
        order = ordered(self.needs)
        return {name: [one for one in order if one == name or name in ancestors[one]] for name in order}

    # --- the graph ---

    def build(self, name: str, state_schema: type[Any] | None, context_schema: type[Any] | None) -> TeamGraph:
        """Nodes and edges."""
        graph = TeamGraph(
            name,
            list(self.steps.values()),
            bound=2 * (2 + sum(self._rollbacks())) + 10,
            state_schema=state_schema,
            context_schema=context_schema,
            redo={one: Redo(START, [self.steps[far] for far in again]) for one, again in self.again.items()},
            besides={"needs": {name: sorted(needs) for name, needs in self.needs.items()}},
            shown=self._shown(),
            waits=True,
            pattern="workflow",
        )
        ways: Ways = {one: one for one in self.steps}
        graph.add_conditional_edges(START, Choice(self._begin), ways)
        for one, place in self.places.items():
            graph.add_node(one, Node(partial(self._run, place), one, self._inside(one)), metadata=self._look(one))
            graph.add_edge(one, _ENGINE)
        graph.add_node(_ENGINE, Node(self._finish, _ENGINE), metadata={"troupe_kind": "step"})
        graph.add_conditional_edges(_ENGINE, Choice(lambda state: self._begin(state) or END), {**ways, END: END})
        return graph

    def _rollbacks(self) -> list[int]:
        return [
            place.step.gate.rework for place in self.places.values() if isinstance(place.step.gate, Gate) and place.redo
        ]

    def _inside(self, name: str) -> list[Any]:
        """The graphs that a step's node calls."""
        return [self.loops[name]] if name in self.loops else self.steps[name].graphs

    def _look(self, name: str) -> dict[str, Any]:
        step = self.steps[name]
        note = step.agent.name if step.agent.name != name else step.agent.title or step.objective
        sign = f" {_GATED}" if isinstance(step.gate, Gate) else ""
        return {"troupe_kind": "step", "troupe_note": f"{note}{sign}", "troupe_phase": self.plan[name].phase}

    def _shown(self) -> StateGraph[Any, Any, Any, Any]:
        """The same as people think of it: an arrow to each step from the last ones that it waits for.

        A gate is a sign on its step's card: as a frame around each step, gates would hide what waits for what.
        """
        shown: StateGraph[Any, Any, Any, Any] = StateGraph(TeamState)
        last = {name: self._last(name) for name in self.steps}
        after = following(last)
        for name, place in self.places.items():
            node = Node(partial(self._run, place), name, place.step.graphs)
            shown.add_node(name, node, metadata=self._look(name))
        for name in self.steps:
            for one in after[name]:
                shown.add_edge(name, one)
            if not last[name]:
                shown.add_edge(START, name)
            if not after[name]:
                shown.add_edge(name, END)
        return shown

    def _last(self, name: str) -> list[str]:
        """What a step needs, without what others of that wait for anyway."""
        needs = dict.fromkeys(self.needs[name])
        return [one for one in needs if not any(one in self.behind[other] for other in needs)]

    # --- the nodes, and where they lead ---

    def _begin(self, state: Any) -> list[str]:
        """The steps that have delivered nothing yet in their round."""
        done = state.get("deliverables", {})
        return [name for name in self.steps if name not in done or done[name].status == "superseded"]

    async def _run(self, place: Place, state: Any, here: Here) -> dict[str, Any]:
        """Wait for what the step needs, then let it work until it is settled."""
        name = place.step.name
        tides = Tides.of(here.config)
        tide = tides.at(here.config["metadata"]["langgraph_step"])
        with tide.joined(name):
            due = self._begin(state)
            await tide.recall(due, self.again, here)
            await tide.wait_for([one for one in place.needs if one in due])
            if name in tide.undone:
                return {}
            if (asked := _asked_to_stop(here)) is not None:
                tides.drained = asked
                raise GraphInterrupt(())
            seen = {**state, "deliverables": {**state.get("deliverables", {}), **tide.ended}}
            tide.begun.add(name)
            rivals = len({*due} - tide.begun - {*tide.ended})
            with urgent(self.ranks[name] + self.plan[name].priority, tides, rivals):
                update = await self._work(place, seen, here)
            update = await self._rolled_back(place, update, seen, tide, here)
            tide.ended[name] = update["deliverables"][name]
        return update

    async def _work(self, place: Place, seen: Any, here: Here) -> dict[str, Any]:
        name = place.step.name
        if (lacking := self._lacking(place, seen)) is not None:
            done = Deliverable(
                step=name,
                agent=place.step.agent.name,
                status="skipped",
                reason=lacking,
                rounds=seen.get("rounds", {}).get(name, 1),
                required=not place.step.optional,
            )
            progress(here, seen, done, place.total)
            return {"deliverables": {name: done}}
        if name in self.loops:
            return await run_loop(self.loops[name], place, seen, here)
        return await work(place, seen, here)

    def _lacking(self, place: Place, seen: Any) -> Reason | None:
        """Why the step cannot begin: there is nothing of what it needs, and it cannot be done without."""
        done: Mapping[str, Deliverable] = seen["deliverables"]
        given = [done[name] for name in place.needs]
        if not given or any(one.usable for one in given):
            return None
        lost = [one for one in given if not self.steps[one.step].optional]
        if not lost:
            return None
        first = lost[0]
        said = why(first) if first.status == "skipped" else f"{first.step}: {why(first)}"
        return Reason(kind=first.reason.kind if first.reason else "error", message=said, step=place.step.name)

    async def _rolled_back(
        self, place: Place, update: dict[str, Any], seen: Any, tide: Tide, here: Here
    ) -> dict[str, Any]:
        """What a rollback by this step's gate changes, and what one by another's changes of this step."""
        name, verdicts = place.step.name, update.get("verdicts", {}).values()
        if (blame := next((one.blame for one in verdicts if one.decision == "rollback"), None)) is not None:
            again = self.again[blame]
            tide.undone |= {*again}
            done = {**seen["deliverables"], **tide.ended}
            others = [self.steps[one] for one in again if one != name and one in done]
            changed = await roll_back(others, done, seen, here)
            tide.ended |= changed["deliverables"]
            return {key: {**changed.get(key, {}), **one} for key, one in ({"rounds": {}} | update).items()}
        done = update["deliverables"][name]
        if name in tide.undone and done.status != "superseded":
            changed = await roll_back([place.step], {name: done}, seen, here)
            return {**update, **changed}
        return update

    async def _finish(self, state: Any, here: Here) -> dict[str, Any]:
        """End the turn, unless something is to be done again."""
        if self._begin(state):
            return {}
        return await settle(list(self.steps.values()), state, here)


def _looped(step: Step) -> bool:
    return isinstance(step.gate, Gate) or step.recovered.ask


def _loop(place: Place) -> Any:
    """The graph in which a step works, is judged and works again; what it rolls back is settled outside."""
    own = {name: [place.step] for name in place.redo}
    return loop_at(replace(place, redo=own), LoopState, blamed=END)


def estimated(step: Step) -> float:
    """How long a step is thought to take, as long as nothing is known."""
    role = getattr(step.agent, "role", None)
    return ESTIMATE[role.tier] if role is not None else ESTIMATE["standard"]


def _asked_to_stop(here: Here) -> str | None:
    """Why nothing new is to begin, if so."""
    if here.scope.stopping:
        return "asked to stop"
    runtime = here.config["configurable"].get("__pregel_runtime")
    return str(runtime.drain_reason) if runtime is not None and runtime.drain_requested else None
