"""One turn of a run as its nodes see it: context, models, books, clock, and whether it may still start calls."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from troupe.agents.cache import Replies, cache_of
from troupe.agents.context import TeamContext
from troupe.agents.contracts import Usage
from troupe.agents.errors import LimitReached, StoreError
from troupe.agents.events import Notice
from troupe.agents.journal import Guarded, Journal, MemoryJournal, reliability
from troupe.agents.limits import raising
from troupe.agents.models import Models
from troupe.agents.money.budget import Purse
from troupe.agents.settings import Settings
from troupe.agents.spans import tracer
from troupe.prompts import check

if TYPE_CHECKING:
    from troupe.agents.executor import Executor
    from troupe.agents.race import Race
    from troupe.agents.slots import Slots

_process_journal = MemoryJournal()

_log = logging.getLogger("troupe")

# A provider that fails for everybody is not to be asked three times by everybody.
FREE_RETRIES, RETRY_SHARE = 10, 0.2


class RunScope:
    """Made once per turn by the outermost door, then found by every node of every nested graph.

    Args:
        context: what the caller gave.
        thread: the thread's id, or an id of this invocation where there is no thread.
        journal: where calls are recorded; in memory by default.
        durable: whether the journal outlives the process, so that rows are kept as plain data.
        clock: monotonic seconds.
        wall: seconds since the epoch; when things were done, and until when people may answer, is told by it.
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
        wall: Callable[[], float] = time.time,
    ) -> None:
        from troupe.agents.executor import shared_executor

        self.context = context
        self.thread = thread
        self.settings = settings or Settings.current()
        self.models = Models(context.models, self.settings)
        self.books = Guarded(journal or _process_journal)
        self.journal: Journal = self.books
        self.durable = durable
        limits = self.settings.max_concurrency, self.settings.retries, self.settings.timeout
        self.executor: Executor = executor or context.executor or shared_executor(*limits)
        self.tracer = tracer()
        """Where spans go, where somebody wants them."""
        self.prompts = context.prompts or self.settings.prompts
        if self.prompts is not None:
            check(self.prompts)
        self.slots: Slots | None = None
        """The run's own cap on calls at work at once, where its caller gave LangGraph's `max_concurrency`."""
        self.clock = clock
        self.wall = wall
        self.started = clock()
        self.limits = context.limits.over(self.settings.limits) if context.limits else self.settings.limits
        self.purse = Purse(self.limits, context.budget, self.models.simulated)
        cache = cache_of(context.cache, self.settings)
        self.replies = Replies(cache) if cache is not None else None
        """Replies of models that are kept over runs, where that was asked for."""
        self.steps = 0
        """Rounds of work that were begun."""
        self.advance = 1
        """By how much a new input raises the state's turn; more than 1 after a turn that left no checkpoint."""
        self.stopping = False
        self.began = 0
        """Calls begun, by whoever, and further attempts at them."""
        self.retried = 0
        self._told_of_retries = False
        self._rates: dict[str, float] | None = None
        self._rating: asyncio.Lock | None = None
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

    @property
    def spent(self) -> Usage:
        """What the turn used so far, in this process and in earlier ones."""
        return self.purse.spent

    def remaining(self) -> float:
        """Seconds until the deadline, or until the limit where there is none; 0 when it has passed."""
        most = self.limits.seconds if self.context.deadline is None else self.context.deadline
        return max(0.0, self.started + most - self.clock())

    def patience(self, most: float) -> float:
        """The longest wait that may be worth it: until the deadline, or `most` seconds where there is none."""
        return self.remaining() if self.context.deadline is not None else min(most, self.remaining())

    def deadline_message(self) -> str:
        """What to say when the deadline has passed."""
        if self.context.deadline is None:
            said = f"The limit of {self.limits.seconds:g} s for a turn is reached (limits.seconds)."
            return f"{said} {raising('seconds')} Or give deadline= (--deadline)."
        return f"The deadline of {self.context.deadline:g} s is reached. Give it more: deadline= (--deadline)."

    def begin(self, work: bool, depth: int) -> None:
        """Count a call that begins: a round of work, or another call, with `depth - 1` graphs around it.

        Raises:
            LimitReached: there were as many rounds as may be, or it lies too deep.
        """
        if depth - 1 > self.limits.depth:
            raise LimitReached(
                f"Graphs lie {self.limits.depth} deep inside one another, and no deeper (limits.depth). "
                f"{raising('depth')}"
            )
        if not work:
            return
        if self.steps >= self.limits.steps:
            raise LimitReached(
                f"The limit of {self.limits.steps:,} rounds of work is reached (limits.steps). {raising('steps')}"
            )
        self.steps += 1

    def left(self) -> str:
        """How much money and time is left, in words so coarse that they seldom change; empty without any bound."""
        said = []
        if self.context.budget is not None and not self.simulated:
            said.append(f"Money left: {_share(self.context.budget - self.purse.paid, self.context.budget)}.")
        if self.context.deadline is not None:
            said.append(f"Time left: {_share(self.remaining(), self.context.deadline)}.")
        return " ".join(said)

    async def open(self, root: str) -> None:
        """Take what earlier processes recorded under `thread/turn` into the books, once."""
        if root not in self._opened:
            self._opened.add(root)
            if self.durable:
                self.purse.spend(await self.journal.spent(root))

    def delivered(self, outer: str, state: Any) -> set[str]:
        """The steps of the team at `outer` that have delivered in this turn, as far as this process knows."""
        if (known := self._delivered.get(outer)) is None:
            known = {name for name, done in state.get("deliverables", {}).items() if done.usable}
            self._delivered[outer] = known
        return known

    async def rates(self) -> dict[str, float]:
        """By agent, how reliable everybody was when this turn first asked; counted once, as it takes a whole journal.

        What is not durable says nothing: it is what this process did besides.
        """
        if not self.durable:
            return {}
        if self._rating is None:
            self._rating = asyncio.Lock()
        async with self._rating:
            if self._rates is None:
                self._rates = reliability(await self.journal.tally())
        return self._rates

    def spend(self, usage: Usage) -> None:
        """Write a request into the books."""
        self.purse.spend(usage)

    def check_budget(self) -> None:
        """Refuse a request when something is used up.

        Raises:
            LimitReached: says what.
        """
        self.purse.check()

    def lose(self, error: StoreError) -> StoreError:
        """End the turn with `error`: what is on record cannot be relied on."""
        self.books.lost = self.books.lost or error
        return error

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

    def may_retry(self) -> bool:
        """Take one of the turn's further attempts, if there is one left: a fifth of its calls, and always ten."""
        if self.retried + 1 > max(FREE_RETRIES, RETRY_SHARE * self.began):
            if not self._told_of_retries:
                self._told_of_retries = True
                text = f"{self.retried} further attempts are used up in this turn: what fails now is not tried again."
                self.tell(Notice(self.wall(), "", text))
            return False
        self.retried += 1
        return True

    def checks(self, checks: Any, path: str) -> Any:
        """The checks of a step's gate as they are made here; a rehearsal has others, as it calls nothing real."""
        return checks

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
