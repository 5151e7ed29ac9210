"""The room between two layers: which lines run across it, on which track, and how high it must be."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

_TRACK = 12.0


@dataclass(slots=True, eq=False)
class Place:
    """A place along the flow that is known only when all have said what they need: a layer's middle, or a line."""

    u: float = 0.0


@dataclass(slots=True, eq=False)
class Line(Place):
    """What runs across a gap: it comes from the layer before at the one `v` of an end, and goes on at the other."""

    ends: list[tuple[float, float]] = field(default_factory=list)
    track: int = -1

    @property
    def span(self) -> tuple[float, float]:
        """How far it runs, with a little air."""
        return min(map(min, self.ends)) - 8, max(map(max, self.ends)) + 8


@dataclass(slots=True, eq=False)
class Gap:
    """One gap. Lines of the same name are one."""

    lines: dict[Hashable, Line] = field(default_factory=dict)
    before: float = 0.0  # room for words before the tracks
    after: float = 0.0

    def line(self, name: Hashable, above: float, below: float) -> Line:
        """A line that comes in at `above`, runs across, and goes on at `below`."""
        line = self.lines.setdefault(name, Line())
        line.ends.append((above, below))
        return line

    def reserve(self, room: float, *, before: bool) -> None:
        """Room for a word before or after the tracks."""
        self.before, self.after = max(self.before, room * before), max(self.after, room * (not before))

    def stack(self) -> int:
        """Give each line a track. On one track they lie apart; where one comes in on another's way on, it is before."""
        lines = sorted(self.lines.values(), key=lambda line: line.span[1] - line.span[0])
        over = {
            n: [m for m in lines if m is not n and any(abs(a - b) < 6 for a, _ in m.ends for _, b in n.ends)]
            for n in lines
        }
        waiting = list(lines)
        while waiting:
            # A ring of such wishes cannot be granted: then the first one goes first.
            line = next((n for n in waiting if not any(m in waiting for m in over[n])), waiting[0])
            waiting.remove(line)
            track = max((m.track + 1 for m in over[line]), default=0)
            low, high = line.span
            while any(m.track == track and low < m.span[1] and m.span[0] < high for m in lines):
                track += 1
            line.track = track
        return max((line.track for line in lines), default=-1) + 1


def measure(gaps: Sequence[Gap], layers: Sequence[Place], halves: Sequence[float]) -> None:
    """Find the u of each layer's middle and of each line; the first gap lies before the first layer."""
    u = 0.0
    for n, gap in enumerate(gaps):
        if n:
            layers[n - 1].u = u + halves[n - 1]
            u += 2 * halves[n - 1]
        many, outer = gap.stack(), n in (0, len(layers))
        if outer and not many:
            continue
        before, after = (gap.before, gap.after) if many else (max(gap.before, gap.after), 0.0)
        narrow = not outer and 0.0 in (halves[n - 1], halves[n])
        u += before + (4 if narrow else 14)
        for line in gap.lines.values():
            line.u = u + line.track * _TRACK
        u += max(many - 1, 0) * _TRACK + after + (12 if narrow else 20)
