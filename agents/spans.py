"""OpenTelemetry spans of a run: who was asked what kind of thing, what it cost, how it ended.

    invoke_workflow team
      invoke_agent agent          each attempt of each call
        chat model                each request; execute_tool tool: each call of a tool
        invoke_workflow inner     a team as a step
      evaluate gate
        invoke_agent reviewer

They appear where a tracer provider is set up; where there is none, nothing is imported and nothing done. What an agent
reads and writes is in no span unless TROUPE_TRACE_CONTENT asks for it, and neither is the text of an error, which may
quote it: `error.type` says what kind of failure it was.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langgraph.errors import GraphBubbleUp

from troupe.agents.contracts import Judgement, Reason, RunStatus, Usage
from troupe.agents.errors import failure
from troupe.agents.money.prices import sold_as
from troupe.agents.text import redact

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from troupe.agents.call import Call
    from troupe.agents.scope import RunScope

T = TypeVar("T")
Told = Callable[..., None]
"""Tells a span what came of it."""

_pattern: ContextVar[str] = ContextVar("troupe_pattern", default="")
_label = lru_cache(maxsize=4096)(redact)  # there are few names, and each is in many spans


def tracer() -> Tracer | None:
    """Where spans go; None where nobody has set up a provider."""
    # Whoever sets one up imports this; whoever does not is not made to wait for it.
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    made: Tracer = provider.get_tracer("troupe")
    return made


def _nothing(*_: Any, **__: Any) -> None:
    pass


_OFF: AbstractContextManager[Told] = nullcontext(_nothing)


def workflow(scope: RunScope, name: str, pattern: str, outermost: bool) -> AbstractContextManager[Any] | None:
    """A team at work, if that is traced; the outermost one says what the whole turn has used so far."""
    return None if scope.tracer is None else _workflow(scope, scope.tracer, name, pattern, outermost)


@contextmanager
def _workflow(scope: RunScope, to: Tracer, name: str, pattern: str, outermost: bool) -> Iterator[None]:
    about = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": name,
        "troupe.pattern": pattern,
    }
    if outermost and scope.thread != "plain":
        about["gen_ai.conversation.id"] = scope.thread
    token = _pattern.set(pattern)
    try:
        with _span(to, _opening(f"invoke_workflow {name}", about)) as span:
            try:
                yield
            finally:
                if outermost:
                    span.set_attributes({**_cost(scope.spent), "troupe.simulated": scope.simulated})
    finally:
        _pattern.reset(token)


def ended(scope: RunScope, status: RunStatus, reason: Reason | None) -> None:
    """Say on the span of the team that ends here how it ended."""
    if scope.tracer is None:
        return
    span = _current()
    span.set_attribute("troupe.status", status)
    if status == "failed":
        _failed(span, reason.kind if reason is not None else "error")


def waits(scope: RunScope, step: str) -> None:
    """Say on the span of the team that a person is asked here."""
    if scope.tracer is not None:
        span = _current()
        span.set_attribute("troupe.status", "waiting")
        span.add_event("question", {"troupe.step": _label(step)})


def attempt(call: Call) -> AbstractContextManager[Any]:
    """One attempt of a call; it costs what its own requests did."""
    return _OFF if call.scope.tracer is None else _attempt(call, call.scope.tracer)


@contextmanager
def _attempt(call: Call, to: Tracer) -> Iterator[None]:
    about = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": call.agent.name,
        "troupe.step": call.path,
        "troupe.purpose": call.purpose,
        "troupe.attempt": call.attempt,
        "troupe.round": call.brief.round,
        "troupe.pattern": _pattern.get(),
    }
    role = getattr(call.agent, "role", None)
    if role is not None:
        about["troupe.tier"] = role.tier
    with _span(to, _opening(f"invoke_agent {call.agent.name}", about)) as span:
        try:
            yield
        finally:
            if not call.agent.composed:  # a team's own calls say what they cost
                span.set_attributes(_cost(call.paid))
            if call.usage.cached:
                span.set_attribute("troupe.cached", call.usage.cached)


def chat(call: Call, model: Any, messages: Sequence[BaseMessage]) -> AbstractContextManager[Told]:
    """One request to a model; it is told `(reply, usage)`."""
    return _OFF if call.scope.tracer is None else _chat(call, call.scope.tracer, model, messages)


@contextmanager
def _chat(call: Call, to: Tracer, model: Any, messages: Sequence[BaseMessage]) -> Iterator[Told]:
    with _span(to, _request(call, *sold_as(model))) as span:
        span.set_attributes(_sent(call, messages))
        yield lambda reply, usage: span.set_attributes(_reply(call, reply, usage))


class Requests:
    """The requests of a foreign graph, which are seen from callbacks: begun in one, ended in another."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._open: dict[Any, Span] = {}

    def begin(self, id: Any, told: Mapping[str, Any], messages: Sequence[BaseMessage]) -> None:
        """A request is sent; `told` is LangChain's metadata of it."""
        if (to := self._call.scope.tracer) is not None:
            model, provider = str(told.get("ls_model_name") or ""), str(told.get("ls_provider") or "")
            span = self._open[id] = to.start_span(**_request(self._call, model, provider))
            span.set_attributes(_sent(self._call, messages))

    def end(self, id: Any, reply: AIMessage | None, usage: Usage | None, error: BaseException | None = None) -> None:
        """It was answered, or failed."""
        if (span := self._open.pop(id, None)) is None:
            return
        if reply is not None and usage is not None:
            span.set_attributes(_reply(self._call, reply, usage))
        if error is not None:
            _failed(span, failure(error).kind, error)
        span.end()


def tool(call: Call, name: str, args: Any) -> AbstractContextManager[Told]:
    """One call of a tool; it is told the result."""
    return _OFF if call.scope.tracer is None else _tool(call, call.scope.tracer, name, args)


@contextmanager
def _tool(call: Call, to: Tracer, name: str, args: Any) -> Iterator[Told]:
    about = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.agent.name": call.agent.name,
        "troupe.step": call.path,
    }
    content = call.scope.settings.trace_content
    with _span(to, _opening(f"execute_tool {name}", about)) as span:
        if content:
            span.set_attribute("gen_ai.tool.call.arguments", _json(args))

        def told(result: Any) -> None:
            if getattr(result, "status", "") == "error":
                _failed(span, "tool")
            if content:
                span.set_attribute("gen_ai.tool.call.result", _json(getattr(result, "content", result)))

        yield told


def evaluation(scope: RunScope, path: str, gate: str, at_least: float | None) -> AbstractContextManager[Told]:
    """A gate that judges a step; it is told the judgement."""
    return _OFF if scope.tracer is None else _evaluation(scope.tracer, path, gate, at_least)


@contextmanager
def _evaluation(to: Tracer, path: str, gate: str, at_least: float | None) -> Iterator[Told]:
    about: dict[str, Any] = {"gen_ai.evaluation.name": gate, "troupe.step": path, "troupe.pattern": _pattern.get()}
    if at_least is not None:
        about["troupe.threshold"] = at_least
    with _span(to, _opening(f"evaluate {path.rpartition('/')[2]}", about)) as span:

        def told(verdict: Judgement) -> None:
            span.set_attributes(
                {
                    "gen_ai.evaluation.score.label": "pass" if verdict.passed else "fail",
                    "troupe.passed": verdict.passed,
                    "troupe.decision": verdict.decision or "",
                }
            )
            if verdict.score is not None:
                span.set_attribute("gen_ai.evaluation.score.value", verdict.score)

        yield told


async def continued(chunks: AsyncGenerator[T], span: AbstractContextManager[Any]) -> AsyncGenerator[T]:
    """The chunks of an async stream, made inside of a span; to be read in one task."""
    with span:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


def stepwise(chunks: Iterator[T], span: AbstractContextManager[Any]) -> Iterator[T]:
    """The chunks of a sync stream, made inside of a span that its reader is not in between two of them."""
    inside = copy_context()

    def made() -> Generator[T]:
        with span:
            yield from chunks

    making = made()
    try:
        while True:
            try:
                chunk = inside.run(next, making)
            except StopIteration:
                return
            yield chunk
    finally:
        inside.run(making.close)


@contextmanager
def _span(to: Tracer, opening: Mapping[str, Any]) -> Iterator[Span]:
    """A span around what runs here, which is its failure if that raises."""
    with to.start_as_current_span(**opening, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield span
        except GraphBubbleUp:  # a person is asked
            span.set_attribute("troupe.status", "waiting")
            raise
        except (asyncio.CancelledError, GeneratorExit):
            span.set_attribute("troupe.cancelled", True)
            raise
        except BaseException as error:
            _failed(span, failure(error).kind, error)
            raise


def _opening(name: str, about: Mapping[str, Any], client: bool = False) -> dict[str, Any]:
    """What a span begins with; names may be anybody's, and hold anything."""
    from opentelemetry.trace import SpanKind

    safe = {key: _label(one) if isinstance(one, str) else one for key, one in about.items()}
    return {"name": _label(name), "attributes": safe, "kind": SpanKind.CLIENT if client else SpanKind.INTERNAL}


def _failed(span: Span, kind: str, error: BaseException | None = None) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, type(error).__name__ if error is not None else None)


def _current() -> Span:
    from opentelemetry.trace import get_current_span

    return get_current_span()


def _cost(used: Usage) -> dict[str, Any]:
    """What was paid; a price that is not known is left out, and is not 0."""
    known = {} if used.usd is None else {"troupe.cost_usd": used.usd}
    return {**known, "troupe.cost_estimated": used.estimated}


def _request(call: Call, name: str, provider: str) -> dict[str, Any]:
    """What a request's span begins with."""
    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.agent.name": call.agent.name,
        "troupe.step": call.path,
    }
    if name:
        about["gen_ai.request.model"] = name
    return _opening(f"chat {name or provider}", about, client=True)


def _sent(call: Call, messages: Sequence[BaseMessage]) -> dict[str, Any]:
    """What was sent, where it may be told."""
    if not call.scope.settings.trace_content:
        return {}
    rules = [_part(one) for one in messages if isinstance(one, SystemMessage)]
    said = [_message(one) for one in messages if not isinstance(one, SystemMessage)]
    return {"gen_ai.system_instructions": _json(rules), "gen_ai.input.messages": _json(said)}


def _reply(call: Call, reply: AIMessage, usage: Usage) -> dict[str, Any]:
    """The attributes of a reply."""
    meta = reply.response_metadata
    about: dict[str, Any] = {
        "gen_ai.usage.input_tokens": usage.tokens.input,
        "gen_ai.usage.output_tokens": usage.tokens.output,
        **_cost(usage),
        "troupe.simulated": bool(meta.get("simulated")),
    }
    if model := meta.get("model_name") or meta.get("model"):
        about["gen_ai.response.model"] = _label(str(model))
    if why := meta.get("finish_reason") or meta.get("stop_reason"):
        about["gen_ai.response.finish_reasons"] = [str(why)]
    if call.scope.settings.trace_content:
        about["gen_ai.output.messages"] = _json([_message(reply)])
    return about


_ROLES = {"human": "user", "ai": "assistant", "tool": "tool"}


def _message(message: BaseMessage) -> dict[str, Any]:
    """A message as OpenTelemetry writes it."""
    parts = [_part(message)] if message.text or not isinstance(message, AIMessage) else []
    if isinstance(message, AIMessage):
        parts += [{"type": "tool_call", "name": one["name"], "arguments": one["args"]} for one in message.tool_calls]
    return {"role": _ROLES.get(message.type, message.type), "parts": parts}


def _part(message: BaseMessage) -> dict[str, Any]:
    return {"type": "text", "content": message.text}


def _json(value: Any) -> str:
    return redact(json.dumps(value, ensure_ascii=False, default=str))
