"""Guards of a mesh: bounds on what a turn may do, and signs that it goes round in circles.

Each speaks up once: to the hub, or to a person where the caller asked for that. The next time, the turn ends with
what there is: a partial result whose reason names the guard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from troupe.agents.contracts import Deliverable
from troupe.agents.errors import BuildError, UnknownName
from troupe.graphs.meshing.board import Entry

Alarm = Literal["hops", "circle", "repeats", "stalls"]
_MOST = {"hops": 2000, "repeats": 1000, "stalls": 1000, "width": 1000}


@dataclass(frozen=True)
class Guards:
    """The bounds of a mesh's turn.

    Args:
        hops: how many assignments it may run, hand-offs included.
        repeats: in how many rounds the same objective may go to the same agent.
        stalls: how many rounds may go by without anything new.
        then: whom a guard tells first: the `hub`, or a person (`ask`).
        width: how many assignments run in one round at most.

    Raises:
        BuildError: a bound that is not a whole number from 1.

    >>> Guards(hops=8).width
    16
    """

    hops: int = 32
    repeats: int = 2
    stalls: int = 2
    then: Literal["hub", "ask"] = "hub"
    width: int = 16

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise BuildError(f"Guards({name}={value!r}): give a whole number from 1 to {most:,}.")
        if self.then not in ("hub", "ask"):
            raise UnknownName("then", self.then, ["hub", "ask"])

    def words(self, alarm: Alarm) -> str:
        """What a guard says when its bound is reached, before the details."""
        return {
            "hops": f"The hop budget of {self.hops} assignments is used up (Guards.hops).",
            "circle": "Work goes round in circles: it came back to somebody who had it before, with nothing new "
            "learned since (the circle guard).",
            "repeats": f"The same objective went to the same agent in {self.repeats} rounds already (Guards.repeats).",
            "stalls": f"No progress: {self.stalls} rounds brought nothing new (Guards.stalls).",
        }[alarm]

    @property
    def bound(self) -> int:
        """The most supersteps that a turn can take, a person's leave to go on included."""
        rounds = (4 * self.hops + 2) * (self.stalls + 1)
        return 3 * rounds + 4 * self.hops + 20


def mark(done: Iterable[Deliverable], board: Mapping[str, Entry], met: Iterable[str]) -> str:
    """A digest of what a turn has brought: contents, what is known, criteria that were met. Ids and clocks are no news.

    >>> mark([], {}, ["c1"]) == mark([], {}, ["c1"]) != mark([], {}, [])
    True
    """
    seen = hashlib.blake2b(digest_size=8)
    for part in (*sorted({_seal(one.content) for one in done if one.usable}), "", *sorted(board), "", *sorted(met)):
        seen.update(part.encode("utf-8", "replace") + b"\0")
    return seen.hexdigest()


def stalled(marks: Sequence[str]) -> int:
    """How many of the last rounds brought nothing new; `marks` begins with that before the first.

    >>> stalled(["a", "b", "b", "b"])
    2
    """
    last = len(marks) - 1
    count = 0
    while count < last and marks[last - count] == marks[last - count - 1]:
        count += 1
    return count


@lru_cache(maxsize=4096)
def _seal(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
