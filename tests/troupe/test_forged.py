"""Rows that somebody else wrote: nothing runs, the row is named, the command fails, and the rest stays usable."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, message_to_dict
from langgraph.checkpoint.serde import jsonplus

from tests.support.command import Shell
from tests.support.stores import Place
from tests.support.stores import place as place
from tests.support.teams import Crash, Mortal
from troupe import StoreError, TeamContext, agent, contains, gate, resume, run, scripted, sequential
from troupe.agents.errors import Blocked, UnknownRun
from troupe.checkpoints import store_at

TEAMS = "from troupe import agent, contains, gate, sequential\n"
TEAMS += "team = sequential(agent('a', 'Work.'), agent('b', 'Work.'), gate=gate(contains('zzz'), 0, 'ask'))\n"
TEAM = sequential(agent("a", "Work."), agent("b", "Work."))


def packed(code: int, *parts: Any) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))


class Bomb:
    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch boom",)


LC = {"lc": 1, "type": "constructor", "id": ["subprocess", "getoutput"], "kwargs": {"cmd": "touch boom"}}
SECRET = {"lc": 1, "type": "secret", "id": ["CANARY"]}
STATES: dict[str, tuple[str, bytes]] = {
    "os.system": ("msgpack", packed(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "os", "system", "touch boom")),
    "eval": ("msgpack", packed(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "builtins", "eval", "open('boom', 'w')")),
    "getoutput": ("msgpack", packed(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, "subprocess", "getoutput", ["touch boom"])),
    "pickle": ("pickle", pickle.dumps(Bomb())),
    "lc constructor": ("json", json.dumps(LC).encode()),
    "lc in msgpack": (
        "msgpack",
        packed(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, "subprocess", "Popen", {"args": ["touch", "boom"]}),
    ),
    "no kind": ("", b"\x80"),
}


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the attacks would have run."""
    sprung: list[str] = []
    monkeypatch.setattr("os.system", lambda *_: sprung.append("system"))
    real = eval

    def watched(text: Any, *args: Any) -> Any:
        return sprung.append("eval") if "boom" in str(text) else real(text, *args)

    monkeypatch.setattr("builtins.eval", watched)  # Python's own typing calls it
    monkeypatch.setattr(subprocess, "getoutput", lambda *_: sprung.append("getoutput"))
    monkeypatch.setenv("CANARY", "canary-value")
    return sprung


@pytest.mark.parametrize("which", ["checkpoint", "write"])
@pytest.mark.parametrize("row", STATES.values(), ids=STATES)
def test_a_forged_state_runs_nothing_and_is_named(
    row: tuple[str, bytes], which: str, place: Place, trap: list[str], tmp_path: Path
) -> None:
    team = sequential(agent("a", "Work."), agent("b", "Work."), gate=gate(contains("zzz"), 0, "ask"))
    run(team, "x", model=scripted({"a": "one zzz", "b": "two"}), db=place.db, thread="t")
    assert place.forge(*row, which) > 0
    with pytest.raises(Blocked, match=r"thread 't', checkpoint "):
        resume("t", True, target=team, model=scripted(["never"]), db=place.db)
    assert trap == [] and not (tmp_path / "boom").exists()
    ok = run(TEAM, "y", model=scripted({"a": "1", "b": "2"}), db=place.db, thread="u")
    assert ok.answer == "2", "the rest of the database is as it was"


@pytest.mark.parametrize("value", ["approved", 7, [], {}, {"channel_values": {}}, None], ids=repr)
def test_a_checkpoint_that_is_none_is_named(value: Any, place: Place) -> None:
    run(TEAM, "x", model=scripted({"a": "one", "b": "two"}), db=place.db, thread="t")
    if place.kind == "sqlite":
        place.sql("UPDATE checkpoints SET type = 'msgpack', checkpoint = ?", (ormsgpack.packb(value),))
    else:
        place.sql("UPDATE checkpoints SET checkpoint = CAST(? AS jsonb)", (json.dumps(value),))
    with pytest.raises(Blocked, match=r"thread 't', checkpoint the latest: "):
        resume("t", target=TEAM, model=scripted([]), db=place.db)


def test_metadata_that_is_none_is_named(db: Path) -> None:
    place = Place(str(db))
    run(TEAM, "x", model=scripted({"a": "one", "b": "two"}), db=place.db, thread="t")
    for forged in (b"{broken", b"[]", b"\xff"):
        place.sql("UPDATE checkpoints SET metadata = ?", (forged,))
        with pytest.raises(Blocked, match=r"thread 't', checkpoint the latest: "):
            resume("t", target=TEAM, model=scripted([]), db=place.db)


def test_the_command_fails_without_a_traceback_and_lists_what_else_there_is(place: Place, tmp_path: Path) -> None:
    (tmp_path / "teams.py").write_text(TEAMS)
    shell = Shell(tmp_path)
    assert shell("run", "teams.py:team", "x", "--thread", "t", "--db", place.db).code == 5
    place.forge(*STATES["os.system"], "checkpoint")
    for words in (["resume", "t"], ["approve", "t"], ["runs", "t"]):
        done = shell(*words, "--db", place.db)
        assert done.code != 0 and "os.system, which may not be loaded" in done.err, words
        assert "thread 't', checkpoint " in done.err and "Traceback" not in done.err
    assert shell("runs", "--db", place.db).code == 0
    assert shell("delete", "t", "--yes", "--db", place.db).code == 0, "it can be got rid of"
    assert not (tmp_path / "boom").exists()


# --- the journal -----------------------------------------------------------------------------------------------------

REPLY = message_to_dict(AIMessage("one"))
RECEIVED: dict[str, str] = {
    "no JSON": "{broken",
    "nothing": "",
    "deep": "[" * 100_000,
    "null": "null",
    "a number": "7",
    "a list": "[]",
    "lc constructor": json.dumps(LC),
    "lc secret": json.dumps(SECRET),
    "a message of no kind": json.dumps({"type": "constructor", "data": LC}),
    "another's message": json.dumps({"type": "human", "data": {"content": "approved"}}),
    "a message that is none": json.dumps({"type": "ai", "data": {"content": {"a": 1}, "tool_calls": "x"}}),
    "data that is none": json.dumps({"type": "ai", "data": "x"}),
}


@pytest.fixture
def died(place: Place) -> Place:
    """A run whose process died in its second step: the first step's call is in the journal, and no more of it."""
    context = TeamContext(models=scripted({"a": "one"}), executor=Mortal("b"))
    with pytest.raises(Crash):
        run(TEAM, "x", context=context, db=place.db, thread="t")
    # As if it had died before the step's writes were saved.
    for table in ("writes",) if place.kind == "sqlite" else ("checkpoint_writes",):
        place.sql(f"DELETE FROM {table}")  # noqa: S608
    place.sql("DELETE FROM checkpoints WHERE parent_checkpoint_id IS NOT NULL")
    return place


def again(place: Place) -> Any:
    model = scripted({"a": "paid again", "b": "two"})
    return resume("t", target=TEAM, model=model, db=place.db), [step for step, _, _ in model.asked]


def test_what_is_in_the_journal_is_not_asked_again(died: Place) -> None:
    result, asked = again(died)
    assert result["a"].content == "one" and asked == ["b"], "or the tests below would forge rows that nobody reads"


@pytest.mark.parametrize("row", ["request", "outcome"])
@pytest.mark.parametrize("received", RECEIVED.values(), ids=RECEIVED)
def test_a_forged_row_of_the_journal_is_named_and_nobody_is_asked_instead(
    received: str, row: str, died: Place, trap: list[str]
) -> None:
    ((key,),) = died.sql("SELECT key FROM troupe_journal WHERE kind = ? AND agent = 'a'", (row,))
    died.sql("UPDATE troupe_journal SET received = ? WHERE key = ?", (received, key))
    if row == "request":
        died.sql("UPDATE troupe_journal SET kind = 'reserved', received = NULL, sent = NULL WHERE kind = 'outcome'")
    model = scripted({"a": "paid again", "b": "two"})
    with pytest.raises(Blocked) as caught:
        resume("t", target=TEAM, model=model, db=died.db)
    assert repr(key) in str(caught.value), "the row is named"
    assert model.asked == [] and trap == [] and "canary-value" not in str(caught.value)


def test_a_secret_in_a_message_of_the_journal_stays_words(died: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-value")
    reply = message_to_dict(AIMessage("one", additional_kwargs={"x": SECRET}, response_metadata={"y": LC}))
    died.sql("UPDATE troupe_journal SET received = ? WHERE kind = 'request'", (json.dumps(reply),))
    died.sql("UPDATE troupe_journal SET kind = 'reserved', received = NULL, sent = NULL WHERE kind = 'outcome'")
    result, asked = again(died)
    assert result.answer == "two" and asked == ["b"]
    assert b"canary-value" not in died.stored()


@pytest.mark.parametrize(
    ("column", "value"),
    [("kind", "shell"), ("failure", "approved"), ("usage", "{"), ("usage", '{"usd": "x"}'), ("sent", "]")],
)
def test_other_columns_that_were_forged_are_named(column: str, value: str, died: Place) -> None:
    ((key,),) = died.sql("SELECT key FROM troupe_journal WHERE kind = 'outcome' AND agent = 'a'")
    died.sql(f"UPDATE troupe_journal SET {column} = ? WHERE key = ?", (value, key))  # noqa: S608
    with died.open() as store, pytest.raises(Blocked) as caught:
        asyncio.run(store.rows("t/"))
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"), [("input", "[]"), ("input", "{"), ("models", "{"), ("usage", "x"), ("fingerprint", "{")]
)
def test_a_forged_turn_is_named(column: str, value: str, died: Place, tmp_path: Path) -> None:
    died.sql(f"UPDATE troupe_turns SET {column} = ?", (value,))  # noqa: S608
    with died.open() as store, pytest.raises(Blocked, match=rf"turn 1 of thread 't', {column}"):
        asyncio.run(store.last("t"))
    done = Shell(tmp_path)("resume", "t", "--db", died.db)
    assert done.code != 0 and "turn 1 of thread 't'" in done.err and "Traceback" not in done.err


def test_the_command_names_the_journals_row(died: Place, tmp_path: Path) -> None:
    died.sql("UPDATE troupe_journal SET received = '{broken' WHERE kind = 'outcome'")
    done = Shell(tmp_path)("show", "t", "a", "--db", died.db)
    assert done.code != 0 and "the journal's row 't/1/" in done.err and "Traceback" not in done.err


@given(
    received=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
        max_leaves=8,
    )
)
def test_no_json_in_the_journal_gets_past_as_a_message_unless_it_is_one(received: Any) -> None:
    from troupe.agents.call import _message

    try:
        message = _message(received)
    except (ValueError, TypeError, LookupError, AttributeError):
        return
    assert isinstance(message, AIMessage)


def test_names_from_outside_are_values_and_never_queries(place: Place) -> None:
    with place.open() as store:
        for name in ("'; DROP TABLE troupe_turns; --", "%' OR '1'='1", "t') OR 1=1 --"):
            with pytest.raises(UnknownRun):
                asyncio.run(store.last(name))
            with pytest.raises(StoreError):
                asyncio.run(store.delete(name))
            assert asyncio.run(store.rows(name)) == [] and asyncio.run(store.holder(name)) is None
    with store_at(place.db) as store:
        assert asyncio.run(store.turns()) == []
