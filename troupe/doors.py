"""The doors: run, resume, roll back. Checkpointed, journalled, bounded; written once, async.

What these add to a plain `team.invoke`: the request is recorded before anything is done, the thread is leased to one
process, every step is durable (`durability="sync"`), recorded calls are never made twice, and the end is a `Result`.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, messages_from_dict, messages_to_dict
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained, GraphRecursionError
from langgraph.runtime import RunControl
from langgraph.types import Command

from troupe.agents.context import TeamContext
from troupe.agents.contracts import NO_USAGE, TIERS, Reason, RunStatus
from troupe.agents.errors import Held, InputError, SettingsError, TroupeError, UnknownName, complaints
from troupe.agents.events import Event, Listener, Notice, RunFinished, RunStarted, Waiting
from troupe.agents.journal import Journal, MemoryJournal
from troupe.agents.loop import run_sync
from troupe.agents.models import Models, is_simulated
from troupe.agents.scope import RunScope
from troupe.agents.settings import Settings
from troupe.agents.text import clean
from troupe.catalogue import Target, refuse_while_loading, resolve
from troupe.graphs.asking import is_ours, read_answer
from troupe.graphs.node import SCOPE, Here
from troupe.graphs.team import Team
from troupe.graphs.work import roll_back
from troupe.result import Question, Result
from troupe.serializer import types_of
from troupe.sqlite import Lease, SqliteStore, Turn

Durability = Literal["sync", "async"]
GRACE = 10.0
"""Seconds that calls in flight get to finish and be recorded when a run is asked to stop."""


def run(target: Any, task: Any = None, **options: Any) -> Result:
    """Run a team to its end, from code that is not async (in notebooks and inside running loops, too).

    Args:
        target: a graph, team, agent, function, or a name such as `"sequential"` or `"teams.py:team"`.
        task: what is to be done, as text; or messages; or `{"task": ..., "messages": [...]}`.
        options: those of `arun`.

    Returns:
        A `Result`; whatever happens inside the run is in it and not raised.

    Raises:
        BuildError, InputError, SettingsError, StoreError: before anything is run.

    >>> from troupe import agent, scripted
    >>> run(agent("poet", "Write verse."), "a haiku", model=scripted(["An old silent pond"]), db=":memory:").answer
    'An old silent pond'
    """
    refuse_while_loading()
    return run_sync(arun(target, task, caller=sys._getframe(1), **options))


async def arun(
    target: Any,
    task: Any = None,
    *,
    model: Any = None,
    thread: str | None = None,
    budget: float | None = None,
    deadline: float | None = None,
    context: TeamContext | None = None,
    db: str | Path | SqliteStore | None = None,
    store: Any = None,
    listeners: Sequence[Listener] = (),
    stop: asyncio.Event | None = None,
    durability: Durability = "sync",
    caller: FrameType | None = None,
) -> Result:
    """Run a team to its end.

    Args:
        target: see `run`.
        task: see `run`.
        model: a spec such as `"openai:gpt-5-mini"`, a chat model, or either by tier.
        thread: the run's id; an existing one gets its next turn.
        budget: USD for this turn.
        deadline: seconds for this turn.
        context: a `TeamContext` (or your subclass) with more than the above.
        db: where runs are kept: a path, an open store, or `":memory:"`.
        store: a LangGraph store for agents and tools.
        listeners: functions that get every event.
        stop: when set, no new call starts, calls in flight may finish, and the run ends `stopped`.
        durability: `sync` has every step on disk before the next begins; `async` lets the next begin meanwhile.
        caller: whose module names the target; found by itself.
    """
    refuse_while_loading()
    where = resolve(target, caller or sys._getframe(1))
    given = as_input(task)
    where.team.checked(given)
    context = _context(where.team, context, model, budget, deadline, listeners)
    models = await _usable(Models(context.models, await asyncio.to_thread(Settings.refresh)))
    thread = _thread(thread)
    async with _opened(where.team, db) as books:
        turn = Turn(
            thread=thread,
            turn=1,
            workflow=where.name,
            task=_task(given),
            input=_stored(given),
            reference=where.reference,
            models=models.specs,
            simulated=models.simulated,
            budget=context.budget,
            deadline=context.deadline,
        )
        async with _working(books, where, turn, context, store, durability, new=True) as work:
            return await work.go(given, stop)


def resume(run: str, answers: Any = None, **options: Any) -> Result:
    """Go on with a run that was stopped, crashed, or waits for a person; see `aresume`."""
    return run_sync(aresume(run, answers, **options))


async def aresume(
    run: str,
    answers: Any = None,
    *,
    target: Any = None,
    model: Any = None,
    budget: float | None = None,
    deadline: float | None = None,
    context: TeamContext | None = None,
    db: str | Path | SqliteStore | None = None,
    store: Any = None,
    listeners: Sequence[Listener] = (),
    stop: asyncio.Event | None = None,
    durability: Durability = "sync",
) -> Result:
    """Go on with a run; one that has ended gives its result again.

    Args:
        run: its id.
        answers: to its questions: by id, or one answer if it has one question. True or `"approve"`, `"reject"`, a
            text, or `{"type": "approve" | "edit" | "respond" | "reject", "message": ...}`.
        target: what ran, if it was built in code that cannot be imported.
        model: in place of the recorded specs.
        budget: in place of the recorded one.
        deadline: seconds from now.
        context, db, store, listeners, stop, durability: see `arun`.

    Raises:
        UnknownRun: no such run.
        InputError: an answer that cannot be understood, or to no open question.
        SettingsError: what ran cannot be imported again, or the resume would switch between simulated and real.
    """
    async with _opened(None, db) as books:
        where, turn, context = await _again(books, run, target, model, budget, deadline, context, listeners)
        async with _working(books, where, turn, context, store, durability) as work:
            return await work.go_on(answers, stop)


def rollback(run: str, to: str, **options: Any) -> Result:
    """Redo a step and everything after it; see `arollback`."""
    return run_sync(arollback(run, to, **options))


async def arollback(
    run: str,
    to: str,
    *,
    target: Any = None,
    model: Any = None,
    budget: float | None = None,
    deadline: float | None = None,
    context: TeamContext | None = None,
    db: str | Path | SqliteStore | None = None,
    store: Any = None,
    listeners: Sequence[Listener] = (),
    stop: asyncio.Event | None = None,
    durability: Durability = "sync",
) -> Result:
    """Redo the step `to` of a run and everything after it, and keep what came before.

    Side effects of the steps that are redone are taken back by their `undo`. Other arguments: see `aresume`.

    Raises:
        UnknownRun, UnknownName: no such run or step.
    """
    async with _opened(None, db) as books:
        where, turn, context = await _again(books, run, target, model, budget, deadline, context, listeners)
        async with _working(books, where, turn, context, store, durability) as work:
            await work.roll_back(to)
            return await work.go(None, stop, resumed=True)


async def ainspect(run: str, *, target: Any = None, db: str | Path | SqliteStore | None = None) -> Result:
    """A run as it stands; nothing is called or written, and one that is being worked on is `running`.

    Args:
        run: its id.
        target: what ran, if it was built in code that cannot be imported.
        db: see `arun`.

    Raises:
        UnknownRun: no such run.
        SettingsError: what ran cannot be imported again.
    """
    async with _opened(None, db) as books:
        turn = await books.kept.last(run)
        where = resolve(_target(turn, target))
        store = books.kept.fenced(None, types_of(where.team))
        team = where.team.copy({"checkpointer": store})
        context = _context(team, None, turn.models, None, None, ())
        result = await _Work(team, turn, context, store, store, "sync").result(None, None)
        return _as_recorded(result, turn, await store.holder(run) is not None)


def _as_recorded(result: Result, turn: Turn, held: bool) -> Result:
    """What the state says, put right by what the books know better."""
    result = replace(result, simulated=turn.simulated)
    if turn.status == "running" and held:
        return replace(result, status="running", waiting=(), missing=())
    if result.status != "stopped" or result.reason is not None:
        return result
    if turn.status == "partial":
        return replace(result, status="partial", reason=Reason(kind="limit", message=turn.reason or ""))
    return replace(result, reason=Reason(kind="stopped", message=turn.reason)) if turn.reason else result


# --- the books: one store, or nothing but memory where the caller brought a saver of another kind ---------------------


@dataclass(frozen=True, slots=True)
class _Books:
    store: SqliteStore | None
    saver: BaseCheckpointSaver[Any] | None

    @property
    def kept(self) -> SqliteStore:
        if self.store is None:
            raise SettingsError("This needs the database of runs: give db=, and no checkpointer of another kind.")
        return self.store


@asynccontextmanager
async def _opened(team: Team | None, db: Any) -> AsyncIterator[_Books]:
    own = team.checkpointer if team is not None else None
    if isinstance(own, SqliteStore) and db is None:
        yield _Books(own, None)
    elif isinstance(own, BaseCheckpointSaver) and db is None:
        yield _Books(None, own)
    elif isinstance(db, SqliteStore):
        yield _Books(db, None)
    else:
        from troupe.checkpoints import sqlite

        store = await asyncio.to_thread(sqlite, db)
        try:
            yield _Books(store, None)
        finally:
            await asyncio.to_thread(store.close)


@asynccontextmanager
async def _working(
    books: _Books, where: Target, turn: Turn, context: TeamContext, store: Any, durability: Durability, new: bool = False
) -> AsyncIterator[_Work]:
    """The team ready to run this turn, under the thread's lease."""
    options: dict[str, Any] = {} if store is None else {"store": store}
    if books.store is None:
        team = where.team.copy(options)
        yield _Work(team, turn, context, MemoryJournal(), None, durability)
        return
    lease = await _acquired(books.store, turn.thread, context.listeners)
    try:
        fenced = books.store.fenced(lease, types_of(where.team))
        if new:
            turn = await fenced.begin(turn)
        team = where.team.copy({**options, "checkpointer": fenced})
        yield _Work(team, turn, context, fenced, fenced, durability)
    finally:
        await asyncio.shield(books.store.release(lease))


async def _acquired(store: SqliteStore, thread: str, listeners: Sequence[Listener]) -> Lease:
    """The thread's lease; whoever holds it is waited for, and the caller told of it."""
    told = False
    while True:
        try:
            return await store.acquire(thread)
        except Held as error:
            for listener in () if told else listeners:
                listener(Notice(time.time(), "", f"{error} Waiting for that to end."))
            told = True
            await asyncio.sleep(0.1)


# --- one turn under way ------------------------------------------------------------------------------------------------


class _Work:
    """A turn of a run, ready to go."""

    def __init__(
        self,
        team: Team,
        turn: Turn,
        context: TeamContext,
        journal: Journal,
        store: SqliteStore | None,
        durability: Durability,
    ) -> None:
        self.team = team
        self.turn = turn
        self.context = context
        self.store = store
        self.durability = durability
        self.scope = RunScope(context, turn.thread, journal=journal, durable=store is not None)
        self.config: Any = {"configurable": {"thread_id": turn.thread, SCOPE: self.scope}}
        self.read: Any = {"configurable": {"thread_id": turn.thread}}

    async def go(self, given: Any, stop: asyncio.Event | None, resumed: bool = False) -> Result:
        """Run until the turn ends, waits or is stopped."""
        if given is not None and not isinstance(given, Command):
            state = await self._state()
            self.scope.advance = self.turn.turn - state.get("turn", 0) if self.store is not None else 1
        self._tell(RunStarted(time.time(), "", self.turn.thread, self.turn.workflow, self.turn.turn, self.scope.simulated, resumed))
        if self.context.budget is not None and not self.scope.simulated:
            self._warn_of_unknown_prices()
        status: RunStatus | None = None
        reason: Reason | None = None
        try:
            await self._invoke(given, stop)
        except (GraphDrained, _Stopped):
            status = "stopped"
            reason = Reason(kind="stopped", message=f"Stopped. Go on with: {self._resume()}")
        except GraphRecursionError as error:
            status, reason = "partial", Reason(kind="limit", message=str(error))
        except asyncio.CancelledError:
            await asyncio.shield(self._end("stopped", "The run was cancelled."))
            raise
        except TroupeError as error:
            await self._end("stopped", str(error))
            raise
        result = await self.result(status, reason)
        await self._end(result.status, result.reason.message if result.reason else None)
        for one in result.waiting:
            self._tell(Waiting(time.time(), one.step, one.id, one.question, one.options))
        seconds = self.scope.clock() - self.scope.started
        why = result.reason.message if result.reason else ""
        self._tell(
            RunFinished(time.time(), "", result.run, result.status, result.answer, why, seconds, result.usage.usd)
        )
        return result

    async def go_on(self, answers: Any, stop: asyncio.Event | None) -> Result:
        """Go on from where the turn stands."""
        snapshot = await self.team.aget_state(self.read)
        state = snapshot.values or {}
        if state.get("turn", 0) < self.turn.turn:
            if answers is not None:
                raise InputError(f"Run {self.turn.thread} asks nothing.")
            return await self.go(_restored(self.turn.input), stop, resumed=True)
        asked = {one.id: one.value for one in snapshot.interrupts}
        if answers is not None:
            return await self.go(Command(resume=_answers(answers, asked, self.turn.thread)), stop, resumed=True)
        # The snapshot's `next` is empty, too, when a step's writes were saved and the checkpoint after it was not.
        if asked or state.get("status") != "running":
            return await self.result(None, None)
        return await self.go(None, stop, resumed=True)

    async def roll_back(self, to: str) -> None:
        """Write that `to` and every step after it is to be redone: a forward write, never a fork."""
        steps = self.team.steps
        names = [one.name for one in steps]
        if to not in names:
            raise UnknownName("step", to, names)
        state = await self._state()
        done = state.get("deliverables", {})
        index = names.index(to)
        before = [one for one in steps[:index] if one.name not in done or not done[one.name].usable]
        if not done or before:
            lacking = ", ".join(one.name for one in before) or "the run has delivered nothing"
            raise InputError(f"Run {self.turn.thread} cannot begin again at {to!r}: not delivered before it: {lacking}.")
        here = Here(self.scope, self.config, "")
        update = await roll_back(steps[index:], done, state, here)
        messages = state.get("messages", [])
        last = max((i for i, one in enumerate(messages) if isinstance(one, HumanMessage)), default=len(messages))
        update |= {"status": "running", "reason": None, "answer": ""}
        # The answer that is being redone is no part of the conversation.
        update["messages"] = [RemoveMessage(id=str(one.id)) for one in messages[last + 1 :] if isinstance(one, AIMessage)]
        previous = steps[index - 1] if index else None
        nodes = self.team.builder.nodes
        came_from = "__start__"
        if previous is not None:
            came_from = f"{previous.name}.gate" if f"{previous.name}.gate" in nodes else previous.name
        await self.team.aupdate_state(self.read, update, as_node=came_from)

    async def result(self, status: RunStatus | None, reason: Reason | None) -> Result:
        """The turn as it stands."""
        snapshot = await self.team.aget_state(self.read) if self.team.checkpointer else None
        state = (snapshot.values if snapshot else None) or {}
        if state.get("turn", 0) < self.turn.turn and self.store is not None:
            state = {}
        done = self.team.restored(state.get("deliverables", {}))
        waiting = tuple(read_question(one) for one in snapshot.interrupts) if snapshot and status is None else ()
        ended: RunStatus = status or ("waiting" if waiting else state.get("status", "stopped"))
        if ended == "running":
            ended = "stopped"
        order = [one.name for one in self.team.steps]
        return Result(
            run=self.turn.thread,
            workflow=self.turn.workflow,
            task=self.turn.task,
            turn=self.turn.turn if self.store is not None else state.get("turn", 1),
            status=ended,
            reason=reason or state.get("reason"),
            answer=state.get("answer") or next((done[one].content for one in reversed(order) if one in done and done[one].usable), ""),
            deliverables={name: done[name] for name in [*order, *(one for one in done if one not in order)] if name in done},
            usage=await self._used(),
            missing=() if waiting or ended == "stopped" else tuple(one for one in order if one not in done or not done[one].usable),
            waiting=waiting,
            simulated=self.scope.simulated,
        )

    async def _invoke(self, given: Any, stop: asyncio.Event | None) -> None:
        control = RunControl()
        task = asyncio.ensure_future(
            self.team.ainvoke(given, self.config, context=self.context, durability=self.durability, control=control)
        )
        if stop is None:
            await task
            return
        asked = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.scope.stopping = True
                control.request_drain("asked to stop")
                await self._finish_calls(task)
                if not task.done():
                    task.cancel()
                    await asyncio.wait({task})
                    if task.cancelled():
                        raise _Stopped
            await task
        finally:
            asked.cancel()
            if not task.done():
                task.cancel()

    async def _finish_calls(self, task: asyncio.Future[Any]) -> None:
        """Give what is in flight its time; end sooner when nothing is left in flight."""
        ends = asyncio.get_running_loop().time() + GRACE
        while not task.done() and (left := ends - asyncio.get_running_loop().time()) > 0:
            if not self.scope.working:
                # The last call is recorded; its step may still write its checkpoint.
                await asyncio.wait({task}, timeout=min(left, 0.25))
                if not self.scope.working:
                    return
            idle = asyncio.ensure_future(self.scope.idle.wait())
            await asyncio.wait({task, idle}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()

    async def _state(self) -> dict[str, Any]:
        if not self.team.checkpointer:
            return {}
        return (await self.team.aget_state(self.read)).values or {}

    async def _used(self) -> Any:
        if self.store is None:
            return self.scope.spent
        from urllib.parse import quote

        return await self.store.spent(f"{quote(self.turn.thread, safe='')}/{self.turn.turn}")

    async def _end(self, status: str, reason: str | None) -> None:
        if self.store is not None:
            await self.store.end(self.turn, status, reason, await self._used())

    def _resume(self) -> str:
        """The command to go on with, enough as it stands."""
        from troupe.checkpoints import default_path

        command = f"troupe resume {shlex.quote(self.turn.thread)}"
        if self.store is None or self.store.path == str(default_path()):
            return command
        return f"{command} --db {shlex.quote(self.store.path)}"

    def _tell(self, event: Event) -> None:
        self.scope.tell(event)

    def _warn_of_unknown_prices(self) -> None:
        from troupe.agents.money.prices import known

        for spec in {one for one in self.scope.models.chosen.values() if isinstance(one, str)}:
            provider, _, name = spec.partition(":")
            if not is_simulated(spec) and not known(name, provider):
                text = f"No price is known for {spec}: the budget cannot be kept."
                self._tell(Notice(time.time(), "", text))


class _Stopped(Exception):
    """The run was asked to stop, and did."""


# --- what goes in, and what is kept of it ----------------------------------------------------------------------------------


def as_input(task: Any) -> dict[str, Any]:
    """A team's input from a text, messages or a dictionary.

    Raises:
        InputError: there is nothing in it.
    """
    if isinstance(task, Mapping):
        return dict(task)
    if isinstance(task, BaseMessage):
        return {"messages": [task]}
    if isinstance(task, list | tuple):
        return {"messages": list(task)}
    if not isinstance(task, str) or not task.strip():
        raise InputError("The task is empty. Say what is to be done.")
    return {"task": task}


def _task(given: Mapping[str, Any]) -> str:
    if isinstance(given.get("task"), str):
        return clean(given["task"])
    from langchain_core.messages import convert_to_messages

    messages = convert_to_messages(given.get("messages") or [])
    return next((clean(one.text) for one in reversed(messages) if isinstance(one, HumanMessage)), "")


def _stored(given: Mapping[str, Any]) -> dict[str, Any]:
    """The input as plain data, so that a turn that crashed before its first checkpoint can begin again."""
    from langchain_core.messages import convert_to_messages

    if not given.get("messages"):
        return dict(given)
    return {**given, "messages": messages_to_dict(convert_to_messages(given["messages"]))}


def _restored(stored: Mapping[str, Any]) -> dict[str, Any]:
    if not stored.get("messages"):
        return dict(stored)
    return {**stored, "messages": messages_from_dict(stored["messages"])}


def _thread(thread: str | None) -> str:
    if thread is None:
        return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    if not isinstance(thread, str) or not thread.strip() or len(thread) > 500 or clean(thread) != thread:
        raise InputError("A thread's id is a text of 1 to 500 characters without NUL.")
    return thread


def _context(
    team: Team,
    context: TeamContext | None,
    model: Any,
    budget: float | None,
    deadline: float | None,
    listeners: Sequence[Listener],
) -> TeamContext:
    from pydantic import ValidationError

    context = context or team.builder.context_schema()  # type: ignore[misc]
    assert context is not None  # noqa: S101 - a team's context schema is a TeamContext
    changes: dict[str, Any] = {"models": model, "budget": budget, "deadline": deadline}
    changes = {name: value for name, value in changes.items() if value is not None}
    if listeners:
        changes["listeners"] = (*context.listeners, *listeners)
    try:
        return type(context)(**{name: getattr(context, name) for name in type(context).model_fields} | changes)
    except ValidationError as error:
        raise InputError(f"{complaints(error)}.") from None


def finished(values: Mapping[str, Any], run: str, started: float) -> RunFinished:
    """The end of a turn that a plain stream came to, from the last values it saw."""
    status = values.get("status", "running")
    reason = values.get("reason")
    usages = [one.usage for one in (values.get("deliverables") or {}).values()]
    usd = sum(usages, NO_USAGE).usd
    return RunFinished(
        at=time.time(),
        path="",
        run=run,
        status="waiting" if status == "running" else status,
        answer=values.get("answer") or "",
        reason=reason.message if reason else "",
        seconds=time.time() - started,
        usd=usd,
    )


async def _again(
    books: _Books,
    run: str,
    target: Any,
    model: Any,
    budget: float | None,
    deadline: float | None,
    context: TeamContext | None,
    listeners: Sequence[Listener],
) -> tuple[Target, Turn, TeamContext]:
    """What ran, its last turn, and the context to go on with."""
    turn = await books.kept.last(run)
    where = resolve(_target(turn, target))
    given = model if model is not None else (context.models if context else None)
    chosen = given if given is not None else turn.models
    models = Models(chosen, Settings.refresh())
    if given is None and models.simulated != turn.simulated:
        was, now = ("simulated", "real") if turn.simulated else ("real", "simulated")
        raise SettingsError(f"Run {run} was {was} and would go on {now}. Say with which model: model=... or --model.")
    await _usable(models)
    budget = budget if budget is not None else turn.budget
    deadline = deadline if deadline is not None else turn.deadline
    return where, turn, _context(where.team, context, chosen, budget, deadline, listeners)


async def _usable(models: Models) -> Models:
    """The models, each of which can be made: a missing key is said before anything is begun."""
    for tier in TIERS:
        await models.get(tier)
    return models


def _target(turn: Turn, target: Any) -> Any:
    if target is None and turn.reference is None:
        raise SettingsError(
            f"Run {turn.thread} ({turn.workflow}) was built in code that cannot be imported by name. "
            f"Go on from that code: troupe.resume({turn.thread!r}, target=team)."
        )
    return target if target is not None else turn.reference


def _answers(given: Any, asked: Mapping[str, Any], run: str) -> dict[str, Any]:
    if not asked:
        raise InputError(f"Run {run} asks nothing.")
    if isinstance(given, Mapping) and given and set(map(str, given)) <= set(asked):
        answers = {str(one): answer for one, answer in given.items()}
    elif len(asked) == 1:
        answers = {next(iter(asked)): given}
    else:
        raise InputError(f"Run {run} asks {len(asked)} questions; answer by id: {', '.join(asked)}.")
    for one, answer in answers.items():
        if is_ours(asked[one]):
            read_answer(answer)  # what cannot be understood is refused before anything is resumed
    return answers


def read_question(interrupt: Any) -> Question:
    """What an interrupt asks, for people."""
    value = interrupt.value
    if isinstance(value, Mapping):
        text = value.get("question") or value.get("description") or str(value)
        return Question(interrupt.id, str(text), tuple(value.get("options") or ()), str(value.get("step") or ""))
    return Question(interrupt.id, str(value))
