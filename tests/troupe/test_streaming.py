"""A run as events: their order, whose words are shown, and what becomes of a run whose reader leaves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import uvicorn
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.support.openai_server import OpenAIServer, Received, slow
from tests.support.teams import patient, steps_asked
from troupe import (
    InputError,
    SimulatedChatModel,
    Step,
    TeamContext,
    Verdict,
    agent,
    astream,
    contains,
    each,
    gate,
    hierarchical,
    mesh,
    parallel,
    review,
    run,
    scripted,
    sequential,
    stream,
)
from troupe.agents.events import Event, Token
from troupe.sqlite import SqliteStore

A, B = agent("a", "Work."), agent("b", "Work.")
THREAD: Any = {"configurable": {"thread_id": "t"}}


def kinds(events: list[Event]) -> list[str]:
    return [one.kind for one in events if one.kind != "token"]


def words(events: list[Event], path: str) -> str:
    return "".join(one.text for one in events if isinstance(one, Token) and one.path == path)


async def read(app: Any, given: Any, **options: Any) -> list[Event]:
    return [one async for one in astream(app, given, **options)]


# --- what is told ----------------------------------------------------------------------------------------------------

LINES = {
    "a": "The first draft of it.",
    "b": ["A bad try.", "A good try at last."],
    "qa-engineer": [Verdict(passed=False, feedback="SECRET COMPLAINT"), Verdict(passed=True, feedback="SECRET PRAISE")],
}
GATED = sequential(A, Step(B, gate=gate(review(by="qa-engineer"))))


async def test_events_come_in_the_order_of_the_work() -> None:
    events = await read(GATED, "x", context=TeamContext(models=scripted(LINES)))
    assert kinds(events) == [
        "step_started", "request", "step_finished", "progress",
        "step_started", "request", "step_finished", "request", "verdict",
        "step_started", "request", "step_finished", "request", "verdict", "progress",
        "run_finished",
    ]  # fmt: skip
    last: Any = events[-1]
    assert (last.status, last.answer, last.usd) == ("completed", "A good try at last.", 0.0)
    json.dumps([one.to_json() for one in events])


async def test_tokens_are_the_steps_words_and_never_a_verdicts() -> None:
    events = await read(GATED, "x", context=TeamContext(models=scripted(LINES)))
    assert words(events, "a") == "The first draft of it."
    assert words(events, "b") == "A bad try.A good try at last."
    assert "SECRET" not in "".join(one.text for one in events if isinstance(one, Token))
    assert sum(isinstance(one, Token) for one in events) > 8, "word by word, not all at once"
    first = next(index for index, one in enumerate(events) if isinstance(one, Token))
    finished = next(index for index, one in enumerate(events) if one.kind == "step_finished")
    assert first < finished, "words are told while they are written"


async def test_words_of_a_team_inside_a_team_come_with_its_path() -> None:
    team = sequential(Step(sequential(A, B, name="inner"), name="outer"))
    events = await read(team, "x", context=TeamContext(models=scripted({"a": "one two", "b": "three"})))
    assert words(events, "outer/a") == "one two" and words(events, "outer/b") == "three"
    assert [one.path for one in events if one.kind == "step_started"] == ["outer", "outer/a", "outer/b"]


def look(what: str) -> str:
    """Look something up."""
    return what


JUDGED = gate(review(by="qa-engineer"))
TEAMS: dict[str, Any] = {
    "a gated branch": parallel(Step(A, gate=JUDGED), B),
    "items": parallel(each(A, ["x", "y"]), B),
    "gated items": parallel(each(Step(A, gate=JUDGED), ["x", "y"])),
    "a team on each item": parallel(each(Step(parallel(A, Step(B, gate=JUDGED), name="in"), name="w"), ["x", "y"])),
    "a gated team": sequential(Step(parallel(Step(A, gate=JUDGED), B), name="w", gate=JUDGED)),
    "an agent with tools": parallel(each(Step(agent("a", "Work.", tools=[look]), gate=JUDGED), ["x", "y"])),
    "packages": hierarchical(strategic=A, implementation=B),
    "assignments": mesh([A, Step(B, gate=JUDGED)], hub=agent("switch", "Route.")),
    "a mesh as an owner": hierarchical(
        strategic=A, implementation=Step(mesh([A, B], hub=agent("switch", "Route."), name="in"), name="w")
    ),
}


@pytest.mark.parametrize("team", TEAMS.values(), ids=list(TEAMS))
async def test_words_have_the_path_of_the_step_that_says_them_however_it_is_run(team: Any) -> None:
    events = await read(team, "let a and b open a shop", context=TeamContext(models=SimulatedChatModel()))
    done = {one.path: one for one in events if one.kind == "step_finished"}
    said = {one.path for one in events if isinstance(one, Token)}
    assert said and said <= set(done), "as other events name it"
    last: Any = events[-1]
    assert last.status == "completed"


async def test_what_a_model_says_over_http_streams_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(["one two three", "four five"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        events = await read(sequential(A, B), "x", context=TeamContext(models="openai:gpt-test"))
    assert words(events, "a") == "one two three" and words(events, "b") == "four five"
    assert all(received.stream and received.wants_usage for received in server.requests)


async def test_failed_attempts_are_told_before_the_step_ends() -> None:
    model = scripted({"a": [ConnectionError("refused"), "fine"]})
    events = await read(A, "x", context=TeamContext(models=model, executor=patient()))
    told = ["step_started", "attempt", "request", "recovered", "step_finished", "progress", "run_finished"]
    assert kinds(events) == told


async def test_a_dead_worker_ends_the_stream_with_the_cause_and_not_with_an_exception() -> None:
    model = scripted({"a": "one", "b": [ConnectionError("refused")] * 9})
    events = await read(sequential(A, B), "x", context=TeamContext(models=model, executor=patient()))
    last: Any = events[-1]
    assert (last.kind, last.status, last.answer) == ("run_finished", "partial", "one") and "refused" in last.reason


async def test_a_question_is_an_event_and_its_answer_another_stream() -> None:
    team = sequential(Step(A, gate=gate(contains("zzz"), 0, "ask")), B).compile(checkpointer=InMemorySaver())
    model = scripted({"a": "one", "b": "two"})
    context = TeamContext(models=model)
    asked = await read(team, "x", thread="t", context=context)
    assert kinds(asked) == ["step_started", "request", "step_finished", "verdict", "waiting", "run_finished"]
    waiting, finished = (one for one in asked if one.kind in ("waiting", "run_finished"))
    assert (waiting.path, waiting.options) == ("a", ("approve", "edit", "respond", "reject"))  # type: ignore[attr-defined]
    assert finished.status == "waiting"  # type: ignore[attr-defined]
    done: Any = (await read(team, Command(resume={waiting.id: True}), thread="t", context=context))[-1]  # type: ignore[attr-defined]
    assert (done.status, done.answer, steps_asked(model)) == ("completed", "two", ["a", "b"])


async def test_a_question_of_a_nested_team_is_told_once() -> None:
    inner = sequential(Step(A, gate=gate(contains("zzz"), 0, "ask")), name="inner")
    team = sequential(inner).compile(checkpointer=InMemorySaver())
    events = await read(team, "x", thread="t", context=TeamContext(models=scripted(["one"])))
    assert kinds(events).count("waiting") == 1


async def test_questions_that_branches_items_and_nested_teams_ask_at_once_say_who_asks() -> None:
    asks = Step(A, gate=gate(contains("zzz"), 0, "ask"))
    inner = sequential(asks, name="inner")
    team = parallel(Step(inner, name="x"), asks, each(Step(inner, name="w"), ["1", "2"]))
    events = await read(
        team.compile(checkpointer=InMemorySaver()), "x", thread="t", context=TeamContext(models=scripted(["one"] * 4))
    )
    asked: dict[str, Any] = {one.path: one for one in events if one.kind == "waiting"}
    assert set(asked) == {"a", "x/a", "w.1/a", "w.2/a"}
    assert all(f"'{path}' did not pass" in one.question for path, one in asked.items())


async def test_what_cannot_be_taken_raises_at_once() -> None:
    with pytest.raises(InputError, match="The task is empty"):
        await read(A, "")
    with pytest.raises(InputError, match="Not known here: taks"):
        await read(A, {"taks": "x"})


def test_code_that_is_not_async_reads_the_same_stream() -> None:
    events = list(stream(GATED, "x", context=TeamContext(models=scripted(LINES))))
    assert words(events, "a") == "The first draft of it." and kinds(events)[-1] == "run_finished"
    with pytest.raises(InputError):
        list(stream(A, ""))


async def test_streams_side_by_side_do_not_mix() -> None:
    team = sequential(A, B).compile(checkpointer=InMemorySaver())

    async def one(name: str) -> list[Event]:
        model = scripted({"a": f"{name} first {name}", "b": f"{name} second {name}"}, latency=0.01)
        return await read(team, "x", thread=name, context=TeamContext(models=model))

    names = [f"n{number}" for number in range(8)]
    for name, events in zip(names, await asyncio.gather(*map(one, names)), strict=True):
        assert words(events, "a") == f"{name} first {name}" and words(events, "b") == f"{name} second {name}"
        assert kinds(events).count("run_finished") == 1 and kinds(events).count("step_started") == 2


# --- a reader that leaves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_leaving_a_stream_ends_the_call_and_the_thread_goes_on_later(
    kind: str, monkeypatch: pytest.MonkeyPatch, store: SqliteStore
) -> None:
    with OpenAIServer(["one", slow("never"), "two"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        saver = store if kind == "sqlite" else InMemorySaver()
        team = sequential(A, B).compile(checkpointer=saver)
        context = TeamContext(models="openai:gpt-test")
        async with aclosing(astream(team, "x", thread="t", context=context)) as events:
            async for event in events:
                if event.kind == "step_started" and event.path == "b":
                    await asyncio.to_thread(server.wait_for_requests, 2)
                    break
        assert server.requests[1].wait() and server.requests[1].disconnected
        done: Any = (await read(team, None, thread="t", context=context))[-1]
        assert (done.status, done.answer, len(server.requests)) == ("completed", "two", 3)


def test_leaving_a_sync_stream_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(["one", slow("never"), "two"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        team = sequential(A, B).compile(checkpointer=InMemorySaver())
        context = TeamContext(models="openai:gpt-test")
        events = stream(team, "x", thread="t", context=context)
        for event in events:
            if event.kind == "step_started" and event.path == "b":
                server.wait_for_requests(2)
                break
        events.close()  # type: ignore[attr-defined]
        assert team.get_state(THREAD).next == ("b",)
        assert server.requests[1].wait() and server.requests[1].disconnected
        state = team.invoke(None, THREAD, context=context)
        assert (state["status"], state["answer"], len(server.requests)) == ("completed", "two", 3)


async def test_a_web_app_serves_twenty_clients_of_which_five_leave(
    monkeypatch: pytest.MonkeyPatch, store: SqliteStore
) -> None:
    """Calls of those who leave are ended and not paid for to their end; their threads go on where they stopped."""
    leaving = {f"client{number}" for number in range(0, 20, 4)}
    gone: set[str] = set()

    def answer(received: Received) -> Any:
        client = received.user.split()[2]
        second = "first of" in received.user
        text = f"second for {client}" if second else f"first of {client}"
        return slow(text) if second and client in leaving and client not in gone else text

    team = sequential(A, B).compile(checkpointer=store)
    context = TeamContext(models="openai:gpt-test")

    async def chat(request: Request) -> StreamingResponse:
        name = request.path_params["name"]

        async def lines() -> AsyncIterator[str]:
            async with aclosing(astream(team, name, thread=name, context=context)) as events:
                async for event in events:
                    yield json.dumps(event.to_json()) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    with OpenAIServer(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        app = Starlette(routes=[Route("/chat/{name}", chat)])
        async with served(app) as url, httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=50)) as client:

            async def visit(name: str) -> dict[str, Any]:
                last: dict[str, Any] = {}
                async with client.stream("GET", f"{url}/chat/{name}") as response:
                    async for line in response.aiter_lines():
                        last = json.loads(line)
                        if name in leaving and (last["kind"], last["path"]) == ("step_started", "b"):
                            break
                return last

            names = [f"client{number}" for number in range(20)]
            ended = dict(zip(names, await asyncio.gather(*map(visit, names)), strict=True))
            for name in names:
                expected = ("step_started", None) if name in leaving else ("run_finished", f"second for {name}")
                assert (ended[name]["kind"], ended[name].get("answer")) == expected, name

            slow_ones = [one for one in server.requests if "first of" in one.user and one.user.split()[2] in leaving]
            for one in slow_ones:
                assert await asyncio.to_thread(one.wait), "a client left, and its call is still under way"
            assert all(one.disconnected for one in slow_ones)
            gone |= leaving
            before = len(server.requests)
            for name in sorted(leaving):
                done: Any = (await read(team, None, thread=name, context=context))[-1]
                assert (done.status, done.answer) == ("completed", f"second for {name}")
            assert len(server.requests) == before + len(leaving), "their first step was not asked for again"
        assert server.unscripted == []


class served:
    """A Starlette app on a free port, in a thread with a loop of its own, as a worker process has it."""

    def __init__(self, app: Starlette) -> None:
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    async def __aenter__(self) -> str:
        self.thread.start()
        async with asyncio.timeout(20):
            while not self.server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        (address,) = {one.getsockname() for part in self.server.servers for one in part.sockets}
        return f"http://{address[0]}:{address[1]}"

    async def __aexit__(self, *_: object) -> None:
        self.server.should_exit = True
        await asyncio.to_thread(self.thread.join, 20)
        assert not self.thread.is_alive()


async def test_a_message_of_langgraphs_own_stream_has_the_answers_words_only() -> None:
    team = GATED.compile()
    context = TeamContext(models=scripted(LINES))
    said = [
        chunk.text
        async for chunk, _ in team.astream({"task": "x"}, context=context, stream_mode="messages")
        if isinstance(chunk, AIMessage)
    ]
    assert "A good try at last." in "".join(said) and "SECRET" not in "".join(said)


def test_a_run_tells_listeners_and_streams_the_same() -> None:
    told: list[Event] = []
    run(GATED, "x", model=scripted(LINES), db=":memory:", listeners=[told.append])
    streamed = list(stream(GATED, "x", context=TeamContext(models=scripted(LINES))))
    assert kinds(told)[1:] == kinds(streamed), "run() begins with run_started"
