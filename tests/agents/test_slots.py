"""Slots: never more at once than the cap, the most urgent of a group first, groups in the order they came."""

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troupe.agents.slots import PAUSE, Slots, urgent
from troupe.agents.virtual import Stuck, play


class Shop:
    """Whoever was served, in order, and how many were at once."""

    def __init__(self, cap: int = 1) -> None:
        self.slots = Slots(cap)
        self.served: list[str] = []
        self.inside = self.most = 0

    async def serve(self, name: str, seconds: float = 1.0) -> None:
        async with self.slots:
            self.served.append(name)
            self.inside += 1
            self.most = max(self.most, self.inside)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.inside -= 1

    async def urgently(self, name: str, urgency: float, group: str = "run", rivals: int = 0) -> None:
        with urgent(urgency, group, rivals):
            await self.serve(name)

    def is_as_before(self, cap: int = 1) -> bool:
        return self.slots._free == cap and not self.slots._line and not self.slots._waiting


def test_inside_a_group_the_most_urgent_goes_first_and_then_whoever_came_first() -> None:
    shop = Shop()

    async def run() -> None:
        await asyncio.gather(
            shop.serve("there"),
            *(shop.urgently(name, seconds) for name, seconds in {"c": 1, "a": 9, "d": 1, "b": 5}.items()),
        )

    play(run)
    assert shop.served == ["there", "a", "b", "c", "d"]
    assert shop.is_as_before()


def test_nobody_waits_for_the_urgency_of_another_group() -> None:
    shop = Shop()

    async def run() -> None:
        urgent_ones = [shop.urgently(f"urgent {number}", 1000.0 + number, "one run") for number in range(3)]
        await asyncio.gather(shop.serve("there"), urgent_ones[0], shop.serve("plain"), *urgent_ones[1:])

    play(run)
    assert shop.served == ["there", "urgent 2", "plain", "urgent 1", "urgent 0"]


def test_nobody_starves_while_urgent_runs_keep_coming() -> None:
    shop = Shop()

    async def run() -> float:
        async def comers() -> None:
            for number in range(50):
                tasks.append(asyncio.ensure_future(shop.urgently(f"urgent {number}", 1e6 + number, f"run {number}")))
                await asyncio.sleep(0.5)  # twice as many as one slot can serve

        tasks: list[asyncio.Future[None]] = []
        coming = asyncio.ensure_future(comers())
        await asyncio.sleep(2)
        await shop.serve("plain")
        waited = asyncio.get_running_loop().time() - 2
        await coming
        await asyncio.gather(*tasks)
        return waited

    assert play(run) <= 6.0, "those before it in the line, and its own second"
    assert len(shop.served) == 51


def test_what_follows_at_once_and_is_more_urgent_goes_before_those_who_wait() -> None:
    shop = Shop()

    async def run() -> None:
        async def chain() -> None:
            await shop.urgently("first", 10, rivals=2)
            for _ in range(20):  # what a graph does until the next step asks for a slot
                await asyncio.sleep(0)
            await shop.urgently("second", 9, rivals=1)

        async def late() -> None:
            await asyncio.sleep(0.5)
            await shop.urgently("unimportant", 1, rivals=2)

        await asyncio.gather(chain(), late())

    play(run)
    assert shop.served == ["first", "second", "unimportant"]


def test_those_who_begin_together_are_served_by_urgency_not_by_who_asked_first() -> None:
    shop = Shop(2)

    async def run() -> float:
        await asyncio.gather(*(shop.urgently(str(number), number, rivals=5) for number in range(6)))
        return asyncio.get_running_loop().time()

    assert play(run) == pytest.approx(3.0, abs=5 * PAUSE)
    assert [*map(set, (shop.served[:2], shop.served[2:4], shop.served[4:]))] == [{"5", "4"}, {"3", "2"}, {"1", "0"}]


def test_where_there_are_slots_for_all_nobody_waits_for_a_moment() -> None:
    shop = Shop(6)

    async def run() -> float:
        await asyncio.gather(*(shop.urgently(str(number), number, rivals=5 - number) for number in range(6)))
        return asyncio.get_running_loop().time()

    assert play(run) == 1.0


def test_what_is_urgent_inside_of_something_urgent_belongs_to_the_same_run() -> None:
    shop = Shop()

    async def run() -> None:
        async def nested() -> None:
            with urgent(5, "outer"):
                await shop.urgently("nested", 1, "inner")

        await asyncio.gather(
            shop.serve("there"), shop.urgently("less", 5.5, "outer"), nested(), shop.urgently("more", 7, "outer")
        )

    play(run)
    assert shop.served == ["there", "more", "nested", "less"]


@pytest.mark.parametrize("turns", range(6))
def test_whoever_is_cancelled_while_waiting_gives_the_slot_on(turns: int) -> None:
    shop = Shop()

    async def run() -> None:
        there = asyncio.ensure_future(shop.serve("there", 0.0))
        await asyncio.sleep(0)
        leaves = asyncio.ensure_future(shop.urgently("leaves", 9, rivals=1))
        stays = asyncio.ensure_future(shop.urgently("stays", 1, rivals=1))
        for _ in range(turns):  # the slot is still held, on its way, in its pause, or just taken
            await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.gather(there, stays)
        with contextlib.suppress(asyncio.CancelledError):
            await leaves

    play(run)
    assert "stays" in shop.served
    assert shop.is_as_before()


def test_a_loop_that_ends_in_the_middle_of_its_pause_holds_nobody_up() -> None:
    slots, served = Slots(1), threading.Event()

    async def leaves() -> None:
        async def wait() -> None:
            with urgent(5, "a", rivals=3):
                async with slots:
                    pass

        asyncio.ensure_future(wait())  # noqa: RUF006 - it is to be cancelled with its loop
        await asyncio.sleep(0)

    async def stays() -> None:
        async with slots:
            served.set()

    asyncio.run(leaves())
    asyncio.run(asyncio.wait_for(stays(), 10))
    assert served.is_set()


def test_one_cap_holds_over_event_loops_in_several_threads() -> None:
    slots, lock = Slots(3), threading.Lock()
    inside, most, done = 0, 0, 0

    async def one(number: int) -> None:
        nonlocal inside, most, done
        with urgent(number, f"run {number % 3}", rivals=number % 2):
            async with slots:
                with lock:
                    inside += 1
                    most = max(most, inside)
                await asyncio.sleep(0)
                with lock:
                    inside -= 1
                    done += 1

    async def many() -> None:
        await asyncio.gather(*(one(number) for number in range(40)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == 160 and most <= 3
    assert slots._free == 3 and not slots._line and not slots._waiting


COMERS = st.lists(
    st.tuples(
        st.floats(0, 20),  # when
        st.floats(0.1, 5),  # for how long
        st.floats(0, 100),  # how urgent
        st.sampled_from([None, "a", "b"]),  # in which run
        st.integers(0, 3),  # rivals
        st.one_of(st.none(), st.floats(0, 10)),  # when it is cancelled
    ),
    max_size=12,
)


@given(st.integers(1, 4), COMERS)
def test_whoever_comes_leaves_or_is_cancelled_no_slot_is_lost(cap: int, comers: list[Any]) -> None:
    shop = Shop(cap)
    served: list[int] = []

    async def comer(number: int) -> None:
        when, seconds, urgency, group, rivals, _ = comers[number]
        await asyncio.sleep(when)
        with urgent(urgency, group, rivals) if group else contextlib.nullcontext():
            async with shop.slots:
                shop.inside += 1
                shop.most = max(shop.most, shop.inside)
                try:
                    await asyncio.sleep(seconds)
                    served.append(number)
                finally:
                    shop.inside -= 1

    async def run() -> None:
        tasks = [asyncio.ensure_future(comer(number)) for number in range(len(comers))]
        loop = asyncio.get_running_loop()
        for task, (*_, end) in zip(tasks, comers, strict=True):
            if end is not None:
                loop.call_later(end, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        play(run)
    except Stuck:
        pytest.fail("Somebody waits for ever.")
    assert shop.most <= cap
    assert shop.is_as_before(cap)
    assert {number for number, one in enumerate(comers) if one[-1] is None} <= {*served}


def test_what_is_spare_is_what_nobody_waits_for() -> None:
    async def work() -> None:
        shop = Shop(cap=2)
        seen = [shop.slots.spare]
        first = asyncio.create_task(shop.serve("a"))
        await asyncio.sleep(0.1)
        seen.append(shop.slots.spare)
        others = [asyncio.create_task(shop.serve(name)) for name in "bcd"]
        await asyncio.sleep(0.1)
        seen.append(shop.slots.spare)
        await asyncio.gather(first, *others)
        assert [*seen, shop.slots.spare] == [2, 1, 0, 2]

    play(work)
