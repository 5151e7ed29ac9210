"""The one seam that runs every call: cap, deadline, retries, who else may try, and the journal. It returns outcomes
and does not raise.

Only interrupts and our own cancellation pass. This is also the one place of the library that catches `Exception`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import tenacity
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel

from troupe.agents.breaker import FAILURES, Breakers
from troupe.agents.call import Call, current, perform
from troupe.agents.contracts import Ok, Outcome, Skipped
from troupe.agents.course import Course, failed
from troupe.agents.errors import CircuitOpen, LimitReached, failure, retry_after
from troupe.agents.events import Attempt, Recovered
from troupe.agents.journal import Row
from troupe.agents.race import unless_lost
from troupe.agents.slots import Slots
from troupe.agents.spans import attempt

LONGEST_WAIT = 600.0
"""Seconds; a server that asks for more is not waited for, unless the deadline leaves the time."""
_LOOK = 0.25


class Executor:
    """Runs calls in this process.

    Args:
        cap: calls at work at once.
        retries: further attempts after a failure that may pass.
        timeout: seconds per attempt.
        sleep: waits between attempts; tests give one that returns at once.
        breakers: the circuits of agents and providers; tests give some with a clock of their own.
    """

    def __init__(
        self,
        cap: int = 32,
        *,
        retries: int = 3,
        timeout: float = 120.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        breakers: Breakers | None = None,
    ) -> None:
        self.cap = cap
        self.retries = retries
        self.timeout = timeout
        self.breakers = breakers or Breakers()
        self._slots = Slots(cap)
        self._sleep = sleep
        self._backoff = tenacity.wait_exponential_jitter(multiplier=0.5, max=30, jitter=0.5)

    @property
    def spare(self) -> int:
        """How many calls could begin now without making anybody wait."""
        return self._slots.spare

    async def call(self, call: Call) -> Outcome:
        """Make one call, at most once: what the journal holds under `call.key` is returned as it is."""
        return await unless_lost(lambda: self._once(call), call.agent.composed)

    async def _once(self, call: Call) -> Outcome:
        scope = call.scope
        found = await scope.journal.reserve(call.key)
        if isinstance(found, Row):
            return Ok(call.load(found.received), found.usage, 0, found.agent)
        call.began = found
        await scope.may_start()
        started = scope.wall()
        outcome = await self._by_anyone(call)
        if isinstance(outcome, Ok):
            received = call.dump(outcome.value)
            seconds = scope.wall() - started
            row = Row(call.key, "outcome", call.path, outcome.by, None, received, outcome.usage, started, seconds)
            await scope.journal.record(row)
            if outcome.attempts > 1:
                round_, name = call.brief.round, call.agent.name
                call.emit(Recovered(call.scope.wall(), call.path, name, outcome.by, call.purpose, round_))
        return outcome

    async def _by_anyone(self, call: Call) -> Outcome:
        """What the agent gives, or, while it fails, whoever else can make the call."""
        course = Course(call, self.breakers)
        turn = await course.begun()
        while True:
            outcome = await self._outcome(turn, course)
            course.ended(turn, outcome)
            if not failed(outcome) or (following := await course.next()) is None:
                return course.result(outcome)
            turn = following
            await call.scope.may_start()

    async def _outcome(self, call: Call, course: Course) -> Outcome:
        token = current.set(call)
        try:
            return Ok(await self._tried(call, course), call.used, call.attempt, call.agent.name)
        except GraphBubbleUp:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Skipped("The call was cancelled from inside.", call.used)
        except Exception as error:  # noqa: BLE001 - a model's, a tool's or a user's failure is a value from here on
            await self._tell(call, error, None, put_off=call.left_alone and await course.anybody())
            return failure(error, call.used, call.attempt)
        finally:
            current.reset(token)

    async def _tried(self, call: Call, course: Course) -> BaseModel:
        """What the first attempt that succeeds gives; tenacity, which is not cheap, comes in only where one fails."""
        call.scope.began += 1
        call.begin(1)
        try:
            return await self._attempt(call)
        except Exception as error:  # noqa: BLE001 - raised again unless another attempt may help
            return await self._retried(call, error, course)

    async def _retried(self, call: Call, error: Exception, course: Course) -> BaseModel:
        async def tell(state: tenacity.RetryCallState) -> None:
            await self._tell(call, _error(state), state.upcoming_sleep)

        retries = self.retries if call.retries is None else call.retries
        retries = 0 if course.stands_in(call) else retries
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: failure(error).retryable),
            stop=lambda state: self._enough(call, state, retries),
            wait=self._wait,
            before_sleep=tell,
            reraise=True,
        )
        retrying.begin()
        state = tenacity.RetryCallState(retrying, None, (), {})
        while True:
            if isinstance(error, CircuitOpen) and await course.anybody():
                raise error  # whoever else could do it is turned to meanwhile
            if isinstance(error, CircuitOpen) and not error.wait:
                await self._look_on(call)
            else:
                state.set_exception((type(error), error, error.__traceback__))
                pause: Any = await retrying.iter(state)  # raises the error when enough is enough
                state.prepare_for_next_attempt()
                await self._sleep(pause)
            await call.scope.may_start()
            call.begin(state.attempt_number)
            try:
                return await self._attempt(call)
            except Exception as again:  # noqa: BLE001 - as above
                error = again

    async def _look_on(self, call: Call) -> None:
        """Wait a little while somebody else's probe is under way: it may take as long as any call."""
        if call.scope.remaining() == 0:
            raise LimitReached(call.scope.deadline_message())
        await self._sleep(_LOOK)
        await asyncio.sleep(0)  # whatever clock `sleep` has, the probe gets on

    async def _attempt(self, call: Call) -> BaseModel:
        """One attempt, unless a circuit that it would count in is open."""
        try:
            await call.look_up()
        except Exception:
            with attempt(call):  # a model that cannot be made is a failed attempt, too
                raise
        open_ = self.breakers.ask(call.circuits)
        call.left_alone = open_ is not None
        if open_ is not None:
            last = f" At last: {open_.cause}" if open_.cause else ""
            text = f"{open_.name} failed {FAILURES} times in a row and is left alone for now.{last}"
            raise CircuitOpen(text, open_.wait)
        try:
            with attempt(call):
                value = await self._timed(call)
        except BaseException as error:
            self._count(call, error)
            raise
        self.breakers.succeeded(call.circuits)
        return value

    def _count(self, call: Call, error: BaseException) -> None:
        if not isinstance(error, Exception) or isinstance(error, GraphBubbleUp):
            self.breakers.given_up(call.circuits)
            return
        failed = failure(error)
        if opened := self.breakers.failed(call.circuits, failed.kind, failed.cause):
            call.tell(f"{opened[0]} failed {FAILURES} times in a row: it is left alone for a while, then tried again.")

    async def _timed(self, call: Call) -> BaseModel:
        remaining = call.scope.remaining()
        if remaining == 0:
            raise LimitReached(call.scope.deadline_message())
        limit = asyncio.timeout(self.timeout)
        try:
            async with asyncio.timeout(remaining + call.agent.grace):
                # A graph takes no slot and has no timeout of its own: the calls inside it do.
                if not call.agent.holds_slot:
                    return await perform(call)
                async with call.scope.slots or nullcontext(), self._slots, limit:
                    if not call.scope.stopping:
                        return await perform(call)
            await call.scope.may_start()  # the run was asked to stop while this call waited for its slot
            return await perform(call)
        except TimeoutError as error:
            if call.scope.remaining() == 0:
                raise LimitReached(call.scope.deadline_message()) from None
            if str(error) or not limit.expired():  # a time limit of somebody else's
                raise
            raise TimeoutError(f"no answer within {self.timeout:g} s; TROUPE_TIMEOUT sets this limit") from None

    def _enough(self, call: Call, state: tenacity.RetryCallState, retries: int) -> bool:
        failed = failure(_error(state))
        # A hang costs its whole timeout each time: one more try tells a hiccup from a dead server.
        most = min(retries, 1) if failed.kind == "timeout" else retries
        if call.left_alone:
            most = max(retries, 1)  # to be asked at all is no further attempt
        if state.attempt_number > most or self._wait(state) >= call.scope.patience(LONGEST_WAIT):
            return True
        # What a circuit kept from being asked took none of the run's further attempts.
        return not call.left_alone and not call.scope.may_retry()

    def _wait(self, state: tenacity.RetryCallState) -> float:
        # A server that asks for no wait at all, or for one that is over, is not to be hammered for that.
        return retry_after(_error(state)) or self._backoff(state)

    async def _tell(self, call: Call, error: BaseException, wait: float | None, put_off: bool = False) -> None:
        failed = failure(error)
        call.emit(
            Attempt(
                at=call.scope.wall(),
                path=call.path,
                agent=call.agent.name,
                purpose=call.purpose,
                number=call.attempt,
                failure=failed.kind,
                cause=failed.cause,
                wait=wait,
                round=call.brief.round,
                started=call.started,
            )
        )
        # Who was left alone was not asked, and so did not fail, unless that is the end of it.
        if not call.left_alone or (wait is None and not put_off):
            await call.log(error, failed, "" if wait is None else f"again in {wait:.1f} s")


def _error(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome is not None else None
    return error or RuntimeError("an attempt ended without an outcome")


@lru_cache(maxsize=64)
def shared_executor(cap: int, retries: int, timeout: float) -> Executor:
    """The Executor that every run of this process with these settings shares, and with it the cap."""
    return Executor(cap, retries=retries, timeout=timeout)
