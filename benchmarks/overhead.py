"""Milliseconds per agent of a five-step chain whose model answers at once, without gates.

Beside ours, in the same process and in turn with it: plain asyncio, LangGraph with function nodes, and LangGraph with
the same chat model and as long messages; then the durable forms, with a checkpoint of every superstep in SQLite and,
in ours, a journal of every call under a lease, as `run()` has them. AsyncSqliteSaver syncs its file at every write
(synchronous=FULL); our store leaves that to the operating system (NORMAL), so it also stands beside one that does.

Traced: with OpenTelemetry's SDK and a provider that exports nothing, two spans per agent.
"""

from __future__ import annotations

import asyncio
import operator
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Annotated, Any, TypedDict
from unittest.mock import patch

from _bench import Aim, Options, Report, Spread, options
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from troupe import Team, TeamContext, agent, sequential
from troupe.agents.scope import RunScope
from troupe.graphs.node import SCOPE
from troupe.prompts import load
from troupe.sqlite import SqliteStore

NAMES = ("plan", "build", "test", "write", "ship")
PROMPT = "You do your part of the work with care, and hand it on."
SYSTEM = f"{PROMPT}\n\n{load('moves/common')}"
TASK = "Describe how a queue with two workers is drained."
ANSWER = "Each worker takes the oldest job that nobody holds, does it, and marks it as done. " * 4
UNIT = "ms per agent"

CHAT = "LangGraph, chat model"
FULL, NORMAL = (f"LangGraph, AsyncSqliteSaver ({one})" for one in ("FULL", "NORMAL"))
OURS, PRICED, DURABLE = "ours", "ours, with a price to look up", "ours, SqliteStore, journal, lease (NORMAL)"
TRACED = "ours, traced"

Go = Callable[[], Awaitable[Any]]


class InstantModel(BaseChatModel):
    """Answers at once, and tells its tokens; where it has a name, ours looks its price up, as it does for real ones."""

    named: str = ""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        message = AIMessage(
            ANSWER,
            usage_metadata={"input_tokens": 400, "output_tokens": 80, "total_tokens": 480},
            response_metadata={"model_name": self.named, "model_provider": "openai", "finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)


MODEL = InstantModel()


class State(TypedDict):
    """What a chain of five needs, and no more."""

    task: str
    done: Annotated[dict[str, str], operator.or_]


def messages(task: str, previous: str) -> list[BaseMessage]:
    text = f"# Task\n{task}" + (f"\n\n# Results you build on\n{previous}" if previous else "")
    return [SystemMessage(SYSTEM), HumanMessage(text)]


async def plain() -> None:
    """Five awaits of the model, one after the other."""
    previous = ""
    for _ in NAMES:
        previous = (await MODEL.ainvoke(messages(TASK, previous))).text


def chain(model: BaseChatModel | None, checkpointer: Any = None) -> Any:
    """Bare LangGraph: five nodes in a row."""
    graph = StateGraph(State)
    for before, name in zip(("", *NAMES), NAMES, strict=False):

        async def node(state: State, name: str = name, before: str = before) -> dict[str, Any]:
            if model is None:
                return {"done": {name: ANSWER}}
            reply = await model.ainvoke(messages(state["task"], state["done"].get(before, "")))
            return {"done": {name: reply.text}}

        graph.add_node(name, node)
        graph.add_edge(before or START, name)
    graph.add_edge(NAMES[-1], END)
    return graph.compile(checkpointer)


def team(checkpointer: Any = None) -> Team:
    """Ours."""
    return sequential(*(agent(name, PROMPT) for name in NAMES)).compile(checkpointer)


async def completed(work: Awaitable[dict[str, Any]]) -> None:
    """A run that failed would be fast."""
    assert (await work)["status"] == "completed"


def in_memory() -> dict[str, Go]:
    """What runs without a database."""
    functions, chat, ours = chain(None), chain(MODEL), team()
    given, asked = {"task": TASK, "done": {}}, {"task": TASK}
    free, priced = TeamContext(models=MODEL), TeamContext(models=InstantModel(named="gpt-5-mini"))
    provider = TracerProvider()

    async def traced() -> None:
        with patch.object(trace, "get_tracer_provider", lambda: provider):
            await completed(ours.ainvoke(asked, context=free))

    return {
        "asyncio": plain,
        "LangGraph, functions": lambda: functions.ainvoke(given),
        CHAT: lambda: chat.ainvoke(given),
        OURS: lambda: completed(ours.ainvoke(asked, context=free)),
        PRICED: lambda: completed(ours.ainvoke(asked, context=priced)),
        TRACED: traced,
    }


@asynccontextmanager
async def on_disk(folder: Path) -> AsyncIterator[dict[str, Go]]:
    """What writes every superstep to SQLite before it goes on; each run is a thread of its own."""
    numbers = count()

    async def bare(stack: AsyncExitStack, synchronous: str) -> Go:
        saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(folder / f"{synchronous}.db")))
        await saver.setup()
        await saver.conn.execute(f"PRAGMA synchronous={synchronous}")
        graph = chain(MODEL, saver)

        async def go() -> None:
            config = {"configurable": {"thread_id": f"thread-{next(numbers)}"}}
            await graph.ainvoke({"task": TASK, "done": {}}, config, durability="sync")

        return go

    async def durable(stack: AsyncExitStack) -> Go:
        store = stack.enter_context(SqliteStore(folder / "ours.db"))
        fenced = store.fenced(await store.acquire("benchmark"))
        graph, context = team(fenced), TeamContext(models=MODEL)

        async def go() -> None:
            thread = f"thread-{next(numbers)}"
            scope = RunScope(context, thread, journal=fenced, durable=True)
            config: Any = {"configurable": {"thread_id": thread, SCOPE: scope}}
            await completed(graph.ainvoke({"task": TASK}, config, context=context, durability="sync"))

        return go

    async with AsyncExitStack() as stack:
        yield {FULL: await bare(stack, "FULL"), NORMAL: await bare(stack, "NORMAL"), DURABLE: await durable(stack)}


async def in_turn(variants: dict[str, Go], rounds: int) -> dict[str, list[float]]:
    """Milliseconds per agent of each variant, A B C A B C ..., so that what else is going on falls on all alike."""
    for go in variants.values():
        for _ in range(10):
            await go()
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, go in variants.items():
            started = time.perf_counter()
            await go()
            taken[name].append((time.perf_counter() - started) * 1000 / len(NAMES))
    return taken


async def measure(given: Options) -> Report:
    rounds, durable_rounds = (20, 10) if given.once else (400, 150) if given.quick else (3000, 1000)
    report = Report("overhead", {"in memory": rounds, "on disk": durable_rounds})
    taken = await in_turn(in_memory(), rounds)
    with tempfile.TemporaryDirectory() as folder:
        async with on_disk(Path(folder)) as variants:
            taken |= await in_turn(variants, durable_rounds)
    for name, values in taken.items():
        (report.figures if name.startswith(OURS) else report.anchors)[name] = Spread.of(values, UNIT)
    for ours, anchor, limit in (
        (OURS, CHAT, 0.10),
        (PRICED, CHAT, 0.10),
        (TRACED, OURS, 0.20),
        (DURABLE, FULL, 1.0),
        (DURABLE, NORMAL, 1.0),
    ):
        name = f"{ours}: above {anchor}"
        # In pairs: by how much ours was slower than the anchor in the same round.
        above = Spread.of([one - other for one, other in zip(taken[ours], taken[anchor], strict=True)], UNIT)
        quiet = statistics.quantiles(taken[ours], n=10)[0] - statistics.quantiles(taken[anchor], n=10)[0]
        report.figures[name] = above
        report.figures[f"{name}, undisturbed"] = Spread.of([quiet], UNIT)
        report.aims[name] = Aim(name, above.median, limit, UNIT)
    report.notes.append("Undisturbed: between the fastest tenths of the rounds; tells more where the machine is busy.")
    return report


if __name__ == "__main__":
    given = options(__doc__)
    asyncio.run(measure(given)).show(given)
