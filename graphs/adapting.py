"""The same work in another way: a team in the agent's place, its task in parts, or its work guided by a senior.

Each is one agent that stands in for the one that failed; what it takes inside is recorded under the step's own call.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.chat import ChatAgent
from troupe.agents.chat import agent as of_roster
from troupe.graphs.adapters import GraphAgent
from troupe.graphs.builders import build, make
from troupe.graphs.forking.fanout import each
from troupe.graphs.recovery import ONLY_RETRIES
from troupe.graphs.step import Step
from troupe.graphs.team import TeamGraph

SENIOR = "sr-architect"
PARTS = 8
"""As many as a senior would split one piece of work into."""


def team_of(pattern: str, agent: Agent, objective: str, returns: type[BaseModel] | None = None) -> Agent:
    """A team of that pattern; a senior leads where somebody must."""
    # What a hierarchy reports and branches come to is text: it is given its form in the end.
    formed = returns is not None and pattern != "sequential" and agent.can_decide
    worker = _work(agent, objective, agent.name, None if formed else returns)
    team = build(pattern, [worker], Step(_senior(agent), name="lead"))
    if formed:
        text = "Give the result of the team in the form that is asked for; add nothing to it."
        team = make("sequential", Step(team, name="team"), _work(agent, text, "result", returns))
    return _agent(team, f"{agent.name} in a {pattern} team")


def adapted(
    how: Literal["split", "guide"], agent: Agent, objective: str, returns: type[BaseModel] | None = None
) -> Agent:
    """The agent's work in parts that a senior finds and the agent puts together, or under a senior's guidance."""
    if how == "guide":
        text = f"Say how this is to be done, in clear steps, and what to look out for: {objective or 'the task'}"
        line = Step(_senior(agent), text, name="guidance"), _work(agent, objective, "work", returns)
        return _agent(make("sequential", *line), f"{agent.name} guided by {SENIOR}")
    part, whole = _work(agent, objective, "part"), _work(agent, "Put the parts together.", "whole", returns)
    return _agent(make("parallel", each(part, _senior(agent), most=PARTS), merge=whole), f"{agent.name} in parts")


def _work(agent: Agent, objective: str, name: str, returns: type[BaseModel] | None = None) -> Step:
    return Step(agent, objective, name=name, returns=returns, gate=None, recovery=ONLY_RETRIES)


def _senior(agent: Agent) -> Agent:
    """Whoever splits, guides or leads; what is kept to a model of the agent's own is told to no other."""
    return of_roster(SENIOR, model=agent.own_model if isinstance(agent, ChatAgent) else None)


def _agent(graph: TeamGraph, name: str) -> Agent:
    return GraphAgent(graph.compile(name=name))
