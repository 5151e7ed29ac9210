"""How long runs are kept: deleting one, pruning old ones, what is left of them (nothing), and how large they are."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command import Shell
from tests.support.stores import Place
from tests.support.stores import place as place
from troupe import (
    InputError,
    Step,
    adelete,
    agent,
    aprune,
    arun,
    contains,
    delete,
    gate,
    prune,
    run,
    scripted,
    sequential,
)
from troupe.agents.errors import Held, UnknownRun
from troupe.retention import duration

A, B = agent("a", "Work."), agent("b", "Work.")
NESTED = sequential(Step(sequential(A, B, name="inner"), name="inner"), B)
TABLES = ["troupe_turns", "troupe_journal", "troupe_leases", "checkpoints"]
DAY = 86_400


def work(place: Place, thread: str, word: str = "word", team: Any = NESTED) -> None:
    model = scripted({"a": f"{word}-a", "b": [f"{word}-b", f"{word}-c"]})
    run(team, f"{word}-task", model=model, db=place.db, thread=thread)


def tables(place: Place) -> list[str]:
    return [*TABLES, *(["writes"] if place.kind == "sqlite" else ["checkpoint_blobs", "checkpoint_writes"])]


def rows(place: Place) -> dict[str, int]:
    return {table: place.count(table) for table in tables(place)}


def age(place: Place, thread: str, days: float) -> None:
    """Let a run be so old."""
    past = time.time() - days * DAY
    place.sql("UPDATE troupe_turns SET started = ?, finished = ? WHERE thread = ?", (past, past, thread))
    place.sql("UPDATE troupe_leases SET since = ? WHERE thread = ?", (past, thread))


def test_a_deleted_run_leaves_nothing_and_takes_nothing_from_others(place: Place) -> None:
    work(place, "kept", "keepme")
    before = rows(place)
    work(place, "gone", "SECRETWORD")
    work(place, "gone", "SECRETWORD")
    removed = delete("gone", db=place.db)
    assert removed.runs == ("gone",) and removed.bytes > 1000
    assert rows(place) == before
    with pytest.raises(UnknownRun, match="There is no run 'gone'"):
        delete("gone", db=place.db)
    assert run(NESTED, "x", model=scripted({"a": "1", "b": ["2", "3"]}), db=place.db, thread="gone").turn == 1


def test_nothing_of_a_deleted_run_can_be_read_in_the_files(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "runs.db"))
    with place.open() as store:  # keeps the log beside the file
        work(place, "kept", "KEEPWORD")
        for number in range(20):
            run(
                NESTED,
                "GONEWORD",
                model=scripted({"a": "GONEWORD " * 900, "b": ["GONEWORD", "x"]}),
                db=store,
                thread=f"g{number}",
            )
        assert place.stored().count(b"GONEWORD") > 100
        before = store.size()
        removed = [delete(f"g{number}", db=store) for number in range(20)]
        assert b"GONEWORD" not in place.stored() and b"KEEPWORD" in place.stored()
        assert store.size() < before / 2 and sum(one.freed for one in removed) >= before - store.size()


async def test_a_run_that_is_being_worked_on_is_neither_deleted_nor_pruned(place: Place) -> None:
    await asyncio.to_thread(work, place, "t")
    age(place, "t", 40)
    before = rows(place)
    with place.open() as other:
        lease = await other.acquire("t")
        with pytest.raises(Held, match=r"Run t is being worked on by .* It can be deleted when that has ended"):
            await adelete("t", db=place.db)
        place.sql("UPDATE troupe_leases SET since = 1")
        found = await aprune("30d", db=place.db, dry_run=True)
        assert (found.runs, found.held) == ((), ("t",))
        done = await aprune("30d", db=place.db)
        assert (done.runs, done.held) == ((), ("t",))
        await other.release(lease)
    assert rows(place) == before
    assert (await adelete("t", db=place.db)).runs == ("t",)


async def test_an_epoch_is_never_given_twice_not_even_after_deletion(place: Place) -> None:
    with place.open() as one, place.open() as other:
        epochs, stale = [], []
        for _ in range(3):
            lease = await one.acquire("t")
            epochs.append(lease.epoch)
            stale.append(one.fenced(lease))
            stale[-1]._reserve("t/1/a")
            place.expire("t")
            await other.delete("t")
            epochs.append((await other.acquire("u")).epoch)
            place.expire("u")
            with pytest.raises(Held, match="was taken over by somebody who deleted it"):
                stale[-1]._reserve("t/1/a")
        assert epochs[::2] == sorted(set(epochs[::2])) and len(set(epochs[::2])) == 3
        await one.acquire("t")
        for writer in stale:
            with pytest.raises(Held, match="was taken over"):
                writer._reserve("t/1/a")
        assert rows(place)["troupe_journal"] == 0


def test_old_runs_are_pruned_and_young_ones_stay(place: Place) -> None:
    for thread, days in {"older": 60, "old": 31, "young": 29, "new": 0}.items():
        work(place, thread)
        age(place, thread, days)
    found = prune("30d", db=place.db, dry_run=True)
    assert found.runs == ("older", "old") and found.bytes > 1000 and found.freed == 0
    assert place.count("troupe_turns") == 4, "it was only asked"
    removed = prune(timedelta(days=30), db=place.db)
    assert (removed.runs, removed.bytes) == (found.runs, found.bytes)
    assert {one for (one,) in place.sql("SELECT DISTINCT thread_id FROM checkpoints")} == {"young", "new"}
    assert prune("30d", db=place.db).runs == ()


def test_a_run_counts_as_old_from_when_it_was_last_worked_on(place: Place) -> None:
    work(place, "t")
    age(place, "t", 40)
    work(place, "t")
    assert prune("30d", db=place.db).runs == ()


def test_a_run_that_waits_for_a_person_can_be_too_old_as_well(place: Place) -> None:
    team = sequential(A, gate=gate(contains("zzz"), 0, "ask"))
    assert run(team, "x", model=scripted(["one"]), db=place.db, thread="t").status == "waiting"
    age(place, "t", 40)
    assert prune("30d", db=place.db).runs == ("t",)


async def test_a_run_that_is_taken_up_between_the_look_and_the_deed_stays(place: Place) -> None:
    await asyncio.to_thread(work, place, "t")
    age(place, "t", 40)
    with place.open() as store:
        (found,) = await store.aged(30 * DAY)
        await asyncio.to_thread(work, place, "t")
        assert await store.delete("t", found) == 0
        assert len(await store.turns("t")) == 2 and await store.holder("t") is None


async def test_runs_go_on_while_others_are_pruned(place: Place) -> None:
    for number in range(5):
        await asyncio.to_thread(work, place, f"old{number}")
        age(place, f"old{number}", 40)
    team = sequential(A, B)
    model = scripted({"a": ["one"] * 10, "b": ["two"] * 10})
    pruning = asyncio.ensure_future(aprune("30d", db=place.db))
    results = await asyncio.gather(*(arun(team, "x", model=model, db=place.db) for _ in range(10)))
    removed = await pruning
    assert {one.status for one in results} == {"completed"} and len(removed.runs) == 5
    assert place.count("troupe_turns") == 10


def test_sizes_are_of_what_is_stored(place: Place) -> None:
    run(sequential(A), "x", model=scripted(["small"]), db=place.db, thread="small")
    import random

    large = random.Random(7).randbytes(200_000).hex()  # noqa: S311 - what no database makes smaller by half
    run(sequential(A), "x", model=scripted([large]), db=place.db, thread="large")
    with place.open() as store:
        sizes = asyncio.run(store.sizes())
        assert set(sizes) == {"small", "large"} and sizes["small"] < 50_000 < 400_000 < sizes["large"]
        assert asyncio.run(store.sizes("large")) == {"large": sizes["large"]}
        assert sum(sizes.values()) < store.size() * 1.2


# --- durations -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from("wdhms")), min_size=1, max_size=5))
def test_durations_add_up(parts: list[tuple[int, str]]) -> None:
    units = {"w": 7 * DAY, "d": DAY, "h": 3600, "m": 60, "s": 1}
    for between in ("", " "):
        assert duration(between.join(f"{n}{unit}" for n, unit in parts)) == sum(n * units[unit] for n, unit in parts)


@pytest.mark.parametrize(
    "given",
    ["", "30", "d", "-1d", "1y", "1d,2h", "30 days", "1e3d", "9" * 40 + "d", "٣d", -1.0, float("nan"), float("inf")],
)
def test_what_is_no_duration_is_refused(given: Any, place: Place) -> None:
    with pytest.raises(InputError, match=r"is no duration\. Say it as 30d, 12h, 45m or 1d 12h"):
        prune(given, db=place.db)


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def troupe(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_delete_asks_first_and_says_what_went(place: Place, troupe: Shell) -> None:
    work(place, "t")
    unsure = troupe("delete", "t", "--db", place.db)
    assert unsure.code == 2 and "give --yes" in unsure.err and place.count("troupe_turns") == 1
    sure = troupe("delete", "t", "--yes", "--db", place.db)
    assert (sure.code, sure.out) == (0, "t\n") and "1 run deleted, " in sure.err
    again = troupe("delete", "t", "--yes", "--db", place.db)
    assert again.code == 2 and "There is no run 't'" in again.err


def test_prune_says_how_many_runs_and_bytes(place: Place, troupe: Shell) -> None:
    for thread in ("a", "b"):
        work(place, thread)
        age(place, thread, 40)
    work(place, "c")
    looked = troupe("prune", "--older-than", "30d", "--dry-run", "--db", place.db)
    assert looked.code == 0 and sorted(looked.out.split()) == ["a", "b"]
    assert "2 runs would be deleted, " in looked.err and " kB" in looked.err
    done = json.loads(troupe("prune", "--older-than", "30d", "--yes", "--json", "--db", place.db).out)
    assert (sorted(done["runs"]), done["held"], done["dry_run"]) == (["a", "b"], [], False) and done["bytes"] > 1000
    nothing = troupe("prune", "--older-than", "30d", "--db", place.db)
    assert (nothing.code, nothing.out) == (0, "")
    wrong = troupe("prune", "--older-than", "a month", "--db", place.db)
    assert wrong.code == 2 and "is no duration" in wrong.err


def test_runs_shows_the_size_of_each_and_of_all(place: Place, troupe: Shell) -> None:
    for thread in ("a", "b"):
        work(place, thread)
    shown = troupe("runs", "--db", place.db)
    header, *lines = shown.out.splitlines()
    assert "SIZE" in header and all(" kB  " in line for line in lines) and "2 runs, " in shown.err
    as_json = json.loads(troupe("runs", "--json", "--db", place.db).out)
    assert as_json["bytes"] == sum(one["bytes"] for one in as_json["runs"]) > 1000
    assert as_json["database_bytes"] > as_json["bytes"] / 2


def test_whoever_sits_at_a_terminal_is_asked(place: Place, troupe: Shell) -> None:
    work(place, "t")
    code, said = troupe.terminal("delete", "t", "--db", place.db, typed="n\n")
    assert code == 1 and "[y/N]" in said and "Nothing was deleted" in said and place.count("troupe_turns") == 1
    code, said = troupe.terminal("delete", "t", "--db", place.db, typed="y\n")
    assert code == 0 and "1 run deleted" in said and place.count("troupe_turns") == 0


def test_a_database_that_is_not_there_is_not_made_to_prune_it(tmp_path: Path, troupe: Shell) -> None:
    done = troupe("prune", "--older-than", "1d", "--yes", "--db", str(tmp_path / "none.db"))
    assert done.code == 0 and not (tmp_path / "none.db").exists()
