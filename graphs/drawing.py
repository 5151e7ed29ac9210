"""A graph as a picture: cards and arrows, read from LangGraph and painted as SVG or written as Mermaid, offline.

    drawing = Drawing.of(app.get_graph(xray=True))
    Path("team.svg").write_text(svg(drawing, title="My team"))
    print(mermaid(drawing))

LangGraph's own pictures need a web service, a browser or Graphviz; these need the standard library. The SVG has no
script, no link and no font of its own, and is readable on a light and on a dark page. Nothing in a node's name can
leave its place: markup is escaped, control characters are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

from troupe.graphs.layout import LABEL, NOTE, WORD, Box, Direction, Layout, Point, layout, shorten

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Edge, Graph, Node

Kind = Literal["start", "end", "step", "gate", "ask", "frame"]


@dataclass(frozen=True, slots=True)
class Card:
    """One node as it is shown. `note` is its small second line: an agent's title, or what a gate checks."""

    id: str
    label: str
    kind: Kind = "step"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one card to another; a conditional one is taken only if its word is what the source decided."""

    source: str
    target: str
    label: str = ""
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is to be seen, without places. A card whose id begins with a frame's id and a colon lies in that frame.

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
        cards = tuple(_card(node) for node in graph.nodes.values())
        places = {card.id: place for place, card in enumerate(cards)}
        labels = {card.id: card.label for card in cards}
        arrows = [
            Arrow(edge.source, edge.target, _word(word, edge.target, labels), edge.conditional)
            for edge in graph.edges
            if edge.source in places and edge.target in places
            for word in _said(edge, graph.nodes[edge.source])
        ]
        arrows.sort(key=lambda arrow: (places[arrow.source], places[arrow.target]))
        frames: dict[str, Card] = {}
        for card in cards:
            parts = card.id.split(":")
            for depth in range(1, len(parts)):
                frame = ":".join(parts[:depth])
                if frame not in places:
                    frames[frame] = Card(frame, plain(parts[depth - 1]), "frame")
        return cls(cards, tuple(dict.fromkeys(arrows)), tuple(frames.values()))


def plain(text: object) -> str:
    """A text as one line that is safe to show: no terminal colours, control characters or lone surrogates."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", str(text))
    text = re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", "", text)
    return " ".join(text.split())


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
    home = edge.source.rpartition(":")[0]
    words: list[object] = []
    for word, target in branches.items() if edge.conditional else ():
        key = f"{home}:{target}" if home else target
        if edge.target == key or edge.target.startswith(f"{key}:"):
            words.append(word)
    return words or [edge.data]


def _word(data: object, target: str, labels: dict[str, str]) -> str:
    """The word of a branch, without the name of the card that the arrow points at anyway ("rollback:plan")."""
    word = plain("" if data is None else data)
    for name in filter(None, (plain(target), labels[target])):
        word = re.sub(rf"(^|[\s:.\->→]+){re.escape(name)}$", "", word)
    return word


# Painting

_BEND = 7.0  # the radius of an arrow's corners
_FONT = "ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"

# What is painted: (property, light, dark). Text keeps a contrast of 4.5 on what it stands on, lines one of 3.
PALETTE: dict[str, tuple[tuple[str, str, str], ...]] = {
    "page": (("fill", "#fbfbfd", "#14181f"),),
    "step": (("fill", "#ffffff", "#1e2530"), ("stroke", "#7f8a99", "#66738a")),
    "gate": (("fill", "#eceffd", "#232a52"), ("stroke", "#5b68cf", "#8b97ff")),
    "ask": (("fill", "#e4f5f0", "#123a33"), ("stroke", "#27836f", "#46b89f")),
    "frame": (("stroke", "#7f8a99", "#66738a"),),
    "end": (("fill", "#3a4454", "#c3ccd9"), ("stroke", "#3a4454", "#c3ccd9")),
    "text": (("fill", "#1a2230", "#e8edf4"),),
    "note": (("fill", "#566172", "#a3afbf"),),
    "word": (("fill", "#566172", "#a3afbf"),),
    "backword": (("fill", "#8f4a06", "#f2b450"),),
    "forward": (("stroke", "#66717f", "#8e9aac"),),
    "bypass": (("stroke", "#7f8a99", "#66738a"),),
    "back": (("stroke", "#b45f06", "#eaa640"),),
    "forwardtip": (("fill", "#66717f", "#8e9aac"),),
    "bypasstip": (("fill", "#7f8a99", "#66738a"),),
    "backtip": (("fill", "#b45f06", "#eaa640"),),
}
_STYLE = (
    f".troupe text{{font-family:{_FONT};text-anchor:middle}}"
    f".troupe .text{{font-size:{LABEL:g}px;font-weight:500}}.troupe .note{{font-size:{NOTE:g}px}}"
    f".troupe .word,.troupe .backword{{font-size:{WORD:g}px}}"
    ".troupe .title{text-anchor:start}"
    ".troupe .forward,.troupe .bypass,.troupe .back{fill:none;stroke-width:1.5px}"
    ".troupe .maybe{stroke-dasharray:5 3.5}.troupe .frame{fill:none;stroke-dasharray:2 3}"
)


def _colours(dark: bool) -> str:
    return "".join(
        f".troupe .{name}{{{';'.join(f'{what}:{night if dark else day}' for what, day, night in rules)}}}"
        for name, rules in PALETTE.items()
    )


_CSS = f"{_STYLE}{_colours(False)}@media(prefers-color-scheme:dark){{{_colours(True)}}}"


def svg(drawing: Drawing, *, title: str = "", direction: Direction | None = None) -> str:
    """The drawing as one self-contained SVG.

    >>> drawing = Drawing((Card("a", "write"), Card("b", "check", "gate")), (Arrow("a", "b"),))
    >>> svg(drawing, title="Support team").startswith("<svg")
    True

    Solid arrows are always taken, dashed ones if the gate says their word; amber arrows go back.
    """
    plan = layout(drawing, direction)
    name = escape(plain(title) or "Graph")
    wide, high = f"{plan.width:g}", f"{plan.height:g}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="troupe" role="img" width="{wide}" height="{high}" '
            f'viewBox="0 0 {wide} {high}">',
            f"<title>{name}</title>",
            f"<desc>{escape(_described(drawing))}</desc>",
            f"<style>{_CSS}</style>",
            f'<rect class="page" width="{wide}" height="{high}" rx="8"/>',
            *(_frame(frame, plan) for frame in drawing.frames if frame.id in plan.frames),
            *_lines(plan),
            *(_card_shape(card, plan.boxes[card.id]) for card in drawing.cards),
            *_words(plan),
            "</svg>",
        ]
    )


def _described(drawing: Drawing) -> str:
    labels = {card.id: plain(card.label) for card in drawing.cards}
    ways: dict[str, list[str]] = {}
    for arrow in drawing.arrows:
        if arrow.source in labels and arrow.target in labels:
            word = plain(arrow.label)
            ways.setdefault(arrow.source, []).append(labels[arrow.target] + (f" ({word})" if word else ""))
    return "; ".join(f"{labels[source]} to {', '.join(targets)}" for source, targets in ways.items())[:1500]


def _text(kind: str, text: str, size: float, x: float, y: float, room: float) -> str:
    """A line of text; one that does not fit is shortened, and shows the whole when pointed at."""
    text = plain(text)
    short = shorten(text, size, room)
    whole = f"<title>{escape(text)}</title>" if short != text else ""
    return f'<text class="{kind}" x="{x:g}" y="{y + size * 0.35:g}">{escape(short)}{whole}</text>'


def _frame(frame: Card, plan: Layout) -> str:
    box, title = plan.frames[frame.id], plan.titles[frame.id]
    return (
        f'<rect class="frame" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="10"/>'
        + _text("note title", frame.label, NOTE, title.x, title.y + title.height / 2, title.width + 1)
    )


def _card_shape(card: Card, box: Box) -> str:
    x, y, high = box.x + box.width / 2, box.y + box.height / 2, box.height
    begin = f'<g data-id="{escape(plain(card.id))}">'
    if card.kind == "start":
        return f'{begin}<title>start</title><circle class="end" cx="{x:g}" cy="{y:g}" r="7"/></g>'
    if card.kind == "end":
        ring = f'<circle class="end" cx="{x:g}" cy="{y:g}" r="6" style="fill:none;stroke-width:2px"/>'
        return f'{begin}<title>end</title>{ring}<circle class="end" cx="{x:g}" cy="{y:g}" r="3"/></g>'
    kind = "step" if card.kind == "frame" else card.kind
    round_ = {"gate": high / 2, "ask": 10.0}.get(card.kind, 8.0)
    shape = (
        f'<rect class="{kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{high:g}" rx="{round_:g}"/>'
    )
    room = box.width - 16
    if card.kind == "frame":  # a card on a card: a whole graph lies behind it
        shape += (
            f'<rect class="frame" x="{box.x + 3:g}" y="{box.y + 3:g}" width="{box.width - 6:g}" '
            f'height="{high - 6:g}" rx="6"/>'
        )
    if card.kind == "gate":
        left, room, x = box.x + 16, box.width - 40, x + 7
        shape += f'<path class="gate" d="M{left - 5:g} {y:g}l5 -5 5 5 -5 5z" style="stroke-width:1.5px"/>'
    if card.kind == "ask":
        left, room, x = box.x + 17, box.width - 40, x + 8
        shape += (
            f'<path class="ask" style="stroke-width:1.5px" d="M{left - 6:g} {y + 8:g}a6 6.5 0 0 1 12 0z'
            f'M{left - 3:g} {y - 4:g}a3 3 0 1 1 6 0 3 3 0 1 1 -6 0z"/>'
        )
    if card.note:
        text = _text("text", card.label, LABEL, x, y - 7, room) + _text("note", card.note, NOTE, x, y + 8, room)
    else:
        text = _text("text", card.label, LABEL, x, y, room)
    return f"{begin}{shape}{text}</g>"


def _lines(plan: Layout) -> Iterable[str]:
    """The arrows. Where some share a line, it is painted once, in the first one's manner: else it would look bolder."""
    both = {route.points[::-1] for route in plan.routes if route.role == "return"}
    met = {points[0] for points in both}  # a tip there: no line may stick out of it
    ink, tips = _Ink(), dict[str, str]()
    for role, maybe in (("forward", False), ("forward", True), ("back", None), ("bypass", False), ("bypass", True)):
        for route in plan.routes:
            if route.role == role and maybe in (None, route.arrow.conditional):
                if fresh := ink.fresh(_shortened(route.points, route.points[0] in met)):
                    yield f'<path class="{role}{" maybe" if maybe else ""}" d="{_rounded(fresh)}"/>'
                tips.setdefault(_tip(route.points), role)
                if route.points in both:
                    tips.setdefault(_tip(route.points[::-1]), role)
    for role in sorted(set(tips.values())):
        yield f'<path class="{role}tip" d="{"".join(tip for tip, other in tips.items() if other == role)}"/>'


class _Ink:
    """What is painted already: spans on horizontal and vertical lines."""

    def __init__(self) -> None:
        self.spans: dict[tuple[int, float], list[tuple[float, float]]] = {}

    def fresh(self, points: tuple[Point, ...]) -> tuple[Point, ...]:
        """The part of a way that is not painted yet, with a little of the shared line before and after its bends."""
        first = self._painted(points)
        if first is None:
            return ()
        last = self._painted(points[::-1])
        for a, b in pairwise(points):
            axis = int(a[0] == b[0])
            self.spans.setdefault((axis, a[1 - axis]), []).append((min(a[axis], b[axis]), max(a[axis], b[axis])))
        return _cut(_cut(points, first)[::-1], last or 0.0)[::-1]

    def _painted(self, points: tuple[Point, ...]) -> float | None:
        """How far from its beginning a way is painted; None for all of it."""
        length = 0.0
        for a, b in pairwise(points):
            axis = int(a[0] == b[0])
            at, end = a[axis], b[axis]
            turn = 1 if end >= at else -1
            moved = True
            while moved and (end - at) * turn > 0:
                moved = False
                for low, high in self.spans.get((axis, a[1 - axis]), ()):
                    if low <= at <= high and ((high if turn > 0 else low) - at) * turn > 0:
                        at, moved = high if turn > 0 else low, True
            if (end - at) * turn > 0:
                return max(length + abs(at - a[axis]) - _BEND, 0.0)
            length += abs(end - a[axis])
        return None


def _cut(points: tuple[Point, ...], length: float) -> tuple[Point, ...]:
    """The way without so much of its beginning."""
    for i, (a, b) in enumerate(pairwise(points)):
        part = abs(b[0] - a[0]) + abs(b[1] - a[1])
        if length < part:
            return (_towards(a, b, length), *points[i + 1 :])
        length -= part
    return points[-1:]


def _towards(a: Point, b: Point, length: float) -> Point:
    """The point that lies so far from `a` on the way to `b`."""
    whole = abs(b[0] - a[0]) + abs(b[1] - a[1]) or 1.0
    part = min(length / whole, 1.0)
    return (a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part)


def _shortened(points: tuple[Point, ...], both: bool) -> tuple[Point, ...]:
    """The line ends inside its tip, not at the card: a stroke would stick out of the point."""
    way = [*points[:-1], _towards(points[-1], points[-2], 4)]
    if both:
        way[0] = _towards(points[0], points[1], 4)
    return tuple(way)


def _rounded(points: tuple[Point, ...]) -> str:
    """The line with its corners rounded off."""
    path = [f"M{points[0][0]:g} {points[0][1]:g}"]
    last = len(points) - 1
    for i in range(1, last):
        corner = points[i]
        # Half of a side that two corners share, all of one that ends there.
        sides = ((points[i - 1], 1 if i == 1 else 2), (points[i + 1], 1 if i + 1 == last else 2))
        reach = min(_BEND, *((abs(x - corner[0]) + abs(y - corner[1])) / share for (x, y), share in sides))
        (x0, y0), (x1, y1) = _towards(corner, points[i - 1], reach), _towards(corner, points[i + 1], reach)
        path.append(f"L{x0:g} {y0:g}Q{corner[0]:g} {corner[1]:g} {x1:g} {y1:g}")
    path.append(f"L{points[last][0]:g} {points[last][1]:g}")
    return "".join(path)


def _tip(points: tuple[Point, ...]) -> str:
    (x, y), (a, b) = points[-1], _towards(points[-1], points[-2], 8)
    dx, dy = (b - y) / 2, (a - x) / 2
    return f"M{x:g} {y:g}L{a + dx:g} {b + dy:g}L{a - dx:g} {b - dy:g}z"


def _words(plan: Layout) -> Iterable[str]:
    for word in plan.words:
        back = any(plan.routes[i].role == "back" for i in word.arrows)
        box = word.box
        # The ground interrupts the line under the word.
        ground = f'<rect class="page" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"/>'
        kind = "backword" if back else "word"
        yield ground + _text(kind, word.text, WORD, box.x + box.width / 2, box.y + box.height / 2, box.width)


# Mermaid

_MERMAID_WORDS = {"class", "classdef", "click", "default", "end", "graph", "linkstyle", "style", "subgraph"}


def mermaid(drawing: Drawing) -> str:
    """The drawing as Mermaid text, for a README or an editor that renders it.

    >>> print(mermaid(Drawing((Card("a", "write"), Card("b", "check", "gate")), (Arrow("a", "b"),))))
    flowchart LR
        a("write")
        b{{"check"}}
        a --> b
    <BLANKLINE>
    """
    names: dict[str, str] = {}
    for card in (*drawing.cards, *drawing.frames):
        name = re.sub(r"[\W_]+", "_", plain(card.id), flags=re.ASCII).strip("_") or "node"
        name += "_" if name.lower() in _MERMAID_WORDS or name[0].isdigit() else ""
        while name in names.values():
            name += "_"
        names[card.id] = name
    frames = {frame.id: frame for frame in drawing.frames}

    def home(key: str) -> str:
        while ":" in key:
            key = key.rpartition(":")[0]
            if key in frames:
                return key
        return ""

    def inside(frame: str, indent: str) -> Iterable[str]:
        for card in drawing.cards:
            if home(card.id) == frame:
                yield indent + names[card.id] + _mermaid_shape(card)
        for child in drawing.frames:
            if home(child.id) == frame:
                yield f'{indent}subgraph {names[child.id]}["{_mermaid_text(child.label)}"]'
                yield from inside(child.id, indent + "    ")
                yield f"{indent}end"

    lines = [f"flowchart {'TD' if layout(drawing).direction == 'down' else 'LR'}", *inside("", "    ")]
    for arrow in drawing.arrows:
        if arrow.source in names and arrow.target in names:
            word = _mermaid_text(arrow.label)
            if word and (not re.fullmatch(r"[\w .-]+", word) or word.lower() in _MERMAID_WORDS):
                word = f'"{word}"'
            line = "-.->" if arrow.conditional else "-->"
            lines.append(f"    {names[arrow.source]} {line}{f'|{word}|' if word else ''} {names[arrow.target]}")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    return re.sub(r"[\"#<>&`|]", lambda sign: f"#{ord(sign[0])};", plain(text))


def _mermaid_shape(card: Card) -> str:
    label = _mermaid_text(card.label)
    if card.note:
        label += f"<br/>{_mermaid_text(card.note)}"
    left, right = {
        "start": ("((", "))"),
        "end": ("(((", ")))"),
        "gate": ("{{", "}}"),
        "ask": ("[/", "/]"),
        "frame": ("[[", "]]"),
    }.get(card.kind, ("(", ")"))
    return f'{left}"{label}"{right}'
