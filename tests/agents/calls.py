"""Calls made without a graph, as an Executor sees them."""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from troupe import Brief, Executor, TeamContext
from troupe.agents.agent import Agent
from troupe.agents.call import Call, Purpose
from troupe.agents.contracts import Deliverable, Outcome
from troupe.agents.journal import MemoryJournal
from troupe.agents.scope import RunScope
from troupe.agents.settings import Settings


def scope_of(model: Any = None, **options: Any) -> RunScope:
    """A run's scope with a journal of its own; `context` has further fields of the context."""
    context = TeamContext(models=model, **options.pop("context", {}))
    return RunScope(context, "t", **{"journal": MemoryJournal(), "settings": Settings.load(), **options})


def call_of(
    worker: Agent,
    scope: RunScope | None = None,
    *,
    task: str = "x",
    step: str = "",
    key: str | None = None,
    purpose: Purpose = "work",
    schema: type[BaseModel] | None = None,
    events: list[Any] | None = None,
    **brief: Any,
) -> Call:
    """A call of `worker`; one that decides where there is a schema and the purpose is not work."""
    step = step or worker.name
    return Call(
        key=key or f"t/1/{step}#1/{purpose}.{worker.name}/00",
        path=step,
        agent=worker,
        brief=Brief(task=task, step=step, **brief),
        purpose=purpose,
        schema=schema,
        scope=scope or scope_of(),
        config={},
        emit=(lambda _: None) if events is None else events.append,
    )


async def outcome_of(worker: Agent, scope: RunScope | None = None, **options: Any) -> Outcome:
    """How a call of `worker` ends."""
    scope = scope or scope_of()
    return await scope.executor.call(call_of(worker, scope, **options))


class Waits(list[float]):
    """The seconds that retries would have waited."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


def impatient(**options: Any) -> Executor:
    """An Executor whose retries do not wait."""
    return Executor(sleep=Waits().sleep, **options)


class Worker(Agent):
    """An agent that does what a function says."""

    def __init__(self, act: Callable[[Brief], Awaitable[str]], name: str = "worker") -> None:
        self.act = act
        self.name = name

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        return Deliverable(step=brief.step, content=await self.act(brief))
