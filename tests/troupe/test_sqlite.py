"""The SQLite file: rights, files that cannot be used, older and newer versions, and growing fields read back."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from tests.support.command import Shell
from troupe import StoreError, agent, resume, run, scripted, sequential, view_of
from troupe.sqlite import SqliteStore
from troupe.store import tables

A, B, C = (agent(name, "Work.") for name in "abc")
TEAM = sequential(A, B, C)


def checkpoint(store: SqliteStore, thread: str = "t") -> None:
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    store.put(config, empty_checkpoint(), {}, {})


# --- rights ----------------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_database_and_its_folders_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "runs.db"
    before = os.umask(0)
    try:
        with SqliteStore(path) as store:
            checkpoint(store)
            assert {one.name: mode(one) for one in path.parent.iterdir()} == {
                "runs.db": 0o600,
                "runs.db-wal": 0o600,
                "runs.db-shm": 0o600,
            }
    finally:
        os.umask(before)
    assert mode(path.parent) == mode(path.parent.parent) == 0o700


@pytest.mark.parametrize("left", [0o644, 0o666, 0o640, 0o604])
def test_a_database_that_others_could_read_is_closed_to_them(left: int, db: Path) -> None:
    first = SqliteStore(db)  # stays open, so that its log lies beside it
    checkpoint(first)
    files = [db, db.with_name("runs.db-wal"), db.with_name("runs.db-shm")]
    for one in files:
        one.chmod(left)
    with SqliteStore(db) as store:
        checkpoint(store)
        assert [mode(one) for one in files] == [0o600] * 3
    first.close()


def test_a_database_that_somebody_else_left_open_to_all_is_refused(tmp_path: Path) -> None:
    path = reachable(tmp_path) / "runs.db"
    SqliteStore(path).close()
    if os.geteuid() != 0:
        pytest.skip("needs a file of somebody else's, which only root can make")
    path.chmod(0o666)
    path.parent.chmod(0o777)
    with without_privileges(), pytest.raises(StoreError, match=r"Others can read .*chmod 600 .*--db"):
        SqliteStore(path)


def test_a_file_that_is_no_database_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n" * 100)
    path.chmod(0o644)
    with pytest.raises(StoreError, match="not a database"):
        SqliteStore(path)
    assert mode(path) == 0o644


# --- files that cannot be used ----------------------------------------------------------------------------------------


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


def test_a_file_that_may_not_be_written_is_said_so(tmp_path: Path) -> None:
    folder = reachable(tmp_path)
    path = folder / "runs.db"
    SqliteStore(path).close()
    path.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    folder.chmod(0o555)
    with without_privileges(), pytest.raises(StoreError, match=r"cannot be used: .*readonly"):
        SqliteStore(path)
    folder.chmod(0o755)


def reachable(tmp_path: Path) -> Path:
    """A folder that nobody, too, can get to."""
    folder = tmp_path / "shared"
    folder.mkdir()
    for parent in (tmp_path, *tmp_path.parents):  # root drops its rights, and must still get here
        if len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o055)
    return folder


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


def test_a_write_that_fails_leaves_the_store_usable(store: SqliteStore) -> None:
    with pytest.raises(StoreError), store.cursor() as cursor:
        cursor.execute("INSERT INTO no_such_table VALUES (1)")

    def fail_in_the_middle() -> None:
        with store.cursor() as cursor:
            cursor.execute("INSERT INTO troupe_leases (thread, owner, epoch, expires) VALUES ('t', 'x', 1, 0)")
            raise RuntimeError("in the middle of a transaction")

    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    checkpoint(store)
    assert store.rows_of("SELECT count(*) FROM troupe_leases") == [(0,)]


# --- full, torn and cut off ------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_what_was_finished_is_there_when_there_is_room_again(db: Path) -> None:
    with SqliteStore(db) as store:

        def fill(event: Any) -> None:
            if event.kind == "step_finished" and event.path == "a":
                ((pages,),) = store.rows_of("PRAGMA page_count")
                store.rows_of(f"PRAGMA max_page_count={pages}")

        model = scripted({"a": "one", "b": "two " * 100_000, "c": "three"})
        with pytest.raises(StoreError, match=rf"{db} cannot be used: database or disk is full"):
            run(TEAM, "x", model=model, db=store, thread="t", listeners=[fill])
        assert [step for step, _, _ in model.asked] == ["a", "b"], "nothing is paid for that cannot be recorded"
        store.rows_of("PRAGMA max_page_count=1000000")
        again = scripted({"b": "two", "c": "three"})
        assert resume("t", target=TEAM, model=again, db=store).answer == "three"
        assert [step for step, _, _ in again.asked] == ["b", "c"]


def test_a_limit_of_the_system_on_files_is_said_by_the_command(tmp_path: Path) -> None:
    """As a full disk, with a process of its own that may write no file of more than 100 kB."""
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
    code += "sys.argv = ['troupe', *sys.argv[1:]]; from troupe.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "sequential", "a shop", "--db", str(tmp_path / "small.db"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode != 0 and "small.db cannot be used" in done.stderr and "Traceback" not in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000
    whole = Shell(tmp_path)("run", "sequential", "a shop", "--db", str(tmp_path / "small.db"))
    assert whole.code == 0, "the file was not harmed"


def test_a_torn_page_fails_the_run_that_it_is_of_and_no_other(db: Path) -> None:
    for thread in ("torn", "whole"):
        run(TEAM, "x", model=scripted({"a": "1", "b": "2", "c": f"{thread} " * 5000}), db=db, thread=thread)
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stored = bytearray(db.read_bytes())
    places = [at for at in range(0, len(stored), 8192) if stored[at : at + 8192].count(b"torn ") > 1500]
    for at in places:
        stored[at : at + 8192] = b"\xff" * 8192
    db.write_bytes(stored)
    with pytest.raises(StoreError) as caught:
        resume("torn", target=TEAM, model=scripted([]), db=db)
    assert str(db) in str(caught.value)
    assert resume("whole", target=TEAM, model=scripted([]), db=db).answer.startswith("whole whole")


@pytest.mark.parametrize("damage", ["header", "schema", "cut"])
def test_a_damaged_file_is_said_by_every_command(damage: str, tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    run(TEAM, "x", model=scripted({"a": "1", "b": "2", "c": "3"}), db=db, thread="t")
    stored = bytearray(db.read_bytes())
    if damage == "cut":
        stored = stored[: len(stored) // 2]
    else:
        stored[slice(16, 100) if damage == "header" else slice(100, 8192)] = b"\xff" * (
            84 if damage == "header" else 8092
        )
    db.write_bytes(stored)
    shell = Shell(tmp_path)
    for words in (["runs"], ["runs", "t"], ["resume", "t"], ["delete", "t", "--yes"], ["run", "sequential", "x"]):
        done = shell(*words, "--db", str(db))
        assert done.code != 0 and str(db) in done.err and "Traceback" not in done.err, words


def test_a_path_that_is_none_is_refused(tmp_path: Path) -> None:
    for path in ("a\0b", "x" * 300):
        with pytest.raises(StoreError, match="cannot be used"):
            SqliteStore(tmp_path / path)


# --- versions --------------------------------------------------------------------------------------------------------

VERSION_1 = """
CREATE TABLE troupe_turns (
    thread TEXT NOT NULL, turn INTEGER NOT NULL, workflow TEXT NOT NULL, reference TEXT, task TEXT NOT NULL,
    input TEXT NOT NULL, models TEXT, simulated INTEGER NOT NULL, budget REAL, deadline REAL, status TEXT NOT NULL,
    reason TEXT, usage TEXT NOT NULL, started REAL NOT NULL, finished REAL, PRIMARY KEY (thread, turn)
);
CREATE TABLE troupe_leases (
    thread TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, expires REAL NOT NULL
);
CREATE TABLE troupe_journal (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, root TEXT NOT NULL, kind TEXT NOT NULL, path TEXT, agent TEXT,
    sent TEXT, received TEXT, usage TEXT, started REAL, seconds REAL, owner TEXT, epoch INTEGER
);
CREATE INDEX troupe_journal_root ON troupe_journal (root);
PRAGMA user_version=1;
"""


@pytest.fixture
def older(db: Path) -> Path:
    """A database as version 0.1 left it, with a run whose process died before its last step."""
    from tests.support.teams import Crash, Mortal
    from troupe import TeamContext

    new = db.with_name("new.db")
    context = TeamContext(models=scripted({"a": "one", "b": "two"}), executor=Mortal("c"))
    with pytest.raises(Crash):
        run(TEAM, "x", context=context, db=new, thread="t")
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA page_size=8192")
        SqliteSaver(connection).setup()
        connection.executescript(VERSION_1)
        connection.execute("ATTACH ? AS new", (str(new),))
        for table in ("checkpoints", "writes", "troupe_turns", "troupe_leases", "troupe_journal"):
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")  # noqa: S608
        connection.execute("UPDATE troupe_leases SET owner = 'this-host/1/0badf00d'")
        connection.commit()
    new.unlink()
    return db


def test_a_database_of_version_0_1_is_brought_up_to_today_and_its_runs_go_on(older: Path) -> None:
    view = view_of("t", db=older, target=TEAM)
    assert [(step.state, step.content) for step in view.steps.values()][:2] == [
        ("accepted", "one"),
        ("accepted", "two"),
    ]
    model = scripted({"c": "three"})
    result = resume("t", target=TEAM, model=model, db=older)
    assert (result.status, result.answer, len(model.asked)) == ("completed", "three", 1)
    with SqliteStore(older) as store:
        assert store.rows_of("PRAGMA user_version") == [(tables.SCHEMA,)]
        assert asyncio.run(store.failures()) == [] and asyncio.run(store.tally())["a"] == {"outcome": 1}
        assert asyncio.run(store.last("t")).fingerprint is None
        assert asyncio.run(store.delete("t")) > 0
        store.compact()
        assert store.rows_of("PRAGMA auto_vacuum") == [(2,)], "from now on room is given back bit by bit"


def test_five_processes_may_bring_an_older_database_up_to_today_at_once(older: Path) -> None:
    code = "import sys; from troupe.sqlite import SqliteStore; sys.stdin.readline(); SqliteStore(sys.argv[1]).close()"
    command = [sys.executable, "-c", code, str(older)]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(5)]
    assert [child.communicate("go\n", timeout=120)[1] for child in children] == [""] * 5


def test_a_database_of_a_newer_version_is_not_touched(db: Path) -> None:
    SqliteStore(db).close()
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version=99")
    before = db.read_bytes()
    with pytest.raises(StoreError, match="written by a newer version of Troupe"):
        SqliteStore(db)
    assert db.read_bytes() == before


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


@pytest.mark.parametrize("key", [None, "5f" * 32], ids=["plain", "encrypted"])
def test_a_thread_is_read_back_as_langgraph_reads_it_with_snapshots_and_without(key: str | None, db: Path) -> None:
    with SqliteStore(db, key=key) as store:
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
