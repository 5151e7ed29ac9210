"""What has been published about which way of working wins where, as data, and what it says of a task.

A score is the chance that a team of that pattern does the task, as far as the published effects carry over: they are
averages over other models and tasks than yours, and where a single agent stands at first is our own guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from troupe.agents.contracts import Value
from troupe.graphs.choosing.assessment import HALF, Assessment, Complexity
from troupe.graphs.choosing.selection import MANY, PATTERNS, Pattern

Trait = Literal["known parts", "like items", "exploratory", "sequential"]


@dataclass(frozen=True)
class Finding:
    """A published effect of a pattern on tasks of a trait, relative to a single agent."""

    pattern: Pattern
    trait: Trait
    effect: float
    says: str


_SCALING = "2512.08296"
INDEPENDENT = 4.4 / 17.2
"""Errors grow 17.2-fold among independent agents, and 4.4-fold under a central check (2512.08296)."""
FINDINGS: tuple[Finding, ...] = (
    Finding("hierarchical", "known parts", 0.808, f"central control +80.8% on decomposable work ({_SCALING})"),
    Finding(
        "parallel", "known parts", 0.808 * INDEPENDENT,
        f"independent agents amplify errors 17.2-fold, a central check 4.4-fold ({_SCALING})",
    ),
    Finding("parallel", "like items", 0.902, "a lead with parallel workers +90.2% on breadth-first work (Anthropic)"),
    Finding("mesh", "exploratory", 0.092, f"decentralised +9.2% on web navigation ({_SCALING})"),
    Finding("sequential", "sequential", -0.39, f"every team loses on sequential work, 39% at least ({_SCALING})"),
    Finding("hierarchical", "sequential", -0.545, f"teams lose 39 to 70% on sequential work ({_SCALING})"),
    Finding("mesh", "sequential", -0.545, f"teams lose 39 to 70% on sequential work ({_SCALING})"),
    Finding("parallel", "sequential", -0.70, f"teams lose up to 70% on sequential work ({_SCALING})"),
)  # fmt: skip
SATURATION = 0.45
"""Where a single agent succeeds this often, teams gain nothing more (2512.08296)."""
CHECKED = 0.235
"""The share of a team's failures that are failures of checking (MAST, 2503.13657)."""
OVERHEAD = 0.03
"""What handing work over costs at least, so that of equals the simpler one wins: our own."""
ALONE: Mapping[Complexity, float] = {"simple": 0.8, "moderate": 0.5, "complex": 0.35, "enterprise": 0.25}
"""How often a single agent succeeds: our own guess, until there are recorded runs."""
HARDER = 0.15
"""By how much less so where the work is exploratory, or there are many things to do: our own guess."""
_NEED = {"standard": 0.25, "high": 0.75, "critical": 1.0}  # how much of what checks can catch matters


class Scored(Value):
    """A pattern's chance of doing a task, and why."""

    pattern: Pattern
    score: float = Field(ge=0, le=1)
    reasons: tuple[str, ...] = ()


def alone(task: Assessment) -> float:
    """How often a single agent would succeed."""
    return max(0.05, ALONE[task.complexity] - HARDER * ((task.exploratory >= HALF) + (task.items >= MANY)))


def scored(task: Assessment) -> tuple[Scored, ...]:
    """Every pattern with its score, in the order of their cost."""
    base = alone(task)
    exploratory = task.exploratory >= HALF
    traits: dict[Trait, float] = {
        # What is to be found out has no parts yet, and many things of one kind are another finding.
        "known parts": 0.0 if exploratory else task.decomposable,
        "like items": float(task.items >= MANY and not exploratory),
        "exploratory": task.exploratory,
        "sequential": task.sequential,
    }
    return tuple(_scored(pattern, base, traits, _NEED[task.quality]) for pattern in PATTERNS)


def _scored(pattern: Pattern, base: float, traits: Mapping[Trait, float], need: float) -> Scored:
    if pattern == "single":
        return Scored(pattern=pattern, score=round(base, 3), reasons=(f"{base:.0%}: one agent alone, assumed",))
    gain, loss, reasons = 0.0, 0.0, []
    for one in FINDINGS:
        share = traits[one.trait]
        if one.pattern != pattern or not share:
            continue
        if one.effect < 0:
            loss = min(loss, one.effect * share)
        elif base > SATURATION:
            reasons.append(f"no gain where a single agent succeeds in more than {SATURATION:.0%} ({_SCALING})")
            continue
        else:
            gain = max(gain, one.effect * share)
        if abs(one.effect * share) >= OVERHEAD:  # what is less is not worth a word
            reasons.append(f"{one.effect * share:+.0%}: {one.says}")
    caught = CHECKED * need * (1 - base)
    reasons.append(f"{caught:+.0%}: checks catch {CHECKED:.1%} of the failures at most (2503.13657)")
    score = min(0.98, max(0.02, base * (1 + gain + loss) + caught - OVERHEAD))
    return Scored(pattern=pattern, score=round(score, 3), reasons=tuple(dict.fromkeys(reasons)))


def best(scores: tuple[Scored, ...]) -> Scored:
    """The highest score; of equals the pattern that costs less."""
    return max(scores, key=lambda one: (one.score, -PATTERNS.index(one.pattern)))
