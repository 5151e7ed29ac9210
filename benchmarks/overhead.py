"""Milliseconds per agent of a five-step chain whose model answers at once, without gates.

Beside ours, in the same process and in turn with it: plain asyncio, LangGraph with function nodes, and LangGraph with
the same chat model and the same messages; then the durable forms, with a checkpoint of every superstep in SQLite.
"""

from __future__ import annotations

import asyncio
import operator
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from _bench import Aim, Options, Report, Spread, options
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from troupe import TeamContext, agent, sequential
from troupe.agents.scope import RunScope
from troupe.graphs.node import SCOPE
from troupe.prompts import load
from troupe.sqlite import SqliteStore

NAMES = ("plan", "build", "test", "write", "ship")
PROMPT = "You do your part of the work with care, and hand it on."
SYSTEM = f"{PROMPT}\n\n{load('moves/common')}"
TASK = "Describe how a queue with two workers is drained."
ANSWER = "Each worker takes the oldest job that nobody holds, does it, and marks it as done. " * 4
HEADER = "How each variant is run"

Go = Callable[[], Awaitable[Any]]


class InstantModel(BaseChatModel):
    """Answers at once, with a count of tokens; where it has a name, its price is looked up as that of real models is."""

    name_told: str = ""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        message = AIMessage(
            ANSWER,
            usage_metadata={"input_tokens": 400, "output_tokens": 80, "total_tokens": 480},
            response_metadata={"model_name": self.name_told, "model_provider": "openai", "finish_reason": "stop"},
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
            previous = state["done"].get(before, "")
            if model is None:
                return {"done": {name: ANSWER}}
            reply = await model.ainvoke(messages(state["task"], previous))
            return {"done": {name: reply.text}}

        graph.add_node(name, node)
        graph.add_edge(before or START, name)
    graph.add_edge(NAMES[-1], END)
    return graph.compile(checkpointer)


def team() -> Any:
    """Ours."""
    return sequential(*(agent(name, PROMPT) for name in NAMES))


def in_memory() -> dict[str, Go]:
    """What runs without a database."""
    functions, chat, ours = chain(None), chain(MODEL), team().compile()
    given, context = {"task": TASK, "done": {}}, TeamContext(models=MODEL)
    return {
        "asyncio": plain,
        "langgraph, functions": lambda: functions.ainvoke(given),
        "langgraph, chat model": lambda: chat.ainvoke(given),
        "ours": lambda: ours.ainvoke({"task": TASK}, context=context),
    }


@asynccontextmanager
async def on_disk(folder: Path) -> AsyncIterator[dict[str, Go]]:
    """What writes every superstep to SQLite before it goes on; ours records every call in the journal, too."""
    async with AsyncExitStack() as stack:
        async def bare(file: str, synchronous: str) -> Go:
            saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(folder / file)))
            await saver.setup()
            await saver.conn.execute(f"PRAGMA synchronous={synchronous}")
            graph = chain(MODEL, saver)

            async def go() -> None:
                config = {"configurable": {"thread_id": thread()}}
                await graph.ainvoke({"task": TASK, "done": {}}, config, durability="sync")

            return go

        store = stack.enter_context(SqliteStore(folder / "ours.db"))
        graph, context = team(), TeamContext(models=MODEL)
        ours = graph.compile(store)

        async def go() -> None:
            name = thread()
            scope = RunScope(context, name, journal=store, durable=True)
            config: Any = {"configurable": {"thread_id": name, SCOPE: scope}}
            await ours.ainvoke({"task": TASK}, config, context=context, durability="sync")

        yield {
            "langgraph, AsyncSqliteSaver (synchronous=FULL)": await bare("full.db", "FULL"),
            "langgraph, AsyncSqliteSaver (synchronous=NORMAL)": await bare("normal.db", "NORMAL"),
            "ours, SqliteStore and journal (synchronous=NORMAL)": go,
        }


_threads = iter(range(1_000_000))


def thread() -> str:
    return f"thread-{next(_threads)}"


async def in_turn(variants: dict[str, Go], rounds: int) -> dict[str, list[float]]:
    """Milliseconds per agent of each variant, A B C A B C ..., so that what the machine does else falls on all alike."""
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


def above(ours: list[float], anchor: list[float]) -> Spread:
    """By how much ours was slower than the anchor in the same round."""
    return Spread.of([one - other for one, other in zip(ours, anchor, strict=True)], "ms per agent")


async def measure(given: Options) -> Report:
    rounds, durable_rounds = (400, 120) if given.quick else (3000, 600)
    report = Report("overhead", {"in memory": rounds, "on disk": durable_rounds})
    taken = await in_turn(in_memory(), rounds)
    with tempfile.TemporaryDirectory() as folder:
        async with on_disk(Path(folder)) as variants:
            taken |= await in_turn(variants, durable_rounds)
    for name, values in taken.items():
        kind = report.figures if name.startswith("ours") else report.anchors
        kind[name] = Spread.of(values, "ms per agent")
    report.figures["ours above langgraph, chat model"] = memory = above(taken["ours"], taken["langgraph, chat model"])
    durable = taken["ours, SqliteStore and journal (synchronous=NORMAL)"]
    full, normal = (
        above(durable, taken[f"langgraph, AsyncSqliteSaver (synchronous={one})"]) for one in ("FULL", "NORMAL")
    )
    report.figures["ours on disk above AsyncSqliteSaver (FULL)"] = full
    report.figures["ours on disk above AsyncSqliteSaver (NORMAL)"] = normal
    report.aims = {
        "in memory, above LangGraph with a chat model": Aim(
            "ours above langgraph, chat model", memory.median, 0.10, "ms per agent"
        ),
        "on disk, above LangGraph with AsyncSqliteSaver as it comes": Aim(
            "ours on disk above AsyncSqliteSaver (FULL)", full.median, 1.0, "ms per agent"
        ),
        "on disk, above LangGraph with AsyncSqliteSaver without its fsyncs": Aim(
            "ours on disk above AsyncSqliteSaver (NORMAL)", normal.median, 1.0, "ms per agent"
        ),
    }
    return report


if __name__ == "__main__":
    given = options(__doc__)
    asyncio.run(measure(given)).show(given)
