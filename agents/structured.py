"""A small typed value from any chat model: the structured-output ladder.

    json_schema -> function_calling -> prompt and parse -> repair

A rung that the server refuses, or that brings an answer that cannot be read, leads to the next; an answer that can be
read but does not fit goes straight to the repair. The rung that worked is remembered for the model, so that the search
is paid for once. At most four requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ValidationError

from troupe.agents.call import Call
from troupe.agents.cutting import MARK, watched
from troupe.agents.errors import EmptyAnswer, InvalidOutput, LimitReached, complaints, failure
from troupe.agents.limits import raising
from troupe.agents.models import served_by
from troupe.prompts import load, render

S = TypeVar("S", bound=BaseModel)

RUNGS = ("json_schema", "function_calling", "prompt", "repair")
_PROMPT, _REPAIR = 2, 3
_COMMAS = re.compile(r'("(?:\\.|[^"\\])*+(?:"|$|\\))|,(\s*[}\]])', re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)
# By model and server: which rung worked last.
_worked: dict[str, int] = {}


async def ask(call: Call, model: Any, messages: Sequence[BaseMessage], schema: type[S], number: int = 0) -> S:
    """An instance of `schema` as the model's answer to `messages`; its first request is `number` of the call.

    Raises:
        InvalidOutput: no rung brought a valid answer; says what was wrong with the last one.
    """
    said: list[BaseMessage] = list(messages)
    name = served_by(model)[1]
    rung = _worked.get(name, 0)
    shape = _shape(schema)
    while True:
        call.rung = rung
        reply, problem = await _try(call, model, said, shape, rung, number)
        number += 1
        if reply is not None and MARK in reply.response_metadata:
            most = f"{reply.response_metadata[MARK]:,} bytes (limits.payload)"
            raise LimitReached(f"{call.agent.name} answered with more than {most}. {raising('payload')}")
        if reply is not None:
            value, problem, legible = _read(reply, schema)
            if value is not None:
                if rung:
                    _worked[name] = min(rung, _PROMPT)
                return value
            await call.forget(number - 1)
            if legible:
                rung = max(rung, _PROMPT)
        if rung == _REPAIR:
            raise InvalidOutput(f"{call.agent.name} gave no valid {schema.__name__}: {problem}")
        rung += 1
        if rung == _REPAIR and reply is not None:
            text = render(load("moves/repair", call.scope.prompts), problem=problem, schema=_pretty(shape))
            said = [*said, AIMessage(reply.text or json.dumps([one["args"] for one in reply.tool_calls]))]
            said.append(HumanMessage(text))


async def _try(
    call: Call, model: Any, messages: list[BaseMessage], shape: dict[str, Any], rung: int, number: int
) -> tuple[AIMessage | None, str]:
    """The reply on one rung, or None and why the server would not take the request."""
    config: Any = internal(call)
    if rung >= _PROMPT:
        if rung == _PROMPT:
            text = render(load("moves/answer", call.scope.prompts), schema=_pretty(shape))
            messages = [*messages, HumanMessage(text)]
        try:
            return await call.request(number, model, messages, lambda: model.ainvoke(messages, config)), ""
        except EmptyAnswer as error:
            if rung == _REPAIR:
                raise
            return None, str(error)
    try:
        structured: Runnable[Any, Any] = model.with_structured_output(shape, method=RUNGS[rung], include_raw=True)
    except (NotImplementedError, ValueError, TypeError) as error:
        return None, f"{type(model).__name__} has no {RUNGS[rung]}: {error}"

    async def send() -> AIMessage:
        try:
            return (await structured.ainvoke(messages, config))["raw"]  # type: ignore[no-any-return]
        except Exception as error:
            if (reply := _cut(error)) is None:
                raise
            return reply

    try:
        return await call.request(number, model, messages, send, {"method": RUNGS[rung], "schema": shape}), ""
    except EmptyAnswer as error:
        return None, str(error)
    except Exception as error:  # every provider has its own class for a 400; all else is the Executor's to judge
        if failure(error).kind != "bad_request":
            raise
        return None, str(error)


def _cut(error: Exception) -> AIMessage | None:
    """The reply that OpenAI's client hides in an error because it ends at the output limit; it was paid for."""
    completion: Any = getattr(error, "completion", None)
    if type(error).__name__ != "LengthFinishReasonError" or completion is None:
        return None
    used = completion.usage
    return AIMessage(
        completion.choices[0].message.content or "",
        usage_metadata={
            "input_tokens": used.prompt_tokens,
            "output_tokens": used.completion_tokens,
            "total_tokens": used.total_tokens,
        }
        if used
        else None,
        response_metadata={"finish_reason": "length", "model_name": completion.model, "model_provider": "openai"},
    )


def internal(call: Call) -> dict[str, Any]:
    """The config of a request whose text nobody should see in a chat."""
    # LangGraph's own streams go by the first tag, chat front ends by the second.
    config = watched(call.config, call.scope.limits.payload, call.streams)
    return {**config, "tags": [*(call.config.get("tags") or ()), "nostream", "langsmith:nostream"]}


def _read(reply: AIMessage, schema: type[S]) -> tuple[S | None, str, bool]:
    """The value in a reply; else what is wrong with it, and whether it could be read at all."""
    found = [one["args"] for one in reply.tool_calls] or [extract(reply.text)]
    if found[0] is None:
        cut = reply.response_metadata.get("finish_reason") == "length"
        return None, "the answer was cut off before its end" if cut else "the answer is not JSON", False
    try:
        return schema.model_validate(found[0]), "", True
    except ValidationError as error:
        return None, complaints(error), True


def extract(text: str) -> Any:
    """The JSON value in a model's answer: as it is, in a code fence, or in prose; None if there is none.

    >>> extract('Sure! ```json\\n{"passed": true,}\\n```')
    {'passed': True}
    """
    said = _spoken(text)
    braced = (said[one.start() :] for one in islice(re.finditer("{", said), 9))
    for candidate in (text, *islice(_fenced(said), 9), *braced):
        for form in (candidate, _mended(candidate)):
            try:
                value, _ = _DECODER.raw_decode(form.lstrip("\ufeff \t\r\n"))
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                return value
    return None


def _spoken(text: str) -> str:
    """`text` without what a model thought aloud; searched, not matched, so that no opening is looked at twice."""
    kept, at = [], 0
    while (begins := text.find("<think>", at)) >= 0 and (ends := text.find("</think>", begins)) >= 0:
        kept.append(text[at:begins])
        at = ends + len("</think>")
    return "".join([*kept, text[at:]])


def _fenced(text: str) -> Iterator[str]:
    """What lies in code fences, one after another; the opening's line may name a language."""
    pieces = text.split("```")
    for piece in pieces[1:-1]:
        language, line, content = piece.partition("\n")
        if line and len(language) <= 40 and (not language.strip() or language.strip().isalnum()):
            yield content


def _mended(text: str) -> str:
    """`text` without the commas before a closing bracket, which models like to write; those inside texts stay."""
    if not re.search(r",\s*[}\]]", text):
        return text
    # A text that does not end is taken to the end: every character is looked at once.
    return _COMMAS.sub(lambda match: match[1] or match[2], text)


def _shape(schema: type[BaseModel]) -> dict[str, Any]:
    """The schema as a model is sent it, which some clients write into."""
    return deepcopy(_made(schema))


@lru_cache(maxsize=256)
def _made(schema: type[BaseModel]) -> dict[str, Any]:
    shape = schema.model_json_schema()
    shape.setdefault("title", schema.__name__)
    shape.setdefault("description", schema.__name__)
    for one in (shape, *shape.get("$defs", {}).values()):
        if "description" in one:  # a docstring's example is for people
            one["description"] = one["description"].partition("\n>>>")[0].strip()
    return shape


def _pretty(shape: dict[str, Any]) -> str:
    return json.dumps(shape, indent=1)
