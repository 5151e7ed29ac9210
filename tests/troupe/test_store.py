"""What a database of runs promises, whichever it is: LangGraph's contract, one writer per thread, turns, whole runs."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate

from tests.support.command import Done, Shell
from tests.support.postgres import Server
from tests.support.stores import Place
from tests.support.stores import place as place
from troupe import (
    InputError,
    StoreError,
    TeamContext,
    Usage,
    agent,
    aresume,
    arun,
    contains,
    delete,
    gate,
    prune,
    resume,
    rollback,
    run,
    scripted,
    sequential,
)
from troupe.agents.errors import Held, UnknownRun
from troupe.agents.journal import Row
from troupe.agents.settings import Settings
from troupe.checkpoints import store_at
from troupe.store.leases import LEASE_SECONDS, Owner, machine, new_owner
from troupe.store.turns import Turn

KEY = "5f" * 32
A, B = agent("a", "Work."), agent("b", "Work.")


# --- LangGraph's contract --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_it_conforms_to_langgraphs_contract_for_savers(
    kind: str, key: str | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    numbers = iter(range(99))
    server: Server | None = request.getfixturevalue("postgres") if kind == "postgres" else None

    @checkpointer_test(name=kind)
    async def saver() -> AsyncIterator[Any]:
        where = server.database() if server is not None else str(tmp_path / f"{next(numbers)}.db")
        with Place(where).open(key=key) as store:
            yield store
        if server is not None:
            server.drop(where)

    report = await validate(saver)
    assert {name: one.failures for name, one in report.results.items() if one.failures} == {}
    assert report.passed_all_base(), report.results


# --- one writer per thread -------------------------------------------------------------------------------------------


def checkpoint(store: Any, thread: str = "t") -> None:
    store.put({"configurable": {"thread_id": thread, "checkpoint_ns": ""}}, empty_checkpoint(), {}, {})


def writes(store: Any, thread: str = "t") -> dict[str, Any]:
    """Every way in which a process writes to a thread."""
    turn = Turn(thread=thread, turn=1, workflow="w", task="x", input={})
    where: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": "1"}}
    return {
        "put": lambda: checkpoint(store, thread),
        "put_writes": lambda: store.put_writes(where, [("a", 1)], "task"),
        "reserve": lambda: store._reserve(f"{thread}/1/a"),
        "record": lambda: store._record(Row(f"{thread}/1/a", "outcome", "a", "a", {}, {})),
        "begin": lambda: store._begin(turn),
        "end": lambda: store._end(turn, "completed", None, Usage()),
        "delete_thread": lambda: store.delete_thread(thread),
    }


async def test_a_lease_belongs_to_one_at_a_time(place: Place) -> None:
    with place.open() as one, place.open() as other:
        lease = await one.acquire("t")
        with pytest.raises(Held, match=rf"Run t is being worked on by process {os.getpid()} on .* since 20"):
            await other.acquire("t")
        assert (await other.acquire("another")).thread == "another"
        assert await other.holder("t") == f"process {os.getpid()} on {socket.gethostname()}"
        await one.release(lease)
        assert await other.holder("t") is None
        assert (await other.acquire("t")).epoch == lease.epoch + 1


async def test_whoever_lost_a_lease_writes_no_more_in_any_way(place: Place) -> None:
    with place.open() as one, place.open() as other:
        lease = await one.acquire("t")
        stale = one.fenced(lease)
        place.expire("t")
        taken = await other.acquire("t")
        assert taken.epoch == lease.epoch + 1
        for write in writes(stale).values():
            with pytest.raises(Held, match=r"was taken over by .*this process writes no more"):
                write()
        assert not one.renew(lease)
        assert [place.count(table) for table in ("checkpoints", "troupe_journal", "troupe_turns")] == [0, 0, 0]
        for write in writes(other.fenced(taken)).values():
            write()
        await one.release(lease)  # giving back what is somebody else's takes nothing from them
        with pytest.raises(Held):
            await one.acquire("t")


async def test_a_lease_that_ran_out_and_that_nobody_took_is_still_good(place: Place) -> None:
    with place.open() as one:
        lease = await one.acquire("t")
        place.expire("t")
        checkpoint(one.fenced(lease))
        assert one.renew(lease) and await one.holder("t") is not None


async def test_a_lease_can_be_renewed_for_as_long_as_one_likes(place: Place) -> None:
    with place.open() as one, place.open() as other:
        lease = await one.acquire("t")
        for _ in range(3):
            place.sql("UPDATE troupe_leases SET expires = expires - 10 WHERE thread = 't'")
            assert one.renew(lease)
            with pytest.raises(Held):
                await other.acquire("t")


def test_the_lease_of_a_process_that_died_is_taken_over_at_once(place: Place) -> None:
    code = textwrap.dedent(f"""
        import asyncio, os
        from troupe.checkpoints import store_at
        print(asyncio.run(store_at({place.db!r}).acquire("t")).epoch, flush=True)
        os._exit(0)
        """)
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with place.open() as store:
        assert store._acquire("t").epoch == int(died.stdout) + 1


@pytest.mark.parametrize(
    "owner",
    [
        "elsewhere@0f-1/1/0badf00d",
        "another-container-of-this-name@{machine}0/{dead}/0badf00d",
        "{host}/{dead}/0badf00d",
        "{host}@{machine}/not-a-number/x",
        "{host}@{machine}/99999999999999999999/x",
        "{host}@{machine}/-1/x",
        "{host}@{machine}/0/x",
        "no slash at all",
        "a/b/c/d/e",
        "@@@///",
        "",
    ],
)
async def test_an_owner_of_another_machine_or_none_that_can_be_read_is_waited_for(owner: str, place: Place) -> None:
    known = {"host": socket.gethostname(), "machine": machine(), "dead": a_process_that_died()}
    with place.open() as store:
        soon = time.time() + LEASE_SECONDS
        query = "INSERT INTO troupe_leases (thread, owner, epoch, expires) VALUES ('t', ?, 7, ?)"
        place.sql(query, (owner.format(**known), soon))
        with pytest.raises(Held, match="Run t is being worked on by"):
            await store.acquire("t")
        place.expire("t")
        assert (await store.acquire("t")).epoch == 8


def a_process_that_died() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        return child.pid


@given(st.text())
def test_any_text_is_read_as_an_owner(text: str) -> None:
    assert Owner.read(text).gone() in (True, False) and str(Owner.read(text))


def test_an_owner_tells_machine_and_process() -> None:
    me = Owner.read(new_owner())
    assert (me.host, me.machine, me.pid, me.gone()) == (socket.gethostname(), machine(), os.getpid(), False)


async def test_a_lease_cannot_last_longer_than_a_term_whatever_the_clock_was_when_it_was_given(place: Place) -> None:
    """The clock was an hour ahead, and was set right; its owner sleeps."""
    with place.open() as one, place.open() as other:
        lease = await one.acquire("t")
        place.sql("UPDATE troupe_leases SET expires = expires + 3600 WHERE thread = 't'")
        with pytest.raises(Held):
            await other.acquire("t")
        ((expires,),) = place.sql("SELECT expires FROM troupe_leases WHERE thread = 't'")
        assert expires <= time.time() + LEASE_SECONDS + 1
        assert one.renew(lease), "whoever is awake goes on with it"


async def test_a_takeover_waits_for_the_write_that_is_under_way_and_comes_after_it(place: Place) -> None:
    with place.open() as one, place.open() as other:
        stale = one.fenced(await one.acquire("t"))
        place.expire("t")
        order: list[str] = []
        inside, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(cursor: Any) -> None:
            loop.call_soon_threadsafe(inside.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            cursor.execute("INSERT INTO troupe_journal (key, root, kind) VALUES ('t/1/x', 't/1', 'reserved')")
            order.append("written")

        writing = asyncio.ensure_future(asyncio.to_thread(stale.write, slow))
        await inside.wait()
        taking = asyncio.ensure_future(other.acquire("t"))
        taking.add_done_callback(lambda _: order.append("taken over"))
        done, _ = await asyncio.wait({taking}, timeout=0.3)
        assert not done, "it waits"
        go_on.set()
        await writing
        await taking
        assert order == ["written", "taken over"]
        with pytest.raises(Held):
            stale.write(slow)


async def test_what_a_stale_writer_leaves_is_nothing_and_it_gives_the_result_of_whoever_took_over(place: Place) -> None:
    """A process that slept past its lease wakes up in the middle of a run, as after a suspended laptop."""
    team = sequential(A, B)
    with place.open() as one, place.open() as other:
        stolen: list[Any] = []

        def steal(event: Any) -> None:
            if event.kind == "step_finished" and event.path == "a":
                place.expire("t")
                stolen.append(other._acquire("t"))
            if event.kind == "notice" and "Waiting for that to end" in event.text:
                waiting.set()

        waiting = asyncio.Event()
        slept = asyncio.ensure_future(
            arun(team, "x", model=scripted({"a": "one", "b": "never"}), db=one, thread="t", listeners=[steal])
        )
        await asyncio.wait_for(waiting.wait(), 20)
        await other.release(stolen[0])
        model = scripted({"a": "never", "b": "two"})
        result, late = await asyncio.gather(aresume("t", target=team, model=model, db=other), slept)
        assert (result.status, late.status) == ("completed", "completed")
        assert result.answer == late.answer
        assert place.sql("SELECT count(*) FROM checkpoints WHERE checkpoint_ns = '' GROUP BY parent_checkpoint_id") == [
            (1,)
        ] * place.count("checkpoints"), "one history, in which nothing forks"


async def test_a_stale_writer_that_is_not_to_wait_says_so(place: Place) -> None:
    with place.open() as one, place.open() as other:

        def steal(event: Any) -> None:
            if event.kind == "step_finished":
                place.expire("t")
                other._acquire("t")

        with pytest.raises(Held, match="was taken over"):
            await arun(
                sequential(A, B), "x", model=scripted(["one"]), db=one, thread="t", listeners=[steal], wait=False
            )


# --- who waits for whom ----------------------------------------------------------------------------------------------


async def test_a_second_resumer_waits_and_returns_the_same(place: Place) -> None:
    team = sequential(agent("a", "Work."), B, gate=gate(contains("zzz"), 0, "ask"))
    asked = await arun(team, "x", model=scripted({"a": "one"}), db=place.db, thread="t")
    assert asked.status == "waiting"
    model = scripted({"b": "two zzz"})
    results = await asyncio.gather(
        *(aresume("t", {asked.waiting[0].id: "approve"}, target=team, model=model, db=place.db) for _ in range(4)),
        return_exceptions=True,
    )
    ended = [one for one in results if not isinstance(one, BaseException)]
    assert {(one.status, one.answer) for one in ended} == {("completed", "two zzz")}
    assert len(ended) == 4 and len(model.asked) == 1


@pytest.mark.parametrize("door", ["run", "resume", "rollback"])
async def test_whoever_is_not_to_wait_is_told_who_works_there(door: str, place: Place) -> None:
    team = sequential(A, B)
    await arun(team, "x", model=scripted({"a": "one", "b": "two"}), db=place.db, thread="t")
    options: Any = {"model": scripted([]), "db": place.db, "wait": False}
    with place.open() as other:
        await other.acquire("t")
        calls: dict[str, Any] = {
            "run": lambda: run(team, "y", thread="t", **options),
            "resume": lambda: resume("t", target=team, **options),
            "rollback": lambda: rollback("t", "b", target=team, **options),
        }
        with pytest.raises(Held, match=rf"by process {os.getpid()} on .* since 20.* Try again when that has ended.*t$"):
            await asyncio.to_thread(calls[door])
    with place.open() as store:
        assert len(await store.turns("t")) == 1, "nothing was begun"


async def test_waiting_is_gentle_and_notices_within_about_a_second(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, *args: Any) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr("troupe.opening.asyncio.sleep", sleep)
    with place.open() as other:
        lease = await other.acquire("t")
        task = asyncio.ensure_future(arun(A, "x", model=scripted(["one"]), db=place.db, thread="t"))
        while len(pauses) < 14:
            await real(0.01)
        await other.release(lease)
        assert (await task).status == "completed"
    assert pauses[0] <= 0.1 and max(pauses) == 1.0 and pauses == sorted(pauses)


# --- turns and the journal -------------------------------------------------------------------------------------------


async def test_turns_are_numbered_listed_and_found(place: Place) -> None:
    with place.open() as store:
        for thread in ("t", "u", "t"):
            new = Turn(thread=thread, turn=0, workflow="w", task=f"for {thread}", input={"task": "x"})
            turn = await store.begin(new)
            await store.end(turn, "completed", None, Usage(calls=1))
        assert [(one.thread, one.turn) for one in await store.turns()] == [("t", 2), ("u", 1)]
        assert [one.turn for one in await store.turns("t")] == [1, 2]
        last = await store.last("t")
        assert (last.turn, last.status, last.usage.calls, last.finished is not None) == (2, "completed", 1, True)
        with pytest.raises(UnknownRun, match="There is no run 'v'"):
            await store.last("v")


async def test_a_turn_comes_back_as_it_was_begun(place: Place) -> None:
    turn = Turn(
        thread="t", turn=1, workflow="w", task="Übung 🎭", input={"task": "x", "more": [1, None, {"a": 0.5}]},
        reference="teams.py:team", models={"economy": "openai:x"}, simulated=False, budget=0.25, deadline=1.5,
        fingerprint={"a": "0f", "b": "1e"},
    )  # fmt: skip
    with place.open() as store:
        begun = await store.begin(turn)
        assert begun.started == pytest.approx(time.time(), abs=60)
        assert await store.last("t") == begun
        assert replace(turn, started=begun.started, signature=begun.signature) == begun


async def test_a_new_turn_ends_the_one_that_was_left_open(place: Place) -> None:
    with place.open() as store:
        for _ in range(2):
            await store.begin(Turn(thread="t", turn=0, workflow="w", task="x", input={}))
        first, second = await store.turns("t")
        assert (first.status, first.reason, second.status) == ("stopped", "A new turn began.", "running")


async def test_the_log_of_errors_and_who_fails_at_what(place: Place) -> None:
    with place.open() as store:
        rows = [
            Row("t/1/a/0!1.1", "failure", "a", "a", {}, {"error": "X"}, started=3.0, failure="timeout"),
            Row("t/1/a/0!1.2", "failure", "a", "a", {}, {"error": "X"}, started=1.0, failure="timeout"),
            Row("t/1/b/0!1.1", "failure", "b", "b", {}, {"error": "X"}, started=2.0, failure="auth"),
            Row("t/1/a", "outcome", "a", "a", {}, {}),
            Row("t/1/a/0", "request", "a", "a", {}, {}),
            Row("u/1/a/0!1.1", "failure", "a", "a", {}, {}),
        ]
        for row in rows:
            await store.record(row)
        assert [row.key for row in await store.failures("t/1/")] == ["t/1/a/0!1.2", "t/1/b/0!1.1", "t/1/a/0!1.1"]
        assert len(await store.failures()) == 4 and await store.failures("v") == []
        assert (await store.failures("t/1/b"))[0] == rows[2]
        tally = {name: dict(counted) for name, counted in (await store.tally()).items()}
        assert tally == {"a": {"timeout": 2, "failure": 1, "outcome": 1}, "b": {"auth": 1}}


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4), min_size=1, max_size=8))
def test_rows_are_found_by_the_start_of_their_key_and_no_others(names: list[str]) -> None:
    with store_at(":memory:") as store:
        keys = {f"t/1/{name}" for name in names}
        for key in keys:
            store._record(Row(key, "request", "a", "a", {}, {}))
        for prefix in {"t/1/", "t/1/" + names[0], "t/1/a", ""}:
            found = {row.key for row in asyncio.run(store.rows(prefix))}
            assert found == {key for key in keys if key.startswith(prefix)}


async def test_a_key_with_signs_that_mean_something_to_databases_finds_only_itself(place: Place) -> None:
    with place.open() as store:
        for key in ("t/1/a_b", "t/1/aXb", "t/1/a%", "t/1/a%b", "t/1/'; --", "t/1/ä", "t/1/ÄA"):
            await store.record(Row(key, "request", "a", "a", {}, {}))
        for prefix, found in {
            "t/1/a_": ["t/1/a_b"],
            "t/1/a%": ["t/1/a%", "t/1/a%b"],
            "t/1/'": ["t/1/'; --"],
            "t/1/Ä": ["t/1/ÄA"],
        }.items():
            assert [row.key for row in await store.rows(prefix)] == found


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_a_run_is_kept_gone_on_with_and_rolled_back(place: Place) -> None:
    team = sequential(A, B, gate=gate(contains("!"), 0, "ask"))
    asked = run(team, "x", model=scripted({"a": "one!", "b": "two"}), db=place.db, thread="t")
    assert (asked.status, asked.answer) == ("waiting", "one!")
    done = resume("t", {"type": "edit", "message": "zwei!"}, target=team, model=scripted([]), db=place.db)
    assert (done.status, done.answer, done.usage.calls) == ("completed", "zwei!", 2)
    model = scripted({"b": "drei!"})
    again = rollback("t", "b", target=team, model=model, db=place.db)
    assert (again.status, again.answer, len(model.asked)) == ("completed", "drei!", 1)
    assert resume("t", target=team, model=scripted([]), db=place.db).answer == "drei!"
    second = run(team, "y", model=scripted({"a": "four!", "b": "five!"}), db=place.db, thread="t")
    assert (second.turn, second.answer) == (2, "five!")


@pytest.mark.parametrize("how", ["setting", "compiled"])
def test_the_store_is_found_where_it_is_named(how: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    team = sequential(A)
    if how == "setting":
        monkeypatch.setenv("TROUPE_DB", place.db)
        Settings.refresh()
        assert run(team, "x", model=scripted(["one"]), thread="t").answer == "one"
    else:
        with place.open() as store:
            assert run(team.compile(checkpointer=store), "x", model=scripted(["one"]), thread="t").answer == "one"
    with place.open() as store:
        assert asyncio.run(store.last("t")).status == "completed"
        assert place.count("troupe_journal") == 2


def test_a_program_on_the_command_line_works_on_it(place: Place, tmp_path: Path) -> None:
    def troupe(*args: str) -> Done:
        return Shell(tmp_path)(*args, "--db", place.db)

    done = troupe("run", "sequential", "a shop", "--thread", "t")
    assert done.code == 0 and f"runs t --db {place.db}" in done.err
    assert "a shop" in troupe("runs").out and "completed" in troupe("runs", "t").out
    assert troupe("resume", "t").code == 0
    assert troupe("rollback", "t", "--to", "qa-engineer").code == 0
    assert place.db in troupe("doctor").out


async def test_a_command_that_is_not_to_wait_says_who_works_there(place: Place, tmp_path: Path) -> None:
    team = "from troupe import agent, contains, gate, sequential\n"
    (tmp_path / "teams.py").write_text(
        f"{team}team = sequential(agent('a', 'W.'), gate=gate(contains('zz'), 0, 'ask'))"
    )
    shell = Shell(tmp_path)
    assert (await asyncio.to_thread(shell, "run", "teams.py:team", "x", "--thread", "t", "--db", place.db)).code == 5
    with place.open() as other:
        await other.acquire("t")
        for words in (["run", "teams.py:team", "y", "--thread", "t"], ["resume", "t"], ["rollback", "t", "--to", "a"],
                      ["approve", "t"], ["reject", "t"], ["answer", "t", "more"]):  # fmt: skip
            done = await asyncio.to_thread(shell, *words, "--no-wait", "--db", place.db)
            assert done.code == 2 and f"by process {os.getpid()} on {socket.gethostname()} since " in done.err, words
            assert "troupe resume t" in done.err and "Traceback" not in done.err


async def test_sixty_runs_at_once_share_a_store(place: Place) -> None:
    with place.open() as store:
        model = scripted({"a": ["one"] * 60, "b": ["two"] * 60})
        results = await asyncio.gather(*(arun(sequential(A, B), "x", model=model, db=store) for _ in range(60)))
        assert {one.status for one in results} == {"completed"} and len(model.asked) == 120
        assert place.count("troupe_turns") == 60


# --- odd names and contents ------------------------------------------------------------------------------------------

ODD = {
    "path": "../../etc/passwd",
    "injection": "'; DROP TABLE checkpoints;--",
    "more injection": 't"); DELETE FROM troupe_turns; --',
    "slashes": "a/b/c",
    "a turn's": "t/1",
    "percent": "%s %2F %",
    "question mark": "t?",
    "newline": "two\nlines\ttab",
    "escape": "\x1b[31mred",
    "letters": "Übung 日本 🎭",
    "longest": "x" * 500,
}


@pytest.mark.parametrize("thread", ODD.values(), ids=ODD)
def test_a_thread_may_have_an_odd_name_and_stays_apart_from_others(thread: str, place: Place) -> None:
    team = sequential(A, B)
    for name in (thread, "t", "a"):
        result = run(team, "x", model=scripted({"a": "one", "b": "two"}), db=place.db, thread=name)
        assert (result.run, result.status, result.turn) == (name, "completed", 1)
    assert resume(thread, target=team, model=scripted([]), db=place.db).answer == "two"
    with place.open() as store:
        assert asyncio.run(store.delete(thread)) > 0
        assert {one.thread for one in asyncio.run(store.turns())} == {"t", "a"}
        assert set(asyncio.run(store.sizes())) == {"t", "a"}
    assert not (Path(place.db).parent / "etc").exists()


@pytest.mark.parametrize(
    "thread", ["", " \n", "a\0b", "a\ud800", "x" * 501, "x" * 100_000, 7], ids=lambda one: repr(one)[:12]
)
def test_a_thread_that_cannot_be_stored_is_refused_before_anything_is_written(thread: Any, place: Place) -> None:
    model = scripted(["one"])
    with pytest.raises(InputError, match="1 to 500 characters without NUL"):
        run(sequential(A), "x", model=model, db=place.db, thread=thread)
    assert model.asked == []
    with place.open() as store:
        assert asyncio.run(store.turns()) == []


def test_ten_megabytes_come_back_as_they_were(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Ten megabytes of words. " * (10_000_000 // 24)
    with place.open() as store:
        row = Row("t/1/a/0", "request", "a", "a", {"seal": "x"}, {"text": text})
        store._record(row)
        assert asyncio.run(store.find("t/1/a/0")) == row
        state = empty_checkpoint() | {"channel_values": {"answer": text, "many": [text]}}
        versions: Any = {"answer": "1", "many": "1"}
        state["channel_versions"] = versions
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        found = store.get_tuple(store.put(config, state, {}, versions))
        assert found is not None and found.checkpoint["channel_values"] == {"answer": text, "many": [text]}


@pytest.mark.parametrize("thread", ["half \ud800 a character", "\udcff"], ids=ascii)
def test_a_thread_of_plain_langgraph_that_cannot_be_stored_is_said(thread: str, place: Place) -> None:
    with place.open() as store:
        team = sequential(A).compile(checkpointer=store)
        config: Any = {"configurable": {"thread_id": thread}}
        with pytest.raises((StoreError, InputError)):
            team.invoke({"task": "x"}, config, context=TeamContext(models=scripted(["one"])))
        assert run(sequential(A), "x", model=scripted(["one"]), db=store).status == "completed"


def test_threads_of_plain_langgraph_can_be_deleted_and_are_never_pruned(place: Place) -> None:
    with place.open() as store:
        team = sequential(A).compile(checkpointer=store)
        config: Any = {"configurable": {"thread_id": "plain"}}
        team.invoke({"task": "x"}, config, context=TeamContext(models=scripted(["one"])))
        assert prune(0, db=store).runs == () and place.count("checkpoints") > 0
        assert delete("plain", db=store).runs == ("plain",) and place.count("checkpoints") == 0
