"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from troupe.agents.contracts import NO_USAGE, Deliverable, Judgement, Reason, RunStatus, Usage
from troupe.agents.errors import NotCompleted

if TYPE_CHECKING:
    from troupe.graphs.forking.conflicts import Conflict


@dataclass(frozen=True, slots=True)
class Question:
    """Something that a person must answer; `id` names it in `resume(run, {id: answer})`.

    Attributes:
        step: the path of the step that asks, `outer/inner` for one inside a nested graph.
        content: the work in question, if it is about one.
        expires: until when it can be answered, in seconds since the epoch; None for ever.
    """

    id: str
    question: str
    options: tuple[str, ...] = ()
    step: str = ""
    content: str = ""
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How a turn of a run ended, or where it stands.

    Attributes:
        run: its id, which is its thread's.
        status: `completed`, `partial`, `failed`, `waiting` (for a person) or `stopped` (resumable).
        reason: why it is not `completed`; `reason.kind == "limit"` for every bound that was hit.
        answer: the last usable deliverable's content.
        deliverables: by step; those of a nested graph are in its deliverable's `parts`.
        usage: of all calls; `usd` is None where a price is unknown, 0 when simulated.
        missing: the steps that gave nothing usable.
        waiting: the open questions.
        redo: the step to roll back to, so that what failed is tried again; None where nothing failed or can be.
        record: what the pattern itself kept, by name and id: `conflicts`, `assignments`, `criteria`, ...
        simulated: whether no real model was called.
        verdicts: what gates, and people in their place, said of which version: by `step#round`.
    """

    run: str
    workflow: str
    task: str
    status: RunStatus
    reason: Reason | None = None
    answer: str = ""
    deliverables: Mapping[str, Deliverable] = field(default_factory=dict)
    usage: Usage = NO_USAGE
    missing: tuple[str, ...] = ()
    waiting: tuple[Question, ...] = ()
    redo: str | None = None
    record: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    simulated: bool = True
    turn: int = 1
    verdicts: Mapping[str, Judgement] = field(default_factory=dict)

    def __getitem__(self, step: str) -> Deliverable:
        """The deliverable of a step, `outer/inner` for one inside a nested graph."""
        every = flat(self.deliverables)
        if step not in every:
            raise KeyError(f"{step!r} delivered nothing in run {self.run}. There are: {', '.join(every) or 'none'}.")
        return every[step]

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """What branches said differently, and how it was ruled, by whom and why."""
        return tuple(self.record.get("conflicts", {}).values())

    def raise_unless_completed(self) -> Result:
        """The result itself, if the run completed.

        Raises:
            NotCompleted: it did not; the message says why and what to do.
        """
        if self.status == "completed":
            return self
        why = self.reason.message if self.reason else "; ".join(one.question for one in self.waiting)
        raise NotCompleted(f"Run {self.run} is {self.status}: {why or 'no reason was recorded'}")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """What a notebook shows: what was built on what, and how it ended."""
        from troupe.graphs.drawing import Built, Look, flow, svg
        from troupe.graphs.drawing.states import MARKS

        built, lines = list[Built](), list[str]()
        for name, one in self.deliverables.items():
            facts = [f"round {one.rounds}"] if one.rounds > 1 else []
            facts += [f"{one.score:.2f}"] if one.score is not None else []
            state: Any = one.status if one.status in MARKS else "running"
            note = "" if one.agent == name or one.parts else one.agent
            built.append(Built(name, note, one.sources, Look(state, " · ".join(facts)), bool(one.parts)))
            lines.append(f"{name}: {', '.join([one.status, *facts])}")
        why = f": {self.reason.message}" if self.reason else ""
        said = f"{self.workflow} {self.run} {self.status}{' (simulated)' if self.simulated else ''}{why}"
        picture = svg(flow(built), title=f"{self.workflow} {self.run}", caption=said)
        return {"text/plain": "\n".join([said, *lines]), "image/svg+xml": picture}

    def to_json(self) -> dict[str, Any]:
        """The result as plain data; the command line's `--json`."""
        return {
            "run": self.run,
            "workflow": self.workflow,
            "task": self.task,
            "turn": self.turn,
            "status": self.status,
            "reason": self.reason.model_dump(mode="json") if self.reason else None,
            "answer": self.answer,
            "deliverables": {name: _deliverable(one) for name, one in flat(self.deliverables).items()},
            "usage": usage_json(self.usage),
            "missing": list(self.missing),
            "waiting": [
                {
                    "id": one.id,
                    "question": one.question,
                    "options": list(one.options),
                    "step": one.step,
                    "content": one.content,
                    "expires": one.expires,
                }
                for one in self.waiting
            ],
            "redo": self.redo,
            "record": to_jsonable_python(self.record),
            "verdicts": {
                name: one.model_dump(mode="json", exclude={"usage", "limit", "final"})
                for name, one in self.verdicts.items()
            },
            "simulated": self.simulated,
        }


def flat(deliverables: Mapping[str, Deliverable], outer: str = "") -> dict[str, Deliverable]:
    """Every deliverable by path, those of nested graphs after the one they are part of."""
    every: dict[str, Deliverable] = {}
    for name, one in deliverables.items():
        every[f"{outer}{name}"] = one
        every |= flat(one.parts, f"{outer}{name}/")
    return every


def usage_json(usage: Usage) -> dict[str, Any]:
    """Usage as plain data."""
    tokens = {"input": usage.tokens.input, "output": usage.tokens.output, "total": usage.tokens.total}
    return {
        "tokens": tokens,
        "usd": usage.usd,
        "seconds": round(usage.seconds, 3),
        "calls": usage.calls,
        "estimated": usage.estimated,
        "cached": usage.cached,
    }


def _deliverable(one: Deliverable) -> dict[str, Any]:
    data = one.model_dump(mode="json", include={"data"})["data"]
    return {
        "agent": one.agent,
        "status": one.status,
        "content": one.content,
        "summary": one.summary,
        "data": data,
        "score": one.score,
        "required": one.required,
        "sources": list(one.sources),
        "tried": [turn.model_dump(mode="json", exclude={"usage"}) for turn in one.tried],
        "notes": one.notes.model_dump(mode="json") if one.notes else None,
        "rounds": one.rounds,
        "attempts": one.attempts,
        "usage": usage_json(one.usage),
        "reason": one.reason.model_dump(mode="json") if one.reason else None,
    }
