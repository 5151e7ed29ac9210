"""How things stand with a card: one state, told by colour, sign and word, and a line of figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from troupe.graphs.drawing.cards import Card, Drawing

State = Literal["pending", "running", "accepted", "reworked", "partial", "failed", "skipped", "superseded", "waiting"]

# Colour on light and on dark, of word, sign and border; text on a card keeps a contrast of 4.5.
COLOURS: dict[State, tuple[str, str]] = {
    "pending": ("#626d7b", "#98a5b6"),
    "running": ("#0b62c4", "#6cb2ff"),
    "accepted": ("#1b7a3d", "#5fce84"),
    "reworked": ("#8f4a06", "#f2b450"),
    "partial": ("#7a6200", "#e0c34a"),
    "failed": ("#c0232c", "#ff8a86"),
    "skipped": ("#626d7b", "#98a5b6"),
    "superseded": ("#7340b4", "#c5a2ff"),
    "waiting": ("#a5216f", "#ff94cf"),
}

# Strokes in a square from -5 to 5: a ring, a dot in a ring, a tick, a turn, half a disc, a cross, a dash, a way back,
# and two bars.
MARKS: dict[str, str] = {
    "pending": "m-4 0a4 4 0 1 0 8 0 4 4 0 1 0 -8 0z",
    "running": "m-4.5 0a4.5 4.5 0 1 0 9 0 4.5 4.5 0 1 0 -9 0zm3 0a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0 -3 0z",
    "accepted": "m-4.5 .5l3 3.5 6 -7.5",
    "reworked": "m4 1.5a4.2 4.2 0 1 1 -1.2 -4.5m1.4 -2v3h-3",
    "partial": "m-4 0a4 4 0 1 0 8 0 4 4 0 1 0 -8 0zm4 -4v8m-2 -7v6",
    "failed": "m-3.5 -3.5l7 7m0 -7l-7 7",
    "skipped": "m-4.5 0h9",
    "superseded": "m-4 -1.5h5.5a2.75 2.75 0 0 1 0 5.5h-3m-.5 -8l-2.5 2.5 2.5 2.5",
    "waiting": "m-2.2 -4v8m4.4 -8v8",
}

# Of several steps that are shown as one: whatever needs eyes first.
_RANK: tuple[State, ...] = (
    "failed",
    "waiting",
    "running",
    "reworked",
    "superseded",
    "partial",
    "pending",
    "skipped",
    "accepted",
)


@dataclass(frozen=True, slots=True)
class Look:
    """How a card stands: `word` in place of the state's own, and `facts`, a line of figures."""

    state: State | None = None
    facts: str = ""
    word: str = ""


def dressed(drawing: Drawing, looks: Mapping[str, Look]) -> Drawing:
    """The drawing with its cards in these states, by id; cards of which nothing is known stay as they are.

    >>> drawing = dressed(Drawing((Card("a", "write"),)), {"a": Look("accepted", "0.9 · 1.2 s")})
    >>> drawing.cards[0].state, drawing.cards[0].facts
    ('accepted', '0.9 · 1.2 s')
    """

    def put(card: Card) -> Card:
        look = looks.get(card.id)
        if look is None or card.kind in ("start", "end"):
            return card
        return replace(card, state=look.state or "", facts=look.facts, word=look.word)

    return replace(drawing, cards=tuple(map(put, drawing.cards)), frames=tuple(map(put, drawing.frames)))


def summed(states: Iterable[str]) -> State | None:
    """One state for several: `accepted` if all are, otherwise what needs eyes first.

    >>> summed(["accepted", "running", "pending"])
    'running'
    >>> summed(["accepted", "pending"])
    'running'
    """
    found = {state for state in states if state}
    if (
        "pending" in found
        and found & {"accepted", "partial"}
        and found <= {"pending", "accepted", "partial", "skipped"}
    ):
        return "running"
    return next((state for state in _RANK if state in found), None)
