"""A compiled team is plain LangGraph: what may go in, what it gets from outside, how it is bounded, drawn and asked."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from tests.support.teams import steps_asked, text_asked
from troupe import (
    Brief,
    BuildError,
    Executor,
    InputError,
    Step,
    Team,
    TeamContext,
    TeamState,
    agent,
    check,
    contains,
    current_call,
    gate,
    run,
    scripted,
    sequential,
)
from troupe.agents import scope as scopes
from troupe.agents.models.scripted import ScriptedChatModel

DRAFT, CHECK = agent("draft", "Write."), agent("check", "Check.")
THREAD: Any = {"configurable": {"thread_id": "t"}}


def context(*lines: Any, **fields: Any) -> TeamContext:
    return TeamContext(models=scripted(list(lines)), **fields)


# --- what goes in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"task": "hi"},
        {"messages": "hi"},
        {"messages": [("user", "hi")]},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"messages": HumanMessage("hi")},
        {"messages": [HumanMessage("hi")]},
        {"messages": [HumanMessage([{"type": "text", "text": "hi"}])]},
        {"messages": [SystemMessage("be nice"), AIMessage("hello"), HumanMessage("hi")]},
    ],
    ids=str,
)
def test_a_task_or_messages_in_any_of_langchains_forms_go_in(given: Any) -> None:
    model = scripted(["hello"])
    state = sequential(DRAFT).compile().invoke(given, context=TeamContext(models=model))
    assert (state["task"], state["answer"]) == ("hi", "hello")
    assert isinstance(state["messages"][-1], AIMessage) and state["messages"][-1].text == "hello"
    assert "# Task\nhi" in text_asked(model, 0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "it got the keys: none"),
        ({"taks": "hi"}, "it got the keys taks. Not known here: taks"),
        ({"task": "hi", "input": "x"}, "Not known here: input"),
        ({"task": ""}, "The task is empty"),
        ({"task": " \n"}, "The task is empty"),
        ({"task": 42}, "The task is empty"),
        ({"messages": []}, "it got the keys: messages"),
        ({"messages": [AIMessage("hello")]}, "it got the keys: messages"),
        ({"messages": [HumanMessage("")]}, "The task is empty"),
        ("hi", "not str"),
        ([HumanMessage("hi")], "not list"),
        (Command(resume=None), r"Command\(resume=None\) is no answer"),
        (Command(), r"Command\(resume=None\) is no answer"),
    ],
    ids=str,
)
async def test_what_no_team_can_take_is_refused_before_anything_is_called(given: Any, says: str) -> None:
    model = scripted(["never"])
    team = sequential(DRAFT).compile(checkpointer=InMemorySaver())
    with pytest.raises(InputError, match=says):
        team.invoke(given, THREAD, context=TeamContext(models=model))
    with pytest.raises(InputError, match=says):
        await team.ainvoke(given, THREAD, context=TeamContext(models=model))
    assert model.asked == [] and team.get_state(THREAD).values == {}


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\udfff"])
def test_what_no_database_stores_is_replaced_on_the_way_in_and_out(text: str) -> None:
    team = sequential(DRAFT).compile(checkpointer=InMemorySaver())
    for given in (
        {"task": text},
        {"messages": [HumanMessage(text)]},
        {"messages": [HumanMessage([{"type": "text", "text": text}])]},
    ):
        state = team.invoke(given, THREAD, context=context(f"said {text}"))
        assert state["status"] == "completed"
        assert "\ufffd" in state["task"] and "\ufffd" in state["answer"]
        assert not any(bad in one.text for one in state["messages"] for bad in "\0\ud800\udfff")


# --- what it gets from outside ---------------------------------------------------------------------------------------


class Support(TeamContext):
    """A context with something of the app's own."""

    customer: str = "nobody"


def test_a_context_of_ones_own_reaches_the_functions_of_the_team() -> None:
    def greet(brief: Brief) -> str:
        ours = current_call().scope.context
        assert isinstance(ours, Support)
        return f"Dear {ours.customer}"

    team = sequential(greet, context_schema=Support)
    assert team.compile().invoke({"task": "hi"}, context=Support(customer="Ada"))["answer"] == "Dear Ada"
    assert run(team, "hi", context=Support(customer="Ada"), budget=1, db=":memory:").answer == "Dear Ada"
    assert run(team, "hi", db=":memory:").answer == "Dear nobody"


def test_a_context_may_come_as_a_dictionary() -> None:
    fields: Any = {"models": scripted(["hello"])}
    assert sequential(DRAFT).compile().invoke({"task": "hi"}, context=fields)["answer"] == "hello"


def test_without_a_context_the_settings_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    team = sequential(DRAFT).compile()
    assert team.invoke({"task": "hi"})["simulated"] is True
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-bare-key-charges-nobody")
    assert team.invoke({"task": "hi"})["simulated"] is True
    monkeypatch.setenv("TROUPE_MODEL", "simulated:7")
    assert team.invoke({"task": "hi"})["answer"].startswith("[simulated]")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"state_schema": dict}, "must be a subclass of TeamState"),
        ({"context_schema": dict}, "must be a subclass of TeamContext"),
        ({"context_schema": "Support"}, "must be a subclass of TeamContext"),
    ],
)
def test_schemas_that_are_not_ours_are_refused(options: Any, says: str) -> None:
    with pytest.raises(BuildError, match=says):
        sequential(DRAFT, **options)


def test_a_store_of_langgraph_reaches_the_nodes() -> None:
    from langgraph.config import get_store

    store = InMemoryStore()
    store.put(("notes",), "a", {"text": "remembered"})

    def recall(brief: Brief) -> str:
        item = get_store().get(("notes",), "a")
        return str(item.value["text"]) if item else "forgotten"

    assert sequential(recall).compile(store=store).invoke({"task": "hi"})["answer"] == "remembered"
    assert run(sequential(recall), "hi", store=store, db=":memory:").answer == "remembered"


async def test_the_cap_holds_over_all_runs_that_share_an_executor() -> None:
    at_work, most = 0, 0

    class Watched(ScriptedChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0.005)
            at_work -= 1
            return await super()._agenerate(*args, **kwargs)

    model = Watched(lines={"*": ["x"] * 20})
    shared = TeamContext(models=model, executor=Executor(cap=3))
    team = sequential(DRAFT).compile()
    states = await asyncio.gather(*(team.ainvoke({"task": f"{n}"}, context=shared) for n in range(20)))
    assert {state["status"] for state in states} == {"completed"} and most == 3


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_team_bounds_itself_and_never_meets_its_own_bound() -> None:
    stubborn = check(lambda work: "never good enough")
    team = sequential(DRAFT, CHECK, gate=gate(stubborn, rework=10)).compile()
    state = team.invoke({"task": "hi"}, context=context(*["again"] * 99))
    assert state["status"] == "partial"
    assert {name: done.rounds for name, done in state["deliverables"].items()} == {"draft": 11, "check": 11}
    assert team.builder.bound < 500


def test_a_lower_limit_of_the_callers_is_kept() -> None:
    team = sequential(DRAFT, CHECK)
    with pytest.raises(GraphRecursionError):
        team.compile().invoke({"task": "hi"}, {"recursion_limit": 1}, context=context("a", "b"))


# --- plain LangGraph -------------------------------------------------------------------------------------------------


def test_a_team_is_a_compiled_graph_with_everything_that_one_can_do() -> None:
    team = sequential(DRAFT, CHECK, name="pair").compile(checkpointer=InMemorySaver(), interrupt_before=["check"])
    assert isinstance(team, Team) and isinstance(team, CompiledStateGraph)
    assert (team.name, [step.name for step in team.steps]) == ("pair", ["draft", "check"])
    team.invoke({"task": "hi"}, THREAD, context=context("d"))
    assert team.get_state(THREAD).next == ("check",)
    done = team.invoke(None, THREAD, context=context("c"))
    assert (done["answer"], team.get_state(THREAD).next) == ("c", ())
    assert next(iter(team.get_state_history(THREAD))).values["status"] == "completed"


def test_nodes_and_edges_of_ones_own_may_be_added_before_compiling() -> None:
    builder = sequential(DRAFT)
    builder.add_node("log", lambda state: {"answer": state["answer"] + " (logged)"})
    builder.edges.discard(("finish", "__end__"))
    builder.add_edge("finish", "log")
    builder.add_edge("log", "__end__")
    assert builder.compile().invoke({"task": "hi"}, context=context("d"))["answer"] == "d (logged)"


def test_asking_again_from_an_earlier_point_gives_another_answer() -> None:
    team = sequential(DRAFT).compile(checkpointer=InMemorySaver())
    team.invoke({"task": "one"}, THREAD, context=context("first"))
    before = team.get_state(THREAD).config
    assert team.invoke({"task": "two"}, THREAD, context=context("second"))["answer"] == "second"
    again = team.invoke({"task": "two"}, before, context=context("third"))  # as a chat's "regenerate" does
    assert again["answer"] == "third" and [one.text for one in again["messages"]] == ["one", "first", "two", "third"]


async def test_sync_calls_work_inside_a_running_loop_and_in_threads() -> None:
    team = sequential(DRAFT).compile()
    assert team.invoke({"task": "hi"}, context=context("a"))["answer"] == "a"
    state = await asyncio.to_thread(team.invoke, {"task": "hi"}, context=context("b"))
    assert state["answer"] == "b"


def test_a_sync_call_from_inside_an_async_step_says_what_to_do() -> None:
    inner = sequential(DRAFT).compile()

    async def nested(brief: Brief) -> str:
        return str(inner.invoke({"task": brief.task})["answer"])

    state = sequential(nested).compile().invoke({"task": "hi"}, context=context("a"))
    assert state["status"] == "failed" and "await the async form" in state["reason"].message

    def fine(brief: Brief) -> str:
        return str(inner.invoke({"task": brief.task})["answer"])

    assert sequential(fine).compile().invoke({"task": "hi"}, context=context("a"))["answer"] == "a"


def test_updates_tasks_and_values_stream_as_from_any_graph() -> None:
    team = sequential(DRAFT, CHECK).compile()
    updates = list(team.stream({"task": "hi"}, context=context("a", "b"), stream_mode="updates"))
    assert [next(iter(one)) for one in updates] == ["draft", "check", "finish"]


# --- a person's answer in plain LangGraph ----------------------------------------------------------------------------


def asking() -> tuple[Team, Any, str]:
    model = scripted({"draft": ["d1", "d2", "d3"]})
    team = sequential(Step(DRAFT, gate=gate(contains("zzz"), rework=0, then="ask"))).compile(
        checkpointer=InMemorySaver()
    )
    asked = team.invoke({"task": "hi"}, THREAD, context=TeamContext(models=model))
    (question,) = asked["__interrupt__"]
    return team, model, question.id


@pytest.mark.parametrize(
    ("answer", "status", "content", "calls"),
    [
        (True, "completed", "d1", 1),
        ("approve", "completed", "d1", 1),
        (False, "failed", "", 1),
        ({"type": "edit", "args": {"content": "mine"}}, "completed", "mine", 1),
        ([{"type": "edit", "args": {"action": "accept draft", "args": {"content": "mine"}}}], "completed", "mine", 1),
        ([{"type": "ignore", "args": None}], "failed", "", 1),
        ({"decisions": [{"type": "reject", "message": "no"}]}, "failed", "", 1),
    ],
    ids=str,
)
def test_the_answers_of_chat_front_ends_are_understood(answer: Any, status: str, content: str, calls: int) -> None:
    team, model, _ = asking()
    state = team.invoke(Command(resume=answer), THREAD, context=TeamContext(models=model))
    assert (state["status"], state["answer"], len(model.asked)) == (status, content, calls)


def test_a_response_sends_the_work_back_with_it() -> None:
    team, model, question = asking()
    again = team.invoke(Command(resume={question: "write it in red"}), THREAD, context=TeamContext(models=model))
    assert "__interrupt__" in again and "write it in red" in text_asked(model, 1)
    done = team.invoke(Command(resume=True), THREAD, context=TeamContext(models=model))
    assert (done["answer"], done["deliverables"]["draft"].rounds) == ("d2", 2)


@pytest.mark.parametrize("nonsense", [123, {}, {"type": "dance"}, [], [1, 2], "   "], ids=str)
def test_an_answer_that_is_not_understood_is_asked_for_again(nonsense: Any) -> None:
    team, model, _ = asking()
    again = team.invoke(Command(resume=nonsense), THREAD, context=TeamContext(models=model))
    if nonsense != {}:  # an empty mapping answers no question at all, LangGraph finds
        assert "was not understood" in again["__interrupt__"][0].value["question"]
    done = team.invoke(Command(resume="approve"), THREAD, context=TeamContext(models=model))
    assert (done["status"], done["answer"], len(model.asked)) == ("completed", "d1", 1)


# --- shown -----------------------------------------------------------------------------------------------------------


def test_a_team_draws_itself_in_a_notebook_without_the_network() -> None:
    team = sequential(DRAFT, gate=gate(contains("x"), then="ask"))
    for shown in (team._repr_mimebundle_(), team.compile()._repr_mimebundle_()):
        assert shown["image/svg+xml"].startswith("<svg") and "draft" in shown["image/svg+xml"]


def test_its_input_schema_names_what_a_caller_gives_and_nothing_of_the_engine() -> None:
    class Ticket(TeamState, total=False):
        customer: str

    schema = sequential(DRAFT, state_schema=Ticket).compile().get_input_jsonschema()
    assert set(schema["properties"]) == {"task", "messages", "customer"}


def test_it_works_under_langgraphs_strict_msgpack(tmp_path: Path) -> None:
    """The flag is read when LangGraph is imported, hence the process."""
    code = """
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from troupe import *
from troupe import gate as g
with SqliteSaver.from_conn_string("strict.db") as saver:
    inner = sequential(agent("draft", "W."), gate=g(contains("zzz"), 0, "ask"), name="inner")
    team = sequential(inner, agent("check", "C.")).compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "t"}}
    for turn in (1, 2):
        context = TeamContext(models=scripted(["d", "c"]))
        team.invoke({"task": "hi"}, config, context=context)
        state = team.invoke(Command(resume=True), config, context=context)
        assert (state["status"], state["answer"], state["turn"]) == ("completed", "c", turn), state
        assert type(team.get_state(config).values["deliverables"]["inner"].parts["draft"]).__name__ == "Deliverable"
"""
    environment = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_work_by_hand_on_the_state_is_possible() -> None:
    team = sequential(DRAFT, CHECK).compile(checkpointer=InMemorySaver(), interrupt_before=["check"])
    model = scripted({"draft": "d", "check": "c"})
    team.invoke({"task": "hi"}, THREAD, context=TeamContext(models=model))
    done = team.get_state(THREAD).values["deliverables"]["draft"]
    team.update_state(THREAD, {"deliverables": {"draft": done.but(content="corrected by hand")}}, as_node="draft")
    team.invoke(None, THREAD, context=TeamContext(models=model))
    assert "corrected by hand" in text_asked(model, 1) and steps_asked(model) == ["draft", "check"]


@pytest.mark.parametrize("streamed", [True, False])
async def test_whoever_is_cancelled_again_and_again_still_leaves_in_good_order(streamed: bool) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def slow(brief: Brief) -> str:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(5):  # a client takes several turns of the event loop to close its connection
                await asyncio.sleep(0)
            left.set()
        return "never"

    team = sequential(slow).compile()

    async def read() -> None:
        if streamed:
            async for _ in team.astream({"task": "hi"}):
                pass
        else:
            await team.ainvoke({"task": "hi"})

    reader = asyncio.create_task(read())
    await began.wait()
    while not reader.done():  # as web servers do
        reader.cancel()
        await asyncio.sleep(0)
    assert reader.cancelled()
    await asyncio.wait_for(left.wait(), 5)


async def test_a_turn_that_nobody_can_go_on_with_leaves_no_journal_behind() -> None:
    before = len(scopes._process_journal._books)
    await sequential(DRAFT).compile().ainvoke({"task": "hi"})
    assert len(scopes._process_journal._books) == before
    config: Any = {"configurable": {"thread_id": "kept for going on"}}
    await sequential(DRAFT).compile(InMemorySaver()).ainvoke({"task": "hi"}, config)
    assert any(root.startswith("kept%20for%20going%20on/") for root in scopes._process_journal._books)
