"""The hub of a mesh: what it sees at each round, and the move that it decides on.

A move is data. Its schema is made for each round: names and ids are closed lists in it, and what is required of the
first round differs from what is required later. Whatever a model puts in there that is in no list is found out and
recorded by the engine, so validation itself is lenient.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pydantic import Field

from troupe.agents.brief import fence
from troupe.agents.contracts import Deliverable, Kept, Reason
from troupe.agents.matching import described, need
from troupe.agents.notes import Said, Text
from troupe.agents.text import fit, shorten, summary, tokens
from troupe.graphs.asking import PERSON
from troupe.graphs.builders import BUILDERS
from troupe.graphs.meshing.assignments import Assignment, Candidate, Lean
from troupe.graphs.meshing.board import Entry, relevant, written
from troupe.graphs.step import Step

BOARD_TOKENS = 1500
"""How much of the board a brief carries."""
WORK_TOKENS = 4000
SHOWN = 24
"""How many of the last results a hub sees with their content."""
NOTICES = 16


class Task(Said):
    """One assignment as the hub wishes it."""

    objective: Text = Field(description="What is to be achieved, complete in itself.")
    agent: Text = Field(default="", description='The agent\'s exact name, or "" to let them bid for it.')
    skills: tuple[Text, ...] = Field(default=(), description="The skills that it takes, in a word or two each.")
    needs: tuple[Text, ...] = Field(default=(), description="The ids of the results that it builds on.")
    part_of: Text = Field(default="", description="The id of the assignment that it does again or is a part of.")


class Squad(Said):
    """A team of its own for a part of the work."""

    pattern: Text = Field(description="How they work together.")
    objective: Text = Field(description="What is to be achieved, complete in itself.")
    agents: tuple[Text, ...] = Field(default=(), description="Their exact names, in the order of the work.")
    needs: tuple[Text, ...] = Field(default=(), description="The ids of the results that it builds on.")
    part_of: Text = Field(default="", description="The id of the assignment that it does again or is a part of.")


class Move(Said):
    """What the hub decides in a round."""

    why: Text = Field(default="", description="The reasons, in two or three sentences.")
    criteria: tuple[Text, ...] = Field(default=(), description="What must be true of the finished work.")
    met: tuple[Text, ...] = Field(default=(), description="The ids of all criteria that are met now.")
    assignments: tuple[Task, ...] = Field(default=(), description="What is done now, all at once.")
    teams: tuple[Squad, ...] = Field(default=(), description="Parts that need a team of their own.")
    question: Text = Field(default="", description="What a person must decide, if anything.")
    finish: bool = Field(default=False, description="Whether nothing more is to be done.")


class Criterion(Kept):
    """Something that must be true of the finished work."""

    text: Text
    met: bool = False

    def line(self) -> str:
        """See `Kept`."""
        return f"{'met' if self.met else 'not met'}: {self.text}"


Way = Literal["work", "hub", "ask", "conclude"]


class Course(Lean):
    """What follows from a round's move."""

    round: int
    way: Way = "hub"
    met: tuple[str, ...] = ()
    """The criteria that are met."""
    told: tuple[str, ...] = ()
    """The guards that have spoken up so far."""
    notices: tuple[str, ...] = ()
    """What the hub is told before its next move."""
    question: str = ""
    """What a person is asked before it."""
    about: str = ""
    """The guard that asks, where it is not the hub."""
    finished: bool = False
    """Whether the hub says that nothing more is to be done."""
    last: bool = False
    """Whether the hub's next move is its last."""
    lexical: bool = False
    end: Reason | None = None
    """Why the turn ends here, where it does not end well."""

    def but(self, **changes: object) -> Course:
        """A copy with some fields changed."""
        return self.model_copy(update=changes)


class Answered(Lean, Kept):
    """What a person said in a round."""

    kind: str
    text: str = ""
    question: str = ""
    about: str = ""
    by: str = PERSON

    def line(self) -> str:
        """See `Kept`."""
        return f"{self.question} {self.by}: {self.kind}{f': {self.text}' if self.text else ''}"

    @property
    def stops(self) -> bool:
        """Whether the turn ends with it."""
        return bool(self.about) and self.kind == "reject"

    @property
    def guidance(self) -> str:
        """The same as guidance for the hub."""
        said = {"approve": "yes, go on", "reject": "no"}.get(self.kind, "")
        return f"A person was asked: {self.question}\nThe person answered: {self.text or said}"


class Decided(Lean, Kept):
    """A move as the state keeps it."""

    round: int
    move: Move | None = None
    reason: Reason | None = None
    """Why there is none."""
    offered: tuple[str, ...] = ()
    """The shortlist, where it was not the whole pool."""
    cut: int = 0
    """How many assignments beyond all bounds were left out."""
    lexical: bool = False
    """Whether the embeddings failed, so that words are compared from here on."""
    mark: str = ""
    """What the turn had brought before, as a digest."""
    course: Course | None = None
    """What followed from it."""
    answer: Answered | None = None
    """What a person said after it."""

    def line(self) -> str:
        """See `Kept`."""
        if self.move is None:
            return f"round {self.round}: no decision, {self.reason.message if self.reason else 'for no known reason'}"
        said = f" {self.answer.line()}" if self.answer is not None else ""
        return f"round {self.round}: {self.move.why}{said}"


@dataclass(frozen=True)
class Choices:
    """What the hub may choose from in a round."""

    agents: tuple[str, ...]
    ids: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    first: bool = False
    last: bool = False


@lru_cache(maxsize=64)
def move_schema(choices: Choices) -> type[Move]:
    """The schema of a round's move.

    >>> move_schema(Choices(("ada",), first=True)).model_json_schema()["required"]
    ['why', 'criteria', 'assignments']
    """

    class Offered(Move):
        offers: ClassVar[Choices] = choices

        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            return _closed(Move.model_json_schema(), cls.offers)

    Offered.__name__ = "Move"
    Offered.__doc__ = Move.__doc__
    return Offered


def _closed(shape: dict[str, Any], choices: Choices) -> dict[str, Any]:
    """The schema with its closed lists; what is required is what a round cannot go without."""
    shape = copy.deepcopy(shape)
    fields, task, squad = shape["properties"], shape["$defs"]["Task"], shape["$defs"]["Squad"]
    if choices.first:
        left_out, required = {"met", "finish"}, ["why", "criteria", "assignments"]
    else:
        left_out, required = set[str](), ["why", "met", "finish"]
    if choices.last:
        left_out |= {"criteria", "assignments", "teams", "question"}
    if choices.criteria:
        left_out |= {"criteria"}
        fields["met"]["items"]["enum"] = list(choices.criteria)
    else:
        left_out |= {"met"}
    task["properties"]["agent"]["enum"] = [*choices.agents, ""]
    task["required"] = ["objective", "agent"]
    squad["properties"]["agents"]["items"]["enum"] = list(choices.agents)
    squad["properties"]["pattern"]["enum"] = list(BUILDERS)
    squad["required"] = ["pattern", "objective", "agents"]
    for one in (task, squad):
        if choices.ids:
            one["properties"]["needs"]["items"]["enum"] = list(choices.ids)
            one["properties"]["part_of"]["enum"] = ["", *choices.ids]
        else:
            del one["properties"]["needs"], one["properties"]["part_of"]
    for name in left_out:
        fields.pop(name, None)
    return {**shape, "title": "Move", "required": [name for name in required if name in fields]}


def roster(ranking: Sequence[Candidate], members: Mapping[str, Step], offered: Sequence[str]) -> str:
    """Who can be asked, with their scores."""
    lines = []
    for one in ranking:
        if one.agent in offered:
            step = members[one.agent]
            does = summary(described(step.agent, step.objective), 50)
            lines.append(f"- {one.agent} (fit {one.capability:.2g}, record {one.record:.2g}): {does}")
    return "\n".join(lines)


def shown_work(assignments: Mapping[str, Assignment], done: Mapping[str, Deliverable], limit: int = WORK_TOKENS) -> str:
    """What became of the assignments: the last ones with their results, those before them counted."""
    given = list(assignments.values())
    last = [one for one in given[-SHOWN:] if one.id in done]
    contents = [done[one.id].content if done[one.id].usable else "" for one in last]
    rooms = fit([tokens(one) for one in contents], limit)
    blocks = []
    if len(given) > SHOWN:
        ended = [done[one.id].status for one in given[:-SHOWN] if one.id in done]
        counts = ", ".join(f"{ended.count(status)} {status}" for status in sorted(set(ended)))
        blocks.append(f"Before these there were {len(given) - SHOWN} more: {counts}.")
    for one, content, room in zip(last, contents, rooms, strict=True):
        result = done[one.id]
        head = f"## {one.id}: {result.status}\nObjective: {summary(one.objective, 60)}"
        if one.part_of:
            head += f"\nPart of: {one.part_of}"
        why = f"\n{fence(summary(result.reason.message, 60), 'why')}" if result.reason is not None else ""
        body = f"\n{fence(shorten(content, room), one.id, result.agent)}" if content else ""
        blocks.append(head + why + body)
    return "\n\n".join(blocks) or "None yet."


def shown_criteria(criteria: Mapping[str, Criterion]) -> str:
    """The criteria with their ids, and which were met when they were last judged."""
    lines = [f"- {key}{' (met when last judged)' if one.met else ''}: {one.text}" for key, one in criteria.items()]
    return "\n".join(lines) or "None were set."


def shown_board(board: Mapping[str, Entry], about: str, limit: int = BOARD_TOKENS) -> str:
    """What the team knows that matters here, as a section of a brief; empty if it knows nothing."""
    shown = relevant(board.values(), need(about), limit * 3 // 4)  # the rest is for who says it
    return f"\n# What the team knows\n{fence(written(shown), 'board')}\n" if shown else ""


def shown_notices(notices: Sequence[str]) -> str:
    """What the engine has to say, as a section of a brief."""
    more = [f"... and {len(notices) - NOTICES} more of the kind."] if len(notices) > NOTICES else []
    lines = "".join(f"- {one}\n" for one in (*notices[:NOTICES], *more))
    return f"\n# To note\n{lines}" if lines else ""
