"""Bounds that no honest run meets: each ends what runs away with what there is, and says how to raise it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.support.openai_server import Exchange, OpenAIServer, Reply, text
from tests.support.teams import priced, steps_asked
from troupe import (
    InputError,
    Limits,
    SettingsError,
    Step,
    TeamContext,
    agent,
    arun,
    astream,
    each,
    hierarchical,
    mesh,
    parallel,
    run,
    scripted,
    sequential,
    stream,
)
from troupe.agents.contracts import Brief
from troupe.agents.limits import cut, size
from troupe.agents.settings import Settings
from troupe.result import Result

A, B, C = (agent(name, "Work.") for name in "abc")
SAID = {"a": ["one"], "b": ["two"], "c": ["three"]}


def limited(team: Any, model: Any, task: str = "x", **limits: Any) -> Result:
    return run(team, task, model=model, context=TeamContext(limits=Limits(**limits)), db=":memory:")


def assert_limit(result: Result, name: str) -> None:
    assert result.status in ("partial", "failed") and result.reason is not None
    assert result.reason.kind == "limit", result.reason
    assert f"limits.{name}" in result.reason.message
    if name != "fan_out":
        assert f"TROUPE_LIMITS__{name.upper()}" in result.reason.message, "it says how to raise it"


# --- each of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("calls", "kept"), [(1, ["a"]), (2, ["a", "b"])])
def test_requests_beyond_the_limit_are_not_made_and_what_is_done_is_kept(calls: int, kept: list[str]) -> None:
    model = scripted(SAID)
    result = limited(sequential(A, B, C), model, calls=calls)
    assert_limit(result, "calls")
    assert steps_asked(model) == kept and result.status == "partial"
    assert [name for name, one in result.deliverables.items() if one.usable] == kept


def test_tokens_beyond_the_limit_are_not_asked_for() -> None:
    model = scripted(SAID)
    result = limited(sequential(A, B, C), model, tokens=200)
    assert_limit(result, "tokens")
    assert steps_asked(model) == ["a"] and result.answer == "one"


def test_a_real_model_costs_no_more_than_the_limit_where_there_is_no_budget() -> None:
    result = limited(sequential(A, B, C), priced(SAID), usd=0.013)
    assert_limit(result, "usd")
    assert result.usage.calls == 2 and result.answer == "two"
    assert limited(sequential(A, B, C), scripted(SAID), usd=0).status == "completed", "what is free is not limited"


def test_a_budget_goes_before_the_limit() -> None:
    context = TeamContext(limits=Limits(usd=0.001), budget=1.0)
    assert run(sequential(A, B), "x", model=priced(SAID), context=context, db=":memory:").status == "completed"


async def test_time_beyond_the_limit_ends_the_run_where_there_is_no_deadline() -> None:
    model = scripted(SAID, latency=0.15)
    began = time.monotonic()
    context = TeamContext(limits=Limits(seconds=0.2))
    result = await arun(sequential(A, B, C), "x", model=model, context=context, db=":memory:")
    assert_limit(result, "seconds")
    assert result.answer == "one" and time.monotonic() - began < 2
    patient = TeamContext(limits=Limits(seconds=0.001), deadline=60)
    done = await arun(sequential(A), "x", model=scripted(SAID), context=patient, db=":memory:")
    assert done.status == "completed"


def test_rounds_of_work_beyond_the_limit_are_not_begun() -> None:
    began: list[str] = []

    def work(brief: Brief) -> str:
        began.append(brief.step)
        return "done"

    team = sequential(*(Step(work, name=f"s{number}") for number in range(5)))
    result = limited(team, None, steps=3)
    assert_limit(result, "steps")
    assert began == ["s0", "s1", "s2"] and result.status == "partial"


@pytest.mark.parametrize("depth", [1, 3])
def test_graphs_deeper_than_the_limit_are_not_run(depth: int) -> None:
    inner: Any = A
    for number in range(depth):
        inner = sequential(inner, name=f"g{number}")
    assert limited(sequential(inner), scripted(SAID), depth=depth).status == "completed"
    result = limited(sequential(inner, name="more"), scripted(SAID), depth=depth - 1 or 1)
    if depth > 1:
        assert_limit(result, "depth")


def test_a_run_that_runs_itself_ends() -> None:
    depths: list[int] = []

    def again(brief: Brief) -> str:
        depths.append(len(depths))
        return run(again, brief.task, db=":memory:").raise_unless_completed().answer

    result = run(again, "x", db=":memory:")
    assert result.status == "failed" and "limits.depth" in str(result.reason)
    assert len(depths) <= Limits().depth + 2


# --- wide -------------------------------------------------------------------------------------------------------------


def test_items_beyond_the_limit_are_left_out_and_said() -> None:
    def shout(brief: Brief) -> str:
        return brief.item.upper()

    result = limited(parallel(each(Step(shout, name="shout"), lambda _: list("abcdef"))), None, fan_out=2)
    assert_limit(result, "fan_out")
    assert [one for one in result.deliverables if one.startswith("shout.")] == ["shout.1", "shout.2"]
    assert "There are 6 items; the first 2 are worked on" in str(result.reason)


def test_packages_beyond_the_limit_are_left_out_and_said() -> None:
    packages = [{"owner": "worker", "title": f"part {number}", "objective": "do it"} for number in range(5)]
    lead = {"design": "plan", "packages": packages, "passed": True}
    lines = {"lead": [lead] * 9, "worker": [{}] * 9, "report": ["all"]}
    lines |= {f"worker.{number}": ["built"] for number in range(1, 6)}
    team = hierarchical(None, agent("lead", "Plan."), agent("worker", "Work."))
    result = limited(team, scripted(lines), fan_out=2)
    assert {one for one in result.deliverables if one.startswith("worker.")} == {"worker.1", "worker.2"}
    assert result.status == "partial" and "limits.fan_out=2" in str(result.reason)


def test_assignments_beyond_the_limit_are_left_out_and_said() -> None:
    tasks = [{"objective": f"part {number}", "agent": "a"} for number in range(4)]
    hub = [{"assignments": tasks}, {"finish": True}]
    lines: dict[str, Any] = {"hub": hub, "a.1": ["x"], "a.2": ["y"], "a": [{}] * 4, "conclude": ["all"]}
    result = limited(mesh([A, B], hub=agent("hub", "Lead.")), scripted(lines), fan_out=2)
    assert {name for name, one in result.deliverables.items() if one.usable} == {"a.1", "a.2", "conclude"}
    dropped = [one.dropped for one in result.record["assignments"].values() if one.dropped]
    assert len(dropped) == 2 and all("limits.fan_out=2" in one for one in dropped)


# --- long -------------------------------------------------------------------------------------------------------------


def test_an_output_beyond_the_limit_is_cut_and_the_run_is_partial() -> None:
    result = limited(sequential(A, B), scripted({"a": ["x" * 5_000], "b": ["two"]}), payload=2_000)
    assert_limit(result, "payload")
    assert result.status == "partial" and result["a"].content == "x" * 2_000 and result["b"].status == "accepted"


def test_a_function_s_output_is_cut_as_well_and_its_data_left_out() -> None:
    def much(brief: Brief) -> dict[str, str]:
        return {"text": "é" * 5_000}

    result = limited(much, None, payload=2_000)
    assert_limit(result, "payload")
    assert size(result["much"].content) <= 2_000 and result["much"].data is None


def test_a_decision_beyond_the_limit_ends_the_call() -> None:
    from pydantic import BaseModel

    class Found(BaseModel):
        text: str

    result = limited(Step(A, returns=Found), scripted({"a": [Found(text="x" * 5_000)]}), payload=2_000)
    assert result.status == "failed" and "limits.payload" in str(result.reason)
    assert result.reason is not None and result.reason.kind == "limit"


def test_what_a_tool_gives_is_cut_where_it_is_too_long() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "y" * 50_000

    model = scripted({"clerk": [{"tool": "look"}, "seen"]})
    result = limited(agent("clerk", "Look.", tools=[look]), model, payload=3_000)
    assert result.status == "completed"
    seen = model.asked[1][2][-1].text
    assert seen.endswith("[cut at 3,000 bytes]") and len(seen) < 3_100


@pytest.mark.parametrize("given", ["x" * 5_000, {"messages": [("user", "x" * 5_000)]}, [("user", "é" * 2_500)]])
def test_a_task_beyond_the_limit_is_refused_before_anything_is_recorded(given: Any, db: Path) -> None:
    context = TeamContext(limits=Limits(payload=4_000))
    with pytest.raises(InputError, match=r"bytes; 4,000 are the most \(limits.payload\)"):
        run(A, given, model=scripted(SAID), context=context, db=db)
    assert not db.exists(), "nothing was begun"
    with pytest.raises(InputError, match=r"limits\.payload"):
        sequential(A).compile().invoke(given if isinstance(given, dict) else {"task": "x" * 5_000}, context=context)


class Endless(Reply):
    """Words without end; counts how many were sent before the client left."""

    def __init__(self) -> None:
        self.sent = 0

    def answer(self, exchange: Exchange) -> None:
        whole = text("word " * 1_000)
        if not exchange.received.stream:
            exchange.head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
            while True:
                exchange._chunk(b" " * 65_536)
                self.sent += 65_536
        exchange.open_events()
        while True:
            for event in list(whole.chunks(exchange.received))[1:-1]:
                exchange.event(event)
                self.sent += 5


def chat(server: OpenAIServer, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-test", base_url=server.base_url, api_key="k", max_retries=0, **options)  # type: ignore[arg-type]


async def test_a_stream_without_end_is_cut_off_while_it_runs_and_its_beginning_kept() -> None:
    endless = Endless()
    with OpenAIServer(endless) as server:
        team = sequential(A).compile()
        context = TeamContext(models=chat(server), limits=Limits(payload=20_000))
        events = [one async for one in astream(team, "x", context=context)]
    end = events[-1]
    assert end.kind == "run_finished" and end.status == "partial" and "limits.payload" in end.reason  # type: ignore[attr-defined]
    assert size(end.answer) <= 20_000 and end.answer.startswith("word word")  # type: ignore[attr-defined]
    assert endless.sent < 5_000_000, "it was left while it ran"


def test_a_model_that_always_streams_is_cut_off_in_a_plain_run_too() -> None:
    endless = Endless()
    with OpenAIServer(endless) as server:
        result = limited(sequential(A), chat(server, streaming=True), payload=20_000)
    assert_limit(result, "payload")
    assert result.status == "partial" and result.answer.startswith("word word") and result.usage.calls == 1


def test_a_body_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUPE_LIMITS__PAYLOAD", "100000")
    endless = Endless()
    with OpenAIServer(endless) as server:
        result = run(sequential(A), "x", model=chat(server), db=":memory:")
        assert len(server.requests) == 1, "it would be no shorter the next time"
    assert_limit(result, "payload")
    assert endless.sent < 50_000_000


def test_a_reply_of_fifty_megabytes_over_http_is_bounded() -> None:
    with OpenAIServer([text("x" * 50_000_000)]) as server:
        result = run(sequential(A), "x", model=chat(server), db=":memory:")
    assert_limit(result, "payload")


# --- where they come from ---------------------------------------------------------------------------------------------


def test_an_argument_goes_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "troupe.toml").write_text("[limits]\ncalls = 1\nsteps = 7\n")
    assert (Settings.load().limits.calls, Settings.load().limits.steps) == (1, 7)
    assert_limit(run(sequential(A, B), "x", model=scripted(SAID), db=":memory:"), "calls")
    monkeypatch.setenv("TROUPE_LIMITS__CALLS", "2")
    assert (Settings.load().limits.calls, Settings.load().limits.steps) == (2, 7)
    assert run(sequential(A, B), "x", model=scripted(SAID), db=":memory:").status == "completed"
    assert_limit(limited(sequential(A, B), scripted(SAID), calls=1), "calls")
    done = limited(sequential(A, B), scripted(SAID), depth=3)
    assert done.status == "completed", "what was not set is as in the settings"


@pytest.mark.parametrize(
    ("name", "value"), [("CALLS", "0"), ("CALLS", "many"), ("FAN_OUT", "1001"), ("PAYLOAD", "1"), ("CALL", "1")]
)
def test_a_limit_that_is_none_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TROUPE_LIMITS__{name}", value)
    with pytest.raises(SettingsError, match="limits"):
        Settings.load()


def test_the_defaults_are_met_by_no_honest_run() -> None:
    lines = {f"s{number}": ["x" * 10_000] for number in range(40)}
    team = sequential(*(agent(name, "Work.") for name in lines))
    assert run(team, "x" * 100_000, model=scripted(lines), db=":memory:").status == "completed"


def test_streams_of_a_sync_caller_keep_them_too() -> None:
    context = TeamContext(models=scripted(SAID), limits=Limits(calls=1))
    end = list(stream(sequential(A, B).compile(), "x", context=context))[-1]
    assert end.kind == "run_finished" and "limits.calls" in end.reason  # type: ignore[attr-defined]


def test_a_cut_never_splits_a_character() -> None:
    for most in range(12):
        assert size(cut("aé€😀b", most)) <= most
        assert "aé€😀b".startswith(cut("aé€😀b", most))
