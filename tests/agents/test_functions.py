"""Plain functions as agents."""

import asyncio
import functools
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from pydantic import BaseModel

from tests.agents.calls import outcome_of
from troupe import Brief, BuildError, Deliverable
from troupe.agents.contracts import Failed, Ok
from troupe.agents.functions import FunctionAgent, as_deliverable


class Point(BaseModel):
    x: int
    y: int = 0


async def worked(function: Any, schema: Any = None) -> Deliverable:
    outcome = await outcome_of(FunctionAgent(function, name="f"), schema=schema, task="rain")
    assert isinstance(outcome, Ok), outcome
    done: Deliverable = outcome.value
    return done


async def failed(function: Any, schema: Any = None) -> str:
    outcome = await outcome_of(FunctionAgent(function, name="f"), schema=schema)
    assert isinstance(outcome, Failed), outcome
    return outcome.cause


async def test_a_function_gets_the_brief_and_returns_text() -> None:
    done = await worked(lambda brief: f"about {brief.task}")
    assert (done.content, done.agent, done.data) == ("about rain", "f", None)


async def test_it_may_be_async_a_partial_a_method_or_an_object() -> None:
    async def later(brief: Brief) -> str:
        return "later"

    async def with_more(more: str, brief: Brief) -> str:
        return more

    class Poet:
        def write(self, brief: Brief) -> str:
            return "method"

        async def __call__(self, brief: Brief) -> str:
            return "called"

    assert (await worked(later)).content == "later"
    assert (await worked(functools.partial(with_more, "partial"))).content == "partial"
    assert (await worked(Poet().write)).content == "method"
    assert (await worked(Poet())).content == "called"
    assert (await worked(lambda brief: later(brief))).content == "later"


async def test_a_sync_function_holds_nobody_up_and_sees_the_callers_context() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    who.set("me")
    entered, leave = threading.Event(), threading.Event()

    def blocks(brief: Brief) -> str:
        entered.set()
        leave.wait()
        return f"{who.get()} in {threading.current_thread() is threading.main_thread()}"

    task = asyncio.create_task(worked(blocks))
    await asyncio.to_thread(entered.wait)
    leave.set()
    assert (await task).content == "me in False"


@pytest.mark.parametrize(
    ("value", "content", "data"),
    [
        ({"a": 1, "ä": [1.5, None]}, '{\n  "a": 1,\n  "ä": [\n    1.5,\n    null\n  ]\n}', {"a": 1, "ä": [1.5, None]}),
        ([1, 2], "[\n  1,\n  2\n]", [1, 2]),
        (Point(x=1), '{\n  "x": 1,\n  "y": 0\n}', Point(x=1)),
        ("", "", None),
    ],
)
async def test_data_becomes_json_text_and_stays_data(value: Any, content: str, data: Any) -> None:
    done = await worked(lambda _: value)
    assert (done.content, done.data) == (content, data)


async def test_a_deliverable_goes_through_with_its_step_corrected() -> None:
    made = Deliverable(step="elsewhere", content="x", agent="somebody", status="partial", score=0.5)
    done = await worked(lambda _: made)
    assert (done.step, done.agent, done.status, done.score) == ("f", "somebody", "partial", 0.5)


@pytest.mark.parametrize("value", [Point(x=1), {"x": 1}, '{"x": 1}', {"x": "1"}])
async def test_a_value_is_made_of_whatever_fits_the_schema(value: Any) -> None:
    assert (await worked(lambda _: value, Point)).data == Point(x=1)


@pytest.mark.parametrize("value", [{"y": 1}, "no JSON", {"x": "many"}])
async def test_what_does_not_fit_the_schema_fails(value: Any) -> None:
    assert "f returned no valid Point" in await failed(lambda _: value, Point)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, b"bytes", object(), {1, 2}])
async def test_what_is_none_of_the_kinds_fails_with_those_that_are(value: Any) -> None:
    assert "a step returns str, dict, a pydantic model or a Deliverable" in await failed(lambda _: value)


async def test_data_that_is_no_json_fails_and_does_not_crash_the_run() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in ({"a": object()}, loop, {(1, 2): 3}):
        assert "not JSON" in await failed(lambda _, value=value: value)
    for made in (object(), {"a": {1: object()}}):
        assert "not JSON" in await failed(lambda _, made=made: Deliverable(step="", content="x", data=made))


async def test_an_error_is_a_failure_with_its_words() -> None:
    def broken(brief: Brief) -> str:
        raise ZeroDivisionError("in my code")

    assert "ZeroDivisionError: in my code" in await failed(broken)


async def test_stopping_an_iteration_is_an_error_like_any_other() -> None:
    def stops(brief: Brief) -> str:
        return next(iter([]))

    async def stops_later(brief: Brief) -> str:
        raise StopAsyncIteration

    assert "StopIteration" in await failed(stops)
    assert "StopAsyncIteration" in await failed(stops_later)


@pytest.mark.parametrize("function", [lambda: "x", lambda a, b: "x"])
def test_a_function_that_takes_no_brief_is_refused_when_it_is_given(function: Any) -> None:
    with pytest.raises(BuildError, match="takes one argument, the Brief"):
        FunctionAgent(function)


def test_its_name_and_title_are_its_own() -> None:
    def tidy(brief: Brief) -> str:
        """Tidies up.

        And more.
        """
        return ""

    assert (FunctionAgent(tidy).name, FunctionAgent(tidy).title) == ("tidy", "Tidies up.")
    assert as_deliverable("x", "n", Brief(task="t", step="s")).step == "s"
