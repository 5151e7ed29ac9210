"""The same work in another way: a team in the agent's place, its task in parts, or its work guided by a senior.

Each is one agent that stands in for the one that failed; what it takes inside is recorded under the step's own call.
"""

from __future__ import annotations

from typing import Literal

from troupe.agents.agent import Agent
from troupe.graphs.adapters import GraphAgent
from troupe.graphs.builders import build, make
from troupe.graphs.forking.fanout import each
from troupe.graphs.recovery import ONLY_RETRIES
from troupe.graphs.step import Step
from troupe.graphs.team import TeamGraph

SENIOR = "sr-architect"
PARTS = 8
"""As many as a senior would split one piece of work into."""


def team_of(pattern: str, agent: Agent, objective: str) -> Agent:
    """A team of that pattern; a senior leads where somebody must."""
    worker = Step(agent, objective, gate=None, recovery=ONLY_RETRIES)
    return _agent(build(pattern, [worker], Step(SENIOR, name="lead")), f"{agent.name} in a {pattern} team")


def adapted(how: Literal["split", "guide"], agent: Agent, objective: str) -> Agent:
    """The agent's work in parts that a senior finds and the agent puts together, or under a senior's guidance."""
    if how == "guide":
        text = f"Say how this is to be done, in clear steps, and what to look out for: {objective or 'the task'}"
        line = Step(SENIOR, text, name="guidance"), Step(agent, objective, name="work", recovery=ONLY_RETRIES)
        return _agent(make("sequential", *line), f"{agent.name} guided by {SENIOR}")
    part = Step(agent, objective, name="part", recovery=ONLY_RETRIES)
    whole = Step(agent, "Put the parts together.", name="whole", recovery=ONLY_RETRIES)
    return _agent(make("parallel", each(part, SENIOR, most=PARTS), merge=whole), f"{agent.name} in parts")


def _agent(graph: TeamGraph, name: str) -> Agent:
    return GraphAgent(graph.compile(name=name))
