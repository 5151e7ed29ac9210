"""The ways of the edges of one level, at right angles, through room where no card can be."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from troupe.graphs.drawing.gaps import Gap, Place, measure
from troupe.graphs.drawing.lanes import aside
from troupe.graphs.drawing.levels import Edge, Level, Spot, Unit
from troupe.graphs.drawing.scene import Scene

_Way = list[tuple[Place, float, float]]  # corners: a place along the flow, how far from it, and v


def route(level: Level, scene: Scene) -> None:
    """Find the points of every edge, and the middle of every layer."""
    gaps = [Gap() for _ in range(len(level.layers) + 1)]  # gaps[n] lies before layer n
    middles = [Place() for _ in level.layers]
    ways = _ahead(level, scene, gaps, middles) | _back(level, gaps, middles)
    for edge in level.edges:
        tail, head = edge.tail, edge.head
        start, end = middles[tail.unit.layer], middles[head.unit.layer]
        if tail is head:
            out, top = min(tail.du / 2, 18.0), tail.v + tail.dv
            ways[edge] = [(start, -out, top), (start, -out, top + 16), (start, out, top + 16), (start, out, top)]
        elif tail.unit is head.unit:  # a gate and the person it asks
            sign = 1 if head.off > tail.off else -1
            ways[edge] = [(start, 0.0, tail.v + sign * tail.dv), (end, 0.0, head.v - sign * head.dv)]
        elif edge.role == "back" and edge not in ways:  # from a person to the step's high side
            ways[edge] = [(start, -tail.du, tail.v), (end, 0.0, tail.v), (end, 0.0, head.v + head.dv)]
    measure(gaps, middles, [max((unit.du for unit in layer), default=0.0) for layer in level.layers])
    level.u = [place.u for place in middles]
    by_ends = {(edge.tail, edge.head): way for edge, way in ways.items()}
    for edge in level.edges:
        way = by_ends[edge.head, edge.tail][::-1] if edge.role == "return" else ways[edge]
        edge.points = [(place.u + du, v) for place, du, v in way]


def _ports(level: Level) -> dict[Edge, float]:
    """Where on its card each forward edge begins, in v: the middle, as a rule."""
    shifts = {edge: edge.head.v - edge.tail.v for edge in level.edges if len(edge.path) == 2}
    off = {edge.tail: 0.0 for edge in shifts}
    # A straight line a little off the middle, rather than a tiny jog.
    off |= {edge.tail: shift for edge, shift in shifts.items() if abs(shift) <= 10 < edge.tail.dv - 4}
    ports: dict[Edge, float] = {}
    for edge in level.edges:
        tail = edge.tail
        if len(edge.path) > 2 and tail in off:
            ports[edge] = tail.v + min(tail.dv * 0.55, 44) * (1 if edge.path[1].v > tail.v else -1)
        elif edge.path:
            ports[edge] = tail.v + off.get(tail, 0.0)
    return ports


def _ahead(level: Level, scene: Scene, gaps: list[Gap], middles: list[Place]) -> dict[Edge, _Way]:
    """The forward edges, gap by gap. What leaves one place for several, or comes to one from several, is one line."""
    stops = {
        edge: [(edge.tail, port), *((spot, spot.v) for spot in edge.path[1:])] for edge, port in _ports(level).items()
    }
    leaving: dict[tuple[Spot, float], set[Unit]] = defaultdict(set)
    for start, (spot, _) in (step for way in stops.values() for step in pairwise(way)):
        leaving[start].add(spot.unit)
    ways: dict[Edge, _Way] = {}
    for edge, ((tail, port), *_) in stops.items():
        head, middle = edge.head, middles[edge.head.unit.layer]
        over = len(edge.path) > 2 and aside(level, head, edge.path[-2].v)
        way = ways[edge] = [(middles[tail.unit.layer], tail.du, port)]
        for start, end in pairwise(stops[edge][:-1] if over else stops[edge]):
            (spot, above), (_, below) = start, end
            gap, many = gaps[spot.unit.layer + 1], len(leaving[start]) > 1
            if above != below:
                line = gap.line(("from", start) if many else ("to", end), above, below)
                way += [(line, 0.0, above), (line, 0.0, below)]
            if spot is tail:
                gap.reserve(scene.word(edge.word)[0], before=not many)
        way += [(middle, 0.0, way[-1][2]), (middle, 0.0, head.v + head.dv)] if over else [(middle, -head.du, head.v)]
    return ways


def _back(level: Level, gaps: list[Gap], middles: list[Place]) -> dict[Edge, _Way]:
    """The edges on lanes: from a card's low side, or through a gap when something else lies there."""
    ports = _low_ports(level)
    ways: dict[Edge, _Way] = {}
    for lane in level.lanes:
        for edge in lane.edges:
            parts = list[_Way]()
            for spot, sign in ((edge.tail, 1), (edge.head, -1)):
                middle, port = middles[spot.unit.layer], ports.get((edge, spot))
                if port is not None:
                    parts.append([(middle, port, spot.v - spot.dv), (middle, port, lane.v)])
                    continue
                v = spot.v - min(spot.dv / 2, 24)
                gap = gaps[spot.unit.layer + (sign > 0)]
                line = gap.line((lane, sign, spot), *(v, lane.v)[::sign])
                parts.append([(middle, sign * spot.du, v), (line, 0.0, v), (line, 0.0, lane.v)])
            ways[edge] = parts[0] + parts[1][::-1]
    return ways


def _low_ports(level: Level) -> dict[tuple[Edge, Spot], float]:
    """Where on a card's low side each line leaves and arrives, so that lines of different lanes do not cross."""
    wanted: dict[Spot, dict[tuple[int, int], list[Edge]]] = defaultdict(lambda: defaultdict(list))
    for number, lane in enumerate(level.lanes):
        for edge in lane.edges:
            for spot, sign in ((edge.tail, 1), (edge.head, -1)):
                if level.first(spot) or not lane.depth:
                    wanted[spot][-sign, sign * number].append(edge)
    ports: dict[tuple[Edge, Spot], float] = {}
    for spot, keys in wanted.items():
        step = min(12.0, 2 * spot.du / (len(keys) + 1))
        for i, key in enumerate(sorted(keys)):
            ports |= {(edge, spot): round((i - (len(keys) - 1) / 2) * step, 1) for edge in keys[key]}
    return ports
