"""A team: the graph that a builder returns, and what it compiles to. Plain LangGraph from there on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.graph import Edge, Graph
from langgraph._internal._config import ensure_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from troupe.agents.call import current, restored
from troupe.agents.context import TeamContext, find_context
from troupe.agents.contracts import Deliverable
from troupe.agents.errors import BuildError, InputError
from troupe.agents.journal import MemoryJournal
from troupe.agents.limits import Limits, raising, size
from troupe.agents.loop import iterate
from troupe.agents.scope import RunScope
from troupe.agents.settings import Settings
from troupe.agents.slots import Slots
from troupe.agents.spans import continued, stepwise, workflow
from troupe.agents.text import clean, is_credential
from troupe.graphs.detached import apart, detached
from troupe.graphs.flowing.tide import TIDES, Tides
from troupe.graphs.node import SCOPE
from troupe.graphs.saver import as_async, with_async_saver
from troupe.graphs.state import INTERNAL, TeamState, joined
from troupe.graphs.step import Step
from troupe.prompts import check

# In `configurable`: where another graph calls, and where a server brings its own checkpointer.
_IDS = {"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id", "assistant_id", "graph_id"}
RUNTIME = "__pregel_runtime"
_MANY = 1_000_000
CHECKPOINTER = "__pregel_checkpointer"


@dataclass(frozen=True)
class Redo:
    """A rollback by hand: these steps are done again, and the turn goes on as if it came from the node `after`."""

    after: str
    steps: Sequence[Step]
    before: Sequence[Step] = ()
    """Steps that must have been left behind; the turn goes on as if it came from the last of them."""


class TeamGraph(StateGraph[Any, Any, Any, Any]):
    """A `StateGraph` that is not compiled yet. Add nodes and edges of your own if you like, then `compile()`.

    Args:
        name: the pattern's or workflow's.
        steps: what it runs, in order.
        bound: the most supersteps that one turn can take.
        own_state: the pattern's own state.
        redo: for each step that a turn can be rolled back to, how.
        templates: the names of those steps that others are made of at run time, named after them: "worker.1".
        besides: what else it is made of, by name: a hub, a judge, bounds; a run that is gone on with compares them.
        pattern: which way of working it is, for traces.
        shown: the graph that is drawn in its place, where edges are not what people want to see.
        waits: whether steps wait for one another inside a superstep.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Step],
        *,
        bound: int,
        own_state: type[Any] = TeamState,
        state_schema: type[Any] | None = None,
        context_schema: type[Any] | None = None,
        redo: Mapping[str, Redo] | None = None,
        templates: Sequence[str] = (),
        besides: Mapping[str, Any] | None = None,
        pattern: str = "",
        shown: StateGraph[Any, Any, Any, Any] | None = None,
        waits: bool = False,
    ) -> None:
        context_schema = context_schema or TeamContext
        if not (isinstance(context_schema, type) and issubclass(context_schema, TeamContext)):
            raise BuildError(f"context_schema={context_schema!r} must be a subclass of TeamContext.")
        super().__init__(joined(own_state, state_schema), context_schema)
        self.name = name
        self.outline = tuple(steps)
        self.steps = tuple(step for step in steps if step.name not in templates)
        self.bound = bound
        self.redo = redo or {}
        self.besides = besides or {}
        self.pattern = pattern or name
        self.shown = shown
        self.waits = waits
        self.internal = frozenset(own_state.__annotations__) - {"task", "messages"}

    def compile(self, checkpointer: Any = None, **options: Any) -> Team:
        """A `Team`. The options are LangGraph's: `store`, `cache`, `interrupt_before`, `name`, ..."""
        check()
        compiled = super().compile(checkpointer, **{"name": self.name, **options})
        return Team(**vars(compiled))

    def place_of(self, name: str) -> tuple[int, int, str]:
        """Where a step's result stands among the others: in the order of the line-up, items by their number.

        What is in no line-up comes after it, and what has no number last, as it puts the rest together.
        """
        outline = [one.name for one in self.outline]
        template, _, number = name.rpartition(".")
        if name in outline:
            return outline.index(name), 0, name
        if number.isdecimal():
            return outline.index(template) if template in outline else len(outline), int(number), name
        return len(outline) + 1, 0, name

    def step(self, name: str) -> Step:
        """The step of that name.

        Raises:
            KeyError: there is none.
        """
        return next(one for one in self.steps if one.name == name)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.compile()._repr_mimebundle_()


class Team(CompiledStateGraph[Any, Any, Any, Any]):
    """Our `CompiledStateGraph`: it checks its input, begins turns, bounds itself and draws itself offline.

    >>> from troupe import agent, sequential
    >>> team = sequential(agent("poet", "Write verse.")).compile()
    >>> team.invoke({"task": "a haiku"})["status"]
    'completed'
    """

    builder: TeamGraph

    @property
    def steps(self) -> tuple[Step, ...]:
        """What it runs, in order."""
        return self.builder.steps

    def stream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Iterator[Any]:
        """LangGraph's `stream`, with a checked input."""
        if self.builder.waits:  # one thread for each step that waits would be too many
            made: Any = self._threaded().astream(input, with_async_saver(config or {}), **options)
            yield from iterate(made)
            return
        input, config = self._enter(input, config, options.get("context"))
        chunks = super().stream(input, config, **options)
        yield from stepwise(chunks, span) if (span := self._span(config)) else chunks

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Any:
        """LangGraph's `ainvoke`, with a checked input."""
        input, config = await self._aenter(input, config, options.get("context"))
        made = super().ainvoke(input, config, entered=True, **options)
        with self._span(config) or nullcontext():
            return await (made if _nested(config) else apart(made))

    async def astream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> AsyncIterator[Any]:
        """LangGraph's `astream`, with a checked input."""
        if not (entered := options.pop("entered", False)):  # `ainvoke`, which LangGraph makes of this, has done it
            input, config = await self._aenter(input, config, options.get("context"))
        made: Any = super().astream(input, config, **options)
        if not entered and (span := self._span(config)):
            made = detached(continued(made, span))
        elif not entered and not _nested(config):
            made = detached(made)
        async with aclosing(made) as chunks:
            async for chunk in chunks:
                yield chunk
        if self.builder.waits and config is not None and (why := Tides.of(config).drained) is not None:
            raise GraphDrained(why)

    def _threaded(self) -> Team:
        """The same with an async saver, if it has a sync one."""
        if isinstance(self.checkpointer, BaseCheckpointSaver):
            return self.copy({"checkpointer": as_async(self.checkpointer)})
        return self

    def restored(self, deliverables: Mapping[str, Deliverable]) -> dict[str, Deliverable]:
        """Deliverables whose `data` are instances of their steps' schemas again, after a checkpoint gave plain JSON."""
        schemas = {step.name: step.returns for step in self.builder.outline}
        return {
            name: restored(done, schemas.get(name, schemas.get(name.rpartition(".")[0])))
            for name, done in deliverables.items()
        }

    def get_input_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """What a caller gives: a task, or messages."""
        schema = super().get_input_jsonschema(config)
        properties = {
            name: one for name, one in schema.get("properties", {}).items() if name not in self.builder.internal
        }
        kept = {name: one for name, one in schema.items() if name != "required"}
        return {**kept, "properties": properties}

    def get_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Graph:
        """The graph to be drawn, with exactly the edges that were declared."""
        if (shown := self.builder.shown) is not None:
            return _declared(shown.compile().get_graph(config, xray=xray), shown)
        return _declared(super().get_graph(config, xray=xray), self.builder)

    async def aget_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Graph:
        """See `get_graph`."""
        return self.get_graph(config, xray=xray)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from troupe.graphs.drawing import Drawing, svg

        return {"text/plain": repr(self), "image/svg+xml": svg(Drawing.of(self.get_graph(xray=True)), title=self.name)}

    def _span(self, config: Any) -> AbstractContextManager[Any] | None:
        """The span of a run that begins here, where somebody wants one."""
        scope: RunScope = config["configurable"][SCOPE]
        outer = current.get()
        inner = outer is not None and outer.scope is scope
        return workflow(scope, str(self.name), self.builder.pattern, outermost=not inner)

    async def _aenter(self, input: Any, config: RunnableConfig | None, context: Any) -> tuple[Any, RunnableConfig]:
        # Only a folder of prompts is read here; a thread does it while the event loop goes on.
        found = _found(context, config)
        if SCOPE not in _inside(config) and ((found and found.prompts) or Settings.current().prompts):
            return await asyncio.to_thread(self._enter, input, config, context)
        return self._enter(input, config, context)

    def _enter(self, input: Any, config: RunnableConfig | None, context: Any) -> tuple[Any, RunnableConfig]:
        """Every way into a team passes here: the input becomes a new turn, and the run gets its scope and bound."""
        merged = ensure_config(self.config, config)  # with what a host's node has, also where it passes no config on
        inside = dict(merged["configurable"])
        runtime = inside.get(RUNTIME)
        if not runtime:
            _without_credentials(merged)
        # A plain turn has an id of its own, so that asking the same again is never mistaken for resuming it. Inside
        # another graph it is that of the place that calls, which stays when the place is made to work again.
        origin = "" if SCOPE in inside else f"~{uuid.uuid4().hex[:12]}"
        if runtime:
            origin = f"~{inside.get('__pregel_task_id')}" if origin else f".{merged['metadata'].get('langgraph_step')}"
        if SCOPE not in inside:
            found = _found(context, merged) or TeamContext()
            # Nobody can go on with a turn of which there is no checkpoint: its journal ends with it.
            kept = runtime or self.checkpointer not in (None, False) or CHECKPOINTER in inside
            journal = None if kept else MemoryJournal()
            inside[SCOPE] = RunScope(found, str(inside.get("thread_id") or "plain"), journal=journal)
            if most := merged.get("max_concurrency"):
                inside[SCOPE].slots = Slots(most)
        limit = self.builder.bound if runtime else min(merged["recursion_limit"], self.builder.bound)
        config = {**(config or {}), "configurable": inside, "recursion_limit": limit}
        if self.builder.waits:
            inside[TIDES] = Tides()
            config["max_concurrency"] = _MANY  # who waits must not keep out those that are waited for
        return self._turn(input, inside[SCOPE], origin, nested=bool(runtime)), config

    def _turn(self, input: Any, scope: RunScope, origin: str, nested: bool) -> Any:
        if input is None:
            return None
        if isinstance(input, Command):
            if input.resume is None and not input.update and not input.goto:
                raise InputError("Command(resume=None) is no answer. Give True, False, a text, or a decision.")
            return input
        given = self.checked(input, nested)
        if not nested:
            within(given, scope.limits)
        return {
            **given,
            **dict.fromkeys(self.builder.internal - INTERNAL),
            "turn": 1 if nested else scope.advance,
            "origin": origin,
            "deliverables": None,
            "verdicts": None,
            "rounds": None,
            "status": "running",
            "reason": None,
            "answer": "",
            "simulated": scope.simulated,
        }

    def checked(self, input: Any, nested: bool = False) -> dict[str, Any]:
        """What a caller gave, with its task found and its messages read.

        Raises:
            InputError: no team can take it; the message lists the keys that it got.
        """
        if not isinstance(input, Mapping):
            raise InputError(f'A team takes {{"task": ...}} or {{"messages": [...]}}, not {type(input).__name__}.')
        own = [name for name in input if name not in self.builder.internal and name in self.builder.channels]
        # As a node of a host graph, it is given everything that the host has.
        if not nested and (unknown := sorted(str(name) for name in input if name not in own)):
            raise InputError(
                f"A team takes task or messages; it got the keys {', '.join(map(str, input)) or 'none'}. "
                f"Not known here: {', '.join(unknown)}."
            )
        messages: list[Any] = [_clean(one) for one in convert_to_messages(_listed(input.get("messages")))]
        task = input.get("task")
        if task is None:
            task = next((one.text for one in reversed(messages) if isinstance(one, HumanMessage)), None)
            if task is None:
                got = ", ".join(map(str, input)) or "none"
                raise InputError(
                    'A team needs {"task": "..."} or {"messages": [...]} with a user\'s message; '
                    f"it got the keys: {got}."
                )
        elif isinstance(task, str) and not _says(messages, clean(task)):
            messages.append(HumanMessage(clean(task)))
        if not isinstance(task, str) or not task.strip():
            raise InputError("The task is empty. Say what is to be done.")
        fields = {name: clean(input[name]) if isinstance(input[name], str) else input[name] for name in own}
        return {**fields, "task": clean(task), "messages": messages}


def _inside(config: RunnableConfig | None) -> Mapping[str, Any]:
    return (config or {}).get("configurable") or {}


def _found(context: Any, config: RunnableConfig | None) -> TeamContext | None:
    """Our context, as it was given here (a server gives a dictionary) or to a host graph."""
    runtime = _inside(config).get(RUNTIME)
    return find_context(context) or (find_context(runtime.context) if runtime else None)


def within(given: Mapping[str, Any], limits: Limits) -> None:
    """Refuse an input that is larger than any may be.

    Raises:
        InputError: its task, or one of its messages, is.
    """
    texts = [("task", given.get("task")), *(("message", one.text) for one in given.get("messages") or ())]
    for what, text in texts:
        if isinstance(text, str) and (has := size(text)) > limits.payload:
            raise InputError(
                f"The {what} has {has:,} bytes; {limits.payload:,} are the most (limits.payload). {raising('payload')}"
            )


def _without_credentials(config: RunnableConfig) -> None:
    """Refuse credentials where LangGraph would write them into every checkpoint, in clear.

    Raises:
        InputError: there is one; the message says where it belongs.
    """
    for where in ("configurable", "metadata"):
        given: Mapping[str, Any] = config.get(where) or {}  # type: ignore[assignment]
        for name, value in given.items():
            if name in _IDS or str(name).startswith("__") or value is None:
                continue
            if is_credential(str(name), value):
                raise InputError(
                    f"{where} holds what looks like a credential ({name}); it would be stored with every checkpoint. "
                    "Give models with their keys in context=TeamContext(models=...), or anything else in a field of a "
                    "subclass of TeamContext: the context is never stored."
                )


def _declared(graph: Graph, builder: StateGraph[Any, Any, Any, Any]) -> Graph:
    """The same without the edges that LangGraph, which plays a run to find them, only supposes."""
    known = {*builder.edges, *((source, end) for sources, end in builder.waiting_edges for source in sources)}
    for source, branches in builder.branches.items():
        for one in branches.values():
            if one.ends is None:
                return graph  # it may lead anywhere
            known |= {(source, target) for target in one.ends.values()}
    for name, node in builder.nodes.items():
        known |= {(name, target) for target in node.ends or ()}

    def ends(edge: Edge) -> tuple[str, str]:
        return edge.source.partition(":")[0], edge.target.partition(":")[0]

    graph.edges = [
        edge for edge in graph.edges if ends(edge) in known or (ends(edge)[0] == ends(edge)[1] and ":" in edge.source)
    ]
    drawn = {ends(edge) for edge in graph.edges}
    for source, target in sorted(builder.edges - drawn):
        if source in graph.nodes and target in graph.nodes:
            graph.add_edge(graph.nodes[source], graph.nodes[target])
    return graph


def _nested(config: RunnableConfig | None) -> bool:
    """Whether another graph calls: then that graph's own task is cancelled, once, and needs no other around this."""
    return config is not None and RUNTIME in config["configurable"]


def _says(messages: Sequence[BaseMessage], task: str) -> bool:
    """Whether the conversation ends with the task already: as a step, a team gets it as both."""
    return bool(messages) and isinstance(messages[-1], HumanMessage) and messages[-1].text == task


def _listed(messages: Any) -> list[Any]:
    if messages is None:
        return []
    return list(messages) if isinstance(messages, list | tuple) else [messages]


def _clean(message: BaseMessage) -> BaseMessage:
    """A message without what no database stores."""
    content = message.content
    if isinstance(content, str):
        cleaned: Any = clean(content)
    else:
        cleaned = [
            clean(one)
            if isinstance(one, str)
            else {**one, "text": clean(one["text"])}
            if isinstance(one.get("text"), str)
            else one
            for one in content
        ]
    return message if cleaned == content else message.model_copy(update={"content": cleaned})
