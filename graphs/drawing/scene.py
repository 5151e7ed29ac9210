"""What all levels of one drawing share: which way it flows, how big things are, and who stands beside whom."""

from __future__ import annotations

from collections import defaultdict

from troupe.graphs.drawing.cards import Card, Drawing
from troupe.graphs.drawing.measure import BOLD, LABEL, NOTE, WORD, WORD_HEIGHT, WORD_WIDEST, width
from troupe.graphs.drawing.places import Direction

_CARD_WIDEST = 190.0


class Scene:
    """A drawing that flows in one direction. Arrows from or to nobody are left out.

    Sizes are pairs: along the flow, and across it.
    """

    def __init__(self, drawing: Drawing, direction: Direction) -> None:
        self.down = direction == "down"
        self.cards = {card.id: card for card in drawing.cards}
        self.frames = {frame.id: frame for frame in drawing.frames}
        self.arrows = [a for a in drawing.arrows if a.source in self.cards and a.target in self.cards]
        self.homes = drawing.homes()
        self.asked = self._asked()
        self.breadths: dict[str, float] = defaultdict(lambda: 84.0)  # a column of cards of a kind has straight sides
        for card in drawing.cards:
            room = 44 if card.kind in ("ask", "gate") else 28
            more = max(width(card.note, NOTE), width(card.said, NOTE) * BOLD + 20, width(card.facts, NOTE))
            need = max(width(card.label, LABEL), more) + room
            self.breadths[card.kind] = min(max(self.breadths[card.kind], need), _CARD_WIDEST)

    def _asked(self) -> dict[str, str]:
        """A person that only one gate asks stands beside that gate, and takes no layer."""
        askers: dict[str, set[str]] = defaultdict(set)
        for arrow in self.arrows:
            askers[arrow.target].add(arrow.source)
        asked: dict[str, str] = {}
        for card in self.cards.values():
            if card.kind == "ask" and len(askers[card.id]) == 1:
                (gate,) = askers[card.id]
                near = self.cards[gate].kind == "gate" and self.homes[gate] == self.homes[card.id]
                if near and gate not in asked.values():
                    asked[card.id] = gate
        return asked

    def turned(self, wide: float, high: float) -> tuple[float, float]:
        """A width and a height, along the flow and across it."""
        return (high, wide) if self.down else (wide, high)

    def half(self, card: Card) -> tuple[float, float]:
        """Half the size of a card."""
        if card.kind in ("start", "end"):
            return 7.0, 7.0
        lines = bool(card.note) + bool(card.state) + bool(card.facts)
        high = {"gate": 14.0, "ask": 16.0}.get(card.kind, 19.0) + (0.0, 6.0, 14.0, 22.0)[lines]
        return self.turned(round(self.breadths[card.kind] / 2), high)

    def word(self, word: str) -> tuple[float, float]:
        """The size of an arrow's word, with a little air."""
        return self.turned(min(width(word, WORD), WORD_WIDEST) + 8, WORD_HEIGHT) if word else (0.0, 0.0)
