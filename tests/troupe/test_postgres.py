"""The same promises on PostgreSQL: turns, questions, crashes, and texts that it cannot store."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import ormsgpack
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.types import Command
from psycopg.conninfo import make_conninfo
from pydantic import BaseModel

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
from troupe.agents.errors import Blocked
from troupe.catalogue import PATTERNS

A, B = agent("a", "Work."), agent("b", "Work.")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server: of the package pgserver, or of the system's binaries."""
    try:
        pgserver: Any = import_module("pgserver")
    except ImportError:
        yield from _of_the_system(tmp_path_factory.mktemp("postgres"))
        return
    started = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield started.get_uri()
    started.cleanup()


def _of_the_system(folder: Path) -> Iterator[str]:
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if not binaries:
        pytest.skip("no PostgreSQL here: neither the package pgserver nor /usr/lib/postgresql")
    bin_, data = binaries[0].parent, folder / "data"
    subprocess.run([bin_ / "initdb", "-D", data, "-A", "trust", "-U", "postgres"], check=True, capture_output=True)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    options: list[Any] = ["-D", data, "-w", "-l", folder / "log", "-o", f"-p {port} -h 127.0.0.1 -k {folder}"]
    subprocess.run([bin_ / "pg_ctl", "start", *options], check=True, capture_output=True)
    yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    subprocess.run([bin_ / "pg_ctl", "stop", "-D", data, "-m", "immediate"], check=False, capture_output=True)
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="module")
def saver(server: str) -> Iterator[Any]:
    store = checkpoints.postgres(server)
    store.setup()
    yield store
    store.close()


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


async def test_the_doors_and_streams_take_it_as_a_saver_of_the_users(saver: Any) -> None:
    team = sequential(A).compile(checkpointer=saver)
    result = await asyncio.to_thread(run, team, "x", model=scripted(["one"]), thread="door")
    again = await arun(team, "y", model=scripted(["two"]), thread="door")
    assert (result.answer, result.turn, again.answer, again.turn) == ("one", 1, "two", 2)
    events = [one async for one in astream(team, "z", thread="door", context=TeamContext(models=scripted(["three"])))]
    assert (
        events[-1].kind == "run_finished"
        and team.get_state({"configurable": {"thread_id": "door"}}).values["turn"] == 3
    )


def test_a_forged_row_is_blocked(saver: Any, server: str, thread: Any) -> None:
    team = sequential(A, B).compile(checkpointer=saver, interrupt_before=["b"])
    team.invoke({"task": "x"}, thread, context=TeamContext(models=scripted(["one"])))
    forged = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(("os", "system", "echo boom"))))
    with psycopg.connect(server) as connection:
        query = (
            "UPDATE checkpoint_writes SET type = 'msgpack', blob = %s WHERE thread_id = %s AND channel = 'deliverables'"
        )
        assert connection.execute(query, (forged, thread["configurable"]["thread_id"])).rowcount > 0
    with pytest.raises(Blocked, match=r"names the type os\.system"):
        team.invoke(None, thread, context=TeamContext(models=scripted(["never"])))


@pytest.mark.parametrize(
    "url", ["postgresql://ada:hunter22@127.0.0.1:9/nowhere", "postgresql:///x?host=/nowhere", "what:is this"]
)
def test_a_server_that_cannot_be_reached_is_said_at_once_and_without_the_password(url: str) -> None:
    with pytest.raises(StoreError, match=r"PostgreSQL cannot be used: .* Check its URL") as caught:
        checkpoints.postgres(url)
    assert "hunter22" not in str(caught.value)


async def test_it_conforms_to_langgraphs_contract_for_savers(server: str) -> None:
    @checkpointer_test(name="PostgresStore")
    async def postgres_store() -> AsyncIterator[Any]:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS conformance WITH (FORCE)")
            connection.execute("CREATE DATABASE conformance")
        store = checkpoints.postgres(make_conninfo(server, dbname="conformance"))
        store.setup()
        yield store
        store.close()

    report = await validate(postgres_store)
    assert {name: one.failures for name, one in report.results.items() if one.failures} == {}
    assert report.passed_all_base(), report.results
