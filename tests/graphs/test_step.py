"""Anything that can work is a step: what it is called, what it gets, and what becomes of what it gives."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from tests.support.openai_server import OpenAIServer, slow
from tests.support.teams import Crash, Mortal, priced, roles_asked, steps_asked, text_asked
from troupe import (
    Brief,
    BuildError,
    Deliverable,
    Role,
    Step,
    TeamContext,
    TeamGraph,
    UnknownName,
    agent,
    check,
    contains,
    each,
    first,
    gate,
    merge,
    non_empty,
    parallel,
    resume,
    review,
    run,
    scripted,
    sequential,
)
from troupe.graphs.adapters import GraphAgent
from troupe.result import Result


class Ticket(BaseModel):
    order: int
    customer: str = "ada"


def ran(*steps: Any, model: Any = None, task: Any = "hi", **options: Any) -> Result:
    return run(sequential(*steps), task, model=model or scripted({"*": ["said"] * 9}), db=":memory:", **options)


# --- agents ----------------------------------------------------------------------------------------------------------


def test_a_role_of_the_roster_by_name_works_with_its_own_prompt() -> None:
    model = scripted(["done"])
    result = ran("technical-writer", model=model)
    assert result["technical-writer"].content == "done"
    assert roles_asked(model) == ["technical-writer"] and "writer" in text_asked(model, 0).lower()


def test_an_unknown_role_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'technical-writer'"):
        sequential("technical-writter")


def test_a_role_or_an_agent_of_ones_own_works_with_its_prompt_and_objective() -> None:
    model = scripted(["one", "two"])
    poet = Role(name="poet", prompt="You write VERSE.")
    result = ran(Step(poet, "about the sea"), Step(agent("critic", "You are HARSH."), name="judgement"), model=model)
    assert list(result.deliverables) == ["poet", "judgement"]
    assert "VERSE" in text_asked(model, 0) and "about the sea" in text_asked(model, 0)
    assert "HARSH" in text_asked(model, 1) and "one" in text_asked(model, 1)
    assert (result["judgement"].agent, result["judgement"].step) == ("critic", "judgement")


def test_a_step_that_returns_a_schema_has_data_also_after_it_was_stored(db: Path) -> None:
    team = sequential(Step(agent("triage", "Sort."), returns=Ticket), agent("answer", "Answer."))
    result = run(team, "hi", model=scripted({"triage": Ticket(order=42), "answer": "ok"}), db=db, thread="t")
    assert result["triage"].data == Ticket(order=42)
    again = resume("t", target=team, model=scripted(["never asked"]), db=db)
    assert again["triage"].data == Ticket(order=42)
    assert json.loads(again["triage"].content) == {"order": 42, "customer": "ada"}


# --- functions -------------------------------------------------------------------------------------------------------


def returns_text(brief: Brief) -> str:
    """Say it loudly."""
    return brief.task.upper()


async def returns_text_later(brief: Brief) -> str:
    return brief.task.upper()


class Caller:
    """Something callable that is no function."""

    def __call__(self, brief: Brief) -> str:
        return brief.task.upper()


class AsyncCaller:
    async def __call__(self, brief: Brief) -> str:
        return brief.task.upper()


@pytest.mark.parametrize(
    "function",
    [
        returns_text,
        returns_text_later,
        Caller(),
        AsyncCaller(),
        functools.partial(lambda much, brief: brief.task.upper() * much, 1),
    ],
    ids=["sync", "async", "callable", "async callable", "partial"],
)
def test_a_function_gets_the_brief_and_gives_text(function: Callable[..., Any]) -> None:
    result = ran(Step(function, name="shout"))
    assert (result.status, result.answer, result["shout"].content) == ("completed", "HI", "HI")
    assert result.usage.calls == 0


@pytest.mark.parametrize(
    ("value", "content", "data"),
    [
        ("text", "text", None),
        ({"order": 42}, '{\n  "order": 42\n}', {"order": 42}),
        (["a", "b"], '[\n  "a",\n  "b"\n]', ["a", "b"]),
        (Ticket(order=42), '{\n  "order": 42,\n  "customer": "ada"\n}', {"order": 42, "customer": "ada"}),
        (Deliverable(step="", content="mine", summary="short"), "mine", None),
    ],
)
def test_what_a_function_returns_becomes_its_deliverable(value: Any, content: str, data: Any) -> None:
    result = ran(Step(lambda brief: value, name="make"))
    assert result.status == "completed"
    assert (result["make"].content, result["make"].data, result["make"].step) == (content, data, "make")


@pytest.mark.parametrize(
    "value", [None, object(), 42, 1.5, True, b"bytes", {"x": object()}, {1, 2}], ids=lambda one: type(one).__name__
)
def test_what_no_deliverable_can_be_made_of_fails_the_step_and_says_what_can(value: Any) -> None:
    result = ran(Step(lambda brief: value, name="make"))
    assert result.status == "failed" and result.reason is not None and result.reason.step == "make"
    assert "returned" in result.reason.message


def test_a_function_that_raises_fails_its_step_and_not_the_run() -> None:
    def broken(brief: Brief) -> str:
        raise ZeroDivisionError("by zero")

    result = ran(agent("draft", "Write."), broken)
    assert (result.status, result.answer) == ("partial", "said")
    assert result.reason is not None and "ZeroDivisionError: by zero" in result.reason.message


async def leaving(brief: Brief) -> str:
    sys.exit(3)


@pytest.mark.parametrize("function", [lambda brief: sys.exit(3), leaving], ids=["sync", "async"])
def test_a_function_that_would_end_the_process_fails_its_step(function: Any) -> None:
    result = ran(agent("draft", "Write."), Step(function, name="leave"))
    assert (result.status, result.answer) == ("partial", "said")
    assert result.reason is not None and "tried to end the process: sys.exit(3)" in result.reason.message


def test_a_tool_that_would_end_the_process_leaves_the_next_run_alone() -> None:
    def leave() -> str:
        """Leave."""
        sys.exit(3)

    model = scripted([{"tool": "leave", "args": {}}, "never"])
    with suppress(SystemExit):
        assert ran(agent("draft", "Write.", tools=[leave]), model=model).status == "failed"
    assert ran(agent("draft", "Write.")).status == "completed"


def test_functions_that_run_teams_of_their_own_never_wait_for_each_other(db: Path) -> None:
    def look(brief: Brief) -> str:
        return "found"

    def delegate(brief: Brief) -> str:
        return run(look, brief.task, db=":memory:").answer

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda number: ran(delegate, task=f"task {number}"), range(16)))
    assert {(one.status, one.answer) for one in results} == {("completed", "found")}


def test_a_functions_data_is_held_against_the_steps_schema() -> None:
    assert ran(Step(lambda brief: {"order": 42}, name="make", returns=Ticket))["make"].data == Ticket(order=42)
    wrong = ran(Step(lambda brief: {"order": "many"}, name="make", returns=Ticket))
    assert wrong.status == "failed" and wrong.reason is not None and "no valid Ticket" in wrong.reason.message


def test_a_function_can_be_the_step_that_others_build_on() -> None:
    model = scripted({"answer": "ok"})
    ran(Step(lambda brief: "FACTS", name="look up"), Step(agent("answer", "Answer.")), model=model)
    assert "FACTS" in text_asked(model, 0)


def test_a_step_gets_what_it_needs_in_full_and_the_rest_as_summaries() -> None:
    long = " ".join(f"word{n}" for n in range(3000))
    model = scripted({"one": long, "two": "second", "three": "third"})
    ran(agent("one", "W."), agent("two", "W."), agent("three", "W."), model=model)
    assert "word2999" in text_asked(model, 1) and "word2999" not in text_asked(model, 2)
    assert "word1" in text_asked(model, 2) and "second" in text_asked(model, 2)
    needing = scripted({"one": long, "two": "second", "three": "third"})
    ran(agent("one", "W."), agent("two", "W."), Step(agent("three", "W."), needs=["one"]), model=needing)
    assert "word2999" in text_asked(needing, 2)


# --- chat models and Runnables ---------------------------------------------------------------------------------------


def fake(*replies: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(one) for one in replies]))


def test_a_chat_model_gets_the_brief_as_its_one_message() -> None:
    inner = scripted(["from the model"])
    result = ran(Step(inner, "be brief", name="model"))
    assert result["model"].content == "from the model"
    ((_, _, messages),) = inner.asked
    assert (
        [type(one) for one in messages] == [HumanMessage]
        and "be brief" in messages[0].text
        and "hi" in messages[0].text
    )


def test_a_bound_chat_model_keeps_what_it_is_bound_to() -> None:
    assert ran(Step(scripted(["bound"]).bind(stop=["x"]), name="model")).answer == "bound"


def test_a_chat_model_can_review() -> None:
    reviewing = scripted([{"passed": False, "feedback": "no"}, {"passed": True}])
    result = run(
        sequential(agent("draft", "Write."), gate=gate(review(by=reviewing))),
        "hi",
        model=scripted(["a", "b"]),
        db=":memory:",
    )
    assert result.status == "completed" and result.answer == "b"


@pytest.mark.parametrize("variable", ["task", "brief", "input", "objective"])
def test_a_chain_gets_the_variables_that_its_prompt_names(variable: str) -> None:
    heard: list[str] = []

    def hear(value: Any) -> str:
        heard.append(value.text)
        return "ok"

    chain = PromptTemplate.from_template(f"<{{{variable}}}>") | RunnableLambda(hear)
    result = ran(Step(lambda brief: "earlier", name="first"), Step(chain, "the aim", name="chain"))
    assert result["chain"].content == "ok"
    expected = {"task": "<hi>", "objective": "<the aim>", "input": "<earlier>"}
    assert heard[0] == expected[variable] if variable in expected else "the aim" in heard[0]


def test_a_chain_of_prompt_model_and_parser_is_a_step() -> None:
    model = scripted(["parsed"])
    chain = (
        ChatPromptTemplate.from_messages([("system", "You know {objective}."), ("user", "{task}")])
        | model
        | StrOutputParser()
    )
    result = ran(Step(chain, "everything", name="chain"))
    assert result.answer == "parsed" and "You know everything." in text_asked(model, 0)


def test_a_chain_that_ends_in_a_message_gives_its_text() -> None:
    assert ran(Step(PromptTemplate.from_template("{task}") | fake("a message"), name="chain")).answer == "a message"


def test_a_chain_that_wants_other_variables_is_refused_with_both_lists() -> None:
    with pytest.raises(
        BuildError, match=r"wants the keys customer, task; a brief offers brief, input, objective, task"
    ):
        sequential(Step(PromptTemplate.from_template("{customer}: {task}") | fake("x"), name="chain"))
    chain = PromptTemplate.from_template("{customer}: {task}") | RunnableLambda(lambda value: value.text)
    told = ran(Step(chain, name="chain", takes=lambda brief: {"customer": "ada", "task": brief.task}))
    assert told.answer == "ada: hi"


def test_a_runnable_lambda_gets_the_brief() -> None:
    async def later(brief: Brief) -> str:
        return brief.task * 2

    assert ran(Step(RunnableLambda(lambda brief: brief.task * 2), name="twice")).answer == "hihi"
    assert ran(Step(RunnableLambda(later), name="twice")).answer == "hihi"


# --- graphs of others ------------------------------------------------------------------------------------------------


def test_an_agent_of_langchain_with_tools_is_a_step() -> None:
    def lookup(order: int) -> str:
        """Look up an order."""
        return f"order {order} is on its way"

    model = scripted([{"tool": "lookup", "args": {"order": 42}}, "It is on its way."])
    result = ran(Step(create_agent(model, [lookup], name="support"), "answer it"))
    assert (result.status, result.answer, list(result.deliverables)) == ("completed", "It is on its way.", ["support"])
    assert "order 42 is on its way" in text_asked(model, 1)


class Foreign(TypedDict, total=False):
    question: str
    found: str


def foreign(node: Any, name: str = "foreign") -> Any:
    built: StateGraph[Foreign] = StateGraph(Foreign)
    built.add_node("work", node)
    built.add_edge(START, "work")
    built.add_edge("work", END)
    return built.compile(name=name)


def test_a_foreign_graph_works_through_takes_and_gives() -> None:
    graph = foreign(lambda state: {"found": state["question"][::-1]})
    step = Step(
        graph, name="reverse", takes=lambda brief: {"question": brief.task}, gives=lambda output: output["found"]
    )
    assert ran(step, task="stressed").answer == "desserts"


def test_a_foreign_graph_without_them_is_refused_with_both_key_sets() -> None:
    with pytest.raises(
        BuildError, match=r"'foreign' takes found, question and gives found, question; a step takes task or messages"
    ):
        sequential(foreign(lambda state: {}))
    with pytest.raises(BuildError, match="gives found, question"):
        Step(foreign(lambda state: {}), takes=lambda brief: {"question": brief.task})


def test_a_graph_with_messages_gives_its_last_ai_message() -> None:
    built: StateGraph[MessagesState] = StateGraph(MessagesState)
    built.add_node(
        "talk", lambda state: {"messages": [AIMessage("first"), AIMessage(f"about {len(state['messages'])}")]}
    )
    built.add_edge(START, "talk")
    result = ran(Step(built, name="talk"))  # not compiled: it is compiled for it
    assert result.answer == "about 1"
    silent: StateGraph[MessagesState] = StateGraph(MessagesState)
    silent.add_node("talk", lambda state: {"messages": [HumanMessage("no answer")]})
    silent.add_edge(START, "talk")
    nothing = ran(Step(silent, name="talk"))
    assert nothing.status == "failed" and nothing.reason is not None and "without an answer" in nothing.reason.message


def test_a_foreign_graph_that_raises_fails_its_step() -> None:
    def broken(state: Foreign) -> Foreign:
        raise LookupError("no such order")

    step = Step(foreign(broken), name="lookup", takes=lambda brief: {}, gives=lambda output: "x")
    result = ran(agent("draft", "Write."), step)
    assert result.status == "partial" and result.reason is not None and "no such order" in result.reason.message


# --- teams in teams --------------------------------------------------------------------------------------------------


def inner_team(**options: Any) -> TeamGraph:
    return sequential(agent("draft", "Write."), agent("check", "Check."), name="inner", **options)


def test_a_team_in_a_team_becomes_one_deliverable_with_parts() -> None:
    model = scripted({"plan": "the plan", "draft": "d", "check": "c", "file": "f"})
    result = ran(
        agent("plan", "Plan."), Step(inner_team(), "write it", name="writing"), agent("file", "File."), model=model
    )
    assert (result.status, list(result.deliverables), result.answer) == ("completed", ["plan", "writing", "file"], "f")
    assert (result["writing"].content, result["writing"].agent) == ("c", "check")
    assert (result["writing/draft"].content, result["writing/check"].content) == ("d", "c")
    assert result["writing"].usage.calls == 2 and result.usage.calls == 4
    assert "the plan" in text_asked(model, 1) and "write it" in text_asked(model, 1)
    assert "d" in text_asked(model, 2)


def test_teams_nest_as_deep_as_one_likes() -> None:
    team: Any = agent("leaf", "Work.")
    for depth in range(4):
        team = sequential(Step(team, name=f"level {depth}"), name=f"team {depth}")
    result = run(team, "hi", model=scripted({"level 0": "deep"}), db=":memory:")
    assert result.status == "completed" and result["level 3/level 2/level 1/level 0"].content == "deep"


def test_a_limit_that_is_hit_inside_a_nested_team_leaves_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(["one", slow("never")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        late = run(
            sequential(inner_team(), agent("file", "File.")), "hi", model="openai:gpt-test", deadline=0.8, db=":memory:"
        )
    lines = {"draft": "one", "check": "two", "file": "three"}
    poor = run(sequential(inner_team(), agent("file", "File.")), "hi", model=priced(lines), budget=1e-9, db=":memory:")
    for result in (late, poor):
        assert (result.status, result.answer, result["inner/draft"].content) == ("partial", "one", "one")
        assert result.reason is not None and result.reason.kind == "limit" and result.reason.step == "check"
        assert (result["inner"].status, result["file"].status) == ("partial", "failed")


def test_a_graph_of_others_that_ignores_the_deadline_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphAgent, "grace", 0.1)

    async def sleep(state: MessagesState) -> MessagesState:
        await asyncio.sleep(60)
        return state

    built: StateGraph[MessagesState] = StateGraph(MessagesState)
    built.add_node("sleep", sleep)
    built.add_edge(START, "sleep")
    result = run(Step(built, name="sleep"), "hi", deadline=0.2, db=":memory:")
    assert result.status == "failed" and result.reason is not None and result.reason.kind == "limit"


def test_the_same_team_twice_in_a_team_makes_its_own_calls() -> None:
    model = scripted({"draft": ["d1", "d2"], "check": ["c1", "c2"]})
    result = ran(Step(inner_team(), name="first"), Step(inner_team(), name="second"), model=model)
    assert (result["first"].content, result["second"].content, len(model.asked)) == ("c1", "c2", 4)


@pytest.mark.parametrize(
    ("lines", "then", "status", "step", "content"),
    [
        ({"draft": "d", "check": "c"}, "partial", "completed", "accepted", "c"),
        ({"draft": "d", "check": "bad"}, "partial", "partial", "partial", "bad"),
        ({"draft": "d", "check": "bad"}, "fail", "partial", "partial", "d"),
        ({"draft": [ValueError("broken")]}, "fail", "failed", "failed", ""),
    ],
)
def test_the_status_of_a_nested_team_carries_over(
    lines: dict[str, Any], then: Any, status: str, step: str, content: str
) -> None:
    picky = check(lambda work: work.content != "bad")
    inner = sequential(
        agent("draft", "Write."), Step(agent("check", "Check."), gate=gate(picky, 0, then)), name="inner"
    )
    result = ran(inner, model=scripted(lines))
    assert (result.status, result["inner"].status, result["inner"].content) == (status, step, content)
    assert (result.reason is None) == (status == "completed")


def test_a_nested_teams_question_is_answered_through_the_outer_one(db: Path) -> None:
    team = sequential(agent("plan", "Plan."), Step(inner_team(gate=gate(contains("good"), 0, "ask")), name="writing"))
    lines = {"plan": "p", "draft": "good d", "check": ["c", "good c"]}
    model = scripted(lines)
    waiting = run(team, "hi", model=model, db=db, thread="t")
    assert waiting.status == "waiting" and [one.step for one in waiting.waiting] == ["writing/check"]
    done = resume(
        "t",
        {waiting.waiting[0].id: {"type": "respond", "message": "say that it is good"}},
        target=team,
        model=model,
        db=db,
    )
    assert (done.status, done.answer) == ("completed", "good c")
    assert steps_asked(model) == ["plan", "draft", "check", "check"], "nothing was done twice"
    assert "say that it is good" in text_asked(model, 3)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_nested_teams_question_is_answered_in_plain_langgraph_too(asynchronous: bool) -> None:
    team = sequential(agent("plan", "Plan."), Step(inner_team(gate=gate(contains("good"), 0, "ask")), name="writing"))
    model = scripted({"plan": "p", "draft": "good d", "check": "c"})
    app, context = team.compile(checkpointer=InMemorySaver()), TeamContext(models=model)
    config: Any = {"configurable": {"thread_id": "t"}}

    async def invoke(given: Any) -> Any:
        if asynchronous:
            return await app.ainvoke(given, config, context=context)
        return app.invoke(given, config, context=context)

    asked = await invoke({"task": "hi"})
    (question,) = asked["__interrupt__"]
    done = await invoke(Command(resume={question.id: "approve"}))
    assert (done["status"], done["answer"], len(model.asked)) == ("completed", "c", 3)


def test_a_question_of_a_users_own_graph_takes_its_own_kind_of_answer(db: Path) -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        count = interrupt("How many?")
        return {"messages": [AIMessage(f"{count!r} it is")]}

    built: StateGraph[MessagesState] = StateGraph(MessagesState)
    built.add_node("ask", ask)
    built.add_edge(START, "ask")
    team = sequential(agent("plan", "Plan."), Step(built, name="asking"))
    model = scripted({"plan": "p"})
    waiting = run(team, "hi", model=model, db=db, thread="t")
    assert [one.question for one in waiting.waiting] == ["How many?"]
    assert resume("t", 3, target=team, model=model, db=db).answer == "3 it is"


@pytest.mark.parametrize("dead", ["plan", "draft", "check", "file"])
def test_a_crash_inside_a_nested_team_repeats_nothing(dead: str, db: Path) -> None:
    team = sequential(agent("plan", "Plan."), Step(inner_team(), name="writing"), agent("file", "File."))
    order = ["plan", "draft", "check", "file"]
    lines = {name: f"{name}!" for name in order}
    with pytest.raises(Crash):
        run(team, "hi", context=TeamContext(models=scripted(lines), executor=Mortal(dead)), db=db, thread="t")
    model = scripted(lines)
    result = resume("t", target=team, model=model, db=db)
    assert (result.status, result.answer) == ("completed", "file!")
    assert steps_asked(model) == order[order.index(dead) :]
    assert result.usage.calls == 4


def test_a_nested_team_works_with_langgraphs_sync_saver(db: Path) -> None:
    team = sequential(agent("plan", "Plan."), Step(inner_team(), name="writing"))
    model = scripted({"plan": "p", "draft": "d", "check": "c"})
    with SqliteSaver.from_conn_string(str(db)) as saver:
        app = team.compile(checkpointer=saver)
        state = app.invoke({"task": "hi"}, {"configurable": {"thread_id": "t"}}, context=TeamContext(models=model))
        assert (state["status"], state["reason"], state["answer"]) == ("completed", None, "c")


def test_a_step_that_runs_another_team_by_itself_keeps_it_apart(db: Path) -> None:
    def delegate(brief: Brief) -> str:
        return run(agent("helper", "Help."), brief.task, model=scripted(["helped"]), db=db, thread="inner").answer

    outer = run(
        sequential(agent("plan", "Plan."), delegate), "hi", model=scripted({"plan": "p"}), db=db, thread="outer"
    )
    assert (outer.status, outer.answer, outer.usage.calls) == ("completed", "helped", 1)
    again = resume("inner", target=agent("helper", "Help."), model=scripted(["never asked"]), db=db)
    assert (again.answer, again.usage.calls) == ("helped", 1)


# --- names, and what cannot be built ---------------------------------------------------------------------------------


def test_a_step_is_named_after_what_works_in_it() -> None:
    named = sequential("qa-engineer", agent("draft", "W."), returns_text, inner_team(), foreign_with_messages("talker"))
    assert [step.name for step in named.steps] == ["qa-engineer", "draft", "returns_text", "inner", "talker"]


def foreign_with_messages(name: str) -> Any:
    built: StateGraph[MessagesState] = StateGraph(MessagesState)
    built.add_node("talk", lambda state: {"messages": [AIMessage("x")]})
    built.add_edge(START, "talk")
    return built.compile(name=name)


def test_lambdas_can_be_steps_and_are_told_apart_by_a_name() -> None:
    assert ran(lambda brief: "one").answer == "one"
    with pytest.raises(BuildError, match=r"Two steps are named '<lambda>'.*name='\.\.\.'"):
        sequential(lambda brief: "one", lambda brief: "two")
    assert ran(Step(lambda brief: "one", name="a"), Step(lambda brief: "two", name="b")).answer == "two"


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(BuildError, match=r"Two steps are named 'qa-engineer'\. Name them by their job"):
        sequential("qa-engineer", "qa-engineer")


@pytest.mark.parametrize(
    "name",
    [
        "finish",
        "__start__",
        "__end__",
        "__mine",
        "a.gate",
        "a.ask",
        "a/b",
        "a:b",
        "a|b",
        "a#2",
        ".a",
        " a",
        "a\nb",
        "a\0b",
        "\ud800",
        "x" * 101,
    ],
)
def test_a_name_that_belongs_to_the_engine_or_to_paths_is_refused(name: str) -> None:
    with pytest.raises(BuildError, match="cannot be the name of a step"):
        Step(agent("draft", "W."), name=name)


@pytest.mark.parametrize(
    "name", ["Entwurf für Ada", "下書き", "a.b", "step 1", "été", "a-b_c", "100%", "<x>", "'\"", "gate", "ask"]
)
def test_any_other_name_works_from_the_brief_to_the_database(name: str, db: Path) -> None:
    team = sequential(Step(agent("draft", "W."), name=name), Step(agent("end", "W."), gate=gate(contains("!"))))
    result = run(team, "hi", model=scripted({name: "one", "end": "two!"}), db=db, thread="t")
    assert result.status == "completed" and result[name].content == "one"
    assert resume("t", target=team, model=scripted(["never"]), db=db)[name].content == "one"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: sequential([agent("a", "W."), agent("b", "W.")]),
            r"A list of 2 was given as one step.*sequential\(\*steps\)",
        ),
        (lambda: parallel([agent("a", "W.")]), r"parallel\(\*branches\)"),
        (lambda: sequential(each("qa-engineer", ["x"])), r"each\('qa-engineer', ...\) cannot be a step.*parallel"),
        (lambda: sequential(sequential), r"sequential was given as it is. Call it: sequential\(...\)"),
        (lambda: parallel("qa-engineer", merge=merge), r"Call it: merge\(...\)"),
        (lambda: parallel("qa-engineer", join=first), r"Call it: first\(...\)"),  # type: ignore[arg-type]
        (lambda: gate(non_empty), r"Call it: non_empty\(...\)"),
        (lambda: each("qa-engineer", items="red green"), "must be a list, a function of the Brief, or an agent"),
        (lambda: each("qa-engineer", items=5), "must be a list, a function of the Brief, or an agent"),
        (lambda: agent("a", "W.", tools=[5]), "5 cannot be a tool of 'a'"),
        (lambda: sequential(Ticket), "cannot be a step. A step is a role name"),
        (lambda: sequential(42), "cannot be a step"),
        (lambda: sequential(None), "cannot be a step"),
        (lambda: sequential({"a": 1}), "cannot be a step"),
        (lambda: Step(Step(agent("a", "W."))), "A Step was put into a Step"),
        (lambda: Step(agent("a", "W."), objective=42), "must be text"),  # type: ignore[arg-type]
        (lambda: Step(agent("a", "W."), returns=dict), "must be a pydantic model class"),  # type: ignore[arg-type]
        (lambda: Step(agent("a", "W."), undo="x"), "must be a function"),  # type: ignore[arg-type]
        (
            lambda: sequential(agent("a", "W."), Step(agent("b", "W."), needs=["c"])),
            "needs 'c', which is no earlier step. Earlier are: a",
        ),
        (
            lambda: sequential(Step(agent("a", "W."), needs="b"), agent("b", "W.")),
            "needs 'b', which is no earlier step",
        ),
        (lambda: sequential(lambda: "no argument"), "takes one argument, the Brief"),
        (lambda: agent("", "W."), "cannot be an agent's name"),
        (lambda: agent("a/b", "W."), "cannot be an agent's name"),
        (lambda: agent("a", " "), "must be a text that is not empty"),
        (lambda: agent("a", "W.", tools="search"), "must be a list"),
        (lambda: agent("a", "W.", tier="best"), "Unknown tier 'best'"),  # type: ignore[arg-type]
    ],
)
def test_a_step_that_cannot_work_is_refused_when_it_is_built(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(BuildError, match=says):
        make()
