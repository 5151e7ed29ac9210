"""Our patterns on LangGraph's own server, through LangGraph's own SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests.support.dev_server import ROOT, DevServer, command
from tests.support.openai_server import OpenAIServer, data, text
from tests.support.served import ASKING
from troupe import Verdict
from troupe.catalogue import CATALOGUE, PATTERNS

if command() is None:
    pytest.skip("langgraph dev is not installed: pip install 'langgraph-cli[inmem]'", allow_module_level=True)

OURS: dict[str, str] = json.loads((ROOT / "langgraph.json").read_text("utf-8"))["graphs"]
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "count the words in a file"}]}


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAIServer]:
    """A provider of models on loopback, for the server's own process."""
    replies = [text("the first words"), text("the second words"), data(Verdict(passed=True, feedback="CHATTER"))]
    with OpenAIServer(replies) as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: OpenAIServer) -> Iterator[DevServer]:
    """One server for the whole module, with the project's own graphs and some that ask."""
    ours = {name: str(ROOT / where) for name, where in OURS.items()}
    more = {name: f"{ROOT / 'tests/support/served.py'}:{name}" for name in (*ASKING, "reviewed")}
    folder = tmp_path_factory.mktemp("dev")
    real = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "of-nobody"}
    with DevServer(folder, {**ours, **more}, **real) as started:
        yield started


@pytest.fixture
def client(server: DevServer) -> Any:
    """LangGraph's SDK."""
    return get_client(url=server.url)


async def assistant_of(client: Any, graph: str) -> str:
    (found,) = await client.assistants.search(graph_id=graph, limit=1)
    return str(found["assistant_id"])


async def test_every_graph_of_the_project_is_there(client: Any) -> None:
    found = await client.assistants.search(limit=100)
    assert set(OURS) == set(CATALOGUE) <= {one["graph_id"] for one in found}


@pytest.mark.parametrize("name", PATTERNS)
async def test_a_pattern_runs_and_streams_with_messages_in_and_out(name: str, client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    said, nodes = await read(client, thread, name)
    assert nodes[-1] in ("finish", "conclude")
    assert said and all(one.startswith("[simulated]") for one in said), "words, and no decision's data"
    state = (await client.threads.get_state(thread))["values"]
    assert state["status"] == "completed" and state["simulated"] is True
    first, last = state["messages"]
    assert (first["type"], last["type"], last["content"]) == ("human", "ai", state["answer"])


async def test_a_second_turn_goes_on_with_the_conversation(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    for turn in (1, 2):
        state = await client.runs.wait(thread, "reviewed", input=ASKED)
        assert (state["turn"], len(state["messages"])) == (turn, 2 * turn)


async def test_a_real_provider_s_words_stream_and_its_verdict_does_not(client: Any, provider: OpenAIServer) -> None:
    said, _ = await read(client, None, "reviewed", context={"models": "openai:gpt-4o-mini"})
    assert said == ["the first words", "the second words", "the second words"], "each step's, and the run's answer"
    assert len(provider.requests) == 3, "the review was asked for, too"


async def read(client: Any, thread: str | None, name: str, **options: Any) -> tuple[list[str], list[str]]:
    """A run's stream: the texts of its chat, and the nodes that have ended."""
    said: dict[str, str] = {}
    nodes: list[str] = []
    modes = ["messages", "updates"]
    async for part in client.runs.stream(thread, name, input=ASKED, stream_mode=modes, **options):
        assert part.event != "error", part.data
        if part.event == "updates":
            nodes += part.data
        elif part.event in ("messages/partial", "messages/complete"):
            said |= {one["id"]: one["content"] for one in part.data if one["type"].startswith(("ai", "AI"))}
    return list(said.values()), nodes


@pytest.mark.parametrize("name", ASKING)
async def test_a_pattern_asks_a_person_and_goes_on_with_the_answer(name: str, client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    state = await client.runs.wait(thread, name, input=ASKED)
    assert (await client.threads.get(thread))["status"] == "interrupted"
    edited = {"decisions": [{"type": "edit", "edited_action": {"name": "x", "args": {"content": "by a person"}}}]}
    while asked := state.get("__interrupt__"):  # several at once are answered by their ids
        assert all({"question", "action_requests", "review_configs"} <= set(one["value"]) for one in asked)
        state = await client.runs.wait(thread, name, command={"resume": {one["id"]: edited for one in asked}})
    assert state["status"] == "completed"
    assert "by a person" in json.dumps(state["deliverables"])


async def test_an_answer_that_is_none_is_asked_for_again(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "sequential_asks", input=ASKED)
    state = await client.runs.wait(thread, "sequential_asks", command={"resume": {"decisions": [{"type": "dance"}]}})
    assert "dance" in state["__interrupt__"][0]["value"]["question"]
    state = await client.runs.wait(thread, "sequential_asks", command={"resume": {"type": "reject", "message": "no"}})
    assert state["status"] in ("failed", "partial") and "no" in state["reason"]["message"]


async def test_an_assistant_shows_what_can_be_set_and_another_context_counts(client: Any) -> None:
    schemas = await client.assistants.get_schemas(await assistant_of(client, "sequential"))
    assert {"models", "budget", "deadline", "prompts", "limits"} <= set(schemas["context_schema"]["properties"])
    assert set(schemas["input_schema"]["properties"]) == {"task", "messages"}
    bounded = {"models": "simulated", "limits": {"steps": 2}}
    made = await client.assistants.create("sequential", context=bounded, name="two rounds at most")
    state = await client.runs.wait(None, made["assistant_id"], input=ASKED)
    assert state["status"] == "partial" and state["reason"]["kind"] == "limit"
    assert sum(one["status"] == "accepted" for one in state["deliverables"].values()) == 2


async def test_a_context_that_is_wrong_says_why(client: Any) -> None:
    with pytest.raises(Exception, match="budget"):
        await client.runs.wait(None, "sequential", input=ASKED, context={"budget": -1}, raise_error=True)


async def test_nothing_has_blocked_the_server_s_loop(client: Any, server: DevServer) -> None:
    """Runs last: the server raises for blocking calls in async nodes."""
    await client.runs.wait(None, "sequential", input=ASKED, context={"prompts": str(ROOT / "prompts")})
    assert "Blocking call" not in server.log
