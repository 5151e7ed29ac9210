"""What an agent says about its own work, as data: a pattern asks for it where text alone would have to be guessed at.

One `decide` after `work`, at economy tier. Nothing in it routes by itself: the engine checks each name and each bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from troupe.agents.text import clean

Text = Annotated[str, BeforeValidator(lambda value: clean(value) if isinstance(value, str) else value)]


class Said(BaseModel):
    """A frozen value that a model fills in: what it adds of its own is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """Where there is a default, null is how models without a strict schema say that there is nothing to say."""
        if not isinstance(given, Mapping):
            return given
        known = cls.model_fields
        return {
            name: value
            for name, value in given.items()
            if value is not None or name not in known or known[name].is_required()
        }


def _share(value: Any) -> float | None:
    """A number from 0 to 1; how sure someone is must not cost what they said, so "high" and 85 say nothing."""
    try:
        share = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return share if 0 <= share <= 1 else None


class Point(Said):
    """Something settled: a decision that the work makes, or an assumption that it rests on."""

    topic: Text = Field(description="What it is about, in a few words that a colleague would use too.")
    choice: Text = Field(description="What was chosen or assumed.")
    why: Text = Field(default="", description="The reason, in a sentence.")
    confidence: Annotated[float | None, BeforeValidator(_share)] = Field(
        default=None, ge=0, le=1, description="From 0 (a guess) to 1 (certain)."
    )


class Escalation(Said):
    """A question that the author may not answer alone."""

    question: Text = Field(description="What must be decided.")
    options: tuple[Text, ...] = Field(default=(), description="The choices there are.")
    recommendation: Text = Field(default="", description="Which of them the author would take, and why.")
    directive: Text = Field(default="", description="The id of the directive that it questions, if it does.")


class Handoff(Said):
    """The wish that a colleague goes on with the work."""

    to: Text = Field(description="The colleague's exact name, from the list given.")
    reason: Text = Field(default="", description="Why they should do it.")
    passes: Text = Field(default="", description="What they need to know to go on.")


class Notes(Said):
    """What an agent says about its work.

    >>> Notes(facts=("The API answers in JSON.",)).escalation is None
    True
    """

    facts: tuple[Text, ...] = Field(default=(), description="What colleagues can rely on, one sentence each.")
    decisions: tuple[Point, ...] = Field(default=(), description="What the work decides that others must follow.")
    assumptions: tuple[Point, ...] = Field(default=(), description="What it takes for granted about others' work.")
    questions: tuple[Text, ...] = Field(default=(), description="What is still open.")
    escalation: Escalation | None = Field(default=None, description="A question that must be decided above.")
    handoff: Handoff | None = Field(default=None, description="Who should go on with this work, if not the author.")


class Artifact(Said):
    """A file in a deliverable."""

    path: str
    content: str


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")
_NAMED = re.compile(r"(?:^|\s)(?:path|file|filename)=(?:\"([^\"]+)\"|'([^']+)'|(\S+))")
_INFO = re.compile(r"(?:^|[\s:])(?:title=)?[\"']?([\w./-]*[\w-]\.\w+)[\"']?\s*$")
_ABOVE = re.compile(r"(?:#+ |File: |\*\*|`)+([\w./-]*[\w-]\.\w+)[`*:]*\s*$")


def artifacts(text: str) -> tuple[Artifact, ...]:
    """The files in a text: fenced code blocks that name their path, in their first line or in the line above.

    >>> artifacts("```python path=app/main.py\\nprint(1)\\n```")
    (Artifact(path='app/main.py', content='print(1)\\n'),)
    """
    if "```" not in text and "~~~" not in text:
        return ()
    files: dict[str, str] = {}
    path, fence, body, above = "", "", list[str](), ""
    for line in text.splitlines(keepends=True):
        opened = _FENCE.match(line.rstrip("\n"))
        if not fence:
            if opened is not None:
                named = _NAMED.search(opened[2]) or _INFO.search(opened[2]) or _ABOVE.match(above)
                path = next(filter(None, named.groups()), "") if named else ""
                fence, body = opened[1], []
            elif line.strip():
                above = line.strip()[:300]
        elif line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            if path:
                files[path.removeprefix("./")] = "".join(body)
            fence, above = "", ""
        else:
            body.append(line)
    return tuple(Artifact(path=path, content=content) for path, content in files.items())
