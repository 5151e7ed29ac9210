"""Patterns by name, for a pattern that runs another: found by their place, so that none imports another."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from troupe.agents.errors import UnknownName

if TYPE_CHECKING:
    from troupe.graphs.step import Step
    from troupe.graphs.team import TeamGraph

BUILDERS = {
    "sequential": "sequential:sequential",
    "parallel": "parallel:parallel",
    "hierarchical": "hierarchical:hierarchical",
}
"""Those that can be made of any steps."""
_EVERY = {**BUILDERS, "mesh": "mesh:mesh"}


def build(pattern: str, steps: Sequence[Step], lead: Step) -> TeamGraph:
    """A team of these steps in that pattern; where somebody must lead, it is `lead`.

    Raises:
        UnknownName: there is no such pattern.
        BuildError: these steps cannot work so.

    >>> from troupe import Step
    >>> build("sequential", [Step("qa-engineer")], Step("agent-architect")).name
    'sequential'
    """
    below = {"strategic": [lead], "implementation": list(steps)}
    return make(pattern, **below) if pattern == "hierarchical" else make(pattern, *steps)


def make(pattern: str, *steps: Any, **options: Any) -> TeamGraph:
    """What a pattern's builder makes of these arguments.

    Raises:
        UnknownName: there is no such pattern.
    """
    if pattern not in _EVERY:
        raise UnknownName("pattern", pattern, _EVERY)
    module, _, name = _EVERY[pattern].partition(":")
    graph: TeamGraph = getattr(import_module(f"troupe.graphs.{module}"), name)(*steps, **options)
    return graph
