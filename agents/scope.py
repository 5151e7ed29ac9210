"""One turn of a run as its nodes see it: context, models, books, clock, and whether it may still start calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from troupe.agents.context import TeamContext
from troupe.agents.contracts import NO_USAGE, Usage
from troupe.agents.errors import LimitReached
from troupe.agents.journal import Journal, MemoryJournal
from troupe.agents.models import Models
from troupe.agents.settings import Settings
from troupe.prompts import check

if TYPE_CHECKING:
    from troupe.agents.executor import Executor
    from troupe.agents.race import Race

_process_journal = MemoryJournal()

_log = logging.getLogger("troupe")


class RunScope:
    """Made once per turn by the outermost door, then found by every node of every nested graph.

    Args:
        context: what the caller gave.
        thread: the thread's id, or an id of this invocation where there is no thread.
        journal: where calls are recorded; in memory by default.
        durable: whether the journal outlives the process, so that rows are kept as plain data.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        context: TeamContext,
        thread: str,
        *,
        settings: Settings | None = None,
        journal: Journal | None = None,
        durable: bool = False,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from troupe.agents.executor import shared_executor

        self.context = context
        self.thread = thread
        self.settings = settings or Settings.current()
        self.models = Models(context.models, self.settings)
        self.journal = journal or _process_journal
        self.durable = durable
        limits = self.settings.max_concurrency, self.settings.retries, self.settings.timeout
        self.executor: Executor = executor or context.executor or shared_executor(*limits)
        self.prompts = context.prompts or self.settings.prompts
        if self.prompts is not None:
            check(self.prompts)
        self.clock = clock
        self.started = clock()
        self.spent: Usage = NO_USAGE
        self.advance = 1
        """By how much a new input raises the state's turn; more than 1 after a turn that left no checkpoint."""
        self.stopping = False
        self.working = 0
        self.idle = asyncio.Event()
        self.races: dict[str, Race] = {}
        """By the journal's key."""
        self._opened: set[str] = set()
        self._delivered: dict[str, set[str]] = {}

    @property
    def simulated(self) -> bool:
        """Whether no real model was called: a step may bring a model of its own, and then money is spent or unknown."""
        return self.models.simulated and self.spent.usd == 0

    def remaining(self) -> float | None:
        """Seconds until the deadline, 0 when it has passed, None without one."""
        if self.context.deadline is None:
            return None
        return max(0.0, self.started + self.context.deadline - self.clock())

    def deadline_message(self) -> str:
        """What to say when the deadline has passed."""
        return f"The deadline of {self.context.deadline:g} s is reached. Give the run more time: deadline=."

    def left(self) -> str:
        """How much money and time is left, in words so coarse that they seldom change; empty without any bound."""
        said = []
        if self.context.budget is not None and not self.simulated:
            said.append(f"Money left: {_share(self.context.budget - (self.spent.usd or 0.0), self.context.budget)}.")
        if self.context.deadline is not None:
            said.append(f"Time left: {_share(self.remaining() or 0.0, self.context.deadline)}.")
        return " ".join(said)

    async def open(self, root: str) -> None:
        """Take what earlier processes recorded under `thread/turn` into the books, once."""
        if root not in self._opened:
            self._opened.add(root)
            if self.durable:
                self.spent = self.spent + await self.journal.spent(root)

    def delivered(self, outer: str, state: Any) -> set[str]:
        """The steps of the team at `outer` that have delivered in this turn, as far as this process knows."""
        if (known := self._delivered.get(outer)) is None:
            known = {name for name, done in state.get("deliverables", {}).items() if done.usable}
            self._delivered[outer] = known
        return known

    def spend(self, usage: Usage) -> None:
        """Write a request into the books."""
        self.spent = self.spent + usage

    def check_budget(self) -> None:
        """Refuse a request when the budget is used up.

        Raises:
            LimitReached: nothing is left.
        """
        budget = self.context.budget
        if budget is None or self.simulated:
            return
        if (spent := self.spent.usd or 0.0) >= budget:
            raise LimitReached(f"The budget of ${budget:g} is used up (${spent:.4g} spent). Raise it with budget=.")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count something that is under way and worth waiting for when the run is asked to stop."""
        self.working += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.working -= 1
            if not self.working:
                self.idle.set()

    async def may_start(self) -> None:
        """Let a call start, unless the run is being stopped: then wait for the end that is coming."""
        if self.stopping:
            await asyncio.Event().wait()

    def tell(self, event: Any) -> None:
        """Give an event to every listener."""
        for listener in self.context.listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - whoever looks on must not end a run that is paid for
                _log.exception("A listener failed on %r; the run goes on.", event)


def _share(left: float, whole: float) -> str:
    share = left / whole if whole else 0.0
    return "most of it" if share > 0.5 else "less than half" if share > 0.15 else "almost none"
