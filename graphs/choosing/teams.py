"""The team of a pattern, made of those members whose capabilities match the task; a senior plans, merges and judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from troupe.agents.context import Quality
from troupe.agents.contracts import NO_USAGE, Brief, Deliverable
from troupe.agents.functions import FunctionAgent
from troupe.agents.matching import Lexicon, need, profile
from troupe.graphs.adapters import GraphAgent
from troupe.graphs.builders import make
from troupe.graphs.checks import review
from troupe.graphs.choosing.assessment import Assessment
from troupe.graphs.choosing.feedback import Advice
from troupe.graphs.choosing.forecasting import WIDEST, size_of
from troupe.graphs.choosing.selection import MANY, Pattern
from troupe.graphs.forking.fanout import each
from troupe.graphs.gates import Gate, gate
from troupe.graphs.meshing.guards import Guards
from troupe.graphs.recovery import Recovery
from troupe.graphs.step import INHERIT, Step

_USUAL = ("specialist-engineer", "qa-engineer", "technical-writer")  # for a task that says nothing of any skill
_AT_LEAST: Mapping[Quality, float | None] = {"standard": None, "high": 0.75, "critical": 0.85}
_REWORKS: Mapping[Quality, int] = {"standard": 1, "high": 2, "critical": 3}
_HOPS = 8  # assignments of a mesh, for each of its size
_WHOLE = "Put the parts together into one answer to the task; mend what contradicts."


@dataclass(frozen=True)
class Casting:
    """Everything that a team is made from.

    Attributes:
        pool: who may work.
        lead: who plans, merges and judges, and is none of them.
        advice: what recorded runs change.
        split: whether what fails may be done in parts.
        kept: what earlier attempts delivered and was accepted, by step: it is not done again.
    """

    task: str
    assessment: Assessment
    pool: Sequence[Step]
    lead: Step
    advice: Advice = field(default_factory=Advice)
    split: bool = False
    kept: Mapping[str, Deliverable] = field(default_factory=dict)

    def team(self, pattern: Pattern) -> Step:
        """The pattern's team as one step, named after it.

        Raises:
            BuildError: these members cannot work so.
        """
        members = self.members(2 if pattern == "mesh" else 1)
        checked = self.assessment.quality != "standard"
        if pattern == "single":
            best = self.best(members)
            if not checked and not isinstance(best.gate, Gate):
                return best.named(pattern)
            return self._nested(pattern, make("sequential", self._gated(best)))
        if pattern == "sequential":
            return self._nested(pattern, make("sequential", *map(self._gated, map(self._or_kept, members))))
        if pattern == "parallel":
            return self._nested(pattern, self._parallel(members, checked))
        if pattern == "hierarchical":
            critical = self._gate() if self.assessment.quality == "critical" else None
            below = {"strategic": self.lead, "implementation": members, "width": 4 * len(members)}
            return self._nested(pattern, make(pattern, **below, gate=critical))
        judged = [self._gated(one) for one in members] if checked else members
        guards = Guards(hops=_HOPS * len(members))
        return self._nested(pattern, make(pattern, judged, replace(self.lead, gate=None), guards=guards))

    def members(self, least: int = 1) -> list[Step]:
        """Who works: those whose capabilities match the task, in the order of the pool."""
        count = max(least, size_of(self.assessment))
        able = self._capabilities()
        fit = sorted((one for one in self.pool if able[one.name] > 0), key=lambda one: -able[one.name])[:count]
        usual = [one for one in self.pool if one.name in _USUAL] or list(self.pool)
        for other in (*usual, *self.pool):
            if len(fit) < count and other not in fit:
                fit.append(other)
        chosen = [one for one in self.pool if one in fit]
        return [self._prepared(one) for one in chosen]

    def best(self, members: Sequence[Step]) -> Step:
        """Whoever covers most of the task."""
        able = self._capabilities()
        return max(members, key=lambda one: able[one.name])

    def _prepared(self, member: Step) -> Step:
        recovery = Recovery(adapt="split") if self.split and member.recovery is INHERIT else member.recovery
        objective = member.objective or member.agent.title
        return self.advice.applied(replace(member, needs=(), objective=objective, recovery=recovery), self.task)

    def _capabilities(self) -> dict[str, float]:
        lexicon = Lexicon({one.name: profile(one.agent, one.name, one.objective) for one in self.pool})
        return lexicon.capabilities(need(self.task))

    def _parallel(self, members: Sequence[Step], checked: bool) -> Any:
        """Like work is shared out to one kind of worker; else everybody does their part."""
        whole = Step(self.lead.agent, _WHOLE, name="whole", gate=None)
        if self.assessment.items >= MANY:
            worker = self.best(members)
            worker = self._gated(worker) if checked else worker
            most = min(self.assessment.items, WIDEST)
            return make("parallel", each(worker, self.lead.agent, most=most), merge=whole)
        parts = [self._or_kept(one) for one in members]
        return make("parallel", *(self._gated(one) for one in parts) if checked else parts, merge=whole)

    def _gated(self, member: Step) -> Step:
        """The member under a gate of the senior's, unless it has one of its own, or is done already."""
        if member.gate is not INHERIT:
            return member
        return replace(member, gate=self._gate(self.advice.reworks(member.name)))

    def _gate(self, more: int = 0) -> Gate:
        quality = self.assessment.quality
        checks = review(by=self.lead.agent, at_least=_AT_LEAST[quality])
        return gate(checks, rework=_REWORKS[quality] + more)

    def _or_kept(self, member: Step) -> Step:
        """The member, or a function that hands over what it has delivered before."""
        done = self.kept.get(member.name)
        if done is None:
            return member

        async def kept(_: Brief) -> Deliverable:
            return done.but(status="submitted", usage=NO_USAGE, parts={})

        return Step(FunctionAgent(kept, member.agent.name), member.objective, name=member.name, gate=None)

    def _nested(self, pattern: Pattern, graph: Any) -> Step:
        return Step(GraphAgent(graph.compile(name=f"{pattern} team")), name=pattern, gate=None)
