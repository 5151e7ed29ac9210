"""The background loop: everything is written once, async, and can be called from anywhere."""

import asyncio
import os
import threading
from concurrent.futures import CancelledError
from contextvars import ContextVar

import pytest

from troupe.agents.loop import background, run_sync, submit

here: ContextVar[str] = ContextVar("here", default="nowhere")


async def where() -> tuple[str, str]:
    return threading.current_thread().name, here.get()


def test_work_runs_on_one_background_thread_with_the_callers_context() -> None:
    here.set("at home")
    assert run_sync(where()) == ("troupe", "at home")
    assert background() is background()


async def test_a_running_loop_may_wait_for_it() -> None:
    assert run_sync(where())[0] == "troupe"


def test_an_error_comes_back_as_it_was() -> None:
    async def fails() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        run_sync(fails())


def test_waiting_for_oneself_is_refused_instead_of_hanging() -> None:
    async def inside() -> None:
        run_sync(where())

    with pytest.raises(RuntimeError, match="would wait for itself"):
        run_sync(inside())


def test_cancelling_the_future_cancels_the_work() -> None:
    began, ended = threading.Event(), threading.Event()

    async def works() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    future = submit(works())
    assert began.wait(5)
    future.cancel()
    assert ended.wait(5)


def test_work_that_cancels_itself_is_cancelled() -> None:
    async def works() -> None:
        raise asyncio.CancelledError

    with pytest.raises((CancelledError, asyncio.CancelledError)):
        run_sync(works())


def test_many_threads_share_it() -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(run_sync(where())[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["troupe"] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_its_own() -> None:
    run_sync(where())
    child = os.fork()
    if child == 0:
        os._exit(0 if run_sync(where())[0] == "troupe" else 1)
    assert os.waitpid(child, 0)[1] == 0
