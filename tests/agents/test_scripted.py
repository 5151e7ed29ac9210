"""The model of tests, which says what it is told to; and the one that says again what was recorded."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tools import tool
from pydantic import BaseModel

from tests.agents.calls import impatient
from troupe import (
    BuildError,
    Result,
    Step,
    StoreError,
    TeamContext,
    TeamGraph,
    Verdict,
    agent,
    arun,
    gate,
    replay,
    review,
    run,
    scripted,
    sequential,
)
from troupe.agents.models.scripted import ScriptedChatModel
from troupe.agents.structured import RUNGS


class Ticket(BaseModel):
    kind: str
    urgent: bool = False


@tool
def lookup(order: int) -> str:
    """Look up an order."""
    return f"order {order} left on Monday"


writer = agent("writer", "Write.")
helper = agent("helper", "Help.", tools=[lookup])


def done(team: Any, lines: Any, task: str = "the task") -> Result:
    context = TeamContext(executor=impatient())
    return run(team, task, model=scripted(lines), context=context, db=":memory:")


# ------------------------------------------------------------------------------------------------------------- lookup


@pytest.mark.parametrize("key", ["draft", "writer", "*"])
def test_a_line_is_looked_up_by_step_role_or_for_everyone(key: str) -> None:
    assert done(Step(writer, name="draft"), {key: "hello"}).answer == "hello"


def test_the_step_goes_before_the_role_and_that_before_everyone() -> None:
    team = sequential(Step(writer, name="one"), Step(writer, name="two"), agent("other", "Do."))
    result = done(team, {"*": "all", "writer": "role", "one": "step"})
    assert [one.content for one in result.deliverables.values()] == ["step", "role", "all"]


def test_lines_are_said_in_order() -> None:
    team = sequential(*(Step(writer, name=name) for name in "abc"))
    result = done(team, {"writer": ["1", "2", "3"]})
    assert [one.content for one in result.deliverables.values()] == ["1", "2", "3"]


def test_a_list_alone_is_for_everyone_and_a_line_alone_is_a_list_of_one() -> None:
    assert done(writer, ["hello"]).answer == "hello"
    assert done(writer, {"writer": "hello"}).answer == "hello"


def test_a_decision_is_looked_up_by_the_role_and_not_by_the_step_it_is_about() -> None:
    team = sequential(writer, gate=gate(review(by=agent("critic", "Judge."))))
    lines = {"writer": ["one", "two"], "critic": [Verdict(passed=False, feedback="no"), Verdict(passed=True)]}
    result = done(team, lines)
    assert (result.status, result.answer, result["writer"].rounds) == ("completed", "two", 2)


def test_a_script_without_lines_is_refused() -> None:
    with pytest.raises(BuildError, match="needs lines"):
        scripted({})


# ------------------------------------------------------------------------------------------------------- kinds of lines


@pytest.mark.parametrize(
    "line", [Ticket(kind="bug"), {"kind": "bug"}, '{"kind": "bug"}', 'So:\n```json\n{"kind": "bug",}\n```']
)
def test_a_value_can_be_a_model_a_dict_or_text_that_holds_one(line: Any) -> None:
    result = done(Step(writer, returns=Ticket), [line])
    assert result["writer"].data == Ticket(kind="bug")


def test_a_value_where_text_is_wanted_is_its_json() -> None:
    assert done(writer, [{"kind": "bug"}]).answer == '{"kind": "bug"}'


def test_a_line_is_what_a_call_says_on_every_rung() -> None:
    model = scripted({"writer": ["not a ticket", "another line"]})
    result = run(Step(writer, returns=Ticket), "x", model=model, db=":memory:")
    assert result.status == "failed" and len(model.asked) == 1
    assert result.reason is not None and "not JSON" in result.reason.message


def test_a_tool_call_is_made_and_its_result_comes_back() -> None:
    model = scripted({"helper": [{"tool": "lookup", "args": {"order": 42}}, "It left."]})
    result = run(helper, "x", model=model, db=":memory:")
    assert result.answer == "It left."
    assert model.asked[1][2][-1].text == "order 42 left on Monday"


def test_several_tool_calls_at_once_are_a_list() -> None:
    both = [{"tool": "lookup", "args": {"order": number}} for number in (1, 2)]
    model = scripted({"helper": [both, "Both left."]})
    assert run(helper, "x", model=model, db=":memory:").answer == "Both left."
    assert [message.text for message in model.asked[1][2][-2:]] == ["order 1 left on Monday", "order 2 left on Monday"]


def test_a_message_is_said_as_it_is() -> None:
    usage: Any = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    result = done(writer, [AIMessage("hello", usage_metadata=usage)])
    assert (result.answer, result.usage.tokens.total) == ("hello", 10)


@pytest.mark.parametrize("error", [KeyError("gone"), KeyError])
def test_an_exception_is_raised(error: Any) -> None:
    result = done(writer, [error])
    assert result.status == "failed" and result.reason is not None and "KeyError" in result.reason.message


def test_an_exception_that_may_pass_is_tried_again_with_the_next_line() -> None:
    result = done(writer, [ConnectionError("reset"), "hello"])
    assert (result.answer, result["writer"].attempts) == ("hello", 2)


# ---------------------------------------------------------------------------------------------------------- unscripted


def test_a_call_beyond_the_script_fails_at_once_and_shows_what_was_asked() -> None:
    result = done(sequential(Step(writer, "write it", name="one"), Step(writer, name="two")), {"writer": "hello"})
    assert (result.status, result.missing) == ("partial", ("two",))
    said = result["two"].reason.message if result["two"].reason else ""
    assert "asked by 'two' or 'writer' or '*', but its 1 line is used up" in said
    assert "# Task\nthe task" in said


def test_somebody_who_is_not_in_the_script_is_named() -> None:
    result = done(writer, {"somebody": "hello"})
    assert result.reason is not None
    assert "the script has no 'writer' or '*'" in result.reason.message


def test_what_it_was_asked_is_kept_in_order() -> None:
    model = scripted({"*": ["one", "two"]})
    run(sequential(Step(writer, name="a"), Step(writer, name="b")), "x", model=model, db=":memory:")
    assert [(step, role) for step, role, _ in model.asked] == [("a", "writer"), ("b", "writer")]


def test_two_scripts_share_nothing() -> None:
    first, second = scripted(["a"]), scripted(["a"])
    first.invoke("x")
    assert (len(first.asked), len(second.asked)) == (1, 0)
    assert second.invoke("x").text == "a"


def test_it_streams_and_counts_tokens_like_any_model() -> None:
    chunks = [one for one in scripted(["one two three"]).stream("hello") if isinstance(one, AIMessageChunk)]
    assert [one.text for one in chunks] == ["one ", "two ", "three"]
    assert chunks[-1].usage_metadata is not None and chunks[-1].usage_metadata["output_tokens"] > 0


async def test_its_latency_is_waited_for() -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    started = loop.time()
    await scripted(["x"], latency=0.03).ainvoke("hello")
    assert loop.time() - started >= 0.03


# ------------------------------------------------------------------------------------------------------------- replay


def same(first: Result, second: Result) -> bool:
    """Whether two runs ended alike, except for what a clock says."""

    def seen(result: Result) -> Any:
        steps = {
            name: (
                one.status,
                one.content,
                one.data,
                one.rounds,
                one.score,
                one.agent,
                one.usage.tokens,
                one.usage.calls,
            )
            for name, one in result.deliverables.items()
        }
        return result.status, result.answer, steps, result.usage.tokens, result.usage.calls, result.missing

    return bool(seen(first) == seen(second))


def story() -> TeamGraph:
    return sequential(
        Step(writer, "plan it", name="plan"),
        Step(helper, "look it up", name="facts"),
        Step(writer, "sort it", name="ticket", returns=Ticket),
        gate=gate(review(by=agent("critic", "Judge.")), rework=2),
    )


STORY: dict[str, Any] = {
    "writer": ["a plan", "a better plan", Ticket(kind="bug")],
    "helper": [{"tool": "lookup", "args": {"order": 42}}, "It left on Monday."],
    "critic": [
        Verdict(passed=False, score=0.2, feedback="better"),
        Verdict(passed=True, score=0.9),
        Verdict(passed=True, score=0.8),
        Verdict(passed=True, score=0.7),
    ],
}


def test_a_recorded_run_can_be_replayed_exactly(db: Path) -> None:
    first = run(story(), "x", model=scripted(STORY), db=db).raise_unless_completed()
    again = run(story(), "x", model=replay(first, db=db), db=db)
    assert same(first, again)
    assert again["ticket"].data == Ticket(kind="bug") and again["plan"].rounds == 2
    third = run(story(), "x", model=replay(again.run, db=db), db=":memory:")
    assert same(first, third)


def test_a_simulated_run_can_be_replayed_and_says_the_same_words(db: Path) -> None:
    first = run("sequential", "Build a todo app.", db=db)
    again = run("sequential", "Build a todo app.", model=replay(first, db=db), db=":memory:")
    assert same(first, again)


class Grudging(ScriptedChatModel):
    """Answers each request with the next line, as a server does."""

    replayed: bool = True


def test_a_run_that_climbed_the_ladder_is_replayed_with_every_answer_it_got(db: Path) -> None:
    team = sequential(Step(writer, returns=Ticket), Step(writer, name="after"))
    model = Grudging(lines={"writer": ["Hm.", "A bug, I think.", '{"kind": "bug"}', "done"]})
    first = run(team, "x", model=model, db=db).raise_unless_completed()
    assert first["writer"].usage.calls == 3
    assert same(first, run(team, "x", model=replay(first, db=db), db=":memory:"))


def test_a_run_that_ended_badly_is_replayed_to_the_same_end(db: Path) -> None:
    team = sequential(Step(writer, name="one"), Step(writer, name="two", returns=Ticket))
    model = Grudging(lines={"writer": ["fine", *["no JSON"] * len(RUNGS)]})
    first = run(team, "x", model=model, db=db)
    assert first.status == "partial"
    assert same(first, run(team, "x", model=replay(first, db=db), db=":memory:"))


def test_only_the_last_turn_is_replayed(db: Path) -> None:
    team = sequential(writer)
    model = scripted(["first", "second"])
    run(team, "one", model=model, thread="t", db=db)
    run(team, "two", model=model, thread="t", db=db)
    assert run(team, "two", model=replay("t", db=db), db=":memory:").answer == "second"


def test_another_team_finds_no_line_and_says_so(db: Path) -> None:
    first = run(sequential(writer), "x", model=scripted(["hello"]), db=db)
    result = run(sequential(agent("stranger", "Do.")), "x", model=replay(first, db=db), db=":memory:")
    assert result.status == "failed" and result.reason is not None and "stranger" in result.reason.message


def test_a_run_without_any_request_can_be_replayed(db: Path) -> None:
    def shout(brief: Any) -> str:
        return str(brief.task.upper())

    first = run(sequential(shout), "x", db=db)
    assert same(first, run(sequential(shout), "x", model=replay(first, db=db), db=":memory:"))


def test_a_run_that_is_not_there_cannot_be_replayed(db: Path) -> None:
    with pytest.raises(StoreError, match="no run 'nobody'"):
        replay("nobody", db=db)


async def test_replaying_works_inside_a_running_loop(db: Path) -> None:
    first = await arun(story(), "x", model=scripted(STORY), db=db)
    assert same(first, await arun(story(), "x", model=replay(first, db=db), db=":memory:"))
