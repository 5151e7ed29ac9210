"""Branches that run at once until a join has enough of them; those still at work are given up, their calls too.

A branch runs `racing` its Race. The Executor asks `unless_lost`, so that a call of a branch that lost, in whatever
nested graph, ends as `Skipped`: calls under way are cancelled, later ones not made. Who won is kept in the journal, so
that a resumed run decides alike.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from troupe.agents.contracts import Outcome, Skipped
from troupe.agents.journal import Journal, Row

_running: ContextVar[tuple[tuple[Race, str], ...]] = ContextVar("troupe_races", default=())


class Race:
    """One fan-out under a join.

    Args:
        key: of the journal.
        branches: by name, in order.
        count: how many delivered branches are enough; None for all.
        journal: where the ends of branches, and the winners, are recorded.
        won: how the reason for giving up reads, from the names of the winners.
    """

    def __init__(
        self,
        key: str,
        branches: Sequence[str],
        count: int | None,
        journal: Journal,
        won: Callable[[Sequence[str]], str],
    ) -> None:
        self.key = key
        self.branches = tuple(branches)
        self.lost: dict[str, str] = {}
        """Why each branch was given up."""
        self.winners: tuple[str, ...] | None = None
        self._count = count
        self._journal = journal
        self._won = won
        self._ended: dict[str, bool] = {}
        self._tasks: defaultdict[str, dict[asyncio.Task[object], asyncio.AbstractEventLoop]] = defaultdict(dict)
        self._timer: asyncio.TimerHandle | None = None
        self._recalled: asyncio.Lock | None = None
        self._known = False
        self._at_work: set[str] = set()
        self._changed: set[asyncio.Event] = set()

    async def start(self, branch: str, patience: float | None) -> None:
        """A branch begins: take in what an earlier process recorded, once, and start the clock."""
        self._at_work.add(branch)
        if self._recalled is None:
            self._recalled = asyncio.Lock()
        async with self._recalled:
            if self._known:
                return
            self._known = True
            for name in self.branches:
                if (row := await self._journal.find(f"{self.key}/{name}")) is not None:
                    self._ended[name] = bool(row.received["usable"])
            if (row := await self._journal.find(self.key)) is not None:
                self._decide(tuple(row.received["winners"]), row.received["why"])
            else:
                self._look()
            if self.winners is None and patience is not None:
                why = f"Given up: it was still at work after {patience:.4g} s."
                self._timer = asyncio.get_running_loop().call_later(patience, self._time_is_up, why)

    async def end(self, branch: str, usable: bool) -> str | None:
        """A branch has ended. Returns why it counts as given up, or None if it delivered in time."""
        if branch not in self.lost:
            self._ended[branch] = usable
            self._look()  # before anything is waited for, so that two that end at once are told apart
            await self._record(f"{self.key}/{branch}", {"usable": usable})
        self._at_work.discard(branch)
        self._tell()
        if self.winners is not None:
            why = next(iter(self.lost.values()), "")
            await self._record(self.key, {"winners": list(self.winners), "why": why})
        if len(self._ended) + len(self.lost) >= len(self.branches) and self._timer is not None:
            self._timer.cancel()
        return self.lost.get(branch)

    async def alone(self, branch: str) -> str | None:
        """Wait until the branch is given up, which is the reason returned, or no other is at work any more: None."""
        changed = asyncio.Event()
        self._changed.add(changed)
        self._at_work.discard(branch)
        self._tell()
        while branch not in self.lost and self._at_work:
            changed.clear()
            await changed.wait()
        self._changed.discard(changed)
        return self.lost.get(branch)

    def _tell(self) -> None:
        for changed in self._changed:
            changed.set()

    def enter(self, branch: str, task: asyncio.Task[object]) -> None:
        """A call of the branch is under way in `task`."""
        self._tasks[branch][task] = asyncio.get_running_loop()

    def leave(self, branch: str, task: asyncio.Task[object]) -> None:
        """It is over."""
        self._tasks[branch].pop(task, None)

    def _look(self) -> None:
        delivered = tuple(name for name, usable in self._ended.items() if usable)[: self._count]
        if self.winners is None and self._count is not None and len(delivered) == self._count:
            winners = tuple(name for name in self.branches if name in delivered)
            self._decide(winners, self._won(winners))

    def _time_is_up(self, why: str) -> None:
        if self.winners is None:
            self._decide(tuple(name for name in self.branches if self._ended.get(name)), why)

    def _decide(self, winners: tuple[str, ...], why: str) -> None:
        self.winners = winners
        for name in self.branches:
            if name not in winners and self._ended.get(name, True):  # what failed has its own reason
                self.lost[name] = why
                for task, loop in list(self._tasks[name].items()):
                    if loop is asyncio.get_running_loop():
                        task.cancel()
                    else:
                        loop.call_soon_threadsafe(task.cancel)
        self._tell()

    async def _record(self, key: str, received: object) -> None:
        await self._journal.record(Row(key, "outcome", "", "join", None, received))


@contextmanager
def racing(race: Race, branch: str) -> Iterator[None]:
    """Everything inside belongs to this branch, and to those of races around it."""
    token = _running.set((*_running.get(), (race, branch)))
    try:
        yield
    finally:
        _running.reset(token)


async def unless_lost(make: Callable[[], Awaitable[Outcome]], composed: bool) -> Outcome:
    """What `make` gives, unless a branch that it belongs to has lost or loses meanwhile.

    A `composed` call, one of our own graphs, is not cancelled: the calls inside it are, and it ends by itself.
    """
    if not (running := _running.get()):
        return await make()
    if (why := _lost(running)) is not None:
        return Skipped(why)
    task = asyncio.current_task()
    if composed or task is None:
        return await make()
    before = task.cancelling()
    for race, branch in running:
        race.enter(branch, task)
    try:
        return await make()
    except asyncio.CancelledError:
        # Only our own cancellations end here, as in asyncio.timeout; whoever else cancels this task is heard.
        if (why := _lost(running)) is None:
            raise
        ours = sum(branch in race.lost for race, branch in running)
        if min(task.uncancel() for _ in range(ours)) > before:
            raise
        return Skipped(why)
    finally:
        for race, branch in running:
            race.leave(branch, task)


def _lost(running: Sequence[tuple[Race, str]]) -> str | None:
    return next((race.lost[branch] for race, branch in running if branch in race.lost), None)


def lost() -> str | None:
    """Why whatever runs here is not needed any more; None where it is."""
    return _lost(_running.get())
