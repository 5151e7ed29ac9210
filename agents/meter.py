"""Counts what a foreign graph or Runnable asks of models: its requests do not pass through `Call.request`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, message_to_dict
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from troupe.agents.call import Call, current
from troupe.agents.spans import Requests


def metered(call: Call) -> RunnableConfig:
    """The config of a call whose model requests are to be counted, shown, and kept within the budget."""
    return merge_configs({"callbacks": [_Meter(call)]}, call.config)


class _Meter(AsyncCallbackHandler):
    """Writes every request into the call's books; one that a team inside the graph makes is in that team's own."""

    raise_error = True  # what is raised here is the budget's word, and must end the call
    run_inline = True

    def __init__(self, call: Call) -> None:
        self.call = call
        self.asked: dict[UUID, tuple[list[BaseMessage], float]] = {}
        self.spans = Requests(call)

    async def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if current.get() is self.call:
            self.call.scope.check_budget()
            self.asked[run_id] = messages[0], self.call.scope.wall()
            self.spans.begin(run_id, metadata or {}, messages[0])

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        if (asked := self.asked.pop(run_id, None)) is None:
            return
        generation = response.generations[0][0]
        if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
            sent = {"messages": [message_to_dict(one) for one in asked[0]]}
            usage = await self.call.count(asked[0], generation.message, sent, asked[1])
            self.spans.end(run_id, generation.message, usage)

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self.asked.pop(run_id, None)
        self.spans.end(run_id, None, None, error)
