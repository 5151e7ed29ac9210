"""Workflows at work: who begins when, what becomes of what fails, waits, is stopped, or is sent back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.errors import GraphDrained
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command

from tests.support.teams import paced, patient, roles_asked, steps_asked, text_asked
from troupe import (
    Brief,
    Executor,
    Result,
    TeamContext,
    TeamGraph,
    Verdict,
    Workflow,
    agent,
    aresume,
    arun,
    resume,
    rollback,
    run,
    scripted,
)
from troupe.agents.events import Event
from troupe.agents.journal import MemoryJournal
from troupe.agents.models.scripted import ScriptedChatModel

NOBODY_ELSE = {"backups": False, "models": False, "matched": False, "retries": 0}
ASKING = {"contains": ["good"], "rework": 0, "then": "ask"}


def flow(*phases: Any, agents: Any = None, **fields: Any) -> TeamGraph:
    """The graph of these phases; whoever is named by one letter is an agent."""
    letters = {name: agent(name, "Work.") for name in "abcdefr"}
    return Workflow(name="flow", phases=phases, **fields).build(agents=letters | (agents or {}))


def step(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    """A step of the agent of that name, that waits for these and for nobody else."""
    return {"agent": name, "needs": needs, **more}


def lines(names: str) -> dict[str, str]:
    return {name: name.upper() for name in names}


def statuses(result: Result) -> dict[str, str]:
    return {name: done.status for name, done in result.deliverables.items()}


class Seen:
    """A listener that knows the order in which steps began and ended."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, event: Event) -> None:
        if event.kind in ("step_started", "step_finished"):
            self.said.append(f"{'+' if event.kind == 'step_started' else '-'}{event.path}")

    def before(self, first: str, second: str) -> bool:
        return self.said.index(first) < self.said.index(second)


# --- who begins when --------------------------------------------------------------------------------------------------


def test_a_step_begins_when_what_it_needs_has_ended_whatever_else_is_at_work() -> None:
    seen = Seen()
    model = paced(lines("abcd"), {"A": 0.3})
    team = flow(step("a"), step("b"), step("c", "b"), step("d", "a", "c"))
    result = run(team, "x", model=model, db=":memory:", listeners=[seen])
    assert result.status == "completed"
    assert seen.before("-c", "-a"), "c did not wait for a, which began in the same superstep"
    assert seen.said.index("+d") == len(seen.said) - 2


def test_a_step_gets_in_full_what_it_needs_and_sees_nothing_that_it_does_not_build_on() -> None:
    briefs: dict[str, Brief] = {}

    async def look(brief: Brief) -> str:
        briefs[brief.step] = brief
        return brief.step

    team = flow(
        step("a"), step("b"), step("look", "a"), {**step("look", "look"), "name": "last"}, agents={"look": look}
    )
    run(team, "x", model=scripted(lines("ab")), db=":memory:")
    assert (list(briefs["look"].deliverables), briefs["look"].needs) == (["a"], ("a",))
    assert (list(briefs["last"].deliverables), briefs["last"].needs) == (["a", "look"], ("look",))


async def test_the_sync_door_needs_no_thread_for_a_step_that_waits() -> None:
    names = [f"s{number}" for number in range(60)]
    chain = [step(name, *([names[at - 1]] if at else [])) for at, name in enumerate(names)]
    team = flow(*reversed(chain), agents={name: agent(name, "Work.") for name in names}).compile()
    before = threading.active_count()
    context = TeamContext(models=scripted(dict.fromkeys(names, "ok")))
    out = await asyncio.to_thread(team.invoke, {"task": "x"}, context=context)
    assert out["status"] == "completed"
    assert threading.active_count() < before + 30


@pytest.mark.parametrize("door", ["invoke", "ainvoke", "nested"])
async def test_max_concurrency_bounds_the_calls_and_locks_nobody_out(door: str) -> None:
    at_once = most = 0

    class Counting(ScriptedChatModel):
        async def _agenerate(self, *args: Any, **options: Any) -> Any:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1
            return await super()._agenerate(*args, **options)

    model = Counting(lines=scripted(lines("abcdef")).lines)
    team: Any = flow(
        step("f", "d", "e"), step("d", "a"), step("e", "b", "c"), step("a"), step("b"), step("c")
    ).compile()
    if door == "nested":
        host: Any = StateGraph(MessagesState)
        host.add_node("team", team)
        host.add_edge(START, "team")
        host.add_edge("team", END)
        team = host.compile()
    given = {"messages": [("user", "x")]}
    options: Any = {"config": {"max_concurrency": 2}, "context": TeamContext(models=model)}
    if door == "invoke":
        await asyncio.to_thread(team.invoke, given, **options)
    else:
        await team.ainvoke(given, **options)
    assert (len(model.asked), most) == (6, 2)


def test_where_not_all_can_work_at_once_the_longest_way_goes_first() -> None:
    team = flow(step("d"), step("c"), step("a"), step("b", "a"), step("e", "b"))
    model = scripted(lines("abcde"))
    run(team, "x", model=model, db=":memory:", context=TeamContext(executor=Executor(cap=1)))
    assert steps_asked(model)[:2] in (["d", "a"], ["c", "a"], ["a", "b"])
    urgent = flow(step("d"), step("c", priority=1000), step("a"), step("b", "a"), step("e", "b"))
    model = scripted(lines("abcde"))
    run(urgent, "x", model=model, db=":memory:", context=TeamContext(executor=Executor(cap=1)))
    assert "c" in steps_asked(model)[:2]


# --- what fails -------------------------------------------------------------------------------------------------------


def failing(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return step(name, *needs, recovery=NOBODY_ELSE, **more)


def test_what_needs_only_what_failed_is_skipped_and_everything_else_goes_on() -> None:
    team = flow(failing("a"), step("b", "a"), step("c"), step("d", "b", "c"), step("e", "b"))
    result = run(team, "x", model=scripted({**lines("bcde"), "a": ValueError("luck")}), db=":memory:")
    assert statuses(result) == {"a": "failed", "b": "skipped", "c": "accepted", "d": "accepted", "e": "skipped"}
    assert (result.status, result.missing) == ("partial", ("a", "b", "e"))
    assert result["e"].reason is not None and result["e"].reason.message == "a: ValueError: luck"


def test_what_comes_after_an_optional_step_goes_on_without_it_and_is_told() -> None:
    model = scripted({**lines("b"), "a": ValueError("luck")})
    result = run(flow(failing("a", optional=True), step("b", "a")), "x", model=model, db=":memory:")
    assert (result.status, statuses(result)) == ("partial", {"a": "failed", "b": "accepted"})
    assert "luck" in text_asked(model, -1)


def test_a_step_that_fails_its_gate_is_worked_on_again_while_others_go_on() -> None:
    model = scripted({**lines("acd"), "b": ["bad", "good"]})
    team = flow(step("a"), step("b", "a", gate={"contains": ["good"]}), step("c", "a"), step("d", "b", "c"))
    result = run(team, "x", model=model, db=":memory:")
    assert (result.status, result["b"].content, result["b"].rounds) == ("completed", "good", 2)


# --- who is to blame --------------------------------------------------------------------------------------------------


def blaming(*findings: Verdict) -> Any:
    return step("d", "b", gate={"review": "r", "rework": 2}), {"r": [*findings]}


def test_a_rollback_does_again_what_is_to_blame_and_all_that_was_built_on_it() -> None:
    last, reviews = blaming(Verdict(passed=False, blame="a", feedback="wrong"), Verdict(passed=True))
    twice = {name: [name.upper(), f"{name.upper()}2"] for name in "abcd"}
    model = scripted({**twice, "e": "E", **reviews})
    team = flow(step("a"), step("b", "a"), step("c", "a"), last, step("e"))
    result = run(team, "x", model=model, db=":memory:")
    assert result.status == "completed"
    contents = {name: done.content for name, done in result.deliverables.items()}
    assert contents == {"a": "A2", "b": "B2", "c": "C2", "d": "D2", "e": "E"}
    last_of_a = max(at for at, one in enumerate(steps_asked(model)) if one == "a")
    assert "wrong" in text_asked(model, last_of_a)


def test_what_is_under_way_when_a_rollback_makes_it_useless_is_done_again_as_well() -> None:
    last, reviews = blaming(Verdict(passed=False, blame="a", feedback="wrong"), Verdict(passed=True))
    twice = {name: [name.upper(), f"{name.upper()}2"] for name in "abcd"}
    model = paced({**twice, "e": "E", **reviews}, {"C": 0.2})
    team = flow(step("a"), step("b", "a"), step("c", "a"), last, step("e", "c"))
    result = run(team, "x", model=model, db=":memory:")
    assert result.status == "completed"
    assert (result["c"].content, result["c"].rounds, result["e"].content) == ("C2", 2, "E")
    assert steps_asked(model).count("e") == 1, "what had not begun was not begun in vain"


def test_a_gate_that_blames_again_and_again_comes_to_an_end() -> None:
    wrong = Verdict(passed=False, blame="a", feedback="wrong")
    last, reviews = blaming(wrong, wrong, wrong)
    model = scripted({**{name: [*"123"] for name in "abd"}, **reviews})
    result = run(flow(step("a"), step("b", "a"), last), "x", model=model, db=":memory:")
    assert (result.status, result["a"].rounds, result["d"].status) == ("partial", 3, "partial")


# --- people -----------------------------------------------------------------------------------------------------------


TEAM = (step("a"), step("b", "a", gate=ASKING), step("c"), step("d", "c"), step("e", "b", "d"))


def test_others_go_on_while_a_person_is_asked_and_nothing_is_asked_twice(db: Path) -> None:
    model = scripted({**lines("acde"), "b": "bad"})
    asked = run(flow(*TEAM), "x", model=model, db=db, thread="t")
    assert (asked.status, sorted(asked.deliverables)) == ("waiting", ["a", "c", "d"])
    done = resume("t", "approve", target=flow(*TEAM), model=model, db=db)
    assert (done.status, done["b"].content, done["e"].content) == ("completed", "bad", "E")
    assert sorted(steps_asked(model)) == ["a", "b", "c", "d", "e"]


def test_two_questions_of_one_workflow_are_answered_one_after_the_other(db: Path) -> None:
    team = (step("a", gate=ASKING), step("b", gate=ASKING), step("c", "a", "b"))
    model = scripted({"a": "bad", "b": "bad", "c": "C"})
    first = run(flow(*team), "x", model=model, db=db, thread="t")
    assert len(first.waiting) == 2
    second = resume("t", {first.waiting[1].id: "approve"}, target=flow(*team), model=model, db=db)
    assert (second.status, [one.id for one in second.waiting]) == ("waiting", [first.waiting[0].id])
    assert resume("t", True, target=flow(*team), model=model, db=db).status == "completed"
    assert sorted(steps_asked(model)) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_plain_invoke_waits_for_a_person_and_finds_what_had_ended_in_its_saver(kind: str, db: Path) -> None:
    model = scripted({**lines("acde"), "b": "bad"})
    config: Any = {"configurable": {"thread_id": "t"}}

    def life(given: Any, saver: Any) -> Any:
        # Another process has no journal of the first.
        context = TeamContext(models=model)
        return flow(*TEAM).compile(checkpointer=saver).invoke(given, config, context=context)

    memory = InMemorySaver()
    given: Any
    for given in ({"task": "x"}, Command(resume=True)):
        if kind == "memory":
            out = life(given, memory)
        else:
            with SqliteSaver.from_conn_string(str(db)) as saver:
                out = life(given, saver)
    assert out["status"] == "completed"
    assert out["deliverables"]["e"].sources == ("b", "d")
    assert sorted(steps_asked(model)) == ["a", "b", "c", "d", "e"]


def test_what_had_ended_is_read_from_the_checkpoint_where_no_journal_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = scripted({**lines("acde"), "b": ["bad", "bad"], "a": ["A", "A"]})
    config: Any = {"configurable": {"thread_id": "t"}}
    team = flow(*TEAM).compile(checkpointer=InMemorySaver())
    team.invoke({"task": "x"}, config, context=TeamContext(models=model))
    monkeypatch.setattr("troupe.agents.scope._process_journal", MemoryJournal())
    out = team.invoke(Command(resume=True), config, context=TeamContext(models=model))
    assert out["status"] == "completed"
    assert steps_asked(model).count("c") == steps_asked(model).count("d") == 1


# --- stopping, and going on -------------------------------------------------------------------------------------------


async def test_a_drain_lets_what_is_at_work_end_and_begins_nothing_new() -> None:
    control = RunControl()
    model = scripted(lines("abcde"))

    def see(event: Event) -> None:
        if event.kind == "step_finished" and event.path == "c":
            control.request_drain("bye")

    team = flow(step("a"), step("b", "a"), step("c"), step("d", "c"), step("e", "b", "d"))
    app = team.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(GraphDrained, match="bye"):
        await app.ainvoke({"task": "x"}, config, context=TeamContext(models=model, listeners=[see]), control=control)
    assert "e" not in steps_asked(model)
    out = await app.ainvoke(None, config, context=TeamContext(models=model))
    assert out["status"] == "completed"
    assert sorted(steps_asked(model)) == ["a", "b", "c", "d", "e"]


async def test_a_run_that_is_asked_to_stop_begins_no_step_and_goes_on_later(db: Path) -> None:
    stop = asyncio.Event()
    model = scripted(lines("abcde"))

    def see(event: Event) -> None:
        if event.kind == "step_finished" and event.path == "c":
            stop.set()

    team = flow(step("a"), step("b", "a"), step("c"), step("d", "c"), step("e", "b", "d"))
    stopped = await arun(team, "x", model=model, db=db, thread="t", stop=stop, listeners=[see])
    assert stopped.status == "stopped" and stopped.reason is not None and "troupe resume t" in stopped.reason.message
    assert "e" not in steps_asked(model)
    done = await aresume("t", target=team, model=model, db=db)
    assert done.status == "completed"
    assert sorted(steps_asked(model)) == ["a", "b", "c", "d", "e"]


def test_a_rollback_by_hand_does_a_step_again_and_all_that_builds_on_it(db: Path) -> None:
    team = flow(step("a"), step("b", "a"), step("c"), step("d", "b", "c"))
    run(team, "x", model=scripted(lines("abcd")), db=db, thread="t")
    model = scripted({"b": "B2", "d": "D2"})
    again = rollback("t", "b", target=team, model=model, db=db)
    assert (again.status, again["b"].content, again.answer) == ("completed", "B2", "D2")
    assert sorted(steps_asked(model)) == ["b", "d"]


# --- the order of arrival, limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", ["A", "B", "C"])
def test_who_was_faster_changes_nothing_in_the_result(slow: str) -> None:
    team = flow(step("a"), step("b"), step("c", "a"), step("d", "b", "c"))
    plain = run(team, "x", model=scripted(lines("abcd")), db=":memory:")
    other = run(team, "x", model=paced(lines("abcd"), {slow: 0.05}), db=":memory:")

    def shown(result: Result) -> Sequence[Any]:
        return [(one.step, one.content, one.sources) for one in result.deliverables.values()]

    assert shown(plain) == shown(other)


def test_a_deadline_ends_a_workflow_with_what_there_is() -> None:
    model = paced(lines("abc"), {"B": 30.0})
    context = TeamContext(models=model, deadline=0.5, executor=patient())
    result = run(flow(step("a"), step("b"), step("c", "b")), "x", context=context, db=":memory:")
    assert (result.status, statuses(result)) == ("partial", {"a": "accepted", "b": "failed", "c": "skipped"})
    assert result.reason is not None and result.reason.kind == "limit"


# --- phases that are one step -----------------------------------------------------------------------------------------


def test_a_gate_around_a_merged_phase_is_for_its_branches_and_its_own_is_for_the_whole() -> None:
    merged = {"kind": "parallel", "name": "both", "steps": ["a", "b"], "merge": {"by": "c", "judge": "c"}}
    said = {**lines("abc"), "r": [Verdict(passed=True)] * 9, "e": [Verdict(passed=True)] * 9}
    model = scripted(said)
    around = run(flow(merged, gate={"review": "r"}), "x", model=model, db=":memory:")
    assert (around.status, roles_asked(model).count("r")) == ("completed", 3)
    model = scripted(said)
    own = run(flow({**merged, "gate": {"review": "e"}}), "x", model=model, db=":memory:")
    assert (own.status, roles_asked(model).count("e")) == ("completed", 1)
    model = scripted(said)
    none = run(flow({**merged, "gate": "none"}, gate={"review": "r"}), "x", model=model, db=":memory:")
    assert (none.status, roles_asked(model).count("r")) == ("completed", 0)
