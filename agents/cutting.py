"""Replies that do not end: cut off while they stream, with what has come by then."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from langchain_core.runnables.config import merge_configs
from langchain_core.tracers._streaming import _StreamingCallbackHandler

from troupe.agents.limits import cut, size

MARK = "cut_at_bytes"
"""In the metadata of a reply that was cut."""


class TooLong(Exception):
    """A reply has grown beyond its bound; `text` is what had come of it."""

    def __init__(self, text: str, most: int) -> None:
        super().__init__(f"The reply has more than {most:,} bytes.")
        self.text = text
        self.most = most


def watched(config: Any, most: int, streams: bool) -> Any:
    """The config of a request whose reply is cut off after `most` bytes, where it comes in pieces."""
    callbacks = config.get("callbacks")
    handlers = callbacks if isinstance(callbacks, list) else getattr(callbacks, "handlers", ())
    if not (streams or any(isinstance(one, _StreamingCallbackHandler) for one in handlers)):
        return config
    return merge_configs(config, {"callbacks": [Cutter(most)]})


def shortened(reply: AIMessage, most: int) -> AIMessage:
    """A reply of `most` bytes at most, marked where it was cut."""
    if size(reply.text) <= most:
        return reply
    return cut_reply(reply.text, most, reply)


def cut_reply(text: str, most: int, reply: AIMessage | None = None) -> AIMessage:
    """The reply that is left of a longer one."""
    meta = {**(reply.response_metadata if reply is not None else {}), "finish_reason": "length", MARK: most}
    made = AIMessage(cut(text, most), response_metadata=meta)
    return made if reply is None else made.model_copy(update={"usage_metadata": reply.usage_metadata, "id": reply.id})


class Cutter(AsyncCallbackHandler):
    """Ends a stream that has brought enough."""

    raise_error = True  # what is raised here ends the stream
    run_inline = True

    def __init__(self, most: int) -> None:
        self.most = most
        self._pieces: dict[UUID, list[str]] = {}
        self._sizes: dict[UUID, int] = {}

    async def on_llm_new_token(
        self, token: Any, *, chunk: GenerationChunk | ChatGenerationChunk | None = None, run_id: UUID, **_: Any
    ) -> None:
        """Count a piece.

        Raises:
            TooLong: that was enough.
        """
        message = getattr(chunk, "message", None)
        text = message.text if message is not None else token if isinstance(token, str) else ""
        args = sum(len(one.get("args") or "") for one in getattr(message, "tool_call_chunks", ()))
        self._pieces.setdefault(run_id, []).append(text)
        self._sizes[run_id] = self._sizes.get(run_id, 0) + size(text) + args
        if self._sizes[run_id] > self.most:
            raise TooLong("".join(self._pieces.pop(run_id)), self.most)

    async def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """Forget a stream that has ended."""
        self._pieces.pop(run_id, None)
        self._sizes.pop(run_id, None)
