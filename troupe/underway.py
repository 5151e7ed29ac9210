"""One turn under way: begun, gone on with, stopped, rolled back, and told how it ended."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.errors import GraphDrained, GraphRecursionError
from langgraph.runtime import RunControl
from langgraph.types import Command

from troupe.agents.context import TeamContext
from troupe.agents.contracts import Reason, RunStatus
from troupe.agents.errors import (
    InputError,
    StoreError,
    UnknownName,
    describe,
)
from troupe.agents.events import Event, Notice, Planned, RunFinished, RunStarted, Waiting
from troupe.agents.journal import Journal, Row
from troupe.agents.models import is_simulated
from troupe.agents.money.prices import known
from troupe.agents.scope import RunScope
from troupe.graphs.hearing import place_of
from troupe.graphs.node import SCOPE, Here
from troupe.graphs.state import INTERNAL
from troupe.graphs.team import Redo, Team
from troupe.graphs.wiring import left_by
from troupe.graphs.work import roll_back
from troupe.inputs import restored
from troupe.questions import Asked, Desk, answers_on_record, by_id, open_questions, read_question
from troupe.result import Result
from troupe.store.base import Store
from troupe.store.turns import Turn

Durability = Literal["sync", "async"]
GRACE = 10.0
"""Seconds that calls in flight get to finish and be recorded when a run is asked to stop."""


class Underway:
    """A turn of a run, ready to go."""

    def __init__(
        self,
        team: Team,
        turn: Turn,
        context: TeamContext,
        journal: Journal,
        store: Store | None,
        durability: Durability,
    ) -> None:
        self.team = team
        self.turn = turn
        self.context = context
        self.store = store
        self.durability = durability
        clock = getattr(store, "clock", time.time)  # PostgreSQL has one of its own
        self.scope = RunScope(context, turn.thread, journal=journal, durable=store is not None, wall=clock)
        self.config: Any = {"configurable": {"thread_id": turn.thread, SCOPE: self.scope}}
        self.read: Any = {"configurable": {"thread_id": turn.thread}}
        self.resumed = False
        """Whether the turn was gone on with, and so may have answers on record."""
        self.adopted = False
        """Whether it goes on with another graph than it began with."""

    async def adopt(self, turn: Turn) -> None:
        """Go on with another graph than the turn began with."""
        self.turn, self.adopted = turn, True
        if self.store is not None:
            await self.store.refingerprint(turn)
        self._tell(Notice(time.time(), "", "The graph has changed since the run began; it goes on with the new one."))

    async def go(self, given: Any, stop: asyncio.Event | None, resumed: bool = False) -> Result:
        """Run until the turn ends, waits or is stopped."""
        self.resumed = self.resumed or resumed
        if given is not None and not isinstance(given, Command):
            before = (await self._state()).get("turn", 0)
            if self.store is None:  # only the caller's own saver knows how many turns there were
                self.turn = replace(self.turn, turn=before + 1)
            self.scope.advance = self.turn.turn - before
        standing = await self.result("running", None) if resumed and self.context.listeners else None
        self._tell(
            RunStarted(
                at=time.time(),
                path="",
                run=self.turn.thread,
                workflow=self.turn.workflow,
                turn=self.turn.turn,
                simulated=self.scope.simulated,
                resumed=resumed,
                task=self.turn.task,
                steps=planned(self.team),
                standing=standing,
            )
        )
        if self.context.budget is not None and not self.scope.simulated:
            self._warn_of_unknown_prices()
        if resumed:  # so that whoever finds it later knows whether it waits, or died on its way
            await self._end("running", None)
        status: RunStatus | None = None
        reason: Reason | None = None
        try:
            await self._invoke(given, stop)
        except (GraphDrained, _Stopped):
            status = "stopped"
            reason = Reason(kind="stopped", message=f"Stopped. Go on with: {self._resume()}")
        except GraphRecursionError as error:
            status, reason = "partial", Reason(kind="limit", message=str(error))
        except (asyncio.CancelledError, Exception) as error:
            why = "The run was cancelled." if isinstance(error, asyncio.CancelledError) else describe(error)
            with suppress(StoreError):  # what went wrong may be the store itself
                await asyncio.shield(self._end("stopped", why))
            raise
        result = await self.result(status, reason)
        await self._end(result.status, result.reason.message if result.reason else None)
        for one in result.waiting:
            what = one.question, one.options, one.content, one.expires
            self._tell(Waiting(time.time(), one.step, one.id, *what))
        seconds = self.scope.clock() - self.scope.started
        why = result.reason.message if result.reason else ""
        ended = result.run, result.status, result.answer, why, seconds, result.usage.usd
        self._tell(RunFinished(time.time(), "", *ended, result=result))
        return result

    async def go_on(self, answers: Any, stop: asyncio.Event | None) -> Result:
        """Go on from where the turn stands, with answers by the ids of the questions."""
        if self.store is not None:  # whoever held the lease until now may have come further
            self.turn = await self.store.last(self.turn.thread)
        snapshot = await self.team.aget_state(self.read)
        state = snapshot.values or {}
        self.resumed = True
        if state.get("turn", 0) < self.turn.turn:
            if answers is not None:
                raise InputError(f"Run {self.turn.thread} asks nothing.")
            return await self.go(restored(self.turn.input), stop, resumed=True)
        asked, desk = open_questions(snapshot.interrupts), self._desk()
        late = await desk.late(asked if answers is None else answers, asked)
        if late:
            again = await desk.renew(late, self.context.answer_within)
            result = await self.go(None, stop, resumed=True)
            if answers is not None:
                raise InputError(_too_late(self.turn.thread, again))
            return result
        said = await desk.kept(asked) if answers is None else await desk.take(answers, asked)
        if said:
            return await self.go(Command(resume=said), stop, resumed=True)
        # The snapshot's `next` is empty, too, when a step's writes were saved and the checkpoint after it was not.
        if (asked and self.turn.status == "waiting") or state.get("status") != "running":
            return await self.result(None, None)
        result = await self.go(None, stop, resumed=True)
        if self.adopted and result.status == "stopped" and not (stop is not None and stop.is_set()):
            return await self._re_enter(result, stop)
        return result

    async def _re_enter(self, result: Result, stop: asyncio.Event | None) -> Result:
        """Go on where the step that the run stood at is gone: with the first that has not delivered."""
        state = await self._state()
        done, redo = state.get("deliverables", {}), self.team.builder.redo
        for name, way in redo.items():
            after = _entry(way, state)
            if name not in done and after is not None and state.get("status") == "running":
                await self.team.aupdate_state(self.read, {"status": "running"}, as_node=after)
                return await self.go(None, stop, resumed=True)
        return result

    async def named(self, answers: Any) -> dict[str, Any]:
        """A caller's answers by the ids of the questions that are open now; one of a moment ago is found on record.

        Raises:
            InputError: nothing is asked, or it is not clear which question is answered.
        """
        asked = open_questions((await self.team.aget_state(self.read)).interrupts)
        if not asked and self.store is not None and await self.store.holder(self.turn.thread) is not None:
            # Somebody else's answer to the same question is being worked on.
            before = answers_on_record(await self._asked_and_said())
            if before:
                last = next(reversed(before))
                return by_id(answers, {last: Asked(last, last, None)}, self.turn.thread)
        return by_id(answers, asked, self.turn.thread)

    def _desk(self) -> Desk:
        place = place_of(self.turn.thread, self.turn.turn)
        return Desk(self.scope.journal, place, self.turn.thread, self.scope.wall)

    async def _asked_and_said(self) -> Sequence[Row]:
        """The questions and answers of the turn that are on record."""
        return await self.scope.journal.rows(f"{place_of(self.turn.thread, self.turn.turn)}/?")

    async def roll_back(self, to: str) -> None:
        """Write that `to` and every step after it is to be redone: a forward write, never a fork."""
        redo = self.team.builder.redo
        if not redo:
            raise InputError(f"No turn of {self.team.name!r} is rolled back to a step. Give the thread another turn.")
        if to not in redo:
            raise UnknownName("step", to, redo)
        state = await self._state()
        done = state.get("deliverables", {})
        after = _entry(redo[to], state)
        if not done or after is None:
            before = [step.name for step in redo[to].before if left_by(step, state) is None]
            lacking = ", ".join(before) or "the run has delivered nothing"
            raise InputError(
                f"Run {self.turn.thread} cannot begin again at {to!r}: not delivered before it: {lacking}."
            )
        here = Here(self.scope, self.config, "")
        update = await roll_back(redo[to].steps, done, state, here)
        messages = state.get("messages", [])
        last = max((i for i, one in enumerate(messages) if isinstance(one, HumanMessage)), default=len(messages))
        update |= {"status": "running", "reason": None, "answer": ""}
        # The answer that is being redone is no part of the conversation.
        update["messages"] = [
            RemoveMessage(id=str(one.id)) for one in messages[last + 1 :] if isinstance(one, AIMessage)
        ]
        await self.team.aupdate_state(self.read, update, as_node=after)

    async def result(self, status: RunStatus | None, reason: Reason | None) -> Result:
        """The turn as it stands."""
        snapshot = await self.team.aget_state(self.read) if self.team.checkpointer else None
        state = (snapshot.values if snapshot else None) or {}
        if state.get("turn", 0) < self.turn.turn and self.store is not None:
            state = {}
        delivered = self.team.restored(state.get("deliverables", {}))
        builder = self.team.builder
        done = {name: delivered[name] for name in sorted(delivered, key=builder.place_of)}
        missing = [one.name for one in self.team.steps if one.name not in done]
        missing += [name for name, one in done.items() if one.required and not one.usable]
        usable = [name for name, one in done.items() if one.usable]
        usage = await self._used()
        record = {name: state[name] for name in sorted(builder.internal - INTERNAL) if state.get(name)}
        if self.resumed and (said := answers_on_record(await self._asked_and_said())):
            record["answers"] = said
        waiting = tuple(read_question(one) for one in snapshot.interrupts) if snapshot and status is None else ()
        ended: RunStatus = status or ("waiting" if waiting else state.get("status", "stopped"))
        ended = "stopped" if ended == "running" else ended
        return Result(
            run=self.turn.thread,
            workflow=self.turn.workflow,
            task=self.turn.task,
            turn=self.turn.turn,
            status=ended,
            reason=reason or state.get("reason"),
            answer=state.get("answer") or (done[usable[-1]].content if usable else ""),
            deliverables=done,
            usage=usage,
            missing=() if ended in ("waiting", "stopped") else tuple(sorted(missing, key=builder.place_of)),
            waiting=waiting,
            redo=self._redo(done, state) if ended in ("partial", "failed") else None,
            record=record,
            verdicts=state.get("verdicts", {}),
            simulated=self.scope.models.simulated and usage.usd == 0,
        )

    def _redo(self, done: Mapping[str, Any], state: Mapping[str, Any]) -> str | None:
        """The first step that failed, by itself and not by a person's word, and that can be done again."""
        for name, one in done.items():
            given_up = one.reason is not None and one.reason.kind == "person"
            way = self.team.builder.redo.get(name)
            if one.status == "failed" and not given_up and way is not None and _entry(way, state) is not None:
                return name
        return None

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
        return await self.store.spent(place_of(self.turn.thread, self.turn.turn))

    async def _end(self, status: str, reason: str | None) -> None:
        if self.store is not None:
            await self.store.end(self.turn, status, reason, await self._used())

    def _resume(self) -> str:
        """The command to go on with, enough as it stands."""
        from troupe.checkpoints import default_place, shown

        command = f"troupe resume {shlex.quote(self.turn.thread)}"
        if self.store is None or self.store.path == shown(default_place()):
            return command
        return f"{command} --db {shlex.quote(self.store.path)}"

    def _tell(self, event: Event) -> None:
        self.scope.tell(event)

    def _warn_of_unknown_prices(self) -> None:
        for spec in {one for one in self.scope.models.chosen.values() if isinstance(one, str)}:
            provider, _, name = spec.partition(":")
            if not is_simulated(spec) and not known(name, provider):
                text = f"No price is known for {spec}: the budget cannot be kept."
                self._tell(Notice(time.time(), "", text))


def planned(team: Team) -> tuple[Planned, ...]:
    """The steps of a team that are known of before they begin."""
    return tuple(Planned(one.name, one.agent.name, one.agent.tier, one.objective) for one in team.steps)


def _entry(way: Redo, state: Mapping[str, Any]) -> str | None:
    """The node from which a turn begins again; None where it never came that far."""
    left = [left_by(step, state) for step in way.before]
    return None if None in left else left[-1] if left else way.after


def _too_late(run: str, again: Mapping[str, str]) -> str:
    asked = "; ".join(f"{old} is now {new}" for old, new in again.items())
    return (
        f"The time to answer is over, and nothing was answered. Run {run} has asked again: {asked}. "
        f"Look again: troupe runs {run}"
    )


class _Stopped(Exception):
    """The run was asked to stop, and did."""
