"""Milliseconds of a fan-out: 8 branches whose model takes 50 ms, and 1,000 items whose work takes no time.

Beside ours, in the same process and in turn with it: plain asyncio, and bare LangGraph in the same shape with the same
chat model and as long messages. Bare branches without a gate are plain nodes and a join; with one they are compiled
graphs (work, gate), called from a node. Bare items are sent with Send and gathered by a reducer. All with `ainvoke`,
without a checkpointer. Memory is what Python allocated at most during one run, by tracemalloc.

"In all" is the whole run, what comes before and after the branches included: ours merges the parts in a step of its
own and settles the turn in another, which bare LangGraph has no need of.
"""

from __future__ import annotations

import asyncio
import gc
import operator
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypedDict

from _bench import Aim, Options, Report, Spread, options
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from troupe import Brief, Step, TeamContext, agent, gate, parallel
from troupe.graphs.checks import non_empty
from troupe.graphs.forking.fanout import each
from troupe.prompts import load

BRANCHES = tuple(f"branch {number}" for number in range(1, 9))
LATENCY = 0.05
ITEMS = 1000
SIZES = (100, 300, ITEMS)
PROMPT = "You do your part of the work with care, and hand it on."
SYSTEM = f"{PROMPT}\n\n{load('moves/common')}"
TASK = "Describe how a queue with two workers is drained."
ANSWER = "Each worker takes the oldest job that nobody holds, does it, and marks it as done. " * 4

PLAIN, GATED = "8 branches", "8 branches with a gate each"
ASYNCIO, BARE, OURS = "asyncio", "LangGraph", "ours"
KINDS = FUNCTION, CHAT, GATE = "function", "chat model", "function with a gate"

Go = Callable[[], Awaitable[Any]]


class TimedModel(BaseChatModel):
    """Answers after `latency` seconds, and tells its tokens."""

    latency: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "timed"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        message = AIMessage(
            ANSWER,
            usage_metadata={"input_tokens": 400, "output_tokens": 80, "total_tokens": 480},
            response_metadata={"finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        if self.latency:
            await asyncio.sleep(self.latency)
        return self._generate(messages)


SLOW, INSTANT = TimedModel(latency=LATENCY), TimedModel()


class State(TypedDict):
    """What a fan-out needs, and no more."""

    task: str
    done: Annotated[dict[str, str], operator.or_]
    answer: str


class Loop(TypedDict, total=False):
    """What a branch with a gate needs."""

    task: str
    item: str
    text: str
    passed: bool


class Item(TypedDict):
    """What is sent to work on one item."""

    task: str
    number: int
    item: str


def messages(task: str, item: str = "") -> list[BaseMessage]:
    text = f"# Task\n{task}" + (f"\n\n# Your item\n{item}" if item else "")
    return [SystemMessage(SYSTEM), HumanMessage(text)]


def side_by_side(done: dict[str, str]) -> str:
    return "\n\n".join(f"## {name}\n\n{text}" for name, text in done.items())


async def join(state: State) -> dict[str, Any]:
    """Where the branches of bare LangGraph meet."""
    return {"answer": side_by_side(state["done"])}


# --- 8 branches ---


async def plain() -> None:
    """All at once, in one `gather`."""
    replies = await asyncio.gather(*(SLOW.ainvoke(messages(TASK)) for _ in BRANCHES))
    assert side_by_side({name: reply.text for name, reply in zip(BRANCHES, replies, strict=True)})


def bare_branches(worker: Callable[[str], Any]) -> Any:
    """Bare LangGraph: 8 nodes and a join."""
    graph: Any = StateGraph(State)
    graph.add_node("join", join, defer=True)
    for name in BRANCHES:
        graph.add_node(name, worker(name))
        graph.add_edge(START, name)
        graph.add_edge(name, "join")
    graph.add_edge("join", END)
    return graph.compile()


def plain_worker(name: str) -> Any:
    async def node(state: State) -> dict[str, Any]:
        return {"done": {name: (await SLOW.ainvoke(messages(state["task"]))).text}}

    return node


def gated_worker(name: str) -> Any:
    """The branch as a graph of its own."""

    async def work(state: Loop) -> dict[str, Any]:
        return {"text": (await SLOW.ainvoke(messages(state["task"]))).text}

    loop = bare_loop(work)

    async def node(state: State) -> dict[str, Any]:
        out = await loop.ainvoke({"task": state["task"]})
        return {"done": {name: out["text"]}}

    return node


def bare_loop(work: Any) -> Any:
    """Work, gate, and again where the gate is not passed."""

    async def judge(state: Loop) -> dict[str, Any]:
        return {"passed": bool(state["text"].strip())}

    def judged(state: Loop) -> bool:
        return state["passed"]

    graph: Any = StateGraph(Loop)
    graph.add_node("work", work)
    graph.add_node("gate", judge)
    graph.add_edge(START, "work")
    graph.add_edge("work", "gate")
    graph.add_conditional_edges("gate", judged, {True: END, False: "work"})
    return graph.compile()


def branches() -> dict[str, Go]:
    """What runs 8 branches, by name."""
    ungated, gated = bare_branches(plain_worker), bare_branches(gated_worker)
    steps = [agent(name, PROMPT) for name in BRANCHES]
    ours, ours_gated = parallel(*steps).compile(), parallel(*steps, gate=gate(non_empty())).compile()
    context = TeamContext(models=SLOW)
    given, asked = {"task": TASK, "done": {}, "answer": ""}, {"task": TASK}
    return {
        f"{PLAIN}: {ASYNCIO}": plain,
        f"{PLAIN}: {BARE}": lambda: ungated.ainvoke(given),
        f"{PLAIN}: {OURS}": lambda: completed(ours.ainvoke(asked, context=context)),
        f"{GATED}: {BARE}": lambda: gated.ainvoke(given),
        f"{GATED}: {OURS}": lambda: completed(ours_gated.ainvoke(asked, context=context)),
    }


# --- many items ---


def listed(count: int) -> list[str]:
    return [f"job {number}" for number in range(1, count + 1)]


async def shout(brief: Brief) -> str:
    """The work on an item where no model does it."""
    return brief.item.upper()


def bare_items(count: int, kind: str) -> Any:
    """Bare LangGraph: one Send per item, and a join."""
    items = listed(count)
    model = INSTANT if kind == CHAT else None

    async def inside(state: Loop) -> dict[str, Any]:
        return {"text": state["item"].upper()}

    loop = bare_loop(inside)

    def spread(state: State) -> list[Send]:
        return [
            Send("work", {"task": state["task"], "number": number, "item": item})
            for number, item in enumerate(items, start=1)
        ]

    async def work(given: Item) -> dict[str, Any]:
        if kind == GATE:
            out = await loop.ainvoke({"task": given["task"], "item": given["item"]})
            return {"done": {f"work.{given['number']}": out["text"]}}
        if model is None:
            return {"done": {f"work.{given['number']}": given["item"].upper()}}
        reply = await model.ainvoke(messages(given["task"], given["item"]))
        return {"done": {f"work.{given['number']}": reply.text}}

    graph: Any = StateGraph(State)
    graph.add_node("work", work)
    graph.add_node("join", join, defer=True)
    graph.add_conditional_edges(START, spread, ["work"])
    graph.add_edge("work", "join")
    graph.add_edge("join", END)
    return graph.compile()


def items(count: int, kind: str) -> dict[str, Go]:
    """What works on so many items, by name."""
    bare = bare_items(count, kind)
    worker: Any = agent("worker", PROMPT) if kind == CHAT else shout
    step = Step(worker, gate=gate(non_empty()) if kind == GATE else None)
    ours = parallel(each(step, listed(count))).compile()
    context = TeamContext(models=INSTANT)

    async def go_bare() -> None:
        assert len((await bare.ainvoke({"task": TASK, "done": {}, "answer": ""}))["done"]) == count

    async def go_ours() -> None:
        state = await ours.ainvoke({"task": TASK}, context=context)
        assert state["status"] == "completed"
        assert len(state["deliverables"]) == count + 1

    what = f"{count:,} items, {kind}"
    return {f"{what}: {BARE}": go_bare, f"{what}: {OURS}": go_ours}


# --- measuring ---


async def completed(work: Awaitable[dict[str, Any]]) -> None:
    """A run that failed would be fast."""
    assert (await work)["status"] == "completed"


async def in_turn(variants: dict[str, Go], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """Milliseconds of each variant, A B C A B C ..., so that what else is going on falls on all alike."""
    for go in variants.values():
        for _ in range(warm):
            await go()
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, go in variants.items():
            started = time.perf_counter()
            await go()
            taken[name].append((time.perf_counter() - started) * 1000)
    return taken


async def peak(go: Go) -> float:
    """The most that Python held during one run, in MB, beyond what it held before."""
    gc.collect()
    tracemalloc.start()
    try:
        await go()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


async def measure_branches(report: Report, rounds: int) -> None:
    taken = await in_turn(branches(), rounds, warm=5)
    for name, values in taken.items():
        (report.figures if name.endswith(OURS) else report.anchors)[name] = Spread.of(values, "ms")
    for what, limit in ((PLAIN, 1.0), (GATED, 2.0)):
        ours, bare = taken[f"{what}: {OURS}"], taken[f"{what}: {BARE}"]
        # In pairs: by how much ours was slower than the anchor in the same round.
        above = [one - other for one, other in zip(ours, bare, strict=True)]
        whole, share = f"{what}: above {BARE}, in all", f"{what}: above {BARE}, per branch"
        report.figures[whole] = Spread.of(above, "ms")
        report.figures[share] = Spread.of([one / len(BRANCHES) for one in above], "ms")
        report.aims[whole] = Aim(whole, report.figures[whole].median, limit, "ms")
        report.aims[share] = Aim(share, report.figures[share].median, limit, "ms")


async def measure_items(report: Report, rounds: int, count: int) -> None:
    for kind in KINDS:
        taken = await in_turn(items(count, kind), rounds if kind != GATE else max(1, rounds // 4))
        what = f"{count:,} items, {kind}"
        for name, values in taken.items():
            (report.figures if name.endswith(OURS) else report.anchors)[name] = Spread.of(values, "ms")
        ours, bare = taken[f"{what}: {OURS}"], taken[f"{what}: {BARE}"]
        times = f"{what}: times {BARE}"
        report.figures[times] = Spread.of([one / other for one, other in zip(ours, bare, strict=True)], "times")
        report.aims[times] = Aim(times, report.figures[times].median, 2.5, "times")


async def measure_memory(report: Report, sizes: Sequence[int]) -> None:
    held: dict[str, dict[int, float]] = {BARE: {}, OURS: {}}
    for count in sizes:
        for name, go in items(count, CHAT).items():
            who = OURS if name.endswith(OURS) else BARE
            held[who][count] = await peak(go)
            where = report.figures if who == OURS else report.anchors
            where[f"{count:,} items, peak memory: {who}"] = Spread.of([held[who][count]], "MB")
    few, some, many = sizes
    # What one item more costs, among many and among few: alike where memory is linear.
    further = (held[OURS][many] - held[OURS][some]) / (many - some)
    early = (held[OURS][some] - held[OURS][few]) / (some - few)
    growth = f"peak memory of an item among {many:,}, times that among {some:,}"
    report.figures[growth] = Spread.of([further / early], "times")
    report.aims["memory grows with the items, not faster"] = Aim(growth, further / early, 1.25, "times")


async def measure(given: Options) -> Report:
    rounds, item_rounds = (3, 1) if given.once else (30, 3) if given.quick else (300, 20)
    sizes = (10, 20, 40) if given.once else SIZES
    report = Report("fanout", {"8 branches": rounds, f"{sizes[-1]:,} items": item_rounds})
    await measure_branches(report, rounds)
    await measure_items(report, item_rounds, sizes[-1])
    await measure_memory(report, sizes)
    report.notes.append(f"A branch's model takes {LATENCY * 1000:g} ms, an item's work nothing. No checkpointer.")
    return report


if __name__ == "__main__":
    given = options(__doc__)
    asyncio.run(measure(given)).show(given)
