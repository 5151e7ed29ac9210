"""sequential: one after the other, each building on the last."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.support.teams import patient, steps_asked, text_asked
from troupe import (
    SimulatedChatModel,
    Step,
    TeamContext,
    agent,
    contains,
    gate,
    review,
    run,
    scripted,
    sequential,
)
from troupe.agents.contracts import Verdict

A, B, C = (agent(name, "Work.") for name in "abc")


def test_without_steps_it_is_the_classic_line_of_five() -> None:
    result = run("sequential", "a library", db=":memory:")
    assert list(result.deliverables) == [
        "ai-researcher",
        "specialist-engineer",
        "qa-engineer",
        "technical-writer",
        "git-helper",
    ]
    assert (result.status, result.workflow, result.usage.calls) == ("completed", "sequential", 5)
    assert all(done.content.startswith("[simulated]") for done in result.deliverables.values())


def test_the_same_seed_says_the_same_and_another_something_else() -> None:
    answers = {
        seed: [run("sequential", "x", model=f"simulated:{seed}", db=":memory:").answer for _ in range(2)]
        for seed in (1, 2)
    }
    assert answers[1][0] == answers[1][1] != answers[2][0] == answers[2][1]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_makes_one_request_for_each_step_and_one_for_each_review(count: int) -> None:
    steps = [agent(f"s{n}", "Work.") for n in range(count)]
    plain = SimulatedChatModel()
    assert run(sequential(*steps), "x", model=plain, db=":memory:").usage.calls == count
    gated = run(sequential(*steps, gate=gate(review(by="qa-engineer"))), "x", model=plain, db=":memory:")
    assert gated.usage.calls == 2 * count and gated.status == "completed"


def test_each_step_builds_on_the_last_and_knows_the_task() -> None:
    model = scripted({"a": "result of a", "b": "result of b", "c": "result of c"})
    result = run(sequential(A, Step(B, "aim of b"), C), "the task", model=model, db=":memory:")
    assert steps_asked(model) == ["a", "b", "c"] and result.answer == "result of c"
    assert "result of a" in text_asked(model, 1) and "aim of b" in text_asked(model, 1)
    assert "result of b" in text_asked(model, 2) and "aim of b" not in text_asked(model, 2)
    assert all("the task" in text_asked(model, n) for n in range(3))


def test_a_step_that_fails_ends_the_line_and_the_rest_is_skipped() -> None:
    model = scripted({"a": "one", "b": [ValueError("bad luck")], "c": "never"})
    result = run(sequential(A, B, C), "x", model=model, db=":memory:")
    assert (result.status, result.answer, result.missing) == ("partial", "one", ("b", "c"))
    assert [(name, done.status) for name, done in result.deliverables.items()] == [
        ("a", "accepted"), ("b", "failed"), ("c", "skipped"),
    ]  # fmt: skip
    assert "c" not in steps_asked(model)
    assert result["c"].reason is not None and "earlier step" in result["c"].reason.message


@pytest.mark.parametrize("then", ["partial", "fail", "ask"])
@pytest.mark.parametrize("rework", [0, 2])
def test_every_way_that_a_gate_may_decide_is_an_edge_of_the_graph(then: Any, rework: int) -> None:
    """An unknown way out would be a KeyError of LangGraph's, in the middle of a run that was paid for."""
    verdicts = [Verdict(passed=False, blame="a"), Verdict(passed=False), Verdict(passed=False), Verdict(passed=True)]
    for last in (B, C):
        steps: list[Any] = [A, Step(B, gate=gate(review(by="qa-engineer"), rework, then)), *([C] if last is C else [])]
        lines = {"a": ["a"] * 9, "b": ["b"] * 9, "c": ["c"] * 9, "qa-engineer": verdicts}
        state = sequential(*steps).compile().invoke({"task": "x"}, context=TeamContext(models=scripted(lines)))
        assert state["status"] == {"partial": "partial", "fail": "partial", "ask": "running"}[then]
        assert ("__interrupt__" in state) == (then == "ask")


def test_its_graph_has_a_node_for_each_step_gate_and_question_and_no_other() -> None:
    graph = sequential(A, Step(B, gate=gate(contains("x"), then="ask")), C).compile().get_graph()
    assert set(graph.nodes) == {"__start__", "a", "b", "b.gate", "b.ask", "c", "finish", "__end__"}
    assert all(count == 1 for count in Counter((one.source, one.target) for one in graph.edges).values())


def test_what_it_tells_while_it_works() -> None:
    told: list[Any] = []
    lines = {
        "a": "one",
        "b": ["two", "three"],
        "qa-engineer": [Verdict(passed=False, feedback="again"), Verdict(passed=True)],
    }
    team = sequential(A, Step(B, gate=gate(review(by="qa-engineer"))))
    run(team, "x", model=scripted(lines), db=":memory:", listeners=[told.append])
    assert [one.kind for one in told] == [
        "run_started",
        "step_started", "request", "step_finished", "progress",
        "step_started", "request", "step_finished", "request", "verdict",
        "step_started", "request", "step_finished", "request", "verdict", "progress",
        "run_finished",
    ]  # fmt: skip
    started = [(one.path, one.round, one.index, one.total) for one in told if one.kind == "step_started"]
    assert started == [("a", 1, 1, 2), ("b", 1, 2, 2), ("b", 2, 2, 2)]
    assert [(one.passed, one.decision, one.by) for one in told if one.kind == "verdict"] == [
        (False, "rework", "qa-engineer"), (True, "pass", "qa-engineer"),
    ]  # fmt: skip
    assert [(one.done, one.total) for one in told if one.kind == "progress"] == [(1, 2), (2, 2)]
    assert (told[-1].status, told[-1].answer) == ("completed", "three")
    assert [one.at for one in told] == sorted(one.at for one in told)


def test_what_failed_attempts_are_told_as() -> None:
    told: list[Any] = []
    model = scripted({"a": [ConnectionError("refused"), "fine"]})
    run(
        sequential(A),
        "x",
        context=TeamContext(models=model, executor=patient()),
        db=":memory:",
        listeners=[told.append],
    )
    (attempt,) = [one for one in told if one.kind == "attempt"]
    assert (attempt.path, attempt.number, attempt.failure) == ("a", 1, "connection") and attempt.wait > 0


def test_progress_never_counts_beyond_the_steps_or_back_below_none() -> None:
    told: list[Any] = []
    blame = Verdict(passed=False, blame="a", feedback="wrong")
    lines = {"a": ["1", "2"], "b": ["1", "2"], "c": ["1"], "qa-engineer": [blame, Verdict(passed=True)]}
    team = sequential(A, Step(B, gate=gate(review(by="qa-engineer"))), C)
    run(team, "x", model=scripted(lines), db=":memory:", listeners=[told.append])
    counts = [one.done for one in told if one.kind == "progress"]
    assert counts[-1] == 3 and all(0 <= count <= 3 for count in counts)


def test_a_conversation_is_bounded_however_long_the_thread(db: Any) -> None:
    team = sequential(A)
    for turn in range(14):
        model = scripted({"a": f"answer {turn} " + "word " * 4000})
        assert run(team, f"question {turn}", model=model, thread="t", db=db).status == "completed"
    asked = text_asked(model, 0)
    assert "question 12" in asked and "question 13" in asked and "question 1\n" not in asked
    assert len(asked) < 4 * 24_000 + 8_000 and "[shortened" in asked
