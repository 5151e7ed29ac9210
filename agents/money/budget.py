"""What a turn may still spend. An estimate is reserved before each request, so that many at once keep the bounds.

A request is made when what is spent, what is reserved and what it is likely to cost fit into the limits together. One
that does not fit waits as long as others are under way, because they may cost less than was reserved for them; what
does not fit when nothing else is under way is refused.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from troupe.agents.contracts import NO_USAGE, Usage
from troupe.agents.errors import LimitReached
from troupe.agents.limits import Limits, raising
from troupe.agents.money.prices import rates, sold_as
from troupe.agents.text import tokens

GUESS = 4_096
"""Output tokens of a reply, as long as nothing is known and others are under way."""
_ROUNDING = 1e-9
_ROOM = 10_000_000
"""Tokens that are more than all requests under way at once can have."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens, and USD as far as prices are known."""

    tokens: int = 0
    usd: float = 0.0


_NOTHING = Cost()


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests whose replies are alike: of one model, for one purpose."""

    model: str
    purpose: str


@dataclass(slots=True)
class _Seen:
    """What replies of one kind came to."""

    replies: int = 0
    output: int = 0
    usd: float = 0.0


class Hold:
    """What is reserved for one request: settled with what it used, or given back.

    Attributes:
        cost: the estimate.
    """

    def __init__(self, purse: Purse, kind: Kind, cost: Cost) -> None:
        self._purse = purse
        self._kind = kind
        self.cost = cost
        self._open = True

    def settle(self, usage: Usage) -> None:
        """Write what the request used into the books, in place of what was reserved."""
        self._purse.spend(usage, self._kind)
        self.release()

    def release(self) -> None:
        """Give back what is reserved; a second time nothing happens."""
        if self._open:
            self._open = False
            self._purse._release(self.cost)


class Purse:
    """The books of one turn.

    Args:
        limits: of calls, tokens and USD.
        budget: USD, in place of the limit's.
        free: whether nothing costs money, because no real model is called.
    """

    def __init__(self, limits: Limits, budget: float | None = None, free: bool = False) -> None:
        self.limits = limits
        self.budget = budget
        self.spent: Usage = NO_USAGE
        self.paid = 0.0
        """USD as far as prices are known: one that is not makes `spent.usd` None."""
        self.held = Cost()
        self._free = free
        self._holds = 0
        self._seen: dict[Kind | str, _Seen] = {}
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @property
    def free(self) -> bool:
        """Whether nothing was paid for: a step may bring a real model of its own into a run without one."""
        return self._free and self.spent.usd == 0

    def spend(self, usage: Usage, kind: Kind | None = None) -> None:
        """Write a request into the books."""
        with self._lock:
            self.spent = self.spent + usage
            self.paid += usage.usd or 0.0
            for one in () if kind is None else (kind, kind.model):
                seen = self._seen.setdefault(one, _Seen())
                seen.replies += 1
                seen.output += usage.tokens.output
                seen.usd += usage.usd or 0.0

    def check(self) -> None:
        """Refuse a request when something is used up.

        Raises:
            LimitReached: says what, and how to raise it.
        """
        if (why := self._refusal(Cost())) is not None:
            raise LimitReached(why)

    async def hold(self, kind: Kind, model: Any, messages: Sequence[BaseMessage]) -> Hold:
        """Reserve what a request is likely to cost.

        Args:
            kind: of the request; the mean reply of its kind is the estimate.
            model: that is asked.
            messages: that it is sent.

        Raises:
            LimitReached: it does not fit, and nothing else is under way that could leave something over.
        """
        while True:
            with self._lock:
                if self._roomy():
                    self._holds += 1
                    return Hold(self, kind, _NOTHING)
                likely, least = self._estimate(kind, model, messages)
                alone = not self._holds
                why = self._refusal(least if alone else likely)
                if why is None:
                    self._holds += 1
                    self.held = Cost(self.held.tokens + likely.tokens, self.held.usd + likely.usd)
                    return Hold(self, kind, likely)
                if alone:
                    raise LimitReached(why)
                loop = asyncio.get_running_loop()
                released: asyncio.Future[None] = loop.create_future()
                self._waiting.append((loop, released))
            await released

    def _roomy(self) -> bool:
        """Whether no request could come near any limit, so that nothing need be estimated."""
        left = self.limits.tokens - self.spent.tokens.total - self.held.tokens
        return self.free and left > _ROOM and self.spent.calls + self._holds < self.limits.calls

    def _release(self, cost: Cost) -> None:
        with self._lock:
            self._holds -= 1
            if cost is _NOTHING and not self._waiting:
                return
            # Sums of floats leave a rest: nothing under way is nothing reserved.
            left = Cost(self.held.tokens - cost.tokens, self.held.usd - cost.usd)
            self.held = left if self._holds else Cost()
            waiting, self._waiting = self._waiting, []
        for loop, released in waiting:
            try:
                loop.call_soon_threadsafe(_wake, released)
            except RuntimeError:  # its loop is closed, and so is whoever waited
                continue

    def _estimate(self, kind: Kind, model: Any, messages: Sequence[BaseMessage]) -> tuple[Cost, Cost]:
        """What a request is likely to cost, and what it costs at least as far as that is known."""
        given = sum(tokens(one.text) for one in messages)
        seen, alike = self._seen.get(kind), self._seen.get(kind.model)
        known = seen or alike
        if known is not None:
            output = known.output // known.replies
        else:
            most = getattr(model, "max_tokens", None)
            output = most if isinstance(most, int) and most > 0 else GUESS
        likely = Cost(given + output, self._usd(model, given, output, known))
        return likely, likely if seen is not None else Cost(given, self._usd(model, given, 0, None))

    def _usd(self, model: Any, given: int, output: int, seen: _Seen | None) -> float:
        if self.free:
            return 0.0
        known = rates(*sold_as(model))
        if known is not None:
            return given * known[0] + output * known[1]
        return seen.usd / seen.replies if seen is not None else 0.0

    def _refusal(self, cost: Cost) -> str | None:
        """Why a request that costs so much cannot be made, if so."""
        limits, spent = self.limits, self.spent
        if spent.calls + self._holds >= limits.calls:
            return f"The limit of {limits.calls:,} model requests is reached (limits.calls). {raising('calls')}"
        used = spent.tokens.total + self.held.tokens
        if spent.tokens.total >= limits.tokens or used + cost.tokens > limits.tokens:
            return (
                f"The limit of {limits.tokens:,} tokens does not cover another request: {spent.tokens.total:,} are "
                f"used (limits.tokens). {raising('tokens')}"
            )
        return None if self.free else self._unpayable(cost)

    def _unpayable(self, cost: Cost) -> str | None:
        most = self.limits.usd if self.budget is None else self.budget
        if self.paid < most and self.paid + self.held.usd + cost.usd <= most * (1 + _ROUNDING):
            return None
        name, how = "budget", "Raise it with budget= (--budget)."
        if self.budget is None:
            name, how = "limit", f"(limits.usd.) {raising('usd')} Or give budget= (--budget)."
        if self.paid >= most:
            return f"The {name} of ${most:g} is used up (${self.paid:.4g} spent). {how}"
        return (
            f"The {name} of ${most:g} does not cover another request: ${self.paid:.4g} spent, about ${cost.usd:.4g} "
            f"needed. {how}"
        )


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
