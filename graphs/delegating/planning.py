"""What a manager decides, as data: a design, directives, how those below work together, and their work packages.

A model fills in a `Plan`; nothing of it is taken as it is. The engine gives the ids, bounds every list and every text,
and checks every name (`graphs/delegating/delegation.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, create_model, model_validator
from pydantic.json_schema import SkipJsonSchema

from troupe.agents.contracts import Value
from troupe.agents.notes import Said, Text
from troupe.agents.text import shorten

Pattern = Literal["sequence", "fan-out", "needs"]
PATTERNS: tuple[Pattern, ...] = ("sequence", "fan-out", "needs")
CHANGERS = ("implementation", "tactical", "strategic", "person")
"""Who may change a directive, from below."""

MOST = 200  # of anything in a list that a model gives; what is beyond is not even read
DIRECTIVES = 20  # of one manager
CRITERIA = 20  # of one package
NAMED = 10  # of what is cut
_LONG, _SHORT = 1500, 300  # tokens of an objective, and of every smaller text


def _few(given: Any) -> Any:
    return given[:MOST] if isinstance(given, list | tuple) else given


def _one(given: Any) -> Any:
    return (given,) if isinstance(given, str) else _few(given)


Texts = Annotated[tuple[Text, ...], BeforeValidator(_one)]


def required(*names: str) -> ConfigDict:
    """A schema that asks for these fields, and still takes an answer without them."""

    def ask(shape: dict[str, Any]) -> None:
        shape["required"] = [name for name in shape["properties"] if name in names]

    return ConfigDict(json_schema_extra=ask)


class PlannedDirective(Said):
    """A rule for those below."""

    model_config = required("decision", "rationale", "changed_by")

    decision: Text = Field(description="What holds, in a sentence that can be checked.")
    rationale: Text = Field(default="", description="Why, so that it can be revised when the reason goes.")
    scope: Texts = Field(default=(), description="Whom it binds: names, skills or areas of work; empty for all.")
    changed_by: Text = Field(
        default="",
        description="Who may change it when asked.",
        json_schema_extra={"enum": ["strategic", "tactical", "implementation", "person"]},
    )


class PlannedCoordination(Said):
    """How the work packages depend on each other."""

    model_config = required("pattern", "why")

    pattern: Text = Field(
        description="sequence: one after the other; fan-out: all at once; needs: as each package says.",
        json_schema_extra={"enum": list(PATTERNS[::-1])},
    )
    why: Text = Field(default="", description="The reason, in a sentence.")


class PlannedPackage(Said):
    """A piece of work for one colleague."""

    model_config = required("owner", "title", "objective", "acceptance", "authority")

    owner: Text = Field(default="", description="Who does it: an exact name.")
    title: Text = Field(default="", description="What it is called, in a few words.")
    objective: Text = Field(default="", description="What is to be done, complete enough to be worked on alone.")
    acceptance: Texts = Field(default=(), description="What must be true of the result, each so it can be checked.")
    authority: Text = Field(default="", description="What its owner may decide alone.")
    needs: Texts = Field(default=(), description="The titles of the packages whose results it builds on.")


class Plan(Said):
    """What a manager decides.

    >>> Plan(design="One service.").packages
    ()
    """

    design: Text = Field(default="", description="The design, with its reasons.")
    directives: Annotated[tuple[PlannedDirective, ...], BeforeValidator(_few)] = Field(
        default=(), description="The few rules that those below must follow."
    )
    coordination: PlannedCoordination | None = None
    packages: tuple[PlannedPackage, ...] = ()
    planned: SkipJsonSchema[int] = 0
    """How many packages there were before the list was cut."""

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, given: Any) -> Any:
        """A list that no team could work off is cut before it is read; what is recorded of it says how long it was."""
        if not isinstance(given, Mapping):
            return given
        packages = given.get("packages")
        if not isinstance(packages, Sequence) or isinstance(packages, str):
            return {**given, "planned": 0}
        known, length = given.get("planned"), len(packages)
        if length == MOST and isinstance(known, int) and known > MOST:
            return given  # as it was recorded
        return {**given, "packages": packages[:MOST], "planned": length}


def plan_schema(owners: Sequence[str], coordinates: bool, delegates: bool, width: int) -> type[Plan]:
    """The `Plan` that a manager is asked for: who can own a package is a closed list.

    Args:
        owners: the implementers, the one to think of first in front.
        coordinates: whether it says how the packages depend on each other.
        delegates: whether it gives the packages.
        width: the most packages.
    """
    return _plan_schema(tuple(owners), coordinates, delegates, width)


@lru_cache(maxsize=256)
def _plan_schema(owners: tuple[str, ...], coordinates: bool, delegates: bool, width: int) -> type[Plan]:
    fields: dict[str, Any] = {}
    unseen: Any = SkipJsonSchema
    asked = ["design", "directives"]
    if coordinates:
        how = Field(default=None, description="How the packages depend on each other.")
        fields["coordination"] = (PlannedCoordination | None, how)
        asked.append("coordination")
    else:
        fields["coordination"] = (Annotated[PlannedCoordination | None, unseen()], None)
    if delegates:
        names = Field(default="", description="Who does it: an exact name.", json_schema_extra={"enum": list(owners)})
        package: Any = create_model("PlannedPackage", __base__=PlannedPackage, owner=(Text, names))
        listed = Field(
            default=(),
            description=f"The work packages, at most {width}.",
            json_schema_extra={"minItems": 1, "maxItems": width},
        )
        fields["packages"] = (tuple[package, ...], listed)
        asked.append("packages")
    else:
        fields["packages"] = (Annotated[tuple[PlannedPackage, ...], unseen()], ())
    asking = type("Plan", (Plan,), {"__module__": __name__, "__doc__": "A plan.", "model_config": required(*asked)})
    return create_model("Plan", __base__=asking, **fields)


class Planned(Value):
    """What the state keeps of a plan: everything bounded, and not the design, which is its author's deliverable."""

    directives: tuple[PlannedDirective, ...] = ()
    coordination: PlannedCoordination | None = None
    packages: tuple[PlannedPackage, ...] = ()
    planned: int = 0
    """How many packages it had."""


def kept(plan: Plan, delegates: bool, width: int) -> Planned:
    """A plan as the state keeps it."""
    return Planned(
        directives=tuple(_short_directive(one) for one in plan.directives[: DIRECTIVES + 1]),
        coordination=PlannedCoordination(pattern=plan.coordination.pattern, why=_short(plan.coordination.why))
        if plan.coordination
        else None,
        # Some more than can be worked on, so that what is cut can be named.
        packages=tuple(_short_package(one) for one in plan.packages[: width + NAMED]) if delegates else (),
        planned=plan.planned if delegates else 0,
    )


def shown(plan: Plan, delegates: bool, width: int) -> str:
    """A plan as Markdown: its author's deliverable."""
    parts = [plan.design.strip() or "No design was given."]
    directives = [f"- {_of_directive(_short_directive(one))}" for one in plan.directives[:DIRECTIVES]]
    if directives:
        parts.append("\n".join(["## Directives", "", *directives]))
    if plan.coordination is not None:
        parts.append(f"## Coordination\n\n{plan.coordination.pattern}. {plan.coordination.why}".strip())
    packages = [f"{at}. {_of_package(_short_package(one))}" for at, one in enumerate(plan.packages[:width], 1)]
    if delegates and packages:
        more = [f"(and {plan.planned - width:,} more)"] if plan.planned > width else []
        parts.append("\n".join(["## Packages", "", *packages, *more]))
    return "\n\n".join(one for one in parts if one)


def _of_directive(one: PlannedDirective) -> str:
    scope = ", ".join(one.scope) or "all"
    why = f" Why: {one.rationale}" if one.rationale else ""
    return f"{one.decision} (for {scope}){why}"


def _of_package(one: PlannedPackage) -> str:
    needs = f" Needs: {', '.join(one.needs)}." if one.needs else ""
    return f"{one.title or 'untitled'} ({one.owner or 'nobody'}): {one.objective}{needs}"


def _short(text: str, limit: int = _SHORT) -> str:
    return shorten(text.strip(), limit)


def _short_directive(one: PlannedDirective) -> PlannedDirective:
    return PlannedDirective(
        # One line each: a second one could look like a directive of somebody else.
        decision=" ".join(_short(one.decision).split()),
        rationale=" ".join(_short(one.rationale).split()),
        scope=tuple(" ".join(_short(name, 40).split()) for name in one.scope[:CRITERIA]),
        changed_by=_short(one.changed_by, 40),
    )


def _short_package(one: PlannedPackage) -> PlannedPackage:
    return PlannedPackage(
        owner=_short(one.owner, 40),
        title=" ".join(_short(one.title, 60).split()),
        objective=_short(one.objective, _LONG),
        acceptance=tuple(_short(text) for text in one.acceptance[: CRITERIA + 1]),
        authority=_short(one.authority),
        needs=tuple(" ".join(_short(name, 60).split()) for name in one.needs),
    )
