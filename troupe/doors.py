"""The doors: run, resume, roll back. Checkpointed, journalled, bounded; written once, async.

What these add to a plain `team.invoke`: the request is recorded before anything is done, the thread is leased to one
process, every step is durable (`durability="sync"`), recorded calls are never made twice, and the end is a `Result`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import ValidationError

from troupe.agents.context import TeamContext
from troupe.agents.contracts import TIERS, Reason
from troupe.agents.errors import (
    GraphChanged,
    InputError,
    SettingsError,
    complaints,
)
from troupe.agents.events import Listener
from troupe.agents.loop import run_sync
from troupe.agents.models import Models
from troupe.agents.settings import Settings
from troupe.catalogue import CATALOGUE, Target, refuse_while_loading, resolve
from troupe.graphs.fingerprint import changes, fingerprint
from troupe.graphs.team import Team, within
from troupe.inputs import as_input, stored, task_of, thread_id
from troupe.opening import Books, opened, worked
from troupe.prompts import check
from troupe.result import Result
from troupe.serializer import types_of
from troupe.signing import must_vouch
from troupe.store.base import Store
from troupe.store.turns import Turn
from troupe.underway import Durability, Underway
from troupe.view.notebook import Notebook, in_notebook
from troupe.view.picture import graph_of
from troupe.view.plain import Lines

_ENDED = ("completed", "partial", "failed")


def run(target: Any, task: Any = None, **options: Any) -> Result:
    """Run a team to its end, from code that is not async (in notebooks and inside running loops, too).

    Args:
        target: a graph, team, workflow, agent, function, or a name such as `"sequential"`, `"release.yaml"` or
            `"teams.py:team"`.
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
    cache: Any = None,
    context: TeamContext | None = None,
    db: str | Path | Store | None = None,
    store: Any = None,
    listeners: Sequence[Listener] = (),
    stop: asyncio.Event | None = None,
    durability: Durability = "sync",
    wait: bool = True,
    progress: bool | None = None,
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
        cache: whether replies of models are kept over runs, and not asked for again: True, seconds, or one of
            LangGraph's caches; False for no cache, whatever the settings say.
        context: a `TeamContext` (or your subclass) with more than the above.
        db: where runs are kept: a path, `postgresql://user@host/database`, an open store, or `":memory:"`; by default
            `TROUPE_DB`, the project's file, or a file in your state directory.
        store: a LangGraph store for agents and tools.
        listeners: functions that get every event.
        stop: when set, no new call starts, calls in flight may finish, and the run ends `stopped`.
        durability: `sync` has every step on disk before the next begins; `async` lets the next begin meanwhile.
        wait: whether another process that works on the thread is waited for; else `Held` names it.
        progress: whether the run is shown while it works; by default in a notebook, as one picture that changes.
        caller: whose module names the target; found by itself.
    """
    refuse_while_loading()
    checked(durability)
    where = resolve(target, caller or sys._getframe(1))
    given = as_input(task)
    read = where.team.checked(given)
    listeners = _watched(where.team, listeners, progress)
    context = _context(where.team, context, model, budget, deadline, listeners, cache)
    models = await _usable(Models(context.models, await asyncio.to_thread(Settings.refresh)))
    settings = Settings.current()
    within(read, context.limits.over(settings.limits) if context.limits else settings.limits)
    thread = thread_id(thread)
    lines = await asyncio.to_thread(_fingerprint, where.team, context)
    async with opened(where.team, db) as books:
        turn = Turn(
            thread=thread,
            turn=1,
            workflow=where.name,
            task=task_of(given),
            input=stored(given),
            reference=where.reference,
            models=models.specs,
            simulated=models.simulated,
            budget=context.budget,
            deadline=context.deadline,
            fingerprint=lines,
        )

        async def begin(work: Underway) -> Result:
            return await work.go(given, stop)

        return await worked(books, where, turn, context, store, durability, begin, stop, new=True, wait=wait)


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
    cache: Any = None,
    context: TeamContext | None = None,
    db: str | Path | Store | None = None,
    store: Any = None,
    listeners: Sequence[Listener] = (),
    stop: asyncio.Event | None = None,
    durability: Durability = "sync",
    wait: bool = True,
    progress: bool | None = None,
    accept_changes: bool = False,
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
        cache, context, db, store, listeners, stop, durability, wait, progress: see `arun`.
        accept_changes: go on although the graph is another one than the run began with.

    Raises:
        UnknownRun: no such run.
        GraphChanged: the graph is another one; the message says in what.
        InputError: an answer that cannot be understood, or to no open question.
        SettingsError: what ran cannot be imported again, or the resume would switch between simulated and real.
    """
    checked(durability)
    async with opened(None, db) as books:
        where, turn, context = await _again(
            books, run, target, model, budget, deadline, context, listeners, cache, progress
        )
        if answers is not None:  # what is open now is what the caller means, whatever has become of it when we may work
            answers = await _looking(books, where.team, turn, context).named(answers)
        changed = turn if turn.status in _ENDED else await _compared(turn, where.team, context, accept_changes)

        async def go_on(work: Underway) -> Result:
            if changed is not turn:
                await work.adopt(changed)
            return await work.go_on(answers, stop)

        return await worked(books, where, turn, context, store, durability, go_on, stop, wait=wait)


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
    cache: Any = None,
    context: TeamContext | None = None,
    db: str | Path | Store | None = None,
    store: Any = None,
    listeners: Sequence[Listener] = (),
    stop: asyncio.Event | None = None,
    durability: Durability = "sync",
    wait: bool = True,
    progress: bool | None = None,
    accept_changes: bool = False,
) -> Result:
    """Redo the step `to` of a run and everything after it, and keep what came before.

    Side effects of the steps that are redone are taken back by their `undo`. Other arguments: see `aresume`.

    Raises:
        UnknownRun, UnknownName: no such run or step.
        GraphChanged: see `aresume`.
    """
    checked(durability)
    async with opened(None, db) as books:
        where, turn, context = await _again(
            books, run, target, model, budget, deadline, context, listeners, cache, progress
        )
        changed = await _compared(turn, where.team, context, accept_changes)

        async def go_back(work: Underway) -> Result:
            if changed is not turn:
                await work.adopt(changed)
            await work.roll_back(to)
            return await work.go(None, stop, resumed=True)

        return await worked(books, where, turn, context, store, durability, go_back, stop, wait=wait)


async def ainspect(run: str, *, target: Any = None, db: str | Path | Store | None = None) -> Result:
    """A run as it stands; nothing is called or written, and one that is being worked on is `running`.

    Args:
        run: its id.
        target: what ran, if it was built in code that cannot be imported.
        db: see `arun`.

    Raises:
        UnknownRun: no such run.
        SettingsError: what ran cannot be imported again.
    """
    async with opened(None, db) as books:
        turn = await books.kept.last(run)
        where = resolve(_target(turn, target))
        context = _context(where.team, None, turn.models, None, None, ())
        work = _looking(books, where.team, turn, context)
        result = await work.result(None, None)
        return _as_recorded(result, turn, await books.kept.holder(run) is not None)


async def _compared(turn: Turn, team: Team, context: TeamContext, accept: bool) -> Turn:
    """The turn, with the fingerprint that it goes on with where that is another one.

    Raises:
        GraphChanged: it is, and that was not accepted.
    """
    lines = await asyncio.to_thread(_fingerprint, team, context)
    found = changes(turn.fingerprint, lines) if turn.fingerprint else []
    if not found:
        return turn
    if not accept:
        raise GraphChanged(
            f"Run {turn.thread} began with another graph than it would go on with: {'; '.join(found)}. To go on all "
            "the same, and keep what has ended, give accept_changes=True (--accept-changes); or begin a new turn."
        )
    return replace(turn, fingerprint=lines)


def _fingerprint(team: Team, context: TeamContext) -> dict[str, str]:
    prompts = context.prompts or Settings.current().prompts
    if prompts is not None:
        check(prompts)  # reads them as they are now
    return fingerprint(team, prompts)


def _looking(books: Books, team: Team, turn: Turn, context: TeamContext) -> Underway:
    """A turn as it stands, for one who only reads."""
    store = books.kept.fenced(None, types_of(team))
    work = Underway(team.copy({"checkpointer": store}), turn, context, store, store, "sync")
    work.resumed = True
    return work


def checked(durability: str) -> None:
    """Refuse what would lose a run.

    Raises:
        InputError: `exit`, which keeps nothing before the end, or a word that is none.
    """
    if durability not in ("sync", "async"):
        why = " With 'exit' nothing is on disk before the end: a crash would lose everything."
        raise InputError(f"durability={durability!r} is not one of: sync, async.{why if durability == 'exit' else ''}")


def _as_recorded(result: Result, turn: Turn, held: bool) -> Result:
    """What the state says, put right by what the books know better."""
    result = replace(result, simulated=turn.simulated and result.usage.usd == 0)
    if turn.status == "running" and held:
        return replace(result, status="running", waiting=(), missing=())
    if turn.status in ("running", "stopped") and result.status == "waiting":
        result = replace(result, status="stopped", waiting=())  # it died on its way, with answers to what it asked
    if result.status != "stopped" or result.reason is not None:
        return result
    if turn.status == "partial":
        return replace(result, status="partial", reason=Reason(kind="limit", message=turn.reason or ""))
    return replace(result, reason=Reason(kind="stopped", message=turn.reason)) if turn.reason else result


def _watched(team: Team, listeners: Sequence[Listener], progress: bool | None) -> Sequence[Listener]:
    """The caller's listeners, and one that draws the run in a notebook, or where that is wished for."""
    wished = in_notebook() if progress is None else progress
    if not wished or callable(listeners):
        return listeners
    if not in_notebook():
        return [*listeners, Lines()]
    return [*listeners, Notebook(graph_of(team))]


def _context(
    team: Team,
    context: TeamContext | None,
    model: Any,
    budget: float | None,
    deadline: float | None,
    listeners: Sequence[Listener],
    cache: Any = None,
) -> TeamContext:
    context = context or team.builder.context_schema()  # type: ignore[misc]
    assert context is not None  # noqa: S101 - a team's context schema is a TeamContext
    changes: dict[str, Any] = {"models": model, "budget": budget, "deadline": deadline, "cache": cache}
    changes = {name: value for name, value in changes.items() if value is not None}
    if callable(listeners):
        raise InputError("listeners= must be a list of functions: listeners=[function].")
    if listeners:
        changes["listeners"] = (*context.listeners, *listeners)
    try:
        return type(context)(**{name: getattr(context, name) for name in type(context).model_fields} | changes)
    except ValidationError as error:
        raise InputError(f"{complaints(error)}.") from None


async def _again(
    books: Books,
    run: str,
    target: Any,
    model: Any,
    budget: float | None,
    deadline: float | None,
    context: TeamContext | None,
    listeners: Sequence[Listener],
    cache: Any,
    progress: bool | None,
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
    listeners = _watched(where.team, listeners, progress)
    return where, turn, _context(where.team, context, chosen, budget, deadline, listeners, cache)


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
    if target is None and turn.reference not in CATALOGUE:  # those are ours
        must_vouch(turn)
    return target if target is not None else turn.reference
