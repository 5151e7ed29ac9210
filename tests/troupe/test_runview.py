"""One model of a run: what listeners see of it, and what is read back of it later, agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.teams import patient, priced
from troupe import (
    Recovery,
    RunView,
    Step,
    TeamContext,
    TeamGraph,
    Verdict,
    agent,
    contains,
    first,
    gate,
    hierarchical,
    merge,
    mesh,
    parallel,
    resume,
    review,
    rollback,
    run,
    scripted,
    sequential,
    view_of,
)
from troupe.agents.errors import UnknownRun
from troupe.agents.events import Event, RunStarted

CLOCKS = {
    "started", "ended", "last", "seconds", "at", "judged", "asked", "answered", "wait", "expires", "intervals",
    "critical", "note", "notices", "history",
}  # fmt: skip
"""What may differ by milliseconds, or is only heard while it happens."""


def known(value: Any) -> Any:
    """What both ways to a view can know: everything but clocks."""
    if isinstance(value, Mapping):
        return {key: known(one) for key, one in value.items() if key not in CLOCKS}
    if isinstance(value, list | tuple):
        return [known(one) for one in value]
    return value


def seen(team: Any, db: Path, **options: Any) -> tuple[RunView, RunView]:
    """A run as a listener saw it, and as it is read back."""
    live = RunView()
    done = run(team, "a shop", db=db, listeners=[live], **options)
    return live, view_of(done.run, db=db, target=team)


def reworked() -> tuple[TeamGraph, dict[str, Any]]:
    bad, good = Verdict(passed=False, score=0.4, feedback="no id", findings=("no id",)), Verdict(passed=True, score=0.9)
    model = scripted({"triage": ["draft", "better"], "reply": "sent", "qa-engineer": [bad, good, good]})
    team = sequential(agent("triage", "Sort."), agent("reply", "Answer."), gate=gate(review(by="qa-engineer")))
    return team, {"model": model}


def failing() -> tuple[TeamGraph, dict[str, Any]]:
    lines = {
        "python-engineer": [ConnectionError("one"), ConnectionError("two"), RuntimeError("three")],
        "specialist-engineer": "built",
        "second": [RuntimeError("lost")],
    }
    team = sequential(
        Step("python-engineer", name="build"), Step(agent("second", "Go on."), recovery=Recovery(retries=0))
    )
    return team, {"context": TeamContext(models=scripted(lines), executor=patient())}


def nested() -> tuple[TeamGraph, dict[str, Any]]:
    inner = sequential(agent("a", "Work."), agent("b", "Work."), gate=gate(review(by="qa-engineer")), name="inner")
    bad, good = Verdict(passed=False, feedback="again"), Verdict(passed=True, score=1.0)
    lines = {"a": ["one", "two"], "b": "three", "c": "four", "qa-engineer": [bad, good, good]}
    return sequential(inner, agent("c", "End.")), {"model": priced(lines)}


def raced() -> tuple[TeamGraph, dict[str, Any]]:
    return parallel("frontend-engineer", "python-engineer", join=first(2), merge=merge(by="qa-engineer")), {}


CASES: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "sequential": lambda: ("sequential", {}),
    "parallel": lambda: ("parallel", {}),
    "hierarchical": lambda: ("hierarchical", {}),
    "mesh": lambda: ("mesh", {}),
    "reworked": reworked,
    "failing": failing,
    "nested": nested,
    "raced": raced,
    "in a hierarchy": lambda: (sequential(hierarchical(), mesh(), name="both"), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_listener_saw_is_what_is_read_back(case: str, db: Path) -> None:
    team, options = CASES[case]()
    live, stored = (known(one.to_json()) for one in seen(team, db, **options))
    for one in (live, stored):
        for step in one["steps"]:  # what is planned as the run goes on has no objective in the journal
            step.pop("objective")
        one["requests"].sort(key=lambda asked: json.dumps(asked, sort_keys=True))
        one["steps"].sort(key=lambda step: str(step["path"]))
    assert live == stored
    assert live["steps"] and live["requests"]


def test_the_view_tells_rounds_verdicts_and_what_recovered_a_step(db: Path) -> None:
    team, options = reworked()
    view, _ = seen(team, db, **options)
    triage = view.steps["triage"]
    assert (triage.state, triage.round, triage.score, triage.content) == ("accepted", 2, 0.9, "better")
    assert [(one.round, one.decision, one.score, one.findings) for one in triage.verdicts] == [
        (1, "rework", 0.4, ("no id",)),
        (2, "pass", 0.9, ()),
    ]
    assert [(one.number, one.judged is not None) for one in triage.rounds] == [(1, True), (2, True)]
    assert view.progress == (2, 2) and view.critical_path() == ["triage", "reply"]
    assert view.steps["reply"].sources == ("triage",)


def test_the_view_tells_every_attempt_who_made_it_and_why_it_failed(db: Path) -> None:
    team, options = failing()
    view, _ = seen(team, db, **options)
    build = view.steps["build"]
    assert [(one.agent, one.number, one.failure) for one in build.attempts] == [
        ("python-engineer", 1, "connection"),
        ("python-engineer", 2, "connection"),
        ("python-engineer", 3, "code"),
        ("specialist-engineer", 1, ""),
    ]
    assert {fault.by for fault in view.faults if fault.step == "build"} == {"specialist-engineer"}
    assert (view.steps["second"].state, view.status) == ("failed", "partial")
    assert "lost" in view.steps["second"].reason
    assert {"work", "failed"} <= {one.kind for one in view.intervals()}


def test_what_a_team_inside_uses_is_what_its_step_uses(db: Path) -> None:
    team, options = nested()
    view, _ = seen(team, db, **options)
    assert list(view.steps) == ["inner", "inner/a", "inner/b", "c"]
    inside = [view.used(path)["usd"] for path in ("inner/a", "inner/b")]
    assert view.used("inner")["usd"] == pytest.approx(sum(inside)) and inside[0] > 0
    assert view.used()["usd"] == view.usd == pytest.approx(sum(inside) + view.used("c")["usd"])
    assert view.by("agent")["qa-engineer"]["requests"] == 3


def test_a_step_is_shown_as_it_goes(db: Path) -> None:
    states: list[tuple[str, str]] = []
    view = RunView()

    def look(event: Event) -> None:
        view(event)
        if "triage" in view.steps and (not states or states[-1] != (event.kind, view.steps["triage"].state)):
            states.append((event.kind, view.steps["triage"].state))

    team, options = reworked()
    run(team, "a shop", db=db, listeners=[look], **options)
    told = list(dict.fromkeys(state for kind, state in states if kind != "request"))
    assert told == ["pending", "running", "reworked", "accepted"]


def asking() -> TeamGraph:
    return sequential(agent("a", "Work."), gate=gate(contains("good"), rework=0, then="ask"))


def test_questions_and_answers_are_on_the_view_before_and_after(db: Path) -> None:
    view = RunView()
    model = scripted({"a": "bad"})
    done = run(asking(), "x", model=model, db=db, listeners=[view], thread="t")
    assert (view.status, view.steps["a"].state) == ("waiting", "waiting")
    (word,) = view.words.values()
    assert (word.step, word.content, word.answered) == ("a", "bad", None)
    stored = view_of("t", db=db, target=asking())
    assert stored.steps["a"].state == "waiting" and list(stored.words) == list(view.words) == [done.waiting[0].id]
    resume("t", {"type": "approve", "by": "ada"}, target=asking(), model=model, db=db, listeners=[stored])
    assert (stored.status, stored.steps["a"].state) == ("completed", "accepted")
    (word,) = stored.words.values()
    assert (word.answer, word.by) == ("approve", "ada") and word.answered is not None
    again = view_of("t", db=db, target=asking())
    assert [(one.answer, one.by) for one in again.words.values()] == [("approve", "ada")]
    assert [one.decision for one in again.steps["a"].verdicts] == ["pass"]


def test_a_rollback_supersedes_what_is_done_again(db: Path) -> None:
    team = sequential(agent("a", "Work."), agent("b", "Work."))
    model = scripted({"a": ["one"], "b": ["two", "three"]})
    run(team, "x", model=model, db=db, thread="t")
    view, states = view_of("t", db=db, target=team), []
    rollback(
        "t", "b", target=team, model=model, db=db, listeners=[view, lambda _: states.append(view.steps["b"].state)]
    )
    assert states[0] == "superseded" and view.steps["b"].state == "accepted"
    assert view.steps["b"].content == "three" and view.steps["b"].round == 2
    assert [one.number for one in view_of("t", db=db, target=team).steps["b"].rounds] == [1, 2]


def test_a_new_turn_begins_with_nothing(db: Path) -> None:
    view, team = RunView(), sequential(agent("a", "Work."))
    run(team, "one", model=scripted({"a": "first"}), db=db, thread="t", listeners=[view])
    run(team, "two", model=scripted({"a": "second"}), db=db, thread="t", listeners=[view])
    assert (view.turn, view.task, len(view.requests)) == (2, "two", 1)
    assert view_of("t", db=db, turn=1).steps["a"].content == "first"


def test_a_run_that_is_not_there_is_named(db: Path) -> None:
    with pytest.raises(UnknownRun, match="nobody"):
        view_of("nobody", db=db)


def test_a_view_is_plain_data(db: Path) -> None:
    team, options = nested()
    view, stored = seen(team, db, **options)
    for one in (view, stored):
        data = json.loads(json.dumps(one.to_json()))
        assert [step["path"] for step in data["steps"]] == ["inner", "inner/a", "inner/b", "c"]
        assert data["costs"]["path"].keys() == {"inner/a", "inner/b", "c"}
    assert json.loads(json.dumps(RunView().to_json()))["steps"] == []


def test_bars_lie_within_the_run_and_in_order(db: Path) -> None:
    team, options = CASES["hierarchical"]()
    view, _ = seen(team, db, **options)
    bars = view.intervals()
    assert view.started is not None and view.ended is not None
    assert all(view.started <= one.started <= one.ended <= view.ended for one in bars)
    chain = [view.steps[path] for path in view.critical_path()]
    ends = [(one.started or 0, one.ended or 0) for one in chain]
    assert all(before[1] <= after[0] + 0.001 for before, after in pairwise(ends))
    assert chain[-1].path == "report"


def test_whoever_begins_to_look_when_a_run_goes_on_sees_what_was_done_before(db: Path) -> None:
    team = sequential(
        agent("a", "Work."), Step(agent("b", "Work."), gate=gate(contains("good"), 0, "ask")), agent("c", "Work.")
    )
    model = scripted({"a": "one", "b": "bad", "c": "three"})
    run(team, "x", model=model, db=db, thread="t")
    view, first = RunView(), list[dict[str, str]]()

    def look(event: Event) -> None:
        view(event)
        first.append({path: step.state for path, step in view.steps.items()})

    resume("t", True, target=team, model=model, db=db, listeners=[look])
    assert first[0] == {"a": "accepted", "b": "pending", "c": "pending"}
    assert {step.state for step in view.steps.values()} == {"accepted"}
    assert "standing" not in RunStarted(0.0, "", "t", "w", 1, True, True, standing=view).to_json()
