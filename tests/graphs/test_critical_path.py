"""Workflows begin each step as soon as what it needs is there: no barrier, no idle slot, and the same results."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from troupe import Agent, Brief, Deliverable, Executor, TeamContext, Workflow, run
from troupe.agents.virtual import play
from troupe.graphs.flowing.order import ranks
from troupe.graphs.flowing.schedule import bound, scheduled

Needs = Mapping[str, tuple[str, ...]]
CLOSE = 0.05
"""Virtual seconds in which something happens at once: slots wait a moment for who is more urgent."""


class Timed(Agent):
    """Works for so long, notes when, and says what it was given."""

    def __init__(self, name: str, seconds: float, spans: dict[str, tuple[float, float]]) -> None:
        self.name = name
        self.seconds = seconds
        self.spans = spans

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.sleep(self.seconds)
        self.spans[brief.step] = (began, clock())
        given = [(name, done.content) for name, done in brief.deliverables.items()]
        return Deliverable(step=brief.step, content=f"{self.name} from {given}, in full {brief.needs}")


def workflow(needs: Needs) -> Workflow:
    return Workflow.model_validate(
        {"name": "drawn", "phases": [{"agent": name, "needs": wanted} for name, wanted in needs.items()]}
    )


def worked(
    needs: Needs, seconds: Mapping[str, float], slots: int, known: Mapping[str, float] | None = None
) -> tuple[dict[str, tuple[float, float]], dict[str, Deliverable]]:
    """When each step worked on a virtual clock, and what all delivered."""
    spans: dict[str, tuple[float, float]] = {}
    agents = {name: Timed(name, took, spans) for name, took in seconds.items()}
    team = workflow(needs).build(agents, known).compile(InMemorySaver())
    context = TeamContext(executor=Executor(slots, timeout=1e9))
    state: Any = play(lambda: team.ainvoke({"task": "x"}, {"configurable": {"thread_id": "t"}}, context=context))
    assert state["status"] == "completed"
    return spans, state["deliverables"]


def end(spans: Mapping[str, tuple[float, float]]) -> float:
    return max(end for _, end in spans.values())


def test_what_needs_only_the_fast_step_does_not_wait_for_the_slow_one() -> None:
    needs: Needs = {"fast": (), "slow": (), "next": ("fast",), "last": ("next", "slow")}
    spans, _ = worked(needs, {"fast": 1, "slow": 6, "next": 5, "last": 1}, slots=4)
    assert spans["next"][0] == pytest.approx(1, abs=CLOSE)
    assert end(spans) == pytest.approx(7, abs=CLOSE), "a barrier after the first two would make it 12"


def test_a_recorded_run_goes_on_past_what_is_slow_too(db: Any) -> None:
    passed = asyncio.Event()

    async def slow(brief: Brief) -> str:
        await asyncio.wait_for(passed.wait(), 20)  # for ever, if whoever comes after the fast one waited for us
        return "slow"

    async def overtaking(brief: Brief) -> str:
        passed.set()
        return "next"

    needs: Needs = {"fast": (), "slow": (), "next": ("fast",), "last": ("next", "slow")}
    agents = {"fast": lambda brief: "fast", "slow": slow, "next": overtaking, "last": lambda brief: "last"}
    result = run(workflow(needs).build(agents), "x", db=db)
    assert (result.status, result.answer) == ("completed", "last")


@pytest.mark.parametrize("known", [True, False])
def test_the_longest_way_goes_first_where_slots_are_few(known: bool) -> None:
    needs: Needs = {"a": (), "b": (), "c": (), "z": (), "z2": ("z",), "z3": ("z2",)}
    seconds = dict.fromkeys(needs, 2.0)
    spans, _ = worked(needs, seconds, 2, seconds if known else None)
    assert spans["z"][0] == pytest.approx(0, abs=CLOSE), "it was listed last"
    assert end(spans) == pytest.approx(6, abs=CLOSE)


@st.composite
def plans(draw: st.DrawFn) -> tuple[Needs, dict[str, float], dict[str, float]]:
    """Steps in any order, each of which needs some of those before it, and two ways how long they take."""
    names = draw(st.permutations([f"s{at}" for at in range(draw(st.integers(1, 9)))]))
    needs = {
        name: tuple(draw(st.lists(st.sampled_from(names[:at]), unique=True, max_size=3))) if at else ()
        for at, name in enumerate(names)
    }
    took = st.integers(1, 9).map(float)
    return needs, {name: draw(took) for name in names}, {name: draw(took) for name in names}


@settings(max_examples=25)
@given(plans(), st.integers(1, 4), st.booleans())
def test_every_step_begins_as_soon_as_it_can_and_what_comes_of_it_does_not_hang_on_who_was_faster(
    plan: tuple[Needs, dict[str, float], dict[str, float]], slots: int, known: bool
) -> None:
    needs, seconds, others = plan
    spans, delivered = worked(needs, seconds, slots, seconds if known else None)
    moments = sorted({moment for span in spans.values() for moment in span})
    for name, (began, _) in spans.items():
        ready = max((spans[one][1] for one in needs[name]), default=0.0)
        assert began >= ready, "it began before all that it needs had ended"
        for left, right in pairwise(moments):
            if ready + CLOSE < left and right - left > 2 * CLOSE and right <= began:
                busy = sum(start <= left and right <= end for start, end in spans.values())
                assert busy == slots, f"{name} was ready and waited while a slot was free"
    assert end(spans) <= (2 - 1 / slots) * bound(needs, seconds, slots) + CLOSE * len(needs), "Graham's bound"
    _, again = worked(needs, others, slots)
    assert {name: one.content for name, one in delivered.items()} == {name: one.content for name, one in again.items()}


@settings(max_examples=60)
@given(plans(), st.integers(1, 4))
def test_a_computed_schedule_keeps_to_needs_and_slots_and_is_no_better_than_can_be(
    plan: tuple[Needs, dict[str, float], dict[str, float]], slots: int
) -> None:
    needs, seconds, _ = plan
    made = scheduled(needs, seconds, slots)
    for name in needs:
        assert made.begins[name] >= max((made.ends[one] for one in needs[name]), default=0.0)
        at_work = [one for one in needs if made.begins[one] <= made.begins[name] < made.ends[one]]
        assert len(at_work) <= slots
    assert bound(needs, seconds, slots) <= made.makespan + 1e-9
    assert scheduled(needs, seconds, len(needs)).makespan == pytest.approx(max(ranks(needs, seconds).values()))
