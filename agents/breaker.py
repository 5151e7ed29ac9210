"""Circuit breakers: whoever failed too often in a row is left alone, and then tried once before all come back.

    closed --5 failures in a row--> open --after the pause--> half open: one probe --succeeds--> closed
                                      ^------------------- fails, the pause doubles -----------|

No package that is kept up has one for asyncio with a clock of the caller's; a probe must be one over all event loops.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from troupe.agents.contracts import FailureKind

FAILURES = 5
PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds: short at first, so that a hiccup costs no more than a retry would have waited."""
UNWELL: frozenset[FailureKind] = frozenset({"timeout", "connection", "server"})
"""The failures that say something about who was asked, and not about what was asked."""
ANSWERED: frozenset[FailureKind] = frozenset(
    {"rate_limit", "auth", "not_found", "bad_request", "context_length", "content_filter", "invalid_output"}
)
"""The failures that are an answer of somebody who is well."""
_KEPT = 4096


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    until: float = 0.0
    pause: float = PAUSE
    open: bool = False
    probing: bool = False
    cause: str = ""


class Refusal(NamedTuple):
    """An open circuit: whose, the seconds until it is worth asking again, and how it failed at last.

    The seconds are 0 while somebody asks, as nobody knows how long that takes.
    """

    name: str
    wait: float
    cause: str


class Breakers:
    """The circuits of one process, by name; safe to use from several threads.

    Args:
        clock: monotonic seconds.

    >>> circuits = Breakers(clock=lambda: 0.0)
    >>> opened = [circuits.failed(["openai"], "server") for _ in range(5)]
    >>> circuits.ask(["openai"])
    Refusal(name='openai', wait=1.0, cause='')
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: OrderedDict[str, _Circuit] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, names: Iterable[str]) -> Refusal | None:
        """None if an attempt may be made, which is the probe where a circuit is half open; else which is open."""
        with self._lock:
            known = [(name, self._circuits[name]) for name in names if name in self._circuits]
            now = self._clock()
            for name, one in known:
                if one.open and (one.probing or now < one.until):
                    return Refusal(name, 0.0 if one.probing else one.until - now, one.cause)
            for _, one in known:
                one.probing = one.open
            return None

    def is_open(self, names: Iterable[str]) -> bool:
        """Whether one of them is to be left alone now."""
        with self._lock:
            now = self._clock()
            known = [self._circuits[name] for name in names if name in self._circuits]
            return any(one.open and (one.probing or now < one.until) for one in known)

    def succeeded(self, names: Iterable[str]) -> None:
        """An attempt came to a good end."""
        with self._lock:
            for name in names:
                self._circuits.pop(name, None)

    def failed(self, names: Iterable[str], kind: FailureKind, cause: str = "") -> list[str]:
        """An attempt failed; which circuits this opens that were closed before."""
        opened = []
        with self._lock:
            for name in names:
                if kind in ANSWERED:
                    self._circuits.pop(name, None)
                if kind not in UNWELL:
                    if name in self._circuits:
                        self._circuits[name].probing = False
                    continue
                one = self._circuits.setdefault(name, _Circuit())
                self._circuits.move_to_end(name)
                one.failures += 1
                if one.probing:
                    one.pause = min(2 * one.pause, LONGEST_PAUSE)
                if one.failures >= FAILURES and (one.probing or not one.open):
                    opened += [] if one.open else [name]
                    one.open, one.probing, one.until, one.cause = True, False, self._clock() + one.pause, cause
            while len(self._circuits) > _KEPT:
                self._circuits.popitem(last=False)
        return opened

    def given_up(self, names: Iterable[str]) -> None:
        """An attempt was cancelled: it says nothing, and if it was the probe, another may be made."""
        with self._lock:
            for name in names:
                if (one := self._circuits.get(name)) is not None:
                    one.probing = False
