"""Where the cards of a drawing lie, and how its arrows run between them: a layered layout in plain Python.

Everything is computed along the flow (`u`) and across it (`v`), and turned to x and y at the very end, so the two
directions share one code path. Arrows run at right angles, in four kinds of room that cannot meet a card:

- the gap between two layers, where arrows that would lie on each other get a track each;
- a slot of its own in every layer that a long arrow passes, shared by all long arrows to the same card;
- the lanes beside the first card of each layer, where arrows go back. Arrows with the same word share a lane
  when that says nothing untrue: from every entry one may indeed go back to every exit before it;
- the corner beside a card, for a short way back and for an arrow to itself.

A frame is laid out first, by itself, and is then one big card to what lies around it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from troupe.graphs.drawing import Arrow, Card, Drawing

Direction = Literal["down", "right"]
Role = Literal["forward", "bypass", "back", "return"]
Point = tuple[float, float]
_End = Literal["tail", "head"]
_Leg = tuple[int, float, float, str]  # a gap, the places where a line enters and leaves it, and the line's name
_Place = tuple[float, float, float, float]  # u, v, and the sizes along them

LABEL, NOTE, WORD = 13.0, 11.0, 11.0  # font sizes: a card's label, its second line, an arrow's label
WORD_HEIGHT = 15.0
MOST_LAYERS, MOST_WIDTH = 8, 960.0  # a graph longer than that flows down: it would not fit the width of a page

_MARGIN, _PAD, _HEADER = 16.0, 16.0, 24.0
_LANE, _TRACK, _LOOP = 14.0, 12.0, 15.0
_WIDEST = {"step": 190.0, "frame": 190.0, "gate": 190.0, "ask": 190.0}
_WORD_WIDEST = 110.0
_HIDES = 1000.0  # the cost of a place where a word would hide a card or another word
_IN, _OUT = ":in:", ":out:"  # holes in a frame; no node of LangGraph has a colon in its name


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of the right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of the lower side."""
        return self.y + self.height

    def overlaps(self, other: Box) -> bool:
        """Whether the two share more than a border."""
        return self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom

    def holds(self, other: Box) -> bool:
        """Whether `other` lies wholly inside."""
        return self.x <= other.x and other.right <= self.right and self.y <= other.y and other.bottom <= self.bottom


@dataclass(frozen=True, slots=True)
class Route:
    """An arrow's way, as the corners of a right-angled line from border to border.

    `role` is "bypass" for an arrow that passes other layers, "back" for one against the flow, and "return" for one
    that goes back along the very line of the arrow that came.
    """

    arrow: Arrow
    points: tuple[Point, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class Word:
    """A word on an arrow, or once for several arrows that share a line; `arrows` are indices into the routes."""

    text: str
    box: Box
    arrows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing with its places: what `svg` paints, and what a test can measure.

    Routes stand in the order of the drawing's arrows, one each, so that a run can light up the ones it took.
    """

    width: float
    height: float
    direction: Direction
    boxes: Mapping[str, Box]
    frames: Mapping[str, Box]
    titles: Mapping[str, Box]
    routes: tuple[Route, ...]
    words: tuple[Word, ...]


@cache
def width(text: str, size: float) -> float:
    """The estimated width of a text in a common sans-serif font, a little on the generous side."""
    return sum(_em(letter) for letter in text) * size


def _em(letter: str) -> float:
    if letter in "iljI.,:;'|!()[]ft ":
        return 0.34
    if unicodedata.combining(letter) or unicodedata.category(letter) == "Cf":
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in "mwMW@%":
        return 0.92
    return 0.7 if letter.isupper() else 0.58


def shorten(text: str, size: float, room: float) -> str:
    """The text, or as much as fits the room with an ellipsis; the ending of a dotted name stays ("fronte….gate")."""
    if width(text, size) <= room:
        return text
    text, dot, ending = text.rpartition(".")
    if not (text and 1 < len(ending) <= 6):
        text, ending = text + dot + ending, ""
    tail = "…" + (dot + ending if ending else "")
    while text and width(text + tail, size) + size * 0.3 > room:
        text = text[:-1]
    return text.rstrip() + tail


def layout(drawing: Drawing, direction: Direction | None = None) -> Layout:
    """Place a drawing; without a direction it flows right, or down when it is long.

    >>> from troupe.graphs.drawing import Arrow, Card, Drawing
    >>> layout(Drawing((Card("a", "write"), Card("b", "check")), (Arrow("a", "b"),))).boxes["a"]
    Box(x=16.0, y=16.0, width=84.0, height=38.0)
    """
    return _Plan(drawing, direction).layout()


# The working parts below speak of u (along the flow) and v (across it). Low v is left when the flow goes down, and
# below when it goes right: the side of the lanes. High v is the side of people to ask and of long arrows.


@dataclass(slots=True, eq=False)
class _Spot:
    """Where arrows touch a unit: a card in it, or a hole in a frame."""

    v: float  # from the unit's anchor
    du: float  # half of its length along the flow
    dv: float  # half of its breadth; 0 for a hole
    low: bool = False  # nothing else of the unit lies on its low side
    high: bool = False


@dataclass(slots=True, eq=False)
class _Unit:
    """What takes one place in a layer: a card (with the person its gate may ask), a frame, a hole, a passing arrow."""

    key: str
    du: float = 0.0  # half
    lo: float = 6.0  # room from the anchor to the low and to the high side
    hi: float = 6.0
    spots: dict[str, _Spot] = field(default_factory=dict)
    block: _Block | None = None
    passing: bool = False
    hole: Literal["", "in", "out"] = ""
    layer: int = 0
    rank: int = 0
    v: float = 0.0


@dataclass(slots=True, eq=False)
class _Edge:
    """The arrows between the same two cards, as one level sees them."""

    source: str
    target: str
    arrows: list[int]
    word: str
    conditional: bool
    tail: _Unit
    head: _Unit
    leave: _Spot  # on the tail
    enter: _Spot  # on the head
    role: Role = "forward"
    path: list[_Unit] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Lane:
    """Edges that go back along one line; `lane` counts from the cards outwards."""

    edges: list[_Edge]
    lane: int = 0
    v: float = 0.0


@dataclass(slots=True, eq=False)
class _Block:
    """A finished level: sizes and places from its own corner, in u and v."""

    du: float
    dv: float
    boxes: dict[str, _Place]
    frames: dict[str, _Place]
    ways: dict[int, list[Point]]  # of arrows within
    holes: dict[str, list[Point]]  # from the border to a card inside, or back out


def _rank(keys: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Layers by the longest path, not counting what leads back.

    That is what leads into the first card of a circle from within it, and so on in what then is left.
    """
    after: dict[str, list[str]] = {key: [] for key in keys}
    before: dict[str, list[str]] = {key: [] for key in keys}
    for source, target in dict.fromkeys(pairs):
        if source != target:
            after[source].append(target)
            before[target].append(source)
    far = [key for key in keys if not before[key]] or list(keys[:1])
    seen = set(far)
    for key in far:  # grows: in the order of distance from the start
        fresh = [target for target in after[key] if target not in seen]
        far += fresh
        seen.update(fresh)
    nearness = {key: place for place, key in enumerate([*far, *(key for key in keys if key not in seen)])}
    back = set[tuple[str, str]]()
    work = [set(keys)]
    while work:
        for circle in _circles(work.pop(), after, before, back):
            entries = [k for k in circle if any(b not in circle and (b, k) not in back for b in before[k])]
            entry = min(entries or circle, key=lambda key: nearness[key])
            back |= {(source, entry) for source in before[entry] if source in circle}
            work.append(circle)
    layers = dict.fromkeys(keys, 0)
    waiting = {key: sum((source, key) not in back for source in before[key]) for key in keys}
    ready = [key for key in keys if not waiting[key]]
    for key in ready:
        for target in after[key]:
            if (key, target) not in back:
                layers[target] = max(layers[target], layers[key] + 1)
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
    return layers


def _circles(
    among: set[str], after: Mapping[str, list[str]], before: Mapping[str, list[str]], cut: set[tuple[str, str]]
) -> list[set[str]]:
    """The groups of two and more in which each reaches each other (Kosaraju, without recursion)."""
    done: dict[str, None] = {}
    met = set[str]()
    for root in sorted(among):
        stack = [(root, False)]
        while stack:
            key, finished = stack.pop()
            if finished:
                done[key] = None
            elif key in among and key not in met:
                met.add(key)
                stack.append((key, True))
                stack += [(target, False) for target in after[key] if (key, target) not in cut]
    left, circles = set(among), list[set[str]]()
    for root in reversed(done):
        circle, stack_ = set[str](), [root]
        while stack_:
            key = stack_.pop()
            if key in left:
                left.discard(key)
                circle.add(key)
                stack_ += [source for source in before[key] if (source, key) not in cut]
        if len(circle) > 1:
            circles.append(circle)
    return circles


class _Plan:
    """What all levels of one drawing share: sizes, the direction, who lies in which frame."""

    def __init__(self, drawing: Drawing, direction: Direction | None) -> None:
        self.drawing = drawing
        self.cards = {card.id: card for card in drawing.cards}
        self.arrows = [
            (i, a) for i, a in enumerate(drawing.arrows) if a.source in self.cards and a.target in self.cards
        ]
        self.frames = {frame.id: frame for frame in drawing.frames}
        self.home = {key: self._frame_of(key) for key in [*self.cards, *self.frames]}
        self.asked = self._asked()
        self.breadth = self._breadths()
        if direction is None:
            place = {key: self.asked.get(key, key) for key in self.cards}
            pairs = [(place[a.source], place[a.target]) for _, a in self.arrows]
            layers = _rank(list(dict.fromkeys(place.values())), pairs)
            wide: dict[int, float] = defaultdict(float)
            for key, layer in layers.items():
                wide[layer] = max(wide[layer], self.breadth[self.cards[key].kind])
            across = sum(wide.values()) + 50 * len(wide)
            direction = "down" if len(wide) > MOST_LAYERS or across > MOST_WIDTH else "right"
        self.direction: Direction = direction
        self.words: list[tuple[str, list[int]]] = []
        self.roles: dict[int, Role] = {}

    def _frame_of(self, key: str) -> str:
        while ":" in key:
            key = key.rpartition(":")[0]
            if key in self.frames:
                return key
        return ""

    def _asked(self) -> dict[str, str]:
        """A person that only one gate asks stands beside that gate, and takes no layer."""
        askers: dict[str, set[str]] = defaultdict(set)
        for _, arrow in self.arrows:
            askers[arrow.target].add(arrow.source)
        asked: dict[str, str] = {}
        for card in self.drawing.cards:
            if card.kind == "ask" and len(askers[card.id]) == 1:
                (gate,) = askers[card.id]
                near = self.cards[gate].kind == "gate" and self.home[gate] == self.home[card.id]
                if near and gate not in asked.values():
                    asked[card.id] = gate
        return asked

    def _breadths(self) -> dict[str, float]:
        """Cards of a kind are of one width: a column of them then has straight sides."""
        wide: dict[str, float] = defaultdict(float)
        for card in self.drawing.cards:
            if card.kind in ("start", "end"):
                wide[card.kind] = 14.0
                continue
            room = 44.0 if card.kind in ("ask", "gate") else 28.0
            need = max(width(card.label, LABEL), width(card.note, NOTE)) + room
            wide[card.kind] = max(wide[card.kind], need, 84.0)
        return {kind: min(need, _WIDEST.get(kind, need)) for kind, need in wide.items()}

    def size(self, card: Card) -> tuple[float, float]:
        """Half of the card's length and breadth: along the flow, and across it."""
        if card.kind in ("start", "end"):
            return 7.0, 7.0
        high = {"gate": 14.0, "ask": 16.0}.get(card.kind, 19.0) + (6.0 if card.note else 0.0)
        half = round(self.breadth[card.kind] / 2)
        return self.turned(half, high)

    def turned(self, across: float, up: float) -> tuple[float, float]:
        """A width and a height, as (along the flow, across it)."""
        return (up, across) if self.direction == "down" else (across, up)

    def word_size(self, word: str) -> tuple[float, float]:
        """The length and breadth of an arrow's word with a little air, along the flow and across it."""
        return self.turned(min(width(word, WORD), _WORD_WIDEST) + 8, WORD_HEIGHT) if word else (0.0, 0.0)

    def layout(self) -> Layout:
        block = _Level(self, "").arrange()
        down = self.direction == "down"

        def box(place: _Place) -> Box:
            u, v, du, dv = place
            return Box(v, u, dv, du) if down else Box(u, block.dv - v - dv, du, dv)

        boxes = {key: box(place) for key, place in block.boxes.items()}
        frames = {key: box(block.frames[key]) for key in self.frames if key in block.frames}
        ways = {i: [(v, u) if down else (u, block.dv - v) for u, v in way] for i, way in block.ways.items()}
        titles = {
            key: Box(f.x + 12, f.y + 5, min(width(self.frames[key].label, NOTE), f.width - 24), WORD_HEIGHT)
            for key, f in frames.items()
        }
        words = _place_words(self.words, ways, boxes, frames, titles)
        shapes = [*boxes.values(), *frames.values(), *(word.box for word in words)]
        spots = [spot for way in ways.values() for spot in way]
        left = min([s.x for s in shapes] + [x for x, _ in spots], default=0) - _MARGIN
        top = min([s.y for s in shapes] + [y for _, y in spots], default=0) - _MARGIN
        right = max([s.right for s in shapes] + [x for x, _ in spots], default=0) + _MARGIN
        bottom = max([s.bottom for s in shapes] + [y for _, y in spots], default=0) + _MARGIN

        def moved(b: Box) -> Box:
            return Box(*(round(float(n), 1) for n in (b.x - left, b.y - top, b.width, b.height)))

        routes = tuple(
            Route(arrow, tuple((round(x - left, 1), round(y - top, 1)) for x, y in ways[i]), self.roles[i])
            for i, arrow in self.arrows
        )
        number = {i: n for n, (i, _) in enumerate(self.arrows)}
        return Layout(
            width=round(right - left, 1),
            height=round(bottom - top, 1),
            direction=self.direction,
            boxes={key: moved(b) for key, b in boxes.items()},
            frames={key: moved(b) for key, b in frames.items()},
            titles={key: moved(b) for key, b in titles.items()},
            routes=routes,
            words=tuple(Word(w.text, moved(w.box), tuple(number[i] for i in w.arrows)) for w in words),
        )


class _Level:
    """One frame's cards (or the drawing's own), arranged: layers, order, places, lanes, tracks, ways."""

    def __init__(self, plan: _Plan, frame: str) -> None:
        self.plan, self.frame = plan, frame
        self.units: dict[str, _Unit] = {}
        self.owner: dict[str, _Unit] = {}  # card or hole -> its unit
        self._gather_units()
        self.edges = self._gather_edges()
        self.layers: list[list[_Unit]] = []

    # Units and edges

    def _gather_units(self) -> None:
        plan = self.plan
        gap = 24 + max((plan.word_size(a.label)[1] for _, a in plan.arrows if a.target in plan.asked), default=0.0)
        for card in plan.drawing.cards:
            home, child = plan.home[card.id], ""
            while home not in (self.frame, ""):
                home, child = plan.home[home], home
            if home != self.frame:
                continue
            if child:
                if child not in self.units:
                    self.units[child] = self._frame_unit(child)
                self.owner[card.id] = self.units[child]
            elif card.id not in plan.asked:
                du, dv = plan.size(card)
                unit = self.units[card.id] = _Unit(card.id, du, dv, dv, {card.id: _Spot(0, du, dv, True, True)})
                self.owner[card.id] = unit
        for asked, gate in plan.asked.items():
            if plan.home[asked] == self.frame:
                unit = self.owner[asked] = self.units[gate]
                du, dv = plan.size(plan.cards[asked])
                unit.spots[gate].high = False
                unit.spots[asked] = _Spot(unit.hi + gap + dv, du, dv, False, True)
                unit.du, unit.hi = max(unit.du, du), unit.hi + gap + 2 * dv

    def _frame_unit(self, frame: str) -> _Unit:
        block = _Level(self.plan, frame).arrange()
        ins = [way[0][1] for key, way in block.holes.items() if key.startswith(_IN)]
        anchor = ins[0] if ins else block.dv / 2
        unit = _Unit(frame, block.du / 2, anchor, block.dv - anchor, block=block)
        for key, way in block.holes.items():
            side = 0 if key.startswith(_IN) else -1
            unit.spots[key] = _Spot(way[side][1] - anchor, unit.du, 0)
        return unit

    def _gather_edges(self) -> list[_Edge]:
        """The arrows inside; those that cross the border become edges from or to a hole in it."""
        inside, found = self.owner, dict[tuple[str, str], _Edge]()

        def add(source: str, target: str, index: int | None, arrow: Arrow) -> None:
            edge = found.get((source, target))
            if edge is None:
                tail, head = self.owner[source], self.owner[target]
                leave = tail.spots[source if tail.block is None else _OUT + source]
                enter = head.spots[target if head.block is None else _IN + target]
                edge = _Edge(source, target, [], "", arrow.conditional, tail, head, leave, enter)
                found[source, target] = edge
            if index is not None:
                edge.arrows.append(index)
                words = [*(edge.word.split(" · ") if edge.word else []), arrow.label]
                edge.word = " · ".join(dict.fromkeys(word for word in words if word))
                edge.conditional = edge.conditional and arrow.conditional

        for index, arrow in self.plan.arrows:
            source, target = arrow.source in inside, arrow.target in inside
            if source and target:
                tail, head = inside[arrow.source], inside[arrow.target]
                if tail is not head or tail.block is None:
                    add(arrow.source, arrow.target, index, arrow)
            elif self.frame and (source or target):
                hole = _IN + arrow.target if target else _OUT + arrow.source
                if hole not in self.owner:
                    unit = _Unit(hole, spots={hole: _Spot(0, 0, 0)}, hole="in" if target else "out")
                    self.units[hole] = self.owner[hole] = unit
                if target:
                    add(hole, arrow.target, None, arrow)
                else:
                    add(arrow.source, hole, None, arrow)
        return list(found.values())

    def arrange(self) -> _Block:
        self._layer()
        self._sort_out_backs()
        self._thread()
        self._order()
        self._place_across()
        lanes, near = self._choose_lanes()
        self._place_lanes(lanes)
        self._route(lanes, near)
        return self._finish(lanes)

    # Layers

    def _layer(self) -> None:
        keys = [key for key, unit in self.units.items() if unit.hole != "out"]
        keys.sort(key=lambda key: self.units[key].hole != "in")
        pairs = [(e.tail.key, e.head.key) for e in self.edges if e.head.hole != "out"]
        layers = _rank(keys, pairs)
        last = max(layers.values(), default=-1)
        for key, unit in self.units.items():
            unit.layer = layers.get(key, last + 1)
        for edge in self.edges:
            if edge.tail.layer >= edge.head.layer:
                edge.role = "back"

    def _sort_out_backs(self) -> None:
        """Make room for the short ways back, and let a wordless answer return along the line of its question."""
        there = {(e.source, e.target): e for e in self.edges if e.role == "forward" or e.tail is e.head}
        for edge in self.edges:
            tail, head = edge.leave, edge.enter
            if edge.source == edge.target:
                edge.tail.hi += 20 + self.plan.word_size(edge.word)[1]
            elif edge.role == "back" and (edge.target, edge.source) in there:
                question = there[edge.target, edge.source]
                if edge.tail is edge.head:
                    edge.role = "return" if edge.tail.spots[edge.source].v > 0 else "forward"
                elif not (edge.word or edge.tail.block or edge.head.block):
                    edge.role = "return" if edge.tail.layer == question.tail.layer + 1 else "back"
            elif edge.tail is edge.head:
                edge.role = "forward"
            if edge.role == "back" and edge.tail.layer == edge.head.layer + 1 and tail.low and head.low:
                edge.tail.lo = max(edge.tail.lo, tail.dv + _LOOP + 3)
                edge.head.lo = max(edge.head.lo, head.dv + _LOOP + 3)

    def _thread(self) -> None:
        """Give each forward edge the units it passes; long edges to one card share their slots."""
        slots: dict[tuple[str, bool, int], _Unit] = {}
        self.shared: dict[tuple[str, bool], list[_Edge]] = defaultdict(list)
        for edge in self.edges:
            if edge.role != "forward" or edge.tail is edge.head:
                continue
            edge.path = [edge.tail]
            for layer in range(edge.tail.layer + 1, edge.head.layer):
                slot = (edge.target, edge.conditional, layer)
                if slot not in slots:
                    slots[slot] = _Unit(f":pass:{len(slots)}", lo=10, hi=10, passing=True, layer=layer)
                edge.path.append(slots[slot])
            edge.path.append(edge.head)
            if len(edge.path) > 2:
                edge.role = "bypass"
                self.shared[edge.target, edge.conditional].append(edge)
        for edges in self.shared.values():
            first = min((e for e in edges), key=lambda e: e.tail.layer)
            first.path[1].hi += max(self.plan.word_size(e.word)[1] for e in edges)
        units = [*self.units.values()]
        if self.plan.direction == "right":
            units.reverse()  # low v is below there, and the first card should be on top
        self.layers = [[] for _ in range(max((u.layer for u in units), default=-1) + 1)]
        for unit in [*units, *slots.values()]:
            self.layers[unit.layer].append(unit)
        self._renumber()

    def _renumber(self) -> None:
        for layer in self.layers:
            for rank, unit in enumerate(layer):
                unit.rank = rank

    # Order within a layer

    def _pieces(self) -> Iterator[tuple[_Unit, float, _Unit, float]]:
        """Each step of an edge from a layer to the next, once: the unit and the offset where it leaves and arrives."""
        seen = set[tuple[str, float, str, float]]()
        for edge in self.edges:
            for i, (a, b) in enumerate(pairwise(edge.path)):
                out = edge.leave.v if i == 0 else 0.0
                into = edge.enter.v if b is edge.head else 0.0
                if (a.key, out, b.key, into) not in seen:
                    seen.add((a.key, out, b.key, into))
                    yield a, out, b, into

    def _order(self) -> None:
        """Fewer crossings by the barycentre of the neighbours; the order as written stays unless another is better."""
        before: dict[_Unit, list[_Unit]] = defaultdict(list)
        after: dict[_Unit, list[_Unit]] = defaultdict(list)
        for a, _, b, _ in self._pieces():
            after[a].append(b)
            before[b].append(a)

        def crossings() -> int:
            count = 0
            for layer in self.layers[:-1]:
                ends = [b.rank for a in layer for b in sorted(after[a], key=lambda b: b.rank)]
                count += sum(x > y for i, x in enumerate(ends) for y in ends[i + 1 :])
            return count

        best, fewest = [list(layer) for layer in self.layers], crossings()
        for sweep in range(6):
            if not fewest:
                break
            down = sweep % 2 == 0
            near = before if down else after
            for layer in self.layers if down else self.layers[::-1]:
                layer.sort(key=lambda u: sum(n.rank for n in near[u]) / len(near[u]) if near[u] else u.rank)
                for rank, unit in enumerate(layer):
                    unit.rank = rank
            if (now := crossings()) < fewest:
                best, fewest = [list(layer) for layer in self.layers], now
        self.layers = best
        self._renumber()

    # Places across the flow

    def _place_across(self) -> None:
        """Straight lines first: units that one line joins form a column; columns then move to where arrows pull."""
        pieces = list(self._pieces())
        above = self._columns(pieces)
        column: dict[_Unit, int] = {}
        offset: dict[_Unit, float] = {}
        count = 0
        for layer in self.layers:
            for unit in layer:
                if unit in above:
                    upper, shift = above[unit]
                    column[unit], offset[unit] = column[upper], offset[upper] + shift
                else:
                    column[unit], offset[unit], count = count, 0.0, count + 1
        apart: list[dict[int, float]] = [{} for _ in range(count)]  # column -> those on its low side, and how far
        beyond: list[dict[int, float]] = [{} for _ in range(count)]
        for layer in self.layers:
            for p, q in pairwise(layer):
                gap = 6.0 if p.passing or q.passing else self.plan.turned(20, 14)[1]
                need = offset[p] + p.hi + gap + q.lo - offset[q]
                a, b = column[p], column[q]
                need = max(need, apart[b].get(a, need))
                apart[b][a] = beyond[a][b] = need
        leaving, arriving = Counter(a for a, _, _, _ in pieces), Counter(b for _, _, b, _ in pieces)
        pulls: list[list[tuple[int, float, float]]] = [[] for _ in range(count)]
        for u, out, v, into in pieces:
            ca, cb = column[u], column[v]
            if ca != cb:
                weight = (0.5 if u.passing or v.passing else 1.0) / (leaving[u] * arriving[v])
                pulls[ca].append((cb, offset[v] + into - offset[u] - out, weight))
                pulls[cb].append((ca, offset[u] + out - offset[v] - into, weight))
        waiting = [len(low) for low in apart]
        order = [c for c in range(count) if not waiting[c]]
        for c in order:
            for other in beyond[c]:
                waiting[other] -= 1
                if not waiting[other]:
                    order.append(other)
        at = [0.0] * count
        for sweep in range(32):
            # All wish at once; the mean of making room upwards and downwards keeps distance and favours neither side.
            wish = list(at)
            for c in range(count):
                if pulls[c] and sweep:
                    wish[c] = sum((at[o] + d) * w for o, d, w in pulls[c]) / sum(w for _, _, w in pulls[c])
                    wish[c] += (at[c] - wish[c]) * 0.3
            up, down = list(wish), list(wish)
            for c in order:
                up[c] = max([wish[c], *(up[low] + need for low, need in apart[c].items())])
            for c in reversed(order):
                down[c] = min([wish[c], *(down[high] - need for high, need in beyond[c].items())])
            at = [(a + b) / 2 for a, b in zip(up, down, strict=True)]
        for unit, c in column.items():
            unit.v = round(at[c] + offset[unit])

    def _columns(self, pieces: list[tuple[_Unit, float, _Unit, float]]) -> dict[_Unit, tuple[_Unit, float]]:
        """Which unit stands exactly under which: a passing line is straight, then the middle of the real neighbours."""
        succ: dict[_Unit, dict[_Unit, None]] = defaultdict(dict)
        pred: dict[_Unit, dict[_Unit, None]] = defaultdict(dict)
        for a, _, b, _ in pieces:
            if a.passing == b.passing:
                succ[a][b] = pred[b][a] = None

        def middle(units: Iterable[_Unit]) -> _Unit | None:
            ranked = sorted(units, key=lambda u: u.rank)
            return ranked[len(ranked) // 2] if len(ranked) % 2 else None

        wishes: list[tuple[int, _Unit, float, _Unit]] = []
        for a, out, b, into in pieces:
            if a.passing and b.passing:
                wishes.append((0, a, 0.0, b))
            elif a.passing or b.passing:
                lonely = not pred[b] if a.passing else not succ[a]
                if lonely:
                    wishes.append((2, a, out - into, b))
            elif (out == 0 or a.block is not None) and middle(succ[a]) is b and middle(pred[b]) is a:
                wishes.append((1, a, out - into, b))
        above: dict[_Unit, tuple[_Unit, float]] = {}
        taken: dict[int, list[tuple[int, int]]] = defaultdict(list)
        used = set[_Unit]()
        for _, a, shift, b in sorted(wishes, key=lambda wish: wish[0]):
            if a in used or b in above:
                continue
            if any((a.rank - x) * (b.rank - y) < 0 for x, y in taken[a.layer]):
                continue
            above[b] = (a, shift)
            used.add(a)
            taken[a.layer].append((a.rank, b.rank))
        return above

    # Lanes for what goes back

    def _free(self, unit: _Unit, low: float, high: float) -> bool:
        """Whether nothing else of the unit's layer lies between the two places."""
        return not any(o is not unit and o.v - o.lo < high and low < o.v + o.hi for o in self.layers[unit.layer])

    def _first(self, unit: _Unit) -> bool:
        return all(other.passing for other in self.layers[unit.layer][: unit.rank])

    def _choose_lanes(self) -> tuple[list[_Lane], dict[_Edge, float]]:
        """The edges that need a lane, bundled; and those that get by with the corner beside their cards, and its v."""
        near: dict[_Edge, float] = {}
        rest: dict[str, list[_Edge]] = defaultdict(list)
        for edge in self.edges:
            if edge.role != "back" or edge.source == edge.target:
                continue
            tail, head = edge.leave, edge.enter
            if edge.tail.layer == edge.head.layer + 1:
                corner = min(edge.tail.v + tail.v - tail.dv, edge.head.v + head.v - head.dv) - _LOOP
                if tail.low and head.low:
                    if all(self._free(unit, corner - 4, unit.v) for unit in (edge.tail, edge.head)):
                        near[edge] = corner
                        continue
                elif tail.v > 0 and tail.dv and head.high:
                    v = edge.tail.v + tail.v
                    if v > edge.head.v + head.v + head.dv + 10 and self._free(edge.head, edge.head.v, v + 6):
                        near[edge] = v
                        continue
            rest[edge.word].append(edge)
        lanes: list[_Lane] = []
        known = {(self._exit(e), self._entry(e)) for e in self.edges if e.role == "back"}
        for edges in rest.values():
            exits, entries = {self._exit(e) for e in edges}, {self._entry(e) for e in edges}
            if all((x, y) in known for x in exits for y in entries if y < x):
                lanes.append(_Lane(edges))
                continue
            by_tail, by_head = defaultdict[str, list[_Edge]](list), defaultdict[str, list[_Edge]](list)
            for edge in edges:
                by_tail[edge.source].append(edge)
                by_head[edge.target].append(edge)
            bundles = by_head if len(by_head) < len(by_tail) else by_tail
            lanes += [_Lane(bundle) for bundle in bundles.values()]
        return lanes, near

    def _exit(self, edge: _Edge) -> float:
        """Where an edge enters the lanes, in layers: beside its card, or else in the gap after it."""
        return edge.tail.layer + (0.0 if edge.leave.low and self._first(edge.tail) else 0.5)

    def _entry(self, edge: _Edge) -> float:
        return edge.head.layer - (0.0 if edge.enter.low and self._first(edge.head) else 0.5)

    def _place_lanes(self, lanes: list[_Lane]) -> None:
        ends = {id(lane): (min(map(self._entry, lane.edges)), max(map(self._exit, lane.edges))) for lane in lanes}
        lanes.sort(key=lambda lane: (ends[id(lane)][1] - ends[id(lane)][0], ends[id(lane)]))
        taken: list[list[_Lane]] = []
        for lane in lanes:
            first, last = ends[id(lane)]
            for lane.lane, others in enumerate(taken):
                if all(last < ends[id(o)][0] or ends[id(o)][1] < first for o in others):
                    others.append(lane)
                    break
            else:
                lane.lane = len(taken)
                taken.append([lane])
        v = min((unit.v - unit.lo for layer in self.layers for unit in layer), default=0.0) - 3
        for others in taken:
            v -= _LANE
            for lane in others:
                lane.v = v
            v -= max(self.plan.word_size(lane.edges[0].word)[1] for lane in others)

    # Ways

    def _route(self, lanes: list[_Lane], near: dict[_Edge, float]) -> None:
        gaps = _Gaps(len(self.layers))
        legs = self._legs(gaps)
        sides = self._low_ports(lanes, near)
        crossings = self._crossings(gaps, lanes, sides)
        tracks, self.middle = gaps.measure([max((u.du for u in layer), default=0.0) for layer in self.layers])
        for edge in self.edges:
            if edge.source == edge.target:
                edge.points = self._loop(edge)
            elif edge.tail is edge.head:
                edge.points = self._beside(edge)
            elif edge.path:
                edge.points = self._ahead(edge, legs[edge], tracks)
            elif edge in near:
                edge.points = self._around(edge, near[edge], sides)
        for lane in lanes:
            for edge in lane.edges:
                ways: list[list[Point]] = []
                for end, unit, spot, sign in self._ends(edge):
                    u = self.middle[unit.layer]
                    if (edge, end) in sides:
                        u += sides[edge, end]
                        ways.append([(u, unit.v + spot.v - spot.dv), (u, lane.v)])
                    else:
                        gap, v, net = crossings[edge, end]
                        track = tracks[gap, net]
                        ways.append([(u + sign * spot.du, v), (track, v), (track, lane.v)])
                edge.points = ways[0] + ways[1][::-1]
        there = {(e.source, e.target): e for e in self.edges}
        for edge in self.edges:
            if edge.role == "return":
                edge.points = there[edge.target, edge.source].points[::-1]

    def _ends(self, edge: _Edge) -> tuple[tuple[_End, _Unit, _Spot, int], tuple[_End, _Unit, _Spot, int]]:
        return ("tail", edge.tail, edge.leave, 1), ("head", edge.head, edge.enter, -1)

    def _ports(self) -> dict[_Edge, float]:
        """Where on its card each forward edge begins, in v: the middle, as a rule."""
        plain = {edge.source for edge in self.edges if len(edge.path) == 2}
        ports, off = dict[_Edge, float](), dict[str, float]()
        for edge in self.edges:
            middle, end = edge.tail.v + edge.leave.v, edge.head.v + edge.enter.v
            if len(edge.path) == 2 and abs(end - middle) <= 10 < edge.leave.dv - 4:
                off[edge.source] = end - middle  # a straight line a little off the middle, rather than a tiny jog
        for edge in self.edges:
            ports[edge] = edge.tail.v + edge.leave.v
            if len(edge.path) > 2 and edge.source in plain:
                ports[edge] += min(edge.leave.dv * 0.55, 44) * (1 if edge.path[1].v > ports[edge] else -1)
            else:
                ports[edge] += off.get(edge.source, 0.0)
        return ports

    def _legs(self, gaps: _Gaps) -> dict[_Edge, list[_Leg]]:
        """The forward edges gap by gap. One that ends at the side of its card has no leg through the last gap."""
        ports = self._ports()
        steps: dict[_Edge, list[tuple[_Unit, float, _Unit, float]]] = {}
        leaving: dict[tuple[str, float], set[str]] = defaultdict(set)
        for edge in self.edges:
            stops = [unit.v for unit in edge.path]
            stops[:1], stops[-1:] = [ports[edge]], [edge.head.v + edge.enter.v]
            steps[edge] = [(a, stops[i], b, stops[i + 1]) for i, (a, b) in enumerate(pairwise(edge.path))]
            for a, v, b, _ in steps[edge]:
                leaving[a.key, v].add(b.key)
            if len(edge.path) > 2 and self._enters_aside(edge):
                steps[edge].pop()
        legs: dict[_Edge, list[_Leg]] = {}
        for edge in self.edges:
            legs[edge] = []
            for a, above, b, below in steps[edge]:
                many = len(leaving[a.key, above]) > 1
                net = f"from {a.key} {above}" if many else f"to {b.key} {below}"
                if above != below:
                    gaps.add(a.layer, net, above, below)
                if a is edge.tail and edge.word:
                    gaps.reserve(a.layer, self.plan.word_size(edge.word)[0], before=not many)
                legs[edge].append((a.layer, above, below, net))
        return legs

    def _crossings(
        self, gaps: _Gaps, lanes: list[_Lane], sides: dict[tuple[_Edge, _End], float]
    ) -> dict[tuple[_Edge, _End], tuple[int, float, str]]:
        """How an edge that cannot leave or reach its card at the low side gets to its lane: through a gap."""
        found: dict[tuple[_Edge, _End], tuple[int, float, str]] = {}
        for number, lane in enumerate(lanes):
            for edge in lane.edges:
                for end, unit, spot, _ in self._ends(edge):
                    if (edge, end) not in sides:
                        gap = unit.layer if end == "tail" else unit.layer - 1
                        v = unit.v + spot.v - min(spot.dv / 2, 24)
                        net = f"lane {number} {end} {unit.key} {spot.v}"
                        gaps.add(gap, net, *((v, lane.v) if end == "tail" else (lane.v, v)))
                        found[edge, end] = (gap, v, net)
        return found

    # The shapes of ways

    def _ahead(self, edge: _Edge, legs: list[_Leg], tracks: dict[tuple[int, str], float]) -> list[Point]:
        way = [(self.middle[edge.tail.layer] + edge.leave.du, legs[0][1] if legs else 0.0)]
        for gap, above, below, net in legs:
            if above != below:
                way += [(tracks[gap, net], above), (tracks[gap, net], below)]
        u, v = self.middle[edge.head.layer], edge.head.v + edge.enter.v
        if len(legs) < len(edge.path) - 1:
            return [*way, (u, way[-1][1]), (u, v + edge.enter.dv)]
        return [*way, (u - edge.enter.du, v)]

    def _beside(self, edge: _Edge) -> list[Point]:
        """Between a gate and the person it asks."""
        u, sign = self.middle[edge.tail.layer], 1 if edge.enter.v > edge.leave.v else -1
        leave, enter = edge.leave.v + sign * edge.leave.dv, edge.enter.v - sign * edge.enter.dv
        return [(u, edge.tail.v + leave), (u, edge.tail.v + enter)]

    def _loop(self, edge: _Edge) -> list[Point]:
        u, v = self.middle[edge.tail.layer], edge.tail.v + edge.leave.v + edge.leave.dv
        out = min(edge.leave.du / 2, 18.0)
        return [(u - out, v), (u - out, v + 16), (u + out, v + 16), (u + out, v)]

    def _around(self, edge: _Edge, v: float, sides: dict[tuple[_Edge, _End], float]) -> list[Point]:
        """The short way back: round the corner on the low side, or from a person straight to the step's high side."""
        (u0, v0), (u1, v1) = ((self.middle[unit.layer], unit.v + spot.v) for _, unit, spot, _ in self._ends(edge))
        if edge.leave.v > 0:
            return [(u0 - edge.leave.du, v0), (u1, v0), (u1, v1 + edge.enter.dv)]
        a, b = u0 + sides[edge, "tail"], u1 + sides[edge, "head"]
        return [(a, v0 - edge.leave.dv), (a, v), (b, v), (b, v1 - edge.enter.dv)]

    def _enters_aside(self, edge: _Edge) -> bool:
        """A long edge may end at the high side of its card, when nothing lies between: the way in stays clear."""
        head, v = edge.enter, edge.path[-2].v
        side = edge.head.v + head.v + head.dv
        return head.high and head.dv > 0 and v > side + 9 and self._free(edge.head, side + 1, v + 6)

    def _low_ports(self, lanes: list[_Lane], near: dict[_Edge, float]) -> dict[tuple[_Edge, _End], float]:
        """Where on a card's low side each line leaves and arrives, so that lines of different lanes do not cross."""
        wanted: dict[_Spot, dict[tuple[bool, int, int], list[tuple[_Edge, _End]]]] = defaultdict(dict)
        plans = [(lane.lane + 1, n + 1, e) for n, lane in enumerate(lanes) for e in lane.edges]
        plans += [(0, -n, e) for n, e in enumerate(near) if not e.leave.v > 0]
        for lane, number, edge in plans:
            for end, _, spot, _ in self._ends(edge):
                place = self._exit(edge) if end == "tail" else self._entry(edge)
                if place % 1 == 0 or lane == 0:
                    key = (end == "head", lane if end == "tail" else -lane, number)
                    wanted[spot].setdefault(key, []).append((edge, end))
        ports: dict[tuple[_Edge, _End], float] = {}
        for spot, keys in wanted.items():
            step = min(12.0, 2 * spot.du / (len(keys) + 1))
            for i, key in enumerate(sorted(keys)):
                for user in keys[key]:
                    ports[user] = round((i - (len(keys) - 1) / 2) * step, 1)
        return ports

    # The finished level

    def _finish(self, lanes: list[_Lane]) -> _Block:
        plan = self.plan
        self._say(lanes)
        boxes: dict[str, _Place] = {}
        frames: dict[str, _Place] = {}
        ways: dict[int, list[Point]] = {}
        holes: dict[str, list[Point]] = {}
        inner: dict[tuple[str, str], list[Point]] = {}
        for unit in self.units.values():
            u, v = self.middle[unit.layer], unit.v
            if unit.block is not None:
                u, v = u - unit.du, v - unit.lo
                for key, (bu, bv, du, dv) in unit.block.boxes.items():
                    boxes[key] = (bu + u, bv + v, du, dv)
                for key, (bu, bv, du, dv) in unit.block.frames.items():
                    frames[key] = (bu + u, bv + v, du, dv)
                frames[unit.key] = (u, v, unit.block.du, unit.block.dv)
                for arrow, way in unit.block.ways.items():
                    ways[arrow] = [(pu + u, pv + v) for pu, pv in way]
                for key, way in unit.block.holes.items():
                    inner[unit.key, key] = [(pu + u, pv + v) for pu, pv in way]
            elif unit.key in plan.cards:
                for key, spot in unit.spots.items():
                    boxes[key] = (u - spot.du, v + spot.v - spot.dv, 2 * spot.du, 2 * spot.dv)
        spread = [(u, v) for edge in self.edges for u, v in edge.points]
        for bu, bv, du, dv in [*boxes.values(), *frames.values()]:
            spread += [(bu, bv), (bu + du, bv + dv)]
        spread += [(self.middle[u.layer], v) for layer in self.layers for u in layer for v in (u.v - u.lo, u.v + u.hi)]
        spread += [(lane.edges[0].points[0][0], lane.v - plan.word_size(lane.edges[0].word)[1]) for lane in lanes]
        u0, u1 = min((u for u, _ in spread), default=0), max((u for u, _ in spread), default=0)
        v0, v1 = min((v for _, v in spread), default=0), max((v for _, v in spread), default=0)
        if self.frame:
            title = width(plan.frames[self.frame].label, NOTE) + 24
            lines = [unit.v for unit in self.units.values() if unit.hole == "in"]
            if plan.direction == "down":
                v0, v1, u0, u1 = v0 - _PAD, v1 + _PAD, u0 - _HEADER, u1 + _PAD
                v0 = min([v0, *(line - min(title, 150.0) for line in lines)])
            else:
                v0, v1, u0, u1 = v0 - _PAD, v1 + _HEADER, u0 - _PAD, max(u1 + _PAD, u0 + min(title, 150.0))
        for edge in self.edges:
            way = edge.points
            way = inner.get((edge.tail.key, _OUT + edge.source), [])[:-1] + way
            way = way + inner.get((edge.head.key, _IN + edge.target), [])[1:]
            if edge.tail.hole:
                way = [(u0, way[0][1]), *way]
                holes[edge.source] = way
            if edge.head.hole:
                way = [*way, (u1, way[-1][1])]
                holes[edge.target] = way
            for arrow in edge.arrows:
                ways[arrow] = way
                plan.roles[arrow] = edge.role

        def home(place: _Place) -> _Place:
            return (place[0] - u0, place[1] - v0, place[2], place[3])

        def straight(way: list[Point]) -> list[Point]:
            return _straight([(u - u0, v - v0) for u, v in way])

        return _Block(
            u1 - u0,
            v1 - v0,
            {key: home(place) for key, place in boxes.items()},
            {key: home(place) for key, place in frames.items()},
            {arrow: straight(way) for arrow, way in ways.items()},
            {key: straight(way) for key, way in holes.items()},
        )

    def _say(self, lanes: list[_Lane]) -> None:
        """The words of this level: one for a lane, one for long edges that share both word and target."""
        said: dict[object, tuple[str, list[int]]] = {}
        lane_of = {edge: n for n, lane in enumerate(lanes) for edge in lane.edges}
        for edge in self.edges:
            if edge.word:
                key: object = edge
                if edge in lane_of:
                    key = ("lane", lane_of[edge])
                elif edge.role == "bypass":
                    key = ("to", edge.target, edge.conditional, edge.word)
                said.setdefault(key, (edge.word, []))[1].extend(edge.arrows)
        self.plan.words += said.values()


class _Gaps:
    """The room between layers: which lines run across it, on which track, and how high it must be."""

    def __init__(self, layers: int) -> None:
        self.lines: dict[int, dict[str, list[Point]]] = {gap: {} for gap in range(-1, layers)}
        self.room: dict[int, tuple[float, float]] = dict.fromkeys(range(-1, layers), (0.0, 0.0))

    def add(self, gap: int, net: str, above: float, below: float) -> None:
        """A line that comes down at `above`, runs across, and goes on down at `below`."""
        self.lines[gap].setdefault(net, []).append((above, below))

    def reserve(self, gap: int, length: float, *, before: bool) -> None:
        """Room for a word before or after the tracks."""
        first, last = self.room[gap]
        self.room[gap] = (max(first, length), last) if before else (first, max(last, length))

    def _tracks(self, gap: int) -> dict[str, int]:
        """Lines on one track lie apart; where one comes down on another's way on, it turns off before."""
        nets = self.lines[gap]
        span = {n: (min(map(min, ends)) - 8, max(map(max, ends)) + 8) for n, ends in nets.items()}
        over: dict[str, list[str]] = {
            n: [m for m, others in nets.items() if m != n and any(abs(a - b) < 6 for a, _ in others for _, b in ends)]
            for n, ends in nets.items()
        }
        track: dict[str, int] = {}
        taken: list[list[tuple[float, float]]] = []
        waiting = sorted(nets, key=lambda n: (span[n][1] - span[n][0], n))
        while waiting:
            # A ring of such wishes cannot be granted: then the first one goes first.
            net = next((n for n in waiting if not any(m in waiting for m in over[n])), waiting[0])
            waiting.remove(net)
            place = max((track[m] + 1 for m in over[net] if m in track), default=0)
            low, high = span[net]
            while place < len(taken) and any(low < h and o < high for o, h in taken[place]):
                place += 1
            while len(taken) <= place:
                taken.append([])
            taken[place].append(span[net])
            track[net] = place
        return track

    def measure(self, halves: list[float]) -> tuple[dict[tuple[int, str], float], list[float]]:
        """The u of each track, and the middle of each layer."""
        tracks: dict[tuple[int, str], float] = {}
        middles: list[float] = []
        u = 0.0
        for gap in self.lines:
            if gap >= 0:
                u += halves[gap]
                middles.append(u)
                u += halves[gap]
            places = self._tracks(gap)
            many = max(places.values(), default=-1) + 1
            edge = gap in (-1, len(halves) - 1)
            if edge and not many:
                continue
            first, last = self.room[gap]
            if not many:
                first, last = max(first, last), 0.0
            narrow = not edge and 0.0 in (halves[gap], halves[gap + 1])
            start = u + first + (4 if narrow else 14)
            for net, place in places.items():
                tracks[gap, net] = start + place * _TRACK
            u = start + max(many - 1, 0) * _TRACK + last + (12 if narrow else 20)
        return tracks, middles


def _straight(way: list[Point]) -> list[Point]:
    """The corners only."""
    kept: list[Point] = []
    for point in way:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and any(kept[-2][i] == kept[-1][i] == point[i] for i in (0, 1)):
            kept.pop()
        kept.append(point)
    return kept


def _place_words(
    said: list[tuple[str, list[int]]],
    ways: Mapping[int, list[Point]],
    boxes: Mapping[str, Box],
    frames: Mapping[str, Box],
    titles: Mapping[str, Box],
) -> list[Word]:
    """Each word on its own arrow, or just beside it, where it hides no card, no other word and no other line."""
    lines: list[tuple[float, float, float, float, int]] = []
    for i, way in ways.items():
        lines += [(min(x, p), min(y, q), max(x, p), max(y, q), i) for (x, y), (p, q) in pairwise(way)]
    for f in frames.values():
        lines += [
            (f.x, f.y, f.right, f.y, -1),
            (f.x, f.bottom, f.right, f.bottom, -1),
            (f.x, f.y, f.x, f.bottom, -1),
            (f.right, f.y, f.right, f.bottom, -1),
        ]
    solid = [(b.x, b.y, b.right, b.bottom) for b in [*boxes.values(), *titles.values()]]
    words: list[Word] = []
    for text, arrows in said:
        wide = min(width(text, WORD), _WORD_WIDEST) + 6
        others = [line[:4] for line in lines if line[4] not in arrows]
        own = [ways[i] for i in arrows]
        box, cost = _best(_spots(own, wide, (0.5, 0.35, 0.65, 0.2, 0.8)), wide, solid, others)
        if cost >= _HIDES:
            box, cost = _best(_spots(own, wide, [part / 40 for part in range(41)]), wide, solid, others)
        if cost < _HIDES:  # else there is no place at all, and a card matters more; the description has the word
            solid.append((box.x, box.y, box.right, box.bottom))
            words.append(Word(text, box, tuple(arrows)))
    return words


_Sides = tuple[float, float, float, float]  # left, top, right, bottom


def _best(
    spots: Iterable[tuple[float, float, float]], wide: float, solid: list[_Sides], lines: list[_Sides]
) -> tuple[Box, float]:
    """The place with the least against it."""
    best, least = Box(0, 0, wide, WORD_HEIGHT), float("inf")
    for cost, x, y in sorted(spots):
        if cost >= least:
            break
        right, bottom = x + wide, y + WORD_HEIGHT
        cost += _HIDES * sum(a - 2 < right and x < c + 2 and b - 2 < bottom and y < d + 2 for a, b, c, d in solid)
        cost += 30 * sum(a <= right and x <= c and b <= bottom and y <= d for a, b, c, d in lines)
        if cost < least:
            best, least = Box(x, y, wide, WORD_HEIGHT), cost
    return best, least


def _spots(ways: Iterable[list[Point]], wide: float, parts: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """Places for a word along some ways, each with what speaks against it: the cost, and the upper left corner."""
    seen = set[tuple[Point, Point]]()
    for way in ways:
        for a, b in pairwise(way):
            if (a, b) in seen:
                continue
            seen.add((a, b))
            (x0, y0), (x1, y1) = a, b
            level = y0 == y1
            long, need = (abs(x1 - x0), wide) if level else (abs(y1 - y0), WORD_HEIGHT)
            tight = max(0.0, need + 14 - long)
            for part in parts:
                off = 3 * abs(part - 0.5)
                x, y = x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
                reach = (wide if level else WORD_HEIGHT) / 2 + 10
                tip = 12 if b == way[-1] and abs(x1 - x) + abs(y1 - y) < reach else 0  # the word would hide it
                cost = off + tip + tight + (0 if level else 0.2) - min(long, 200) / 1000
                yield cost, x - wide / 2, y - WORD_HEIGHT / 2
                for side in (-1, 1):
                    dx, dy = (0.0, side * (WORD_HEIGHT / 2 + 3)) if level else (side * (wide / 2 + 3), 0.0)
                    cost = 3 + off + tight / 4 - min(long, 200) / 1000 + (0.1 if side > 0 else 0)
                    yield cost, x + dx - wide / 2, y + dy - WORD_HEIGHT / 2


__all__ = ["Box", "Direction", "Layout", "Point", "Role", "Route", "Word", "layout", "shorten", "width"]
