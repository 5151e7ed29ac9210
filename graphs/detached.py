"""A run or stream in a task of its own, so that whoever makes it can clean up when its reader is cancelled.

Web servers end a stream by cancelling its reader again at every turn of the event loop. LangGraph's own cleaning up is
cut short by that, and the calls under way go on, and are paid for, with nobody left to read them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")

_makers: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks only weakly


def _maker(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    maker = asyncio.ensure_future(work)
    _makers.add(maker)
    maker.add_done_callback(_ended)
    return maker


def _ended(maker: asyncio.Task[Any]) -> None:
    _makers.discard(maker)
    if not maker.cancelled():
        maker.exception()  # its reader raised it, or has left


async def apart(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; it is cancelled once, and waited for if possible."""
    maker = _maker(work)
    try:
        await asyncio.wait({maker})
        return maker.result()
    finally:
        if not maker.done():
            maker.cancel()
            await asyncio.wait({maker})


async def detached(chunks: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The same chunks, each made when it is asked for; the maker is cancelled once, and waited for if possible."""
    wanted = asyncio.Semaphore(0)
    made: asyncio.Queue[tuple[T] | None] = asyncio.Queue()

    async def make() -> None:
        try:
            async with aclosing(chunks):
                await wanted.acquire()
                async for chunk in chunks:
                    made.put_nowait((chunk,))
                    await wanted.acquire()
        finally:
            made.put_nowait(None)

    maker = _maker(make())
    try:
        wanted.release()
        while (chunk := await made.get()) is not None:
            yield chunk[0]
            wanted.release()
        await maker
    finally:
        if not maker.done():
            maker.cancel()
            await asyncio.wait({maker})
