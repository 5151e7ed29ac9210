"""Alignment: a result against the acceptance criteria and directives it was under, one judgement for each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, create_model

from troupe.agents.contracts import Kept
from troupe.agents.notes import Said, Text
from troupe.agents.text import shorten
from troupe.graphs.delegating.delegation import Directive, Package
from troupe.graphs.delegating.planning import MOST, required

UNJUDGED = "It was not judged, which counts as not met."


class Finding(Said):
    """What the judge says about one criterion."""

    model_config = required("criterion", "met", "finding")

    criterion: Text = Field(description="The criterion's label.")
    met: bool = Field(description="Whether the work meets it, with evidence in the work.")
    finding: Text = Field(default="", description="The evidence; if it is not met, what is wrong and what would do.")


class Alignment(Said):
    """What the judge says about a result."""

    model_config = required("criteria", "passed", "feedback")

    criteria: Annotated[
        tuple[Finding, ...], BeforeValidator(lambda given: given[:MOST] if isinstance(given, list) else given)
    ] = Field(default=(), description="One for each criterion.")
    passed: bool = Field(default=True, description="Whether colleagues can build on the work as it is.")
    feedback: Text = Field(default="", description="What the author must change; empty if it passed.")


class Criterion(Kept):
    """Something that a result had to meet, and whether it does."""

    package: str
    text: Text
    met: bool
    finding: Text = ""
    by: str = ""
    """Who judged it; empty where there was nothing to judge."""

    def line(self) -> str:
        """See `Kept`."""
        found = f" {self.finding}" if self.finding else ""
        return f"{self.package}, {'met' if self.met else 'not met'}: {self.text}{found}"


def criteria_of(package: Package, directives: Mapping[str, Directive]) -> dict[str, str]:
    """What a package is judged by, by label: its acceptance criteria 1, 2, ..., and the directives it is under."""
    own = {str(number): text for number, text in enumerate(package.acceptance, 1)}
    return own | {one.id: one.decision for one in directives.values()}


def alignment_schema(labels: Sequence[str]) -> type[Alignment]:
    """The `Alignment` that a judge is asked for: one finding for each of these labels."""
    return _alignment_schema(tuple(labels))


@lru_cache(maxsize=256)
def _alignment_schema(labels: tuple[str, ...]) -> type[Alignment]:
    named = Field(description="The criterion's label.", json_schema_extra={"enum": list(labels)})
    finding: Any = create_model("Finding", __base__=Finding, criterion=(Text, named))
    listed = Field(
        default=(),
        description="One for each criterion.",
        json_schema_extra={"minItems": len(labels), "maxItems": len(labels)},
    )
    few = BeforeValidator(lambda given: given[:MOST] if isinstance(given, list) else given)
    fields: Any = {"criteria": (Annotated[tuple[finding, ...], few], listed)}
    return create_model("Alignment", __base__=Alignment, **fields)


def judged(package: Package, criteria: Mapping[str, str], said: Alignment, by: str) -> dict[str, Criterion]:
    """Every criterion as it stands: what is not judged is not met, and of two answers the worse one counts."""
    found: dict[str, list[Finding]] = {}
    for one in said.criteria:
        if (label := _meant(one.criterion, criteria)) is not None:
            found.setdefault(label, []).append(one)
    made = {}
    for label, text in criteria.items():
        answers = found.get(label, [])
        worst = min(answers, key=lambda one: one.met, default=None)
        made[key(package, label)] = Criterion(
            package=package.id,
            text=text,
            met=worst is not None and worst.met,
            finding=shorten(worst.finding, 300) if worst is not None else UNJUDGED,
            by=by,
        )
    return made


def unjudged(package: Package, criteria: Mapping[str, str], why: str, by: str = "") -> dict[str, Criterion]:
    """Every criterion as not met, because nobody could judge it."""
    return {
        key(package, label): Criterion(package=package.id, text=text, met=False, finding=why, by=by)
        for label, text in criteria.items()
    }


def key(package: Package, label: str) -> str:
    """A criterion's key in the state: `P1/2`, `P1/D3`."""
    return f"{package.id}/{label}"


def complaint(found: Mapping[str, Criterion], feedback: str = "") -> str:
    """What is not met, for the author."""
    unmet = [f"- Not met ({name}): {one.text} {one.finding}".rstrip() for name, one in found.items() if not one.met]
    return "\n".join([*([feedback] if feedback else []), *unmet])


def _meant(said: str, criteria: Mapping[str, str]) -> str | None:
    """The label that an answer means: the label itself, or the criterion word for word."""
    plain = _plain(said)
    for label in criteria:
        if plain == label.lower():
            return label
    for label, text in criteria.items():
        if plain == _plain(text):
            return label
    found = re.match(r"(?:criterion |p\d+/)?#?(d?\d{1,3})(?:$|[:.)*\]]+ | [-\u2013\u2014] )", plain)
    label = found[1].upper() if found else ""
    return label if label in criteria else None


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .:\"'()[]*`#")
