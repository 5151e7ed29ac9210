"""What is to be seen, without places: cards, arrows and frames, as a LangGraph graph tells them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Edge, Graph, Node

Kind = Literal["start", "end", "step", "gate", "ask", "frame"]


@dataclass(frozen=True, slots=True)
class Card:
    """One node as it is shown. `note` is its small second line: an agent's title, or what a gate checks.

    In the picture of a run, `state` is told by colour, sign and word (`word`, or else the state's own), and `facts` are
    its figures.
    """

    id: str
    label: str
    kind: Kind = "step"
    note: str = ""
    state: str = ""
    facts: str = ""
    word: str = ""

    @property
    def said(self) -> str:
        """The word of its state."""
        return self.word or self.state


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one card to another; a conditional one is taken only if its word is what the source decided."""

    source: str
    target: str
    label: str = ""
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of a picture. A card whose id begins with a frame's id and a colon lies in that frame.

    >>> Drawing((Card("flow", "start"), Card("flow:a", "write")), frames=(Card("flow", "flow", "frame"),)).arrows
    ()
    """

    cards: tuple[Card, ...]
    arrows: tuple[Arrow, ...] = ()
    frames: tuple[Card, ...] = ()

    @classmethod
    def of(cls, graph: Graph) -> Drawing:
        """Read what `compiled.get_graph(xray=...)` returns.

        A node's metadata may say how it is shown: `troupe_kind` ("step", "gate", "ask" or "frame", for a node that
        stands for a whole graph), `troupe_label`, and `troupe_note` for the second line. `troupe_branches`, the path
        map of its conditional edges, brings back the words that LangGraph drops when two of them lead to one node.
        """
        cards = tuple(map(_card, graph.nodes.values()))
        places = {card.id: place for place, card in enumerate(cards)}
        arrows = [
            Arrow(edge.source, edge.target, _word(word, cards[places[edge.target]]), edge.conditional)
            for edge in graph.edges
            if edge.source in places and edge.target in places
            for word in _said(edge, graph.nodes[edge.source])
        ]
        arrows.sort(key=lambda arrow: (places[arrow.source], places[arrow.target]))
        around = dict.fromkeys(frame for card in cards for frame in _around(card.id) if frame not in places)
        frames = tuple(Card(frame, plain(frame.rpartition(":")[2]), "frame") for frame in around)
        return cls(cards, tuple(dict.fromkeys(arrows)), frames)

    def homes(self) -> dict[str, tuple[str, ...]]:
        """The frames around each card and frame, outermost first; the first of all, "", is the page."""
        frames = {frame.id for frame in self.frames}
        every = (*self.cards, *self.frames)
        return {card.id: ("", *(frame for frame in _around(card.id) if frame in frames)) for card in every}


def plain(text: object) -> str:
    """A text as one line that is safe to show: no terminal colours, control characters or lone surrogates."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", str(text))
    text = re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", "", text)
    return " ".join(text.split())


def _around(key: str) -> list[str]:
    return [key[:i] for i, sign in enumerate(key) if sign == ":"]


def _card(node: Node) -> Card:
    said: dict[str, Any] = node.metadata or {}
    name = node.id.rpartition(":")[2]
    kind = said.get("troupe_kind")
    if name in ("__start__", "__end__"):
        kind = name.strip("_")
    elif kind not in ("step", "gate", "ask", "frame"):
        kind = "frame" if hasattr(node.data, "get_subgraphs") else "step"
    label = plain(said.get("troupe_label") or "") or plain(name.strip("_") if kind in ("start", "end") else node.name)
    return Card(node.id, label, cast(Kind, kind), plain(said.get("troupe_note") or ""))


def _said(edge: Edge, source: Node) -> list[object]:
    """The words that lead along an edge, in the order of the path map."""
    branches: dict[str, str] = (source.metadata or {}).get("troupe_branches") or {}
    home = edge.source[: edge.source.rfind(":") + 1]
    words: list[object] = [
        word for word, target in branches.items() if f"{edge.target}:".startswith(f"{home}{target}:")
    ]
    return (words if edge.conditional else []) or [edge.data]


def _word(data: object, target: Card) -> str:
    """The word of a branch, without the name of the card that the arrow points at anyway ("rollback:plan")."""
    word = plain("" if data is None else data)
    if target.kind in ("start", "end"):  # whose names nobody sees
        return word
    # A way into a frame is named after the frame.
    names = (plain(target.id), target.label, plain(target.id.rpartition(":")[0]))
    for name in filter(None, names):
        word = re.sub(rf"(^|[\s:.\->→]+){re.escape(name)}$", "", word)
    return word
