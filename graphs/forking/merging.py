"""How the results of branches become one: by whom, and by which policy what contradicts is settled before.

parallel("frontend-engineer", "python-engineer", merge=merge(by="integration-architect", conflicts="judge"))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from troupe.agents.agent import Agent
from troupe.agents.contracts import Brief, Deliverable
from troupe.agents.errors import BuildError, UnknownName
from troupe.agents.functions import FunctionAgent
from troupe.graphs.adapters import as_agent
from troupe.graphs.forking.conflicts import POLICIES, Policy
from troupe.graphs.gates import Gate
from troupe.graphs.recovery import Recovery
from troupe.graphs.step import Step, as_steps


@dataclass(frozen=True)
class Merge:
    """See `merge`."""

    by: tuple[Any, ...]
    conflicts: Policy | None
    judge: Agent

    def steps(self, gate: Gate | None, engine: Sequence[str], recovery: Recovery | None = None) -> list[Step]:
        """Who merges, in order."""
        return as_steps(self.by, gate, engine, recovery)


def merge(by: Any = None, conflicts: Policy | None = None, judge: Any = "sr-architect") -> Merge:
    """How branches are merged.

    Args:
        by: an agent, a function of the Brief, a graph or a `Step`; a list of them works one after another. None puts
            the parts side by side, each under its name.
        conflicts: how contradictions are settled: `priority` (of the branches' order), `confidence`, `vote` (of the
            authors), `judge`, or `ask` (a person). With a policy, authors say what they decided and assumed, and the
            judge reads all parts for contradictions: a call per branch and one more. None compares only what is there
            as data, without a call, by priority.
        judge: who finds contradictions, and rules where the policy is `judge`.

    Raises:
        BuildError: nobody merges, or the judge cannot decide.
        UnknownName: there is no such policy.
    """
    if conflicts is not None and conflicts not in POLICIES:
        raise UnknownName("policy", conflicts, POLICIES)
    listed = tuple(by) if isinstance(by, list | tuple) else (by,) if by is not None else (_SIDE_BY_SIDE,)
    if not listed:
        raise BuildError("merge(by=[]) merges nothing. Give an agent or a function, or leave it out.")
    made = as_agent(judge)
    if not made.can_decide:
        raise BuildError(f"{made.name!r} cannot decide, so it cannot judge. Use a role or an agent with a model.")
    return Merge(listed, conflicts, made)


def as_merge(given: Any) -> Merge:
    """A merge from what a builder was given."""
    return given if isinstance(given, Merge) else merge(by=given)


def side_by_side(parts: Sequence[Deliverable]) -> str:
    """All parts in one text, each under the name of its step and of who made it.

    >>> print(side_by_side([Deliverable(step="ui", agent="frontend-engineer", content="A form.")]))
    ## ui (frontend-engineer)
    <BLANKLINE>
    A form.
    """
    return "\n\n".join(
        f"## {one.step}{f' ({one.agent})' if one.agent not in ('', one.step) else ''}\n\n{one.content}" for one in parts
    )


async def _side_by_side(brief: Brief) -> str:
    rulings = "".join(f"\n- {one}" for one in brief.guidance)
    parts = side_by_side([brief.deliverables[name] for name in brief.needs])
    return f"{parts}\n\n## What holds\n{rulings}" if rulings else parts


_SIDE_BY_SIDE = FunctionAgent(_side_by_side, "merge")
