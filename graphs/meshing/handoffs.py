"""Hand-offs between peers: whom an agent's notes may name, and what goes along. A name in a note is only a wish."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from troupe.agents.brief import fence
from troupe.agents.contracts import Deliverable
from troupe.agents.notes import Handoff, Notes
from troupe.graphs.meshing.assignments import Assignment, Packet
from troupe.graphs.meshing.board import Entry, written
from troupe.prompts import load, render

_FACTS = 12


@lru_cache(maxsize=256)
def notes_of(peers: tuple[str, ...]) -> type[Notes]:
    """The schema of notes in which work can be handed to these peers and to nobody else.

    >>> notes_of(("ada",)).model_json_schema()["$defs"]["Handoff"]["properties"]["to"]["enum"]
    ['ada']
    """

    class Offered(Notes):
        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            shape = copy.deepcopy(Notes.model_json_schema())
            shape["$defs"]["Handoff"]["properties"]["to"]["enum"] = list(peers)
            return shape

    Offered.__name__ = "Notes"
    return Offered


def wishes(assignments: Mapping[str, Assignment], done: Mapping[str, Deliverable]) -> list[Assignment]:
    """The assignments whose authors wish to hand them on, and about which nothing was decided yet."""
    return [
        one for one in assignments.values() if not (one.handed or one.refused) and _wish(done.get(one.id)) is not None
    ]


def wish(done: Deliverable) -> Handoff:
    """What its author wishes."""
    found = _wish(done)
    assert found is not None  # noqa: S101 - asked only where there is one
    return found


def _wish(done: Deliverable | None) -> Handoff | None:
    return done.notes.handoff if done is not None and done.usable and done.notes is not None else None


def objection(one: Assignment, to: str, peers: Sequence[str], hub: str) -> str:
    """Why an assignment cannot go to that peer; empty if it can."""
    if to == one.agent:
        return f"{one.agent} wished to hand its work to itself."
    if to == hub:
        return f"{one.agent} wished to hand its work to the hub, which gives work out and takes none."
    if to not in peers:
        # The hub reads this as the engine's own words, so that nothing but what may be a name stands in it.
        named = repr(to) if re.fullmatch(r"[\w.+#-]{0,60}", to) else "somebody"
        return f"{one.agent} wished to hand its work to {named}, who is no colleague here."
    return ""


def chain(one: Assignment, assignments: Mapping[str, Assignment]) -> list[Assignment]:
    """Everybody who held a piece of work, first to last."""
    return [other for other in assignments.values() if other.item == one.item and not other.dropped]


def circles(one: Assignment, to: str, assignments: Mapping[str, Assignment], known: int) -> bool:
    """Whether it would come back to somebody with nothing learned since they let it go."""
    held = [other for other in chain(one, assignments) if other.agent == to and other.handed]
    return bool(held) and known <= assignments[held[-1].handed].known


def packet(one: Assignment, done: Deliverable, board: Mapping[str, Entry]) -> Packet:
    """What goes along: reason, what is passed on, and what its author left on the board."""
    said = wish(done)
    mine = [key for key in sorted(board) if one.agent in board[key].sources]
    return Packet(
        by=one.agent,
        reason=said.reason[:1000],
        passes=said.passes[:4000],
        facts=tuple(key for key in mine if board[key].kind != "artifact")[:_FACTS],
        artifacts=tuple(artifact.path for artifact in done.artifacts),
        deliverables=(one.id,),
    )


def takeover(one: Assignment, board: Mapping[str, Entry], prompts: Any) -> str:
    """What whoever takes over is told, the peer's own words as data."""
    given = one.packet
    assert given is not None  # noqa: S101 - asked only of what was handed over
    parts = [
        f"Why: {given.reason}" if given.reason else "",
        f"What you need to know: {given.passes}" if given.passes else "",
        f"What they found out:\n{written(board[key] for key in given.facts if key in board)}" if given.facts else "",
        f"Files in their result: {', '.join(given.artifacts)}" if given.artifacts else "",
    ]
    said = "\n".join(part for part in parts if part)
    return render(
        load("moves/takeover", prompts),
        by=given.by,
        item=given.deliverables[0],
        packet=fence(said, "hand-off", given.by) if said else "",
    )
