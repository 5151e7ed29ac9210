"""Bounds that no honest run meets: whatever runs away ends there, with what it has.

    [limits]                             # TROUPE_LIMITS__CALLS=500, or TeamContext(limits=Limits(calls=500))
    calls = 500

A run's `budget` and `deadline` go before `usd` and `seconds`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from troupe.agents.contracts import Value

WIDEST = 1000
"""The most branches, packages or assignments that a builder accepts at all; `Limits.fan_out` is what a run accepts."""


class Limits(Value):
    """What one turn may use at most. One that is reached ends in a partial result whose `reason.kind` is `limit`.

    >>> Limits(calls=10).calls, Limits().calls
    (10, 2000)
    """

    steps: int = Field(default=10_000, ge=1)
    """Rounds of work that steps begin, nested ones included."""
    calls: int = Field(default=2_000, ge=1)
    """Model requests."""
    tokens: int = Field(default=20_000_000, ge=1)
    """Input and output together."""
    usd: float = Field(default=50.0, ge=0)
    """Where the run has no budget."""
    seconds: float = Field(default=86_400.0, gt=0)
    """Where the run has no deadline."""
    fan_out: int = Field(default=WIDEST, ge=1, le=WIDEST)
    """Items of a list, work packages of a plan, assignments of a round."""
    depth: int = Field(default=8, ge=1, le=50)
    """Graphs inside graphs."""
    payload: int = Field(default=10 * 1024 * 1024, ge=1_000)
    """Bytes of a task, of a message, of one output or of a tool's result."""

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        if isinstance(given, dict) and (unknown := sorted(set(given) - set(cls.model_fields))):
            raise ValueError(f"unknown limits: {', '.join(map(str, unknown))}; there are {', '.join(cls.model_fields)}")
        return given

    def over(self, base: Limits) -> Limits:
        """These where they were set, else those of `base`.

        >>> Limits(calls=10).over(Limits(calls=5, depth=2)).depth
        2
        """
        return base.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})

    def narrowest(self, most: int, name: str) -> tuple[int, str]:
        """How wide a fan-out may be that has a bound of its own, and what the narrower of the two is called.

        >>> Limits(fan_out=5).narrowest(12, "width=12")
        (5, 'limits.fan_out=5')
        """
        return (most, name) if most <= self.fan_out else (self.fan_out, f"limits.fan_out={self.fan_out}")


def raising(name: str) -> str:
    """How to raise a limit, as the end of a message about it."""
    return f"Raise it with TeamContext(limits=Limits({name}=...)), or TROUPE_LIMITS__{name.upper()}."


def size(text: str) -> int:
    """Bytes of a text.

    >>> size("né")
    3
    """
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def cut(text: str, most: int) -> str:
    """The beginning of a text, of `most` bytes at most.

    >>> cut("né", 2)
    'n'
    """
    if len(text) <= most and size(text) <= most:
        return text
    # A character has at least one byte: what is encoded is never much longer than what is kept.
    return text[:most].encode("utf-8", "replace")[:most].decode("utf-8", "ignore")
