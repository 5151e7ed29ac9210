"""Where units stand across the flow: straight lines first, then each line where its arrows pull it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import chain, pairwise

from troupe.graphs.drawing.layers import neighbours, pieces
from troupe.graphs.drawing.levels import Level, Unit
from troupe.graphs.drawing.scene import Scene

_LATER = (1, 2, 0)  # passing lines are straight first, then lines between cards, then those from one to the other


@dataclass(slots=True, eq=False)
class Column:
    """Units that stand in one straight line, at `v`."""

    v: float = 0.0
    place: int = 0  # among all, the lowest first
    pulls: list[Column] = field(default_factory=list)  # to which
    far: float = 0.0  # and how far from all of them together
    lower: dict[Column, float] = field(default_factory=dict)  # those on the low side, and how far away they must stay
    higher: dict[Column, float] = field(default_factory=dict)


def place_across(level: Level, scene: Scene) -> None:
    """Find the v of each unit."""
    above = _aligned(level)
    at: dict[Unit, tuple[Column, float]] = {}
    for unit in chain.from_iterable(level.layers):
        upper, shift = above.get(unit, (unit, 0.0))
        column, off = at.get(upper) or (Column(), 0.0)
        at[unit] = column, off + shift
    for p, q in chain.from_iterable(map(pairwise, level.layers)):
        gap = 6.0 if "pass" in (p.kind, q.kind) else scene.turned(20, 14)[1]
        (low, a), (high, b) = at[p], at[q]
        need = a + p.hi + gap + q.lo - b
        high.lower[low] = low.higher[high] = max(need, high.lower.get(low, need))
    for tail, head in pieces(level):
        (one, a), (other, b) = at[tail.unit], at[head.unit]
        if one is not other:
            far = b + head.off - a - tail.off
            one.pulls.append(other)
            other.pulls.append(one)
            one.far, other.far = one.far + far, other.far - far
    columns = [*TopologicalSorter({one: one.lower for one, _ in at.values()}).static_order()]  # the lowest first
    _settle(columns)
    for unit, (column, off) in at.items():
        unit.v = round(column.v + off)


def _settle(columns: list[Column]) -> None:
    """Let each stand where its arrows pull it, as far as the others leave room. With numbers, as it is done often."""
    for place, one in enumerate(columns):
        one.place = place
    wishes = [([o.place for o in one.pulls], one.far, 1 + len(one.pulls)) for one in columns]
    lower = [[(o.place, need) for o, need in one.lower.items()] for one in columns]
    higher = [[(o.place, need) for o, need in one.higher.items()] for one in columns]
    v = [one.v for one in columns]
    for _ in range(12):
        # All wish at once; the mean of making room upwards and downwards keeps distance and favours neither side.
        up = [
            (at + far + sum([v[o] for o in pulls])) / count for at, (pulls, far, count) in zip(v, wishes, strict=True)
        ]
        down = up[:]
        for place, needs in enumerate(lower):
            for o, need in needs:
                up[place] = max(up[place], up[o] + need)
        for place in range(len(columns) - 1, -1, -1):
            for o, need in higher[place]:
                down[place] = min(down[place], down[o] - need)
        v = [(a + b) / 2 for a, b in zip(up, down, strict=True)]
    for one, at in zip(columns, v, strict=True):
        one.v = at


def _aligned(level: Level) -> dict[Unit, tuple[Unit, float]]:
    """Which unit stands exactly under which: a passing line is straight, then the middle of the neighbours."""
    before, after = neighbours(level)

    def middle(unit: Unit, near: Iterable[Unit]) -> Unit | None:
        """The middle one of the neighbours; passing arrows count only among themselves, or where nothing else is."""
        alike = [one for one in near if (one.kind == "pass") == (unit.kind == "pass")]
        ranked = sorted(set(alike or near), key=lambda one: one.rank)
        return ranked[len(ranked) // 2] if len(ranked) % 2 else None

    above: dict[Unit, tuple[Unit, float]] = {}
    taken: dict[int, list[tuple[Unit, Unit]]] = defaultdict(list)
    for tail, head in sorted(pieces(level), key=lambda step: _LATER[sum(spot.unit.kind == "pass" for spot in step)]):
        one, other = tail.unit, head.unit
        wished = middle(one, after[one]) is other and middle(other, before[other]) is one
        cut = (one is x or other is y or (one.rank - x.rank) * (other.rank - y.rank) < 0 for x, y in taken[one.layer])
        if wished and not any(cut):
            above[other] = (one, tail.off - head.off)
            taken[one.layer].append((one, other))
    return above
