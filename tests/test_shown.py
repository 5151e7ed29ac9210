"""The API as the design shows it, block by block, against a real HTTP server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel, SecretStr

from tests.support.openai_server import OpenAIServer, Received, Reply, data, text, tool_call
from troupe import (
    Deliverable,
    Step,
    TeamContext,
    TeamGraph,
    Verdict,
    agent,
    arun,
    astream,
    gate,
    review,
    run,
    scripted,
    sequential,
)


class Ticket(BaseModel):
    order: int
    kind: str


def lookup_order(order: int) -> str:
    """Where an order is."""
    return f"Order {order} is in Lyon."


def has_order_id(work: Deliverable) -> bool:
    return "42" in work.content


def answers(asked: Received) -> Reply:
    """A small company: sorts, answers, files, reviews."""
    if "Judge the deliverable" in asked.user:
        return data({"passed": True, "score": 0.9})
    if asked.response_format or "JSON Schema" in asked.user:
        return data({"order": 42, "kind": "delivery"})
    if asked.tools and asked.messages[-1]["role"] != "tool":
        return tool_call("lookup_order", {"order": 42})
    return text("Order 42 is in Lyon.")


@pytest.fixture
def team() -> TeamGraph:
    triage = agent("triage", "Sort the ticket.", tools=[lookup_order], tier="economy")
    return sequential(
        triage,
        Step(triage, "file it", name="filing", returns=Ticket),
        gate=gate(has_order_id & review(by="qa-engineer", at_least=0.8), rework=2, then="ask"),
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> OpenAIServer:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-only")
    return OpenAIServer(answers)


def with_my_graph(base_url: str) -> TeamGraph:
    """The first block: an agent with tools, a LangGraph agent of one's own, and typed work."""
    model = ChatOpenAI(model="gpt-5-mini", base_url=base_url, api_key=SecretStr("sk-test-only"))
    my_langgraph_agent = create_agent(model, [lookup_order], name="answerer")
    triage = agent("triage", "Sort the ticket.", tools=[lookup_order], tier="economy")
    return sequential(
        triage,
        Step(my_langgraph_agent, "answer it"),
        Step(triage, "file it", name="filing", returns=Ticket),
        gate=gate(has_order_id & review(by="qa-engineer", at_least=0.8), rework=2, then="ask"),
    )


def test_a_team_of_an_agent_a_graph_and_typed_work_runs_within_its_budget(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        r = run(
            with_my_graph(server.base_url),
            "Where is order 42?",
            model="openai:gpt-5-mini",
            budget=0.20,
            db=tmp_path / "runs.db",
        )
        assert (r.status, r.reason) == ("completed", None)
        assert r.answer == r["filing"].content
        assert r["filing"].data == Ticket(order=42, kind="delivery")
        assert r["answerer"].content == "Order 42 is in Lyon."
        assert r.missing == () and r.waiting == ()
        assert r.raise_unless_completed() is r
        # Every request is in the books, those of the user's own graph, too.
        assert r.usage.calls == len(server.requests)
        assert r.usage.usd is not None and 0 < r.usage.usd < 0.20


def test_a_compiled_team_is_plain_langgraph(
    team: TeamGraph, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        app = team.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
        context = TeamContext(models="openai:gpt-5-mini")
        config: RunnableConfig = {"configurable": {"thread_id": "7"}}
        state: Any = app.invoke({"task": "Where is order 42?"}, config, context=context)
        assert state["status"] == "completed"
        assert state["deliverables"]["filing"].data == Ticket(order=42, kind="delivery")


async def test_a_session_streams_tokens_gates_and_its_end(
    team: TeamGraph, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        app = team.compile(checkpointer=InMemorySaver())
        message = HumanMessage("Where is order 42?")
        context = TeamContext(models="openai:gpt-5-mini")
        kinds = [event.kind async for event in astream(app, {"messages": [message]}, thread="session", context=context)]
    assert {"step_started", "token", "verdict", "step_finished", "progress"} <= set(kinds)
    assert kinds[-1] == "run_finished" and kinds.count("run_finished") == 1


def test_a_bad_draft_is_reworked(tmp_path: Path) -> None:
    model = scripted(
        {
            "triage": ["draft", "better"],
            "qa-engineer": [Verdict(passed=False, feedback="no id"), Verdict(passed=True)],
        }
    )
    team = sequential(agent("triage", "Sort."), gate=gate(review(by="qa-engineer")))
    r = run(team, "hi", model=model, db=tmp_path / "runs.db")
    assert r.answer == "better" and r["triage"].rounds == 2


async def test_the_async_door_gives_the_same(tmp_path: Path) -> None:
    team = sequential(agent("triage", "Sort."))
    result = await arun(team, "hi", model=scripted(["done"]), db=tmp_path / "runs.db")
    assert result.answer == "done"
