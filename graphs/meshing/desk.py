"""Where a member of a mesh works under a gate: one graph serves all of their assignments, each in a run of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from langgraph.channels import DeltaChannel

from troupe.graphs.forking.branches import Loop, loop_at
from troupe.graphs.node import Here
from troupe.graphs.state import SNAPSHOT_EVERY, StepState, merge_latest
from troupe.graphs.step import Step
from troupe.graphs.work import Place


class DeskState(StepState, total=False):
    """What the loop of a member keeps."""

    where: Annotated[dict[str, Any], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """The assignment, as `work_at` gave it."""


@dataclass(frozen=True)
class _Desk(Place):
    """A member's place inside the loop."""

    authors: Mapping[str, Step] = field(default_factory=dict)
    """Whose results it may build on, by name."""

    def at(self, state: Any) -> Place:
        """The place with what is known of it at run time only."""
        where = state["where"]
        told = tuple(where["told"])
        return Place(
            assigned(self.step, where["step"], where["objective"]),
            index=where["index"],
            total=where["total"],
            earlier=[self.authors[author].named(name) for name, author in where["sources"].items()],
            needs=tuple(where["sources"]),
            guidance=lambda _: told,
            bounded=self.bounded,
        )

    def name(self, state: Any) -> str:
        """See `Place`."""
        return str(state["where"]["step"])


def assigned(member: Step, name: str, objective: str) -> Step:
    """The member as the step that does an assignment."""
    step = member.named(name)
    object.__setattr__(step, "objective", objective)
    return step


def desk(step: Step, authors: Mapping[str, Step], bounded: bool = True) -> Loop:
    """The graph in which a member works, is judged and works again."""
    return loop_at(_Desk(step, bounded=bounded, authors=authors), DeskState)


async def work_at(loop: Loop, place: Place, sources: Mapping[str, str], state: Any, here: Here) -> dict[str, Any]:
    """Run the graph of a member for one assignment, and give what it changed.

    Args:
        sources: by the name of each result that it builds on, its author.
    """
    name = place.step.name
    where = {
        "step": name,
        "objective": place.step.objective,
        "index": place.index,
        "total": place.total,
        "told": list(place.guidance(state)),
        "sources": dict(sources),
    }
    given = {key: state[key] for key in ("task", "messages", "turn", "origin") if key in state}
    needed = {one: state["deliverables"][one] for one in sources}
    out = await loop.ainvoke({**given, "deliverables": needed, "where": where}, here.framed())
    done = out["deliverables"][name]
    return {"deliverables": {name: done}, "verdicts": out.get("verdicts", {}), "rounds": {name: done.rounds}}
