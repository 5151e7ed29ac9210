"""Every pattern nests in every other: a graph as a step is one deliverable, drawn as a frame, resumed in place."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.teams import Crash, Mortal
from troupe import (
    Executor,
    SimulatedChatModel,
    Step,
    TeamContext,
    TeamGraph,
    adaptive,
    agent,
    arun,
    hierarchical,
    mesh,
    parallel,
    resume,
    run,
    sequential,
)
from troupe.graphs.drawing import Drawing, svg
from troupe.result import flat


def beside() -> Any:
    """A colleague of the nested team."""
    return agent("colleague", "Work.", title="helps")


INNER: dict[str, Callable[[], TeamGraph]] = {
    "adaptive": lambda: adaptive(
        [agent("first", "Begin."), agent("second", "End.")], {"complexity": "moderate"}, name="inner"
    ),
    "sequential": lambda: sequential(agent("first", "Begin."), agent("second", "End."), name="inner"),
    "parallel": lambda: parallel(agent("left", "Do."), agent("right", "Do."), name="inner"),
    "hierarchical": lambda: hierarchical(
        strategic=agent("boss", "Guide."), implementation=agent("builder", "Build."), name="inner"
    ),
    "mesh": lambda: mesh([agent("one", "Help."), agent("two", "Help.")], hub=agent("switch", "Route."), name="inner"),
}
OUTER: dict[str, Callable[[Any], TeamGraph]] = {
    "adaptive": lambda step: adaptive([step, beside()], {"complexity": "moderate"}, name="outer"),
    "sequential": lambda step: sequential(step, beside(), name="outer"),
    "parallel": lambda step: parallel(step, beside(), name="outer"),
    "hierarchical": lambda step: hierarchical(strategic=agent("head", "Guide."), implementation=step, name="outer"),
    "mesh": lambda step: mesh([step, beside()], hub=agent("centre", "Route."), name="outer"),
}
TASK = "let the crew open a shop"  # so that a hub thinks of the crew
pairs = pytest.mark.parametrize(
    ("outer", "inner"),
    [pytest.param(o, i, id=f"{i} in {o}") for o, i in itertools.product(OUTER, INNER)],
)


def nested(outer: str, inner: str) -> TeamGraph:
    """One pattern as a step of another."""
    return OUTER[outer](Step(INNER[inner](), "Do it.", name="crew"))


def inside(result: Any) -> list[str]:
    """The paths of what a nested team delivered."""
    return [path for path in flat(result.deliverables) if "/" in path]


@pairs
def test_a_nested_team_is_one_deliverable_with_its_parts(outer: str, inner: str) -> None:
    result = run(nested(outer, inner), TASK, db=":memory:")
    assert result.status == "completed", result.reason
    assert inside(result), "its own deliverables are its parts"


@pairs
async def test_it_does_so_in_an_async_run_too(outer: str, inner: str) -> None:
    once = run(nested(outer, inner), TASK, model=SimulatedChatModel(seed=5), db=":memory:")
    again = await arun(nested(outer, inner), TASK, model=SimulatedChatModel(seed=5), db=":memory:")
    assert (again.status, again.answer) == (once.status, once.answer)
    assert {name: one.content for name, one in flat(again.deliverables).items()} == {
        name: one.content for name, one in flat(once.deliverables).items()
    }


@pairs
def test_it_is_drawn_with_the_nested_team_as_a_frame(outer: str, inner: str) -> None:
    team = nested(outer, inner).compile()
    drawing = Drawing.of(team.get_graph(xray=True))
    node = "work" if outer == "adaptive" else "crew"  # what works there is chosen when it runs
    assert any(frame.id == node for frame in drawing.frames)
    inside_it = {part for card in drawing.cards if card.id.startswith(f"{node}:") for part in card.id.split(":")}
    assert set(INNER[inner]().nodes) <= inside_it
    assert svg(drawing, title="nested").startswith("<svg")


@pairs
def test_the_cap_holds_inside_and_outside(outer: str, inner: str) -> None:
    capped = Executor(cap=1)
    context = TeamContext(models=SimulatedChatModel(latency=0.001), executor=capped)
    assert run(nested(outer, inner), TASK, context=context, db=":memory:").status == "completed"


@pairs
def test_a_crash_inside_is_resumed_and_nothing_recorded_is_asked_again(outer: str, inner: str, db: Path) -> None:
    team = nested(outer, inner)
    whole = run(team, TASK, model=SimulatedChatModel(seed=7), db=":memory:")
    last = inside(whole)[-1].rpartition("/")[2]
    mortal = TeamContext(models=SimulatedChatModel(seed=7), executor=Mortal(last))
    with pytest.raises(Crash):
        run(team, TASK, context=mortal, db=db, thread="t")
    result = resume("t", target=team, model=SimulatedChatModel(seed=7), db=db)
    assert (result.status, result.answer) == (whole.status, whole.answer)
    assert result.usage.calls == whole.usage.calls, "every call was made once"
