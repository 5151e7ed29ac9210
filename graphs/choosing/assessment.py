"""What a task asks for, and what there is to do it with: the value that a way of working is chosen by.

stated > measured > model > words     (each field says where it comes from)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from troupe.agents.context import Quality, Timeline
from troupe.agents.contracts import Kept, Value
from troupe.agents.errors import InputError, UnknownName, complaints
from troupe.agents.notes import Said, Text

Complexity = Literal["simple", "moderate", "complex", "enterprise"]
COMPLEXITIES: tuple[Complexity, ...] = get_args(Complexity)
Source = Literal["stated", "measured", "model", "heuristic"]


class Reading(Said):
    """What can be said of a task by reading it; the schema that an assessing agent fills in."""

    complexity: Complexity = Field(description="How large the task is.")
    decomposable: float = Field(ge=0, le=1, description="How far its parts can be worked on without each other.")
    sequential: float = Field(ge=0, le=1, description="How far each part needs the result of the one before.")
    exploratory: float = Field(ge=0, le=1, description="How little is known beforehand of what must be done.")
    items: int = Field(default=0, ge=0, description="How many things the same work is done for; 0 if it is done once.")
    tools: tuple[Text, ...] = Field(default=(), max_length=12, description="The tools it takes, in a word or two each.")
    quality: Quality = Field(default="standard", description="What a mistake would cost.")
    timeline: Timeline = Field(default="normal", description="How soon it is needed.")


class Resources(Value):
    """What there is to work with; None where nothing bounds it."""

    agents: int = Field(ge=1)
    """Who could work on it."""
    slots: int = Field(ge=1)
    """Calls that the Executor makes at once."""
    budget: float | None = None
    """USD that are left."""
    deadline: float | None = None
    """Seconds that are left."""


class Assessment(Kept):
    """A task as it is chosen by, each field with its source."""

    complexity: Complexity
    decomposable: float = Field(ge=0, le=1)
    sequential: float = Field(ge=0, le=1)
    exploratory: float = Field(ge=0, le=1)
    items: int = 0
    tools: tuple[str, ...] = ()
    quality: Quality = "standard"
    timeline: Timeline = "normal"
    resources: Resources
    sources: dict[str, Source]

    @property
    def kind(self) -> str:
        """The class of tasks that it belongs to: what was learned of one is used for the others."""
        shape = (
            "exploratory" if self.exploratory >= HALF
            else "stepwise" if self.sequential >= HALF
            else "wide" if self.decomposable >= HALF
            else "plain"
        )  # fmt: skip
        return f"{self.complexity} {shape}"

    def line(self) -> str:
        """See `Kept`."""
        shares = ("decomposable", "sequential", "exploratory")
        said = [self.complexity, *(f"{name} {getattr(self, name):.2g}" for name in shares)]
        said += [f"{self.items} items"] if self.items else []
        said += [f"quality {self.quality}", f"timeline {self.timeline}"]
        said += [f"tools: {', '.join(self.tools)}"] if self.tools else []
        return ", ".join(said)


HALF = 0.5
"""From here on a share counts as so."""
_FIELDS = tuple(Reading.model_fields)


def assessed(
    words: Reading, resources: Resources, said: Reading | None = None, stated: Mapping[str, Any] | None = None
) -> Assessment:
    """An assessment from everything that is known, each field from the best source.

    Args:
        words: what the task's words say.
        resources: what was measured.
        said: what a model says, where one was asked.
        stated: what the user says, by field; it is right.

    Raises:
        UnknownName: a field that there is not.
        InputError: a value that a field cannot have.
    """
    known = must_be_stated(stated or {})
    base = words if said is None else said
    source: Source = "heuristic" if said is None else "model"
    fields = {name: known.get(name, getattr(base, name)) for name in _FIELDS}
    sources: dict[str, Source] = {name: "stated" if name in known else source for name in _FIELDS}
    return Assessment(**fields, resources=resources, sources={**sources, "resources": "measured"})


def must_be_stated(stated: Mapping[str, Any]) -> dict[str, Any]:
    """What is stated, checked field by field.

    Raises:
        UnknownName: a field that there is not.
        InputError: a value that a field cannot have.
    """
    if not isinstance(stated, Mapping):
        raise InputError(f"What is known of a task is given by name, as {{'complexity': 'simple'}}, not {stated!r}.")
    given = {name: value for name, value in stated.items() if value is not None}
    if unknown := next((name for name in given if name not in _FIELDS), None):
        raise UnknownName("field of an assessment", str(unknown), _FIELDS)
    whole = {"complexity": "simple", "decomposable": 0, "sequential": 0, "exploratory": 0, **given}
    try:
        checked = Reading.model_validate(whole)
    except ValidationError as error:
        raise InputError(f"That cannot be stated of a task: {complaints(error)}.") from None
    return {name: getattr(checked, name) for name in given}
