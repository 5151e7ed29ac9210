"""A chat model that says what a test tells it to say."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel, Field, PrivateAttr

from troupe.agents.call import current
from troupe.agents.errors import BuildError, CallError
from troupe.agents.models.offline import OfflineChatModel


class Unscripted(CallError):
    """A scripted model was called more often, or by someone else, than its script says."""


class ScriptedChatModel(OfflineChatModel):
    """See `scripted`."""

    lines: dict[str, list[Any]]
    latency: float = 0.0
    replayed: bool = False
    """Whether the lines are a recording, where each request has its own, and not a script, where each call has."""
    _next: dict[str, int] = PrivateAttr(default_factory=dict)
    _given: dict[str, AIMessage] = PrivateAttr(default_factory=dict)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    asked: list[Any] = Field(default_factory=list)
    """What it was asked, in order: (step, role, messages)."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def identity(self) -> str:
        """What tells it from others, for a cache: its lines."""
        return hashlib.blake2b(repr(sorted(self.lines.items())).encode("utf-8", "replace")).hexdigest()

    def _delay(self, reply: AIMessage) -> float:
        return self.latency

    def _answer(self, messages: list[BaseMessage], tools: list[dict[str, Any]], forced: bool) -> AIMessage:
        call = current.get()
        step, role = (call.brief.step, call.agent.name) if call else ("", "")
        # A decision is made by a role about a step, so it is looked up by the role alone.
        wanted = (step, role, "*") if call is None or call.purpose == "work" else (role, "*")
        with self._lock:
            # Each rung of the structured-output ladder hears the same line: a line is what a call says.
            again = f"{call.key}#{call.attempt}" if call and call.rung and not self.replayed else None
            if again in self._given:
                return self._given[again]
            self.asked.append((step, role, messages))
            key = next((one for one in wanted if one and one in self.lines), None)
            number = self._next.get(key, 0) if key is not None else 0
            if key is None or number >= len(self.lines[key]):
                raise Unscripted(_complaint(wanted, key, number, messages))
            self._next[key] = number + 1
            line = self.lines[key][number]
        reply = _reply(line, tools, forced)
        if call:
            self._given[f"{call.key}#{call.attempt}"] = reply
        return reply


def scripted(lines: Mapping[str, Any] | Sequence[Any], *, latency: float = 0.0) -> ScriptedChatModel:
    """A model for tests that says `lines`, by step or role, `"*"` for the rest.

    A line is a text; a value (a pydantic model or dict: the answer to a decision); a tool call as
    `{"tool": name, "args": {...}}`, or a list of them; an `AIMessage`; or an exception to raise. A call that is not in
    the script fails and shows what it was asked.

    Args:
        lines: by step or role a list of lines (or one line); a list alone is for everyone.
        latency: seconds per reply.

    >>> scripted(["hello"]).invoke("hi").text
    'hello'
    """
    by_name = dict(lines) if isinstance(lines, Mapping) else {"*": lines}
    if not by_name:
        raise BuildError('A script needs lines: scripted({"triage": ["draft"]}).')
    listed = {name: list(one) if isinstance(one, list | tuple) else [one] for name, one in by_name.items()}
    return ScriptedChatModel(lines=listed, latency=latency)


def _reply(line: Any, tools: list[dict[str, Any]], forced: bool) -> AIMessage:
    if isinstance(line, BaseException) or (isinstance(line, type) and issubclass(line, BaseException)):
        raise line
    if isinstance(line, AIMessage):
        return line
    calls = line if isinstance(line, list) else [line]
    if all(isinstance(one, Mapping) and set(one) <= {"tool", "args"} and "tool" in one for one in calls):
        return AIMessage(
            "", tool_calls=[_call(one["tool"], one.get("args", {}), index) for index, one in enumerate(calls)]
        )
    if isinstance(line, BaseModel):
        line = line.model_dump(mode="json", exclude_unset=True)
    if isinstance(line, Mapping):
        if forced and tools:
            return AIMessage("", tool_calls=[_call(tools[0]["function"]["name"], dict(line), 0)])
        return AIMessage(json.dumps(line, ensure_ascii=False))
    return AIMessage(str(line))


def _call(name: str, args: Any, index: int) -> Any:
    return {"name": name, "args": args, "id": f"call_{name}_{index}", "type": "tool_call"}


def _complaint(wanted: Sequence[str], key: str | None, number: int, messages: list[BaseMessage]) -> str:
    who = " or ".join(repr(one) for one in dict.fromkeys(wanted) if one)
    said = f"its {number} line{'s are' if number != 1 else ' is'} used up" if key else f"the script has no {who}"
    return f"The scripted model was asked by {who}, but {said}. It was asked:\n{messages[-1].text[:2000]}"
