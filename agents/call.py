"""One call of an agent, seen from inside: its models, its place in the run, and the record of what it asks for.

An agent never calls a model by itself: `await call.request(...)` looks the request up in the journal, checks the
budget, makes it, counts what it used and records it. The call is found with `current_call()`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from zlib import crc32

from langchain_core.messages import AIMessage, BaseMessage, message_to_dict, messages_from_dict
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.cache import HIT
from troupe.agents.contracts import NO_USAGE, Brief, Deliverable, Failed, How, Reason, Usage
from troupe.agents.cutting import MARK, TooLong, cut_reply, shortened
from troupe.agents.errors import (
    Blocked,
    CallError,
    EmptyAnswer,
    LimitReached,
    Refused,
    StoreError,
    TroupeError,
    Unreadable,
    describe,
    failure,
)
from troupe.agents.events import Notice, Requested
from troupe.agents.journal import Row
from troupe.agents.limits import cut, raising, size
from troupe.agents.models import served_by
from troupe.agents.money.budget import Kind
from troupe.agents.money.prices import usage_of
from troupe.agents.spans import chat, tool
from troupe.agents.text import printable, redact

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from troupe.agents.events import Event
    from troupe.agents.money.budget import Hold
    from troupe.agents.scope import RunScope

T = TypeVar("T")
# Answers that came, and are of no use: one from a cache must not come again.
_UNFIT = {"invalid_output", "content_filter"}
_EXCERPT = 200  # characters of a task, and of an objective, that the log of errors quotes
# What only a client's own code raises: whoever else raises such an error has a mistake of their own.
_CLIENTS = {"openai", "langchain_openai", "langchain_core"}
Purpose = Literal["work", "decide", "review", "undo"]
"""`review` is a decision about somebody's deliverable; `undo` takes side effects back when a rollback passes over."""


Others = Callable[[Mapping[str, float]], Iterable[tuple[How, Agent]]]
"""Who else, in order, by how reliable everybody has been."""


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
    logged: BaseException | None = None
    others: Others | None = None
    """Who else can make this call when it fails; looked up only then."""
    provider: str = ""
    """Who serves the model of this call, where it has one."""
    served: str = ""
    """The model and who serves it, or what else the agent is."""
    streams: bool = False
    """Whether its model always sends its replies in pieces."""
    cut: int = 0
    """Bytes after which a reply was cut off, if one was."""
    found: dict[int, str] = field(default_factory=dict)
    """By request, where in the cache a reply was found that this call was given."""
    fresh: dict[int, tuple[str, AIMessage]] = field(default_factory=dict)
    """By request, replies to be kept in the cache once the call has brought something that fits, and where."""
    depth: int = 1
    """How many calls lie inside one another here."""
    retries: int | None = None
    """Further attempts after a failure that may pass; by default the Executor's."""
    left_alone: bool = False
    """Whether its last attempt was not made, as a circuit is open."""
    started: float = 0.0
    """When its last attempt began, in seconds since the epoch."""
    paid: Usage = NO_USAGE
    """What its last attempt was charged for; what an earlier one had asked for is not asked again."""

    def handed(self, agent: Agent, name: str) -> Call:
        """The same call of somebody else; what it asks for is recorded under this one's key, and `name`."""
        inside = self.config.get("configurable", {})
        # Graphs that it runs keep their checkpoints apart from those of whoever failed; LangGraph ignores numbers.
        place = f"{inside.get('checkpoint_ns', '')}|{crc32(name.encode())}"
        return replace(
            self,
            key=f"{self.key}/~{name}",
            agent=agent,
            config={**self.config, "configurable": {**inside, "checkpoint_ns": place}},
            others=None,
            attempt=1,
            rung=0,
            usage=NO_USAGE,
            wasted=NO_USAGE,
            asking=None,
            logged=None,
            provider="",
            served="",
            streams=False,
            cut=0,
            found={},
            fresh={},
            left_alone=False,
        )

    async def recorded(self) -> list[Row]:
        """What the journal has of this call, without what others asked for in its place."""
        theirs = f"{self.key}/~"
        return [row for row in await self.scope.journal.rows(f"{self.key}/") if not row.key.startswith(theirs)]

    async def recorded_any(self) -> bool:
        """Whether anything that this call asked for has an answer in the journal."""
        if await self.scope.journal.find(f"{self.key}/0") is not None:
            return True
        return self.agent.composed and any(row.kind != "failure" for row in await self.recorded())

    async def look_up(self) -> None:
        """Find out who serves this call."""
        if self.agent.composed or self.served:
            return
        model = await self.agent.chat_model(self.scope.models)
        self.provider, self.served = ("", served_by(self.agent)[1]) if model is None else served_by(model)
        self.streams = bool(getattr(model, "streaming", False))

    @property
    def circuits(self) -> list[str]:
        """The names of the circuits that a failure of this call counts in; a graph has none, the calls in it do."""
        own = [f"{self.agent.name} on {self.served}"] if self.served else []
        return [self.provider, *own] if self.provider else own

    @property
    def used(self) -> Usage:
        """What the call used so far, answers that were of no use included."""
        return self.usage + self.wasted

    def begin(self, attempt: int) -> None:
        """Start an attempt: requests of earlier attempts that were answered are found in the journal again."""
        self.attempt = attempt
        self.began = self.began or attempt > 1
        self.started = self.scope.wall()
        self.usage = self.paid = NO_USAGE
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
        tools: Iterable[Any] = (),
    ) -> AIMessage:
        """The model's reply to request `number` of this call: recorded, kept by the cache, or made now and paid for.

        Raises:
            LimitReached: the run's budget, or another limit, does not allow it.
            EmptyAnswer: the reply holds neither text nor a tool call.
            Refused: the model declines.
            Unreadable: what came back is no reply at all.
        """
        seal = _seal(messages, sent)
        if (row := await self._recorded(str(number), seal)) is not None:
            self.usage = self.usage + row.usage
            return self._noticed(self.read(row.key, _message, row.received))
        place = self._place(number, model, messages, sent, tools)
        if place is not None and (reply := await self._kept(place)) is not None:
            self.found[number] = place
            self.usage = self.usage + HIT
            self.scope.spend(HIT)
            received = message_to_dict(reply) if self.scope.durable else reply
            started = self.scope.wall()
            await self._record(str(number), "request", self._note(seal, messages, sent), received, HIT, started)
            self._told(HIT, started, 0.0)
            return reply
        self.scope.books.must_be_kept()
        hold = await self.scope.purse.hold(Kind(self.served, self.purpose), model, messages)
        try:
            await self.scope.may_start()  # what it was held back by may have been the end of the run
            reply = await self._asked(number, model, messages, send, self._note(seal, messages, sent), hold)
        finally:
            hold.release()
        if place is not None:
            self.fresh[number] = place, reply
        return reply

    def _note(self, seal: str, messages: Sequence[BaseMessage], sent: dict[str, Any] | None) -> dict[str, Any]:
        """What the journal keeps of what was sent."""
        note: dict[str, Any] = {"seal": seal}
        if self.scope.durable:
            note |= {"messages": [message_to_dict(one) for one in messages], **(sent or {}), **self._by}
        return note

    @property
    def _by(self) -> dict[str, str]:
        """The model that is asked, and of which tier it is, as far as they are known."""
        return {"model": self.served, "tier": self.agent.tier}

    def _told(self, usage: Usage, started: float, seconds: float, useless: bool = False) -> None:
        """Tell that a model was asked."""
        self.emit(
            Requested(
                at=started + seconds,
                path=self.path,
                agent=self.agent.name,
                purpose=self.purpose,
                round=self.brief.round,
                started=started,
                seconds=seconds,
                model=self.served,
                tier=self.agent.tier,
                input_tokens=usage.tokens.input,
                output_tokens=usage.tokens.output,
                usd=usage.usd,
                cached=bool(usage.cached),
                estimated=usage.estimated,
                useless=useless,
            )
        )

    async def _asked(
        self,
        number: int,
        model: Any,
        messages: Sequence[BaseMessage],
        send: Callable[[], Awaitable[AIMessage]],
        note: dict[str, Any],
        hold: Hold,
    ) -> AIMessage:
        """The reply that the model gives now, in the books and in the journal."""
        most = self.scope.limits.payload
        started, before = self.scope.wall(), self.scope.clock()
        self.asking = str(number), note, started
        with self.scope.at_work(), chat(self, model, messages) as told:
            reply = await _legible(send)
            usage = usage_of(reply, messages, model, self.scope.clock() - before)
            told(reply, usage)
            hold.settle(usage)
            self.paid = self.paid + usage
            reply = self._noticed(shortened(reply, most))
            received = message_to_dict(reply) if self.scope.durable else reply
            if (error := self._useless(reply)) is not None:
                self.wasted = self.wasted + usage
                self._told(usage, started, usage.seconds, useless=True)
                await self.log(error, failure(error), usage=usage)
                self.logged = error
                raise error
            self.usage = self.usage + usage
            await self._record(str(number), "request", note, received, usage, started)
            self._told(usage, started, usage.seconds)
        self.asking = None
        return reply

    def _noticed(self, reply: AIMessage) -> AIMessage:
        """The reply; that it was cut is the call's to know."""
        self.cut = max(self.cut, int(reply.response_metadata.get(MARK, 0)))
        return reply

    def _place(
        self, number: int, model: Any, messages: Sequence[BaseMessage], sent: Any, tools: Iterable[Any]
    ) -> str | None:
        """Where the cache keeps the reply to a request, if there is one."""
        if self.scope.replies is None:
            return None
        who = f"{self.key}/{number}", self.agent.name, self.brief.step
        return self.scope.replies.place(who, model, messages, sent, tools)

    async def _kept(self, place: str) -> AIMessage | None:
        """The reply in the cache; one that cannot be read is none, and told of."""
        assert self.scope.replies is not None  # noqa: S101 - there is a place only where there is a cache
        try:
            return await self.scope.replies.find(place)
        except StoreError as error:
            self.tell(f"A kept reply was not used. {describe(error)}")
            return None

    async def keep(self) -> None:
        """Keep in the cache what this call was answered; the call has brought something that fits."""
        fresh, self.fresh = self.fresh, {}
        for place, reply in fresh.values():
            assert self.scope.replies is not None  # noqa: S101 - as above
            try:
                await self.scope.replies.keep(place, reply)
            except StoreError as error:
                self.tell(f"A reply was not kept. {describe(error)}")

    async def forget(self, request: int | None = None) -> None:
        """Remove from the cache what this call was given, for one request or for all: it did not fit."""
        asked = [request] if request is not None else [*self.found, *self.fresh]
        for number in asked:
            self.fresh.pop(number, None)
        for place in [self.found.pop(number) for number in asked if number in self.found]:
            assert self.scope.replies is not None  # noqa: S101 - as above
            await self.scope.replies.forget(place)

    def _useless(self, reply: AIMessage) -> CallError | None:
        """Why a reply is of no use at all, if so: it holds nothing, or more than any may."""
        most = self.scope.limits.payload
        if reply.tool_calls and sum(len(repr(one["args"])) for one in reply.tool_calls) > most:
            said = f"{self.agent.name} asked for a tool with more than {most:,} bytes (limits.payload)."
            return LimitReached(f"{said} {raising('payload')}")
        if reply.text.strip() or reply.tool_calls:
            return None
        if refusal := reply.additional_kwargs.get("refusal"):
            return Refused(f"The model of {self.agent.name} declined to answer: {refusal}")
        if reply.response_metadata.get("finish_reason") == "content_filter":
            return Refused(f"The provider's content filter stopped the answer of {self.agent.name}.")
        return EmptyAnswer(f"{self.agent.name} got an empty answer from its model; try another model.")

    async def log(self, error: BaseException, failed: Failed, then: str = "", usage: Usage = NO_USAGE) -> None:
        """Write a failed attempt into the log of errors: what was asked, what came of it, and what is done about it."""
        if self.logged is error:
            return
        now = self.scope.wall()
        number, sent, started = self.asking or ("", None, self.started or now)
        self.asking = None
        received = {
            "error": type(error).__name__,
            "message": printable(" ".join(failed.cause.split())),
            "attempt": self.attempt,
            "purpose": self.purpose,
            "then": then,
            "usd": self.paid.usd,
            "excerpt": "\n".join(_beginning(one) for one in (self.brief.task, self.brief.objective) if one),
        }
        # What fails again after a restart is a row of its own.
        key = f"{self.key}/{number}!{self.attempt}.{time.time_ns():x}"
        sent = sent if self.scope.durable else None
        seconds, kind = now - started, failed.kind
        row = Row(key, "failure", self.path, self.agent.name, sent, received, usage, started, seconds, kind)
        await self.scope.journal.record(row)

    def tell(self, text: str) -> None:
        """Say something that the caller should know."""
        self.emit(Notice(self.scope.wall(), self.path, text))

    async def count(
        self, messages: Sequence[BaseMessage], reply: AIMessage, sent: dict[str, Any], started: float
    ) -> Usage:
        """Write a request that somebody else made into the books; gives what it used."""
        usage = usage_of(reply, messages, None, self.scope.wall() - started)
        self.scope.spend(usage)
        self.usage, self.paid = self.usage + usage, self.paid + usage
        number = f"+{self.usage.calls}!{self.attempt}"  # never looked up again: whoever made it may not make it alike
        received = message_to_dict(reply) if self.scope.durable else reply
        await self._record(number, "request", sent, received, usage, started)
        self._told(usage, started, usage.seconds)
        return usage

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
            return self.read(row.key, load, row.received)
        started = self.scope.wall()
        self.asking = number, sent, started
        with self.scope.at_work():
            with tool(self, name, args) as told:
                result = await run()
                told(result)
            if (received := dump(result)) is not None:
                await self._record(number, "tool", sent, received, NO_USAGE, started)
        self.asking = None
        return result

    def dump(self, value: BaseModel) -> Any:
        """The call's value as the journal keeps it."""
        return value.model_dump(mode="json") if self.scope.durable else value

    def load(self, received: Any) -> BaseModel:
        """The call's value back from the journal."""
        return self.read(self.key, self._loaded, received)

    def _loaded(self, received: Any) -> BaseModel:
        if isinstance(received, BaseModel):
            return received
        if self.purpose == "work" or self.schema is None:
            return restored(Deliverable.model_validate(received), self.schema)
        return self.schema.model_validate(received)

    def read(self, key: str, load: Callable[[Any], T], received: Any) -> T:
        """What a row of the journal holds.

        Raises:
            Blocked: it is nothing that we recorded there, and the turn ends with that.
        """
        try:
            return load(received)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            why = f"The journal's row {key!r} does not hold what belongs there: {describe(error)}"
            raise self.scope.lose(Blocked(f"{why}. It was changed, or its schema was.")) from None

    async def _recorded(self, number: str, seal: str) -> Row | None:
        if not self.began:
            return None
        row = await self.scope.journal.find(f"{self.key}/{number}")
        return row if row is not None and isinstance(row.sent, dict) and row.sent.get("seal") == seal else None

    async def _record(self, number: str, kind: Any, sent: Any, received: Any, usage: Usage, started: float) -> None:
        key = f"{self.key}/{number}"
        seconds = self.scope.wall() - started
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
    try:
        value = await _performed(call)
    except Exception as error:  # raised again: only what a cache has to do with it is seen to here
        if failure(error).kind in _UNFIT:
            await call.forget()
        raise
    if call.fresh:
        await call.keep()
    return value


async def _performed(call: Call) -> BaseModel:
    if call.purpose in ("work", "undo"):
        done = await call.agent.work(call.brief, call.schema)
        return _bounded(call, done.but(step=call.brief.step, agent=done.agent or call.agent.name))
    assert call.schema is not None  # noqa: S101 - whoever makes a decision call names its schema
    return await call.agent.decide(call.brief, call.schema)


def _bounded(call: Call, done: Deliverable) -> Deliverable:
    """The deliverable, cut where it is longer than any may be; its data would be as long, and is left out."""
    most = call.scope.limits.payload
    if size(done.content) > most:
        call.cut = most
        done = done.but(content=cut(done.content, most), data=None)
    if not call.cut or done.status not in ("submitted", "accepted"):
        return done
    said = f"The output of {call.agent.name} was cut at {call.cut:,} bytes (limits.payload). {raising('payload')}"
    return done.but(status="partial", reason=Reason(kind="limit", message=said, step=call.brief.step))


def restored(done: Deliverable, schema: type[BaseModel] | None) -> Deliverable:
    """A deliverable whose `data` is an instance of `schema` again after it was stored as plain JSON."""
    if schema is None or done.data is None or isinstance(done.data, schema):
        return done
    return done.but(data=schema.model_validate(done.data))


async def _legible(send: Callable[[], Awaitable[AIMessage]]) -> AIMessage:
    """The reply; where a provider's client stumbles over a page or over other JSON, an error that says so."""
    try:
        return await send()
    except TooLong as error:
        return cut_reply(error.text, error.most)
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
    except Exception as error:  # raised again: a client makes a lost connection of everything, our own bound included
        cause = error.__cause__ or error.__context__
        while cause is not None and not isinstance(cause, LimitReached):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        raise


def _message(received: Any) -> AIMessage:
    message = received if isinstance(received, BaseMessage) else messages_from_dict([received])[0]
    if not isinstance(message, AIMessage):
        raise ValueError(f"The journal holds a {type(message).__name__} where a model's reply belongs.")
    return message


def _beginning(text: str) -> str:
    """The beginning of what was asked, fit to be shown; a credential that the end cuts in two is none of it."""
    safe = printable(redact(text[: 20 * _EXCERPT])).strip()
    return safe if len(safe) <= _EXCERPT else f"{safe[:_EXCERPT].rstrip()} …"


def _seal(messages: Sequence[BaseMessage], sent: dict[str, Any] | None) -> str:
    """What makes two requests the same: roles, texts and tool calls; message ids differ from run to run."""
    parts = [f"{one.type}:{one.text}:{_calls(one)}" for one in messages]
    return _digest("\n".join(parts) + (json.dumps(sent, sort_keys=True, default=str) if sent else ""))


def _calls(message: BaseMessage) -> str:
    calls = message.tool_calls if isinstance(message, AIMessage) else ()
    return str([(one["name"], one["args"]) for one in calls]) if calls else ""


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
