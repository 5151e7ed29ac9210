"""The makespan of 1,000 random workflows on 4 slots, over what no schedule can beat: max(critical path, work / 4).

Workflows of 8 to 40 steps with lognormal durations, of any shape: each step needs some of those before it. They run
through the real graph and the real Executor on a virtual clock: an event loop that never sleeps and whose time leaps.
Ours knows how long steps take (`Workflow.build(seconds=...)`): exactly, only within 30%, or not at all. Beside it, over
the same workflows: LangGraph's own supersteps with `max_concurrency=4`, whoever comes first, and list scheduling by
upward rank, the last two computed.
"""

from __future__ import annotations

import asyncio
import operator
import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from _bench import Aim, Options, Report, Spread, options
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from troupe import Agent, Brief, Deliverable, Executor, TeamContext, Workflow
from troupe.agents.virtual import play
from troupe.graphs.flowing.order import following
from troupe.graphs.flowing.schedule import bound, scheduled

SLOTS = 4
SEED = 20
OFF = 0.3
"""How far known durations are off, where they are known only roughly."""
KNOWN, ROUGHLY, UNKNOWN = "seconds known", "seconds known within 30%", "seconds unknown"
NEVER = 1e9


@dataclass(frozen=True)
class Drawn:
    """A workflow at random: what each step needs, and how long it takes."""

    needs: Mapping[str, tuple[str, ...]]
    seconds: Mapping[str, float]

    @property
    def workflow(self) -> Workflow:
        return Workflow.model_validate(
            {"name": "drawn", "phases": [{"agent": name, "needs": needs} for name, needs in self.needs.items()]}
        )


def drawn(number: int) -> Drawn:
    """One of 8 to 40 steps. Needs are drawn one by one, so that most are no series and parallels of one another."""
    dice = random.Random(f"{SEED} {number}")  # noqa: S311 - a workflow, not a secret
    names = [f"s{at:02}" for at in range(dice.randint(8, 40))]
    density, window = dice.uniform(0.5, 1.5), dice.randint(5, len(names))
    dice.shuffle(names)  # what is listed first says nothing of what comes first
    needs: dict[str, tuple[str, ...]] = {}
    for at, name in enumerate(names):
        near = names[max(0, at - window) : at]
        wanted = min(len(near), int(dice.expovariate(1 / density) + 0.5))
        needs[name] = tuple(dice.sample(near, wanted))
    return Drawn(needs, {name: dice.lognormvariate(3.0, 0.8) for name in names})


class Sleeper(Agent):
    """Works for so long, and notes when it has ended."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.seconds = seconds

    async def work(self, brief: Brief, schema: Any = None) -> Deliverable:
        await asyncio.sleep(self.seconds)
        return Deliverable(step=brief.step, content=self.name)


def ours(one: Drawn, known: Mapping[str, float] | None) -> float:
    """The makespan in the real graph."""
    agents = {name: Sleeper(name, seconds) for name, seconds in one.seconds.items()}
    team = one.workflow.build(agents, known).compile(InMemorySaver())
    context = TeamContext(executor=Executor(SLOTS, timeout=NEVER))

    async def run() -> float:
        state = await team.ainvoke({"task": "all"}, {"configurable": {"thread_id": "one"}}, context=context)
        assert state["status"] == "completed", state["reason"]
        return asyncio.get_running_loop().time()

    return play(run)


class Done(TypedDict):
    """The state of a graph as one would write it by hand."""

    done: Annotated[list[str], operator.add]


def supersteps(one: Drawn) -> float:
    """The makespan of the same steps as nodes and edges of a plain graph: all of a superstep end before the next."""
    graph: Any = StateGraph(Done)
    after = following(one.needs)
    for name, seconds in one.seconds.items():
        graph.add_node(name, _sleeping(name, seconds))
        if one.needs[name]:
            graph.add_edge([*one.needs[name]], name)
        else:
            graph.add_edge(START, name)
        if not after[name]:
            graph.add_edge(name, END)
    app = graph.compile(InMemorySaver())
    config = {"configurable": {"thread_id": "one"}, "max_concurrency": SLOTS, "recursion_limit": 1000}

    async def run() -> float:
        state = await app.ainvoke({"done": []}, config)
        assert len(state["done"]) == len(one.needs)
        return asyncio.get_running_loop().time()

    return play(run)


def _sleeping(name: str, seconds: float) -> Any:
    async def node(_: Done) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        return {"done": [name]}

    return node


def first_come(one: Drawn) -> float:
    """The makespan where nothing is known and whoever is ready first is served first, computed."""
    return scheduled(one.needs, one.seconds, SLOTS, dict.fromkeys(one.needs, 0.0)).makespan


def roughly(one: Drawn, number: int) -> dict[str, float]:
    """The durations, each wrong by up to 30%."""
    dice = random.Random(f"{SEED} roughly {number}")  # noqa: S311
    return {name: seconds * dice.uniform(1 - OFF, 1 + OFF) for name, seconds in one.seconds.items()}


def measure(given: Options) -> Report:
    count = 4 if given.once else 40 if given.quick else 1000
    report = Report("makespan", {"workflows": count}, seeds=[SEED])
    ratios: dict[str, list[float]] = {}
    for number in range(count):
        one = drawn(number)
        least = bound(one.needs, one.seconds, SLOTS)
        for name, took in {
            KNOWN: ours(one, one.seconds),
            ROUGHLY: ours(one, roughly(one, number)),
            UNKNOWN: ours(one, None),
            "LangGraph's supersteps, max_concurrency=4": supersteps(one),
            "first come, first served (computed)": first_come(one),
            "list scheduling by upward rank (computed)": scheduled(one.needs, one.seconds, SLOTS).makespan,
        }.items():
            ratios.setdefault(name, []).append(took / least)
    for name, all_ in ratios.items():
        where = report.figures if name in (KNOWN, ROUGHLY, UNKNOWN) else report.anchors
        where[name] = Spread.of(all_, "x bound")
        where[f"{name}: mean"] = Spread.of([statistics.fmean(all_)], "x bound")
        where[f"{name}: p95"] = Spread.of([statistics.quantiles(all_, n=20)[-1]], "x bound")
    report.aims = {
        f"at most 1.02 of the bound on the mean, {name}": Aim(
            f"{name}: mean", statistics.fmean(ratios[name]), 1.02, "x bound"
        )
        for name in (KNOWN, ROUGHLY)
    }
    report.notes.append("The bound: max(critical path, work / 4), which no schedule beats and few reach.")
    return report


if __name__ == "__main__":
    given = options(__doc__)
    measure(given).show(given)
