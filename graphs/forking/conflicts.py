"""Conflicts between results that were made at once: found by code where they are structured, by a reviewer in prose.

    merge(by="integration-architect", conflicts="judge")

Each is kept with its sides, how it was ruled, by whom and why.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from troupe.agents import brief as briefs
from troupe.agents.contracts import Deliverable, Kept
from troupe.agents.notes import Said, Text
from troupe.agents.text import shorten

Kind = Literal["artifact", "data", "decision", "assumption", "prose"]
Policy = Literal["priority", "confidence", "vote", "judge", "ask"]
POLICIES: tuple[Policy, ...] = ("priority", "confidence", "vote", "judge", "ask")
_SHOWN = 6  # sides of a conflict that are written out
_SHORT = 200  # characters; a longer text in data is prose, and differs without contradicting


class Conflict(Kept):
    """Something that results say differently, and what holds.

    `winner` is the step whose side holds, None where neither does; then `ruling` says what does. `by` is who ruled:
    a policy or an agent's name, "a person", or "" while nobody has.
    """

    id: str
    about: Text
    kind: Kind
    sides: dict[str, Text]
    """What each step says, in the order of the steps."""
    confidence: dict[str, float] = Field(default_factory=dict)
    winner: str | None = None
    ruling: Text = ""
    by: str = ""
    why: Text = ""
    stands: bool = True
    """False once a later version of the results says it no more."""
    rounds: dict[str, int] = Field(default_factory=dict)
    """Which version of each step's result was read, where a reviewer found it."""

    def ruled(self, winner: str | None, by: str, why: str, ruling: str = "") -> Conflict:
        """The same, decided."""
        said = ruling or (self.sides[winner] if winner is not None else "")
        return self.model_copy(update={"winner": winner, "ruling": said, "by": by, "why": why})

    def line(self) -> str:
        """The conflict and its ruling; whoever merges is told so, too."""
        shown = [f"{step}: {' '.join(shorten(said, 120).split())}" for step, said in list(self.sides.items())[:_SHOWN]]
        more = [f"and {len(self.sides) - _SHOWN} more"] if len(self.sides) > _SHOWN else []
        sides = "; ".join(shown + more)
        holds = f"What {self.winner} says holds." if self.winner else shorten(self.ruling, 200) or "It is not settled."
        return f"Conflict about {self.about} ({sides}). Ruling by {self.by or 'nobody'}: {holds} {self.why}".strip()


class Side(Said):
    """One side of a contradiction."""

    step: str = Field(description="The exact name of the step that says it.")
    says: Text = Field(description="What it says on this, in a sentence.")


class Contradiction(Said):
    """Two or more deliverables that cannot both hold."""

    about: Text = Field(description="What they contradict each other about, in a few words.")
    sides: tuple[Side, ...] = Field(description="The steps that contradict each other, two or more.")


class Contradictions(BaseModel):
    """What a reviewer finds."""

    contradictions: tuple[Contradiction, ...] = Field(default=(), description="Empty if the deliverables agree.")


def differences(parts: Sequence[Deliverable], alike: Mapping[str, str] | None = None) -> list[Conflict]:
    """What the structured parts of usable results say differently: files, data, decisions and assumptions.

    Args:
        parts: in order.
        alike: for steps whose `data` can be compared, a name of their schema.

    >>> a = Deliverable(step="a", content="```text path=x.txt\\n1\\n```")
    >>> b = Deliverable(step="b", content="```text path=x.txt\\n2\\n```")
    >>> [(one.about, list(one.sides)) for one in differences([a, b])]
    [('x.txt', ['a', 'b'])]
    """
    parts = [one for one in parts if one.content or one.notes or one.data is not None]
    return [*_files(parts), *_points(parts), *_data(parts, alike or {})]


def reported(found: Contradictions, parts: Sequence[Deliverable], known: Iterable[Conflict] = ()) -> list[Conflict]:
    """A reviewer's contradictions as conflicts; a side of no known step counts for nothing."""
    steps = [one.step for one in parts]
    topics = {_topic(one.about) for one in known}
    made = []
    for one in found.contradictions:
        said = {side.step: side.says for side in one.sides}
        sides = {step: said[step] for step in steps if step in said}
        if len(sides) > 1 and _topic(one.about) not in topics:
            conflict = _conflict(one.about, "prose", sides, _scores(parts, sides))
            made.append(
                conflict.model_copy(update={"rounds": {one.step: one.rounds for one in parts if one.step in sides}})
            )
    return made


def listed(parts: Sequence[Deliverable], limit: int) -> str:
    """Deliverables for a reviewer, each fenced, within about `limit` tokens."""
    each = max(200, limit // max(len(parts), 1))
    return "\n\n".join(briefs.fence(shorten(one.content, each), one.step, one.agent) for one in parts)


def _files(parts: Sequence[Deliverable]) -> Iterator[Conflict]:
    by_path: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for one in parts:
        for file in one.artifacts:
            by_path[file.path][one.step] = file.content
    for path, sides in by_path.items():
        if len({said.strip() for said in sides.values()}) > 1:
            yield _conflict(path, "artifact", sides, _scores(parts, sides))


def _points(parts: Sequence[Deliverable]) -> Iterator[Conflict]:
    """Decisions and assumptions on one topic, in the words of each author."""
    topics: defaultdict[str, list[tuple[str, Kind, Any]]] = defaultdict(list)
    for one in parts:
        for point in one.notes.decisions if one.notes else ():
            topics[_topic(point.topic)].append((one.step, "decision", point))
        for point in one.notes.assumptions if one.notes else ():
            topics[_topic(point.topic)].append((one.step, "assumption", point))
    for said in topics.values():
        sides: dict[str, Any] = {}
        for step, _, point in said:
            sides.setdefault(step, point)  # an author's decision goes before an assumption of their own
        if len({_said(point.choice) for point in sides.values()}) > 1:
            kind: Kind = "decision" if all(kind == "decision" for _, kind, _ in said) else "assumption"
            sure = {step: point.confidence for step, point in sides.items() if point.confidence is not None}
            sure = sure or _scores(parts, sides)
            choices = {step: point.choice for step, point in sides.items()}
            yield _conflict(next(iter(sides.values())).topic, kind, choices, sure)


def _data(parts: Sequence[Deliverable], alike: Mapping[str, str]) -> Iterator[Conflict]:
    by_key: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for one in parts:
        if one.step in alike:
            for key, value in _leaves(one.model_dump(mode="json", include={"data"})["data"]):
                by_key[alike[one.step], key][one.step] = value
    for (_, key), sides in by_key.items():
        if len(set(sides.values())) > 1:
            yield _conflict(key, "data", sides, _scores(parts, sides))


def _leaves(data: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The short values in data by their dotted keys; lists as a whole, as their order may mean nothing."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif key and len(text := json.dumps(data, ensure_ascii=False, sort_keys=True)) <= _SHORT:
        yield key, text


def _conflict(about: str, kind: Kind, sides: Mapping[str, str], confidence: Mapping[str, float]) -> Conflict:
    seal = hashlib.blake2b(repr((about, kind, sorted(sides.items()))).encode("utf-8", "replace"), digest_size=4)
    return Conflict(
        id=f"{kind}-{seal.hexdigest()}", about=about, kind=kind, sides=dict(sides), confidence=dict(confidence)
    )


def _scores(parts: Sequence[Deliverable], sides: Iterable[str]) -> dict[str, float]:
    """What the gates gave those who say something."""
    return {one.step: one.score for one in parts if one.step in sides and one.score is not None}


def _said(text: str) -> str:
    """A choice without what only looks different; signs stay, as they may be all that differs (C and C++, < and >)."""
    return " ".join(part for one in text.lower().split() if (part := one.strip(".,;:!?()[]*`'\"")))


def _topic(text: str) -> str:
    return " ".join(sorted(_words(text).split()))


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
