"""What a database may bring back to life: our values and messages, types that were named, and nothing else at all."""

from __future__ import annotations

import builtins
import datetime
import decimal
import json
import pickle
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.support.teams import Crash, Mortal
from troupe import (
    Deliverable,
    Reason,
    Step,
    TeamContext,
    TeamState,
    Usage,
    agent,
    contains,
    gate,
    resume,
    run,
    scripted,
    sequential,
)
from troupe.agents.contracts import Judgement, Tokens
from troupe.agents.errors import Blocked
from troupe.serializer import StrictSerializer, types_of

STRICT = StrictSerializer()


def packed(code: int, *parts: Any) -> bytes:
    """A msgpack row with one extension value, as an attacker writes it."""
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the attacks would have run."""
    sprung: list[str] = []

    def spring(name: str) -> Callable[..., None]:
        return lambda *args, **_: sprung.append(f"{name}{args}")

    monkeypatch.setattr("os.system", spring("os.system"))
    monkeypatch.setattr(builtins, "eval", spring("eval"))
    monkeypatch.setattr("subprocess.Popen", spring("Popen"))
    monkeypatch.setattr("importlib.import_module", spring("import"))
    return sprung


class Bomb:
    def __reduce__(self) -> Any:
        import os

        return os.system, ("echo boom",)


LC = {"lc": 2, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "echo boom"}}
METHOD, PYDANTIC = jsonplus.EXT_METHOD_SINGLE_ARG, jsonplus.EXT_PYDANTIC_V2
FORGED: dict[str, tuple[str, bytes]] = {
    "one argument": ("msgpack", packed(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "os", "system", "echo boom")),
    "arguments": ("msgpack", packed(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, "os", "system", ["echo boom"])),
    "keywords": ("msgpack", packed(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, "subprocess", "Popen", {"args": "echo boom"})),
    "eval": ("msgpack", packed(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "builtins", "eval", "1")),
    "method": ("msgpack", packed(jsonplus.EXT_METHOD_SINGLE_ARG, "os", "path", "x", "join")),
    "method of a safe type": ("msgpack", packed(METHOD, "datetime", "datetime", "x", "strptime")),
    "method without a name": ("msgpack", packed(jsonplus.EXT_METHOD_SINGLE_ARG, "os", "system", "x")),
    "pydantic": ("msgpack", packed(jsonplus.EXT_PYDANTIC_V2, "os", "system", {"command": "x"}, "model_validate_json")),
    "old pydantic": ("msgpack", packed(jsonplus.EXT_PYDANTIC_V1, "os", "system", {"command": "x"})),
    "one of ours under another name": ("msgpack", packed(PYDANTIC, "troupe.agents.contracts", "Call", {})),
    "unknown extension": ("msgpack", packed(99, "os", "system", "echo boom")),
    "no list inside": ("msgpack", ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb("os.system")))),
    "inside a list": ("msgpack", ormsgpack.packb([{"a": [ormsgpack.Ext(0, ormsgpack.packb(("os", "system", "x")))]}])),
    "inside one of ours": (
        "msgpack",
        packed(
            jsonplus.EXT_PYDANTIC_V2, "troupe.agents.contracts", "Deliverable",
            {"step": "a", "data": ormsgpack.Ext(0, ormsgpack.packb(("os", "system", "x")))}, "model_validate_json",
        ),
    ),
    "inside a snapshot": (
        "msgpack", ormsgpack.packb(ormsgpack.Ext(jsonplus.EXT_DELTA_SNAPSHOT, packed(0, "os", "system", "x"))),
    ),
    "pickle": ("pickle", pickle.dumps(Bomb())),
    "json": ("json", json.dumps(LC).encode()),
    "unknown kind": ("msgpack+zip", b""),
    "broken": ("msgpack", b"\xc1\xff"),
    "empty": ("msgpack", b""),
}  # fmt: skip


NAMED = {
    "one argument": "the type os.system",
    "arguments": "the type os.system",
    "keywords": "the type subprocess.Popen",
    "eval": "the type builtins.eval",
    "method": "the method os.path.join",
    "method of a safe type": "the method datetime.datetime.strptime",
    "pydantic": "the type os.system",
    "one of ours under another name": "the type troupe.agents.contracts.Call",
    "inside a list": "the type os.system",
    "inside one of ours": "the type os.system",
    "inside a snapshot": "the type os.system",
    "pickle": "the kind 'pickle'",
    "json": "the kind 'json'",
}


@pytest.mark.parametrize("row", FORGED.values(), ids=FORGED)
def test_a_forged_row_is_blocked_and_named_and_runs_nothing(
    row: tuple[str, bytes], trap: list[str], request: pytest.FixtureRequest
) -> None:
    with pytest.raises(Blocked) as caught:
        STRICT.loads_typed(row)
    assert trap == []
    named = NAMED.get(request.node.callspec.id)
    assert named is None or named in str(caught.value)


@pytest.mark.parametrize("place", ["checkpoint", "write"])
@pytest.mark.parametrize("row", FORGED.values(), ids=FORGED)
def test_a_forged_row_stops_a_resume_and_is_named(
    row: tuple[str, bytes], place: str, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = sequential(agent("a", "Work."), Step(agent("b", "Work."), gate=gate(contains("zzz"), 0, "ask")))
    run(team, "x", model=scripted({"a": "one", "b": "two"}), db=db, thread="t")
    kind, value = row
    with sqlite3.connect(db) as connection:
        if place == "checkpoint":
            changed = connection.execute("UPDATE checkpoints SET type = ?, checkpoint = ?", (kind, value))
        else:
            changed = connection.execute(
                "UPDATE writes SET type = ?, value = ? WHERE channel = 'deliverables'", (kind, value)
            )
        assert changed.rowcount > 0
    connection.close()
    sprung: list[Any] = []
    monkeypatch.setattr("os.system", sprung.append)
    with pytest.raises(Blocked, match=rf"{db}, thread 't'"):
        resume("t", True, target=team, model=scripted(["never"]), db=db)
    assert sprung == []


# --- what does come back ---------------------------------------------------------------------------------------------

TEXT = st.text(max_size=9)
USAGE = st.builds(
    Usage,
    tokens=st.builds(Tokens, input=st.integers(0, 9), output=st.integers(0, 9)),
    usd=st.none() | st.floats(0, 9),
    calls=st.integers(0, 9),
)
DONE = st.builds(
    Deliverable,
    step=TEXT,
    content=TEXT,
    status=st.sampled_from(["submitted", "accepted", "partial", "superseded"]),
    data=st.none() | st.dictionaries(TEXT, st.integers(-5, 5) | TEXT | st.lists(TEXT, max_size=2), max_size=3),
    usage=USAGE,
    reason=st.none() | st.builds(Reason, kind=st.sampled_from(["limit", "error"]), message=TEXT),
    score=st.none() | st.floats(0, 1),
)
NESTED = st.builds(lambda done, parts: done.but(parts=parts), DONE, st.dictionaries(TEXT, DONE, max_size=2))
VERDICT = st.builds(
    Judgement,
    passed=st.booleans(),
    score=st.none() | st.floats(0, 1),
    findings=st.lists(TEXT, max_size=2).map(tuple),
    by=TEXT,
)


@given(st.dictionaries(TEXT, NESTED | VERDICT | USAGE, max_size=3))
def test_our_values_come_back_as_they_were(values: dict[str, Any]) -> None:
    assert STRICT.loads_typed(STRICT.dumps_typed(values)) == values


@pytest.mark.parametrize(
    "value",
    [
        None, b"bytes", "text", 1.5, [1, {"a": None}], {"a": {1, 2}},
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(seconds=3), decimal.Decimal("1.50"),
        uuid.UUID(int=7), Path("/tmp/x"),  # noqa: S108 - a value, never opened
        HumanMessage("hi", id="1"), AIMessage("", tool_calls=[{"name": "t", "args": {"a": 1}, "id": "2"}]),
        ToolMessage("done", tool_call_id="2"), RemoveMessage(id="1"),
    ],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_plain_data_and_messages_come_back(value: Any) -> None:
    assert STRICT.loads_typed(STRICT.dumps_typed(value)) == value


def test_a_stored_value_that_is_no_longer_valid_is_named() -> None:
    row = packed(
        jsonplus.EXT_PYDANTIC_V2, "troupe.agents.contracts", "Deliverable", {"step": "a", "status": "perfect"}, "x"
    )
    with pytest.raises(Blocked, match="A stored Deliverable is not valid"):
        STRICT.loads_typed(("msgpack", row))


# --- types of the user's ---------------------------------------------------------------------------------------------


@dataclass
class Customer:
    name: str
    orders: list[int]


class Address(BaseModel):
    city: str


class Ticket(TeamState, total=False):
    customer: Customer
    address: Address | None


class Unnamed:
    pass


def test_types_in_a_state_schema_of_ones_own_come_back_by_themselves(db: Path) -> None:
    team = sequential(agent("a", "Work."), agent("b", "Work."), state_schema=Ticket)
    assert {(__name__, "Customer"), (__name__, "Address")} <= types_of(team.compile())
    context = TeamContext(models=scripted({"a": "one"}), executor=Mortal("b"))
    given: Any = {"task": "x", "customer": Customer("ada", [42]), "address": Address(city="London")}
    with pytest.raises(Crash):
        run(team, given, context=context, db=db, thread="t")
    result = resume("t", target=team, model=scripted({"b": "two"}), db=db)
    assert (result.status, result.answer) == ("completed", "two")
    from troupe import checkpoints

    with checkpoints.sqlite(db, types=[Customer, Address]) as store:
        values = team.compile(checkpointer=store).get_state({"configurable": {"thread_id": "t"}}).values
    assert (values["customer"], values["address"]) == (Customer("ada", [42]), Address(city="London"))


def test_types_of_a_graph_inside_a_graph_are_found_too() -> None:
    class Inner(TypedDict, total=False):
        messages: list[Any]
        customer: Customer

    built: StateGraph[Inner] = StateGraph(Inner)
    built.add_node("work", lambda state: {"messages": [AIMessage("x")]})
    built.add_edge(START, "work")
    assert (__name__, "Customer") in types_of(sequential(Step(built, name="inner")).compile())


def test_a_type_that_nobody_named_is_blocked_and_the_message_says_how_to_name_it() -> None:
    row = JsonPlusSerializer().dumps_typed(Customer("ada", []))
    with pytest.raises(Blocked, match=rf"{__name__}\.Customer, which may not be loaded.*types=\[\.\.\.\]"):
        STRICT.loads_typed(row)
    assert StrictSerializer([Customer]).loads_typed(row) == Customer("ada", [])
    assert StrictSerializer([(__name__, "Customer")]).loads_typed(row) == Customer("ada", [])
    assert STRICT.allowing([Customer]).loads_typed(row) == Customer("ada", [])
    assert STRICT.with_msgpack_allowlist([(__name__, "Customer")]).loads_typed(row) == Customer("ada", [])
