"""One call of an agent, seen from inside: its models, its place in the run, and the record of what it asks for.

An agent never calls a model by itself: `await call.request(...)` looks the request up in the journal, checks the
budget, makes it, counts what it used and records it. The call is found with `current_call()`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, message_to_dict, messages_from_dict
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.contracts import NO_USAGE, Brief, Deliverable, Usage
from troupe.agents.errors import EmptyAnswer, Refused, TroupeError, Unreadable, describe
from troupe.agents.journal import Row
from troupe.agents.money.prices import usage_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from troupe.agents.events import Event
    from troupe.agents.scope import RunScope

T = TypeVar("T")
# What only a client's own code raises: whoever else raises such an error has a mistake of their own.
_CLIENTS = {"openai", "langchain_openai", "langchain_core"}
Purpose = Literal["work", "decide", "review", "undo"]
"""`review` is a decision about somebody's deliverable; `undo` takes side effects back when a rollback passes over."""


@dataclass(slots=True, eq=False)
class Call:
    """A call under way.

    Attributes:
        key: of the journal.
        path: the step, `outer/inner` when nested.
        schema: what a decision must be an instance of, or what work must give besides text.
        config: LangChain's, carried into everything the agent runs.
        began: whether an earlier process began this call, so that its requests may be recorded.
        attempt: 1 for the first.
        rung: of the structured-output ladder, 0 for the first.
    """

    key: str
    path: str
    agent: Agent
    brief: Brief
    purpose: Purpose
    schema: type[BaseModel] | None
    scope: RunScope
    config: RunnableConfig
    emit: Callable[[Event], None]
    began: bool = False
    attempt: int = 1
    rung: int = 0
    usage: Usage = NO_USAGE
    wasted: Usage = NO_USAGE
    asking: tuple[str, Any, float] | None = None

    @property
    def used(self) -> Usage:
        """What the call used so far, answers that were of no use included."""
        return self.usage + self.wasted

    def begin(self, attempt: int) -> None:
        """Start an attempt: requests of earlier attempts that were answered are found in the journal again."""
        self.attempt = attempt
        self.began = self.began or attempt > 1
        self.usage = NO_USAGE
        self.asking = None

    async def model(self, tier: Any, own: Any = None) -> BaseChatModel:
        """The chat model that serves this call."""
        return await self.scope.models.get(tier, own)

    async def request(
        self,
        number: int,
        model: Any,
        messages: Sequence[BaseMessage],
        send: Callable[[], Awaitable[AIMessage]],
        sent: dict[str, Any] | None = None,
    ) -> AIMessage:
        """The model's reply to request `number` of this call: recorded, or made now, paid for and recorded.

        Raises:
            LimitReached: the run's budget is used up.
            EmptyAnswer: the reply holds neither text nor a tool call.
            Refused: the model declines.
            Unreadable: what came back is no reply at all.
        """
        seal = _seal(messages, sent)
        if (row := await self._recorded(str(number), seal)) is not None:
            self.usage = self.usage + row.usage
            return _message(row.received)
        self.scope.check_budget()
        note: dict[str, Any] = {"seal": seal}
        if self.scope.durable:
            note |= {"messages": [message_to_dict(one) for one in messages], **(sent or {})}
        started, before = time.time(), time.perf_counter()
        self.asking = f"{self.key}/{number}!{self.attempt}", note, started
        with self.scope.at_work():
            reply = await _legible(send)
            usage = usage_of(reply, messages, model, time.perf_counter() - before)
            self.scope.spend(usage)
            received = message_to_dict(reply) if self.scope.durable else reply
            if not reply.text.strip() and not reply.tool_calls:
                self.wasted = self.wasted + usage
                await self._record(f"{number}!{self.attempt}", "failure", note, received, usage, started)
                self.asking = None
                if refusal := reply.additional_kwargs.get("refusal"):
                    raise Refused(f"The model of {self.agent.name} declined to answer: {refusal}")
                if reply.response_metadata.get("finish_reason") == "content_filter":
                    raise Refused(f"The provider's content filter stopped the answer of {self.agent.name}.")
                raise EmptyAnswer(f"{self.agent.name} got an empty answer from its model; try another model.")
            self.usage = self.usage + usage
            await self._record(str(number), "request", note, received, usage, started)
        self.asking = None
        return reply

    async def count(
        self, messages: Sequence[BaseMessage], reply: AIMessage, sent: dict[str, Any], started: float
    ) -> None:
        """Write a request that somebody else made into the books."""
        usage = usage_of(reply, messages, None, time.time() - started)
        self.scope.spend(usage)
        self.usage = self.usage + usage
        number = f"+{self.usage.calls}!{self.attempt}"  # never looked up again: whoever made it may not make it alike
        received = message_to_dict(reply) if self.scope.durable else reply
        await self._record(number, "request", sent, received, usage, started)

    async def tool(
        self,
        number: str,
        name: str,
        args: Any,
        run: Callable[[], Awaitable[T]],
        dump: Callable[[T], Any],
        load: Callable[[Any], T],
    ) -> T:
        """The result of a tool call, recorded or made now; a result that `dump` gives as None is not recorded."""
        sent = {"seal": _digest(f"{name} {args!r}"), "tool": name, "args": args}
        if (row := await self._recorded(number, sent["seal"])) is not None:
            return load(row.received)
        started = time.time()
        self.asking = f"{self.key}/{number}!{self.attempt}", sent, started
        with self.scope.at_work():
            result = await run()
            if (received := dump(result)) is not None:
                await self._record(number, "tool", sent, received, NO_USAGE, started)
        self.asking = None
        return result

    def dump(self, value: BaseModel) -> Any:
        """The call's value as the journal keeps it."""
        return value.model_dump(mode="json") if self.scope.durable else value

    def load(self, received: Any) -> BaseModel:
        """The call's value back from the journal."""
        if isinstance(received, BaseModel):
            return received
        if self.purpose == "work" or self.schema is None:
            return restored(Deliverable.model_validate(received), self.schema)
        return self.schema.model_validate(received)

    async def _recorded(self, number: str, seal: str) -> Row | None:
        if not self.began:
            return None
        row = await self.scope.journal.find(f"{self.key}/{number}")
        return row if row is not None and row.sent.get("seal") == seal else None

    async def _record(self, number: str, kind: Any, sent: Any, received: Any, usage: Usage, started: float) -> None:
        key = f"{self.key}/{number}"
        seconds = time.time() - started
        await self.scope.journal.record(
            Row(key, kind, self.path, self.agent.name, sent, received, usage, started, seconds)
        )


current: ContextVar[Call | None] = ContextVar("troupe_call", default=None)


def current_call() -> Call:
    """The call that this code runs in.

    Raises:
        LookupError: the code does not run inside a call.
    """
    if (call := current.get()) is None:
        raise LookupError("There is no call under way here: agents are called by a run's Executor.")
    return call


async def perform(call: Call) -> BaseModel:
    """What the agent is asked for: work, or a decision."""
    if call.purpose in ("work", "undo"):
        done = await call.agent.work(call.brief, call.schema)
        return done.but(step=call.brief.step, agent=done.agent or call.agent.name)
    assert call.schema is not None  # noqa: S101 - whoever makes a decision call names its schema
    return await call.agent.decide(call.brief, call.schema)


def restored(done: Deliverable, schema: type[BaseModel] | None) -> Deliverable:
    """A deliverable whose `data` is an instance of `schema` again after it was stored as plain JSON."""
    if schema is None or done.data is None or isinstance(done.data, schema):
        return done
    return done.but(data=schema.model_validate(done.data))


async def _legible(send: Callable[[], Awaitable[AIMessage]]) -> AIMessage:
    """The reply; where a provider's client stumbles over a page or over other JSON, an error that says so."""
    try:
        return await send()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        module = str(place.tb_frame.f_globals.get("__name__", "")) if place is not None else ""
        if isinstance(error, TroupeError) or module.partition(".")[0] not in _CLIENTS:
            raise
        raise Unreadable(
            f"The server's answer could not be read ({describe(error)}). Check that the base URL is that of an "
            "OpenAI-compatible API, often ending in /v1."
        ) from error


def _message(received: Any) -> AIMessage:
    message = received if isinstance(received, BaseMessage) else messages_from_dict([received])[0]
    if not isinstance(message, AIMessage):
        raise ValueError(f"The journal holds a {type(message).__name__} where a model's reply belongs.")
    return message


def _seal(messages: Sequence[BaseMessage], sent: dict[str, Any] | None) -> str:
    """What makes two requests the same: roles, texts and tool calls; message ids differ from run to run."""
    parts = [f"{one.type}:{one.text}:{_calls(one)}" for one in messages]
    return _digest("\n".join(parts) + (json.dumps(sent, sort_keys=True, default=str) if sent else ""))


def _calls(message: BaseMessage) -> str:
    calls = message.tool_calls if isinstance(message, AIMessage) else ()
    return str([(one["name"], one["args"]) for one in calls]) if calls else ""


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
