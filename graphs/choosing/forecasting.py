"""What a way of working would cost and take: from recorded runs where there are any, else from the calls it makes.

Without recorded runs a call is taken to cost and take so much, by its tier: rough, said to be so, and good enough to
compare patterns. A rehearsal (`troupe rehearse`) predicts the times of one team.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from troupe.agents.contracts import TIERS, Tier, Value
from troupe.agents.money.prices import rates
from troupe.graphs.choosing.assessment import Assessment, Complexity
from troupe.graphs.choosing.learning import kind_of, outcomes
from troupe.graphs.choosing.selection import MANY, PATTERNS, Pattern
from troupe.graphs.history import History

SIZES: Mapping[Complexity, int] = {"simple": 2, "moderate": 3, "complex": 4, "enterprise": 6}
"""How many work on a task together."""
WIDEST = 12
"""The most parts that like work is given out in."""
SECONDS: Mapping[Tier, float] = {"economy": 3.0, "standard": 8.0, "premium": 15.0}
"""What a call takes, as long as nothing is recorded."""
USD: Mapping[Tier, float] = {"economy": 0.0005, "standard": 0.004, "premium": 0.02}
"""What a call costs, as long as neither a price nor a run is known."""
SENT, RECEIVED = 2000, 600
"""Tokens of a call, the same, where the model's price is known."""
ENOUGH = 3
"""So many recorded runs say more than the assumptions."""


class Forecast(Value):
    """What a pattern is expected to cost and take."""

    pattern: Pattern
    calls: int
    seconds: float
    usd: float
    source: Literal["recorded", "assumed"]
    runs: int = 0
    """How many recorded runs say so."""

    def line(self) -> str:
        """It in a few words."""
        said = f"about {self.calls} calls, {self.seconds:.0f} s, ${self.usd:.3f}"
        return f"{said} ({f'{self.runs} recorded runs' if self.source == 'recorded' else 'assumed'})"


@dataclass(frozen=True)
class _Stage:
    """Calls of one tier, one after another or as many at once as there are slots."""

    tier: Tier
    calls: int
    at_once: bool = False


def prices(specs: Mapping[str, str] | None) -> Mapping[Tier, float]:
    """USD of a call by tier: by the price of the tier's model where it is known, else assumed.

    >>> prices({"economy": "openai:gpt-4o-mini"})["economy"]
    0.00066
    """
    found = dict(USD)
    for tier in TIERS:
        provider, _, name = (specs or {}).get(tier, "").partition(":")
        if name and (rate := rates(name, provider)) is not None:
            found[tier] = round(SENT * rate[0] + RECEIVED * rate[1], 6)
    return found


def size_of(task: Assessment) -> int:
    """How many would work on a task together."""
    return max(1, min(SIZES[task.complexity], task.resources.agents))


def forecasts(
    task: str, assessment: Assessment, history: History | None = None, usd: Mapping[Tier, float] = USD
) -> tuple[Forecast, ...]:
    """What each pattern would cost and take.

    Args:
        task: as it was put.
        assessment: of it.
        history: recorded runs.
        usd: of a call, by tier.
    """
    kind = kind_of(task)
    known = [one for one in outcomes(history) if one.kind == kind] if history else []
    found = []
    for pattern in PATTERNS:
        stages = _stages(pattern, assessment)
        own = [one for one in known if one.pattern == pattern]
        calls = sum(one.calls for one in stages)
        if len(own) >= ENOUGH:
            paid = [one.usd for one in own if one.usd is not None]
            found.append(
                Forecast(
                    pattern=pattern,
                    calls=round(statistics.median(one.calls for one in own)),
                    seconds=round(statistics.median(one.seconds for one in own), 3),
                    usd=round(statistics.median(paid), 5) if paid else round(_paid(stages, usd), 5),
                    source="recorded",
                    runs=len(own),
                )
            )
            continue
        slots = assessment.resources.slots
        seconds = sum(
            SECONDS[one.tier] * (math.ceil(one.calls / slots) if one.at_once else one.calls) for one in stages
        )
        paid_for = round(_paid(stages, usd), 5)
        found.append(Forecast(pattern=pattern, calls=calls, seconds=seconds, usd=paid_for, source="assumed"))
    return tuple(found)


def _paid(stages: Sequence[_Stage], usd: Mapping[Tier, float]) -> float:
    return sum(usd[one.tier] * one.calls for one in stages)


def _stages(pattern: Pattern, task: Assessment) -> list[_Stage]:
    """The calls of a team as `choosing.teams` makes it, where nothing is sent back, without the assessment."""
    size, checked, critical = size_of(task), task.quality != "standard", task.quality == "critical"
    works = _Stage("standard", size, True)
    if pattern == "single":
        return [_Stage("standard", 1), *([_Stage("premium", 1)] if checked else [])]
    if pattern == "sequential":
        return [_Stage("standard", size), _Stage("premium", size)]
    if pattern == "parallel":
        many = task.items >= MANY
        parts = min(task.items, WIDEST) if many else size
        split = [_Stage("premium", 1)] if many else []
        judged = [_Stage("premium", parts, True)] if checked else []
        return [*split, _Stage("standard", parts, True), *judged, _Stage("premium", 1)]
    if pattern == "hierarchical":
        judged = [_Stage("premium", size, True), _Stage("premium", 1)] if critical else []
        notes, accepted = _Stage("economy", size, True), _Stage("premium", size, True)
        return [_Stage("premium", 1), works, notes, accepted, _Stage("premium", 1), *judged]
    judged = [_Stage("premium", size, True)] if checked else []
    return [_Stage("premium", 2), works, _Stage("economy", size, True), *judged, _Stage("premium", 1)]
