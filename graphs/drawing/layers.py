"""Which units lie in which layer, and in which order: arrows go from layer to layer, and cross seldom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from troupe.graphs.drawing.levels import Edge, Level, Spot, Unit
from troupe.graphs.drawing.scene import Scene

Near = Mapping[Unit, list[Unit]]
BACK = ("rework", "rollback", "respond")  # words that lead back, wherever they lead
LOOP = 15.0  # how far a short way back lies from its cards


def rank(level: Level, scene: Scene) -> None:
    """Give each unit its layer, each edge its role, and units room for what loops beside them."""
    units = sorted((unit for unit in level.units if unit.kind != "out"), key=lambda unit: unit.kind != "in")
    pairs = [(e.tail.unit, e.head.unit) for e in level.edges if e.head.unit.kind != "out" and e.word not in BACK]
    layers = _ranks(units, pairs)
    last = max(layers.values(), default=-1) + 1
    for unit in level.units:
        unit.layer = layers.get(unit, last)
    ahead = {(edge.tail, edge.head) for edge in level.edges if edge.tail.unit.layer < edge.head.unit.layer}
    for edge in level.edges:
        tail, head = edge.tail, edge.head
        if tail is head:
            edge.role = "back"
            tail.unit.hi += 20 + scene.word(edge.word)[1]
        elif tail.unit is head.unit:  # a gate and the person it asks
            edge.role = "return" if tail.off > 0 else "forward"
        elif edge.short and not edge.word and (head, tail) in ahead:
            edge.role = "return"  # a wordless answer, along the line of its question
        elif (tail, head) not in ahead:
            edge.role = "back"
            for spot in (tail, head) if edge.short and tail.low and head.low else ():
                spot.unit.lo = max(spot.unit.lo, spot.dv + LOOP + 3)


def _ranks(units: Sequence[Unit], pairs: Sequence[tuple[Unit, Unit]]) -> dict[Unit, int]:
    """Layers by the longest path, not counting what leads back to where the way came from."""
    after: dict[Unit, list[Unit]] = {unit: [] for unit in units}
    for source, target in pairs:
        after[source].append(target)
    heads = {target for source, target in pairs if source is not target}
    left = {unit: iter(targets) for unit, targets in after.items()}
    met, done = set[Unit](), list[Unit]()
    for root in sorted(units, key=lambda unit: unit in heads):
        way = [] if root in met else [root]
        while way:
            met.add(way[-1])
            fresh = next((unit for unit in left[way[-1]] if unit not in met), None)
            way.append(fresh) if fresh else done.append(way.pop())
    # In reverse, a unit stands behind all that lead to it, but for those that lead back.
    place = {unit: n for n, unit in enumerate(reversed(done))}
    layers = dict.fromkeys(place, 0)
    for unit in place:
        for target in after[unit]:
            if place[target] > place[unit]:
                layers[target] = max(layers[target], layers[unit] + 1)
    return layers


def thread(level: Level, scene: Scene) -> None:
    """Give each forward edge the spots it passes, and fill the layers; long edges to one card share their slots."""
    slots: dict[tuple[Spot, bool, int], Spot] = {}
    shared: dict[tuple[Spot, bool], list[Edge]] = defaultdict(list)
    for edge in level.edges:
        if edge.role != "forward" or edge.tail.unit is edge.head.unit:
            continue
        between = [(edge.head, edge.conditional, n) for n in range(edge.tail.unit.layer + 1, edge.head.unit.layer)]
        for slot in between:
            if slot not in slots:
                slots[slot] = Spot(Unit("pass", lo=10, hi=10, layer=slot[2]))
        edge.path = [edge.tail, *(slots[slot] for slot in between), edge.head]
        if between:
            edge.role = "bypass"
            shared[edge.head, edge.conditional].append(edge)
    for edges in shared.values():
        first = min(edges, key=lambda edge: edge.tail.unit.layer)
        first.path[1].unit.hi += max(scene.word(edge.word)[1] for edge in edges)
    # Low v is below when it flows right, and the first card should be on top.
    units = [*(level.units if scene.down else reversed(level.units)), *(slot.unit for slot in slots.values())]
    level.layers = [[] for _ in range(max((unit.layer for unit in units), default=-1) + 1)]
    for unit in units:
        level.layers[unit.layer].append(unit)


def order(level: Level) -> None:
    """Fewer crossings by the barycentre of the neighbours; the order as written stays unless another is better."""
    before, after = neighbours(level)

    def sort(near: Near) -> None:
        for layer in reversed(level.layers) if near is after else level.layers:
            layer.sort(key=lambda u: sum(n.rank for n in near[u]) / len(near[u]) if near.get(u) else u.rank)
            for rank, unit in enumerate(layer):
                unit.rank = rank

    def crossings() -> int:
        count = 0
        for layer in level.layers[:-1]:
            ends = [b.rank for a in layer for b in sorted(after[a], key=lambda b: b.rank)]
            count += sum(x > y for i, x in enumerate(ends) for y in ends[i + 1 :])
        return count

    tried: list[tuple[int, dict[Unit, int]]] = []
    for near in ({}, before, after, before, after, before, after):
        sort(near)
        tried.append((crossings(), {unit: unit.rank for layer in level.layers for unit in layer}))
        if not tried[-1][0]:
            break
    for unit, rank in min(tried, key=lambda one: one[0])[1].items():
        unit.rank = rank
    sort({})


def pieces(level: Level) -> list[tuple[Spot, Spot]]:
    """Each step of an edge from a layer to the next, once."""
    return [*dict.fromkeys(piece for edge in level.edges for piece in pairwise(edge.path))]


def neighbours(level: Level) -> tuple[Near, Near]:
    """For each unit those before it, and those after it, that an arrow joins with it."""
    before, after = defaultdict[Unit, list[Unit]](list), defaultdict[Unit, list[Unit]](list)
    for a, b in pieces(level):
        after[a.unit].append(b.unit)
        before[b.unit].append(a.unit)
    return before, after
