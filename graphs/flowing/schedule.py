"""How long steps take that need one another, with so many at work at once: the schedule that a team would follow.

what waits for what, seconds by step, slots --list scheduling--> when each step begins and ends
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from troupe.graphs.flowing.order import Needs, following, ranks

SLOTS = 4
"""How many steps are thought to be at work at once, where nobody says."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each step begins and ends, in seconds from the start."""

    begins: Mapping[str, float]
    ends: Mapping[str, float]

    @property
    def makespan(self) -> float:
        """When all is done."""
        return max(self.ends.values(), default=0.0)


def scheduled(
    needs: Needs, seconds: Mapping[str, float], slots: int = SLOTS, urgency: Mapping[str, float] | None = None
) -> Schedule:
    """The schedule in which a free slot takes whatever is ready at once, first what most work hangs on.

    Args:
        needs: what waits for what.
        seconds: how long each step takes by itself.
        slots: how many are at work at once.
        urgency: what goes first among those that are ready, if not the upward ranks of `seconds`.

    >>> scheduled({"a": [], "b": [], "c": ["a"]}, {"a": 1.0, "b": 2.0, "c": 3.0}, slots=1).begins
    {'a': 0.0, 'c': 1.0, 'b': 4.0}
    """
    urgency = urgency if urgency is not None else ranks(needs, seconds)
    place = {name: at for at, name in enumerate(needs)}
    after, open_ = following(needs), {name: len({*wanted}) for name, wanted in needs.items()}
    ready = [(-urgency[name], place[name], name) for name, count in open_.items() if not count]
    heapq.heapify(ready)
    working: list[tuple[float, int, str]] = []
    begins: dict[str, float] = {}
    ends: dict[str, float] = {}
    now = 0.0
    while ready or working:
        while ready and len(working) < slots:
            _, _, name = heapq.heappop(ready)
            begins[name], ends[name] = now, now + seconds[name]
            heapq.heappush(working, (ends[name], place[name], name))
        now = working[0][0]
        while working and working[0][0] <= now:
            _, _, name = heapq.heappop(working)
            for one in after[name]:
                open_[one] -= 1
                if not open_[one]:
                    heapq.heappush(ready, (-urgency[one], place[one], one))
    return Schedule(begins, ends)


def bound(needs: Needs, seconds: Mapping[str, float], slots: int = SLOTS) -> float:
    """What no schedule can beat: the longest way through, or all work shared out evenly.

    >>> bound({"a": [], "b": ["a"], "c": []}, {"a": 1.0, "b": 2.0, "c": 1.0}, slots=2)
    3.0
    """
    return max(*ranks(needs, seconds).values(), sum(seconds.values()) / slots)
