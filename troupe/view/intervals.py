"""What of a run took its time: bars for a timeline, and the chain of steps that its length came from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from troupe.view.runview import RunView, StepView

Kind = Literal["work", "failed", "review", "wait", "person"]
"""Work and attempts that failed, reviews by a gate, pauses before the next attempt, and people who are waited for."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One bar; its end is when the run was last heard of where it goes on."""

    path: str
    kind: Kind
    started: float
    ended: float
    agent: str = ""
    round: int = 1
    said: str = ""


def intervals(view: RunView) -> list[Interval]:
    """Every bar of a run, by step, in time."""
    found: list[Interval] = []
    for step in view.steps.values():
        found += _of(step, view.last)
    for word in list(view.words.values()):
        ended = word.answered if word.answered is not None else max(view.last, word.asked)
        found.append(Interval(word.step, "person", word.asked, ended, word.by, said=word.question))
    return sorted(found, key=lambda one: (one.started, one.ended, one.path))


def _of(step: StepView, last: float) -> list[Interval]:
    found = []
    for one in step.attempts:
        ended = one.started + one.seconds
        kind: Kind = "failed" if one.failure else "work"
        found.append(Interval(step.path, kind, one.started, ended, one.agent, one.round, one.cause))
        if one.wait:
            found.append(Interval(step.path, "wait", ended, ended + one.wait, one.agent, one.round, one.failure))
    for version in step.rounds:
        tried = [one for one in step.attempts if one.round == version.number]
        begun = tried[-1].started + tried[-1].seconds + tried[-1].wait if tried else version.started
        going = version is step.rounds[-1] and step.state == "running"
        if version.ended is None and going:
            found.append(Interval(step.path, "work", begun, max(last, begun), step.agent, version.number))
        elif not tried and version.ended is not None:
            found.append(Interval(step.path, "failed", begun, version.ended, step.agent, version.number, step.reason))
        judged = version.judged if version.judged is not None else last if going and step.reviewing else None
        if version.ended is not None and judged is not None and judged > version.ended:
            by = next((one.by for one in step.verdicts if one.round == version.number), "")
            found.append(Interval(step.path, "review", version.ended, judged, by, version.number))
    return found


def critical_path(view: RunView) -> list[str]:
    """From the step that ended last back to the one that began first: each waited for the one before it."""
    inside: dict[str, list[StepView]] = defaultdict(list)
    for step in view.steps.values():
        if step.started is not None:
            inside[step.outer].append(step)
    return _level(inside, "")


def _level(inside: Mapping[str, Sequence[StepView]], outer: str) -> list[str]:
    """The chain among the steps of one team, each with the chain inside it."""
    level = {step.path: step for step in inside.get(outer, ())}
    chain: list[str] = []
    met: set[str] = set()
    step = max(level.values(), key=lambda one: one.ended or one.started or 0.0, default=None)
    while step is not None:
        chain[:0] = [step.path, *_level(inside, step.path)]
        met.add(step.path)
        begun = step.started or 0.0
        prefix = f"{outer}/" if outer else ""
        named = [level[prefix + name] for name in step.sources if prefix + name in level]
        before = [one for one in level.values() if one.path not in met and (one.ended or 0.0) <= begun + 0.001]
        near = [one for one in named if one in before] or before
        step = max(near, key=lambda one: one.ended or 0.0, default=None)
    return chain
