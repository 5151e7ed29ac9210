"""A step that takes much longer than usual is given to a colleague besides; whoever delivers first counts."""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.call import current_call
from troupe.agents.contracts import Brief, Deliverable
from troupe.agents.functions import FunctionAgent
from troupe.agents.models import Models
from troupe.graphs.adapters import GraphAgent
from troupe.graphs.builders import make
from troupe.graphs.forking.joins import first
from troupe.graphs.history import History
from troupe.graphs.recovery import ONLY_RETRIES, STANDARD, others
from troupe.graphs.step import Step

_LOOK = 0.25
ENOUGH = 3
"""So many times somebody must have worked before it is known what they usually take."""


def usual(history: History, agent: str) -> float | None:
    """Seconds that an agent's work usually takes; None where too little is recorded."""
    known = [one.seconds for one in history.steps() if one.agent == agent and one.delivered and not one.composed]
    return statistics.median(known) if len(known) >= ENOUGH else None


class Later(Agent):
    """An agent who begins after a while."""

    holds_slot = False  # whoever waits takes nobody's place

    def __init__(self, agent: Agent, seconds: float) -> None:
        self.agent = agent
        self.seconds = seconds
        self.name, self.title, self.can_decide = agent.name, agent.title, agent.can_decide

    async def chat_model(self, models: Models) -> Any:
        """See `Agent`."""
        return await self.agent.chat_model(models)

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """Wait, and as long as others wait for a slot, whose queue this must not make longer; then work."""
        await asyncio.sleep(self.seconds)
        while not current_call().scope.executor.spare:  # noqa: ASYNC110 - slots tell only those who wait for one
            await asyncio.sleep(_LOOK)
        return await self.agent.work(brief, schema)


def hurried(step: Step, after: float, task: str) -> Step:
    """The step with a colleague who begins after so many seconds, unless its own agent has delivered by then."""
    brief = Brief(task=task, step=step.name, objective=step.objective)
    able = (one for how, one in others(STANDARD, step.agent, brief, deciding=False)({}) if how != "model")
    colleague = next(able, step.agent)  # the same again, where nobody else can do it

    def branch(agent: Agent, name: str) -> Step:
        return Step(agent, step.objective, name=name, returns=step.returns, gate=None, recovery=ONLY_RETRIES)

    team = make(
        "parallel",
        branch(step.agent, "asked"),
        branch(Later(colleague, after), "besides"),
        join=first(1),
        merge=FunctionAgent(_whatever_came, "whoever was first"),
    )
    agent = GraphAgent(team.compile(name=step.agent.name))
    changes: dict[str, Any] = {name: getattr(step, name) for name in ("objective", "name", "returns", "gate", "needs")}
    return Step(agent, optional=step.optional, undo=step.undo, **changes)


async def _whatever_came(brief: Brief) -> Deliverable:
    return brief.deliverables[brief.needs[0]]
