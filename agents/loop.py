"""One background event loop, so that everything is written once, async, and can be called from anywhere."""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")

THREADS = 512  # at most; they are started as they are needed

_ITSELF = "A sync call from inside an async step would wait for itself; await the async form there."

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner = 0


def background() -> asyncio.AbstractEventLoop:
    """The loop, started on first use; a forked child starts its own."""
    global _loop, _owner
    with _lock:
        if _loop is None or _owner != os.getpid():
            _loop, _owner = asyncio.new_event_loop(), os.getpid()
            # Functions in threads may wait for runs of their own, which need threads again: never run out of them.
            _loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="troupe-function"))
            threading.Thread(target=_serve, args=(_loop,), name="troupe", daemon=True).start()
        return _loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            return loop.run_forever()
        except SystemExit:  # some task called sys.exit(); it has ended with that, and the others go on
            continue


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine on the background loop with the caller's context variables."""
    loop = background()
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def start() -> None:
        task = loop.create_task(work, context=context)
        task.add_done_callback(finish)
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(task.cancel) if done.cancelled() else None)

    def finish(task: asyncio.Task[T]) -> None:
        if future.cancelled():
            return
        if task.cancelled():
            future.cancel()
        elif (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    loop.call_soon_threadsafe(start)
    return future


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from code that is not async, also inside a running loop (which then waits).

    Raises:
        RuntimeError: the caller is itself on the background loop, which would wait for itself.
    """
    if _inside():
        work.close()
        raise RuntimeError(_ITSELF)
    future = submit(work)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


def iterate(chunks: AsyncGenerator[T]) -> Iterator[T]:
    """What an async generator yields, for code that is not async; leaving early closes it.

    Raises:
        RuntimeError: as `run_sync`.
    """
    if _inside():
        raise RuntimeError(_ITSELF)
    made: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
    ended = threading.Event()

    async def pump() -> None:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    made.put((chunk,))
        finally:
            made.put(None)
            ended.set()

    work = submit(pump())
    try:
        while (chunk := made.get()) is not None:
            yield chunk[0]
        work.result()
    finally:
        if not work.done():
            work.cancel()
            ended.wait(10)  # the run has saved how far it came, so that the thread can be gone on with


def _inside() -> bool:
    """Whether the caller is itself on the background loop."""
    return threading.current_thread().name == "troupe" and background() is _running()


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
