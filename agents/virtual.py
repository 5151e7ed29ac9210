"""Virtual time: an event loop that never sleeps. Whoever waits is woken at once, and its clock shows when that was.

No thread takes part: what would be done in one is done in place, so that the same work takes the same course each time.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(RuntimeError):
    """Everything waits, and for nothing that could ever happen."""


class _Leaping(selectors.DefaultSelector):
    """Waits for nothing: the time that a wait would take is added to the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now."""
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck("Nothing is under way and nothing is waited for: this work would never end.")
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time begins at 0 and leaps."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._leaping.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Call it here and now."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is raised again where the result is waited for
            done.set_exception(error)
        return done


def play(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in virtual time, apart from all that runs in this thread's context.

    Raises:
        Stuck: it would never end.

    >>> async def sleeper() -> float:
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> play(sleeper)
    3600.0
    """

    def run() -> T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(make())

    return contextvars.Context().run(run)
