"""The runs of a database as the page sees them: those that are under way here, and those that others work on.

Runs that are begun here go through the library's own doors, on its background loop, so that nothing that a team does
holds up the page. Their events come in as they happen; what others do is read from the database while somebody looks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from troupe.agents.errors import InputError, StoreError, TroupeError, UnknownRun, describe
from troupe.agents.events import Event, RunStarted
from troupe.agents.loop import background, submit
from troupe.agents.text import redact
from troupe.doors import aresume, arun
from troupe.inputs import thread_id
from troupe.looking import aview, root_of, standing
from troupe.result import Result
from troupe.store.base import Store
from troupe.store.turns import Turn
from troupe.view.runview import RunView
from troupe.web.live import Feed
from troupe.web.offers import Offers

POLL = 1.0
"""Seconds between two looks at what others do, while somebody watches."""
AT_ONCE = 4
"""Runs that are under way here at once; more wait for their turn."""
QUEUE = 200
"""Runs that may wait."""
LISTED = 200
"""Runs that are listed, the newest first."""
_KEPT = 64  # runs that nobody watches any more, and that are kept at hand
_BEGIN = 3.0  # seconds that whoever starts a run waits to hear how it began
_ENDING = 15.0  # seconds for runs to end in good order: the doors give calls in flight 10

_log = logging.getLogger("troupe")

Door = Callable[..., Coroutine[Any, Any, Result]]


class Watched:
    """A run as it is seen here: one view of it, whoever works on it.

    Attributes:
        view: the run.
        queued: whether it waits for its turn here.
        problem: why it could not be begun, or gone on with.
        holder: who else works on it.
        feed: what its viewers are shown.
    """

    def __init__(
        self, view: RunView, make: Callable[[Watched], Mapping[str, str]], changed: Callable[[], None]
    ) -> None:
        self.view = view
        self.queued = False
        self.problem = ""
        self.holder: str | None = None
        self.feed = Feed(lambda: (self.view.last, make(self)))
        self.heard = asyncio.Event()
        """Set when it is known how the last thing that was asked of it began."""
        self.mark: Any = None
        self.job: asyncio.Task[None] | None = None
        self.end: Callable[[], Any] | None = None
        self._changed = changed
        self._news = asyncio.Event()

    @property
    def id(self) -> str:
        """The run's id."""
        return self.view.run

    @property
    def here(self) -> bool:
        """Whether this process works on it, or is about to."""
        return self.job is not None and not self.job.done()

    @property
    def begun(self) -> bool:
        """Whether anything has happened in it."""
        return self.view.started is not None

    @property
    def status(self) -> str:
        """How it stands, in a word."""
        if self.queued and not self.begun:
            return "queued"
        return "failed" if self.problem and not self.begun else self.view.status

    def take(self, event: Event) -> None:
        """Take in what happens."""
        self.view(event)
        if isinstance(event, RunStarted):
            self.heard.set()
        self.touch()

    def touch(self) -> None:
        """Something is different."""
        self.feed.touch()
        self._changed()
        self._news.set()
        self._news = asyncio.Event()

    def let_go(self) -> None:
        """Ask it to stop where it is under way here, and let its viewers go."""
        if self.end is not None:
            self.end()
        elif self.job is not None:
            self.job.cancel()
        self.feed.close()
        self._news.set()

    async def changed(self, patience: float) -> bool:
        """Wait until something is, or for so many seconds; gives whether it was."""
        try:
            await asyncio.wait_for(self._news.wait(), patience)
        except TimeoutError:
            return False
        return True


class Runs:
    """All runs of a store.

    Args:
        store: where they are kept, open.
        offers: what can be started.
        make: a run's parts as HTML, for its viewers.
        make_list: the list's parts as HTML.
        at_once: how many runs are under way here at once.
    """

    def __init__(
        self,
        store: Store,
        offers: Offers,
        make: Callable[[Watched], Mapping[str, str]],
        make_list: Callable[[Runs], Mapping[str, str]],
        at_once: int = AT_ONCE,
    ) -> None:
        self.store, self.offers, self.at_once = store, offers, at_once
        self.turns: list[tuple[Turn, str]] = []
        """The last turn of each run, newest first, and how it stands."""
        self.outage = ""
        """Why the database cannot be read now."""
        self.feed = Feed(lambda: (time.time(), make_list(self)))
        self.closing = False
        self._make = make
        self._known: dict[str, Watched] = {}
        self._slots = asyncio.Semaphore(at_once)
        self._poller: asyncio.Task[None] | None = None

    # --- what is begun here ---

    async def start(
        self,
        workflow: str,
        task: str,
        model: str | None = None,
        budget: float | None = None,
        deadline: float | None = None,
    ) -> Watched:
        """Start a run, or put it where runs wait.

        Raises:
            UnknownName, InputError: what is to be run is not offered here, or nothing is to be done.
            TroupeError: the run could not be begun; nothing was.
        """
        offer = await asyncio.to_thread(self.offers.find, workflow)
        if not task.strip():
            raise InputError("The task is empty. Say what is to be done.")
        if sum(one.queued for one in self._known.values()) >= QUEUE:
            raise InputError(f"{QUEUE} runs wait already. Try again when some have begun.")
        view = RunView(thread_id(None))
        view.workflow, view.task = offer.name, task
        view.drawing = await asyncio.to_thread(self.offers.drawing, offer)
        watched = self._known[view.run] = Watched(view, self._make, self.feed.touch)
        limits: dict[str, Any] = {"model": model, "budget": budget, "deadline": deadline}

        def door(**options: Any) -> Coroutine[Any, Any, Result]:
            return arun(offer.target, task, thread=view.run, db=self.store, **limits, **options)

        self._begin(watched, door)
        await self._heard(watched)
        if watched.problem and not watched.begun:
            self._known.pop(view.run, None)
            raise InputError(watched.problem)
        return watched

    async def resume(self, run: str, answers: Any = None) -> Watched:
        """Go on with a run, with answers to its questions.

        Raises:
            UnknownRun: there is none.
            InputError: the run could not be gone on with.
        """
        watched = await self.watched(run)

        def door(**options: Any) -> Coroutine[Any, Any, Result]:
            return aresume(run, answers, db=self.store, **options)

        self._begin(watched, door)
        await self._heard(watched)
        if watched.problem:
            raise InputError(watched.problem)
        return watched

    async def stop(self, run: str) -> Watched:
        """Ask a run to stop that is under way here: calls in flight may finish.

        Raises:
            UnknownRun: there is none.
            InputError: somebody else works on it, or nobody.
        """
        watched = await self.watched(run)
        if not watched.here or watched.job is None:
            raise InputError("This run is not under way here. Whoever works on it can stop it.")
        if watched.end is not None:
            watched.end()
        else:
            watched.job.cancel()
        return watched

    def _begin(self, watched: Watched, door: Door) -> None:
        if self.closing:
            raise InputError("The server is being stopped.")
        watched.heard, watched.problem, watched.queued = asyncio.Event(), "", True
        watched.job = asyncio.create_task(self._work(watched, door, watched.job))
        watched.touch()

    async def _heard(self, watched: Watched) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(watched.heard.wait(), _BEGIN if not self._slots.locked() else 0.05)

    async def _work(self, watched: Watched, door: Door, before: asyncio.Task[None] | None) -> None:
        """One thing that is asked of a run, when those before it are done and there is room."""
        loop = asyncio.get_running_loop()
        try:
            if before is not None and not before.done():
                await asyncio.wait({before})
            async with self._slots:
                watched.queued = False
                watched.touch()
                stop = asyncio.Event()

                def listen(event: Event) -> None:
                    loop.call_soon_threadsafe(watched.take, event)

                work = submit(door(listeners=[listen], stop=stop))
                watched.end = lambda: background().call_soon_threadsafe(stop.set)
                if self.closing:
                    watched.end()
                await asyncio.wrap_future(work)
        except TroupeError as error:
            watched.problem = redact(str(error))
        except asyncio.CancelledError:
            watched.problem = "It was stopped before its turn came."
        except Exception as error:  # noqa: BLE001 - a user's own graph may raise anything; it is told, and the server goes on
            watched.problem = redact(describe(error))
            _log.warning("Run %s was broken off.", watched.id, exc_info=True)
        finally:
            watched.queued, watched.end = False, None
            if watched.begun:
                with suppress(TroupeError):
                    watched.mark = await self._mark(watched.id)
            watched.heard.set()
            loop.call_soon(watched.touch)  # when the task has ended
            self._forget()

    # --- what is looked at ---

    async def watched(self, run: str) -> Watched:
        """A run, read from the database if need be.

        Raises:
            UnknownRun: there is none.
        """
        if (known := self._known.get(run)) is not None:
            if not known.here and not known.feed.viewers:
                await self._refresh(known)
            return known
        mark = await self._mark(run)
        view = await self._read(run)
        watched = self._known.setdefault(run, Watched(view, self._make, self.feed.touch))
        watched.mark, watched.holder = mark, mark[-1]
        self._forget()
        return watched

    async def _mark(self, run: str) -> Any:
        """What is another when somebody has worked on the run."""
        turn = await self.store.last(run)
        return turn.turn, turn.status, turn.finished, await self.store.count(root_of(turn)), await self._holder(turn)

    async def _holder(self, turn: Turn) -> str | None:
        return await self.store.holder(turn.thread) if turn.status == "running" else None

    async def _read(self, run: str) -> RunView:
        """The run from the database; what ran may be imported for its picture, which must not hold up the page."""
        return await asyncio.wrap_future(submit(aview(run, db=self.store)))

    async def _refresh(self, watched: Watched) -> None:
        """Read a run again, if anybody has worked on it."""
        if not watched.begun and watched.mark is None:
            return  # it never came as far as the database
        try:
            mark = await self._mark(watched.id)
            if mark == watched.mark:
                return
            view = await self._read(watched.id)
        except UnknownRun:
            watched.problem = "This run was deleted."
            self._known.pop(watched.id, None)
            watched.touch()
            return
        if watched.here:  # meanwhile it has been gone on with here
            return
        watched.mark, watched.holder, watched.view = mark, mark[-1], view
        watched.touch()

    async def relist(self) -> None:
        """Read the list again."""
        turns = (await self.store.turns())[:LISTED]
        found = [(turn, await standing(self.store, turn)) for turn in turns]
        if found != self.turns:
            self.turns = found
            self.feed.touch()

    def listed(self) -> list[tuple[Watched | None, Turn | None, str]]:
        """Every run as it is known here, as its last turn was recorded, and how it stands; newest first."""
        recorded = {turn.thread for turn, _ in self.turns}
        found: list[tuple[Watched | None, Turn | None, str]] = [
            (one, None, one.status) for id, one in reversed(self._known.items()) if one.here and id not in recorded
        ]
        for turn, status in self.turns:
            known = self._known.get(turn.thread)
            known = known if known is not None and known.here and known.begun else None
            found.append((known, turn, known.status if known is not None else status))
        return found

    def _forget(self) -> None:
        """Let go of runs that nobody watches."""
        idle = [id for id, one in self._known.items() if not one.here and not one.feed.viewers]
        for id in idle[: max(0, len(self._known) - _KEPT)]:
            del self._known[id]

    # --- beginning and end ---

    def open(self) -> None:
        """Begin to look at what others do."""
        self._poller = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            try:
                if self.feed.viewers:
                    await self.relist()
                for one in list(self._known.values()):
                    if one.feed.viewers and not one.here:
                        await self._refresh(one)
                outage = ""
            except StoreError as error:
                outage = redact(str(error))
            except Exception as error:  # noqa: BLE001 - a run that cannot be read must not end the looking at others
                outage = redact(describe(error))
                _log.warning("A run cannot be read.", exc_info=True)
            if outage != self.outage:
                self.outage = outage
                for feed in (self.feed, *(one.feed for one in self._known.values())):
                    feed.touch()

    @property
    def viewers(self) -> int:
        """How many look on."""
        return self.feed.viewers + sum(one.feed.viewers for one in self._known.values())

    def let_go(self) -> None:
        """Ask every run that is under way here to stop, and let the viewers go."""
        self.closing = True
        for one in self._known.values():
            one.let_go()
        self.feed.close()

    async def close(self) -> None:
        """The same, and wait until they have ended; each can be gone on with."""
        self.let_go()
        if self._poller is not None:
            self._poller.cancel()
        jobs = [one.job for one in self._known.values() if one.here and one.job is not None]
        if jobs:
            await asyncio.wait(jobs, timeout=_ENDING)
