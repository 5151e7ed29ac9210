"""What a run shows in OpenTelemetry's traces: who was asked, below whom, at what cost, with what end."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from tests.support.langsmith import Collector
from tests.support.teams import Crash, Mortal, patient, priced
from tests.support.traces import Traces, told
from troupe import (
    Brief,
    SimulatedChatModel,
    Step,
    TeamContext,
    Verdict,
    Workflow,
    agent,
    arun,
    astream,
    contains,
    each,
    first,
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
from troupe.agents.settings import Settings
from troupe.agents.spans import tracer
from troupe.catalogue import PATTERNS

A, B, C = agent("a", "Work.", tier="economy"), agent("b", "Work."), agent("c", "Work.")
JUDGED = gate(review(by="qa-engineer", at_least=0.8))
FINE, BAD = Verdict(passed=True, score=0.9), Verdict(passed=False, score=0.2, feedback="again")


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Traces:
    """A provider, set up for one test."""
    made = Traces()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.provider)
    return made


def asked(name: str) -> list[str]:
    return [f"invoke_agent {name}", "chat troupe"]


# --- the tree ---------------------------------------------------------------------------------------------------------


async def test_a_line_of_agents(traces: Traces) -> None:
    done = await arun(sequential(A, B), "x", model=scripted({"a": "one", "b": "two"}), thread="t", db=":memory:")
    assert done.status == "completed"
    assert traces.tree() == [["invoke_workflow sequential", asked("a"), asked("b")]]
    root, attempt, request = traces.spans[:3]
    assert told(root) | {"troupe.cost_usd": 0.0} == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "sequential",
        "gen_ai.conversation.id": "t",
        "troupe.pattern": "sequential",
        "troupe.status": "completed",
        "troupe.cost_usd": 0.0,
        "troupe.cost_estimated": done.usage.estimated,
        "troupe.simulated": True,
    }
    about = told(attempt)
    assert about["gen_ai.operation.name"] == "invoke_agent" and about["gen_ai.agent.name"] == "a"
    places = ("troupe.step", "troupe.attempt", "troupe.round", "troupe.tier", "troupe.pattern", "troupe.purpose")
    assert [about[one] for one in places] == ["a", 1, 1, "economy", "sequential", "work"]
    about = told(request)
    assert about["gen_ai.operation.name"] == "chat" and about["gen_ai.provider.name"] == "troupe"
    assert about["gen_ai.response.model"] and about["troupe.simulated"] is True
    assert {one.status.status_code for one in traces.spans} == {StatusCode.UNSET}


async def test_branches_at_once_and_their_own_reworks(traces: Traces) -> None:
    lines = {"a": ["bad", "good"], "b": "other", "qa-engineer": [BAD, FINE], "c": "both"}
    team = parallel(Step(A, gate=JUDGED), B, merge=C)
    done = await arun(team, "x", model=scripted(lines), db=":memory:")
    assert done.status == "completed"
    judged = ["evaluate a", asked("qa-engineer")]
    (root,) = traces.tree()
    assert root[0] == "invoke_workflow parallel"
    assert sorted(root[1:], key=str) == sorted(
        [asked("a"), judged, asked("a"), judged, asked("b"), asked("c")], key=str
    )
    gates = [told(one) for one in traces.named("evaluate")]
    fields = ("troupe.decision", "troupe.passed", "gen_ai.evaluation.score.value", "troupe.threshold")
    assert [[one[name] for name in fields] for one in gates] == [["rework", False, 0.2, 0.8], ["pass", True, 0.9, 0.8]]
    assert [told(one)["troupe.round"] for one in traces.named("invoke_agent a")] == [1, 2]


async def test_a_team_in_a_team_and_its_paths(traces: Traces) -> None:
    inner = parallel(Step(A, gate=JUDGED), B, name="inner")
    team = sequential(Step(inner, name="outer"), C)
    model = scripted({"a": "one", "b": "two", "qa-engineer": FINE, "c": "three"})
    assert (await arun(team, "x", model=model, db=":memory:")).status == "completed"
    (root,) = traces.below()
    step, last = traces.below(root)
    (within,) = traces.below(step)
    assert [root.name, step.name, within.name, last.name] == [
        "invoke_workflow sequential", "invoke_agent inner", "invoke_workflow inner", "invoke_agent c",
    ]  # fmt: skip
    assert {told(one)["troupe.step"] for one in traces.below(within)} == {"outer/a", "outer/b", "outer/merge"}
    (judged,) = traces.named("evaluate")
    assert [one.name for one in traces.above(judged)] == [within.name, step.name, root.name]
    assert told(traces.named("invoke_agent a")[0])["troupe.pattern"] == "parallel"


FLOW = {"name": "flow", "phases": [{"kind": "parallel", "name": "p", "steps": ["qa-engineer", "git-helper"]}]}
ALL: dict[str, Any] = {
    **{name: entry.make for name, entry in PATTERNS.items()},
    "items of a team": lambda: parallel(each(Step(parallel(A, Step(B, gate=JUDGED), name="in"), name="w"), ["x", "y"])),
    "a mesh as an owner": lambda: hierarchical(strategic=A, implementation=mesh([B, C], hub=agent("hub", "Route."))),
    "a workflow": lambda: Workflow.model_validate(FLOW).build(),
    "gated teams": lambda: sequential(Step(mesh([B, C], hub=agent("hub", "Route.")), name="w", gate=JUDGED)),
}


@pytest.mark.parametrize("name", ALL)
async def test_every_request_is_below_its_own_agent_and_tokens_add_up(name: str, traces: Traces) -> None:
    done = await arun(ALL[name](), "count the words in a file", db=":memory:")
    assert done.status == "completed"
    (root,) = traces.below()
    assert root.name.startswith("invoke_workflow")
    requests = traces.named("chat ")
    assert len(requests) == done.usage.calls > 0
    assert traces.tokens() == (done.usage.tokens.input, done.usage.tokens.output)
    for one in requests:
        around = list(traces.above(one))
        assert told(around[0])["gen_ai.agent.name"] == told(one)["gen_ai.agent.name"]
        assert told(around[0])["troupe.step"] == told(one)["troupe.step"]
        assert around[-1] is root
    for one in traces.named("invoke_workflow "):
        if one is not root:
            # A team as a step lies below the step's own attempt, whose path its steps' paths begin with.
            (step, *_) = traces.above(one)
            inside = [told(below)["troupe.step"] for below in traces.below(one)]
            assert inside and all(path.startswith(f"{told(step)['troupe.step']}/") for path in inside)


async def test_runs_at_once_are_not_mixed_up(traces: Traces) -> None:
    team = parallel(A, B)
    runs = [arun(team, "x", thread=f"t{at}", db=":memory:", model=SimulatedChatModel(latency=0.01)) for at in range(5)]
    await asyncio.gather(*runs)
    roots = traces.below()
    assert sorted(told(one)["gen_ai.conversation.id"] for one in roots) == [f"t{at}" for at in range(5)]
    assert [len(traces.below(one)) for one in roots] == [3] * 5


# --- attempts and failures --------------------------------------------------------------------------------------------


class RateLimitError(Exception):
    status_code = 429


async def test_each_attempt_is_a_span_and_says_what_failed(traces: Traces) -> None:
    model = scripted({"a": [RateLimitError("SECRET PROMPT"), ConnectionError("SECRET"), "done"]})
    context = TeamContext(models=model, executor=patient())
    done = await arun(sequential(A), "x", context=context, db=":memory:")
    assert done.status == "completed"
    attempts = traces.named("invoke_agent a")
    assert [told(one)["troupe.attempt"] for one in attempts] == [1, 2, 3]
    assert [told(one).get("error.type") for one in attempts] == ["rate_limit", "connection", None]
    assert [one.status.status_code for one in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert [one.status.description for one in attempts] == ["RateLimitError", "ConnectionError", None]
    assert [told(one).get("error.type") for one in traces.named("chat")] == ["rate_limit", "connection", None]
    assert "SECRET" not in "".join(one.to_json() for one in traces.spans)


async def test_a_run_that_fails_says_so_at_the_top(traces: Traces) -> None:
    context = TeamContext(models=scripted({"a": [KeyError("x")] * 9, "*": KeyError("y")}), executor=patient())
    done = await arun(sequential(A), "x", context=context, db=":memory:")
    assert done.status == "failed"
    (root,) = traces.below()
    assert root.status.status_code is StatusCode.ERROR
    assert (told(root)["troupe.status"], told(root)["error.type"]) == ("failed", "error")


async def test_a_model_that_cannot_be_made_is_a_failed_attempt(traces: Traces) -> None:
    away = agent("a", "Work.", model="nobody:nothing")
    done = await sequential(away).compile().ainvoke({"task": "x"}, context=TeamContext(models=priced({"*": "x"})))
    assert done["status"] == "failed"
    assert traces.named("invoke_agent a")[0].status.status_code is StatusCode.ERROR
    assert traces.named("chat") == []


async def test_what_is_given_up_ends_its_spans(traces: Traces) -> None:
    slow = agent("b", "Work.", model=SimulatedChatModel(latency=30))
    team = parallel(A, slow, join=first(1))
    assert (await arun(team, "x", model=SimulatedChatModel(), db=":memory:")).status == "completed"
    (given_up,) = traces.named("invoke_agent b")
    assert told(given_up)["troupe.cancelled"] is True


async def test_a_person_is_waited_for_and_the_answer_makes_a_trace_of_its_own(traces: Traces, db: Path) -> None:
    team = sequential(Step(A, gate=gate(contains("x"), rework=0, then="ask")))
    model = scripted({"a": "no"})
    waiting = await arun(team, "x", model=model, thread="t", db=db)
    assert waiting.status == "waiting"
    (root,) = traces.below()
    assert told(root)["troupe.status"] == "waiting" and [one.name for one in root.events] == ["question"]
    assert root.status.status_code is StatusCode.UNSET
    traces.clear()
    assert (await asyncio.to_thread(resume, "t", True, target=team, model=model, db=db)).status == "completed"
    assert traces.tree() == ["invoke_workflow sequential"]
    assert told(traces.spans[0])["troupe.status"] == "completed"


async def test_what_is_found_in_the_journal_makes_no_span(traces: Traces, db: Path) -> None:
    team, model = parallel(A, B, merge=C), scripted({"a": "one", "b": "two", "c": "three"})
    with pytest.raises(Crash):
        await arun(team, "x", context=TeamContext(models=model, executor=Mortal("c")), thread="t", db=db)
    traces.clear()
    done = await asyncio.to_thread(resume, "t", target=team, model=model, db=db)
    assert done.status == "completed"
    assert traces.tree() == [["invoke_workflow parallel", asked("c")]]


# --- tools, functions, foreign graphs ---------------------------------------------------------------------------------


def look(what: str) -> str:
    """Look something up."""
    with trace.get_tracer_provider().get_tracer("users").start_as_current_span("their own"):
        return f"found {what}"


TOOL_CALL = AIMessage("", tool_calls=[{"name": "look", "args": {"what": "it"}, "id": "1"}])


async def test_tools_and_what_they_do_are_below_their_agent(traces: Traces) -> None:
    clerk = agent("clerk", "Look.", tools=[look])
    await arun(sequential(clerk), "x", model=scripted({"clerk": [TOOL_CALL, "done"]}), db=":memory:")
    assert traces.tree() == [
        [
            "invoke_workflow sequential",
            ["invoke_agent clerk", "chat troupe", ["execute_tool look", "their own"], "chat troupe"],
        ]
    ]
    (used,) = traces.named("execute_tool")
    assert told(used)["gen_ai.tool.name"] == "look" and "it" not in told(used).values()


async def test_a_tool_that_fails_is_an_error(traces: Traces) -> None:
    def look(what: str) -> str:
        """Look something up."""
        raise PermissionError("SECRET")

    clerk = agent("clerk", "Look.", tools=[look])
    await arun(sequential(clerk), "x", model=scripted({"clerk": [TOOL_CALL] * 9}), db=":memory:")
    (used, *_) = traces.named("execute_tool")
    assert used.status.status_code is StatusCode.ERROR and "error.type" in told(used)
    assert "SECRET" not in used.to_json()


async def test_a_function_s_own_spans_are_below_its_step_in_a_thread_too(traces: Traces) -> None:
    def clerk(brief: Brief) -> str:
        return look(brief.task)

    await arun(sequential(clerk), "x", db=":memory:")
    assert traces.tree() == [["invoke_workflow sequential", ["invoke_agent clerk", "their own"]]]


async def test_requests_of_a_foreign_graph_are_counted_and_shown(traces: Traces) -> None:
    foreign = create_agent(scripted(["said"]), [], name="foreign")
    done = await arun(sequential(foreign, A), "x", model=scripted({"a": "one"}), db=":memory:")
    assert traces.tree()[0][1] == ["invoke_agent foreign", "chat scriptedchatmodel"]
    assert traces.tokens() == (done.usage.tokens.input, done.usage.tokens.output)


async def test_a_team_in_somebody_s_own_graph(traces: Traces) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("team", sequential(A).compile())
    graph.add_edge(START, "team")
    graph.add_edge("team", END)
    with traces.provider.get_tracer("users").start_as_current_span("request"):
        given: Any = {"messages": [("user", "x")]}
        await graph.compile().ainvoke(given)
    (request,) = traces.below()
    (root,) = traces.below(request)
    assert root.name == "invoke_workflow sequential" and "troupe.cost_usd" in told(root)


# --- doors ------------------------------------------------------------------------------------------------------------

GIVEN = {"task": "x"}
TREE = [["request", ["invoke_workflow sequential", ["invoke_agent a", "chat troupe"]]]]


def test_every_sync_door_begins_below_the_caller_s_span(traces: Traces) -> None:
    team = sequential(A).compile()
    ours = traces.provider.get_tracer("users")
    for door in (
        lambda: team.invoke(GIVEN),
        lambda: run(team, "x", db=":memory:"),
        lambda: list(team.stream(GIVEN)),
    ):
        traces.clear()
        with ours.start_as_current_span("request"):
            door()
        assert traces.tree() == TREE


async def test_every_async_door_begins_below_the_caller_s_span(traces: Traces) -> None:
    team = sequential(A).compile()
    ours = traces.provider.get_tracer("users")

    async def streamed() -> None:
        assert [one async for one in team.astream(GIVEN)]

    async def told_of() -> None:
        assert [one async for one in astream(team, "x")]

    for door in (lambda: team.ainvoke(GIVEN), streamed, told_of):
        traces.clear()
        with ours.start_as_current_span("request"):
            await door()
        assert traces.tree() == TREE


async def test_whoever_reads_a_stream_is_in_their_own_span_between_chunks(
    traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    team = sequential(A, B).compile()
    with traces.provider.get_tracer("users").start_as_current_span("request") as mine:
        for _ in team.stream(GIVEN):
            assert trace.get_current_span() is mine
        async for _ in team.astream(GIVEN):
            assert trace.get_current_span() is mine
        early = team.stream(GIVEN)
        next(early)
        early.close()  # type: ignore[attr-defined]
        async for _ in team.astream(GIVEN):
            break
        left = astream(team, "x")
        await anext(left)
        await left.aclose()
    gc.collect()
    await asyncio.sleep(0)
    assert len(traces.named("invoke_workflow")) >= 4, "those of the streams that were closed, too"
    assert "detach" not in caplog.text


# --- what is not in them ----------------------------------------------------------------------------------------------

KEY = "sk-canary-0123456789abcdef"


async def _everything(model: Any) -> None:
    clerk = agent("clerk", f"PROMPT {KEY}", tools=[look])
    team = sequential(Step(clerk, "OBJECTIVE", gate=gate(review(by="qa-engineer"))))
    lines = {"clerk": [TOOL_CALL, f"ANSWER {KEY}"], "qa-engineer": Verdict(passed=True, feedback="FEEDBACK")}
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "t"}}
    await team.compile(saver).ainvoke({"task": f"TASK {KEY}"}, config, context=TeamContext(models=model(lines)))


WORDS = ("PROMPT", "OBJECTIVE", "ANSWER", "TASK", "found it")


async def test_nobody_s_words_are_in_a_trace_unless_asked_for(traces: Traces) -> None:
    await _everything(scripted)
    text = "".join(one.to_json() for one in traces.spans)
    assert [one for one in (*WORDS, "FEEDBACK", KEY) if one in text] == []


async def test_they_are_when_asked_for_and_credentials_never(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUPE_TRACE_CONTENT", "true")
    Settings.refresh()
    await _everything(scripted)
    text = "".join(one.to_json() for one in traces.spans)
    assert [one for one in WORDS if one not in text] == []
    assert KEY not in text
    (request, *_) = traces.named("chat")
    about = told(request)
    assert json.loads(about["gen_ai.input.messages"])[0]["role"] == "user"
    assert json.loads(about["gen_ai.output.messages"])[0]["parts"][0]["type"] == "tool_call"
    assert "PROMPT" in about["gen_ai.system_instructions"]


async def test_prices_are_told_where_they_are_known_and_left_out_where_not(traces: Traces) -> None:
    await arun(sequential(A), "x", model=priced({"a": "one"}), db=":memory:")
    root, attempt, request = traces.spans
    assert [told(one)["troupe.cost_usd"] for one in (root, attempt, request)] == [pytest.approx(0.006)] * 3
    assert told(request)["gen_ai.response.model"] == "gpt-4o-mini" and told(request)["troupe.simulated"] is False


# --- without them -----------------------------------------------------------------------------------------------------


def test_without_a_provider_no_run_has_a_tracer() -> None:
    assert tracer() is None, "the SDK is installed and imported here, and nobody has set it up"
    assert run(sequential(A), "x", db=":memory:").status == "completed"


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from troupe import agent, run, sequential
print(run(sequential(agent("a", "Work.")), "x", db=":memory:").status)
"""


def test_without_the_package_runs_are_as_ever() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert ended.stdout == "completed\n"


# --- LangSmith --------------------------------------------------------------------------------------------------------

BESIDE_LANGSMITH = """
import langsmith
from langchain_core.tracers.langchain import wait_for_all_tracers
from opentelemetry import trace
from tests.support.traces import Traces
from troupe import Step, agent, gate, parallel, review, run
traces = Traces()
trace.set_tracer_provider(traces.provider)
team = parallel(Step(agent("a", "Work."), gate=gate(review(by="qa-engineer"))), agent("b", "Work."))
with langsmith.tracing_context(enabled=False):
    print(run(team, "off", db=":memory:").status, len(traces.spans))
traces.clear()
print(run(team, "on", db=":memory:").status, len(traces.spans))
wait_for_all_tracers()
"""


def test_langsmith_gets_its_runs_as_ever_and_ours_are_the_same(tmp_path: Path) -> None:
    with Collector() as server:
        env = {
            **os.environ,
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_ENDPOINT": server.url,
            "LANGSMITH_API_KEY": "lsv2-of-nobody",
            "LANGSMITH_DISABLE_RUN_COMPRESSION": "true",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        code = [sys.executable, "-c", BESIDE_LANGSMITH]
        ended = subprocess.run(code, capture_output=True, text=True, env=env, check=False)
    assert ended.stdout == "completed 9\ncompleted 9\n", ended.stderr
    assert "Failed" not in ended.stderr
    sent = b"".join(server.bodies)
    for name in (b'"name":"parallel"', b'"name":"a.gate"', b'"name":"SimulatedChatModel"'):
        assert name in sent
    assert b'"task":"on"' in sent and b'"task":"off"' not in sent
