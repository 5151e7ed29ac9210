"""One SQLite object: LangGraph's contract for savers, leases that fence, and files that cannot be used."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from troupe import StoreError, Usage, agent, resume, run, scripted, sequential
from troupe.agents.contracts import Tokens
from troupe.agents.errors import Held, UnknownRun
from troupe.agents.journal import Journal, MemoryJournal, Row
from troupe.sqlite import LEASE_SECONDS, SqliteStore, Turn


class Clock:
    """Time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


# --- LangGraph's contract --------------------------------------------------------------------------------------------


async def test_it_conforms_to_langgraphs_contract_for_savers(tmp_path: Path) -> None:
    numbers = iter(range(99))

    @checkpointer_test(name="SqliteStore")
    async def sqlite_store() -> AsyncIterator[SqliteStore]:
        with SqliteStore(tmp_path / f"{next(numbers)}.db") as store:
            yield store

    report = await validate(sqlite_store)
    failures = {name: one.failures for name, one in report.results.items() if one.failures}
    assert failures == {}
    assert report.passed_all_base(), report.results


# --- leases ----------------------------------------------------------------------------------------------------------

DEAD = "{host}/{pid}/0badf00d"


@contextmanager
def two_stores(db: Path, clock: Clock) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    with SqliteStore(db, clock=clock) as one, SqliteStore(db, clock=clock) as other:
        yield one, other


def checkpoint(store: SqliteStore, thread: str = "t") -> None:
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    store.put(config, empty_checkpoint(), {}, {})


async def test_a_lease_belongs_to_one_at_a_time(db: Path) -> None:
    with two_stores(db, Clock()) as (one, other):
        lease = await one.acquire("t")
        with pytest.raises(Held, match=f"Run t is being worked on by .*/{os.getpid()}/"):
            await other.acquire("t")
        assert (await other.acquire("another")).thread == "another"
        assert await other.holder("t") == lease.owner
        await one.release(lease)
        assert await other.holder("t") is None
        assert (await other.acquire("t")).epoch == lease.epoch + 1


async def test_a_lease_that_is_not_renewed_expires_and_its_owner_writes_no_more(db: Path) -> None:
    clock = Clock()
    with two_stores(db, clock) as (one, other):
        lease = await one.acquire("t")
        fenced = one.fenced(lease)
        checkpoint(fenced)
        clock.now += LEASE_SECONDS + 1
        taken = await other.acquire("t")
        assert taken.epoch == lease.epoch + 1
        turn = Turn(thread="t", turn=1, workflow="w", task="x", input={})
        for write in (
            lambda: checkpoint(fenced),
            lambda: fenced.put_writes(
                {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "1"}}, [("a", 1)], "task"
            ),
            lambda: fenced._reserve("t/1/a"),
            lambda: fenced._record(Row("t/1/a", "outcome", "a", "a", {}, {})),
            lambda: fenced._begin(turn),
            lambda: fenced._end(turn, "completed", None, Usage()),
        ):
            with pytest.raises(Held, match=r"was taken over by .*this process writes no more"):
                write()
        assert not one.renew(lease)
        checkpoint(other.fenced(taken))
        with closing(sqlite3.connect(db)) as connection:
            assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (2,)
            assert connection.execute("SELECT count(*) FROM troupe_journal").fetchone() == (0,)
            assert connection.execute("SELECT count(*) FROM troupe_turns").fetchone() == (0,)


async def test_a_lease_is_renewed_before_it_expires(db: Path) -> None:
    clock = Clock()
    with two_stores(db, clock) as (one, other):
        lease = await one.acquire("t")
        for _ in range(5):
            clock.now += LEASE_SECONDS * 2 / 3
            assert one.renew(lease)
            with pytest.raises(Held):
                await other.acquire("t")


async def test_a_released_lease_cannot_be_written_under_again_once_it_is_taken(db: Path) -> None:
    with two_stores(db, Clock()) as (one, other):
        lease = await one.acquire("t")
        await one.release(lease)
        await other.acquire("t")
        with pytest.raises(Held):
            checkpoint(one.fenced(lease))
        await one.release(lease)  # giving it back twice takes nothing from its new owner
        with pytest.raises(Held):
            await one.acquire("t")


def test_the_lease_of_a_process_that_died_is_taken_over_at_once(db: Path) -> None:
    code = textwrap.dedent(f"""
        import asyncio, os
        from troupe.sqlite import SqliteStore
        store = SqliteStore({str(db)!r})
        print(asyncio.run(store.acquire("t")).epoch, flush=True)
        os._exit(0)
        """)
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with SqliteStore(db) as store:
        assert store._acquire("t").epoch == int(died.stdout) + 1


async def test_the_lease_of_a_process_of_another_machine_is_waited_for(db: Path) -> None:
    clock = Clock()
    with SqliteStore(db, clock=clock) as store:
        with closing(sqlite3.connect(db)) as connection, connection:
            row = ("t", "elsewhere/1/0badf00d", 7, clock.now + LEASE_SECONDS)
            connection.execute("INSERT INTO troupe_leases VALUES (?, ?, ?, ?)", row)
        with pytest.raises(Held, match="by elsewhere/1/0badf00d"):
            await store.acquire("t")
        clock.now += LEASE_SECONDS
        assert (await store.acquire("t")).epoch == 8


async def test_what_a_stale_writer_leaves_in_a_run_is_nothing(db: Path) -> None:
    """A process that slept past its lease wakes up in the middle of a run, as after a suspended laptop."""
    clock = Clock()
    team = sequential(agent("a", "Work."), agent("b", "Work."))
    with two_stores(db, clock) as (one, other):
        stolen: list[Any] = []

        def steal(event: Any) -> None:
            if event.kind == "step_finished" and event.path == "a":
                clock.now += LEASE_SECONDS + 1
                stolen.append(other._acquire("t"))

        with pytest.raises(Held, match="was taken over"):
            run(team, "x", model=scripted({"a": "one", "b": "two"}), db=one, thread="t", listeners=[steal])
        await other.release(stolen[0])
        model = scripted({"a": "one", "b": "two"})
        result = resume("t", target=team, model=model, db=other)
        assert (result.status, result.answer) == ("completed", "two")
        assert [step for step, _, _ in model.asked] == ["b"], "the call of a was recorded before the lease was lost"


# --- the journal -----------------------------------------------------------------------------------------------------

JOURNALS = ("memory", "sqlite")


@contextmanager
def journal_of(kind: str) -> Iterator[Journal]:
    if kind == "memory":
        yield MemoryJournal()
    else:
        with SqliteStore(":memory:") as store:
            yield store


@pytest.mark.parametrize("kind", JOURNALS)
async def test_a_recorded_call_is_given_back_and_never_replaced(kind: str) -> None:
    with journal_of(kind) as journal:
        row = Row(
            "t/1/a#1/work.a/0f", "outcome", "a", "a", {"seal": "x"}, {"text": "one"}, Usage(usd=0.5, calls=1), 1.0, 2.0
        )
        assert await journal.reserve(row.key) is False, "nobody began it"
        assert await journal.reserve(row.key) is True, "somebody began it, and recorded no outcome"
        await journal.record(row)
        assert await journal.reserve(row.key) == row
        await journal.record(Row(row.key, "outcome", "a", "a", {}, {"text": "two"}))
        assert await journal.reserve(row.key) == row
        assert await journal.find(row.key) == row and await journal.find("t/1/b") is None


@pytest.mark.parametrize("kind", JOURNALS)
async def test_the_books_of_a_turn_hold_its_requests_and_no_others(kind: str) -> None:
    with journal_of(kind) as journal:
        for key, rows, usd in (("t/1/a/0", "request", 0.25), ("t/1/a/0!1", "failure", 0.25), ("t/1/a", "outcome", 9.0)):
            await journal.record(Row(key, rows, "a", "a", {}, {}, Usage(tokens=Tokens(input=1), usd=usd, calls=1)))  # type: ignore[arg-type]
        await journal.record(Row("t/10/a/0", "request", "a", "a", {}, {}, Usage(usd=3.0, calls=1)))
        await journal.record(Row("tt/1/a/0", "request", "a", "a", {}, {}, Usage(usd=3.0, calls=1)))
        spent = await journal.spent("t/1")
        assert (spent.usd, spent.calls, spent.tokens.input) == (0.5, 2, 2)
        assert [one.key for one in await journal.rows("t/1/")] == ["t/1/a/0", "t/1/a/0!1", "t/1/a"]
        assert await journal.spent("nobody/1") == Usage()


async def test_a_memory_journal_forgets_the_oldest_turns() -> None:
    journal = MemoryJournal(threads=2)
    for turn in range(4):
        await journal.record(Row(f"t/{turn}/a", "outcome", "a", "a", {}, {}))
    assert [len(await journal.rows(f"t/{turn}/")) for turn in range(4)] == [0, 0, 1, 1]


# --- turns -----------------------------------------------------------------------------------------------------------


async def test_turns_are_numbered_listed_and_found(store: SqliteStore) -> None:
    for thread in ("t", "u", "t"):
        turn = await store.begin(Turn(thread=thread, turn=0, workflow="w", task=f"for {thread}", input={"task": "x"}))
        await store.end(turn, "completed", None, Usage(calls=1))
    assert [(one.thread, one.turn) for one in await store.turns()] == [("t", 2), ("u", 1)]
    assert [one.turn for one in await store.turns("t")] == [1, 2]
    last = await store.last("t")
    assert (last.turn, last.status, last.usage.calls, last.finished is not None) == (2, "completed", 1, True)
    with pytest.raises(UnknownRun, match="There is no run 'v'"):
        await store.last("v")


# --- files that cannot be used ----------------------------------------------------------------------------------------


def test_a_new_database_and_its_folder_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "runs.db"
    SqliteStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"The database .* cannot be used.*--db"):
        SqliteStore(tmp_path)


def test_a_path_below_a_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteStore(tmp_path / "file" / "runs.db")


@pytest.mark.parametrize(
    "garbage", [b"this is no database " * 99, b"SQLite format 3\0" + b"\xff" * 4096], ids=["text", "torn"]
)
def test_a_file_that_is_something_else_is_left_as_it_is(garbage: bytes, db: Path) -> None:
    db.write_bytes(garbage)
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteStore(db)
    with pytest.raises(StoreError, match="cannot be used"):
        run(agent("a", "Work."), "x", db=db)
    assert db.read_bytes() == garbage


def test_a_database_of_a_newer_version_is_not_touched(db: Path) -> None:
    SqliteStore(db).close()
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="written by a newer version of Troupe"):
        SqliteStore(db)


def test_a_file_that_may_not_be_written_is_said_so(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    path = folder / "runs.db"
    with SqliteStore(path):
        pass
    path.chmod(0o444)
    folder.chmod(0o555)
    for parent in (tmp_path, *tmp_path.parents):  # root drops its rights below, and must still get here
        if len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o055)
    with without_privileges(), pytest.raises(StoreError, match=r"cannot be used: .*readonly"):
        SqliteStore(path)
    folder.chmod(0o755)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write anywhere; nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_five_processes_may_make_the_same_new_database_at_once(db: Path) -> None:
    code = textwrap.dedent(f"""
        import sys
        from troupe import agent, run, scripted
        sys.stdin.readline()
        print(run(agent("a", "Work."), "x", model=scripted(["one"]), db={str(db)!r}).status)
        """)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    ended = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    ended = [child.communicate(timeout=120) for child in children]
    assert ended == [("completed\n", "")] * 5


async def test_a_store_that_is_busy_elsewhere_is_waited_for(db: Path) -> None:
    with SqliteStore(db) as store, closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.2, other.execute, "COMMIT")
        assert (await store.acquire("t")).epoch == 1


def test_a_write_that_fails_leaves_the_store_usable(store: SqliteStore) -> None:
    with pytest.raises(StoreError), store.cursor() as cursor:
        cursor.execute("INSERT INTO no_such_table VALUES (1)")

    def fail_in_the_middle() -> None:
        with store.cursor() as cursor:
            cursor.execute("INSERT INTO troupe_leases VALUES ('t', 'x', 1, 0)")
            raise RuntimeError("in the middle of a transaction")

    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    checkpoint(store)
    assert store._read("SELECT count(*) FROM troupe_leases", ()) == [(0,)]


# --- growing fields -------------------------------------------------------------------------------------------------


def joined_up(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(one for write in writes for one in write)]


class Growing(TypedDict, total=False):
    often: Annotated[list[str], DeltaChannel(joined_up, list, snapshot_frequency=7)]
    seldom: Annotated[list[str], DeltaChannel(joined_up, list, snapshot_frequency=10_000)]
    note: str


def grown(store: SqliteStore, turns: int) -> Any:
    """A thread of so many turns that write to growing fields; texts try to look like what surrounds them."""
    built: StateGraph[Growing] = StateGraph(Growing)
    built.add_node(
        "grow",
        lambda state: {
            "often": [f"{len(state.get('often', []))} channel_versions"],
            "seldom": [f"channel_values often \xc7 {len(state.get('seldom', []))}"],
            "note": "channel_versions seldom channel_values",
        },
    )
    built.add_edge(START, "grow")
    built.add_edge("grow", END)
    app = built.compile(store)
    for _ in range(turns):
        app.invoke({"note": "channel_versions"}, {"configurable": {"thread_id": "t"}})
    return app


def test_a_thread_is_read_back_as_langgraph_reads_it_with_snapshots_and_without(db: Path) -> None:
    with SqliteStore(db) as store:
        app = grown(store, 30)
        values = app.get_state({"configurable": {"thread_id": "t"}}).values
        assert [len(values["often"]), len(values["seldom"])] == [30, 30]
        for one in list(store.list({"configurable": {"thread_id": "t", "checkpoint_ns": ""}})):
            ours = store.get_delta_channel_history(config=one.config, channels=["often", "seldom"])
            assert ours == SqliteSaver.get_delta_channel_history(store, config=one.config, channels=["often", "seldom"])


def test_a_long_thread_is_read_back_whatever_number_of_variables_sqlite_allows(db: Path) -> None:
    with SqliteStore(db) as store:
        app = grown(store, 60)
        store.conn.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 50)
        assert len(app.get_state({"configurable": {"thread_id": "t"}}).values["seldom"]) == 60


def test_a_chain_of_checkpoints_that_was_made_a_loop_is_read_to_its_end(db: Path) -> None:
    with SqliteStore(db) as store:
        app = grown(store, 3)
        ids = [one for (one,) in store.conn.execute("SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id")]
        store.conn.execute("UPDATE checkpoints SET parent_checkpoint_id = ? WHERE checkpoint_id = ?", (ids[-1], ids[0]))
        assert app.get_state({"configurable": {"thread_id": "t"}}).values["note"]
