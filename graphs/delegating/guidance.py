"""Guidance: which directives reach whom, and who answers a question that goes up.

worker --> the manager who gave the work --> the level above --> ... --> a person
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from troupe.agents.brief import fence
from troupe.agents.contracts import Kept
from troupe.agents.matching import stems
from troupe.agents.notes import Escalation, Said, Text
from troupe.agents.text import shorten, tokens
from troupe.graphs.asking import PERSON
from troupe.graphs.delegating.delegation import Correction, Directive, Package
from troupe.graphs.delegating.levels import Levels
from troupe.graphs.delegating.planning import required

ESCALATIONS = 3
"""How many questions the work on one package may raise."""

_EVERYBODY = stems("everybody everyone anybody anyone any global whole entire team level member")
_RANK = {"implementation": 0, "tactical": 1, "strategic": 2, "person": 3}


class Answer(Said):
    """What somebody above says to a question."""

    model_config = required("answered", "guidance", "why")

    answered: bool = Field(description="True if you can and may decide it; false sends the question on up.")
    guidance: Text = Field(default="", description="What holds, so that the author can go on with it.")
    why: Text = Field(default="", description="The reason; or why you cannot decide it.")


class Escalated(Kept):
    """A question that went up: who was asked, in order, and what came back.

    `answered_by` is empty while nobody has answered; `kind` is `alignment` where the engine asks, because work does not
    meet what it must, and `failure` where it asks a person, because the work failed.
    """

    id: str
    package: str
    kind: Literal["question", "alignment", "failure"] = "question"
    question: Text
    options: tuple[Text, ...] = ()
    recommendation: Text = ""
    directive: str = ""
    """The id of the directive in question."""
    asked: tuple[str, ...] = ()
    answered_by: str = ""
    guidance: Text = ""
    why: Text = ""

    def line(self) -> str:
        """See `Kept`."""
        why = f" Why: {self.why}" if self.why else ""
        said = f"{self.answered_by} answers: {self.guidance}" if self.answered_by else "Nobody has answered."
        return f"{self.id}: {self.question} {said}{why}"

    def told(self) -> str:
        """Question and answer, for whoever goes on with the work and whoever judges it."""
        why = f" Why: {self.why}" if self.why else ""
        asked = fence(self.question, "question")
        return f"To a question about this work ({self.answered_by} answers): {self.guidance}{why}\n{asked}"


# --- directives, by scope --------------------------------------------------------------------------------------------


def binding(directives: Mapping[str, Directive], package: Package, levels: Levels) -> dict[str, Directive]:
    """The directives that a package is under: whose scope names its owner, a skill of theirs, or what it is about."""
    called = levels.names_of(package.owner)
    words = levels.facets[package.owner] | stems(package.title)
    return {one.id: one for one in directives.values() if not one.scope or _within(one.scope, called, words)}


def for_manager(directives: Mapping[str, Directive], name: str, levels: Levels) -> dict[str, Directive]:
    """Those that a manager plans by: all but those whose scope names other managers alone."""
    others = {called for one in levels.managers if one.name != name for called in levels.names_of(one.name)}
    others -= levels.names_of(name)
    return {
        one.id: one
        for one in directives.values()
        if not one.scope or any(part.strip().lower() not in others for part in one.scope)
    }


def unheard(directives: Mapping[str, Directive], packages: Mapping[str, Package], levels: Levels) -> list[Correction]:
    """What is said of directives that reach nobody, because nobody and nothing here is what their scope names."""
    # A manager is meant by name or level alone: their skills are what most rules are about.
    members = [(levels.names_of(step.name), frozenset[str]()) for step in levels.managers]
    members += [(levels.names_of(step.name), levels.facets[step.name]) for step in levels.implementation]
    found = []
    for one in directives.values():
        known = not one.scope or any(_within(one.scope, called, words) for called, words in members)
        if not known and not any(binding({one.id: one}, each, levels) for each in packages.values()):
            text = f"wrote {one.id} for {', '.join(one.scope)!r}, which is nobody and nothing here; it binds no one."
            found.append(Correction(by=one.by, text=text))
    return found


def _within(scope: Sequence[str], called: set[str], words: frozenset[str]) -> bool:
    for part in scope:
        if part.strip().lower() in called:
            return True
        if stems(part) - _EVERYBODY <= words | stems(" ".join(called)):
            return True
    return False


def bounded(lines: Mapping[str, str], limit: int) -> list[str]:
    """Lines by their ids within about `limit` tokens: long ones are shortened, what is left out is named.

    >>> bounded({"D1": "Use SQLite.", "D2": "Log in JSON. " * 99}, 60)[-1]
    'Left out here, for length: D2.'
    """
    if sum(tokens(line) for line in lines.values()) <= limit:
        return list(lines.values())
    each = max(limit // max(len(lines), 1), 60)
    kept: list[str] = []
    left: list[str] = []
    room = limit - 20
    for name, line in lines.items():
        short = shorten(line, each)
        if (size := tokens(short)) > room:
            left.append(name)
            continue
        kept.append(short)
        room -= size
    return [*kept, f"Left out here, for length: {', '.join(left)}."] if left else kept


# --- questions, up the levels ----------------------------------------------------------------------------------------


def raised(package: Package, said: Escalation, number: int, directives: Mapping[str, Directive]) -> Escalated:
    """A worker's question as it goes up."""
    named = next(iter(re.findall(r"\bD\d+\b", said.directive.upper())), "")
    return Escalated(
        id=f"{package.id}/E{number}",
        package=package.id,
        question=shorten(said.question, 600),
        options=tuple(shorten(one, 150) for one in said.options[:10]),
        recommendation=shorten(said.recommendation, 300),
        directive=named if named in directives else "",
    )


def ladder(one: Escalated, package: Package, directive: Directive | None, levels: Levels) -> list[str]:
    """Who is asked, in order: one of each level, from the lowest that may decide it, and at last a person."""
    start = _RANK[levels.level_of(package.by)]
    if directive is not None:
        start = max(start, _RANK[directive.changed_by])
    rungs = []
    for level, members in reversed(levels.managing):
        if _RANK[level] < start:
            continue
        names = [step.name for step in members]
        if directive is not None and directive.by in names:
            rungs.append(directive.by)
        elif package.by in names:
            rungs.append(package.by)
        else:
            rungs.append(levels.nearest(one.question, members))
    return [*rungs, PERSON]
