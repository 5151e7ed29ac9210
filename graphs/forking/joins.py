"""Joins: how long a fan-out waits for its branches, and which of them it needs.

    parallel(a, b, c, join=first(2))

| join | waits until | then gives up the rest | a branch that is missing makes the run |
|---|---|---|---|
| `"all"` | every branch has ended | | partial |
| `"best_effort"` | every branch has ended, or three quarters of the run's deadline | yes | partial |
| `within(s)` | every branch has ended, or `s` seconds | yes | partial |
| `first(k)` | `k` branches have delivered | yes | completed, if `k` delivered |
| `quorum(k)` | `k` branches have delivered | yes | completed, if `k` delivered; with fewer nothing is merged |
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from troupe.agents.errors import BuildError, UnknownName
from troupe.agents.functions import must_be_users

Kind = Literal["all", "best_effort", "within", "first", "quorum"]
_SHARE = 0.75  # of the time left, so that what there is can still be merged


@dataclass(frozen=True)
class Join:
    """See `first`, `quorum`, `within`."""

    kind: Kind = "all"
    count: int = 0
    seconds: float | None = None

    @property
    def counts(self) -> bool:
        """Whether some of the branches are enough."""
        return self.kind in ("first", "quorum")

    @property
    def races(self) -> bool:
        """Whether branches may be given up."""
        return self.kind != "all"

    def enough(self, delivered: int) -> bool:
        """Whether the other branches are not needed any more."""
        return self.counts and delivered >= self.count

    def patience(self, remaining: float | None) -> float | None:
        """Seconds that branches get when the run has `remaining` left (None for no deadline)."""
        if self.kind == "best_effort" and remaining is not None:
            return remaining * _SHARE
        return self.seconds

    @property
    def words(self) -> str:
        """The join in a few words, for pictures.

        >>> first(2).words, within(30).words
        ('first 2', 'within 30 s')
        """
        if self.counts:
            return f"{self.kind} {self.count}"
        return f"within {self.seconds:g} s" if self.seconds is not None else self.kind.replace("_", " ")


def first(count: int = 1) -> Join:
    """The first branches to deliver, so many of them; the others are given up and not needed.

    Raises:
        BuildError: not a positive whole number.
    """
    return Join("first", _whole("first", count))


def quorum(count: int) -> Join:
    """So many branches must deliver, and the others are given up then; with fewer nothing is merged.

    Raises:
        BuildError: not a positive whole number.
    """
    return Join("quorum", _whole("quorum", count))


def within(seconds: float) -> Join:
    """The branches that deliver within so many seconds of their start; the others are given up, and missing.

    Raises:
        BuildError: not a positive number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise BuildError(f"within({seconds!r}): give the seconds as a positive number.")
    return Join("within", seconds=float(seconds))


def as_join(given: Any) -> Join:
    """A join from a Join or its text: `"all"`, `"best_effort"`, `"first(2)"`, `"quorum(2)"`, `"within(30)"`.

    Raises:
        UnknownName: there is none of that name.
        BuildError: its number is not positive.
    """
    if isinstance(given, Join):
        return given
    if given in ("all", "best_effort"):
        return Join(given)
    must_be_users(given)
    found = re.fullmatch(r"(first|quorum|within)\(\s*(-?[\d.]+)\s*\)", str(given))
    if found is None:
        raise UnknownName("join", given, ["all", "best_effort", "first(k)", "quorum(k)", "within(seconds)"])
    try:
        number = float(found[2])
    except ValueError:
        raise BuildError(f"join={given!r}: {found[2]} is not a number.") from None
    whole: Any = int(number) if number.is_integer() else number
    return {"first": first, "quorum": quorum, "within": within}[found[1]](whole)


def _whole(name: str, count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BuildError(f"{name}({count!r}): give a whole number of branches, 1 or more.")
    return count
