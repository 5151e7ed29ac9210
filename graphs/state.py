"""The state of a team, and how parallel writes to it merge.

Growing fields are delta channels: a checkpoint stores what was written, not the whole again, so that a long run's
database grows with its work and not with its square. Each reducer gives the same result however writes are batched.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from langchain_core.messages import AnyMessage
from langgraph.channels import DeltaChannel
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict, get_type_hints  # pydantic makes schemas of no other before Python 3.12

from troupe.agents.contracts import Deliverable, Judgement, Reason, RunStatus
from troupe.agents.errors import BuildError

V = TypeVar("V")

SNAPSHOT_EVERY = 5000  # a snapshot costs the whole state; replaying thousands of small writes takes milliseconds


def merge_deliverables(
    state: Mapping[str, Deliverable], writes: Sequence[Mapping[str, Deliverable] | None]
) -> dict[str, Deliverable]:
    """By step the highest round; within a round the later write, but never one that was superseded in it.

    A write of None starts a new turn: everything before it is gone.
    """
    return merged_by(state, writes, _newer)


def merge_latest(state: Mapping[str, V], writes: Sequence[Mapping[str, V] | None]) -> dict[str, V]:
    """By key the last write; a write of None starts a new turn."""
    return merged_by(state, writes, lambda _, new: new)


def merge_highest(state: Mapping[str, int], writes: Sequence[Mapping[str, int] | None]) -> dict[str, int]:
    """By key the highest number; a write of None starts a new turn."""
    return merged_by(state, writes, max)


def merge_messages(state: Sequence[AnyMessage], writes: Sequence[Any]) -> list[AnyMessage]:
    """LangGraph's own `add_messages`, write by write."""
    merged: Any = list(state)
    for write in writes:
        merged = add_messages(merged, write)
    return merged  # type: ignore[no-any-return]


def merged_by(
    state: Mapping[str, V], writes: Sequence[Mapping[str, V] | None], choose: Callable[[V, V], V]
) -> dict[str, V]:
    """What several writes make of a dictionary: `choose` decides where a key has a value; None clears it all."""
    merged = dict(state)
    for write in writes:
        if write is None:
            merged = {}
            continue
        for key, new in write.items():
            merged[key] = choose(merged[key], new) if key in merged else new
    return merged


def _newer(old: Deliverable, new: Deliverable) -> Deliverable:
    before, after = part(old, "rounds"), part(new, "rounds")
    if after != before:
        return new if after > before else old
    return old if part(old, "status") == "superseded" else new


def part(value: Any, field: str) -> Any:
    """A field of a stored value, also where it is plain data: so LangGraph's server reads a state to show it."""
    return value[field] if isinstance(value, Mapping) else getattr(value, field)


class StepState(TypedDict, total=False):
    """What it takes to work on a step and to judge it."""

    task: str
    messages: Annotated[list[AnyMessage], DeltaChannel(merge_messages, list, snapshot_frequency=SNAPSHOT_EVERY)]
    turn: Annotated[int, operator.add]
    origin: str
    """Where in a host graph this team was called; part of the journal's keys."""
    deliverables: Annotated[
        dict[str, Deliverable], DeltaChannel(merge_deliverables, dict, snapshot_frequency=SNAPSHOT_EVERY)
    ]
    verdicts: Annotated[dict[str, Judgement], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """By `step#round`."""
    rounds: Annotated[dict[str, int], DeltaChannel(merge_highest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """The round that each step is in, where it is not the first."""


class TeamState(StepState, total=False):
    """What every pattern keeps; subclass it to add your own fields (`state_schema=`)."""

    status: RunStatus
    reason: Reason | None
    answer: str
    simulated: bool


INTERNAL = frozenset(TeamState.__annotations__) - {"task", "messages"}
"""The fields that belong to the engine: a caller's input may not set them."""


def joined(own: type[Any], given: type[Any] | None) -> type[Any]:
    """A pattern's state with the fields of a user's `state_schema`.

    Raises:
        BuildError: the user's is no subclass of TeamState, or has a field of the pattern's.
    """
    if given is None:
        return own
    theirs = getattr(given, "__annotations__", {})
    if not set(TeamState.__annotations__) <= set(theirs):
        raise BuildError(f"state_schema={getattr(given, '__name__', given)} must be a subclass of TeamState.")
    if own is TeamState:
        return given
    taken = sorted((set(theirs) - set(TeamState.__annotations__)) & set(own.__annotations__))
    if taken and not set(own.__annotations__) <= set(theirs):
        raise BuildError(f"state_schema={given.__name__}: the pattern itself has the fields {', '.join(taken)}.")
    fields = {**get_type_hints(own, include_extras=True), **get_type_hints(given, include_extras=True)}
    return TypedDict(given.__name__, fields, total=False)  # type: ignore[operator, no-any-return]
