"""The course of one call: who was turned to, in which order, why each failed, and who is worth turning to next."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

from troupe.agents.breaker import UNWELL, Breakers
from troupe.agents.call import Call
from troupe.agents.contracts import NO_USAGE, Deliverable, Failed, FailureKind, How, Ok, Outcome, Skipped, Tried
from troupe.agents.events import Rerouted
from troupe.agents.journal import reliability
from troupe.agents.text import shorten

# What another agent on the same model would meet again.
OF_THE_MODEL: frozenset[FailureKind] = frozenset({"auth", "not_found", "bad_request", "context_length"})
# What nobody can help: no money, no time, no journal.
HOPELESS: frozenset[FailureKind] = frozenset({"limit", "journal"})

_CAUSE = 150  # tokens of it that are kept with what was tried


class Course:
    """Whoever makes a call, one after another.

    Args:
        call: as it was asked for; its `others` are looked up once it has failed.
        breakers: who is to be left alone.
    """

    def __init__(self, call: Call, breakers: Breakers) -> None:
        self._call = call
        self._breakers = breakers
        self._tried: list[Tried] = []
        self._first: Outcome | None = None
        self._usage = NO_USAGE
        self._attempts = 0
        self._served: set[str] = set()
        self._refused: set[str] = set()
        self._unwell: set[str] = set()
        self._met: set[str] = set()
        self._left: Iterator[tuple[How, Call]] | None = None
        self._how: How = "first"

    async def turn(self, how: How, call: Call) -> Call:
        """This one's turn."""
        self._how = how
        with suppress(Exception):  # a model that cannot be made is the failure of this one's first attempt
            await call.look_up()
        return call

    async def resumed(self) -> Call | None:
        """Whoever had stood in when an earlier process died: what they had answered by then is not lost."""
        if self._call.others is None or await self._call.recorded_any():
            return None
        before: list[tuple[How, Call]] = [("first", self._call)]
        for how, other in await self._others():
            if await other.recorded_any():
                for earlier, one in before:
                    await self._recall(earlier, one)
                self._met = {one.key for _, one in [*before, (how, other)]}
                return await self.turn(how, other)
            before.append((how, other))
        return None

    async def _recall(self, how: How, call: Call) -> None:
        """How somebody failed whose turn it was before the process died, if it was."""
        inner = f"{call.key}/~"
        rows = [row for row in await call.scope.journal.failures(f"{call.key}/") if not row.key.startswith(inner)]
        if rows:
            cause = shorten(str(rows[-1].received["message"]), _CAUSE)
            self._tried.append(Tried(how=how, agent=call.agent.name, kind=rows[-1].failure, cause=cause))

    def stands_in(self, call: Call) -> bool:
        """Whether this one is tried once only, on a model that has failed for others as it would for them."""
        return call is not self._call and bool(call.served) and call.served in self._unwell

    def ended(self, call: Call, outcome: Outcome) -> None:
        """How this one's turn ended."""
        kind, cause = _why(outcome)
        cause = shorten(cause, _CAUSE)
        self._tried.append(Tried(how=self._how, agent=call.agent.name, kind=kind, cause=cause, usage=outcome.usage))
        self._first = self._first or outcome
        self._served.add(call.served)
        if isinstance(outcome, Failed):
            if outcome.kind in OF_THE_MODEL:
                self._refused.add(call.served)
            if outcome.kind in UNWELL:
                self._unwell.add(call.served)
        self._usage = self._usage + outcome.usage
        self._attempts += 0 if isinstance(outcome, Skipped) else outcome.attempts

    async def _others(self) -> Iterator[tuple[How, Call]]:
        """Everybody else in order, each with a key of their own."""
        assert self._call.others is not None  # noqa: S101 - asked before
        scope, seen = self._call.scope, Counter[str]()
        rates = reliability(await scope.journal.tally()) if scope.durable else {}

        def found() -> Iterator[tuple[How, Call]]:
            for how, agent in self._call.others(rates) if self._call.others else ():
                name = f"{how}.{quote(agent.name, safe='')}"
                seen[name] += 1  # one agent may be tried on several models
                yield how, self._call.handed(agent, name if seen[name] == 1 else f"{name}.{seen[name]}")

        return found()

    async def next(self) -> Call | None:
        """Who is turned to now; None if nobody is left, or nobody could help."""
        last = self._tried[-1]
        if last.kind in HOPELESS or self._call.others is None:
            return None
        if self._left is None:
            self._left = await self._others()
        for how, call in self._left:
            if call.key in self._met:
                continue
            await self.turn(how, call)
            if self._pointless(call):
                continue
            self._call.emit(Rerouted(time.time(), self._call.path, last.agent, call.agent.name, how, last.cause))
            return call
        return None

    def _pointless(self, call: Call) -> bool:
        """Whether this one would meet what others have met, or is to be left alone."""
        met = self._served if self._how == "model" else self._refused
        return call.served in met or self._breakers.is_open(call.circuits)

    def result(self, outcome: Outcome) -> Outcome:
        """The call's outcome: of whoever delivered, or the first failure, as what others met is told besides."""
        if len(self._tried) < 2:
            return outcome
        tried = tuple(self._tried)
        if isinstance(outcome, Skipped):
            return Skipped(outcome.reason, self._usage)
        first = self._first if failed(outcome) and self._first is not None else outcome
        if isinstance(first, Ok):
            value = first.value
            if isinstance(value, Deliverable):
                value = value.but(tried=tried)
            return Ok(value, self._usage, self._attempts, tried[-1].agent if outcome is first else tried[0].agent)
        assert isinstance(first, Failed)  # noqa: S101 - what is skipped ends the course
        names = ", ".join(dict.fromkeys(one.agent for one in tried[1:]))
        cause = f"{first.cause} Nor could others do it: {names}."
        return Failed(first.kind, cause, first.retryable, self._usage, self._attempts, tried)


def failed(outcome: Outcome) -> bool:
    """Whether nothing came of it that anybody can build on, a team's failure included."""
    return _why(outcome)[0] is not None


def _why(outcome: Outcome) -> tuple[FailureKind | None, str]:
    if isinstance(outcome, Failed):
        return outcome.kind, outcome.cause
    value = outcome.value if isinstance(outcome, Ok) else None
    if isinstance(value, Deliverable) and value.status == "failed":
        reason = value.reason
        return ("limit" if reason is not None and reason.kind == "limit" else "code"), reason.message if reason else ""
    return None, ""
