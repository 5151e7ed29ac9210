"""parallel: branches at once, joins that know when they have enough, results that become one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from tests.support.command import Shell
from tests.support.teams import PRICE, Crash, Mortal, paced, patient, priced, steps_asked, text_asked
from troupe import (
    Brief,
    BuildError,
    Deliverable,
    Executor,
    SimulatedChatModel,
    Step,
    TeamContext,
    TeamState,
    UnknownName,
    Verdict,
    agent,
    arun,
    astream,
    conclusion,
    contains,
    each,
    first,
    gate,
    merge,
    non_empty,
    parallel,
    quorum,
    resume,
    review,
    rollback,
    run,
    scripted,
    sequential,
    within,
)
from troupe.agents.call import Call
from troupe.agents.models.scripted import ScriptedChatModel
from troupe.graphs.forking.joins import Join
from troupe.result import Result

A, B, C, D = (agent(name, "Work.") for name in "abcd")
LEAD = agent("lead", "Put it together.")
SAID = {"a": "from a", "b": "from b", "c": "from c", "d": "from d", "lead": "merged"}
EIGHT = [f"s{number}" for number in range(1, 9)]


class Order(BaseModel):
    number: int


class Stuck:
    """An async step that works until it is given up, and knows whether it was."""

    def __init__(self, name: str = "stuck") -> None:
        self.__name__ = name
        self.begun = asyncio.Event()
        self.calls = 0
        self.cancelled = 0

    async def __call__(self, brief: Brief) -> str:
        self.calls += 1
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "never"


def says(name: str, after: asyncio.Event | None = None) -> Step:
    """A function step that says its name, once something has happened."""

    async def say(brief: Brief) -> str:
        if after is not None:
            await after.wait()
        return f"{name} says"

    return Step(say, name=name)


def statuses(result: Result) -> dict[str, str]:
    return {name: done.status for name, done in result.deliverables.items()}


def go(team: Any, model: Any = None, **options: Any) -> Result:
    return run(team, "the task", model=model, **{"db": ":memory:", **options})


# --- what it does ----------------------------------------------------------------------------------------------------


def test_without_branches_it_is_the_classic_line_up_merged_and_validated() -> None:
    result = run("parallel", "a shop", db=":memory:")
    branches = ["frontend-engineer", "python-engineer", "database-engineer", "security-engineer"]
    assert list(result.deliverables) == [*branches, "integration-architect", "qa-engineer"]
    assert (result.status, result.simulated) == ("completed", True)
    assert result.answer == result["qa-engineer"].content
    assert result["integration-architect"].sources == tuple(branches)
    assert result["qa-engineer"].score is not None


def test_branches_work_at_once_and_know_the_task_but_not_each_other() -> None:
    met = asyncio.Barrier(3)
    seen: list[Brief] = []

    async def meet(brief: Brief) -> str:
        seen.append(brief)
        await asyncio.wait_for(met.wait(), 20)
        return brief.step

    result = go(parallel(*(Step(meet, f"aim of {name}", name=name) for name in "abc")))
    assert result.status == "completed"
    assert {one.task for one in seen} == {"the task"} and {one.objective for one in seen} == {
        "aim of a", "aim of b", "aim of c",
    }  # fmt: skip
    assert all(not one.deliverables and not one.missing for one in seen)


def test_a_merging_agent_gets_every_part_in_full_under_its_name() -> None:
    model = scripted(SAID)
    result = go(parallel(A, B, C, merge=LEAD), model)
    assert (result.status, result.answer) == ("completed", "merged")
    assert sorted(steps_asked(model)[:3]) == ["a", "b", "c"] and steps_asked(model)[3:] == ["lead"]
    for name in "abc":
        assert f"from {name}" in text_asked(model, 3) and f'from="{name}, by {name}"' in text_asked(model, 3)
    assert result["lead"].sources == ("a", "b", "c")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_merging_function_gets_the_parts_by_name(kind: str) -> None:
    def together(brief: Brief) -> str:
        return " + ".join(brief.deliverables[name].content for name in brief.needs)

    async def later(brief: Brief) -> str:
        return together(brief)

    result = go(parallel(A, B, merge=together if kind == "sync" else later), scripted(SAID))
    assert (result.status, result.answer) == ("completed", "from a + from b")


def test_several_merging_steps_build_on_each_other_and_on_all_parts() -> None:
    model = scripted({**SAID, "qa": "checked"})
    result = go(parallel(A, B, merge=[LEAD, agent("qa", "Check.")]), model)
    assert (result.answer, result["qa"].sources) == ("checked", ("a", "b", "lead"))
    assert all(text in text_asked(model, 3) for text in ("from a", "from b", "merged"))


def test_a_merging_step_may_name_a_branch_that_it_needs() -> None:
    team = parallel(A, B, merge=[LEAD, Step(agent("qa", "Check."), needs="a")])
    assert go(team, scripted({**SAID, "qa": "checked"}))["qa"].sources == ("a", "b", "lead")
    with pytest.raises(BuildError, match="needs 'nobody', which is no earlier step"):
        parallel(A, B, merge=Step(LEAD, needs="nobody"))


def test_without_a_merge_the_parts_stand_side_by_side_each_under_its_name() -> None:
    result = go(parallel(A, Step(B, name="second")), scripted({"a": "from a", "second": "from b"}))
    assert result.answer == "## a\n\nfrom a\n\n## second (b)\n\nfrom b"
    assert result["merge"].sources == ("a", "second") and result.usage.calls == 2


def test_a_merge_that_raises_is_recorded_and_the_parts_stand_side_by_side() -> None:
    def broken(brief: Brief) -> str:
        raise KeyError("the table")

    result = go(parallel(A, B, merge=broken), scripted(SAID))
    assert (result.status, result.missing) == ("partial", ("broken",))
    assert result.reason is not None and "the table" in result.reason.message and result.reason.step == "broken"
    assert result.answer == "## a\n\nfrom a\n\n## b\n\nfrom b"


def test_a_second_merging_step_that_fails_leaves_what_the_first_merged() -> None:
    def broken(brief: Brief) -> str:
        raise ValueError("no")

    result = go(parallel(A, B, merge=[LEAD, broken]), scripted(SAID))
    assert (result.status, result.answer, result.missing) == ("partial", "merged", ("broken",))


def test_a_merge_of_nothing_fails_and_is_not_called() -> None:
    model = scripted({"a": [ValueError("no")], "b": [ValueError("no")]})
    result = go(parallel(A, B, merge=LEAD), model)
    assert (result.status, result.answer, result.missing) == ("failed", "", ("a", "b", "lead"))
    assert "lead" not in steps_asked(model) and result["lead"].status == "skipped"


def test_any_pattern_is_a_branch_and_its_parts_come_along() -> None:
    inner = sequential(A, B, name="inner")
    result = go(parallel(Step(inner), C, merge=LEAD), scripted({**SAID, "inner": "x"}))
    assert result["inner/a"].content == "from a" and result["inner"].content == "from b"
    deeper = go(parallel(Step(parallel(A, B, merge=Step(LEAD, name="mid"), name="inner")), C, merge=LEAD),
                scripted({**SAID, "mid": "middle"}))  # fmt: skip
    assert deeper["inner"].content == "middle" and deeper.status == "completed"


# --- a branch that fails ---------------------------------------------------------------------------------------------


def failing(how: str) -> tuple[Any, Step, Executor]:
    """What the fifth of eight says, the step itself, and an Executor that does not wait."""
    if how == "raises":
        return ValueError("no luck"), Step(agent("s5", "Work.")), patient()
    if how == "bad JSON":
        return "this is no order", Step(agent("s5", "Work."), returns=Order), patient()
    return "too late", Step(agent("s5", "Work.")), patient(timeout=0.3, retries=0)


@pytest.mark.parametrize("when", ["early", "late"])
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("how", ["raises", "times out", "bad JSON"])
async def test_of_eight_branches_one_fails_and_seven_are_kept(how: str, mode: str, when: str) -> None:
    bad, step, executor = failing(how)
    lines: dict[str, Any] = {name: f"from {name}" for name in EIGHT}
    lines |= {"s5": [bad] * 9, "merge": "never"}
    others = 0.1 if when == "early" else 0.0
    pauses = {f"from {name}": others for name in EIGHT}
    pauses["too late"] = 30.0
    model = paced(lines, pauses)
    team = parallel(*(step if name == "s5" else agent(name, "Work.") for name in EIGHT)).compile()
    context = TeamContext(models=model, executor=executor)
    if mode == "sync":
        state = await asyncio.to_thread(team.invoke, {"task": "x"}, context=context)
    else:
        state = await team.ainvoke({"task": "x"}, context=context)
    done = state["deliverables"]
    assert state["status"] == "partial" and state["reason"].step == "s5"
    assert [name for name in EIGHT if done[name].status == "accepted"] == [name for name in EIGHT if name != "s5"]
    assert done["s5"].status == "failed" and done["s5"].reason.message in state["reason"].message
    word = {"raises": "no luck", "times out": "no answer within", "bad JSON": "Order"}[how]
    assert word in state["reason"].message
    asked = Counter(steps_asked(model))
    assert all(asked[name] == 1 for name in EIGHT if name != "s5"), "no sibling is asked again"
    assert done["merge"].sources == tuple(name for name in EIGHT if name != "s5")
    assert "from s5" not in state["answer"] and "from s8" in state["answer"]


def test_a_merging_agent_is_told_which_part_is_missing_and_why() -> None:
    model = scripted({**SAID, "b": [ValueError("no luck")]})
    result = go(parallel(A, B, merge=LEAD), model)
    assert (result.status, result.answer, result.missing) == ("partial", "merged", ("b",))
    assert "# Missing" in text_asked(model, 2) and "no luck" in text_asked(model, 2)


# --- joins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("join", [first(2), quorum(2), "first(2)", "quorum(2)"])
async def test_the_first_two_are_enough_and_the_others_are_given_up_at_once(join: Any, mode: str) -> None:
    stuck, other = Stuck(), Stuck("other")
    team = parallel(stuck, A, other, B, join=join, merge=LEAD)
    began = time.monotonic()
    if mode == "sync":
        result = await asyncio.to_thread(go, team, scripted(SAID))
    else:
        result = await arun(team, "the task", model=scripted(SAID), db=":memory:")
    assert time.monotonic() - began < 20
    assert (result.status, result.reason, result.missing) == ("completed", None, ())
    assert statuses(result) == {
        "stuck": "skipped", "a": "accepted", "other": "skipped", "b": "accepted", "lead": "accepted",
    }  # fmt: skip
    assert (stuck.cancelled, other.cancelled) == (1, 1)
    for name in ("stuck", "other"):
        reason = result[name].reason
        assert not result[name].required and reason is not None and reason.kind == "stopped"
        assert "not needed any more" in reason.message and "delivered (a, b)" in reason.message
    assert result["lead"].sources == ("a", "b")


def test_exactly_so_many_win_however_many_deliver_at_once() -> None:
    result = go(parallel(A, B, C, D, join=first(1), merge=LEAD), scripted(SAID))
    assert result.status == "completed"
    assert Counter(statuses(result).values()) == {"accepted": 2, "skipped": 3}
    assert len(result["lead"].sources) == 1


def test_calls_of_a_losing_branch_that_were_not_made_yet_are_never_made() -> None:
    held = asyncio.Event()

    async def hold(brief: Brief) -> str:
        held.set()
        await asyncio.Event().wait()
        return "never"

    after = Stuck("after")
    slow = sequential(Step(hold), after, name="slow")
    result = go(parallel(Step(slow), says("quick", held), join=first(1)))
    assert (result.status, statuses(result)["slow"], after.calls) == ("completed", "skipped", 0)


def test_a_nested_team_that_loses_gives_its_own_calls_up() -> None:
    stuck, other = Stuck(), Stuck("other")
    nested = parallel(stuck, sequential(other, name="deep"), A, name="nested")

    async def quick(brief: Brief) -> str:
        await asyncio.gather(stuck.begun.wait(), other.begun.wait())
        return "quick"

    result = go(parallel(Step(nested), quick, join=first(1)), scripted(SAID))
    assert (result.status, statuses(result)["nested"]) == ("completed", "skipped")
    assert (stuck.cancelled, other.cancelled) == (1, 1)


def test_a_graph_of_somebody_elses_that_loses_is_cancelled_whole() -> None:
    stuck = Stuck()

    async def node(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(await stuck(Brief(task="x")))]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    foreign = Step(graph.compile(name="foreign"))
    result = go(parallel(foreign, says("quick", stuck.begun), join=first(1)))
    assert (result.status, statuses(result)["foreign"], stuck.cancelled) == ("completed", "skipped", 1)


def test_nobody_waits_for_a_losing_function_that_only_its_thread_can_end() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def stubborn(brief: Brief) -> str:
        begun.set()
        may_end.wait(60)
        return "late"

    def quick(brief: Brief) -> str:
        begun.wait(60)
        return "quick"

    began = time.monotonic()
    result = go(parallel(stubborn, quick, join=first(1)))
    took = time.monotonic() - began
    may_end.set()
    assert (result.status, statuses(result)["stubborn"]) == ("completed", "skipped") and took < 20


def test_a_race_inside_a_race_is_decided_by_itself() -> None:
    stuck, outer = Stuck(), Stuck("outer")
    inner = parallel(stuck, A, join=first(1), name="inner")
    result = go(parallel(Step(inner), outer, B, join=first(2), merge=LEAD), scripted(SAID))
    assert result.status == "completed"
    assert result["inner"].parts["a"].status == "accepted" and result["inner"].parts["stuck"].status == "skipped"
    assert statuses(result)["outer"] == "skipped" and (stuck.cancelled, outer.cancelled) == (1, 1)


def test_a_branch_that_failed_has_its_own_reason_and_is_not_needed_once_enough_delivered() -> None:
    model = paced({**SAID, "a": [ValueError("no luck")]}, {SAID["c"]: 0.3})
    result = go(parallel(A, B, C, join=first(2), merge=LEAD), model)
    assert (result.status, result.missing) == ("completed", ())
    assert result["a"].status == "failed" and not result["a"].required
    assert "no luck" in str(result["a"].reason)


def test_first_with_fewer_merges_what_there_is_and_is_partial() -> None:
    model = scripted({**SAID, "b": [ValueError("no luck")], "c": [ValueError("none")]})
    result = go(parallel(A, B, C, join=first(2), merge=LEAD), model)
    assert (result.status, result.answer, result["lead"].sources) == ("partial", "merged", ("a",))
    assert result.reason is not None and "1 of the 2 branches" in result.reason.message
    assert "no luck" in result.reason.message and result.missing == ("b", "c")


def test_a_quorum_that_is_not_reached_merges_nothing_and_keeps_the_parts() -> None:
    model = scripted({**SAID, "b": [ValueError("no luck")], "c": [ValueError("none")]})
    result = go(parallel(A, B, C, join=quorum(2), merge=LEAD), model)
    assert (result.status, result.answer) == ("partial", "## a\n\nfrom a")
    assert result.reason is not None and "1 of the 2 branches that quorum 2 waits for" in result.reason.message
    assert "lead" not in steps_asked(model) and statuses(result)["lead"] == "skipped"


@pytest.mark.parametrize("join", [first(1), quorum(1), within(30), "best_effort", "all"])
def test_when_nobody_delivers_the_run_fails_whatever_the_join(join: Any) -> None:
    model = scripted({"a": [ValueError("no")], "b": [ValueError("no")]})
    result = go(parallel(A, B, join=join, merge=LEAD), model)
    assert (result.status, result.answer) == ("failed", "") and steps_asked(model).count("lead") == 0


@pytest.mark.parametrize(
    ("join", "deadline"), [(within(1.5), None), ("within(1.5)", None), ("best_effort", 2.0)], ids=str
)
def test_when_time_is_up_what_there_is_is_merged_and_the_rest_is_missing(join: Any, deadline: Any) -> None:
    stuck = Stuck()
    began = time.monotonic()
    result = go(parallel(A, stuck, join=join, merge=Step(lambda brief: "merged", name="lead")), scripted(SAID),
                deadline=deadline)  # fmt: skip
    assert time.monotonic() - began < 20
    assert (result.status, result.answer, result.missing) == ("partial", "merged", ("stuck",))
    assert result.reason is not None and (result.reason.kind, result.reason.step) == ("limit", "stuck")
    assert "still at work after" in result.reason.message
    assert stuck.cancelled == 1 and result["stuck"].required and result["stuck"].status == "skipped"


@pytest.mark.parametrize("join", [within(60), "best_effort", "all"])
def test_when_all_deliver_in_time_nobody_waits_for_the_clock(join: Any) -> None:
    began = time.monotonic()
    result = go(parallel(A, B, join=join, merge=LEAD), scripted(SAID), deadline=120)
    assert result.status == "completed" and time.monotonic() - began < 20


def test_a_branch_missing_under_best_effort_or_within_makes_the_run_partial() -> None:
    for join in ("best_effort", within(60)):
        model = scripted({**SAID, "b": [ValueError("no luck")]})
        result = go(parallel(A, B, join=join, merge=LEAD), model)
        assert (result.status, result.missing, result["b"].required) == ("partial", ("b",), True)


def test_budget_that_ends_a_race_is_the_runs_reason() -> None:
    result = go(parallel(A, B, C, join=first(3), merge=LEAD), priced(SAID), budget=10_000 * PRICE,
                context=TeamContext(executor=Executor(cap=1)))  # fmt: skip
    assert result.status == "partial" and result.reason is not None and result.reason.kind == "limit"


@pytest.mark.parametrize("how", ["task", "stop"])
async def test_whoever_cancels_a_run_during_a_race_is_heard(how: str) -> None:
    stuck, other = Stuck(), Stuck("other")
    team = parallel(stuck, other, says("quick"), join=first(2))
    stop = asyncio.Event()
    task = asyncio.ensure_future(arun(team, "x", db=":memory:", stop=stop))
    await asyncio.wait_for(asyncio.gather(stuck.begun.wait(), other.begun.wait()), 30)
    if how == "stop":
        stop.set()
        assert (await asyncio.wait_for(task, 30)).status == "stopped"
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
    assert (stuck.cancelled, other.cancelled) == (1, 1)


async def test_a_plain_ainvoke_that_is_cancelled_during_a_race_is_cancelled() -> None:
    stuck = Stuck()
    team = parallel(stuck, says("quick"), join=first(2)).compile()
    task = asyncio.ensure_future(team.ainvoke({"task": "x"}))
    await asyncio.wait_for(stuck.begun.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert stuck.cancelled == 1


# --- what was decided stays decided ----------------------------------------------------------------------------------


def dies_at(step: str, *after: asyncio.Event) -> Executor:
    """An Executor whose process dies at a step's call, once other things have happened."""

    class Late(Mortal):
        async def _attempt(self, call: Call) -> BaseModel:
            if call.brief.step == self.step:
                for one in after:
                    await one.wait()
            return await super()._attempt(call)

    return Late(step)


def test_the_winners_of_a_join_are_the_same_after_a_crash(db: Path) -> None:
    """The two that had won are merged, although all four would now deliver at once."""
    stuck = [Stuck("c"), Stuck("d")]
    slow = parallel(*stuck, A, B, join=first(2), merge=LEAD)
    with pytest.raises(Crash):
        run(slow, "x", context=TeamContext(models=scripted(SAID), executor=Mortal("lead")), db=db, thread="t")
    going_on = scripted({"lead": "merged"})
    quick = parallel(says("c"), says("d"), A, B, join=first(2), merge=LEAD)
    result = resume("t", target=quick, model=going_on, db=db, accept_changes=True)
    assert (result.status, result["lead"].sources, steps_asked(going_on)) == ("completed", ("a", "b"), ["lead"])
    assert statuses(result)["c"] == statuses(result)["d"] == "skipped"


def test_a_branch_that_had_delivered_before_a_crash_is_one_of_the_first_after_it(db: Path) -> None:
    over = asyncio.Event()

    async def a(brief: Brief) -> str:
        asyncio.get_running_loop().call_later(0.1, over.set)  # by then its end is recorded
        return "from a"

    before = parallel(Step(a), B, C, D, join=first(2), merge=LEAD)
    executor = dies_at("b", over)
    stuck = paced(SAID, {"from c": 60.0, "from d": 60.0})
    with pytest.raises(Crash):
        run(before, "x", context=TeamContext(models=stuck, executor=executor), db=db, thread="t")
    going_on = paced(SAID, {"from c": 30.0, "from d": 30.0})
    began = time.monotonic()
    result = resume("t", target=before, model=going_on, db=db)
    assert time.monotonic() - began < 20
    assert (result.status, result["lead"].sources) == ("completed", ("a", "b"))
    assert {"b", "lead"} <= set(steps_asked(going_on)) <= {"b", "c", "d", "lead"}


def test_after_a_crash_in_a_fan_out_only_what_is_unfinished_is_asked(db: Path) -> None:
    finished = asyncio.Event()
    done: list[str] = []

    class Counting(Mortal):
        async def _attempt(self, call: Call) -> BaseModel:
            if call.brief.step == self.step:
                await finished.wait()
                raise Crash
            made = await super()._attempt(call)
            done.append(call.brief.step)
            if len(done) == 3:
                asyncio.get_running_loop().call_later(0.2, finished.set)
            return made

    team = parallel(A, B, C, D, merge=LEAD)
    with pytest.raises(Crash):
        run(team, "x", context=TeamContext(models=scripted(SAID), executor=Counting("c")), db=db, thread="t")
    assert sorted(done) == ["a", "b", "d"]
    going_on = scripted(SAID)
    result = resume("t", target=team, model=going_on, db=db)
    assert (result.status, sorted(steps_asked(going_on))) == ("completed", ["c", "lead"])


# --- gates -----------------------------------------------------------------------------------------------------------

GOOD, BAD = Verdict(passed=True, score=0.9), Verdict(passed=False, score=0.2, feedback="again")


def reviewed(what: Any, by: str, **options: Any) -> Step:
    return Step(what, gate=gate(review(by=agent(by, "Judge.")), **options))


def test_rework_in_one_branch_does_not_hold_up_another() -> None:
    """`b` is reworked and judged again while `a` is still at its first version."""
    settled = asyncio.Event()
    told: list[Any] = []

    def tell(event: Any) -> None:
        told.append(event)
        if event.kind == "verdict" and event.path == "b" and event.passed:
            settled.set()

    team = parallel(says("a", settled), reviewed(B, "judge", rework=2), merge=LEAD)
    result = go(team, scripted({**SAID, "b": ["one", "two"], "judge": [BAD, GOOD]}), listeners=[tell])
    assert (result.status, result["b"].content, result["b"].rounds, result["b"].score) == ("completed", "two", 2, 0.9)
    order = [(one.kind, one.path) for one in told if one.kind in ("step_finished", "verdict")]
    assert order.index(("step_finished", "a")) > max(n for n, one in enumerate(order) if one == ("verdict", "b"))


def test_verdicts_scores_and_rounds_of_gated_branches_are_in_the_state() -> None:
    team = parallel(reviewed(A, "one"), reviewed(B, "two"), merge=LEAD).compile()
    lines = {"a": ["a1", "a2"], "b": "b1", "lead": "merged", "one": [BAD, GOOD], "two": GOOD}
    state = team.invoke({"task": "x"}, context=TeamContext(models=scripted(lines)))
    assert {key: one.decision for key, one in state["verdicts"].items()} == {
        "a#1": "rework", "a#2": "pass", "b#1": "pass",
    }  # fmt: skip
    assert [(state["deliverables"][name].rounds, state["deliverables"][name].score) for name in "ab"] == [
        (2, 0.9), (1, 0.9),
    ]  # fmt: skip


def test_branches_that_ask_at_once_ask_two_questions_answered_by_id_one_at_a_time(db: Path) -> None:
    never = gate(contains("why"), rework=0, then="ask")
    team = parallel(Step(A, gate=never), Step(B, gate=never), C, merge=LEAD)
    asked = run(team, "x", model=scripted({name: SAID[name] for name in "abc"}), db=db, thread="t")
    assert asked.status == "waiting" and {one.step for one in asked.waiting} == {"a", "b"}
    assert {one.step: one.content for one in asked.waiting} == {name: SAID[name] for name in "ab"}, "what it is about"
    by_step = {one.step: one.id for one in asked.waiting}
    half = resume("t", {by_step["b"]: "approve"}, target=team, model=scripted({"*": "never"}), db=db)
    assert half.status == "waiting" and [one.step for one in half.waiting] == ["a"]
    going_on = scripted({"lead": "merged"})
    whole = resume("t", {half.waiting[0].id: "reject"}, target=team, model=going_on, db=db)
    assert statuses(whole) == {"a": "failed", "b": "accepted", "c": "accepted", "lead": "accepted"}
    assert whole.status == "partial" and whole.reason is not None and whole.reason.kind == "person"


def test_two_questions_can_be_answered_together_and_a_text_sends_the_author_back(db: Path) -> None:
    never = gate(contains("why"), rework=0, then="ask")
    team = parallel(Step(A, gate=never), Step(B, gate=never), merge=LEAD)
    asked = run(team, "x", model=scripted(SAID), db=db, thread="t")
    by_step = {one.step: one.id for one in asked.waiting}
    going_on = scripted({"a": "because, why", "lead": "merged"})
    done = resume("t", {by_step["a"]: "say it", by_step["b"]: True}, target=team, model=going_on, db=db)
    assert (done.status, done["a"].content, done["a"].rounds) == ("completed", "because, why", 2)
    assert steps_asked(going_on) == ["a", "lead"]


@pytest.mark.parametrize("order", ["asks before it loses", "loses before it asks"])
def test_a_branch_that_loses_asks_no_person(order: str) -> None:
    asked = asyncio.Event()
    stuck = Stuck()

    def tell(event: Any) -> None:
        if event.kind == "verdict":
            asyncio.get_running_loop().call_later(0.05, asked.set)

    never = gate(contains("why"), rework=0, then="ask")
    if order == "asks before it loses":
        team = parallel(Step(A, gate=never), says("quick", asked), join=first(1), merge=LEAD)
    else:
        team = parallel(Step(stuck, gate=never), says("quick"), join=first(1), merge=LEAD)
    result = go(team, scripted(SAID), listeners=[tell])
    assert (result.status, result.waiting, result["lead"].sources) == ("completed", (), ("quick",))
    assert Counter(statuses(result).values()) == {"accepted": 2, "skipped": 1}


def test_a_person_is_asked_where_the_join_needs_the_branch(db: Path) -> None:
    never = gate(contains("why"), rework=0, then="ask")
    team = parallel(Step(A, gate=never), Step(B, gate=never), C, join=first(2), merge=LEAD)
    asked = run(team, "x", model=scripted(SAID), db=db, thread="t")
    assert asked.status == "waiting" and {one.step for one in asked.waiting} == {"a", "b"}
    answer = {one.id: True for one in asked.waiting if one.step == "b"}
    done = resume("t", answer, target=team, model=scripted({"lead": "merged"}), db=db)
    assert (done.status, statuses(done)["a"], done["lead"].sources) == ("completed", "skipped", ("b", "c"))


def test_a_question_that_is_open_when_time_is_up_is_not_asked() -> None:
    never = gate(contains("why"), rework=0, then="ask")
    result = go(parallel(Step(A, gate=never), Stuck(), B, join=within(0.5), merge=LEAD), scripted(SAID))
    assert (result.status, result.missing, result["lead"].sources) == ("partial", ("a", "stuck"), ("b",))


def test_a_caller_that_lets_one_branch_run_at_a_time_is_asked_without_a_deadlock() -> None:
    never = gate(contains("why"), rework=0, then="ask")
    team = parallel(Step(A, gate=never), B, C, join=first(2), merge=LEAD).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}, "max_concurrency": 1}
    state = asyncio.run(
        asyncio.wait_for(team.ainvoke({"task": "x"}, config, context=TeamContext(models=scripted(SAID))), 30)
    )
    assert [one.value["step"] for one in state["__interrupt__"]] == ["a"]


def test_a_losing_branch_is_not_reviewed_or_reworked_any_more() -> None:
    held = asyncio.Event()

    def tell(event: Any) -> None:
        if event.kind == "step_started" and event.path == "a" and event.round == 2:
            held.set()

    model = paced({**SAID, "a": ["one", "two"], "judge": [BAD, GOOD]}, {"two": 60.0})
    team = parallel(reviewed(A, "judge"), says("quick", held), join=first(1), merge=LEAD)
    result = go(team, model, listeners=[tell])
    assert (result.status, statuses(result)["a"], result["lead"].sources) == ("completed", "skipped", ("quick",))
    assert [role for _, role, _ in model.asked].count("judge") == 1


# --- going back ------------------------------------------------------------------------------------------------------


def test_a_branch_rolled_back_by_hand_is_redone_alone_and_merged_again(db: Path) -> None:
    team = parallel(A, B, C, merge=[LEAD, agent("qa", "Check.")])
    run(team, "x", model=scripted({**SAID, "qa": "checked"}), db=db, thread="t")
    again = scripted({"b": "b again", "lead": "merged again", "qa": "checked again"})
    result = rollback("t", "b", target=team, model=again, db=db)
    assert steps_asked(again) == ["b", "lead", "qa"]
    assert (result.status, result.answer, result["b"].content) == ("completed", "checked again", "b again")
    assert (result["a"].rounds, result["b"].rounds, result["lead"].rounds) == (1, 2, 2)


@pytest.mark.parametrize(("to", "asked"), [("lead", ["lead", "qa"]), ("qa", ["qa"])])
def test_a_merge_rolled_back_by_hand_is_redone_without_the_branches(to: str, asked: list[str], db: Path) -> None:
    team = parallel(A, B, merge=[LEAD, agent("qa", "Check.")])
    run(team, "x", model=scripted({**SAID, "qa": "checked"}), db=db, thread="t")
    again = scripted({"lead": "again", "qa": "once more"})
    result = rollback("t", to, target=team, model=again, db=db)
    assert (result.status, result.answer, steps_asked(again)) == ("completed", "once more", asked)


def test_a_failed_branch_can_be_rolled_back_and_makes_the_run_complete(db: Path) -> None:
    team = parallel(A, B, merge=LEAD)
    assert run(team, "x", model=scripted({**SAID, "b": [ValueError("no")]}), db=db, thread="t").status == "partial"
    again = scripted(SAID)
    result = rollback("t", "b", target=team, model=again, db=db)
    assert (result.status, steps_asked(again), result["lead"].sources) == ("completed", ["b", "lead"], ("a", "b"))


def test_a_rollback_after_a_race_redoes_one_branch_and_wakes_no_loser(db: Path) -> None:
    team = parallel(Stuck(), A, B, join=first(2), merge=LEAD)
    run(team, "x", model=scripted(SAID), db=db, thread="t")
    again = scripted(SAID)
    result = rollback("t", "a", target=team, model=again, db=db)
    assert (result.status, steps_asked(again)) == ("completed", ["a", "lead"])
    assert statuses(result)["stuck"] == "skipped"


def test_what_qa_blames_goes_back_alone_and_no_more_often_than_the_gate_may() -> None:
    qa = agent("qa", "Validate.")
    blame = Verdict(passed=False, blame="b", feedback="b is wrong")
    team = parallel(A, B, C, merge=[LEAD, Step(qa, gate=gate(conclusion(), rework=2))])
    lines = {**SAID, "b": ["b1", "b2", "b3"], "lead": ["m1", "m2", "m3"]}
    for verdicts, status, rounds in (([blame, GOOD], "completed", 2), ([blame] * 3, "partial", 3)):
        said = [line for number, one in enumerate(verdicts, 1) for line in (f"report {number}", one)]
        model = scripted({**lines, "qa": said})
        result = go(team, model)
        assert (result.status, result["b"].rounds, result["qa"].rounds) == (status, rounds, rounds)
        asked = Counter(steps_asked(model))
        assert (asked["a"], asked["b"], asked["c"], asked["lead"]) == (1, rounds, 1, rounds)
        assert result["a"].rounds == result["c"].rounds == 1
    second = next(n for n, (step, _, _) in enumerate(model.asked) if step == "b" and n > 3)
    assert "b is wrong" in text_asked(model, second)


def test_a_gated_branch_that_is_blamed_works_and_is_judged_again() -> None:
    qa = Step(agent("qa", "Validate."), gate=gate(conclusion()))
    team = parallel(reviewed(A, "judge"), B, merge=[LEAD, qa])
    blame = Verdict(passed=False, blame="a", feedback="a is wrong")
    lines = {
        "a": ["a1", "a2", "a3"], "b": "b1", "lead": ["m1", "m2"], "judge": [BAD, GOOD, GOOD],
        "qa": ["r1", blame, "r2", GOOD],
    }  # fmt: skip
    model = scripted(lines)
    result = go(team, model)
    assert (result.status, result["a"].content, result["a"].rounds, result["b"].rounds) == ("completed", "a3", 3, 1)
    third = [n for n, (step, role, _) in enumerate(model.asked) if (step, role) == ("a", "a")][2]
    assert "a is wrong" in text_asked(model, third) and "a2" in text_asked(model, third)


def test_a_gated_branch_can_be_rolled_back_by_hand(db: Path) -> None:
    team = parallel(reviewed(A, "judge"), B, merge=LEAD)
    run(team, "x", model=scripted({**SAID, "judge": GOOD}), db=db, thread="t")
    again = scripted({"a": ["bad", "good"], "judge": [BAD, GOOD], "lead": "again"})
    result = rollback("t", "a", target=team, model=again, db=db)
    assert (result.status, result["a"].content, result["a"].rounds) == ("completed", "good", 3)
    assert steps_asked(again) == ["a", "a", "a", "a", "lead"]


def test_a_plain_branch_beside_items_is_blamed_alone_and_an_item_cannot_be() -> None:
    calls: list[str] = []

    def note(brief: Brief) -> str:
        calls.append(brief.step)
        return brief.item

    def team() -> Any:
        qa = Step(agent("qa", "Validate."), gate=gate(conclusion()))
        return parallel(each(Step(note, name="worker"), ["x", "y"]), A, merge=[LEAD, qa])

    def lines(blame: str) -> dict[str, Any]:
        verdict = Verdict(passed=False, blame=blame, feedback="wrong")
        return {"a": ["a1", "a2"], "lead": ["m1", "m2"], "qa": ["r1", verdict, "r2", GOOD]}

    result = go(team(), scripted(lines("a")))
    assert (result.status, result["a"].content, sorted(calls)) == ("completed", "a2", ["worker.1", "worker.2"])
    assert set(result["lead"].sources) == {"worker.1", "worker.2", "a"}
    result = go(team(), scripted(lines("worker.1")))
    assert (result.status, result["qa"].status, result["qa"].rounds) == ("partial", "partial", 1)


def test_a_nested_race_is_run_anew_when_its_team_is_sent_back() -> None:
    stuck = Stuck()
    inner = parallel(stuck, A, join=first(1), merge=LEAD, name="inner")
    team = sequential(Step(inner, gate=gate(contains("second"))))
    result = go(team, scripted({"a": ["a1", "a2"], "lead": ["first", "second"]}))
    assert (result.status, result["inner"].rounds, result.answer) == ("completed", 2, "second")
    assert stuck.calls == stuck.cancelled == 2


# --- one branch per item ---------------------------------------------------------------------------------------------


def upper(brief: Brief) -> str:
    return brief.item.upper()


def worker(**options: Any) -> Step:
    return Step(upper, name="worker", **options)


def test_each_item_of_a_list_has_a_branch_of_its_own() -> None:
    result = go(parallel(each(worker(), ["x", "y", "z"]), merge=lambda brief: ",".join(brief.needs)))
    assert result.status == "completed"
    assert [(name, result[name].content) for name in ("worker.1", "worker.2", "worker.3")] == [
        ("worker.1", "X"), ("worker.2", "Y"), ("worker.3", "Z"),
    ]  # fmt: skip
    assert list(result.deliverables)[:3] == ["worker.1", "worker.2", "worker.3"]
    assert result.answer == "worker.1,worker.2,worker.3"


@pytest.mark.parametrize("kind", ["sync", "async", "agent"])
def test_the_items_may_be_decided_at_run_time(kind: str) -> None:
    def words(brief: Brief) -> list[str]:
        return brief.task.split()

    async def later(brief: Brief) -> list[str]:
        return words(brief)

    planner = agent("planner", "Plan.")
    items: Any = {"sync": words, "async": later, "agent": planner}[kind]
    model = scripted({"planner": {"items": ["the", "task"]}, "*": "never"})
    result = go(parallel(each(worker(), items)), model)
    assert result.status == "completed"
    assert [result["worker.1"].content, result["worker.2"].content] == ["THE", "TASK"]
    if kind == "agent":
        assert "at most 1000" in text_asked(model, 0) and result.usage.calls == 1


def test_an_item_that_is_no_text_reaches_its_branch_as_json() -> None:
    seen: list[Any] = []

    def read(brief: Brief) -> str:
        seen.append(json.loads(brief.item))
        return "read"

    items = [{"id": 1, "tags": ["a", "ü"]}, [1, 2], 3.5, None, True]
    result = go(parallel(each(Step(read, name="worker"), items)))
    assert result.status == "completed" and sorted(map(str, seen)) == sorted(map(str, items))


def test_what_no_database_stores_is_taken_out_of_items(db: Path) -> None:
    items = ["nul \0 here", "half \ud83d a pair", {"a": "\ud83d"}]
    result = run(parallel(each(worker(), lambda brief: items)), "x", db=db)
    assert result.status == "completed" and len(result.deliverables) == 4


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (lambda brief: [], "empty"),
        (lambda brief: "a text", "no list"),
        (lambda brief: {"parts": [1]}, "no list"),
        (lambda brief: 7, "returned int"),
        (lambda brief: [object()], "not JSON"),
        (lambda brief: 1 / 0, "ZeroDivisionError"),
        (agent("planner", "Plan."), "could not be found"),
    ],
)
def test_items_that_cannot_be_had_fail_the_fan_out_and_not_its_siblings(items: Any, says: str) -> None:
    alone = go(parallel(each(worker(), items), merge=LEAD), scripted({"planner": "no list", **SAID}))
    assert (alone.status, alone["worker"].status) == ("failed", "failed")
    assert alone.reason is not None and says in alone.reason.message
    beside = go(parallel(each(worker(), items), A, merge=LEAD), scripted({"planner": "no list", **SAID}))
    assert (beside.status, beside.answer, beside.missing) == ("partial", "merged", ("worker",))


def test_items_beyond_the_bound_are_left_out_and_the_run_says_so() -> None:
    result = go(parallel(each(worker(), lambda brief: range_of(10**5), most=3)))
    assert result.status == "partial" and result.missing == ("worker",)
    assert result.reason is not None and result.reason.kind == "limit"
    assert "100,000 items; the first 3" in result.reason.message
    assert [name for name in result.deliverables if name.startswith("worker.")] == ["worker.1", "worker.2", "worker.3"]


def range_of(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("count", [1, 1000])
def test_one_item_or_a_thousand(count: int) -> None:
    told: list[Any] = []
    result = go(parallel(each(worker(), lambda brief: range_of(count))), listeners=[told.append])
    assert (result.status, len(result.deliverables)) == ("completed", count + 1)
    assert list(result.deliverables)[:-1] == [f"worker.{number}" for number in range(1, count + 1)]
    progress = [(one.done, one.total) for one in told if one.kind == "progress"]
    assert progress == [(number, count + 1) for number in range(1, count + 2)]


def test_its_graph_shows_where_items_come_from() -> None:
    graph = parallel(each(worker(), ["x"]), A, merge=LEAD).compile().get_graph()
    assert set(graph.nodes) == {
        "__start__", "worker.items", "fork", "worker", "a", "join", "resolve", "lead", "finish", "__end__",
    }  # fmt: skip
    edges = {(one.source, one.target) for one in graph.edges}
    assert edges >= {
        ("__start__", "worker.items"), ("worker.items", "fork"), ("fork", "worker"), ("fork", "a"),
        ("worker", "join"), ("a", "join"),
    }  # fmt: skip
    assert ("__start__", "a") not in edges


@pytest.mark.parametrize("name", ["none", "agreed", "contradicting", "too few", "accepted", "failed", "pass"])
def test_a_branch_beside_items_may_have_any_name(name: str) -> None:
    result = go(parallel(each(worker(), ["x"]), Step(upper, name=name), Step(A, gate=gate(contains("a")))))
    assert result.status == "completed" and result[name].usable


def test_an_agent_sees_its_own_item_and_no_other() -> None:
    model = scripted({"a": ["one", "two"], "*": "never"})
    go(parallel(each(Step(A, "Do your item."), ["first item", "second item"]), merge=lambda brief: "done"), model)
    assert sorted("first item" in text_asked(model, n) for n in (0, 1)) == [False, True]
    assert sorted("second item" in text_asked(model, n) for n in (0, 1)) == [False, True]


def test_items_are_judged_and_reworked_one_by_one() -> None:
    def draft(brief: Brief) -> str:
        return f"{brief.item} v{brief.round}"

    def ready(work: Deliverable) -> str:
        return "not yet" if work.content == "y v1" else ""

    step = Step(draft, name="worker", gate=gate(ready, rework=1))
    result = go(parallel(each(step, ["x", "y"]), merge=lambda brief: "done"))
    assert result.status == "completed"
    assert [(result[name].content, result[name].rounds) for name in ("worker.1", "worker.2")] == [
        ("x v1", 1), ("y v2", 2),
    ]  # fmt: skip


def test_a_gate_may_ask_about_several_items(db: Path) -> None:
    step = Step(upper, name="worker", gate=gate(contains("why"), rework=0, then="ask"))
    team = parallel(each(step, ["x", "y"]), merge=lambda brief: "done")
    asked = run(team, "t", db=db, thread="t")
    assert {one.step for one in asked.waiting} == {"worker.1", "worker.2"}
    done = resume("t", {one.id: True for one in asked.waiting}, target=team, db=db)
    assert done.status == "completed" and done.answer == "done"


def test_an_item_that_fails_leaves_the_others() -> None:
    def fail(brief: Brief) -> str:
        if brief.item == "y":
            raise ValueError("cannot do y")
        return brief.item

    result = go(parallel(each(Step(fail, name="worker"), ["x", "y", "z"]), merge=lambda brief: ",".join(brief.needs)))
    assert (result.status, result.answer, result.missing) == ("partial", "worker.1,worker.3", ("worker.2",))
    assert result.reason is not None and result.reason.step == "worker.2" and "cannot do y" in result.reason.message


def test_items_and_plain_branches_begin_together_and_are_merged_once() -> None:
    met = asyncio.Barrier(3)
    calls: list[str] = []

    async def meet(brief: Brief) -> str:
        calls.append(brief.step)
        await asyncio.wait_for(met.wait(), 20)
        return brief.item or brief.step

    def lead(brief: Brief) -> str:
        calls.append("lead")
        return ",".join(brief.needs)

    told: list[Any] = []
    team = parallel(each(Step(meet, name="worker"), ["x", "y"]), Step(meet, name="plain"), merge=lead)
    result = go(team, listeners=[told.append])
    assert (result.status, Counter(calls)["lead"]) == ("completed", 1)
    assert set(result["lead"].sources) == {"worker.1", "worker.2", "plain"}
    assert [(one.done, one.total) for one in told if one.kind == "progress"] == [(n, 4) for n in range(1, 5)]
    started = {one.path: (one.index, one.total) for one in told if one.kind == "step_started"}
    assert started == {"worker.1": (1, 4), "worker.2": (2, 4), "plain": (3, 4), "lead": (4, 4)}


def test_several_lists_are_shared_out_at_once_and_an_empty_one_holds_nobody_up() -> None:
    team = parallel(
        each(worker(), lambda brief: []),
        each(Step(upper, name="other"), ["x", "y"]),
        Step(A, gate=gate(non_empty())),
        merge=lambda brief: ",".join(sorted(brief.needs)),
    )
    told: list[Any] = []
    result = go(team, scripted(SAID), listeners=[told.append])
    assert (result.status, result.answer, result.missing) == ("partial", "a,other.1,other.2", ("worker",))
    assert [one.path for one in told if one.kind == "step_started"].count("<lambda>") == 1
    assert [(one.done, one.total) for one in told if one.kind == "progress"][-1] == (4, 4)


@pytest.mark.parametrize("join", [first(2), quorum(2), within(0.5)])
def test_joins_count_items_like_any_branch(join: Join) -> None:
    stuck = Stuck()

    async def work(brief: Brief) -> str:
        return await stuck(brief) if brief.item == "stuck" else brief.item

    items = ["stuck", "x", "y", "stuck"]
    result = go(parallel(each(Step(work, name="worker"), items), merge=lambda brief: ",".join(brief.needs), join=join))
    assert result.answer == "worker.2,worker.3" and stuck.cancelled == 2
    assert result.status == ("completed" if join.counts else "partial")
    beside = go(parallel(Stuck(), each(Step(upper, name="worker"), ["x", "y"]), join=join, merge=lambda brief: "done"))
    assert statuses(beside)["stuck"] == "skipped" and beside.answer == "done"


def test_a_team_may_work_on_each_item() -> None:
    told: list[Any] = []
    inner = sequential(Step(lambda brief: brief.task[-1], name="one"), Step(upper, name="two"), name="team")
    result = go(parallel(each(Step(inner, name="worker"), ["x", "y"])), listeners=[told.append])
    assert result.status == "completed" and set(result["worker.2"].parts) == {"one", "two"}
    assert {one.path for one in told if one.kind == "step_started"} >= {"worker.1/one", "worker.2/one", "worker.2/two"}
    inside = [(one.path, one.done) for one in told if one.kind == "progress" and one.path]
    assert sorted(inside) == [("worker.1", 1), ("worker.1", 2), ("worker.2", 1), ("worker.2", 2)]


def test_after_a_crash_only_the_items_that_were_not_done_are_asked(db: Path) -> None:
    finished = asyncio.Event()

    class Dies(Executor):
        done = 0

        async def _attempt(self, call: Call) -> BaseModel:
            if call.brief.item == "3":
                await finished.wait()
                raise Crash
            made = await super()._attempt(call)
            self.done += 1
            if self.done == 5:
                asyncio.get_running_loop().call_later(0.2, finished.set)
            return made

    def model() -> ScriptedChatModel:
        return scripted({f"a.{n}": f"item {n}" for n in range(1, 6)} | {"planner": {"items": list("12345")}})

    team = parallel(each(A, agent("planner", "Plan.")), merge=lambda brief: "done")
    with pytest.raises(Crash):
        run(team, "x", context=TeamContext(models=model(), executor=Dies()), db=db, thread="t")
    going_on = model()
    result = resume("t", target=team, model=going_on, db=db)
    assert (result.status, steps_asked(going_on)) == ("completed", ["a.3"])
    assert [result[f"a.{n}"].content for n in range(1, 6)] == [f"item {n}" for n in range(1, 6)]


def test_a_plain_branch_beside_items_can_be_rolled_back_alone(db: Path) -> None:
    calls: list[str] = []

    def note(brief: Brief) -> str:
        calls.append(brief.step)
        return brief.item

    team = parallel(each(Step(note, name="worker"), ["x", "y"]), A, merge=LEAD)
    run(team, "x", model=scripted(SAID), db=db, thread="t")
    again = scripted(SAID)
    result = rollback("t", "a", target=team, model=again, db=db)
    assert (result.status, steps_asked(again), sorted(calls)) == ("completed", ["a", "lead"], ["worker.1", "worker.2"])


# --- what cannot work is refused when it is built --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: parallel(A, A), "Two steps are named 'a'"),
        (lambda: parallel(A, B, merge=A), "Two steps are named 'a'"),
        (lambda: parallel(A, each(A, ["x"])), "Two steps are named 'a'"),
        (lambda: parallel(A, Step(B, name="merge")), "Two steps are named 'merge'"),
        (lambda: parallel(Step(A, name="join")), "cannot be named 'join'"),
        (lambda: parallel(Step(A, name="fork")), "cannot be named 'fork'"),
        (lambda: parallel(A, merge=Step(B, name="resolve")), "cannot be named 'resolve'"),
        (lambda: parallel(Step(A, name="finish")), "'finish'"),
        (lambda: parallel(A, B, join=quorum(3)), "needs more branches than there are: 2"),
        (lambda: parallel(A, B, join=first(3)), "needs more branches than there are: 2"),
        (lambda: first(0), "whole number of branches"),
        (lambda: first(-1), "whole number of branches"),
        (lambda: quorum(True), "whole number of branches"),
        (lambda: quorum(1.5), "whole number of branches"),  # type: ignore[arg-type]
        (lambda: within(0), "positive number"),
        (lambda: within(-2), "positive number"),
        (lambda: within(True), "positive number"),
        (lambda: within(float("nan")), "positive number"),
        (lambda: within(float("inf")), "positive number"),
        (lambda: within("5"), "positive number"),  # type: ignore[arg-type]
        (lambda: parallel(A, join="first(0)"), "whole number of branches"),
        (lambda: parallel(A, join="quorum(1.5)"), "whole number of branches"),
        (lambda: parallel(A, join="within(1.2.3)"), "not a number"),
        (lambda: parallel(A, Step(B, needs="a")), "branches start together"),
        (lambda: parallel(A, merge=[]), "merges nothing"),
        (lambda: parallel(A, merge=merge(by=[])), "merges nothing"),
        (lambda: merge(by=A, conflicts="judge", judge=upper), "cannot decide"),
        (lambda: parallel(each(A, ["x"]), Step(B, name="a.1")), "the name of an item of 'a'"),
        (lambda: parallel(each(A, ["x"]), merge=Step(B, name="a.7")), "the name of an item of 'a'"),
        (lambda: each(A, []), "give 1 to 1,000"),
        (lambda: each(A, ["x"] * 1001), "1,001 items; give 1 to 1,000"),
        (lambda: each(A, ["x"] * 3, most=2), "3 items; give 1 to 2"),
        (lambda: each(A, ["x"], most=0), "1 to 1,000"),
        (lambda: each(A, ["x"], most=1001), "1 to 1,000"),
        (lambda: each(A, ["x"], most=True), "1 to 1,000"),
        (lambda: each(A, sequential(B)), "a list, a function of the Brief, or an agent that decides"),
        (lambda: parallel(Step(upper, gate=gate(conclusion()))), "cannot decide"),
        (lambda: parallel(A, gate="high"), "must be made with gate"),  # type: ignore[arg-type]
        (lambda: parallel([A, B]), "A list of 2"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(BuildError, match=says.replace("(", r"\(").replace(".", r"\.")):
        make()


@pytest.mark.parametrize(
    ("make", "suggests"),
    [
        (lambda: parallel(A, join="best-effort"), "Did you mean 'best_effort'"),
        (lambda: parallel(A, join="quorom(2)"), "Did you mean 'quorum(k)'"),
        (lambda: parallel(A, join=None), "all, best_effort, first(k), quorum(k), within(seconds)"),  # type: ignore[arg-type]
        (lambda: merge(by=A, conflicts="votes"), "Did you mean 'vote'"),  # type: ignore[arg-type]
        (lambda: parallel("frontend-enginer"), "Did you mean 'frontend-engineer'"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(make: Callable[[], Any], suggests: str) -> None:
    with pytest.raises(UnknownName) as error:
        make()
    assert suggests in str(error.value)


# --- the cap ---------------------------------------------------------------------------------------------------------


class Watched(ScriptedChatModel):
    """Counts how many requests are under way at once."""

    now: int = 0
    most: int = 0

    def _delay(self, reply: AIMessage) -> float:
        return 0.01

    async def _agenerate(self, *args: Any, **options: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super()._agenerate(*args, **options)
        finally:
            self.now -= 1


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_the_cap_holds_over_nested_teams_and_fan_outs(mode: str) -> None:
    lines = {"*": ["said"] * 40}
    nested = parallel(agent("n1", "Work."), agent("n2", "Work."), merge=LEAD, name="nested")
    team = parallel(
        each(A, range_of(8)), Step(nested), B, Step(C, gate=gate(review(by=agent("judge", "Judge."), at_least=None)))
    ).compile()
    model = Watched(lines={**scripted(lines).lines, "judge": scripted([GOOD]).lines["*"]})
    context = TeamContext(models=model, executor=Executor(cap=2))
    if mode == "sync":
        state = await asyncio.to_thread(team.invoke, {"task": "x"}, context=context)
    else:
        state = await team.ainvoke({"task": "x"}, context=context)
    assert state["status"] == "completed" and model.most == 2


# --- turns, states, streams ------------------------------------------------------------------------------------------


def test_each_turn_of_a_thread_starts_fresh(db: Path) -> None:
    def letters(brief: Brief) -> list[str]:
        return list(brief.task)

    def lead(brief: Brief) -> str:
        return brief.deliverables[brief.needs[0]].content

    team = parallel(each(worker(), letters), join="first(1)", merge=lead)
    for turn, task in enumerate(("x", "y", "z"), 1):
        result = run(team, task, db=db, thread="t")
        assert (result.status, result.turn, result.answer) == ("completed", turn, task.upper())
        assert set(result.deliverables) == {"worker.1", "lead"} and result["worker.1"].rounds == 1


def test_a_state_of_ones_own_keeps_its_fields() -> None:
    class Mine(TeamState, total=False):
        seen: Annotated[list[str], lambda old, new: [*(old or []), *new]]

    graph = parallel(A, each(worker(), ["x"]), merge=LEAD, state_schema=Mine)

    def mine(state: Any) -> dict[str, Any]:
        return {"seen": [state["answer"], *sorted(state["deliverables"])]}

    graph.add_node("mine", mine)
    graph.add_edge("finish", "mine")
    team = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    state = team.invoke({"task": "x"}, config, context=TeamContext(models=scripted(SAID)))
    assert state["seen"] == ["merged", "a", "lead", "worker.1"]


async def test_a_stream_shows_every_branch() -> None:
    team = parallel(A, B, each(Step(C), ["x", "y"]), merge=LEAD).compile(checkpointer=InMemorySaver())
    model = scripted({**SAID, "c.1": "c one", "c.2": "c two"})
    events = [one async for one in astream(team, "x", thread="t", context=TeamContext(models=model))]
    for kind in ("step_started", "step_finished"):
        assert {one.path for one in events if one.kind == kind} == {"a", "b", "c.1", "c.2", "lead"}
    assert (events[-1].kind, getattr(events[-1], "answer", "")) == ("run_finished", "merged")


def test_it_makes_as_many_calls_as_the_documentation_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "parallel.md").read_text("utf-8")
    table = page.partition("## Calls per run")[2].partition("##")[0]
    rows = {
        cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in table.splitlines()) if cells[2:]
    }
    model = SimulatedChatModel()

    def calls(team: Any) -> str:
        result = go(team, model)
        assert result.status == "completed"
        return str(result.usage.calls)

    plain = int(calls(parallel(A, B, merge=lambda brief: "x")))
    assert (plain, rows["branch of an agent"]) == (2, "1 for each round")
    assert calls(parallel(A, B, merge=LEAD)) == str(plain + 1) and rows["merging agent"] == "1 for each round"
    assert calls(parallel(A, B)) == str(plain) and rows["merge by a function, or none"] == "0"
    judged = parallel(A, B, merge=lambda brief: "x", gate=gate(review(by="qa-engineer")))
    assert int(calls(judged)) - plain == 3 and rows["review, `conclusion()`"] == "1"
    noted = parallel(A, B, merge=merge(by=lambda brief: "x", conflicts="priority"))
    assert int(calls(noted)) - plain == 2 + 1 + 0
    assert rows["notes, with a policy for conflicts"] == "1 for each branch"
    assert rows["comparison, with a policy for conflicts"] == "1"
    port = {"data": {"k": 1}}, {"data": {"k": 2}}

    def differing(brief: Brief) -> Any:
        return port[brief.step == "g"]

    unlike = [Step(differing, name=name) for name in "fg"]
    ruled = {
        policy: int(calls(parallel(*unlike, A, merge=merge(by=lambda brief: "x", conflicts=policy))))
        for policy in ("priority", "confidence", "judge", "vote")
    }
    assert ruled == {"priority": 3, "confidence": 3, "judge": 3 + 1, "vote": 3 + 1}
    assert (rows["rulings by priority, confidence or a person"], rows["rulings by a judge"]) == ("0", "1")
    assert rows["rulings by vote"] == "1 for each author"
    shared = parallel(each(A, agent("planner", "Plan.")), merge=lambda brief: "x")
    assert int(calls(shared)) == 1 + 1 and rows["`each` with an agent that decides on the items"] == "1, and 1 per item"


# --- from the command line -------------------------------------------------------------------------------------------

TEAMS = """
from troupe import Step, each, first, gate, merge, parallel


def one(brief):
    return "```text path=config.txt\\nport=1\\n```"


def two(brief):
    return "```text path=config.txt\\nport=2\\n```"


def three(brief):
    raise ValueError("no luck")


def lead(brief):
    return f"merged {', '.join(brief.needs)}"


team = parallel(Step(one), Step(two), Step(three), merge=lead, name="team")
"""


def test_the_reason_is_that_of_the_first_item_whatever_arrived_first() -> None:
    def fail(brief: Brief) -> str:
        raise ValueError(f"no {brief.item}")

    graph = parallel(each(Step(fail, name="worker"), items=[str(number) for number in range(1, 31)]))
    # What is read back from a database comes in the order of LangGraph's task ids.
    saver = SqliteSaver(sqlite3.connect(":memory:", check_same_thread=False))
    app = graph.compile(saver, interrupt_before=["finish"])
    config: Any = {"configurable": {"thread_id": "t"}}
    app.invoke({"task": "x"}, config)
    state = app.invoke(None, config)
    assert (state["status"], state["reason"].step) == ("failed", "worker.1")


def test_it_runs_and_is_shown_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "teams.py").write_text(TEAMS)
    shell = Shell(tmp_path)
    classic = shell("run", "parallel", "Add a shop", "--thread", "classic")
    assert classic.code == 0 and classic.out.startswith("[simulated]")
    for name in ("frontend-engineer", "security-engineer", "integration-architect", "qa-engineer"):
        assert f"{name}: started" in classic.err
    done = shell("run", "teams.py:team", "x", "--thread", "t")
    assert done.code != 0, "a branch is missing"
    assert "merged one, two" in done.out and "no luck" in done.err
    assert "Conflict about config.txt" in done.err
    kept = shell("runs", "t")
    for word in ("one", "two", "three", "no luck", "config.txt", "priority"):
        assert word in kept.out, word
    for step, sent in (("python-engineer", "Build the backend API."), ("join", "Colleagues worked on the same task")):
        shown = shell("show", "classic", step)
        assert shown.code == 0 and sent in shown.out
    found = shell("run", "teams.py:team", "x", "--json").json
    assert (found["status"], found["missing"]) == ("partial", ["three"])
    (conflict,) = found["record"]["conflicts"].values()
    assert (conflict["about"], conflict["winner"]) == ("config.txt", "one")
