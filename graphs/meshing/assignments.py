"""Assignments: who does what in a mesh, why they were chosen, and what became of it.

The id of an assignment is the name of its deliverable: the agent's name and a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, field_serializer, model_serializer

from troupe.agents.contracts import Deliverable, Kept, Value
from troupe.agents.notes import Text


class Candidate(NamedTuple):
    """Somebody who could have been chosen, and their scores from 0 to 1 (`load` is a count)."""

    agent: str
    capability: float
    record: float
    load: int
    context: float
    price: float
    total: float


Scores = tuple[float, float, int, float, float, float]


class Packet(Value):
    """What goes along when somebody hands their work to a peer."""

    by: str
    reason: Text = ""
    passes: Text = ""
    facts: tuple[str, ...] = ()
    """Entries of the board that its author wrote."""
    artifacts: tuple[str, ...] = ()
    deliverables: tuple[str, ...] = ()


class Lean(Value):
    """A value that leaves out what it does not have when it is stored: a long turn keeps thousands of them."""

    @model_serializer(mode="wrap")
    def _leaving_out(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        whole: dict[str, Any] = dump(self)
        return whole if info.mode == "json" else {name: one for name, one in whole.items() if one or name == "round"}


class Assignment(Lean, Kept):
    """One unit of work that somebody was given."""

    id: str
    agent: str
    objective: str
    round: int
    item: str
    """The assignment that it began with, where peers handed it on."""
    hop: int = 0
    """How often it was handed on before."""
    skills: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    part_of: str = ""
    why: str = ""
    """Why this agent was chosen."""
    remarks: tuple[str, ...] = ()
    """What of the hub's wish could not be followed."""
    scores: dict[str, Scores] = Field(default={})
    """By name, the candidates' scores, best first: as of a `Candidate`, so written that they take little room."""
    known: int = 0
    """How many entries the board had when it was given out."""
    packet: Packet | None = None
    handed: str = ""
    """The assignment in which a peer goes on with it."""
    refused: str = ""
    """Why a wish to hand it on was not followed."""
    dropped: str = ""
    """Why it was never begun."""
    pattern: str = ""
    """Of a team of agents that does it."""
    agents: tuple[str, ...] = ()

    @property
    def candidates(self) -> list[Candidate]:
        """Everybody who could have been chosen, best first."""
        return [Candidate(agent, *scores) for agent, scores in self.scores.items()]

    @field_serializer("scores", when_used="json")
    def _spelled(self, scores: dict[str, Scores]) -> list[dict[str, object]]:
        return [one._asdict() for one in self.candidates]

    def line(self) -> str:
        """See `Kept`."""
        after = self.dropped or self.refused or (f"went on as {self.handed}" if self.handed else "")
        return f"{self.id}: {self.why}{f'. {after}' if after else ''}"

    def but(self, **changes: object) -> Assignment:
        """A copy with some fields changed."""
        return self.model_copy(update=changes)


def same(objective: str) -> str:
    """An objective without what makes no difference.

    >>> same("Test  it.") == same("test it")
    True
    """
    return " ".join(objective.casefold().split()).rstrip(".!")


class Numbers:
    """Ids for new assignments: each agent's are counted.

    >>> Numbers(["ada.1"]).next("ada")
    'ada.2'
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._last = Counter(one.rpartition(".")[0] for one in ids)

    def next(self, agent: str) -> str:
        """The next id of an agent."""
        self._last[agent] += 1
        return f"{agent}.{self._last[agent]}"


def to_do(assignments: Mapping[str, Assignment], done: Mapping[str, Deliverable]) -> list[Assignment]:
    """What was given out and has not ended."""
    return [one for one in assignments.values() if one.id not in done and not one.dropped]


def needless(assignments: Mapping[str, Assignment], done: Mapping[str, Deliverable]) -> set[str]:
    """The assignments that did not deliver and need not any more, because others carry what they were to bring."""
    by_objective: dict[str, list[str]] = {}
    parts: set[str] = set()
    for one in assignments.values():
        by_objective.setdefault(same(one.objective), []).append(one.id)
        if one.part_of and not one.dropped:
            parts.add(one.part_of)
    found = set()
    for one in assignments.values():
        if one.id in done and done[one.id].status == "accepted":
            continue
        alike = by_objective[same(one.objective)]
        delivered = any(other in done and done[other].status == "accepted" for other in alike)
        if one.handed or one.id in parts or delivered or one.id != alike[-1]:
            found.add(one.id)
    return found
