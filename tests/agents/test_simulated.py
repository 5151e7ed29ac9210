"""The model that is used where none is chosen: real in everything but its words."""

import asyncio
import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import uuid
from typing import Annotated, Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter, create_model

from tests.agents.calls import impatient
from troupe import (
    SettingsError,
    SimulatedChatModel,
    Step,
    TeamContext,
    Verdict,
    agent,
    astream,
    gate,
    review,
    run,
    sequential,
)
from troupe.agents.events import Token
from troupe.agents.models.providers import make
from troupe.agents.settings import Settings

writer = agent("writer", "Write.")


def words(team: Any = writer, task: str = "A haiku.", **options: Any) -> str:
    return run(team, task, db=":memory:", **options).answer


def test_the_same_seed_role_step_and_task_bring_the_same_words() -> None:
    assert words() == words() == words(model="simulated") == words(model="simulated:0")


@pytest.mark.parametrize(
    "other",
    [
        {"model": "simulated:1"},
        {"task": "A sonnet."},
        {"team": agent("poet", "Write.")},
        {"team": Step(writer, name="verse")},
    ],
)
def test_another_seed_task_role_or_step_brings_others(other: Any) -> None:
    assert words(**other) != words()


def test_its_words_say_that_they_are_simulated_and_what_for() -> None:
    said = words(task="A haiku about rain.")
    assert said.startswith("[simulated]") and "A haiku about rain." in said and "writer" in said


def test_a_task_as_long_as_a_book_is_quoted_in_part() -> None:
    assert len(words(task="word " * 100_000)) < 1000


def test_a_result_says_that_it_is_simulated_and_costs_nothing() -> None:
    result = run(writer, "x", db=":memory:", budget=0.0001)
    assert (result.simulated, result.usage.usd, result.status) == (True, 0.0, "completed")
    assert result.usage.tokens.input > 0 and result.usage.tokens.output > 0


def test_its_verdicts_pass_with_a_score() -> None:
    team = sequential(writer, gate=gate(review(by="qa-engineer", at_least=0.8)))
    result = run(team, "x", db=":memory:").raise_unless_completed()
    assert result["writer"].rounds == 1 and 0.8 <= (result["writer"].score or 0) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_its_scores_are_high_whatever_the_seed(seed: int) -> None:
    verdict = SimulatedChatModel(seed=seed).with_structured_output(Verdict).invoke("judge")
    assert isinstance(verdict, Verdict) and verdict.passed and (verdict.score or 0) >= 0.88


@pytest.mark.parametrize("spec", ["simulated:x", "simulated:1.5"])
def test_a_seed_is_a_number(spec: str) -> None:
    with pytest.raises(SettingsError, match="a seed, a number"):
        make(spec, Settings.load(), asyncio.new_event_loop())


# ---------------------------------------------------------------------------------------------------- values of a shape


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 3
    HIGH = 7


class Line(BaseModel):
    name: Annotated[str, Field(min_length=40, max_length=60)]
    amount: Annotated[int, Field(ge=100, le=101)]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(gt=8, lt=10)]


class Dog(BaseModel):
    kind: Literal["dog"]


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []
    parent: "Tree | None" = None


class Order(BaseModel):
    """As nasty as schemas come in practice."""

    id: int
    colour: Colour
    level: Level
    state: Literal["open", "closed"]
    lines: Annotated[list[Line], Field(min_length=2, max_length=3)]
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    tree: Tree
    note: str | None
    extra: str | None = None
    tags: dict[str, int]
    pair: tuple[int, str]
    either: int | list[str]
    due: datetime.date


NASTY: dict[str, Any] = {
    "text": str,
    "number": float,
    "flag": bool,
    "anything": Any,
    "none": None,
    "optional text": str | None,
    "nested optional list": list[str | None] | None,
    "enum": Colour,
    "int enum": Level,
    "literal": Literal["a", "b"],
    "literal of kinds": Literal[1, "b", True],
    "short text": Annotated[str, Field(max_length=3)],
    "long text": Annotated[str, Field(min_length=500)],
    "exact text": Annotated[str, Field(min_length=10, max_length=10)],
    "pattern": Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$")],
    "pattern with choices": Annotated[str, Field(pattern=r"^(EUR|USD)$")],
    "pattern anywhere": Annotated[str, Field(pattern=r"@")],
    "pattern and length": Annotated[str, Field(pattern=r"^[a-z]+$", min_length=5, max_length=8)],
    "slug": Annotated[str, Field(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$")],
    "semantic version": Annotated[str, Field(pattern=r"^v?\d+\.\d+\.\d+$")],
    "at least": Annotated[int, Field(ge=100)],
    "at most, negative": Annotated[int, Field(le=-5)],
    "float at most, negative": Annotated[float, Field(le=-5.5)],
    "narrow int": Annotated[int, Field(gt=4, lt=6)],
    "above, to": Annotated[int, Field(gt=5, le=6)],
    "narrow float": Annotated[float, Field(gt=0.001, lt=0.002)],
    "one value": Annotated[float, Field(ge=0.25, le=0.25)],
    "multiple": Annotated[int, Field(multiple_of=7, ge=1, le=20)],
    "far numbers": Annotated[int, Field(ge=10**12, le=10**12 + 1)],
    "date": datetime.date,
    "moment": datetime.datetime,
    "time": datetime.time,
    "duration": datetime.timedelta,
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
    "bounded decimal": Annotated[decimal.Decimal, Field(gt=0, max_digits=6, decimal_places=2)],
    "path": pathlib.Path,
    "bytes": bytes,
    "url": AnyUrl,
    "address": ipaddress.IPv4Address,
    "network address": ipaddress.IPv6Address,
    "regular expression": re.Pattern[str],
    "list of two": Annotated[list[int], Field(min_length=2, max_length=2)],
    "set of three": Annotated[set[int], Field(min_length=3)],
    "set of texts": Annotated[frozenset[str], Field(min_length=2)],
    "set of choices": Annotated[set[Literal["a", "b", "c"]], Field(min_length=2)],
    "tuple": tuple[int, str, bool],
    "tuple of many": tuple[float, ...],
    "dictionary": dict[str, list[int]],
    "filled dictionary": Annotated[dict[str, int], Field(min_length=1)],
    "nested": dict[str, Line],
    "union": int | str,
    "union of models": Line | Tree,
    "told apart": Annotated[Cat | Dog, Field(discriminator="kind")],
    "recursive": Tree,
    "everything": Order,
}


@pytest.mark.parametrize("kind", NASTY.values(), ids=list(NASTY))
@pytest.mark.parametrize("seed", [0, 1])
def test_a_value_of_any_shape_is_valid(kind: Any, seed: int) -> None:
    shape = create_model("Shape", value=(kind, ...))
    value = SimulatedChatModel(seed=seed).with_structured_output(shape).invoke("x")
    assert isinstance(value, shape)
    TypeAdapter(shape).dump_json(value)


def test_a_step_gets_its_value() -> None:
    result = run(sequential(Step(writer, returns=Order)), "x", db=":memory:").raise_unless_completed()
    order = result["writer"].data
    assert isinstance(order, Order)
    assert order.extra is None, "what is not needed is left out"
    assert result.usage.calls == 1


def test_two_runs_give_the_same_value() -> None:
    team = sequential(Step(writer, returns=Order))
    values = [run(team, "x", db=":memory:")["writer"].data for _ in range(2)]
    assert values[0] == values[1]


# ----------------------------------------------------------------------------------------------- streams, tools, faults


def test_its_stream_says_the_same_word_by_word() -> None:
    model = SimulatedChatModel(seed=3)
    chunks = [one for one in model.stream("hello") if isinstance(one, AIMessageChunk)]
    whole = sum(chunks[1:], chunks[0])
    reply = model.invoke("hello")
    assert len(chunks) > 10
    assert (whole.text, whole.usage_metadata) == (reply.text, reply.usage_metadata)
    assert whole.response_metadata["simulated"] is True


async def test_its_answers_stream_through_a_team_as_tokens() -> None:
    events = [one async for one in astream(sequential(writer), "A haiku.", context=TeamContext())]
    assert "".join(one.text for one in events if isinstance(one, Token)) == words()


async def test_calls_asked_for_at_once_are_answered_at_once() -> None:
    model = SimulatedChatModel()
    replies = await model.abatch(["a", "b", "a"])
    assert replies[0].text == replies[2].text != replies[1].text


@tool
def lookup(order: int, tags: list[str]) -> str:
    """Look up an order."""
    return f"order {order}"


def test_it_uses_tools_where_it_is_told_to_and_then_answers() -> None:
    team = sequential(agent("helper", "Help.", tools=[lookup]))
    assert run(team, "x", db=":memory:").usage.calls == 1
    result = run(team, "x", model=SimulatedChatModel(use_tools=True), db=":memory:").raise_unless_completed()
    assert result.usage.calls == 2 and result.answer.startswith("[simulated]")


def test_its_tool_calls_come_with_valid_arguments_once() -> None:
    model = SimulatedChatModel(use_tools=True).bind_tools([lookup])
    called = model.invoke("x")
    (call,) = called.tool_calls
    assert call["name"] == "lookup" and isinstance(call["args"]["order"], int)
    answered = ToolMessage("order 7", tool_call_id=call["id"])
    assert model.invoke([HumanMessage("x"), called, answered]).tool_calls == []


def test_faults_come_in_order_by_step_role_or_for_everyone() -> None:
    model = SimulatedChatModel(faults={"draft": [ConnectionError("reset"), None, KeyError("gone")], "*": [None]})
    context = TeamContext(executor=impatient())
    team = sequential(Step(writer, name="draft"), Step(agent("editor", "Edit."), name="edit"))
    first = run(team, "x", model=model, context=context, db=":memory:")
    assert (first.status, first["draft"].attempts, first["edit"].attempts) == ("completed", 2, 1)
    second = run(team, "x", model=model, context=context, db=":memory:")
    assert second.status == "failed" and second.reason is not None and "gone" in second.reason.message


def test_latency_is_waited_for_without_blocking() -> None:
    model = SimulatedChatModel(latency=0.05)

    async def many() -> float:
        started = asyncio.get_running_loop().time()
        await model.abatch(["x"] * 20)
        return asyncio.get_running_loop().time() - started

    assert 0.05 <= asyncio.run(many()) < 0.9


def test_it_is_a_chat_model_like_any_other() -> None:
    reply = SimulatedChatModel().invoke([("system", "Be brief."), ("user", "hello")])
    assert isinstance(reply, AIMessage)
    assert reply.response_metadata["model_name"] == "simulated"
    assert reply.usage_metadata is not None and reply.usage_metadata["output_tokens"] > 0
