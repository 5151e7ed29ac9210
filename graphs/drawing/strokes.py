"""Arrows as strokes and tips. A line that some share is painted once, for the first of them: else it looks bolder."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import dist

from troupe.graphs.drawing.places import Point, Route

_BEND = 7.0  # the radius of an arrow's corners
_ORDER = ("forward", "return", "back", "bypass")
_Way = Sequence[Point]


def strokes(routes: Sequence[Route]) -> Iterator[str]:
    """The paths of all arrows, then their tips."""
    ends = {route.points[-1] for route in routes}
    # A line ends inside its tip, not at the card: a stroke would stick out of the point.
    lines = [(route, _cut(route.points, 4 * (route.points[0] in ends), 4)) for route in routes]
    corners = [sorted({point[axis] for _, line in lines for point in line}) for axis in (0, 1)]
    painted, tips = set[tuple[Point, ...]](), dict[str, str]()
    for route, line in sorted(lines, key=lambda one: (_ORDER.index(one[0].role), _maybe(one[0]))):
        role = route.role.replace("return", "forward")
        steps = [*pairwise(_stops(line, corners))]
        fresh = [i for i, step in enumerate(steps) if step not in painted]
        painted |= {*steps, *(step[::-1] for step in steps)}
        if fresh:  # with a little of a shared line before and after it, for the bends
            known = (steps[: fresh[0]], steps[fresh[-1] + 1 :])
            line = _cut(line, *(sum(dist(*step) for step in part) - _BEND for part in known))
            yield f'<path class="{role}{" maybe" if _maybe(route) else ""}" d="{_rounded(line)}"/>'
        tips.setdefault(_tip(route.points), role)
    for role in sorted(set(tips.values())):
        yield f'<path class="{role}tip" d="{"".join(tip for tip, other in tips.items() if other == role)}"/>'


def _maybe(route: Route) -> bool:
    return route.arrow.conditional and route.role != "back"


def _stops(way: _Way, corners: list[list[float]]) -> Iterator[Point]:
    """The way with a stop wherever another one might turn."""
    for a, b in pairwise(way):
        axis = int(a[0] == b[0])
        low, high = sorted((a[axis], b[axis]))
        between = corners[axis][bisect_right(corners[axis], low) : bisect_left(corners[axis], high)]
        yield a
        for at in between if a < b else reversed(between):
            yield (a[0], at) if axis else (at, a[1])
    yield way[-1]


def _cut(way: _Way, before: float, after: float) -> _Way:
    """The way without so much of its beginning and of its end."""
    for length in (after, before):
        way = way[::-1]
        while length > 0 and len(way) > 1:
            length, way = length - dist(*way[:2]), (_towards(way[0], way[1], length), *way[1:])
            if length >= 0:
                way = way[1:]
    return way


def _towards(a: Point, b: Point, length: float) -> Point:
    """The point that lies so far from `a` on the way to `b`."""
    part = min(length / (dist(a, b) or 1.0), 1.0)
    return (a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part)


def _rounded(way: _Way) -> str:
    """The line with its corners rounded off."""
    path, last = f"M{way[0][0]:g} {way[0][1]:g}", len(way) - 1
    for i in range(1, last):
        before, corner, after = way[i - 1 : i + 2]
        # Half of a side that two corners share, all of one that ends there.
        reach = min(_BEND, dist(before, corner) / (1 + (i > 1)), dist(corner, after) / (1 + (i + 1 < last)))
        (a, b), (c, d) = _towards(corner, before, reach), _towards(corner, after, reach)
        path += f"L{a:g} {b:g}Q{corner[0]:g} {corner[1]:g} {c:g} {d:g}"
    return f"{path}L{way[last][0]:g} {way[last][1]:g}"


def _tip(way: _Way) -> str:
    (x, y), (a, b) = way[-1], _towards(way[-1], way[-2], 8)
    dx, dy = (b - y) / 2, (a - x) / 2
    return f"M{x:g} {y:g}L{a + dx:g} {b + dy:g}L{a - dx:g} {b - dy:g}z"
