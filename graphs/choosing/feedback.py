"""What recorded runs change in a team, within the bounds that its user sets; each change is kept with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from troupe.agents.contracts import Kept
from troupe.agents.notes import Text
from troupe.graphs.choosing.bounds import Bounds
from troupe.graphs.choosing.rebalancing import hurried, usual
from troupe.graphs.history import History
from troupe.graphs.recovery import better
from troupe.graphs.step import Step

ENOUGH = 4
"""So many verdicts say something of somebody's work."""
SELDOM, HARDLY = 0.6, 0.35
"""Whose work passes less often than this gets more reworks, and a better tier."""


class Adjusted(Kept):
    """Something of a team that recorded runs changed."""

    step: str
    what: Literal["reworks", "tier", "lag"]
    by: float
    """How many more reworks or tiers, or after how many seconds a colleague is asked."""
    why: Text

    def line(self) -> str:
        """See `Kept`."""
        said = {
            "reworks": f"{self.by:.0f} more rework{'' if self.by == 1 else 's'}",
            "tier": "the next better tier",
            "lag": f"a colleague besides after {self.by:.3g} s",
        }
        return f"{self.step}: {said[self.what]}, as {self.why}"


@dataclass(frozen=True)
class Advice:
    """What is changed, by member."""

    adjusted: tuple[Adjusted, ...] = ()

    def reworks(self, step: str) -> int:
        """How many more reworks a member's gate allows."""
        return round(self._of(step, "reworks"))

    def applied(self, member: Step, task: str) -> Step:
        """The member as it works now."""
        if self._of(member.name, "tier"):
            raised = better(member.agent)
            member = replace(member, what=raised) if raised is not member.agent else member
        after = self._of(member.name, "lag")
        return hurried(member, after, task) if after else member

    def _of(self, step: str, what: str) -> float:
        return next((one.by for one in self.adjusted if (one.step, one.what) == (step, what)), 0.0)


def advice(members: Sequence[Step], history: History | None, bounds: Bounds) -> Advice:
    """What recorded runs say should be changed, as far as the bounds allow."""
    if not history:
        return Advice()
    found = []
    for member in members:
        name = member.agent.name
        passed = [one for step in history.steps() if step.agent == name for one in step.judged]
        if len(passed) >= ENOUGH:
            rate = sum(passed) / len(passed)
            why = f"{rate:.0%} of {len(passed)} verdicts on {name} passed in recorded runs"
            if rate < SELDOM and bounds.reworks:
                found.append(Adjusted(step=member.name, what="reworks", by=bounds.reworks, why=why))
            if rate < HARDLY and bounds.tier_up and better(member.agent) is not member.agent:
                found.append(Adjusted(step=member.name, what="tier", by=1, why=why))
        if bounds.lag is not None and (seconds := usual(history, name)) is not None:
            why = f"{name} usually takes {seconds:.3g} s"
            found.append(Adjusted(step=member.name, what="lag", by=round(bounds.lag * seconds, 3), why=why))
    return Advice(tuple(found))
