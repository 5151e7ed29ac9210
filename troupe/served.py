"""Our patterns and workflows for LangGraph's server (`langgraph.json`), compiled without a checkpointer: it brings one.

The server calls these factories for every run and every read, inside its event loop: the teams are built on import.
"""

from __future__ import annotations

from troupe.catalogue import CATALOGUE
from troupe.graphs.team import Team

_TEAMS: dict[str, Team] = {name: entry.make().compile() for name, entry in CATALOGUE.items()}


def aiml() -> Team:
    """A machine learning system, from the literature to its operation."""
    return _TEAMS["aiml"]


def enterprise() -> Team:
    """A system for a large organisation, from its analysis to its announcement."""
    return _TEAMS["enterprise"]


def fullstack() -> Team:
    """A web application, from requirements to release."""
    return _TEAMS["fullstack"]


def adaptive() -> Team:
    """Whatever way of working the task asks for."""
    return _TEAMS["adaptive"]


def hierarchical() -> Team:
    """Two levels that decide, and one that works."""
    return _TEAMS["hierarchical"]


def mesh() -> Team:
    """A hub and a pool of fifteen."""
    return _TEAMS["mesh"]


def parallel() -> Team:
    """Four branches at once, integrated and validated."""
    return _TEAMS["parallel"]


def sequential() -> Team:
    """The classic line of five."""
    return _TEAMS["sequential"]
