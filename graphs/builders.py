"""Patterns by name, for a pattern that runs another: found by their place, so that none imports another."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from troupe.agents.errors import UnknownName
from troupe.graphs.step import Step

if TYPE_CHECKING:
    from troupe.graphs.team import TeamGraph

BUILDERS = {
    "sequential": "sequential:sequential",
    "parallel": "parallel:parallel",
    "hierarchical": "hierarchical:hierarchical",
}


def build(pattern: str, steps: Sequence[Step], lead: Step) -> TeamGraph:
    """A team of these steps in that pattern; where somebody must lead, it is `lead`.

    Raises:
        UnknownName: there is no such pattern.
        BuildError: these steps cannot work so.

    >>> build("sequential", [Step("qa-engineer")], Step("agent-architect")).name
    'sequential'
    """
    if pattern not in BUILDERS:
        raise UnknownName("pattern", pattern, BUILDERS)
    module, _, name = BUILDERS[pattern].partition(":")
    builder = getattr(import_module(f"troupe.graphs.{module}"), name)
    below = {"strategic": [lead], "implementation": list(steps)}
    graph: TeamGraph = builder(**below) if pattern == "hierarchical" else builder(*steps)
    return graph
