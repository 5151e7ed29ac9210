"""A database with a key: nothing of what was said lies in it readably, and nothing that was changed is believed."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command import Shell
from tests.support.stores import Place
from tests.support.stores import place as place
from troupe import SettingsError, Step, StoreError, agent, contains, gate, resume, run, scripted, sequential
from troupe.agents.errors import Blocked
from troupe.agents.journal import Row
from troupe.catalogue import PATTERNS
from troupe.sealing import KEY, Seal, key_of

SECRET = "7e" * 32
OTHER = "8f" * 32
TEAM = sequential(
    agent("alpha", "PROMPTWORD: work."),
    Step(agent("beta", "Work."), "OBJECTIVEWORD", gate=gate(contains("zzz"), 0, "ask")),
)
SAID = ["TASKWORD", "ALPHAWORD", "BETAWORD", "PROMPTWORD", "OBJECTIVEWORD", "EDITWORD", "FAILUREWORD"]


@pytest.fixture
def keyed(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv(KEY, SECRET)
    return place


def talked(place: Place) -> Any:
    """A run with a task, a failed attempt, an output, a question and an answer."""
    model = scripted({"alpha": [ValueError("FAILUREWORD"), "ALPHAWORD said"], "beta": "BETAWORD said"})
    asked = run(
        TEAM,
        "TASKWORD, please",
        model=scripted({"alpha": "ALPHAWORD said", "beta": "BETAWORD"}),
        db=place.db,
        thread="t",
    )
    assert asked.status == "waiting"
    failed = run(sequential(agent("alpha", "Work.")), "TASKWORD", model=model, db=place.db, thread="f")
    assert failed.status == "failed"
    answer = {"type": "edit", "message": "EDITWORD zzz"}
    done = resume("t", answer, target=TEAM, model=scripted([]), db=place.db)
    assert (done.status, done.answer) == ("completed", "EDITWORD zzz")
    return done


def test_nothing_that_was_said_lies_in_the_database(keyed: Place) -> None:
    with keyed.open():  # keeps the log beside the file, with everything that was written
        talked(keyed)
        stored = keyed.stored()
    assert len(stored) > 10_000
    found = [word for word in SAID if word.encode() in stored or word.encode("utf-16-le") in stored]
    assert found == []
    assert b"alpha" in stored and b"completed" in stored, "names and statuses are what the database works with"


def test_without_a_key_it_lies_there(place: Place) -> None:
    talked(place)
    stored = place.stored()
    assert [word for word in SAID if word.encode() not in stored] == [], "or the test above would find nothing anywhere"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_patterns_state_comes_back_as_it_was(pattern: str, keyed: Place) -> None:
    done = run(pattern, "a shop", model="simulated", db=keyed.db, thread="t")
    again = resume("t", db=keyed.db)
    assert done.status == "completed"
    assert (again.answer, again.deliverables, again.record) == (done.answer, done.deliverables, done.record)
    assert b"a shop" not in keyed.stored()


def test_whoever_has_no_key_is_told_that_one_is_needed(
    keyed: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talked(keyed)
    monkeypatch.delenv(KEY)
    with pytest.raises(StoreError, match=r"is encrypted\. Give its key: TROUPE_DB_KEY"):
        keyed.open()
    done = Shell(tmp_path)("runs", "--db", keyed.db)
    assert done.code == 2 and "is encrypted" in done.err and "Traceback" not in done.err
    assert "TASKWORD" in Shell(tmp_path)("runs", "--db", keyed.db, **{KEY: SECRET}).out


def test_whoever_has_another_key_is_told_so(keyed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    talked(keyed)
    monkeypatch.setenv(KEY, OTHER)
    with pytest.raises(StoreError, match=r"is encrypted with another key than that of TROUPE_DB_KEY"):
        keyed.open()


def test_a_key_cannot_be_given_to_what_is_there_already(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    talked(place)
    monkeypatch.setenv(KEY, SECRET)
    with pytest.raises(StoreError, match=r"is not encrypted, and a key cannot be given to what is already there"):
        place.open()
    monkeypatch.delenv(KEY)
    assert resume("t", target=TEAM, model=scripted([]), db=place.db).status == "completed"


def test_a_database_that_was_encrypted_and_says_it_is_not_is_not_believed(keyed: Place) -> None:
    talked(keyed)
    keyed.sql("DELETE FROM troupe_meta WHERE name = 'encryption'")
    with pytest.raises(StoreError, match="is not encrypted, and a key cannot be given"):
        keyed.open()


def test_a_key_may_be_given_in_the_code(place: Place) -> None:
    with place.open(key=SECRET) as store:
        assert run(TEAM, "TASKWORD", model=scripted({"alpha": "1", "beta": "2 zzz"}), db=store).answer == "2 zzz"
    with place.open(key=bytes.fromhex(SECRET)) as store:
        assert len(asyncio.run(store.turns())) == 1


# --- rows that were changed ------------------------------------------------------------------------------------------

TEXTS = [
    ("troupe_journal", "sent"),
    ("troupe_journal", "received"),
    ("troupe_turns", "task"),
    ("troupe_turns", "input"),
]


@pytest.mark.parametrize(("table", "column"), TEXTS)
@pytest.mark.parametrize("change", ["one byte", "not encrypted", "of another row", "cut", "nothing"])
def test_a_text_that_was_changed_is_refused_and_named(table: str, column: str, change: str, keyed: Place) -> None:
    talked(keyed)
    which = "key" if table == "troupe_journal" else "thread"
    here, there = "kind = 'request'", "kind = 'outcome'"
    if table == "troupe_turns":
        here, there = "thread = 't'", "thread = 'f'"
    ((name, text),) = keyed.sql(f"SELECT {which}, {column} FROM {table} WHERE {here} ORDER BY {which} LIMIT 1")  # noqa: S608
    raw = bytearray(base64.b64decode(text.removeprefix("aes:")))
    raw[len(raw) // 2] ^= 1
    forged = {
        "one byte": "aes:" + base64.b64encode(raw).decode(),
        "not encrypted": '{"type": "ai", "data": {"content": "approved"}}',
        "of another row": keyed.sql(f"SELECT {column} FROM {table} WHERE {there} LIMIT 1")[0][0],  # noqa: S608
        "cut": text[:20],
        "nothing": "",
    }[change]
    keyed.sql(f"UPDATE {table} SET {column} = ? WHERE {which} = ?", (forged, name))  # noqa: S608
    with (
        keyed.open() as store,
        pytest.raises(Blocked, match=r"not encrypted|cannot be decrypted|at another place") as caught,
    ):
        asyncio.run(store.rows("t/") if table == "troupe_journal" else store.last("t"))
    assert repr(name) in str(caught.value) and column in str(caught.value)


@pytest.mark.parametrize("which", ["checkpoint", "write"])
@pytest.mark.parametrize("kind", ["msgpack", "msgpack+aes", "null", "pickle+aes", "msgpack+rot13", "+", ""])
def test_a_state_that_was_changed_is_refused_and_named(kind: str, which: str, keyed: Place) -> None:
    run(TEAM, "TASKWORD", model=scripted({"alpha": "1", "beta": "2"}), db=keyed.db, thread="t")
    assert keyed.forge(kind, b"\x81\xa1a\x01", which) > 0
    with pytest.raises(Blocked, match=r"thread 't', checkpoint .*(is not encrypted|cannot be decrypted)"):
        resume("t", True, target=TEAM, model=scripted([]), db=keyed.db)


def test_a_plain_value_beside_the_encrypted_ones_is_refused(keyed: Place) -> None:
    if keyed.kind == "sqlite":
        pytest.skip("SQLite's checkpoints are encrypted whole")
    run(TEAM, "TASKWORD", model=scripted({"alpha": "1", "beta": "2"}), db=keyed.db, thread="t")
    forged = """jsonb_set(checkpoint, '{channel_values, answer}', '"approved"')"""
    keyed.sql(f"UPDATE checkpoints SET checkpoint = {forged}")  # noqa: S608
    with pytest.raises(Blocked, match="Values in it are not encrypted: answer"):
        resume("t", True, target=TEAM, model=scripted([]), db=keyed.db)


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("00" * 32, bytes(32)),
        ("AB" * 24, b"\xab" * 24),
        (base64.b64encode(b"\xff" * 16).decode(), b"\xff" * 16),
        (base64.b64encode(b"\xff" * 32).decode(), b"\xff" * 32),
        ("-" * 16, b"-" * 16),
        (b"\0" * 24, bytes(24)),
    ],
    ids=repr,
)
def test_a_key_is_read_as_hex_as_base64_or_as_it_is(given: str | bytes, key: bytes) -> None:
    assert key_of(given) == key


@pytest.mark.parametrize(
    "given", ["x", "hunter22", "00" * 31, "é" * 15, b"", b"\0" * 17, base64.b64encode(bytes(20)).decode()]
)
def test_what_is_no_key_is_refused_without_repeating_it(given: Any, db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SettingsError, match=r"16, 24 or 32 bytes, in hex or base64\. Make one with: python -c"
    ) as caught:
        key_of(given)
    assert str(given) not in str(caught.value) or given in ("x", b"")
    if isinstance(given, str):
        monkeypatch.setenv(KEY, given)
        with pytest.raises(SettingsError, match=KEY):
            run(TEAM, "x", model=scripted([]), db=db)
        assert not db.exists()


@given(st.text(max_size=50), st.text(max_size=10), st.text(max_size=10))
def test_a_seal_holds_for_its_place_and_key_alone(text: str, where: str, elsewhere: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    where, elsewhere = (one.encode("utf-8", "replace").decode().replace("\0", "") for one in (where, elsewhere))
    seal = Seal(bytes.fromhex(SECRET))
    sealed = seal.seal(text, where)
    assert seal.unseal(sealed, where) == text and seal.seal(text, where) != sealed
    with pytest.raises(Blocked, match="another key"):
        Seal(bytes.fromhex(OTHER)).unseal(sealed, where)
    if elsewhere != where:
        with pytest.raises(Blocked, match="another place"):
            seal.unseal(sealed, elsewhere)


def test_rows_come_back_as_they_were(keyed: Place) -> None:
    row = Row(
        "t/1/a",
        "outcome",
        "a",
        "a",
        {"seal": "x"},
        {"content": "Übung 🎭 \x00 \ud800".encode("utf-8", "replace").decode()},
    )
    with keyed.open() as store:
        store._record(row)
        found = asyncio.run(store.find("t/1/a"))
    assert found is not None and found.sent == row.sent and found.received["content"].startswith("Übung 🎭")
