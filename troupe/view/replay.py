"""A run step by step: at each moment what happened, and which cards of its picture changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from troupe.graphs.drawing import Card, Drawing
from troupe.graphs.drawing.states import summed
from troupe.view.picture import GATES, path_of
from troupe.view.runview import RunView, StepView

MOST = 400
"""Moments that a replay has; of a longer run, those in which nothing changes are left out first."""


@dataclass(slots=True)
class Frame:
    """A moment: seconds since the beginning, what happened, and by card its state and word."""

    at: float
    text: str
    cards: dict[str, tuple[str, str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The frame as plain data."""
        return {"at": round(self.at, 3), "text": self.text, "cards": {id: list(one) for id, one in self.cards.items()}}


def replayed(view: RunView, *drawings: Drawing) -> list[Frame]:
    """The moments of a run, on the cards of its pictures."""
    start = view.started or 0.0
    moments = [one for one in view.history if one.text or one.states]
    if len(moments) > MOST:
        changing = [one for one in moments if one.states]
        stride = max(1, -(-len(changing) // MOST))
        moments = changing[::stride] + ([changing[-1]] if changing and (len(changing) - 1) % stride else [])
    stands: dict[str, tuple[str, bool]] = {}
    known: dict[str, tuple[str, str]] = {}
    frames, taken, steps = list[Frame](), 0, view.steps
    shown = [card for drawing in drawings for card in (*drawing.cards, *drawing.frames)]
    for moment in moments:
        while taken < len(view.history) and view.history[taken] is not moment:
            stands |= view.history[taken].states
            taken += 1
        stands |= moment.states
        taken += 1
        now = _cards(steps, shown, stands, moment.at)
        changed = {id: one for id, one in now.items() if known.get(id) != one}
        known |= changed
        text = f"{moment.path}: {moment.text}" if moment.path and moment.text else moment.text or moment.path
        frames.append(Frame(max(0.0, moment.at - start), text[:300], changed))
    return frames


def _cards(
    steps: Mapping[str, StepView], shown: Sequence[Card], stands: dict[str, tuple[str, bool]], at: float
) -> dict[str, tuple[str, str]]:
    """By card, its state and word at a moment."""
    found: dict[str, tuple[str, str]] = {}
    by_template: dict[str, list[str]] = {}
    for path in stands:
        template, _, number = path.rpartition(".")
        if number.isdecimal():
            by_template.setdefault(template, []).append(path)
    for card in shown:
        path = path_of(card.id)
        own = [path] if path in stands else by_template.get(path, [])
        if card.kind == "gate":
            base = path.rpartition(".")[0]
            judged = [base] if base in stands else by_template.get(base, [])
            if card.state:
                found[card.id] = _gate(steps, judged, stands, at)
        elif own:
            states = [stands[one] for one in own]
            state = summed(one for one, _ in states) or "pending"
            word: str = "at its gate" if len(own) == 1 and states[0][1] else state
            if len(own) > 1:
                done = sum(one in ("accepted", "partial", "failed", "skipped") for one, _ in states)
                word = f"{done} of {len(own)} done"
            found[card.id] = state, word
    return found


def _gate(
    steps: Mapping[str, StepView], paths: list[str], stands: dict[str, tuple[str, bool]], at: float
) -> tuple[str, str]:
    if any(stands[one][1] for one in paths):
        return "running", "judging"
    said = [one for path in paths for one in steps[path].verdicts if one.at <= at + 0.0005]
    if not said:
        return "pending", "pending"
    last = max(said, key=lambda one: one.at)
    state, word = GATES[last.decision]
    return state, word if last.score is None else f"{word}, {last.score:.2f}"
