"""What every pattern promises. A pattern is added here as one row of `PATTERNS`."""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from tests.support.hubs import fixed, quiet
from tests.support.teams import PRICE, Crash, Mortal, paced, patient, priced, steps_asked, text_asked
from troupe import (
    SimulatedChatModel,
    Step,
    TeamContext,
    TeamGraph,
    agent,
    arun,
    astream,
    checkpoints,
    gate,
    hierarchical,
    mesh,
    parallel,
    resume,
    review,
    run,
    scripted,
    sequential,
)
from troupe.graphs.flowing.team import Flowing, flowing_team
from troupe.result import Result


@dataclass(frozen=True)
class Example:
    """A pattern at work with scripted agents.

    Attributes:
        make: the builder's example of its documentation: two steps, under a gate if one is given.
        lines: what its steps deliver in one turn, by step; `{turn}` stands for the turn's number.
        answer: the step whose content is the answer.
        without: for each step, which others still deliver when it is dead.
        ahead: for each step, which others have delivered before it begins; the same, where not given.
        beside: for each step, which others work at the same time.
        ungated: the steps that no gate judges, because others judge them by their work.
        script: everything that is said in one turn, in order, by step or role, where decisions are made besides.
    """

    make: Callable[..., TeamGraph]
    lines: Mapping[str, str]
    answer: str
    without: Mapping[str, frozenset[str]]
    ahead: Mapping[str, frozenset[str]] = field(default_factory=dict)
    beside: Mapping[str, frozenset[str]] = field(default_factory=dict)
    script: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    ungated: frozenset[str] = frozenset()

    def said(self, turns: int = 1) -> dict[str, list[Any]]:
        """The script of so many turns."""
        script = self.script or {step: [line] for step, line in self.lines.items()}
        return {
            who: [one.format(turn=n + 1) if isinstance(one, str) else one for n in range(turns) for one in said]
            for who, said in script.items()
        }

    @property
    def calls(self) -> int:
        """How many calls a turn makes."""
        return sum(len(said) for said in self.said().values())

    def delivered(self) -> dict[str, str]:
        """What each step delivers in the first turn."""
        return {step: line.format(turn=1) for step, line in self.lines.items()}

    def asked_again(self, model: Any, dead: str) -> None:
        """After a crash at `dead`, a model was asked for all that had not been delivered, and for nothing else."""
        before, beside = self.ahead.get(dead, self.without[dead]), self.beside.get(dead, frozenset())
        asked = steps_asked(model)
        own = set(asked) & set(self.lines)
        assert set(self.lines) - before - beside <= own <= set(self.lines) - before
        if not self.script:
            assert len(asked) == len(set(asked)), "nothing is asked twice"

    def answered(self, turn: int = 1) -> str:
        """The answer of a turn."""
        return self.lines[self.answer].format(turn=turn)


# What a manager says, as a plan and as a judgement at once: each schema takes the fields that it has.
LEAD = {
    "design": "the plan",
    "packages": [{"owner": "worker", "title": "build it", "objective": "do it"}],
    "criteria": [{"criterion": "1", "met": True}],
    "passed": True,
}
PATTERNS = {
    "sequential": Example(
        make=lambda **options: sequential(agent("draft", "Write."), agent("check", "Check."), **options),
        lines={"draft": "draft {turn}", "check": "checked {turn}"},
        answer="check",
        without={"draft": frozenset(), "check": frozenset({"draft"})},
    ),
    "parallel": Example(
        make=lambda **options: parallel(
            agent("draft", "Write."), agent("check", "Check."), merge=agent("merge", "Put it together."), **options
        ),
        lines={"draft": "draft {turn}", "check": "checked {turn}", "merge": "merged {turn}"},
        answer="merge",
        without={
            "draft": frozenset({"check", "merge"}),
            "check": frozenset({"draft", "merge"}),
            "merge": frozenset({"draft", "check"}),
        },
        ahead={"draft": frozenset(), "check": frozenset()},
        beside={"draft": frozenset({"check"}), "check": frozenset({"draft"})},
    ),
    "hierarchical": Example(
        make=lambda **options: hierarchical(None, agent("lead", "Plan."), agent("worker", "Work."), **options),
        lines={
            "lead": "the plan\n\n## Packages\n\n1. build it (worker): do it",
            "worker.1": "built {turn}",
            "report": "report {turn}",
        },
        script={"lead": [LEAD, LEAD], "worker.1": ["built {turn}"], "worker": [{}], "report": ["report {turn}"]},
        answer="report",
        without={"worker.1": frozenset({"lead"}), "report": frozenset({"lead", "worker.1"})},
        ungated=frozenset({"lead"}),
    ),
    "mesh": Example(
        make=lambda **options: mesh(
            [quiet("draft", "Write."), quiet("check", "Check.")],
            hub=fixed(
                "switch",
                {
                    "assignments": [
                        {"objective": "Begin it.", "agent": "draft"},
                        {"objective": "End it.", "agent": "draft"},
                        {"objective": "Judge it.", "agent": "check"},
                    ]
                },
                {"finish": True},
            ),
            **options,
        ),
        lines={
            "draft.1": "draft {turn}",
            "draft.2": "end {turn}",
            "check.1": "checked {turn}",
            "conclude": "whole {turn}",
        },
        answer="conclude",
        without={
            "draft.1": frozenset({"draft.2", "check.1", "conclude"}),
            "draft.2": frozenset({"draft.1", "check.1", "conclude"}),
            "check.1": frozenset({"draft.1", "draft.2", "conclude"}),
            "conclude": frozenset({"draft.1", "draft.2", "check.1"}),
        },
        ahead=dict.fromkeys(("draft.1", "draft.2", "check.1"), frozenset()),
        beside={
            "draft.1": frozenset({"draft.2", "check.1"}),
            "draft.2": frozenset({"draft.1", "check.1"}),
            "check.1": frozenset({"draft.1", "draft.2"}),
        },
    ),
}


def flow(
    gate: Any = None, recovery: Any = None, state_schema: Any = None, context_schema: Any = None, name: str = "workflow"
) -> TeamGraph:
    """Three steps, of which two start at once."""
    steps = [
        Flowing(Step(agent("draft", "Write.")).under(gate, recovery)),
        Flowing(Step(agent("look", "Look.")).under(gate, recovery)),
        Flowing(Step(agent("check", "Check.")).under(gate, recovery), ("draft", "look")),
    ]
    return flowing_team(steps, name, state_schema, context_schema)


PATTERNS["workflow"] = Example(
    make=flow,
    lines={"draft": "draft {turn}", "look": "looked {turn}", "check": "checked {turn}"},
    answer="check",
    without={
        "draft": frozenset({"look", "check"}),
        "look": frozenset({"draft", "check"}),
        "check": frozenset({"draft", "look"}),
    },
    ahead={"draft": frozenset(), "look": frozenset()},
    beside={"draft": frozenset({"look"}), "look": frozenset({"draft"})},
)
every = pytest.mark.parametrize("example", PATTERNS.values(), ids=PATTERNS)
every_death = pytest.mark.parametrize(
    ("example", "dead"),
    [pytest.param(one, dead, id=f"{name}-{dead}") for name, one in PATTERNS.items() for dead in one.without],
)


def shape(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller sees of a final state, without ids and clocks."""
    return {
        "status": state["status"],
        "answer": state["answer"],
        "reason": state.get("reason"),
        "messages": [(one.type, one.text) for one in state["messages"]],
        "deliverables": {
            name: (done.status, done.content, done.rounds, done.attempts, done.score)
            for name, done in sorted(state["deliverables"].items())
        },
    }


def seen(result: Result) -> dict[str, Any]:
    """The same of a Result."""
    return {
        "status": result.status,
        "answer": result.answer,
        "reason": result.reason,
        "missing": result.missing,
        "deliverables": {name: (one.status, one.content, one.rounds) for name, one in result.deliverables.items()},
    }


# --- draws as documented ---------------------------------------------------------------------------------------------


def documented(text: str) -> tuple[set[str], dict[tuple[str, str], set[str]]]:
    """Nodes, and by edge its words, of the Mermaid drawing in a docstring."""
    drawing = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert drawing, "a pattern's module opens with a drawing"
    nodes, edges = set[str](), dict[tuple[str, str], set[str]]()
    for line in drawing.group(1).splitlines()[1:]:
        found = re.fullmatch(r"\s*(\S+?)(?:\(\[.*?\]\))? (?:-->|-\.->|-\. (.+?) \.->) (\S+?)(?:\(\[.*?\]\))?", line)
        assert found, f"not an edge: {line}"
        source, word, target = found.groups()
        nodes |= {source, target}
        edges.setdefault((source, target), set()).update([word] if word else [])
    return nodes, edges


def drawn(graph: Any) -> tuple[set[str], dict[tuple[str, str], set[str]]]:
    """The same of a compiled graph. Words to one node are joined by "or", and name the node they lead back to."""
    known = {"__start__": "start", "__end__": "end"}
    edges: dict[tuple[str, str], set[str]] = {}
    for edge in graph.edges:
        words = (
            str(edge.data or "").removesuffix(f" {edge.target}").split(" or ") if edge.conditional and edge.data else []
        )
        edges.setdefault((known.get(edge.source, edge.source), known.get(edge.target, edge.target)), set()).update(
            words
        )
    return {known.get(one, one) for one in graph.nodes}, edges


@every
def test_the_drawing_in_its_docstring_is_the_graph(example: Example) -> None:
    graph = example.make(gate=gate(review(by="qa-engineer")))
    module = import_module(PATTERN_MODULES[graph.name])
    assert drawn(graph.compile().get_graph()) == documented(module.__doc__ or "")


PATTERN_MODULES = {name: f"troupe.graphs.{name}" for name in PATTERNS}


# --- reaches an end --------------------------------------------------------------------------------------------------


@every
def test_it_reaches_an_end_in_the_engine_and_through_the_door(example: Example) -> None:
    model = scripted(example.said())
    state = example.make().compile().invoke({"task": "a poem"}, context=TeamContext(models=model))
    assert (state["status"], state["answer"]) == ("completed", example.answered())
    assert {name: done.content for name, done in state["deliverables"].items()} == example.delivered()
    assert [one.text for one in state["messages"]] == ["a poem", example.answered()]

    result = run(example.make(), "a poem", model=scripted(example.said()), db=":memory:").raise_unless_completed()
    assert result.answer == example.answered()
    assert set(result.deliverables) == set(example.lines)
    assert result.missing == () and result.reason is None


@every
def test_it_reaches_an_end_with_gates_and_the_built_in_model(example: Example) -> None:
    result = run(example.make(gate=gate(review(by="qa-engineer", at_least=0.8))), "a poem", db=":memory:")
    assert result.status == "completed" and result.simulated
    assert {done.status for done in result.deliverables.values()} == {"accepted"}
    judged = [done for name, done in result.deliverables.items() if name not in example.ungated]
    assert judged and all(0.8 <= (done.score or 0) <= 1 for done in judged)


# --- survives a dead worker ------------------------------------------------------------------------------------------


@every_death
def test_a_dead_worker_is_noted_and_what_others_finished_is_kept(example: Example, dead: str) -> None:
    def model() -> SimulatedChatModel:
        return SimulatedChatModel(faults={dead: [ConnectionError("nobody answers")] * 50})

    context = TeamContext(models=model(), executor=patient())
    result = run(example.make(), "a poem", context=context, db=":memory:")
    assert result.status == ("partial" if example.without[dead] else "failed")
    assert result.reason is not None
    assert (result.reason.kind, result.reason.step) == ("error", dead)
    assert "nobody answers" in result.reason.message
    assert {name for name, done in result.deliverables.items() if done.status == "accepted"} == example.without[dead]
    assert set(result.missing) == set(example.lines) - example.without[dead]
    assert result[dead].status == "failed" and result[dead].attempts == 4

    again = TeamContext(models=model(), executor=patient())
    state = example.make().compile().invoke({"task": "a poem"}, context=again)
    assert (state["status"], state["reason"]) == (result.status, result.reason)


@every_death
def test_a_worker_that_comes_back_is_asked_again_and_nothing_is_lost(example: Example, dead: str) -> None:
    lines: dict[str, Any] = {
        **example.said(),
        dead: [ConnectionError("gone"), ConnectionError("gone"), *example.said()[dead]],
    }
    context = TeamContext(models=scripted(lines), executor=patient())
    result = run(example.make(), "a poem", context=context, db=":memory:")
    assert (result.status, result.answer, result[dead].attempts) == ("completed", example.answered(), 3)


# --- resumes after a crash -------------------------------------------------------------------------------------------


@every_death
def test_a_crashed_run_goes_on_where_it_stopped(example: Example, dead: str, db: Path) -> None:
    team = example.make()
    mortal = Mortal(dead)
    with pytest.raises(Crash):
        run(team, "a poem", context=TeamContext(models=scripted(example.said()), executor=mortal), db=db, thread="t")
    ahead = example.ahead.get(dead, example.without[dead])
    others = set(mortal.asked) & set(example.lines) - {dead}
    assert ahead <= others <= ahead | example.beside.get(dead, frozenset())
    going_on = scripted(example.said())
    result = resume("t", target=team, model=going_on, db=db)
    assert seen(result) == seen(run(team, "a poem", model=scripted(example.said()), db=":memory:"))
    example.asked_again(going_on, dead)


@every_death
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_crashed_invoke_goes_on_from_a_users_saver(example: Example, dead: str, kind: str, db: Path) -> None:
    with saver_of(kind, db) as saver:
        team = example.make().compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "t"}}
        with pytest.raises(Crash):
            team.invoke({"task": "a poem"}, config, context=crashing(example, dead))
        going_on = scripted(example.said())
        state = team.invoke(None, config, context=TeamContext(models=going_on))
        assert (state["status"], state["answer"]) == ("completed", example.answered())
        example.asked_again(going_on, dead)


def crashing(example: Example, dead: str) -> TeamContext:
    """A context in which the process dies at the call of a step."""
    return TeamContext(models=scripted(example.said()), executor=Mortal(dead))


# --- keeps the budget ------------------------------------------------------------------------------------------------


@every
def test_it_keeps_the_budget(example: Example) -> None:
    each = 10_000 * PRICE
    count = example.calls
    rich = run(example.make(), "a poem", model=priced(example.said()), budget=count * each, db=":memory:")
    assert rich.status == "completed"
    assert rich.usage.usd == pytest.approx(count * each) and rich.usage.calls == count

    model = priced(example.said())
    poor = run(example.make(), "a poem", model=model, budget=(count - 1) * each, db=":memory:")
    assert poor.status in ("partial", "failed")
    assert poor.reason is not None and poor.reason.kind == "limit"
    assert "budget" in poor.reason.message
    assert len(model.asked) == count - 1
    assert poor.usage.usd is not None and poor.usage.usd <= (count - 1) * each + 1e-9


# --- sync equals async, and the order of arrival does not matter ------------------------------------------------------


@every
async def test_sync_equals_async(example: Example) -> None:
    team = example.make(gate=gate(review(by="qa-engineer"))).compile()
    contexts = [TeamContext(models=SimulatedChatModel(seed=3)) for _ in range(4)]
    states: list[Mapping[str, Any]] = [
        team.invoke({"task": "a poem"}, context=contexts[0]),
        await team.ainvoke({"task": "a poem"}, context=contexts[1]),
        list(team.stream({"task": "a poem"}, context=contexts[2], stream_mode="values"))[-1],
        [one async for one in team.astream({"task": "a poem"}, context=contexts[3], stream_mode="values")][-1],
    ]
    assert all(shape(state) == shape(states[0]) for state in states)
    sync = run(example.make(), "a poem", model=SimulatedChatModel(seed=3), db=":memory:")
    other = await arun(example.make(), "a poem", model=SimulatedChatModel(seed=3), db=":memory:")
    assert seen(sync) == seen(other)


@every
async def test_the_order_of_arrival_does_not_change_the_result(example: Example) -> None:
    said = [lines[0] for lines in example.said().values() if isinstance(lines[0], str)]
    shapes = []
    for order in itertools.permutations(range(len(said))):
        pauses = {line: 0.01 * place for line, place in zip(said, order, strict=True)}
        context = TeamContext(models=paced(example.said(), pauses))
        shapes.append(shape(await example.make().compile().ainvoke({"task": "a poem"}, context=context)))
    assert all(one == shapes[0] for one in shapes)


# --- three turns on one thread ---------------------------------------------------------------------------------------


@contextmanager
def saver_of(kind: str, db: Path) -> Iterator[Any]:
    """A saver as a user brings it."""
    if kind == "memory":
        yield InMemorySaver()
    elif kind == "strict memory":
        yield checkpoints.memory()
    else:
        with SqliteSaver.from_conn_string(str(db)) as saver:
            yield saver


def assert_three_turns(example: Example, model: Any, answers: list[str]) -> None:
    assert answers == [example.answered(turn) for turn in (1, 2, 3)]
    assert len(model.asked) == 3 * example.calls, "each turn makes its own calls"
    third = [text_asked(model, number) for number in range(2 * example.calls, 3 * example.calls)]
    assert knows(third, example.answered(1)), "later turns know the earlier answers"


def knows(briefs: Sequence[str], answer: str) -> bool:
    """Whether all briefs hold an answer, but for those that ask an author about what they have just written."""
    return all(answer in brief for brief in briefs if "Your work on this is done" not in brief)


@every
@pytest.mark.parametrize("kind", ["memory", "strict memory", "sqlite"])
def test_three_turns_on_one_thread_with_a_users_saver(example: Example, kind: str, db: Path) -> None:
    model = scripted(example.said(3))
    with saver_of(kind, db) as saver:
        team = example.make().compile(checkpointer=saver)
        answers = []
        for n in (1, 2, 3):
            config: Any = {"configurable": {"thread_id": "t"}}
            state = team.invoke(
                {"messages": [HumanMessage(f"question {n}")]}, config, context=TeamContext(models=model)
            )
            assert state["status"] == "completed" and state["turn"] == n
            assert {done.rounds for done in state["deliverables"].values()} == {1}
            answers.append(state["messages"][-1].text)
        assert_three_turns(example, model, answers)
        assert [one.text for one in team.get_state(config).values["messages"]] == [
            text for n in (1, 2, 3) for text in (f"question {n}", example.answered(n))
        ]


@every
def test_three_turns_on_one_thread_through_the_door(example: Example, db: Path) -> None:
    model = scripted(example.said(3))
    results = [run(example.make(), f"question {n}", model=model, thread="t", db=db) for n in (1, 2, 3)]
    assert [one.turn for one in results] == [1, 2, 3]
    assert {one.status for one in results} == {"completed"}
    assert_three_turns(example, model, [one.answer for one in results])


@every
def test_the_same_question_again_is_a_new_turn_and_not_the_old_answer(example: Example) -> None:
    model = scripted(example.said(2))
    answers = []
    for _ in range(2):
        team = example.make().compile(checkpointer=InMemorySaver())  # another saver with a thread of the same name
        config: Any = {"configurable": {"thread_id": "1"}}
        answers.append(team.invoke({"task": "a poem"}, config, context=TeamContext(models=model))["answer"])
    assert answers == [example.answered(1), example.answered(2)]


@every
def test_a_crash_in_the_second_turn_repeats_nothing(example: Example, db: Path) -> None:
    team = example.make()
    for dead in example.without:
        thread = f"thread of {dead}"
        first = run(team, "question 1", model=scripted(example.said(1)), thread=thread, db=db)
        with pytest.raises(Crash):
            run(team, "question 2", context=crashing(example, dead), thread=thread, db=db)
        going_on = scripted(example.said(1))
        second = resume(thread, target=team, model=going_on, db=db)
        assert (first.turn, second.turn) == (1, 2)
        assert second.status == "completed" and second.task == "question 2"
        example.asked_again(going_on, dead)
        assert knows([text_asked(going_on, n) for n in range(len(going_on.asked))], example.answered(1))


# --- nested in a host graph ------------------------------------------------------------------------------------------


class HostState(TypedDict, total=False):
    messages: list[Any]
    question: str
    found: str
    trail: list[str]


@dataclass
class HostContext:
    """A host's own context class; ours travels in it as `.troupe`."""

    user: str
    troupe: TeamContext | None = None


def host(example: Example, how: str, **compiling: Any) -> Any:
    """A plain LangGraph graph around a team: as a node of its own, or called inside one."""
    team = example.make().compile()

    async def called(state: HostState) -> dict[str, Any]:
        out = await team.ainvoke({"task": state["question"]})
        return {"found": out["answer"], "trail": [*state.get("trail", []), out["status"]]}

    def called_sync(state: HostState) -> dict[str, Any]:
        out = team.invoke({"task": state["question"]})
        return {"found": out["answer"], "trail": [*state.get("trail", []), out["status"]]}

    def ask(state: HostState) -> dict[str, Any]:
        return {"messages": [HumanMessage(state["question"])]}

    def read(state: HostState) -> dict[str, Any]:
        last = state["messages"][-1]
        return {"found": last.text, "trail": ["completed" if isinstance(last, AIMessage) else "unanswered"]}

    built: StateGraph[HostState, HostContext] = StateGraph(HostState, HostContext)
    if how == "node":
        built.add_node("ask", ask)
        built.add_node("team", team)
        built.add_node("read", read)
        for source, target in itertools.pairwise([START, "ask", "team", "read", END]):
            built.add_edge(source, target)
    else:
        built.add_node("team", called if how == "call" else called_sync)
        built.add_edge(START, "team")
        built.add_edge("team", END)
    return built.compile(**compiling)


@every
@pytest.mark.parametrize("how", ["node", "call", "sync call"])
async def test_nested_in_a_host_graph_it_finds_its_context_there(example: Example, how: str) -> None:
    for turn in ("sync", "async"):
        if (how, turn) == ("call", "sync"):
            continue  # LangGraph does not run async nodes in a sync run
        model = scripted(example.said())
        context = HostContext("ada", TeamContext(models=model))
        graph = host(example, how)
        given: Any = {"question": "a poem"}
        out = graph.invoke(given, context=context) if turn == "sync" else await graph.ainvoke(given, context=context)
        assert (out["found"], out["trail"]) == (example.answered(), ["completed"])
        assert set(out) <= set(HostState.__annotations__), "no channel of ours leaks into the host"
        assert len(model.asked) == example.calls


@every
@pytest.mark.parametrize("how", ["node", "call"])
async def test_nested_in_a_host_graph_without_any_context_it_uses_the_settings(example: Example, how: str) -> None:
    out = await host(example, how).ainvoke({"question": "a poem"})
    assert out["found"].startswith("[simulated]") and out["trail"] == ["completed"]


@every
@pytest.mark.parametrize("how", ["node", "call"])
async def test_a_host_asks_three_times_and_again_after_a_crash(example: Example, how: str) -> None:
    graph = host(example, how, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    for n in (1, 2):
        # The very same question: each turn of the host is a turn of the team.
        model = scripted(example.said())
        context = HostContext("ada", TeamContext(models=model))
        out = await graph.ainvoke({"question": "a poem", "found": "", "trail": []}, config, context=context)
        assert (out["found"], len(model.asked)) == (example.answered(), example.calls), n
    for dead in example.without:
        context = HostContext("ada", crashing(example, dead))
        with pytest.raises(Crash):
            await graph.ainvoke({"question": "a poem", "found": "", "trail": []}, config, context=context)
        going_on = scripted(example.said())
        out = await graph.ainvoke(None, config, context=HostContext("ada", TeamContext(models=going_on)))
        assert out["found"] == example.answered()
        example.asked_again(going_on, dead)


@every
async def test_a_dead_worker_in_a_nested_team_does_not_break_the_host(example: Example) -> None:
    dead = next(iter(example.without))
    model = SimulatedChatModel(faults={dead: [ConnectionError("gone")] * 50})
    context = HostContext("ada", TeamContext(models=model, executor=patient()))
    out = await host(example, "call").ainvoke({"question": "a poem"}, context=context)
    assert out["trail"] == ["partial" if example.without[dead] else "failed"]


# --- a plain saver of the user's --------------------------------------------------------------------------------------


@every
async def test_an_async_saver_of_langgraph_keeps_and_resumes_a_run(example: Example, db: Path) -> None:
    config: Any = {"configurable": {"thread_id": "t"}}
    dead = example.answer
    async with AsyncSqliteSaver.from_conn_string(str(db)) as saver:
        team = example.make().compile(checkpointer=saver)
        with pytest.raises(Crash):
            await team.ainvoke({"task": "a poem"}, config, context=crashing(example, dead))
    async with AsyncSqliteSaver.from_conn_string(str(db)) as saver:
        team = example.make().compile(checkpointer=saver)
        going_on = scripted(example.said())
        state = await team.ainvoke(None, config, context=TeamContext(models=going_on))
        assert (state["status"], state["answer"]) == ("completed", example.answered())
        example.asked_again(going_on, dead)
        kept = (await team.aget_state(config)).values
        assert {name: done.content for name, done in kept["deliverables"].items()} == example.delivered()


@every
def test_what_a_saver_kept_is_typed_again_and_nothing_secret_is_in_it(example: Example, db: Path) -> None:
    with SqliteSaver.from_conn_string(str(db)) as saver:
        team = example.make().compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "t"}}
        team.invoke({"task": "a poem"}, config, context=TeamContext(models=scripted(example.said()), budget=87654.5))
        done = team.get_state(config).values["deliverables"][example.answer]
        assert (type(done).__name__, done.status, done.usage.calls) == ("Deliverable", "accepted", 1)
    rows = sqlite3.connect(db).execute("SELECT checkpoint, metadata FROM checkpoints").fetchall()
    assert rows and not any(b"87654.5" in bytes(cell) or b"TeamContext" in bytes(cell) for row in rows for cell in row)


@every
async def test_events_of_a_users_own_stream_end_with_the_result(example: Example) -> None:
    team = example.make().compile(checkpointer=InMemorySaver())
    events = [
        one async for one in astream(team, "a poem", thread="t", context=TeamContext(models=scripted(example.said())))
    ]
    assert (events[-1].kind, getattr(events[-1], "answer", "")) == ("run_finished", example.answered())
