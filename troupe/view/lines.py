"""One plain line per event, for logs and pipes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from troupe.agents.contracts import TURNED_TO
from troupe.agents.events import (
    Answered,
    Attempt,
    Event,
    Judged,
    Notice,
    Progress,
    Recovered,
    Requested,
    Rerouted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    Superseded,
    Token,
    Waiting,
)
from troupe.view.words import counted, duration, line, money

if TYPE_CHECKING:
    from troupe.view.runview import Said

_DECISIONS = {
    "pass": ("passed", ""),
    "rework": ("sent back", ""),
    "rollback": ("rolled back", ""),
    "ask": ("not passed", ", a person is asked"),
    "partial": ("not passed", ", accepted as it is"),
    "fail": ("not passed", ""),
}


def line_of(event: Event) -> str | None:
    """The event with its time and step as one line without control characters; None for pieces of text.

    >>> line_of(Notice(at=0.0, path="draft", text="No price is known.")).partition("  ")[2]
    'draft: No price is known.'
    """
    said = said_of(event)
    if said is None:
        return None
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    return f"{clock}  " + line(f"{event.path}: {said}" if event.path else said)


def said_of(event: Event) -> str | None:
    """The event in words, without its time and step; None for what is told by something else."""
    match event:
        case Token() | Requested() | Recovered():
            return None
        case RunStarted():
            return begun(event)
        case StepStarted():
            again = f", round {event.round}" if event.round > 1 else ""
            who = "" if event.agent == event.path.rpartition("/")[2] else f" by {event.agent}"
            place = f"{event.index} of {event.total}{again}" if event.total else again.removeprefix(", ")
            return f"started{who}{f' ({place})' if place else ''}"
        case Attempt():
            after = "gives up" if event.wait is None else f"again in {duration(event.wait)}"
            return f"attempt {event.number} to {event.purpose} failed ({event.failure}), {after}: {event.cause}"
        case Rerouted():
            return f"{event.agent} gave up, {event.to} takes over ({TURNED_TO[event.how]})"
        case Judged():
            return f"gate {judged(event)}"
        case StepFinished():
            return finished(event)
        case Progress():
            return f"{event.done} of {counted(event.total, 'step')}, {duration(event.seconds)}, {money(event.usd)}"
        case Superseded():
            return f"round {event.round} is not built on any more"
        case Answered():
            return f"{event.by} answered: {f'{event.answer}: {event.text}' if event.text else event.answer}"
        case Waiting():
            return f"waiting for a person: {event.question}"
        case Notice():
            return event.text
        case RunFinished():
            why = f": {event.reason}" if event.reason else ""
            return f"run {event.run} {event.status} after {duration(event.seconds)}, {money(event.usd)}{why}"
    return event.kind


def begun(event: RunStarted) -> str:
    """A turn's beginning in words; a simulated one says so."""
    what = "goes on" if event.resumed else "started"
    turn = f", turn {event.turn}" if event.turn > 1 else ""
    simulated = "; simulated: no model is called" if event.simulated else ""
    return f"{event.workflow} {what}, run {event.run}{turn}{simulated}"


def judged(event: Judged | Said) -> str:
    """A verdict in words, with what followed from it."""
    score = "" if event.score is None else f", score {event.score:.2f}"
    said = f": {event.feedback}" if event.feedback and not event.passed else ""
    by = f" by {event.by}" if event.by else ""
    decided, then = _DECISIONS.get(event.decision, (event.decision, ""))
    return f"{decided}{by}{score}{then}{said}"


def finished(event: StepFinished) -> str:
    """The end of a step's round in words."""
    if event.recalled:
        return f"{event.status}, as recorded"
    tries = f", {event.attempts} attempts" if event.attempts > 1 else ""
    why = f": {event.cause}" if event.cause else ""
    kept = f", {event.cached} cached" if event.cached else ""
    return f"{event.status} in {duration(event.seconds)}{tries}, {money(event.usd)}{kept}{why}"
