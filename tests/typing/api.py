"""The public API as a user writes it, for mypy alone: this file is checked and never run.

`assert_type` states what a user's editor shows; what must not be allowed carries an ignore, which mypy in strict mode
reports as soon as it is no longer needed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, assert_type

from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic import BaseModel

from troupe import (
    Agent,
    Bounds,
    Brief,
    Conflict,
    Deliverable,
    Evaluation,
    EvaluationCase,
    Executor,
    Explanation,
    Fault,
    Gate,
    Guards,
    History,
    Limits,
    NotCompleted,
    Notes,
    Optimization,
    Reason,
    Recovery,
    Rehearsal,
    Result,
    Role,
    SimulatedChatModel,
    Step,
    Team,
    TeamContext,
    TeamGraph,
    TeamState,
    Usage,
    Variant,
    Verdict,
    Workflow,
    adaptive,
    adelete,
    agent,
    aprune,
    aresume,
    arollback,
    arun,
    as_target,
    astream,
    check,
    conclusion,
    contains,
    current_call,
    delete,
    each,
    error_log,
    evaluate,
    explain,
    first,
    gate,
    hierarchical,
    history,
    matches,
    merge,
    mesh,
    non_empty,
    optimize,
    parallel,
    prune,
    quorum,
    read_role,
    read_roles,
    rehearse,
    replay,
    resume,
    review,
    rollback,
    run,
    scripted,
    sequential,
    stream,
    within,
)
from troupe.agents.call import Call
from troupe.agents.chat import ChatAgent
from troupe.agents.events import Event, RunFinished, Token
from troupe.agents.models.scripted import ScriptedChatModel
from troupe.retention import Removed


class Ticket(BaseModel):
    kind: str
    urgent: bool = False


def lookup_order(order: int) -> str:
    """Look up an order."""
    return "shipped"


# --- agents and roles

triage = agent("triage", "Sort the ticket.", tools=[lookup_order], tier="economy", title="Sorts tickets")
assert_type(triage, ChatAgent)
assert_type(agent("qa-engineer"), ChatAgent)
assert_type(agent(Role(name="poet", prompt="Write."), model="openai:gpt-5-mini"), ChatAgent)
assert_type(read_role("roles/triage.md"), Role)
assert_type(read_roles(Path("roles")), dict[str, Role])
agent("poet", "Write.", tier="cheap")  # type: ignore[arg-type]
agent("poet", "Write.", tools=5)  # type: ignore[arg-type]
Role(name="poet", prompt="Write.", colour="blue")  # type: ignore[call-arg]

anybody: Agent = triage
assert_type(anybody.invoke(Brief(task="Where is order 42?")), Deliverable)
anybody.invoke("Where is order 42?")  # type: ignore[arg-type]
assert_type(anybody.batch([Brief(task="x")]), list[Deliverable])


def about(topic: str) -> Brief:
    return Brief(task=topic)


chain: Runnable[str, Deliverable] = RunnableLambda(about) | triage


class Echo(Agent):
    """An agent of one's own."""

    name = "echo"

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        assert_type(current_call(), Call)
        return Deliverable(step=brief.step, content=brief.input)


# --- checks, gates and steps


def has_order_id(work: Deliverable) -> bool:
    return "42" in work.content


def to_the_point(work: Deliverable, brief: Brief) -> float:
    return min(1.0, len(brief.task) / max(1, len(work.content)))


strict = gate(has_order_id & review(by="qa-engineer", at_least=0.8), rework=2, then="ask")
strict = gate(
    check(has_order_id) & check(to_the_point, at_least=0.5) & review(by=triage, at_least=0.8), rework=2, then="ask"
)
assert_type(strict, Gate)
gate(non_empty() & has_order_id | contains("order", "id") | matches(Ticket))
gate(has_order_id)
gate(non_empty(), then="perhaps")  # type: ignore[arg-type]
gate(non_empty(), rework="often")  # type: ignore[arg-type]
review()  # type: ignore[call-arg]


def shout(brief: Brief) -> str:
    return brief.task.upper()


async def later(brief: Brief) -> dict[str, int]:
    return {"length": len(brief.task)}


class Mine(TeamState, total=False):
    orders: list[int]


class Ours(TeamContext):
    tenant: str = "nobody"


team = sequential(
    triage,
    Step(Echo(), "repeat it"),
    Step(shout, name="loud", gate=None),
    Step(later, gate=strict),
    Step(triage, "file it", name="filing", returns=Ticket, needs=["triage"], undo=lambda done: done.content),
    gate=strict,
    name="support",
    state_schema=Mine,
    context_schema=Ours,
)
assert_type(team, TeamGraph)
assert_type(sequential(), TeamGraph)
Step(triage, gate="strict")  # type: ignore[arg-type]
Step(triage, returns="Ticket")  # type: ignore[arg-type]
sequential(triage, gate=review(by="qa-engineer"))  # type: ignore[arg-type]
sequential(triage, gates=strict)  # type: ignore[call-arg]

# --- running

result = run(team, "Where is order 42?", model="openai:gpt-5-mini", budget=0.20, deadline=60)
assert_type(result, Result)
assert_type(result.answer, str)
assert_type(result["filing"], Deliverable)
assert_type(result["filing"].reason, Reason | None)
assert_type(result.usage, Usage)
assert_type(result.usage.usd, float | None)
assert_type(result.missing, tuple[str, ...])
assert_type([one.question for one in result.waiting], list[str])
assert_type(result.raise_unless_completed(), Result)
assert_type(result.to_json(), dict[str, Any])
if result.status == "waiting":
    assert_type(resume(result.run, "approve", accept_changes=True), Result)
assert_type(resume(result.run, {"id": True}, target=team), Result)
assert_type(rollback(result.run, "filing", wait=False), Result)
assert_type(delete(result.run, db=Path("runs.db")), Removed)
assert_type(prune("30d", db="postgresql://ada@127.0.0.1/runs", dry_run=True), Removed)
if result.status == "done":  # type: ignore[comparison-overlap]
    raise NotCompleted("there is no such status")

script = scripted({"triage": ["draft", "better"], "qa-engineer": [Verdict(passed=False, feedback="no id")]})
assert_type(script, ScriptedChatModel)
run(team, "hi", model=script, db=":memory:")
run(team, "hi", cache=True, context=TeamContext(cache=3600, limits=Limits(calls=500, payload=1_000_000)))
Limits(call=1)  # type: ignore[call-arg]
run(team, "hi", model={"economy": script, "premium": SimulatedChatModel(seed=7)})
run(team, "hi", context=Ours(tenant="x", executor=Executor(cap=4, retries=1, timeout=30)), store=InMemoryStore())
assert_type(replay(result), ScriptedChatModel)
assert_type(replay(result.run, db=Path("runs.db")), ScriptedChatModel)


async def everything_async() -> None:
    assert_type(await arun(team, "hi", thread="7", listeners=[print], stop=asyncio.Event()), Result)
    assert_type(await aresume("7", True), Result)
    assert_type(await arollback("7", "triage"), Result)
    assert_type(await adelete("7"), Removed)
    assert_type(await aprune(3600), Removed)
    await arun(team, "hi", budjet=1)  # type: ignore[call-arg]
    events: AsyncIterator[Event] = astream(team, "hi", thread="7")
    async for event in events:
        if isinstance(event, Token):
            assert_type(event.text, str)
        elif isinstance(event, RunFinished):
            assert_type(event.usd, float | None)


def heard(event: Event) -> None:
    assert_type(event.to_json(), dict[str, Any])


events: Iterator[Event] = stream(team, "hi")
run(team, "hi", listeners=[heard])

# --- plain LangGraph from here on

app = team.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
assert_type(app, Team)
state = app.invoke({"task": "hi"}, {"configurable": {"thread_id": "7"}}, context=TeamContext(models="simulated"))
app.invoke(Command(resume="approve"), {"configurable": {"thread_id": "7"}})
team.add_node("mine", lambda state: {"answer": "x"})
team.add_edge("finish", "mine")


class Host(BaseModel):
    task: str
    answer: Annotated[str, "of the team"] = ""


host = StateGraph(Host)
host.add_node("support", app)


# --- teams that fork


def forking() -> None:
    writer = agent("writer", "Write.")
    assert_type(parallel(writer, "qa-engineer", join=first(1), merge=merge(by=writer, conflicts="vote")), TeamGraph)
    assert_type(parallel(each(writer, ["a", "b"], most=10), join=quorum(2), gate=gate(conclusion())), TeamGraph)
    assert_type(parallel(writer, join=within(2.5), merge=lambda brief: brief.task), TeamGraph)
    merge(conflicts="luck")  # type: ignore[arg-type]
    first("one")  # type: ignore[arg-type]
    assert_type(hierarchical("sr-architect", ["security-engineer"], writer, width=3, reworks=0), TeamGraph)
    assert_type(mesh([writer, "qa-engineer"], "agent-architect", guards=Guards(hops=4, then="ask")), TeamGraph)
    Guards(then="stop")  # type: ignore[arg-type]


def adapting(explanation: Explanation) -> None:
    team = adaptive(["qa-engineer"], None, gate(conclusion()), learn=True, bounds=Bounds(changes=2, lag=3.0))
    assert_type(team, TeamGraph)
    assert_type(explain("a shop", learn=True, budget=1.0, quality="high"), Explanation)
    assert_type(explanation.pattern, str)
    assert_type(explanation["mesh"].forecast.seconds, float)
    Bounds(patterns=["swarm"])  # type: ignore[list-item]


def evaluated() -> None:
    told = evaluate(
        "sequential", ["a haiku", EvaluationCase("x", "y")], [contains("z")], variants={"a": Variant(model="simulated")}
    )
    assert_type(told, Evaluation)
    assert_type(told["a"].score.low, float | None)
    assert_type(told.rows[0].scores["z"].value, float)
    assert_type(as_target("sequential")({"task": "x"}), dict[str, Any])
    Variant(modle="x")  # type: ignore[call-arg]


def recovered(result: Result) -> None:
    careful = Recovery(retries=1, backups=["sr-architect"], models=["openai:gpt-5-mini"], ask=True, adapt="guide")
    step = Step("qa-engineer", optional=True, recovery=careful)
    assert_type(sequential(step, recovery=Recovery(pattern="hierarchical", hand_over=False)), TeamGraph)
    Recovery(adapt="drop")  # type: ignore[arg-type]
    for one in result["qa-engineer"].tried:
        assert_type(one.line(), str)
    assert_type(error_log(result.run), list[Fault])


def foreseen() -> None:
    known = history("line", db="runs.db", limit=10)
    assert_type(known, History)
    assert_type(known.seconds("draft"), tuple[float, ...])
    assert_type(known.pass_rate("draft"), float | None)
    found = rehearse(team, "hi", trials=10, faults="timeout=0.1", history=known)
    assert_type(found, Rehearsal)
    assert_type(found["draft"].sent_back, float | None)


def forked(result: Result) -> None:
    assert_type(result.conflicts, tuple[Conflict, ...])
    assert_type([one.winner for one in result.conflicts], list[str | None])
    assert_type(result["writer"].notes, Notes | None)
    assert_type(result["writer"].sources, tuple[str, ...])
    assert_type(result["writer"].required, bool)


def optimized(workflow: Workflow) -> None:
    found = optimize(workflow, history(workflow.name), slots=2)
    assert_type(found, Optimization)
    assert_type(found.workflow, Workflow)
    assert_type([one.line() for one in found.changes], list[str])
    assert_type([one.line() for one in found.bound], list[str])
    optimize("my.yaml")  # type: ignore[arg-type]
