"""How far an adaptive team may go by itself: what it may change at run time, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from troupe.agents.errors import BuildError, UnknownName
from troupe.graphs.choosing.selection import PATTERNS, Pattern


@dataclass(frozen=True)
class Bounds:
    """What an adaptive team may change by itself. By default that is the pattern, once; nothing else.

    Args:
        changes: how often a turn may go on in another pattern.
        patterns: those that may be chosen.
        reworks: how many more reworks a gate may allow those whose work seldom passed it in recorded runs.
        tier_up: whether those whose work seldom passed at all are served by the next better tier.
        lag: a step that takes this many times as long as usual in recorded runs is given to a colleague besides, and
            whoever delivers first counts; None waits for it.
        split: whether a step that fails may be done in parts.

    Raises:
        BuildError: a bound that cannot be.
        UnknownName: a pattern that there is not.

    >>> Bounds(changes=2).patterns[0]
    'single'
    """

    changes: int = 1
    patterns: Sequence[Pattern] = PATTERNS
    reworks: int = 0
    tier_up: bool = False
    lag: float | None = None
    split: bool = False

    def __post_init__(self) -> None:
        for name, most in (("changes", len(PATTERNS) - 1), ("reworks", 10)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
                raise BuildError(f"Bounds({name}={value!r}): give a whole number from 0 to {most}.")
        if self.lag is not None and not 1 < self.lag <= 100:
            raise BuildError(f"Bounds(lag={self.lag!r}): say how many times the usual, more than 1 and up to 100.")
        given = (self.patterns,) if isinstance(self.patterns, str) else tuple(self.patterns)
        if unknown := next((one for one in given if one not in PATTERNS), None):
            raise UnknownName("pattern", str(unknown), PATTERNS)
        if not given:
            raise BuildError("Bounds(patterns=[]) leaves no way of working. Name one at least.")
        object.__setattr__(self, "patterns", tuple(one for one in PATTERNS if one in given))
