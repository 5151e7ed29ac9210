"""Where everything lies: a layered layout in plain Python.

Arrows run at right angles, in four kinds of room that cannot meet a card:

- the gap between two layers, where arrows that would lie on each other get a track each;
- a slot of its own in every layer that a long arrow passes, shared by all long arrows to the same card;
- the lanes beside the first card of each layer, where arrows go back;
- the corner beside a card, for a short way back and for an arrow to itself.

A frame is laid out first, by itself, and is then one big card to what lies around it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, pairwise

from troupe.graphs.drawing.cards import Arrow, Drawing
from troupe.graphs.drawing.columns import place_across
from troupe.graphs.drawing.lanes import choose
from troupe.graphs.drawing.layers import order, rank, thread
from troupe.graphs.drawing.levels import Level, Unit, gather
from troupe.graphs.drawing.measure import NOTE, WORD_HEIGHT, width
from troupe.graphs.drawing.places import Box, Direction, Layout, Point, Role, Route, Word
from troupe.graphs.drawing.scene import Scene
from troupe.graphs.drawing.ways import route
from troupe.graphs.drawing.words import place_words

_MOST_WIDTH = 960.0  # what is wider flows down: it would not fit a page
_MARGIN, _PAD, _HEADER, _TITLE = 16.0, 16.0, 24.0, 150.0


def layout(drawing: Drawing, direction: Direction | None = None) -> Layout:
    """Place a drawing; without a direction it flows right, or down when it is long.

    >>> from troupe.graphs.drawing import Arrow, Card
    >>> layout(Drawing((Card("a", "write"), Card("b", "check")), (Arrow("a", "b"),))).boxes["a"]
    Box(x=16.0, y=16.0, width=84.0, height=38.0)
    """
    scene = Scene(drawing, direction or "right")
    level = _ranked(scene, "")
    least = sum(max((2 * unit.du for unit in layer), default=0.0) for layer in _by_layer(level))
    down = _Other(drawing) if direction is None and least > _MOST_WIDTH else None
    if down is None or down.wide >= least:
        _placed(level, scene)
        wide = level.corners[2] - level.corners[0]
        if direction is None and wide > _MOST_WIDTH:
            down = down or _Other(drawing)
            if down.wide < wide:  # a layer of many cards is wider than many layers
                scene, level = down.scene, down.level
    else:  # whatever the other comes to, it is wider
        scene, level = down.scene, down.level
    page = _Page(scene)
    page.put(level, 0.0, 0.0)
    return page.layout()


@dataclass(frozen=True, slots=True)
class _Shape:
    """All that places depend on: sizes, not words, so that a picture that only changes its states is placed once."""

    drawing: Drawing = field(compare=False, repr=False)
    direction: Direction | None
    cards: tuple[tuple[object, ...], ...]
    frames: tuple[tuple[str, str], ...]
    arrows: tuple[Arrow, ...]

    @classmethod
    def of(cls, drawing: Drawing, direction: Direction | None) -> _Shape:
        scene = Scene(drawing, "right")
        cards = tuple((card.id, card.kind, scene.half(card)) for card in drawing.cards)
        frames = tuple((frame.id, frame.label) for frame in drawing.frames)
        return cls(drawing, direction, cards, frames, drawing.arrows)


def known(drawing: Drawing, direction: Direction | None = None) -> Layout:
    """The same as `layout`, kept for drawings of the same shape: a run is drawn again with each of its events."""
    return _kept(_Shape.of(drawing, direction))


@lru_cache(maxsize=128)
def _kept(shape: _Shape) -> Layout:
    return layout(shape.drawing, shape.direction)


class _Other:
    """The same drawing, flowing down."""

    def __init__(self, drawing: Drawing) -> None:
        self.scene = Scene(drawing, "down")
        self.level = _arranged(self.scene, "")
        self.wide = self.level.corners[3] - self.level.corners[1]


def _arranged(scene: Scene, frame: str) -> Level:
    """A level with everything in its place, frames inside it first."""
    level = _ranked(scene, frame)
    _placed(level, scene)
    return level


def _ranked(scene: Scene, frame: str) -> Level:
    """A level whose units know their layers."""
    level = gather(scene, frame, lambda inner: _arranged(scene, inner))
    rank(level, scene)
    return level


def _by_layer(level: Level) -> Iterable[list[Unit]]:
    layers = defaultdict[int, list[Unit]](list)
    for unit in level.units:
        layers[unit.layer].append(unit)
    return layers.values()


def _placed(level: Level, scene: Scene) -> None:
    """Put everything of a level in its place."""
    thread(level, scene)
    order(level)
    place_across(level, scene)
    choose(level, scene)
    route(level, scene)
    _border(level, scene)


def _border(level: Level, scene: Scene) -> None:
    """Find how far the level reaches, and let what leaves it reach the border."""
    points = [point for edge in level.edges for point in edge.points]
    for unit in chain.from_iterable(level.layers):
        u = level.u[unit.layer]
        points += [(u - unit.du, unit.v - unit.lo), (u + unit.du, unit.v + unit.hi)]
    for lane in level.lanes:
        points.append((points[0][0], lane.v - scene.word(lane.edges[0].word)[1] * (lane.depth > 0)))
    u0, v0, u1, v1 = _reach(points)
    if level.frame:
        title = min(width(scene.frames[level.frame].label, NOTE) + 24, _TITLE)
        u0, v0, u1, v1 = u0 - _PAD, v0 - _PAD, u1 + _PAD, v1 + _PAD
        if scene.down:
            u0 += _PAD - _HEADER
            v0 = min([v0, *(unit.v - title for unit in level.units if unit.kind == "in")])
        else:
            v1 += _HEADER - _PAD
            u1 = max(u1, u0 + _PAD + title)
    level.corners = u0, v0, u1, v1
    for edge in level.edges:
        if edge.tail.unit.kind == "in":
            edge.points.insert(0, (u0, edge.tail.v))
        if edge.head.unit.kind == "out":
            edge.points.append((u1, edge.head.v))


class _Page:
    """All levels in x and y, from wherever the first of them begins."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.boxes: dict[str, Box] = {}
        self.frames: dict[str, Box] = {}
        self.ways: dict[int, list[Point]] = {}
        self.roles: dict[int, Role] = {}
        self.said: list[tuple[str, list[int]]] = []

    def put(self, level: Level, u: float, v: float) -> None:
        """Put a level on the page, and the levels inside it. Ways through borders are joined from both sides."""
        u, v = u - level.corners[0], v - level.corners[1]
        for edge in level.edges:
            part = [self._turned(p + u, q + v) for p, q in edge.points]
            for i in edge.arrows:
                way = self.ways.get(i, [])
                self.ways[i] = way + part if edge.tail.unit.kind == "in" else part + way
                self.roles.setdefault(i, edge.role)
        self.said += _said(level)
        for key, spot in level.spots.items():
            if spot.unit.kind == "card":
                middle, line = level.u[spot.unit.layer] + u, spot.v + v
                self.boxes[key] = self._box(middle - spot.du, line - spot.dv, middle + spot.du, line + spot.dv)
        for unit in level.units:
            if unit.inner:
                middle, line = level.u[unit.layer] + u, unit.v + v
                corner = middle - unit.du, line - unit.lo
                self.frames[unit.inner.frame] = self._box(*corner, middle + unit.du, line + unit.hi)
                self.put(unit.inner, *corner)

    def _turned(self, u: float, v: float) -> Point:
        return (v, u) if self.scene.down else (u, -v)

    def _box(self, *corners: float) -> Box:
        x, y, right, bottom = _reach([self._turned(*corners[:2]), self._turned(*corners[2:])])
        return Box(x, y, right - x, bottom - y)

    def layout(self) -> Layout:
        """The page with its words, moved to the upper left corner."""
        titles = {
            key: Box(f.x + 12, f.y + 5, min(width(self.scene.frames[key].label, NOTE), f.width - 24), WORD_HEIGHT)
            for key, f in self.frames.items()
        }
        words = place_words(self.said, self.ways, [*self.boxes.values(), *titles.values()], self.frames.values())
        shapes = [*self.boxes.values(), *self.frames.values(), *(word.box for word in words)]
        corners = (((box.x, box.y), (box.right, box.bottom)) for box in shapes)
        left, top, right, bottom = _reach(chain(*self.ways.values(), *corners))

        def moved(x: float, y: float) -> Point:
            return round(x - left + _MARGIN, 1), round(y - top + _MARGIN, 1)

        def put(box: Box) -> Box:
            return Box(*moved(box.x, box.y), round(box.width, 1), round(box.height, 1))

        ways = {i: _straight([moved(*point) for point in way]) for i, way in self.ways.items()}
        wide, high = moved(right + _MARGIN, bottom + _MARGIN)
        return Layout(
            width=wide,
            height=high,
            direction="down" if self.scene.down else "right",
            boxes={key: put(box) for key, box in self.boxes.items()},
            frames={key: put(box) for key, box in self.frames.items()},
            titles={key: put(box) for key, box in titles.items()},
            routes=tuple(Route(arrow, ways[i], self.roles[i]) for i, arrow in enumerate(self.scene.arrows)),
            words=tuple(Word(word.text, put(word.box), word.arrows) for word in words),
        )


def _said(level: Level) -> Iterable[tuple[str, list[int]]]:
    """The words of a level: one for a lane, one for long edges that share both word and target."""
    said: dict[object, tuple[str, list[int]]] = {}
    lanes = {edge: lane for lane in level.lanes for edge in lane.edges}
    for edge in level.edges:
        if edge.word:
            bypass = (edge.head, edge.conditional, edge.word)
            key = bypass if edge.role == "bypass" else lanes.get(edge, edge)
            said.setdefault(key, (edge.word, []))[1].extend(edge.arrows)
    return said.values()


def _reach(points: Iterable[Point]) -> tuple[float, float, float, float]:
    """The lowest of both numbers, and the highest."""
    x, y = tuple(zip(*points, strict=True)) or ((0.0,), (0.0,))
    return min(x), min(y), max(x), max(y)


def _straight(way: list[Point]) -> tuple[Point, ...]:
    """The corners only."""
    way = [a for a, b in pairwise((*way, None)) if a and a != b]
    turns = (b for a, b, c in zip(way, way[1:], way[2:], strict=False) if a[0] != c[0] and a[1] != c[1])
    return (way[0], *turns, way[-1])
