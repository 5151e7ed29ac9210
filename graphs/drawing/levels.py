"""A drawing as levels: what lies in a frame is a level of its own, and one unit to the level around it.

Levels speak of u (along the flow) and v (across it), so that both directions share one way of thinking. Low v is left
when the flow goes down, and below when it goes right: the side of what goes back. High v is the side of people to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from troupe.graphs.drawing.places import Point, Role
from troupe.graphs.drawing.scene import Scene


@dataclass(slots=True, eq=False)
class Spot:
    """Where arrows touch a unit: a card in it, or a hole in a border."""

    unit: Unit
    off: float = 0.0  # from the unit's own line
    du: float = 0.0  # half of its length along the flow
    dv: float = 0.0  # half of its breadth; 0 for a hole
    low: bool = False  # nothing else of the unit lies on its low side
    high: bool = False

    @property
    def v(self) -> float:
        """Its place across the flow."""
        return self.unit.v + self.off


@dataclass(slots=True, eq=False)
class Unit:
    """What takes one place in a layer: a card (with the person its gate may ask), a frame, a hole, a passing arrow."""

    kind: Literal["card", "frame", "in", "out", "pass"]
    du: float = 0.0
    lo: float = 6.0  # room from its own line to the low and to the high side
    hi: float = 6.0
    inner: Level | None = None
    layer: int = 0
    rank: int = 0  # within the layer
    v: float = 0.0


@dataclass(slots=True, eq=False)
class Edge:
    """The arrows between the same two spots."""

    tail: Spot
    head: Spot
    arrows: list[int] = field(default_factory=list)
    word: str = ""
    conditional: bool = True
    role: Role = "forward"
    path: list[Spot] = field(default_factory=list)  # of a forward one: from layer to layer
    points: list[Point] = field(default_factory=list)

    @property
    def short(self) -> bool:
        """Whether it goes back by one layer."""
        return self.tail.unit.layer == self.head.unit.layer + 1


@dataclass(slots=True, eq=False)
class Lane:
    """Edges that go back along one line, at `v`. `depth` counts from the cards outwards; 0 is a corner beside them."""

    edges: list[Edge]
    depth: int = 0
    v: float = 0.0


@dataclass(slots=True, eq=False)
class Level:
    """The units and edges of one frame, or of the page."""

    frame: str
    units: list[Unit] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    spots: dict[str, Spot] = field(default_factory=dict)  # of cards, and of holes in the frames inside
    holes: dict[str, Spot] = field(default_factory=dict)  # in its own border
    layers: list[list[Unit]] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    u: list[float] = field(default_factory=list)  # the middle of each layer
    corners: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # lowest u and v, highest u and v

    def free(self, unit: Unit, low: float, high: float) -> bool:
        """Whether nothing else of the unit's layer lies between the two places."""
        return not any(o is not unit and o.v - o.lo < high and low < o.v + o.hi for o in self.layers[unit.layer])

    def first(self, spot: Spot) -> bool:
        """Whether at most passing arrows lie between a spot and the low side of the level."""
        return spot.low and all(other.kind == "pass" for other in self.layers[spot.unit.layer][: spot.unit.rank])


def gather(scene: Scene, frame: str, arranged: Callable[[str], Level]) -> Level:
    """The units and edges of a level; `arranged` gives the finished level of a frame inside."""
    level, within = Level(frame), dict[str, str]()  # each card, and the card or frame that it is at this level
    room = 24 + max((scene.word(a.label)[1] for a in scene.arrows if a.target in scene.asked), default=0.0)
    for card in sorted(scene.cards.values(), key=lambda card: card.id in scene.asked):
        chain = (*scene.homes[card.id], card.id)
        if frame not in chain:
            continue
        key = chain[chain.index(frame) + 1]
        du, dv = scene.half(card)
        if key != card.id:
            if key not in within.values():
                _frame(level, arranged(key))
        elif gate := scene.asked.get(key):
            beside = level.spots[gate]
            unit, beside.high = beside.unit, False
            level.spots[key] = Spot(unit, unit.hi + room + dv, du, dv, high=True)
            unit.du, unit.hi = max(unit.du, du), unit.hi + room + 2 * dv
        else:
            level.units.append(Unit("card", du, dv, dv))
            level.spots[key] = Spot(level.units[-1], 0.0, du, dv, low=True, high=True)
        within[card.id] = key
    _join(scene, level, within)
    return level


def _frame(level: Level, inner: Level) -> None:
    """Make a unit of the level of a frame; its line is that of the first arrow that comes in."""
    u0, v0, u1, v1 = inner.corners
    line = next((hole.v for hole in inner.holes.values() if hole.unit.kind == "in"), (v0 + v1) / 2)
    unit = Unit("frame", (u1 - u0) / 2, line - v0, v1 - line, inner)
    level.units.append(unit)
    level.spots |= {key: Spot(unit, hole.v - line, unit.du) for key, hole in inner.holes.items()}


def _join(scene: Scene, level: Level, within: dict[str, str]) -> None:
    """The edges of a level; an arrow that crosses the border becomes one from or to a hole in it."""

    def spot(card: str, hole: str) -> Spot:
        return level.spots[card if within[card] == card else hole]

    def border(kind: Literal["in", "out"], hole: str) -> Spot:
        if hole not in level.holes:
            level.units.append(Unit(kind))
            level.holes[hole] = Spot(level.units[-1])
        return level.holes[hole]

    edges: dict[tuple[Spot, Spot], Edge] = {}
    for i, arrow in enumerate(scene.arrows):
        source, target = arrow.source, arrow.target
        if within.get(source) == within.get(target) != source:
            continue
        out, into = f":out:{source}", f":in:{target}"
        tail = spot(source, out) if source in within else border("in", into)
        head = spot(target, into) if target in within else border("out", out)
        edge = edges.setdefault((tail, head), Edge(tail, head))
        edge.arrows.append(i)
        edge.conditional = edge.conditional and arrow.conditional
        if source in within and target in within:
            edge.word = " · ".join(dict.fromkeys(filter(None, (*edge.word.split(" · "), arrow.label))))
    level.edges = list(edges.values())
