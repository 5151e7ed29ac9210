"""A node: one async function, called alike by sync and async runs, and the place in the run that it sees."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.call import Call, Purpose, current
from troupe.agents.contracts import Brief, Outcome
from troupe.agents.errors import LimitReached, failure
from troupe.agents.events import Event
from troupe.agents.loop import run_sync
from troupe.agents.scope import RunScope
from troupe.graphs.recovery import STANDARD, Recovery, others
from troupe.graphs.saver import with_async_saver

# In `configurable`, where a key that starts with two underscores is never stored.
SCOPE = "__troupe_scope"
FRAME = "__troupe_frame"
READ = "__pregel_read"


@dataclass(frozen=True, slots=True)
class Here:
    """Where in a run a node stands."""

    scope: RunScope
    config: RunnableConfig
    outer: str
    """The path of the steps that this node is nested in, empty at the top."""

    @classmethod
    def of(cls, config: RunnableConfig) -> Here:
        """Read it from the config that LangGraph hands to a node."""
        inside = config["configurable"]
        parts = str(inside.get("checkpoint_ns", "")).split("|")[:-1]
        depth, outer = inside.get(FRAME, (0, ""))
        names = [part.partition(":")[0] for part in parts[depth:] if not part.isdigit()]
        return cls(inside[SCOPE], config, "/".join([outer, *names] if outer else names))

    def framed(self, mark: str = "") -> RunnableConfig:
        """The config for a graph that is a part of this one: its steps have the paths of steps of this one.

        Under another `mark`, a number, it keeps its checkpoints apart; LangGraph ignores numbers.
        """
        inside = self.config["configurable"]
        place = "|".join(filter(None, (str(inside.get("checkpoint_ns", "")), mark)))
        frame = len(place.split("|")), self.outer
        return {**self.config, "configurable": {**inside, "checkpoint_ns": place, FRAME: frame}}

    def within(self, step: str) -> Here:
        """The same for a step that has another name than its node: the paths of a graph that it runs begin with it."""
        inside = self.config["configurable"]
        depth = len(str(inside.get("checkpoint_ns", "")).split("|"))
        config: RunnableConfig = {**self.config, "configurable": {**inside, FRAME: (depth, self.path(step))}}
        return Here(self.scope, config, self.outer)

    def path(self, step: str) -> str:
        """A step's path: `outer/inner`."""
        return f"{self.outer}/{step}" if self.outer else step

    def emit(self, event: Event) -> None:
        """Tell the custom stream and the listeners."""
        runtime = self.config["configurable"].get("__pregel_runtime")
        if runtime is not None:
            runtime.stream_writer(event)
        self.scope.tell(event)

    async def call(
        self,
        agent: Agent,
        brief: Brief,
        state: Any,
        *,
        purpose: Purpose = "work",
        schema: type[BaseModel] | None = None,
        recovery: Recovery = STANDARD,
        but: Sequence[str] = (),
    ) -> Outcome:
        """Make a call through the Executor; its key says where in the run it is made, and with what brief.

        While it fails others are turned to, as `recovery` says, except those in `but`.
        """
        outer = current.get()
        depth = 1 if outer is None else outer.depth + 1
        try:
            self.scope.begin(purpose == "work", depth)
        except LimitReached as error:
            return failure(error)
        root = await self.root(state)
        digest = _digest(brief, schema)
        key = f"{root}/{quote(brief.step, safe='')}#{brief.round}/{purpose}.{quote(agent.name, safe='')}/{digest}"
        call = Call(
            key=key,
            path=self.path(brief.step),
            agent=agent,
            brief=brief,
            purpose=purpose,
            schema=schema,
            scope=self.scope,
            config=self.config,
            emit=self.emit,
            others=None
            if purpose == "undo"
            else others(recovery, agent, brief, purpose in ("decide", "review"), but, schema),
            retries=recovery.retries,
            depth=depth,
        )
        return await self.scope.executor.call(call)

    async def root(self, state: Any) -> str:
        """What the journal's keys of this team's turn begin with."""
        origin = state.get("origin", "")
        outer = current.get()
        if outer is not None and outer.scope is self.scope:  # another scope is a run that a step started on its own
            return f"{outer.key}/{self.outer}{origin}"
        root = f"{quote(self.scope.thread, safe='')}/{state.get('turn', 1)}{origin}"
        await self.scope.open(root)
        return f"{root}/{self.outer}" if self.outer else root


def now() -> float:
    """Seconds since the epoch, for events."""
    return time.time()


Work = Callable[[Any, Here], Awaitable[dict[str, Any]]]
ItemWork = Callable[[str, Any, Here], Awaitable[dict[str, Any]]]


class Node(RunnableLambda[Any, Any]):
    """Runs `work(state, here)`.

    A sync run hands it to the background loop. `graphs` are the graphs that it calls, so that drawings can show them.
    """

    def __init__(self, work: Work, name: str, graphs: Sequence[Any] = ()) -> None:
        self.work = work
        self.name = name
        self.graphs = list(graphs)

    @property
    def deps(self) -> list[Any]:
        """The graphs it calls."""
        return self.graphs

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Run it from a sync run."""
        assert config is not None  # noqa: S101 - LangGraph always hands one to a node
        return run_sync(self.ainvoke(input, with_async_saver(config)))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Run it."""
        assert config is not None  # noqa: S101 - LangGraph always hands one to a node
        return await self.work(input, Here.of(config))

    def __repr__(self) -> str:
        return f"Node({self.name!r})"


class Sent(Node):
    """A node for many items at once: each is sent by its id, and sees the team's whole state.

    A state that was sent along would be stored once more for each item.
    """

    def __init__(self, work: ItemWork, name: str, fields: Iterable[str], graphs: Sequence[Any] = ()) -> None:
        super().__init__(self._whole, name, graphs)
        self._work = work
        self._fields = list(fields)

    async def _whole(self, input: Any, here: Here) -> dict[str, Any]:
        state = here.config["configurable"][READ](self._fields, False)
        return await self._work(input["item"], state, here)


class Choice(Runnable[Any, Any]):
    """Which ways a conditional edge goes: a pure function of the state, called in place (LangGraph takes a thread)."""

    def __init__(self, choose: Callable[[Any], Any]) -> None:
        self.choose = choose
        self.name = "choice"

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Choose."""
        return self.choose(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Choose."""
        return self.choose(input)


def _digest(brief: Brief, schema: type[BaseModel] | None) -> str:
    """What makes two briefs the same: everything an agent can see, but no clock and no money."""
    seen = hashlib.blake2b(digest_size=8)
    for part in (
        brief.task,
        brief.objective,
        brief.item,
        brief.feedback,
        *brief.guidance,
        *brief.needs,
        *(f"{name}={why}" for name, why in brief.missing.items()),
        *(f"{name}={done.content}" for name, done in brief.deliverables.items()),
        *(f"{message.role}:{message.text}" for message in brief.conversation),
        brief.previous.content if brief.previous else "",
        schema.__name__ if schema else "",
    ):
        seen.update(part.encode("utf-8", "replace"))
        seen.update(b"\0")
    return seen.hexdigest()
