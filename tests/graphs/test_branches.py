"""Branches with a gate: a loop of their own each, and one for all items of a list."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from langgraph.types import Command

from troupe import Brief, Step, TeamContext, check, gate, parallel
from troupe.graphs.forking.fanout import each


async def twice(brief: Brief) -> str:
    """Good in the second round only."""
    return f"{brief.item} {'good' if brief.round > 1 else 'bad'}"


@check
def good(work: Any) -> str:
    """Whether it is good."""
    return "" if "good" in work.content else f"{work.step} is bad"


async def test_items_share_one_loop_that_was_compiled_with_the_team(monkeypatch: pytest.MonkeyPatch) -> None:
    team = parallel(each(Step(twice, name="worker", gate=gate(good)), ["a", "b", "c"])).compile()
    monkeypatch.setattr(StateGraph, "compile", None)
    told: list[Any] = []
    state = await team.ainvoke({"task": "hi"}, context=TeamContext(listeners=[told.append]))
    assert state["status"] == "completed"
    for number, item in enumerate("abc", 1):
        done = state["deliverables"][f"worker.{number}"]
        assert (done.content, done.rounds, done.status) == (f"{item} good", 2, "accepted")
        assert state["verdicts"][f"worker.{number}#1"].feedback == f"worker.{number} is bad"
        begun = [(one.round, one.index) for one in told if one.kind == "step_started" and one.path == done.step]
        assert begun == [(1, number), (2, number)]


async def test_a_branch_beside_items_has_its_loop_from_the_start_too(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Step(lambda _: "good", name="alone", gate=gate(good))
    team = parallel(each(Step(twice, name="worker"), ["a", "b"]), alone).compile()
    monkeypatch.setattr(StateGraph, "compile", None)
    told: list[Any] = []
    state = await team.ainvoke({"task": "hi"}, context=TeamContext(listeners=[told.append]))
    assert state["deliverables"]["alone"].status == "accepted"
    begun = {one.path: (one.index, one.total) for one in told if one.kind == "step_started"}
    assert begun["alone"] == (3, 4)


async def test_each_item_asks_for_itself_and_goes_on_where_it_stood() -> None:
    calls: list[str] = []

    async def work(brief: Brief) -> str:
        calls.append(f"{brief.item}{brief.round}")
        return brief.item

    step = Step(work, name="worker", gate=gate(good, rework=0, then="ask"))
    team = parallel(each(step, ["a", "good", "c"])).compile(InMemorySaver())
    config: Any = {"configurable": {"thread_id": "items that ask"}}
    await team.ainvoke({"task": "hi"}, config)
    asked = {one.value["step"]: one.id for one in (await team.aget_state(config)).interrupts}
    assert set(asked) == {"worker.1", "worker.3"}
    answers = {asked["worker.1"]: True, asked["worker.3"]: {"type": "reject", "message": "No."}}
    state = await team.ainvoke(Command(resume=answers), config)
    assert {name: done.status for name, done in state["deliverables"].items()} == {
        "worker.1": "accepted",
        "worker.2": "accepted",
        "worker.3": "failed",
        "merge": "accepted",
    }
    assert sorted(calls) == ["a1", "c1", "good1"]
