"""Lanes for what goes back: beside the first card of each layer, or round the corner of two cards in a row.

Edges with the same word share a lane when that says nothing untrue: from every entry one may indeed go back to every
exit before it.
"""

from __future__ import annotations

from collections import defaultdict

from troupe.graphs.drawing.layers import LOOP
from troupe.graphs.drawing.levels import Edge, Lane, Level, Spot
from troupe.graphs.drawing.scene import Scene

_LANE = 14.0
_Ends = dict[Edge, tuple[float, float]]  # the layers from which and to which an edge uses the lanes; .5 is a gap


def aside(level: Level, head: Spot, v: float) -> bool:
    """Whether a line at `v` may end at the high side of a card, since nothing lies between: the way in stays clear."""
    side = head.v + head.dv
    return head.high and head.dv > 0 and v > side + 9 and level.free(head.unit, side + 1, v + 6)


def choose(level: Level, scene: Scene) -> None:
    """Find the lanes and their places. A person's short way back may need none: straight to the step's high side."""
    ends: _Ends = {}
    rest: dict[str, list[Edge]] = defaultdict(list)
    for edge in level.edges:
        tail, head = edge.tail, edge.head
        if edge.role != "back" or tail is head:
            continue
        # Beside its card, or, where something else lies there, through the gap next to it.
        out, into = (0.0 if level.first(spot) else 0.5 for spot in (tail, head))
        ends[edge] = head.unit.layer - into, tail.unit.layer + out
        corner = min(tail.v - tail.dv, head.v - head.dv) - LOOP
        low = edge.short and tail.low and head.low
        if low and all(level.free(spot.unit, corner - 4, spot.unit.v) for spot in (tail, head)):
            level.lanes.append(Lane([edge], 0, corner))
        elif not (edge.short and tail.off > 0 and tail.dv and aside(level, head, tail.v)):
            rest[edge.word].append(edge)
    lanes: list[Lane] = []
    for edges in rest.values():
        if {(ends[a][0], ends[b][1]) for a in edges for b in edges if ends[a][0] < ends[b][1]} <= {*ends.values()}:
            lanes.append(Lane(edges))
            continue
        by_tail, by_head = defaultdict[Spot, list[Edge]](list), defaultdict[Spot, list[Edge]](list)
        for edge in edges:
            by_tail[edge.tail].append(edge)
            by_head[edge.head].append(edge)
        lanes += map(Lane, (by_head if len(by_head) < len(by_tail) else by_tail).values())
    _place(level, scene, lanes, ends)


def _place(level: Level, scene: Scene, lanes: list[Lane], ends: _Ends) -> None:
    """Short lanes lie near the cards; lanes that do not meet share a place."""
    spans = {lane: (min(ends[e][0] for e in lane.edges), max(ends[e][1] for e in lane.edges)) for lane in lanes}
    v = min((unit.v - unit.lo for layer in level.layers for unit in layer), default=0.0) - 3
    left, depth = sorted(lanes, key=lambda lane: (spans[lane][1] - spans[lane][0], spans[lane])), 0
    while left:
        here: list[Lane] = []
        for lane in left:
            first, last = spans[lane]
            if all(last < spans[other][0] or spans[other][1] < first for other in here):
                here.append(lane)
        left = [lane for lane in left if lane not in here]
        depth, v = depth + 1, v - _LANE
        for lane in here:
            lane.depth, lane.v = depth, v
        level.lanes += here
        v -= max(scene.word(lane.edges[0].word)[1] for lane in here)
