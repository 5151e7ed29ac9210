"""The course of one call: who was turned to, in which order, why each failed, and who is worth turning to next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote, unquote

from troupe.agents.breaker import UNWELL, Breakers
from troupe.agents.call import Call
from troupe.agents.contracts import NO_USAGE, Deliverable, Failed, FailureKind, How, Ok, Outcome, Skipped, Tried, Usage
from troupe.agents.events import Rerouted
from troupe.agents.text import shorten

# What another agent on the same model would meet again.
OF_THE_MODEL: frozenset[FailureKind] = frozenset({"auth", "not_found", "bad_request", "context_length"})
# What the same agent would meet again on that model in a team, in parts or with guidance, too.
SHUT: frozenset[FailureKind] = frozenset({"auth", "not_found"})
AROUND: frozenset[How] = frozenset({"pattern", "split", "guide"})
# What nobody can help: no money, no time, no journal.
HOPELESS: frozenset[FailureKind] = frozenset({"limit", "journal"})

_CAUSE = 150  # tokens of it that are kept with what was tried
_CHOSEN = 10.0  # weighs more than any record of those whom nobody has turned to yet


class Course:
    """Whoever makes a call, one after another.

    Args:
        call: as it was asked for; its `others` are looked up once it has failed, or is left alone.
        breakers: who is to be left alone.
    """

    def __init__(self, call: Call, breakers: Breakers) -> None:
        self._call = call
        self._breakers = breakers
        self._tried: list[Tried] = []
        self._first: tuple[str, Outcome] | None = None
        self._usage = NO_USAGE
        self._attempts = 0
        self._served: set[str] = set()
        self._refused: set[str] = set()
        self._shut: set[str] = set()
        self._unwell: set[str] = set()
        self._met: set[str] = set()
        self._left: Iterator[tuple[How, Call]] | None = None
        self._following: tuple[How, Call] | None = None
        self._put_off: tuple[How, Call] | None = None
        self._how: How = "first"

    async def begun(self) -> Call:
        """Whose turn is the first; after a crash that of whoever had stood in by then, as their answers are kept."""
        if self._call.began and (resumed := await self._resumed()) is not None:
            return resumed
        return await self._turn("first", self._call)

    async def _turn(self, how: How, call: Call) -> Call:
        self._how = how
        with suppress(Exception):  # a model that cannot be made is the failure of this one's first attempt
            await call.look_up()
        return call

    async def _resumed(self) -> Call | None:
        if self._call.others is None:
            return None
        last, before = 0, list[tuple[How, Call]]([("first", self._call)])
        for how, other in await self._others():
            if await other.recorded_any():
                last = len(before)
            before.append((how, other))
        if not last:
            return None
        for how, one in before[:last]:
            await self._recall(how, one)
        self._met = {one.key for _, one in before[: last + 1]}
        return await self._turn(*before[last])

    async def _recall(self, how: How, call: Call) -> None:
        """How somebody failed whose turn it was before the process died, if it was."""
        rows = await call.recorded()
        failures = [row for row in rows if row.kind == "failure"]
        if failures:
            last = failures[-1]
            cause = shorten(call.read(last.key, lambda said: str(said["message"]), last.received), _CAUSE)
            usage = sum((row.usage for row in rows if row.kind in ("request", "failure")), NO_USAGE)
            self._usage = self._usage + usage
            self._tried.append(Tried(how=how, agent=call.agent.name, kind=last.failure, cause=cause, usage=usage))

    def stands_in(self, call: Call) -> bool:
        """Whether this one is tried once only, on a model that has failed for others as it would for them."""
        return call is not self._call and bool(call.served) and call.served in self._unwell

    def ended(self, call: Call, outcome: Outcome) -> None:
        """How this one's turn ended."""
        kind, cause = _why(outcome)
        cause, usage = shorten(cause, _CAUSE), _used(outcome)
        self._tried.append(Tried(how=self._how, agent=call.agent.name, kind=kind, cause=cause, usage=usage))
        self._usage = self._usage + usage
        self._attempts += 0 if isinstance(outcome, Skipped) else outcome.attempts
        if call.left_alone and self._following is not None and self._put_off is None:
            self._put_off = self._how, call
            return
        if self._first is None or call is self._call:
            self._first = call.agent.name, outcome
        self._served.add(call.served)
        if isinstance(outcome, Failed):
            if outcome.kind in OF_THE_MODEL:
                self._refused.add(call.served)
            if outcome.kind in SHUT:
                self._shut.add(call.served)
            if outcome.kind in UNWELL:
                self._unwell.add(call.served)

    async def _others(self) -> Iterator[tuple[How, Call]]:
        """Everybody else in order, each with a key of their own."""
        assert self._call.others is not None  # noqa: S101 - asked before
        seen, found = Counter[str](), self._call.others(await self._rates())

        def each() -> Iterator[tuple[How, Call]]:
            for how, agent in found:
                name = f"{how}.{quote(agent.name, safe='')}"
                seen[name] += 1  # one agent may be tried on several models
                yield how, self._call.handed(agent, name if seen[name] == 1 else f"{name}.{seen[name]}")

        return each()

    async def _rates(self) -> dict[str, float]:
        """How reliable everybody has been; whoever was chosen before the process died is chosen again."""
        scope, prefix = self._call.scope, f"{self._call.key}/~skills."
        chosen = await scope.journal.rows(prefix) if scope.durable and self._call.began else ()
        names = (row.key.removeprefix(prefix).partition("/")[0] for row in chosen)
        return await scope.rates() | {unquote(name): _CHOSEN for name in names}

    async def anybody(self) -> bool:
        """Whether somebody else could make the call now."""
        if self._following is not None or self._call.others is None:
            return self._following is not None
        if self._left is None:
            self._left = await self._others()
        for how, call in self._left:
            if call.key in self._met:
                continue
            with suppress(Exception):  # as above
                await call.look_up()
            if not self._pointless(how, call):
                self._following = how, call
                return True
        return False

    async def next(self) -> Call | None:
        """Who is turned to now; None if nobody is left, or nobody could help."""
        last = self._tried[-1]
        if last.kind in HOPELESS:
            return None
        if await self.anybody():
            turn, self._following = self._following, None
        else:  # who was left alone while others could be turned to
            turn, self._put_off = self._put_off, None
        if turn is None:
            return None
        how, call = turn
        self._call.emit(
            Rerouted(self._call.scope.wall(), self._call.path, last.agent, call.agent.name, how, last.cause)
        )
        return await self._turn(how, call)

    def _pointless(self, how: How, call: Call) -> bool:
        """Whether this one would meet what others have met, or is to be left alone."""
        if how in AROUND:  # the agent itself works there
            return self._call.served in self._shut
        met = self._served if how == "model" else self._refused
        return call.served in met or self._breakers.is_open(call.circuits)

    def result(self, outcome: Outcome) -> Outcome:
        """The call's outcome: of whoever delivered, or the first failure, as what others met is told besides."""
        if len(self._tried) < 2:
            return outcome
        tried = tuple(self._tried)
        if isinstance(outcome, Skipped):
            return Skipped(outcome.reason, self._usage)
        by, told = (tried[-1].agent, outcome) if self._first is None or not failed(outcome) else self._first
        if isinstance(told, Ok):
            value = told.value
            if isinstance(value, Deliverable):
                # What a team that failed had used is among what they all used.
                value = value.but(tried=tried, usage=NO_USAGE if failed(told) else value.usage)
            return Ok(value, self._usage, self._attempts, by)
        assert isinstance(told, Failed)  # noqa: S101 - what is skipped ends the course
        others = ", ".join(dict.fromkeys(_named(one) for one in tried[1:] if one.how != "first"))
        end = "" if told.cause.endswith((".", "!", "?")) else "."
        cause = f"{told.cause}{end} Nor could it be done by: {others}."
        return Failed(told.kind, cause, told.retryable, self._usage, self._attempts, tried)


def _named(one: Tried) -> str:
    return f"{one.agent} on another model" if one.how == "model" else one.agent


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


def _used(outcome: Outcome) -> Usage:
    """What it used; that of a team's steps is told by what the team delivered, and lost with it where it failed."""
    value = outcome.value if isinstance(outcome, Ok) and failed(outcome) else None
    return outcome.usage + value.usage if isinstance(value, Deliverable) else outcome.usage
