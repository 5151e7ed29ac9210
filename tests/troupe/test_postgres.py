"""The same promises on PostgreSQL: turns, questions, crashes, and texts that it cannot store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.types import Command
from pydantic import BaseModel

from tests.support.postgres import Server
from tests.support.teams import Crash, Mortal, steps_asked, text_asked
from troupe import (
    SimulatedChatModel,
    Step,
    StoreError,
    TeamContext,
    TeamState,
    agent,
    arun,
    astream,
    checkpoints,
    contains,
    gate,
    run,
    scripted,
    sequential,
)
from troupe.catalogue import PATTERNS

A, B = agent("a", "Work."), agent("b", "Work.")


@pytest.fixture(scope="module")
def url(postgres: Server) -> Iterator[str]:
    url = postgres.database()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="module")
def saver(url: str) -> Iterator[Any]:
    with checkpoints.postgres(url) as store:
        yield store


@pytest.fixture
def thread(request: pytest.FixtureRequest) -> Any:
    """A thread of the test's own; the server is shared."""
    return {"configurable": {"thread_id": request.node.name}}


async def invoke(team: Any, given: Any, thread: Any, context: TeamContext, how: str) -> Any:
    if how == "sync":
        return await asyncio.to_thread(team.invoke, given, thread, context=context)
    return await team.ainvoke(given, thread, context=context)


both = pytest.mark.parametrize("how", ["sync", "async"])


@both
async def test_three_turns_on_one_thread(how: str, saver: Any, thread: Any) -> None:
    team = sequential(A, B).compile(checkpointer=saver)
    model = scripted({"a": ["a1", "a2", "a3"], "b": ["b1", "b2", "b3"]})
    for turn in (1, 2, 3):
        state = await invoke(team, {"task": f"question {turn}"}, thread, TeamContext(models=model), how)
        assert (state["status"], state["answer"], state["turn"]) == ("completed", f"b{turn}", turn)
    assert len(model.asked) == 6 and "b1" in text_asked(model, 4)
    kept = team.get_state(thread).values
    assert type(kept["deliverables"]["b"]).__name__ == "Deliverable" and len(kept["messages"]) == 6


@both
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_every_patterns_state_comes_back_as_it_was(how: str, pattern: str, saver: Any, thread: Any) -> None:
    team = PATTERNS[pattern].make().compile(checkpointer=saver)
    state = await invoke(team, {"task": "a shop"}, thread, TeamContext(models=SimulatedChatModel()), how)
    kept = team.get_state(thread).values
    assert state["status"] == "completed"
    assert {name: kept[name] for name in state if name != "messages"} == {
        name: one for name, one in state.items() if name != "messages"
    }


@both
@pytest.mark.parametrize("nested", [False, True])
async def test_a_question_and_its_answer(how: str, nested: bool, saver: Any, thread: Any) -> None:
    asking: Any = Step(A, gate=gate(contains("zzz"), 0, "ask"))
    first = sequential(asking, name="inner") if nested else asking
    team = sequential(first, B).compile(checkpointer=saver)
    model = scripted({"a": ["a1", "a2 zzz"], "b": "b1"})
    asked = await invoke(team, {"task": "x"}, thread, TeamContext(models=model), how)
    answer: Any = Command(resume={asked["__interrupt__"][0].id: "better, with zzz"})
    done = await invoke(team, answer, thread, TeamContext(models=model), how)
    assert (done["status"], done["answer"], steps_asked(model)) == ("completed", "b1", ["a", "a", "b"])


@both
async def test_a_crash_repeats_nothing(how: str, saver: Any, thread: Any) -> None:
    team = sequential(A, B).compile(checkpointer=saver)
    with pytest.raises(Crash):
        await invoke(team, {"task": "x"}, thread, TeamContext(models=scripted({"a": "a1"}), executor=Mortal("b")), how)
    model = scripted({"b": "b1"})
    done = await invoke(team, None, thread, TeamContext(models=model), how)
    assert (done["status"], done["answer"], steps_asked(model)) == ("completed", "b1", ["b"])


class Ticket(BaseModel):
    customer: str


class Desk(TeamState, total=False):
    customer: str


@both
@pytest.mark.parametrize("text", ["NUL \0 in it", "lone \ud800 surrogate", "\udcff\0", "🎭"])
async def test_texts_that_it_cannot_store_are_replaced_and_do_no_harm(
    how: str, text: str, saver: Any, thread: Any
) -> None:
    team = sequential(A, Step(B, returns=Ticket, gate=gate(contains("zzz"), 0, "ask")), state_schema=Desk)
    compiled = team.compile(checkpointer=saver)
    model = scripted({"a": f"said {text}", "b": Ticket(customer=f"ada {text}".encode("utf-8", "replace").decode())})
    given = {"messages": [HumanMessage(f"task {text}")], "customer": f"ada {text}"}
    await invoke(compiled, given, thread, TeamContext(models=model), how)
    edited: Any = Command(resume={"type": "edit", "message": f"edited {text}"})
    state = await invoke(compiled, edited, thread, TeamContext(models=model), how)
    assert state["status"] == "completed"
    for said in (state["answer"], state["deliverables"]["a"].content, state["messages"][0].text, state["customer"]):
        assert "\0" not in said and said.encode("utf-8")
        assert text in said if text == "🎭" else "\ufffd" in said


@settings(max_examples=15)
@given(text=st.text(alphabet=st.characters(codec=None), min_size=1, max_size=20).filter(lambda one: bool(one.strip())))
def test_any_text_of_a_model_comes_back_alike_from_postgres_and_sqlite(text: str, saver: Any) -> None:
    answers = []
    for number, store in enumerate((saver, checkpoints.sqlite(":memory:"))):
        team = sequential(A).compile(checkpointer=store)
        config: Any = {"configurable": {"thread_id": f"{text.encode('utf-8', 'replace').hex()}-{number}"}}
        team.invoke({"task": "x"}, config, context=TeamContext(models=scripted([f"= {text}"])))
        answers.append(team.get_state(config).values["answer"])
    store.close()
    assert answers[0] == answers[1] and len(answers[0]) == len(text) + 2


async def test_many_runs_share_its_pool(saver: Any) -> None:
    team = sequential(A, B).compile(checkpointer=saver)
    context = TeamContext(models=scripted({"a": ["one"] * 30, "b": ["two"] * 30}))
    states = await asyncio.gather(
        *(team.ainvoke({"task": "x"}, {"configurable": {"thread_id": f"many {n}"}}, context=context) for n in range(30))
    )
    assert {state["status"] for state in states} == {"completed"}


async def test_the_doors_and_streams_take_it_from_the_team(saver: Any) -> None:
    team = sequential(A).compile(checkpointer=saver)
    result = await asyncio.to_thread(run, team, "x", model=scripted(["one"]), thread="door")
    again = await arun(team, "y", model=scripted(["two"]), thread="door")
    assert (result.answer, result.turn, again.answer, again.turn) == ("one", 1, "two", 2)
    events = [one async for one in astream(team, "z", thread="door", context=TeamContext(models=scripted(["three"])))]
    assert (
        events[-1].kind == "run_finished"
        and team.get_state({"configurable": {"thread_id": "door"}}).values["turn"] == 3
    )


@pytest.mark.parametrize(
    "url", ["postgresql://ada:hunter22@127.0.0.1:9/nowhere", "postgresql:///x?host=/nowhere", "what:is this"]
)
def test_a_server_that_cannot_be_reached_is_said_at_once_and_without_the_password(url: str) -> None:
    with pytest.raises(StoreError, match=r"PostgreSQL cannot be used: .* Check its URL") as caught:
        checkpoints.postgres(url)
    assert "hunter22" not in str(caught.value)
