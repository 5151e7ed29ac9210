"""The one shape of whoever works in a team: it works, and most of them decide."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel

from troupe.agents.contracts import Brief, Deliverable
from troupe.agents.errors import BuildError

if TYPE_CHECKING:
    from troupe.agents.models import Models

S = TypeVar("S", bound=BaseModel)


class Agent(Runnable[Brief, Deliverable], ABC):
    """Works from a Brief to a Deliverable; as a LangChain Runnable it can be tried alone.

    >>> from troupe import Brief, agent
    >>> agent("poet", "Write verse.").invoke(Brief(task="a haiku")).agent
    'poet'
    """

    name: str
    title: str = ""
    tier: str = ""
    """The class of model that serves it, where that is known."""
    can_decide: bool = True
    holds_slot: bool = True
    """Whether a call counts against the Executor's cap; a graph does not, the calls inside it do."""
    composed: bool = False
    """Whether it is a team of ours, whose own calls can be given up one by one while it ends in good order."""
    grace: float = 0.0
    """Seconds beyond the run's deadline, for a graph to end with what its own calls have brought by then."""

    async def chat_model(self, models: Models) -> Any:
        """The chat model that serves this agent in a run; None if it has none, as a function."""
        return None

    @abstractmethod
    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """Do the job: text, and with a `schema` also an instance of it in `data`."""

    async def decide(self, brief: Brief, schema: type[S]) -> S:
        """Give a small value that is valid against `schema`."""
        raise BuildError(f"{self.name!r} works but cannot decide. Use an agent with a model for this.")

    async def ainvoke(self, input: Brief, config: RunnableConfig | None = None, **_: Any) -> Deliverable:
        """Work alone, outside a team: through the Executor, with the settings' model.

        Raises:
            NotCompleted: the call failed.
        """
        from troupe.agents.alone import work_alone

        return await work_alone(self, input, config)

    def invoke(self, input: Brief, config: RunnableConfig | None = None, **_: Any) -> Deliverable:
        """The same as `ainvoke`, from code that is not async."""
        from troupe.agents.loop import run_sync

        return run_sync(self.ainvoke(input, config))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
