"""Stopping in good order, in every pattern: what is in flight is finished and recorded, and nothing is repeated."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Shell
from tests.support.openai_server import OpenAIServer, Received, hang, slow, status
from tests.support.stopping import STOPPED, asking, line, worker
from troupe import Result, aresume, arun, parallel, sequential
from troupe.agents.errors import Held
from troupe.agents.events import Event
from troupe.sqlite import SqliteStore

SPEC = "openai:gpt-test"
MODEL = ("--model", SPEC)
every = pytest.mark.parametrize("name", STOPPED)


def serving(in_flight: int, first: Any = None) -> OpenAIServer:
    """A server that lets so many calls wait, and answers those after them at once."""
    return OpenAIServer([*[slow("ok") if first is None else first] * in_flight, *["ok then"] * 20])


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def use(server: OpenAIServer, shell: Shell) -> None:
    shell.env |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "test"}


def whom(requests: list[Received]) -> list[str]:
    """Who was asked, by the first words of their prompts."""
    return sorted(one.system.partition(".")[0].removeprefix("You are ") for one in requests)


# --- by a signal -----------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_calls_in_flight_finish_and_resume_does_the_rest(
    name: str, number: int, code: int, shell: Shell
) -> None:
    _, flying, rest = STOPPED[name]
    with serving(len(flying)) as server:
        use(server, shell)
        process = shell.start("run", f"tests.support.stopping:{name}", "x", *MODEL, "--thread", "t", "--json")
        server.wait_for_requests(len(flying), 30)
        process.signal(number)
        time.sleep(0.3)
        server.release()
        stopped = process.end()
        assert (stopped.code, stopped.json["status"]) == (code, "stopped")
        assert whom(server.requests) == sorted(flying), "no new call was started"
        assert stopped.json["usage"]["calls"] == len(flying), "what was in flight is paid for and recorded"
        listed = shell("runs", "--json").json["runs"]
        assert [(one["run"], one["status"]) for one in listed] == [("t", "stopped")]
        done = shell("resume", "t", "--json")
        assert (done.code, done.json["status"]) == (0, "completed")
        assert whom(server.requests[len(flying) :]) == sorted(rest), "nothing that was recorded is asked again"
        assert done.json["usage"]["calls"] == len(flying) + len(rest)


@every
def test_a_second_signal_ends_at_once_and_resume_asks_again_for_what_was_in_flight(name: str, shell: Shell) -> None:
    _, flying, rest = STOPPED[name]
    with serving(len(flying), hang()) as server:
        use(server, shell)
        process = shell.start("run", f"tests.support.stopping:{name}", "x", *MODEL, "--thread", "t")
        server.wait_for_requests(len(flying), 30)
        process.signal(signal.SIGTERM)
        time.sleep(0.3)
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        ended = process.end()
        assert ended.code == 143 and time.monotonic() - began < 2
        assert ended.err.splitlines()[-1] == "go on      troupe resume t"
        done = shell("resume", "t", "--json")
        assert (done.code, done.json["status"]) == (0, "completed")
        assert whom(server.requests[len(flying) :]) == sorted([*flying, *rest])


def test_the_command_that_is_printed_goes_on(shell: Shell) -> None:
    with serving(2) as server:
        use(server, shell)
        process = shell.start("run", "tests.support.stopping:nested", "x", *MODEL, "--db", "my runs.db")
        server.wait_for_requests(2, 30)
        process.signal(signal.SIGTERM)
        time.sleep(0.3)
        server.release()
        stopped = process.end()
        command = stopped.err.splitlines()[-1]
        assert stopped.code == 143
        assert command.startswith("go on      troupe resume ") and command.endswith("--db 'my runs.db'")
        assert shell("resume", command.split()[4], "--db", "my runs.db").code == 0


def test_a_process_that_waits_for_another_ends_at_a_signal_and_the_other_goes_on(shell: Shell) -> None:
    with serving(1) as server:
        use(server, shell)
        first = shell.start("run", "tests.support.stopping:line", "x", *MODEL, "--thread", "t", "--json")
        server.wait_for_requests(1, 30)
        second = shell.start("resume", "t")
        until_it_says(second, "is being worked on")
        began = time.monotonic()
        second.signal(signal.SIGINT)
        ended = second.end()
        assert (ended.code, ended.out) == (130, "") and "Stopped before the run began." in ended.err
        assert time.monotonic() - began < 5
        server.release()
        done = first.end()
    assert (done.code, done.json["status"], len(server.requests)) == (0, "completed", 3)


def until_it_says(process: Any, words: str) -> None:
    ends = time.monotonic() + 30
    while words not in process._read[process._err].decode():
        assert time.monotonic() < ends
        time.sleep(0.02)


# --- by an event -----------------------------------------------------------------------------------------------------


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    return monkeypatch


async def stopped(team: Any, server: OpenAIServer, count: int, db: Any, **options: Any) -> Result:
    """A run that is asked to stop when so many requests have come in; then they are answered."""
    stop = asyncio.Event()
    going = asyncio.create_task(arun(team, "x", model=SPEC, db=db, thread="t", stop=stop, **options))
    await asyncio.to_thread(server.wait_for_requests, count, 30)
    stop.set()
    await asyncio.sleep(0.05)
    server.release()
    return await going


@every
@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_an_event_stops_a_run_and_resume_does_the_rest(
    name: str, durability: Any, settled: pytest.MonkeyPatch, db: Path
) -> None:
    team, flying, rest = STOPPED[name]
    with serving(len(flying)) as server:
        settled.setenv("OPENAI_BASE_URL", server.base_url)
        result = await stopped(team, server, len(flying), db, durability=durability)
        assert (result.status, result.usage.calls, result.missing) == ("stopped", len(flying), ())
        assert result.reason is not None and "troupe resume t" in result.reason.message
        done = await aresume("t", target=team, db=db, durability=durability)
        assert (done.status, done.usage.calls) == ("completed", len(flying) + len(rest))
        assert whom(server.requests[len(flying) :]) == sorted(rest)


async def test_a_run_that_is_stopped_again_and_again_ends_as_if_it_never_was(
    settled: pytest.MonkeyPatch, db: Path
) -> None:
    team = sequential(*(worker(name) for name in ("one", "two", "three", "four")))
    with OpenAIServer([slow("ok", 0.2)] * 4) as server:
        settled.setenv("OPENAI_BASE_URL", server.base_url)
        result = await stopped(team, server, 1, db)
        for asked in (2, 3, 4):
            assert (result.status, len(server.requests)) == ("stopped", asked - 1)
            stop = asyncio.Event()
            going = asyncio.create_task(aresume("t", target=team, db=db, stop=stop))
            await asyncio.to_thread(server.wait_for_requests, asked, 30)
            if asked < 4:
                stop.set()
            result = await going
        assert (result.status, whom(server.requests)) == ("completed", ["four", "one", "three", "two"])


async def test_a_run_stops_while_a_call_waits_to_be_tried_again(settled: pytest.MonkeyPatch, db: Path) -> None:
    team, _, _ = STOPPED["line"]
    with OpenAIServer(["ok", status(429, "later", retry_after=300), "ok", "ok"]) as server:
        settled.setenv("OPENAI_BASE_URL", server.base_url)
        began, stop, told = time.monotonic(), asyncio.Event(), asyncio.Event()

        def listen(event: Event) -> None:
            if event.kind == "attempt":
                told.set()

        going = asyncio.create_task(arun(team, "x", model=SPEC, db=db, thread="t", stop=stop, listeners=[listen]))
        await told.wait()
        stop.set()
        result = await going
        assert result.status == "stopped" and time.monotonic() - began < 20, "nobody waits the five minutes out"
        assert len(server.requests) == 2
        done = await aresume("t", target=team, db=db)
        assert (done.status, whom(server.requests)) == ("completed", ["one", "three", "two", "two"])


async def test_a_run_stops_while_calls_wait_for_their_slot(settled: pytest.MonkeyPatch, db: Path) -> None:
    settled.setenv("TROUPE_MAX_CONCURRENCY", "1")
    team = parallel(worker("one"), worker("two"), worker("three"), merge=worker("four"))
    with serving(1) as server:
        settled.setenv("OPENAI_BASE_URL", server.base_url)
        result = await stopped(team, server, 1, db)
        assert (result.status, result.usage.calls, len(server.requests)) == ("stopped", 1, 1)
        done = await aresume("t", target=team, db=db)
        assert (done.status, whom(server.requests)) == ("completed", ["four", "one", "three", "two"])


async def test_a_run_stops_while_a_person_is_asked_and_the_question_stays(
    settled: pytest.MonkeyPatch, db: Path
) -> None:
    with serving(1) as server:
        settled.setenv("OPENAI_BASE_URL", server.base_url)
        result = await stopped(asking, server, 1, db)
        # When the last call has ended there may be nothing left to stop.
        assert result.status in ("stopped", "waiting") and result.usage.calls == 1
        waits = await aresume("t", target=asking, db=db)
        assert (waits.status, [one.step for one in waits.waiting]) == ("waiting", ["asks"])
        done = await aresume("t", {waits.waiting[0].id: True}, target=asking, db=db)
        assert (done.status, done.answer, len(server.requests)) == ("completed", "bad | ok", 1)


async def test_whoever_waits_for_another_process_stops_waiting_when_asked_to(db: Path) -> None:
    with SqliteStore(db) as store:
        lease = await store.acquire("t")
        stop, told = asyncio.Event(), asyncio.Event()
        going = asyncio.create_task(arun(line, "x", db=db, thread="t", stop=stop, listeners=[lambda _: told.set()]))
        await told.wait()
        stop.set()
        with pytest.raises(Held, match="is being worked on"):
            await asyncio.wait_for(going, 5)
        assert await store.turns("t") == [], "nothing was begun"
        await store.release(lease)
