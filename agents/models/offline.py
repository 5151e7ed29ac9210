"""What our offline models share: a real chat model that streams, counts tokens and answers tools, and calls nothing."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from troupe.agents.text import tokens


class OfflineChatModel(BaseChatModel):
    """Answers from `_answer`; subclasses say what."""

    is_simulated: bool = True

    @abstractmethod
    def _answer(self, messages: list[BaseMessage], tools: list[dict[str, Any]], forced: bool) -> AIMessage:
        """The reply; `forced` when one of the tools must be called. May raise what a provider would."""

    def _delay(self, reply: AIMessage) -> float:
        """Seconds that the reply takes."""
        return 0.0

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools to choose from."""
        bound = [convert_to_openai_tool(one) for one in tools]
        return self.bind(tools=bound, forced=bool(tool_choice) and tool_choice != "auto", **kwargs)

    def _reply(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        reply = self._answer(messages, kwargs.get("tools") or [], bool(kwargs.get("forced")))
        if reply.usage_metadata is None:
            spent = sum(tokens(one.text) for one in messages)
            made = tokens(reply.text) + tokens(json.dumps([one["args"] for one in reply.tool_calls], default=str))
            usage = UsageMetadata(input_tokens=spent, output_tokens=made, total_tokens=spent + made)
            reply = reply.model_copy(update={"usage_metadata": usage})
        meta = {"simulated": True, "model_name": self._llm_type, **reply.response_metadata}
        return reply.model_copy(update={"response_metadata": meta})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages, kwargs))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = self._reply(messages, kwargs)
        if (delay := self._delay(reply)) > 0:
            await asyncio.sleep(delay)
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(self._reply(messages, kwargs)):
            if run_manager:
                run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = self._reply(messages, kwargs)
        chunks = list(_chunks(reply))
        pause = self._delay(reply) / len(chunks)
        for chunk in chunks:
            if pause > 0:
                await asyncio.sleep(pause)
            if run_manager:
                await run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
            yield chunk


def _chunks(reply: AIMessage) -> Iterator[ChatGenerationChunk]:
    """The reply word by word; tool calls, usage and metadata come with the last chunk, as providers do it."""
    words = re.findall(r"\S+\s*|\s+", reply.text)
    identity = reply.id or f"run-{uuid.uuid4()}"
    for word in words[:-1]:
        yield ChatGenerationChunk(message=AIMessageChunk(content=word, id=identity))
    calls: list[Any] = [
        {
            "name": one["name"],
            "args": json.dumps(one["args"]),
            "id": one["id"],
            "index": index,
            "type": "tool_call_chunk",
        }
        for index, one in enumerate(reply.tool_calls)
    ]
    last = AIMessageChunk(
        content=words[-1] if words else "",
        id=identity,
        tool_call_chunks=calls,
        usage_metadata=reply.usage_metadata,
        response_metadata=reply.response_metadata,
        chunk_position="last",
    )
    yield ChatGenerationChunk(message=last)
