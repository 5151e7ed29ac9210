"""Races: branches that run until a join has enough, and the calls of those that are given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from troupe.agents.contracts import Ok, Outcome, Skipped
from troupe.agents.journal import Journal, MemoryJournal
from troupe.agents.race import Race, lost, racing, unless_lost


def race(count: int | None, journal: Journal | None = None, names: str = "abc") -> Race:
    return Race("t/1/join", list(names), count, journal or MemoryJournal(), lambda won: f"won: {', '.join(won)}")


async def forever() -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


async def at_once() -> Outcome:
    return Ok("value")


async def call(one: Race, branch: str, make: Callable[[], Awaitable[Outcome]] = forever, **more: Any) -> Outcome:
    with racing(one, branch):
        return await unless_lost(make, more.get("composed", False))


async def test_outside_of_any_race_a_call_is_just_made() -> None:
    assert await unless_lost(at_once, composed=False) == Ok("value")
    assert lost() is None


async def test_calls_of_a_losing_branch_are_cancelled_and_end_as_skipped() -> None:
    one = race(1)
    under_way = asyncio.ensure_future(call(one, "b"))
    await asyncio.sleep(0)
    assert await one.end("a", usable=True) is None
    assert await asyncio.wait_for(under_way, 5) == Skipped("won: a")
    assert one.winners == ("a",) and one.lost == {"b": "won: a", "c": "won: a"}


async def test_later_calls_of_a_losing_branch_are_not_made() -> None:
    one, made = race(1), []

    async def make() -> Outcome:
        made.append(1)
        return Ok("value")

    await one.end("a", usable=True)
    assert await call(one, "b", make) == Skipped("won: a") and not made
    assert await call(one, "a", make) == Ok("value") and made


async def test_several_calls_of_one_branch_are_all_cancelled() -> None:
    one = race(1)
    calls = [asyncio.ensure_future(call(one, "b")) for _ in range(3)]
    await asyncio.sleep(0)
    await one.end("a", usable=True)
    assert await asyncio.wait_for(asyncio.gather(*calls), 5) == [Skipped("won: a")] * 3


async def test_a_composed_call_is_left_to_end_by_itself() -> None:
    one, may_end = race(1), asyncio.Event()

    async def make() -> Outcome:
        await may_end.wait()
        return Ok("by itself")

    under_way = asyncio.ensure_future(call(one, "b", make, composed=True))
    await asyncio.sleep(0)
    await one.end("a", usable=True)
    may_end.set()
    assert await asyncio.wait_for(under_way, 5) == Ok("by itself")


async def test_whoever_else_cancels_a_call_is_heard() -> None:
    one = race(1)
    under_way = asyncio.ensure_future(call(one, "b"))
    await asyncio.sleep(0)
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way


@pytest.mark.parametrize("first", ["the race", "the user"])
async def test_whoever_else_cancels_a_losing_call_is_heard_too(first: str) -> None:
    one = race(1)
    under_way = asyncio.ensure_future(call(one, "b"))
    await asyncio.sleep(0)
    if first == "the user":
        under_way.cancel()
    await one.end("a", usable=True)
    if first == "the race":
        under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert under_way.cancelled()


async def test_a_call_that_belongs_to_two_races_that_are_both_lost_is_skipped_and_its_task_goes_on() -> None:
    outer, inner = race(1), race(1)
    going_on = []

    async def work() -> Outcome:
        with racing(outer, "b"), racing(inner, "c"):
            outcome = await unless_lost(forever, composed=False)
        await asyncio.sleep(0)  # the task itself is not cancelled any more
        going_on.append(outcome)
        return outcome

    under_way = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    await asyncio.gather(outer.end("a", usable=True), inner.end("a", usable=True))
    assert await asyncio.wait_for(under_way, 5) == Skipped("won: a") and going_on


async def test_whatever_runs_in_a_losing_branch_can_know_it() -> None:
    one = race(1)
    await one.end("a", usable=True)
    with racing(one, "b"):
        assert lost() == "won: a"
        with racing(race(1), "a"):
            assert lost() == "won: a"
    assert lost() is None


async def test_a_branch_that_delivered_nothing_does_not_count() -> None:
    one = race(2)
    assert [await one.end("a", usable=False), await one.end("b", usable=True)] == [None, None]
    assert one.winners is None
    assert await one.end("c", usable=True) is None
    assert one.winners == ("b", "c") and one.lost == {}


async def test_of_branches_that_end_at_once_exactly_so_many_win_in_the_order_of_the_branches() -> None:
    one = race(2, names="abcd")
    why = await asyncio.gather(*(one.end(name, usable=True) for name in "dbac"))
    assert one.winners == ("b", "d") and why == [None, None, "won: b, d", "won: b, d"]


async def test_time_that_is_up_gives_up_whoever_is_still_at_work() -> None:
    one = race(None)
    await one.start("a", patience=0.05)
    await one.end("a", usable=True)
    assert await asyncio.wait_for(call(one, "b"), 5) == Skipped("Given up: it was still at work after 0.05 s.")
    assert one.winners == ("a",) and set(one.lost) == {"b", "c"}


async def test_the_clock_is_stopped_when_all_have_ended() -> None:
    one = race(None)
    await one.start("a", patience=0.02)
    for name in "abc":
        assert await one.end(name, usable=True) is None
    await asyncio.sleep(0.05)
    assert one.winners is None and one.lost == {}


async def test_what_an_earlier_process_recorded_decides_alike() -> None:
    journal = MemoryJournal()
    before = race(2, journal)
    await before.end("c", usable=True)
    await before.end("a", usable=True)
    after = race(2, journal)
    await after.start("b", None)
    assert after.winners == ("a", "c") and after.lost == {"b": "won: a, c"}
    assert await call(after, "b") == Skipped("won: a, c")


async def test_branches_that_an_earlier_process_finished_count_in_a_later_one() -> None:
    journal = MemoryJournal()
    await race(2, journal).end("c", usable=True)
    after = race(2, journal)
    await asyncio.gather(*(after.start(name, None) for name in "abc"))
    assert after.winners is None
    await after.end("a", usable=True)
    assert after.winners == ("a", "c")


async def test_a_journal_is_asked_once_for_each_branch_however_many_there_are() -> None:
    asked = []

    class Counting(MemoryJournal):
        async def find(self, key: str) -> Any:
            asked.append(key)
            return await super().find(key)

    names = [f"worker.{number}" for number in range(100)]
    one = Race("t/1/join", names, 100, Counting(), lambda won: "won")
    await asyncio.gather(*(one.start(name, None) for name in names))
    assert len(asked) == 101


async def test_a_branch_that_waits_for_a_person_waits_for_the_others_first() -> None:
    one = race(1)
    for name in "ab":
        await one.start(name, None)
    waiting = asyncio.ensure_future(one.alone("b"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await one.end("a", usable=True)
    assert await asyncio.wait_for(waiting, 5) == "won: a"


async def test_where_all_wait_for_a_person_or_have_ended_none_waits_any_longer() -> None:
    one = race(2)
    for name in "abc":
        await one.start(name, None)
    waiting = [asyncio.ensure_future(one.alone(name)) for name in "ab"]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    await one.end("c", usable=False)
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [None, None]


async def test_a_branch_that_has_not_begun_is_not_waited_for() -> None:
    """Where the caller lets only some of the branches run at once, the others could never begin."""
    one = race(1)
    await one.start("a", None)
    assert await asyncio.wait_for(one.alone("a"), 5) is None
