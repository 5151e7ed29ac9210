"""Replies over HTTP that do not end: no more is read than any honest one has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Any

from troupe.agents.errors import LimitReached
from troupe.agents.limits import raising

_ROOM = 4
"""Bytes on the wire for each byte of text: JSON may write a character in six."""
_PIECES = 100
"""The same for a reply in pieces, each of which comes with an envelope."""
_HEAD = 1_000_000


def bounded(most: int) -> Callable[[Any], Awaitable[None]]:
    """A hook of an HTTP client: a response whose text would be much longer than `most` bytes is not read to its end."""

    async def hook(response: Any) -> None:
        streamed = "event-stream" in response.headers.get("content-type", "")
        bound = most * (_PIECES if streamed else _ROOM) + _HEAD
        kind: Any = type(response.stream)
        response.stream = _counted(kind)(response.stream, most, bound)

    return hook


@lru_cache(maxsize=8)
def _counted(kind: Any) -> Any:
    """A stream that counts, as a subclass of the client's own kind: which package of HTTP it is, is its matter."""
    base = next((one for one in kind.__mro__ if one.__name__ == "AsyncByteStream"), object)
    return type("Counted", (_Counted, base), {})


class _Counted:
    def __init__(self, stream: Any, most: int, bound: int) -> None:
        self._stream = stream
        self._most = most
        self._bound = bound

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._stream:
            read += len(piece)
            if read > self._bound:
                raise LimitReached(
                    f"The server's reply is longer than any of {self._most:,} bytes can be (limits.payload). "
                    f"{raising('payload')}"
                )
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
