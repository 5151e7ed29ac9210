"""An agent tried alone, outside any team: the same call through the same Executor, kept nowhere."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.call import Call, Purpose
from troupe.agents.context import TeamContext
from troupe.agents.contracts import Brief, Deliverable, Failed, Ok, Outcome
from troupe.agents.errors import InputError, NotCompleted
from troupe.agents.journal import MemoryJournal
from troupe.agents.scope import RunScope
from troupe.agents.settings import Settings


async def work_alone(agent: Agent, brief: Brief, config: RunnableConfig | None = None) -> Deliverable:
    """What the agent makes of a brief.

    Raises:
        InputError: that is no brief.
        NotCompleted: the call failed; says why.
    """
    if not isinstance(brief, Brief):
        raise InputError(f"{agent.name} takes a brief, not {type(brief).__name__}: Brief(task=...).")
    outcome = await _called(agent, brief, TeamContext(), config=ensure_config(config))
    if isinstance(outcome, Ok):
        done: Deliverable = outcome.value
        return done.but(status="accepted" if done.status == "submitted" else done.status, usage=outcome.usage)
    raise NotCompleted(outcome.cause if isinstance(outcome, Failed) else outcome.reason)


async def decide_alone(agent: Agent, brief: Brief, schema: type[BaseModel], context: TeamContext) -> Outcome:
    """What the agent decides."""
    return await _called(agent, brief, context, purpose="decide", schema=schema, config=ensure_config())


async def _called(agent: Agent, brief: Brief, context: TeamContext, purpose: Purpose = "work", **more: Any) -> Outcome:
    settings = await asyncio.to_thread(Settings.refresh)
    scope = RunScope(context, "alone", settings=settings, journal=MemoryJournal())
    named = brief if brief.step else brief.model_copy(update={"step": agent.name})
    call = Call(
        key="alone/1/call",
        path=named.step,
        agent=agent,
        brief=named,
        purpose=purpose,
        scope=scope,
        emit=scope.tell,
        **{"schema": None, **more},
    )
    return await scope.executor.call(call)
