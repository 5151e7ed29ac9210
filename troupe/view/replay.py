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
    cards = _of_paths([card for drawing in drawings for card in (*drawing.cards, *drawing.frames)], steps)
    for moment in moments:
        changed = {moment.path}
        while taken < len(view.history) and view.history[taken] is not moment:
            stands |= view.history[taken].states
            changed |= {view.history[taken].path, *view.history[taken].states}
            taken += 1
        stands |= moment.states
        changed |= {*moment.states}
        taken += 1
        now = {one.card.id: one.stands(steps, stands, moment.at) for path in changed for one in cards.get(path, ())}
        fresh = {id: one for id, one in now.items() if one and known.get(id) != one}
        known |= fresh
        text = f"{moment.path}: {moment.text}" if moment.path and moment.text else moment.text or moment.path
        frames.append(Frame(max(0.0, moment.at - start), text[:300], fresh))
    return frames


@dataclass(frozen=True, slots=True)
class _Shown:
    """A card, and the steps that it stands for."""

    card: Card
    paths: tuple[str, ...]

    def stands(
        self, steps: Mapping[str, StepView], stands: Mapping[str, tuple[str, bool]], at: float
    ) -> tuple[str, str] | None:
        """Its state and word at a moment; None where nothing is known of it."""
        states = [stands[path] for path in self.paths if path in stands]
        if not states:
            return None
        if self.card.kind == "gate":
            return _gate([steps[path] for path in self.paths], [judging for _, judging in states], at)
        if len(self.paths) > 1:
            done = sum(one in ("accepted", "partial", "failed", "skipped") for one, _ in states)
            return summed(one for one, _ in states) or "pending", f"{done} of {len(states)} done"
        state, judging = states[0]
        return state, "at its gate" if judging else state


def _of_paths(cards: Sequence[Card], steps: Mapping[str, StepView]) -> dict[str, list[_Shown]]:
    """The cards that tell of a step, by its path."""
    made: dict[str, list[str]] = {}
    for path in steps:
        template, _, number = path.rpartition(".")
        if number.isdecimal():
            made.setdefault(template, []).append(path)
    found: dict[str, list[_Shown]] = {}
    for card in cards:
        if card.kind in ("start", "end", "ask") or (card.kind == "gate" and not card.state):
            continue
        path = path_of(card.id)
        base = path.rpartition(".")[0] if card.kind == "gate" else path
        shown = _Shown(card, (base,) if base in steps else tuple(made.get(base, ())))
        for one in shown.paths:
            found.setdefault(one, []).append(shown)
    return found


def _gate(judged: Sequence[StepView], judging: Sequence[bool], at: float) -> tuple[str, str]:
    if any(judging):
        return "running", "judging"
    said = [one for step in judged for one in step.verdicts if one.at <= at + 0.0005]
    if not said:
        return "pending", "pending"
    last = max(said, key=lambda one: one.at)
    state, word = GATES[last.decision]
    return state, word if last.score is None else f"{word}, {last.score:.2f}"
