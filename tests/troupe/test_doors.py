"""The doors: what a run gives back, what keeps it in bounds, how it waits, goes on, and is rolled back."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from tests.support.openai_server import OpenAIServer, slow
from tests.support.teams import PRICE, Crash, Mortal, patient, priced, roles_asked, steps_asked, text_asked
from troupe import (
    BuildError,
    Deliverable,
    InputError,
    NotCompleted,
    Recovery,
    SettingsError,
    Step,
    StoreError,
    TeamContext,
    UnknownName,
    Verdict,
    agent,
    aresume,
    arun,
    checkpoints,
    contains,
    gate,
    replay,
    resume,
    review,
    rollback,
    run,
    scripted,
    sequential,
)
from troupe.result import Result
from troupe.sqlite import SqliteStore

A, B, C = (agent(name, "Work.") for name in "abc")
NEVER = scripted({"nobody": "is asked"})


def usable(result: Result) -> Result:
    assert result.status == "completed", result
    return result


# --- what comes back -------------------------------------------------------------------------------------------------


def test_a_result_says_what_ran_what_came_of_it_and_what_it_used(db: Path) -> None:
    result = run(sequential(A, B, name="pair"), "the task", model=scripted({"a": "one", "b": "two"}), db=db, thread="t")
    assert (result.run, result.workflow, result.task, result.turn, result.status) == (
        "t",
        "pair",
        "the task",
        1,
        "completed",
    )
    assert (result.answer, result["a"].content, list(result.deliverables)) == ("two", "one", ["a", "b"])
    assert (result.reason, result.missing, result.waiting, result.simulated) == (None, (), (), True)
    assert result.usage.calls == 2 and result.usage.usd == 0.0
    assert result.usage.tokens == result["a"].usage.tokens + result["b"].usage.tokens
    assert result.raise_unless_completed() is result
    json.dumps(result.to_json())
    with pytest.raises(KeyError, match=r"'c' delivered nothing in run t\. There are: a, b"):
        result["c"]


def test_usage_and_money_are_the_sum_of_all_requests(db: Path) -> None:
    lines = {
        "a": ["one"],
        "b": ["two", "three"],
        "qa-engineer": [Verdict(passed=False, feedback="x"), Verdict(passed=True)],
    }
    model = priced(lines, output=1000)
    result = run(sequential(A, Step(B, gate=gate(review(by="qa-engineer")))), "x", model=model, db=db)
    assert result.status == "completed" and not result.simulated
    assert result.usage.calls == 5 == len(model.asked)
    assert result.usage.usd == pytest.approx(5 * 1000 * PRICE)
    assert result.usage.tokens.output == 5000
    parts = [done.usage.usd for done in result.deliverables.values()]
    assert sum(one or 0 for one in parts) == pytest.approx(5 * 1000 * PRICE)


def test_a_run_that_did_not_complete_says_why_when_it_is_required_to() -> None:
    result = run(A, "x", model=scripted([ValueError("bad luck")]), db=":memory:")
    with pytest.raises(NotCompleted, match=r"Run .* is failed: ValueError: bad luck"):
        result.raise_unless_completed()
    assert result.missing == ("a",)


def test_anything_that_can_work_can_be_run() -> None:
    for target in (A, sequential(A), sequential(A).compile(), Step(A, name="a")):
        assert usable(run(target, "x", model=scripted({"a": "one"}), db=":memory:")).answer == "one"
    assert run(lambda brief: "done", "x", db=":memory:").answer == "done"
    assert run("sequential", [HumanMessage("hi")], db=":memory:").task == "hi"
    assert run(A, {"messages": [("user", "hi")]}, db=":memory:").task == "hi"


@pytest.mark.parametrize(
    ("target", "task", "options", "error", "says"),
    [
        (A, "", {}, InputError, "The task is empty"),
        (A, None, {}, InputError, "The task is empty"),
        (A, {"taks": "x"}, {}, InputError, "taks"),
        (A, "x", {"thread": ""}, InputError, "1 to 500 characters"),
        (A, "x", {"thread": "a\0b"}, InputError, "without NUL"),
        (A, "x", {"thread": "x" * 501}, InputError, "1 to 500"),
        (A, "x", {"thread": 7}, InputError, "1 to 500"),
        (A, "x", {"budget": -1}, InputError, "budget"),
        (A, "x", {"deadline": 0}, InputError, "deadline"),
        (A, "x", {"model": "gpt-5"}, SettingsError, "write provider:name"),
        (A, "x", {"model": object()}, SettingsError, "not object"),
        (A, "x", {"model": {"cheap": "simulated"}}, UnknownName, "tier"),
        (None, "x", {}, BuildError, "cannot be run"),
        (42, "x", {}, BuildError, "cannot be a step"),
        ("sequentiel", "x", {}, UnknownName, "Did you mean 'sequential'"),
        ("nowhere.py:team", "x", {}, SettingsError, "There is no file"),
        ("no_such_module:team", "x", {}, SettingsError, "cannot be imported"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_happens(
    target: Any, task: Any, options: Any, error: type[Exception], says: str, db: Path
) -> None:
    with pytest.raises(error, match=says):
        run(target, task, **{"db": db, "model": NEVER, **options})
    assert not db.exists() or runs_in(db) == []


def runs_in(db: Path) -> list[tuple[str, int, str]]:
    with sqlite3.connect(db) as connection:
        return connection.execute("SELECT thread, turn, status FROM troupe_turns ORDER BY thread, turn").fetchall()


# --- in bounds -------------------------------------------------------------------------------------------------------


def test_a_budget_that_is_reached_ends_the_run_with_what_there_is(db: Path) -> None:
    model = priced({"a": "one", "b": "two", "c": "three"})
    result = run(sequential(A, B, C), "x", model=model, budget=2 * 10_000 * PRICE, db=db, thread="t")
    assert (result.status, result.answer, result.missing) == ("partial", "two", ("c",))
    assert result.reason is not None and (result.reason.kind, result.reason.step) == ("limit", "c")
    assert "budget=" in result.reason.message, "it says what to do"
    first = run(sequential(A, B), "x", model=priced({"a": "one"}), budget=0, db=db)
    assert first.status == "failed" and first.reason is not None and first.reason.kind == "limit"


def test_the_budget_is_kept_over_a_real_connection(monkeypatch: pytest.MonkeyPatch, db: Path) -> None:
    from tests.support.openai_server import Usage, text

    with OpenAIServer([text("one", usage=Usage(0, 10_000)), text("two", usage=Usage(0, 10_000))]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        result = run(sequential(A, B, C), "x", model="openai:gpt-4o-mini", budget=2.5 * 10_000 * PRICE, db=db)
        assert (result.status, result.answer) == ("partial", "two")
        assert result.reason is not None and result.reason.kind == "limit"
        assert result.usage.usd == pytest.approx(2 * 10_000 * PRICE)
        assert len(server.requests) == 2 and server.unscripted == []


def test_a_budget_counts_what_was_spent_before_a_crash(db: Path) -> None:
    team = sequential(A, B, C)
    budget = 2 * 10_000 * PRICE
    context = TeamContext(models=priced({"a": "one", "b": "two"}), executor=Mortal("c"), budget=budget)
    with pytest.raises(Crash):
        run(team, "x", context=context, db=db, thread="t")
    result = resume("t", target=team, model=priced({"c": "three"}), db=db)
    assert (result.status, result.answer) == ("partial", "two")
    assert result.reason is not None and result.reason.kind == "limit"
    assert result.usage.usd == pytest.approx(budget)


def test_more_budget_lets_a_later_turn_go_on(db: Path) -> None:
    team = sequential(A, B)
    model = priced({"a": ["one", "again"], "b": ["two"]})
    poor = run(team, "x", model=model, budget=10_000 * PRICE, db=db, thread="t")
    assert poor.status == "partial"
    rich = run(team, "x", model=model, budget=1.0, db=db, thread="t")
    assert (rich.status, rich.answer, rich.turn) == ("completed", "two", 2)
    assert rich.usage.usd == pytest.approx(2 * 10_000 * PRICE), "a budget and its spending are a turn's"


def test_a_deadline_that_is_reached_ends_the_run_with_what_there_is(monkeypatch: pytest.MonkeyPatch, db: Path) -> None:
    with OpenAIServer(["one", slow("never")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        result = run(sequential(A, B), "x", model="openai:gpt-test", deadline=0.8, db=db)
        assert (result.status, result.answer) == ("partial", "one")
        assert result.reason is not None and (result.reason.kind, result.reason.step) == ("limit", "b")
        assert "The deadline of 0.8 s is reached" in result.reason.message
        assert result.usage.usd is None, "the price of gpt-test is unknown, and not 0"


def test_a_reviewer_that_is_kept_from_judging_by_the_budget_makes_it_a_limit(db: Path) -> None:
    lines = {"a": ["one", "two"], "qa-engineer": [Verdict(passed=True)]}
    for then, status in (("partial", "partial"), ("fail", "failed")):
        model = priced(lines)
        team = sequential(A, gate=gate(review(by="qa-engineer"), rework=3, then=then))  # type: ignore[arg-type]
        result = run(team, "x", model=model, budget=10_000 * PRICE, db=db)
        assert result.status == status and result.reason is not None and result.reason.kind == "limit"
        assert steps_asked(model) == ["a"], "work is not done again for want of a reviewer"


# --- asked to stop ---------------------------------------------------------------------------------------------------


async def test_a_run_that_is_asked_to_stop_records_what_is_in_flight_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch, db: Path
) -> None:
    with OpenAIServer({"*": [slow("one", 0.3), "two"]}) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        stop = asyncio.Event()
        going = asyncio.create_task(arun(sequential(A, B), "x", model="openai:gpt-test", db=db, thread="t", stop=stop))
        await asyncio.to_thread(server.wait_for_requests, 1)
        stop.set()
        stopped = await going
        assert stopped.status == "stopped" and stopped.missing == ()
        assert stopped.reason is not None and "troupe resume t" in stopped.reason.message
        done = await aresume("t", target=sequential(A, B), db=db)
        assert (done.status, done.answer, len(server.requests)) == ("completed", "two", 2)


async def test_a_run_that_is_cancelled_can_be_resumed(monkeypatch: pytest.MonkeyPatch, db: Path) -> None:
    with OpenAIServer({"*": ["one", slow("never"), "two"]}) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        going = asyncio.create_task(arun(sequential(A, B), "x", model="openai:gpt-test", db=db, thread="t"))
        await asyncio.to_thread(server.wait_for_requests, 2)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert server.requests[1].wait() and server.requests[1].disconnected, "the call is not left running"
        assert runs_in(db) == [("t", 1, "stopped")]
        done = await aresume("t", target=sequential(A, B), db=db)
        assert (done.status, done.answer, len(server.requests)) == ("completed", "two", 3)


# --- waiting for a person --------------------------------------------------------------------------------------------

ASKING = sequential(A, Step(B, gate=gate(contains("good"), rework=0, then="ask")), C, name="asking")


def waiting(db: Path, **lines: Any) -> tuple[Result, Any]:
    model = scripted({"a": "one", "b": ["bad", "good"], "c": "three", **lines})
    return run(ASKING, "x", model=model, db=db, thread="t"), model


def test_a_question_says_what_is_asked_about_what_and_how_to_answer(db: Path) -> None:
    result, model = waiting(db)
    assert (result.status, result.answer, result.missing) == ("waiting", "one", ())
    (question,) = result.waiting
    assert question.step == "b" and question.options == ("approve", "edit", "respond", "reject")
    assert "must contain: 'good'" in question.question
    assert runs_in(db) == [("t", 1, "waiting")]
    assert resume("t", target=ASKING, model=model, db=db).waiting == result.waiting, (
        "asking how it stands answers nothing"
    )
    with pytest.raises(NotCompleted, match=r"is waiting: .*did not pass its gate"):
        result.raise_unless_completed()


EDITED = {"name": "accept b", "args": {"content": "edited"}}


@pytest.mark.parametrize(
    ("answer", "status", "content", "asked"),
    [
        (True, "completed", "bad", ["a", "b", "c"]),
        ("approve", "completed", "bad", ["a", "b", "c"]),
        ("Yes", "completed", "bad", ["a", "b", "c"]),
        ({"decisions": [{"type": "approve"}]}, "completed", "bad", ["a", "b", "c"]),
        ([{"type": "accept", "args": None}], "completed", "bad", ["a", "b", "c"]),
        (False, "partial", "bad", ["a", "b"]),
        ("reject", "partial", "bad", ["a", "b"]),
        ({"type": "reject", "message": "not mine"}, "partial", "bad", ["a", "b"]),
        ({"type": "edit", "message": "edited"}, "completed", "edited", ["a", "b", "c"]),
        ({"decisions": [{"type": "edit", "edited_action": EDITED}]}, "completed", "edited", ["a", "b", "c"]),
        ({"type": "respond", "message": "make it good"}, "completed", "good", ["a", "b", "b", "c"]),
        ("make it good", "completed", "good", ["a", "b", "b", "c"]),
    ],
    ids=str,
)  # fmt: skip
def test_every_shape_of_an_answer_is_understood(
    answer: Any, status: str, content: str, asked: list[str], db: Path
) -> None:
    _, model = waiting(db)
    done = resume("t", answer, target=ASKING, model=model, db=db)
    assert (done.status, done["b"].content, steps_asked(model)) == (status, content, asked)
    assert (done.reason is None) == (status == "completed")
    if status == "partial":
        assert done.reason is not None and done.reason.kind == "person" and done["b"].status == "failed"
    elif len(asked) == 3:
        assert content in text_asked(model, 2), "the next step builds on what the person made of it"
    if "make it good" in str(answer):
        assert "make it good" in text_asked(model, 2) and done["b"].rounds == 2


def test_an_answer_by_id_is_for_that_question_only(db: Path) -> None:
    result, model = waiting(db)
    (question,) = result.waiting
    with pytest.raises(InputError, match=f"does not ask '0+'. Open questions: {question.id}"):
        resume("t", {"0" * 32: "approve"}, target=ASKING, model=model, db=db)
    done = resume("t", {question.id: "approve"}, target=ASKING, model=model, db=db)
    assert usable(done).answer == "three"
    with pytest.raises(InputError, match="Run t asks nothing"):
        resume("t", "approve", target=ASKING, model=model, db=db)


NONSENSE: list[Any] = [
    42, {}, [], {"type": "dance"}, "", " ", {"decisions": []}, {"decisions": [True, True]}, {"type": "edit"}, {"by": 7},
]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_an_answer_that_is_not_understood_leaves_the_question_open(nonsense: Any, db: Path) -> None:
    result, model = waiting(db)
    with pytest.raises(InputError, match="was not understood"):
        resume("t", nonsense, target=ASKING, model=model, db=db)
    assert runs_in(db)[0][2] in ("waiting", "stopped")
    again = resume("t", target=ASKING, model=model, db=db)
    assert again.waiting == result.waiting
    assert usable(resume("t", True, target=ASKING, model=model, db=db))


def test_a_new_turn_while_a_question_is_open_leaves_the_question_behind(db: Path) -> None:
    _, model = waiting(db, a=["one", "uno"], b=["bad", "good"])
    second = run(ASKING, "y", model=model, db=db, thread="t")
    assert (second.status, second.turn, second.answer) == ("completed", 2, "three")
    assert second["b"].rounds == 1
    assert runs_in(db) == [("t", 1, "stopped"), ("t", 2, "completed")]


# --- going on --------------------------------------------------------------------------------------------------------


def test_a_run_that_has_ended_gives_its_result_again_without_a_call(db: Path) -> None:
    team = sequential(A, B)
    first = run(team, "x", model=scripted({"a": "one", "b": "two"}), db=db, thread="t")
    again = resume("t", target=team, model=NEVER, db=db)
    assert (again.status, again.answer, again.deliverables, again.usage) == (
        first.status, first.answer, first.deliverables, first.usage,
    )  # fmt: skip
    assert runs_in(db) == [("t", 1, "completed")]
    failed = run(A, "x", model=scripted([ValueError("bad luck")]), db=db, thread="f")
    assert resume("f", target=A, model=NEVER, db=db).reason == failed.reason


def test_an_unknown_run_says_where_it_looked(db: Path) -> None:
    for act in (resume, lambda run_, **options: rollback(run_, "a", **options)):
        with pytest.raises(StoreError, match=r"There is no run 'nobody' in .*runs\.db.*troupe runs"):
            act("nobody", target=A, db=db)


def test_a_resume_that_would_switch_between_simulated_and_real_is_refused(
    monkeypatch: pytest.MonkeyPatch, db: Path
) -> None:
    team = sequential(A, gate=gate(contains("zzz"), 0, "ask"))
    run(team, "x", db=db, thread="t")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-test-test")
    monkeypatch.setenv("TROUPE_MODEL", "openai:gpt-test")
    assert resume("t", target=team, db=db).status == "waiting", "what was recorded holds: simulated"
    run(team, "x", model=scripted(["d", "e"]), db=db, thread="u")  # an object cannot be recorded
    with pytest.raises(SettingsError, match=r"Run u was simulated and would go on real\. Say with which model"):
        resume("u", True, target=team, db=db)
    assert usable(resume("u", True, target=team, db=db, model="simulated")).simulated


def test_a_run_of_something_without_an_importable_name_says_how_to_go_on(db: Path) -> None:
    made = sequential(A)
    team = sequential(Step(made, name="x"))
    run(team, "x", db=db, thread="t")
    with pytest.raises(SettingsError, match=r"cannot be imported by name.*troupe\.resume\('t', target=team\)"):
        resume("t", db=db)
    assert resume("t", target=team, db=db).status == "completed"


IMPORTABLE = sequential(A, B, name="importable")


def test_a_run_of_something_importable_is_found_again_by_its_name(tmp_path: Path, db: Path) -> None:
    (tmp_path / "my_teams.py").write_text(
        textwrap.dedent("""
        from troupe import agent, contains, gate, run, sequential
        team = sequential(agent("a", "Work."), gate=gate(contains("zzz"), rework=0, then="ask"))
        def make():
            return team
        if __name__ == "__main__":
            print(run(team, "x", db="runs.db", thread="t").status)
        """)
    )
    script = subprocess.run([sys.executable, "my_teams.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (script.stdout, script.stderr) == ("waiting\n", "")
    (turn,) = sqlite3.connect(db).execute("SELECT reference FROM troupe_turns").fetchone()
    assert turn == f"{tmp_path / 'my_teams.py'}:team"
    assert usable(resume("t", "approve", db=db)).workflow == "sequential"
    assert run("my_teams.py:make", "x", db=db).status == "waiting"
    with pytest.raises(UnknownName, match="There are: team"):
        run("my_teams.py:tean", "x", db=db)


def test_a_file_that_runs_a_team_as_soon_as_it_is_imported_is_refused(tmp_path: Path, db: Path) -> None:
    (tmp_path / "eager.py").write_text(
        "from troupe import agent, run\nteam = agent('a', 'Work.')\nrun(team, 'x', db='other.db')\n"
    )
    with pytest.raises(SettingsError, match="runs a team as soon as it is imported"):
        run("eager.py:team", "x", db=db)
    assert not (tmp_path / "other.db").exists()


def test_a_run_on_a_saver_of_ones_own_is_kept_there() -> None:
    saver = InMemorySaver()
    team = sequential(A, B).compile(checkpointer=saver)
    result = run(team, "x", model=scripted({"a": "one", "b": "two"}), thread="t")
    assert usable(result).answer == "two"
    assert team.get_state({"configurable": {"thread_id": "t"}}).values["answer"] == "two"
    second = run(team, "y", model=scripted({"a": "uno", "b": "due"}), thread="t")
    assert (second.answer, second.turn) == ("due", 2)


def test_the_result_of_a_recorded_run_can_be_replayed(db: Path) -> None:
    team = sequential(A, Step(sequential(B, gate=gate(review(by="qa-engineer")), name="inner"), name="nested"))
    lines = {
        "a": "one",
        "b": ["two", "three"],
        "qa-engineer": [Verdict(passed=False, feedback="x"), Verdict(passed=True)],
    }
    result = run(team, "x", model=scripted(lines), db=db, thread="t")
    model = replay(result, db=db)
    again = run(team, "x", model=model, db=":memory:")
    assert (again.status, again.answer, roles_asked(model)) == (
        "completed",
        "three",
        ["a", "b", "qa-engineer", "b", "qa-engineer"],
    )


# --- rolled back by hand ---------------------------------------------------------------------------------------------


def test_a_rollback_redoes_a_step_and_everything_after_it(db: Path) -> None:
    undone: list[str] = []

    def undo(done: Deliverable) -> None:
        undone.append(f"{done.step}: {done.content}")

    team = sequential(*(Step(one, undo=undo) for one in (A, B, C)))
    run(team, "x", model=scripted({"a": "a1", "b": "b1", "c": "c1"}), db=db, thread="t")
    model = scripted({"b": "b2", "c": "c2"})
    result = rollback("t", "b", target=team, model=model, db=db)
    assert usable(result).answer == "c2" and result.turn == 1
    assert [(name, one.content, one.rounds) for name, one in result.deliverables.items()] == [
        ("a", "a1", 1), ("b", "b2", 2), ("c", "c2", 2),
    ]  # fmt: skip
    assert undone == ["c: c1", "b: b1"]
    assert steps_asked(model) == ["b", "c"]
    assert "c1" not in text_asked(model, 0), "an answer that is redone is no part of the conversation"
    again = rollback("t", "a", target=team, model=scripted({"a": "a3", "b": "b3", "c": "c3"}), db=db)
    assert [one.rounds for one in again.deliverables.values()] == [2, 3, 3] and undone[2:] == [
        "c: c2",
        "b: b2",
        "a: a1",
    ]
    after = scripted({"a": "x", "b": "x", "c": "x"})
    run(team, "y", model=after, db=db, thread="t")
    talk = text_asked(after, 0)
    assert "c3" in talk and "c1" not in talk and "c2" not in talk


def test_a_rollback_works_with_gates_and_after_a_person_decided(db: Path) -> None:
    _, model = waiting(db, c=["three", "four"])
    resume("t", "approve", target=ASKING, model=model, db=db)
    redone = rollback("t", "c", target=ASKING, model=model, db=db)
    assert usable(redone).answer == "four" and redone["b"].content == "bad"
    gated = sequential(A, B, gate=gate(review(by="qa-engineer")))
    passing = {"qa-engineer": [Verdict(passed=True)] * 9}
    run(gated, "x", model=scripted({"a": "a1", "b": "b1", **passing}), db=db, thread="g")
    again = rollback("g", "b", target=gated, model=scripted({"b": "b2", **passing}), db=db)
    assert usable(again).answer == "b2" and again["b"].rounds == 2


def test_a_rollback_of_what_was_never_delivered_is_refused(db: Path) -> None:
    team = sequential(A, B, C)
    run(team, "x", model=scripted({"a": "one", "b": [ValueError("bad luck")]}), db=db, thread="t")
    with pytest.raises(UnknownName, match=r"Unknown step 'd'.*There are: a, b, c"):
        rollback("t", "d", target=team, model=NEVER, db=db)
    with pytest.raises(InputError, match="cannot begin again at 'c': not delivered before it: b"):
        rollback("t", "c", target=team, model=NEVER, db=db)
    assert usable(rollback("t", "b", target=team, model=scripted({"b": "two", "c": "three"}), db=db)).answer == "three"


@pytest.mark.parametrize("judged", [None, "gate", "fails it"])
def test_a_rollback_passes_over_an_optional_step_that_failed(judged: str | None, db: Path) -> None:
    gated = gate(lambda work: judged == "gate" or "no good", rework=0, then="fail") if judged else None
    b = agent("b", "Work.")
    team = sequential(A, Step(b, optional=True, gate=gated), C)
    lines: dict[str, list[Any]] = {"a": ["one"], "b": ["bad" if judged == "fails it" else ValueError("luck")]}
    assert run(team, "x", model=scripted({**lines, "c": "three"}), db=db, thread="t").status == "partial"
    again = rollback("t", "c", target=team, model=scripted({"c": "four"}), db=db)
    assert (again.status, again.answer, again.missing, again["c"].rounds) == ("partial", "four", ("b",), 2)
    mended = rollback("t", "b", target=sequential(A, Step(b, optional=True), C), db=db, accept_changes=True,
                      model=scripted({"b": "two", "c": "five"}))  # fmt: skip
    assert usable(mended).answer == "five"


def test_a_rollback_passes_over_what_a_person_gave_up_and_stops_at_what_they_ended(db: Path) -> None:
    lost = Step(B, recovery=Recovery(backups=False, models=False, matched=False, ask=True))
    team = sequential(A, lost, C)
    for thread, answer in (("on", "approve"), ("end", "reject")):
        model = scripted({"a": "one", "b": [ValueError("luck")], "c": "three"})
        assert run(team, "x", model=model, db=db, thread=thread).status == "waiting"
        assert resume(thread, answer, target=team, model=model, db=db).status == "partial"
    again = rollback("on", "c", target=team, model=scripted({"c": "four"}), db=db)
    assert (again.status, again.answer, again.missing) == ("partial", "four", ("b",))
    with pytest.raises(InputError, match="not delivered before it: b"):
        rollback("end", "c", target=team, model=NEVER, db=db)


def test_a_failed_run_is_mended_by_redoing_the_step_that_failed(db: Path) -> None:
    team = sequential(A, B)
    context = TeamContext(models=scripted({"a": "one", "b": [ConnectionError("down")] * 9}), executor=patient())
    assert run(team, "x", context=context, db=db, thread="t").status == "partial"
    mended = rollback("t", "b", target=team, model=scripted({"b": "two"}), db=db)
    assert usable(mended).answer == "two" and mended.missing == ()


# --- strange names and strange texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "thread",
    [
        "../../etc/passwd",
        "'; DROP TABLE checkpoints;--",
        "a/b/c",
        "100%",
        "日本語",
        "  padded  ",
        "a\nb",
        "x" * 500,
        "%2F",
        "*",
    ],
)
def test_a_threads_id_is_only_a_name(thread: str, db: Path, tmp_path: Path) -> None:
    others = run(A, "x", model=scripted(["other"]), db=db, thread="other")
    team = sequential(A, Step(B, gate=gate(contains("zzz"), 0, "ask")))
    model = scripted({"a": "one", "b": "two"})
    assert run(team, "x", model=model, db=db, thread=thread).status == "waiting"
    done = resume(thread, True, target=team, model=model, db=db)
    assert usable(done).run == thread and done.usage.calls == 2
    assert resume("other", target=A, model=NEVER, db=db).answer == others.answer
    assert {one.name.partition("-")[0] for one in tmp_path.iterdir()} <= {"runs.db", "state"}


def test_threads_whose_names_begin_alike_keep_their_own_books(db: Path) -> None:
    for thread in ("t", "t/1", "t/10", "t%2F1", "T"):
        assert run(A, "x", model=scripted(["one"]), db=db, thread=thread).usage.calls == 1
    assert all(resume(one, target=A, model=NEVER, db=db).usage.calls == 1 for one in ("t", "t/1", "t/10", "t%2F1", "T"))


@pytest.mark.parametrize(
    "text", ["NUL \0 in it", "lone \ud800 surrogate", "\udcff", "\x1b[31mred", "\u2028\u2029", "🎭" * 3]
)
def test_whatever_a_model_or_a_caller_says_can_be_stored_and_comes_back(text: str, db: Path) -> None:
    team = sequential(A, Step(B, gate=gate(contains("zzz"), 0, "ask")))
    model = scripted({"a": f"from the model: {text}", "b": AIMessage([{"type": "text", "text": f"b {text}"}])})
    asked = run(team, f"task {text}", model=model, db=db, thread="t")
    assert asked.status == "waiting"
    done = resume("t", {"type": "edit", "message": f"edited {text}"}, target=team, model=model, db=db)
    assert usable(done)
    for said in (done.task, done["a"].content, done.answer):
        assert said.encode("utf-8") and "\0" not in said
    if not any(bad in text for bad in "\0\ud800\udcff"):
        assert done["a"].content == f"from the model: {text}" and done.answer == f"edited {text}"
    else:
        assert "\ufffd" in done["a"].content and "\ufffd" in done.answer


def test_outputs_of_five_megabytes_go_through(db: Path) -> None:
    big = "word " * 1_000_000
    model = scripted({"a": big, "b": big, "c": "done"})
    result = run(sequential(A, B, C), "x", model=model, db=db, thread="t")
    assert usable(result).answer == "done" and len(result["a"].content) == 5_000_000
    assert len(text_asked(model, 1)) < 110_000
    assert resume("t", target=sequential(A, B, C), model=NEVER, db=db)["b"].content == big


# --- many at once ----------------------------------------------------------------------------------------------------


async def test_sixty_runs_at_once_share_a_store_without_a_lock_error(store: SqliteStore) -> None:
    model = scripted({"a": ["one"] * 60, "b": ["two"] * 60})
    runs = (arun(sequential(A, B), f"task {n}", model=model, db=store, thread=f"t{n}") for n in range(60))
    results = await asyncio.gather(*runs)
    assert [(one.run, one.status, one.answer, one.usage.calls) for one in results] == [
        (f"t{n}", "completed", "two", 2) for n in range(60)
    ]
    assert len(await store.turns()) == 60


async def test_sixty_runs_at_once_may_each_open_the_same_file(db: Path) -> None:
    model = scripted({"a": ["one"] * 60})
    results = await asyncio.gather(*(arun(A, f"task {n}", model=model, db=db, thread=f"t{n}") for n in range(60)))
    assert {one.status for one in results} == {"completed"} and len(model.asked) == 60


async def test_two_runs_on_one_thread_are_two_turns_one_after_the_other(store: SqliteStore) -> None:
    model = scripted({"a": [f"answer {n}" for n in range(8)]}, latency=0.001)
    results = await asyncio.gather(*(arun(A, f"question {n}", model=model, db=store, thread="t") for n in range(8)))
    assert sorted(one.turn for one in results) == list(range(1, 9))
    assert {one.status for one in results} == {"completed"} and len({one.answer for one in results}) == 8


def test_threads_of_a_program_may_run_teams_at_once(store: SqliteStore) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = scripted({"a": ["one"] * 16})
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: run(A, "x", model=model, db=store, thread=f"t{n}"), range(16)))
    assert {one.status for one in results} == {"completed"}


# --- wherever it is called -------------------------------------------------------------------------------------------


async def test_run_works_inside_a_running_loop(db: Path) -> None:
    assert usable(run(A, "x", model=scripted(["one"]), db=db, thread="t")).answer == "one"
    assert resume("t", target=A, model=NEVER, db=db).answer == "one"
    assert usable(await arun(A, "x", model=scripted(["two"]), db=db)).answer == "two"


def test_run_works_in_a_notebook_cell(db: Path) -> None:
    """IPython runs a cell inside its loop; top-level await and run() may stand in one cell."""
    code = textwrap.dedent("""
        import asyncio
        from troupe import agent, arun, run, scripted
        async def cell():
            first = run(agent("a", "Work."), "x", model=scripted(["one"]), db="cell.db")
            second = await arun(agent("a", "Work."), "x", model=scripted(["two"]), db="cell.db")
            print(first.answer, second.answer)
        loop = asyncio.new_event_loop()
        for _ in range(2):
            loop.run_until_complete(cell())
        """)
    done = subprocess.run([sys.executable, "-c", code], cwd=db.parent, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("one two\none two\n", "")


def test_many_short_event_loops_in_a_row_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch, db: Path) -> None:
    with OpenAIServer(lambda received: "hello") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        for _ in range(3):
            assert usable(asyncio.run(arun(A, "x", model="openai:gpt-test", db=db))).answer == "hello"
            assert usable(run(A, "x", model="openai:gpt-test", db=db)).answer == "hello"


def test_a_run_without_a_database_of_its_own_is_kept_in_the_users_state_directory(tmp_path: Path) -> None:
    result = run(A, "x", model=scripted(["one"]))
    kept = tmp_path / "state" / "troupe" / "runs.db"
    assert runs_in(kept) == [(result.run, 1, "completed")]
    assert kept.stat().st_mode & 0o077 == 0, "readable by its owner alone"
    assert checkpoints.default_path() == kept


def test_no_credential_and_no_context_reaches_the_database(monkeypatch: pytest.MonkeyPatch, db: Path) -> None:
    secret = "sk-live-very-secret-key-0123456789"  # noqa: S105 - a bait
    with OpenAIServer(["one", "two"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", secret)
        usable(run(sequential(A, B), "x", model="openai:gpt-test", db=db))
    assert not any(secret.encode() in one.read_bytes() for one in db.parent.glob("runs.db*"))
