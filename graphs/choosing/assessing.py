"""Who assesses a task: a model where there is one, the words where there is none, and before both whoever states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from troupe.agents.agent import Agent
from troupe.agents.context import TeamContext
from troupe.agents.contracts import Brief
from troupe.agents.errors import BuildError
from troupe.agents.functions import FunctionAgent
from troupe.agents.models import Models
from troupe.agents.models.simulated import SimulatedChatModel
from troupe.graphs.adapters import as_agent
from troupe.graphs.choosing.assessment import must_be_stated
from troupe.prompts import load

ASSESSOR = "sr-architect"


def as_assessor(given: Any) -> Agent | None:
    """Who assesses, from whatever was given: a role or agent, a function of the Brief, what is known, or None.

    Raises:
        BuildError: somebody who cannot decide, or something else.
        UnknownName, InputError: what is known has a field or value that there is not.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        known = must_be_stated(given)

        async def stated(_: Brief) -> dict[str, Any]:
            return known

        return FunctionAgent(stated, "stated")
    made = as_agent(given)
    if not (made.can_decide or isinstance(made, FunctionAgent)):
        raise BuildError(
            f"assessor={made.name!r} cannot decide. Give a role or an agent with a model, a function of the Brief "
            "that returns what is known ({'complexity': 'simple'}), that itself, or None for the words alone."
        )
    return made


def what_to_assess(task: str, prompts: Any, **more: Any) -> Brief:
    """The brief of whoever assesses."""
    return Brief(task=task, step="assess", objective=load("moves/assess", prompts), **more)


async def may_be_asked(agent: Agent, models: Models) -> bool:
    """Whether an assessment of this agent says anything: what the simulated model invents does not."""
    return isinstance(agent, FunctionAgent) or not isinstance(await agent.chat_model(models), SimulatedChatModel)


def of_context(context: TeamContext) -> dict[str, Any]:
    """What a run's context states of its task."""
    return {name: value for name in ("quality", "timeline") if (value := getattr(context, name)) is not None}
