"""A database that is away for a while: nothing is lost or done twice, nobody notices; if it stays away, it is said."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.postgres import Server
from tests.support.stores import Place
from troupe import StoreError, Usage, agent, arun, resume, run, scripted, sequential
from troupe.agents.journal import Row
from troupe.postgres import PostgresStore
from troupe.sqlite import SqliteStore
from troupe.store.leases import LEASE_SECONDS, Keeper
from troupe.store.turns import Turn

STEPS = [agent(name, "Work.") for name in "abcdef"]


@pytest.mark.parametrize("mode", ["immediate", "fast"])
@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_server_that_restarts_in_the_middle_of_a_run_is_waited_for(
    mode: str, durability: Any, postgres: Server, database: str
) -> None:
    restarts: list[str] = []

    def restart(event: Any) -> None:
        if event.kind == "step_finished" and event.path in ("b", "d"):
            restarts.append(event.path)
            postgres.restart(0.3, mode)

    lines = {name: name.upper() for name in "abcdef"}
    model = scripted(lines)
    result = run(
        sequential(*STEPS), "x", model=model, db=database, thread="t", listeners=[restart], durability=durability
    )
    assert (result.status, result.answer, restarts) == ("completed", "F", ["b", "d"])
    assert [step for step, _, _ in model.asked] == list("abcdef"), "no call was made twice"
    assert Place(database).sql("SELECT kind, count(*) FROM troupe_journal GROUP BY kind ORDER BY kind") == [
        ("outcome", 6),
        ("request", 6),
    ]
    assert Place(database).count("troupe_turns") == 1


async def test_many_runs_go_through_restarts(postgres: Server, database: str) -> None:
    runs, ended = 12, 0
    models = [scripted({name: f"{name}{number}" for name in "abcdef"}) for number in range(runs)]

    async def one(number: int) -> Any:
        nonlocal ended
        result = await arun(sequential(*STEPS), "x", model=models[number], db=store, thread=f"t{number}")
        ended += 1
        return result

    with PostgresStore(database) as store:
        work = asyncio.gather(*(one(number) for number in range(runs)))
        for _ in range(3):
            await asyncio.to_thread(postgres.restart, 0.2)
        results = await work
    assert [one.answer for one in results] == [f"f{number}" for number in range(runs)]
    assert [len(model.asked) for model in models] == [6] * runs


def test_a_run_goes_on_when_a_server_comes_back_after_its_lease_has_run_out(postgres: Server, database: str) -> None:
    """What the server has lost meanwhile is time; nobody else took the run."""

    def away(event: Any) -> None:
        if event.kind == "step_finished" and event.path == "a":
            postgres.stop("immediate")
            threading.Timer(2.0, back).start()

    def back() -> None:
        postgres.start()
        Place(database).expire("t")

    model = scripted({name: name for name in "abcdef"})
    began = time.monotonic()
    result = run(sequential(*STEPS), "x", model=model, db=database, thread="t", listeners=[away])
    assert result.status == "completed" and len(model.asked) == 6
    assert time.monotonic() - began >= 2


def test_a_server_that_this_process_knows_is_waited_for_also_when_a_run_begins(postgres: Server, database: str) -> None:
    PostgresStore(database).close()
    postgres.stop()
    threading.Timer(1.0, postgres.start).start()
    assert run(STEPS[0], "x", model=scripted(["one"]), db=database).status == "completed"


def test_a_server_that_is_starting_is_waited_for(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("troupe.postgres._answered", set())
    real, refused = psycopg.connect, ["FATAL:  the database system is starting up"] * 3

    def connect(*args: Any, **options: Any) -> Any:
        if refused:
            raise psycopg.OperationalError(refused.pop())
        return real(*args, **options)

    monkeypatch.setattr(psycopg, "connect", connect)
    pauses: list[float] = []
    PostgresStore(database, sleep=pauses.append).close()
    assert len(pauses) >= 3 and refused == []


class Answerless:
    """A server that does what it is told, and whose answer to the n-th COMMIT gets lost on the way."""

    def __init__(self, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lose = False
        real = psycopg.Transaction.__exit__
        transactions = self

        def leave(transaction: Any, *error: Any) -> Any:
            done = real(transaction, *error)
            if transactions.lose and error[0] is None:
                transactions.lose = False
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            return done

        monkeypatch.setattr(psycopg.Transaction, "__exit__", leave)


@pytest.mark.parametrize(
    "act", ["begin", "acquire", "reserve", "record", "end", "put", "put_writes", "renew", "release"]
)
def test_what_was_committed_and_not_answered_is_not_done_twice(
    act: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    with PostgresStore(database, sleep=lambda _: None) as store:
        losing = Answerless(store, monkeypatch)
        place = Place(database)
        turn = Turn(thread="t", turn=1, workflow="w", task="x", input={})
        row = Row("t/1/a", "outcome", "a", "a", {}, {"content": "x"}, Usage(calls=1), 1.0, 2.0)
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        lease = store._acquire("other") if act in ("renew", "release") else None
        losing.lose = True
        if act == "begin":
            assert store._begin(turn).turn == 1
            assert place.count("troupe_turns") == 1
        elif act == "acquire":
            assert store._acquire("t").epoch == 1
        elif act == "reserve":
            assert store._reserve("t/1/a") in (False, True)
            assert place.count("troupe_journal") == 1
        elif act == "record":
            store._record(row)
            assert asyncio.run(store.find("t/1/a")) == row
        elif act == "end":
            store._end(store._begin(turn), "completed", None, Usage(calls=3))
            assert asyncio.run(store.last("t")).status == "completed"
        elif act == "put":
            store.put(config, empty_checkpoint(), {}, {})
            assert place.count("checkpoints") == 1
        elif act == "put_writes":
            store.put_writes({"configurable": {**config["configurable"], "checkpoint_id": "1"}}, [("a", 1)], "task")
            assert place.count("checkpoint_writes") == 1
        elif act == "renew":
            assert lease is not None and store.renew(lease)
        else:
            assert lease is not None
            store._release(lease)
            assert asyncio.run(store.holder("other")) is None
        assert not losing.lose, "an answer was lost"


def test_a_server_that_stays_away_is_said_clearly_and_the_run_goes_on_later(postgres: Server, database: str) -> None:
    team = sequential(*STEPS)

    def leave(event: Any) -> None:
        if event.kind == "step_finished" and event.path == "c":
            postgres.stop()

    store = PostgresStore(database, patience=1.5)
    try:
        began = time.monotonic()
        said = r"postgresql://postgres@127.0.0.1:\d+/test_\w+ cannot be used.*waited for, 1.5 s long.*troupe resume"
        with pytest.raises(StoreError, match=said):
            run(team, "x", model=scripted({name: name for name in "abcdef"}), db=store, thread="t", listeners=[leave])
        assert 1.5 <= time.monotonic() - began < 15
    finally:
        postgres.start()
        store.close()
    Place(database).expire("t")
    model = scripted({name: name for name in "abcdef"})
    result = resume("t", target=team, model=model, db=database)
    assert (result.status, result.answer) == ("completed", "f")
    assert [step for step, _, _ in model.asked] == ["d", "e", "f"]


def test_the_keeper_of_leases_outlives_an_outage(
    postgres: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troupe.store.leases.Leases.term", 0.3)
    with PostgresStore(database) as store:
        lease = store._acquire("t")
        postgres.restart(0.5)
        ends = time.monotonic() + 20
        while time.monotonic() < ends and asyncio.run(store.holder("t")) is None:
            time.sleep(0.02)
        assert asyncio.run(store.holder("t")) is not None, "it was renewed again"
        assert store.fenced(lease)._begin(Turn(thread="t", turn=1, workflow="w", task="x", input={})).turn == 1
    assert isinstance(store._keeper, Keeper)


def test_whoever_is_stopped_in_the_middle_of_a_write_does_not_keep_the_lease_for_ever(database: str) -> None:
    with PostgresStore(database) as store:
        ((limit,),) = store.rows_of("SHOW idle_in_transaction_session_timeout")
        assert limit == "10s" and LEASE_SECONDS > 10


def test_whoever_is_stopped_in_the_middle_of_a_pipeline_does_not_either(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the server waits for the next query, and none of its timeouts holds."""
    monkeypatch.setattr("troupe.postgres.STUCK", 1)
    monkeypatch.setattr("troupe.store.leases.Leases.term", 0.3)
    stopped, woken = threading.Event(), threading.Event()
    with PostgresStore(database) as store, PostgresStore(database) as other, ThreadPoolExecutor(1) as pool:
        lease = store._acquire("t")

        def write() -> None:
            with store.fenced(lease)._cursor(pipeline=True) as cursor:
                cursor.execute("SELECT 1")
                stopped.set()
                woken.wait(60)

        writing = pool.submit(write)
        assert stopped.wait(60)
        store._keeper.forget(lease)
        assert other._acquire("t").epoch == lease.epoch + 1, "it was waited for, but not for ever"
        woken.set()
        with pytest.raises(psycopg.OperationalError):
            writing.result(60)


def test_a_process_that_was_stopped_past_its_lease_wakes_up_to_the_result_of_another(
    place_of_both: Place, tmp_path: Path
) -> None:
    """With real processes and SIGSTOP; the lease is let run out by hand instead of waiting for it."""
    code = textwrap.dedent("""
        import sys, pathlib
        from troupe import agent, run, resume, scripted, sequential
        db, act, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])

        def hold(text):
            def work(brief):
                (folder / f"{act}-{text}").touch()
                if act == "run" and text == "two":
                    input()
                return f"{text} by {act}"
            return work

        from troupe import Step
        team = sequential(Step(hold("one"), name="a"), Step(hold("two"), name="b"))
        if act == "run":
            result = run(team, "x", db=db, thread="t")
        else:
            result = resume("t", target=team, db=db)
        print(result.status, result.answer)
        """)
    command = [sys.executable, "-c", code, place_of_both.db]
    with subprocess.Popen(
        [*command, "run", tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        until(lambda: (tmp_path / "run-two").exists())
        first.send_signal(signal.SIGSTOP)
        place_of_both.expire("t")
        second = subprocess.run([*command, "resume", tmp_path], capture_output=True, text=True, timeout=60)
        assert second.stdout == "completed two by resume\n", second.stderr
        first.send_signal(signal.SIGCONT)
        out, _ = first.communicate("\n", timeout=60)
    assert out == "completed two by resume\n"
    assert not (tmp_path / "resume-one").exists(), "what was recorded was not done again"


@pytest.fixture(params=["sqlite", "postgres"])
def place_of_both(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(str(tmp_path / "runs.db") if request.param == "sqlite" else request.getfixturevalue("database"))


def until(true: Any) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


# --- SQLite ----------------------------------------------------------------------------------------------------------


def test_a_file_that_another_process_writes_to_is_waited_for(db: Path) -> None:
    SqliteStore(db).close()
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); "
    code += "print('locked', flush=True); input(); c.execute('COMMIT')"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "locked\n"
        threading.Timer(0.7, lambda: other.communicate("\n")).start()
        began = time.monotonic()
        assert run(STEPS[0], "x", model=scripted(["one"]), db=db).status == "completed"
        assert time.monotonic() - began > 0.5


def test_a_file_that_stays_locked_is_named_and_nothing_is_lost(db: Path) -> None:
    team = sequential(*STEPS[:3])
    with SqliteStore(db, patience=0.2) as store, closing(sqlite3.connect(db, isolation_level=None)) as other:
        locked = threading.Event()

        def lock(event: Any) -> None:
            if event.kind == "step_finished" and event.path == "a" and not locked.is_set():
                locked.set()
                with closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as rude:
                    rude.execute("BEGIN IMMEDIATE")
                    holding.append(rude)
                    raised.append(_raises(lambda: store._reserve("t/1/x")))

        holding: list[Any] = []
        raised: list[str] = []
        result = run(team, "x", model=scripted({"a": "1", "b": "2", "c": "3"}), db=store, thread="t", listeners=[lock])
        assert result.status == "completed", "the lock was gone in time"
        assert raised and str(db) in raised[0] and "another process has been writing to it for 0.2 s" in raised[0]
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process has been writing"):
            run(team, "y", model=scripted({"a": "1"}), db=store, thread="u")
        other.execute("COMMIT")
        assert run(team, "y", model=scripted({"a": "1", "b": "2", "c": "3"}), db=store, thread="u").turn == 1


def _raises(act: Any) -> str:
    try:
        act()
    except StoreError as error:
        return str(error)
    return ""
