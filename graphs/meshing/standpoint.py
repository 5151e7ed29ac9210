"""Where a mesh's turn stands, as its state says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from troupe.agents.contracts import Deliverable
from troupe.graphs.meshing.assignments import Assignment
from troupe.graphs.meshing.board import Entry
from troupe.graphs.meshing.guards import Guards, mark
from troupe.graphs.meshing.hub import Answered, Course, Criterion, Decided


class Standpoint:
    """The fields of a mesh's state, there or not."""

    def __init__(self, state: Any) -> None:
        self.task: str = state["task"]
        self.assignments: Mapping[str, Assignment] = state.get("assignments") or {}
        self.done: Mapping[str, Deliverable] = state.get("deliverables") or {}
        self.board: Mapping[str, Entry] = state.get("board") or {}
        self.criteria: Mapping[str, Criterion] = state.get("criteria") or {}
        self.decided: Mapping[str, Decided] = state.get("decided") or {}

    @property
    def round(self) -> int:
        """The number of the last move, 0 before the first."""
        return len(self.decided)

    @property
    def answers(self) -> list[Answered]:
        """What people said so far."""
        return [one.answer for one in self.decided.values() if one.answer is not None]

    @property
    def course(self) -> Course:
        """What followed from the last move."""
        return self.course_of(self.round)

    def course_of(self, number: int) -> Course:
        """What followed from a move; nothing from that before the first."""
        decided = self.decided.get(str(number))
        return decided.course if decided is not None and decided.course is not None else Course(round=0)

    @property
    def hops(self) -> int:
        """How many assignments were given out."""
        return sum(not one.dropped for one in self.assignments.values())

    def allowed(self, guards: Guards) -> int:
        """How many may be; a person may give leave to as many again, once."""
        more = any(one.about == "hops" and not one.stops for one in self.answers)
        return guards.hops * (2 if more else 1)

    def settled(self) -> int:
        """How many facts and decisions the team knows."""
        return sum(one.kind in ("fact", "decision") for one in self.board.values())

    def mark(self) -> str:
        """What the turn has brought so far, as a digest; a criterion that is met again is no news."""
        met = {key for one in self.decided.values() if one.course is not None for key in one.course.met}
        return mark((self.done[one] for one in self.assignments if one in self.done), self.board, met)
