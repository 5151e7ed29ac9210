"""The record of calls: the same promises in memory and in every database."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stores import Place
from troupe.agents.contracts import NO_USAGE, Tokens, Usage
from troupe.agents.journal import Journal, Kind, MemoryJournal, Row, root
from troupe.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite", "sqlite under a lease", "encrypted", "postgres", "postgres under a lease"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    where = request.getfixturevalue("database") if "postgres" in request.param else str(tmp_path / "runs.db")
    with Place(where).open(key="5f" * 32 if request.param == "encrypted" else None) as store:
        if "lease" not in request.param:
            yield store
            return
        lease = await store.acquire("t")
        yield store.fenced(lease)
        await store.release(lease)


def row(key: str, kind: Kind = "request", received: Any = None, usage: Usage = NO_USAGE, started: float = 1.0) -> Row:
    return Row(key, kind, "writer", "writer", {"seal": "x"}, received or {"said": key}, usage, started, 0.5)


def used(tokens: int, usd: float | None = 0.0) -> Usage:
    return Usage(tokens=Tokens(input=tokens), usd=usd, calls=1)


async def test_a_key_is_new_once_and_begun_from_then_on(journal: Journal) -> None:
    assert await journal.reserve("t/1/a") is False
    assert await journal.reserve("t/1/a") is True
    assert await journal.reserve("t/1/b") is False


async def test_an_outcome_that_is_recorded_is_found_by_whoever_reserves(journal: Journal) -> None:
    await journal.reserve("t/1/a")
    await journal.record(row("t/1/a", "outcome", {"content": "done"}, used(7)))
    found = await journal.reserve("t/1/a")
    assert isinstance(found, Row)
    assert found == row("t/1/a", "outcome", {"content": "done"}, used(7))


async def test_a_request_is_found_by_its_key_and_a_reservation_is_not(journal: Journal) -> None:
    await journal.reserve("t/1/a")
    assert await journal.find("t/1/a") is None
    assert await journal.find("t/1/a/0") is None
    await journal.record(row("t/1/a/0"))
    assert await journal.find("t/1/a/0") == row("t/1/a/0")


async def test_the_first_row_of_a_key_stays(journal: Journal) -> None:
    await journal.record(row("t/1/a/0", received={"said": "first"}))
    await journal.record(row("t/1/a/0", received={"said": "second"}))
    found = await journal.find("t/1/a/0")
    assert found is not None and found.received == {"said": "first"}


async def test_rows_come_by_their_beginning_and_oldest_first(journal: Journal) -> None:
    for number, key in enumerate(["t/1/a/0", "t/1/a/1", "t/1/b/0", "t/2/a/0"]):
        await journal.record(row(key, started=float(number)))
    await journal.reserve("t/1/c")
    assert [one.key for one in await journal.rows("t/1/")] == ["t/1/a/0", "t/1/a/1", "t/1/b/0"]
    assert [one.key for one in await journal.rows("t/1/a")] == ["t/1/a/0", "t/1/a/1"]
    assert await journal.rows("t/3/") == []


@pytest.mark.parametrize("odd", ["t/1/%/0", "t/1/_/0", "t/1/*?[a]/0", "t/1/'\"--/0", "t/1/ä 日本/0"])
async def test_signs_that_mean_something_to_databases_mean_nothing_in_keys(journal: Journal, odd: str) -> None:
    await journal.record(row("t/1/x/0"))
    await journal.record(row(odd))
    assert [one.key for one in await journal.rows(odd[:5])] == [odd]
    assert await journal.find(odd) == row(odd)


async def test_only_requests_and_failures_cost_and_each_counts_once(journal: Journal) -> None:
    await journal.record(row("t/1/a/0", "request", usage=used(1, 0.5)))
    await journal.record(row("t/1/a/0", "request", usage=used(100, 50.0)))
    await journal.record(row("t/1/a/1!1", "failure", usage=used(2, 0.25)))
    await journal.record(row("t/1/a/2", "tool"))
    await journal.record(row("t/1/a", "outcome", usage=used(3, 0.75)))
    await journal.record(row("t/2/a/0", "request", usage=used(10)))
    spent = await journal.spent("t/1")
    assert (spent.tokens.input, spent.usd, spent.calls) == (3, 0.75, 2)
    assert (await journal.spent("t/2")).tokens.input == 10
    assert await journal.spent("t/9") == NO_USAGE


async def test_an_unknown_price_makes_the_sum_unknown(journal: Journal) -> None:
    await journal.record(row("t/1/a/0", usage=used(1, 0.5)))
    await journal.record(row("t/1/a/1", usage=used(1, None)))
    assert (await journal.spent("t/1")).usd is None


async def test_whatever_a_model_says_is_kept_as_it_was(journal: Journal) -> None:
    said = {"text": "ä 日本 😀 \u2028 ' \" \\ \n", "list": [1, 2.5, None, True], "nested": {"a": {}}}
    await journal.record(row("t/1/a/0", received=said))
    found = await journal.find("t/1/a/0")
    assert found is not None and found.received == said


async def test_many_tasks_agree_on_who_was_first(journal: Journal) -> None:
    found = await asyncio.gather(*(journal.reserve("t/1/a") for _ in range(50)))
    assert sorted(map(bool, found)) == [False] + [True] * 49


def test_many_threads_and_event_loops_lose_nothing(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "runs.db") as store:
        for journal in (MemoryJournal(), store):
            start = threading.Barrier(8)

            async def write(journal: Journal, name: int) -> None:
                for number in range(20):
                    key = f"t{number}/1/{name}"
                    assert await journal.reserve(key) is False
                    await journal.record(row(f"{key}/0", usage=used(1)))

            def work(journal: Any, name: int, start: threading.Barrier = start) -> None:
                start.wait()
                asyncio.run(write(journal, name))

            threads = [threading.Thread(target=work, args=(journal, name)) for name in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for number in range(20):
                assert asyncio.run(journal.spent(f"t{number}/1")).calls == 8


async def test_a_memory_forgets_the_thread_that_was_longest_out_of_use() -> None:
    journal = MemoryJournal(threads=2)
    await journal.record(row("old/1/a/0"))
    await journal.record(row("idle/1/a/0"))
    await journal.find("old/1/a/0")
    await journal.record(row("new/1/a/0"))
    assert await journal.find("old/1/a/0") is not None
    assert await journal.rows("idle/") == []


async def test_looking_for_something_keeps_nothing() -> None:
    journal = MemoryJournal(threads=2)
    await journal.record(row("t/1/a/0"))
    for number in range(10):
        assert await journal.find(f"other{number}/1/a/0") is None
        assert await journal.spent(f"other{number}/1") == NO_USAGE
    assert await journal.find("t/1/a/0") is not None


def test_the_root_of_a_key_is_its_thread_and_turn() -> None:
    assert root("t/2/outer/inner#1/work.a/0f/3") == "t/2"
    assert row("t/2/x").root == "t/2"
