"""The lives of a run: forked from one parent that has imported everything, lived through a door, ended by SIGKILL."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import pkgutil
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from langgraph.types import Command

import troupe
from tests.crash.cast import LONGEST, PLAYS, PaidChatModel, Play, asked
from troupe import Result, TeamContext, aresume, arun, checkpoints, resume, run
from troupe.agents.errors import UnknownRun
from troupe.agents.money.prices import known
from troupe.sqlite import SqliteStore
from troupe.underway import Durability

Kind = Literal["sqlite", "postgres"]
Door = Literal["run", "arun", "invoke", "ainvoke"]
DOORS: tuple[Door, ...] = ("run", "arun", "invoke", "ainvoke")
JOURNALLED = ("run", "arun")
BOUNDARIES = ("_begin", "_acquire", "_reserve", "_record", "put", "put_writes", "_end", "_release")
"""Everything that a store writes while a turn goes its way: turns, leases, the journal, checkpoints."""
TASK = "the task"
A_WHILE = 0.2
"""How long a call is held whose end is not awaited, where who has won the race is not on record: a journal in memory is
gone with its process, and whoever lost is waited for."""
PATIENCE = 60  # seconds that a child may live


def warm() -> None:
    """Do in the parent what every child would do again: import everything, for a start."""
    for module in pkgutil.walk_packages(troupe.__path__, "troupe."):
        if module.name not in ("troupe.__main__", "troupe.testing"):
            importlib.import_module(module.name)
    known("gpt-4o-mini", "openai")
    for play in PLAYS.values():
        play.make().compile()


@dataclass(frozen=True)
class Place:
    """Where a run is kept: the path of a file, or the URL of a database."""

    kind: Kind
    at: str
    store: Any = None
    """An open one, to be used in its place."""

    def open(self) -> Any:
        """The store as a saver for a team."""
        if self.kind == "sqlite":
            return checkpoints.sqlite(self.at)
        store = checkpoints.postgres(self.at)
        store.setup()
        return store


@dataclass(frozen=True)
class Point:
    """Where a life ends: before or after the `nth` write of a kind."""

    write: str
    nth: int
    when: Literal["before", "after"]

    def __str__(self) -> str:
        return f"{self.when} {self.write} {self.nth}"


@dataclass(frozen=True)
class Life:
    """Whose life it is, and how it is lived."""

    run: str
    play: str
    place: Place
    door: Door
    durability: Durability
    socket: str
    number: int = 1
    longest: float = LONGEST

    @property
    def plot(self) -> Play:
        """What is played."""
        return PLAYS[self.play]

    @property
    def journalled(self) -> bool:
        """Whether the door keeps a journal."""
        return self.door in JOURNALLED

    def model(self) -> PaidChatModel:
        """The model of this life."""
        holds = self.plot.holds if self.journalled else dict.fromkeys(self.plot.holds, A_WHILE)
        who: dict[str, Any] = {"socket": self.socket, "run": self.run, "life": self.number}
        return PaidChatModel(**who, line=self.plot.line, holds=holds, longest=self.longest)

    def live(self) -> dict[str, Any]:
        """Live it, with everything that a person is asked on the way."""
        return _seen(_play(self))

    def recorded(self) -> list[str]:
        """What is on record: the requests of the journal, or else the work whose result a checkpoint or write holds."""
        store = self.place.open()
        try:
            if self.journalled:
                rows = asyncio.run(store.rows(f"{self.run}/"))
                return [_asked(row.sent["messages"]) for row in rows if row.kind == "request"]
            found = store.list({"configurable": {"thread_id": self.run}})
            # What a graph inside is given was delivered by others.
            worked = [one for one in found if one.metadata.get("source") != "input"]
            writes = [write for one in worked for write in one.pending_writes or ()]
            delivered = [value for _, channel, value in writes if channel == "deliverables" and value]
            return [f"{name}#{done.rounds}" for one in delivered for name, done in one.items() if done.usable]
        finally:
            store.close()


def _asked(messages: list[Any]) -> str:
    return asked((one["type"], one["data"]["content"]) for one in messages)


def _play(life: Life) -> Any:
    play: dict[Door, Callable[[], Any]] = {
        "run": lambda: _through_run(life),
        "arun": lambda: asyncio.run(_through_arun(life)),
        "invoke": lambda: _on(life, lambda store: _through_invoke(life, store)),
        "ainvoke": lambda: _on(life, lambda store: asyncio.run(_through_ainvoke(life, store))),
    }
    return play[life.door]()


def _options(life: Life) -> dict[str, Any]:
    return {"model": life.model(), "db": life.place.store or life.place.at, "durability": life.durability}


def _answers(life: Life, result: Result) -> dict[str, Any]:
    return {one.id: life.plot.answer for one in result.waiting}


def _through_run(life: Life) -> Result:
    make, options = life.plot.make, _options(life)
    begins = life.number == 1
    try:
        if not begins:
            result = resume(life.run, target=make(), **options)
    except UnknownRun:  # it died before it was accepted, and its caller knows that
        begins = True
    if begins:
        result = run(make(), TASK, thread=life.run, **options)
    while result.waiting:
        result = resume(life.run, _answers(life, result), target=make(), **options)
    return result


async def _through_arun(life: Life) -> Result:
    make, options = life.plot.make, _options(life)
    begins = life.number == 1
    try:
        if not begins:
            result = await aresume(life.run, target=make(), **options)
    except UnknownRun:
        begins = True
    if begins:
        result = await arun(make(), TASK, thread=life.run, **options)
    while result.waiting:
        result = await aresume(life.run, _answers(life, result), target=make(), **options)
    return result


def _on(life: Life, play: Callable[[Any], Any]) -> Any:
    store = life.place.open()
    try:
        return play(store)
    finally:
        store.close()


def _config(life: Life) -> Any:
    return {"configurable": {"thread_id": life.run}}


def _given(life: Life, state: Mapping[str, Any]) -> Any:
    asked = state.get("__interrupt__")
    return Command(resume={one.id: life.plot.answer for one in asked}) if asked else None


def _through_invoke(life: Life, store: Any) -> Any:
    team = life.plot.make().compile(checkpointer=store)
    options: Any = {"context": TeamContext(models=life.model())}
    options["durability"] = life.durability
    begins = life.number == 1 or store.get_tuple(_config(life)) is None
    state = team.invoke({"task": TASK} if begins else None, _config(life), **options)
    while (answer := _given(life, state)) is not None:
        state = team.invoke(answer, _config(life), **options)
    return state


async def _through_ainvoke(life: Life, store: Any) -> Any:
    team = life.plot.make().compile(checkpointer=store)
    options: Any = {"context": TeamContext(models=life.model())}
    options["durability"] = life.durability
    begins = life.number == 1 or await store.aget_tuple(_config(life)) is None
    state = await team.ainvoke({"task": TASK} if begins else None, _config(life), **options)
    while (answer := _given(life, state)) is not None:
        state = await team.ainvoke(answer, _config(life), **options)
    return state


def _seen(end: Any) -> dict[str, Any]:
    """What a caller gets, without clocks."""
    if isinstance(end, Result):
        status, answer, delivered, turn, calls = end.status, end.answer, end.deliverables, end.turn, end.usage.calls
    else:
        status, answer, delivered, turn, calls = end["status"], end["answer"], end["deliverables"], end["turn"], 0
    contents = {name: [one.status, one.rounds, one.content] for name, one in sorted(delivered.items())}
    return {"status": status, "answer": answer, "turn": turn, "deliverables": contents, "calls": calls}


# --- deaths ----------------------------------------------------------------------------------------------------------


def watched(point: Point | None = None, stores: tuple[Any, ...] = ()) -> list[str]:
    """Write down every write of a store in this process, and die at a point of it."""
    written: list[str] = []
    lock = threading.Lock()

    def watch(name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def watching(self: Any, *args: Any, **options: Any) -> Any:
            with lock:
                written.append(name)
                dies = point is not None and point.write == name and written.count(name) == point.nth
            if dies and point is not None and point.when == "before":
                die()
            result = write(self, *args, **options)
            if dies:
                die()
            return result

        return watching

    for store in stores or stores_there_are():
        for name in BOUNDARIES:
            if hasattr(store, name):
                setattr(store, name, watch(name, getattr(store, name)))
    return written


def stores_there_are() -> tuple[Any, ...]:
    """The classes of our stores."""
    try:
        from troupe.postgres import PostgresStore
    except ImportError:
        return (SqliteStore,)
    return SqliteStore, PostgresStore


def die() -> None:
    """What `kill -9` does, the power cable, and the out-of-memory killer."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Ended:
    """How a child ended: killed, with a value, or with an error."""

    killed: bool
    value: Any = None
    error: str = ""


def live(act: Callable[[], Any], folder: Path) -> Ended:
    """Do something in a child and wait for its end."""
    child = begin(act, folder)
    return end(child, folder)


def begin(act: Callable[[], Any], folder: Path, patience: int = PATIENCE) -> int:
    """Do something in a child, for so many seconds at most (0: as long as it takes); its value goes into `folder`."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    signal.alarm(patience)
    try:
        value = json.dumps({"value": act()})
        code = 0
    except BaseException:  # noqa: BLE001 - a child must never go on as its parent; what it died of is told
        value = json.dumps({"error": traceback.format_exc()})
    try:
        (folder / f"{os.getpid()}.json").write_text(value)
    finally:
        os._exit(code)


def end(pid: int, folder: Path) -> Ended:
    """Wait for a child."""
    _, status = os.waitpid(pid, 0)
    return told(pid, status, folder)


def told(pid: int, status: int, folder: Path) -> Ended:
    """What a child that has ended leaves behind."""
    out = folder / f"{pid}.json"
    if os.WIFSIGNALED(status):
        out.unlink(missing_ok=True)
        hung = os.WTERMSIG(status) == signal.SIGALRM
        return Ended(killed=not hung, error="it hung" if hung else "")
    value = json.loads(out.read_text())
    out.unlink()
    return Ended(killed=False, **value)
