"""Virtual time: nobody sleeps, everything takes as long as it says."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from troupe.agents.virtual import Stuck, play


def test_a_day_passes_at_once_and_in_order() -> None:
    async def work() -> tuple[list[str], float]:
        said: list[str] = []

        async def after(seconds: float, word: str) -> None:
            await asyncio.sleep(seconds)
            said.append(word)

        await asyncio.gather(after(86_400, "last"), after(1, "first"), after(3600, "second"))
        return said, asyncio.get_running_loop().time()

    began = time.monotonic()
    assert play(work) == (["first", "second", "last"], 86_400.0)
    assert time.monotonic() - began < 30


def test_time_limits_hold_in_virtual_time() -> None:
    async def work() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(120):
                await asyncio.sleep(1_000)
        return asyncio.get_running_loop().time()

    assert play(work) == pytest.approx(120)


def test_no_thread_takes_part() -> None:
    async def work() -> int:
        return await asyncio.to_thread(threading.get_ident)

    assert play(work) == threading.get_ident()


def test_what_fails_in_place_of_a_thread_fails_where_it_is_waited_for() -> None:
    async def work() -> None:
        await asyncio.to_thread(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        play(work)


def test_what_could_never_end_is_an_error_and_no_hang() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="would never end"):
        play(work)
