"""Replies of models kept over runs, by what was asked: the same role, prompts, model and brief bring the same reply.

Off unless asked for: `run(..., cache=True)`, `TeamContext(cache=...)` or the setting `cache`. The places where replies
are kept are LangGraph's own caches, with a serializer that only knows plain data.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, message_to_dict
from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from pydantic import ValidationError

from troupe.agents.contracts import Usage
from troupe.agents.errors import Blocked, SettingsError, StoreError, TroupeError, describe
from troupe.agents.models.identity import identity

if TYPE_CHECKING:
    from troupe.agents.settings import Settings

HIT = Usage(cached=1)
"""What a reply from the cache costs."""
_VERSION = "1"  # of what a key covers and how a reply is written
_SPACE = "troupe"
_UNFIT = {"length", "content_filter", "max_tokens"}
"""Ends of replies that are no whole answer."""
_log = logging.getLogger("troupe")


class PlainSerializer:
    """JSON and nothing else: a row of any other kind is never loaded."""

    def dumps_typed(self, value: Any) -> tuple[str, bytes]:
        """The value as JSON.

        Raises:
            TypeError, ValueError: it is no plain data.
        """
        return "json", json.dumps(value, ensure_ascii=True, allow_nan=False).encode("ascii")

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value of a row.

        Raises:
            Blocked: the row was not written by this serializer.
        """
        kind, stored = data
        if kind != "json":
            raise Blocked(f"A cached value is of the kind {kind!r}, which is never loaded.")
        try:
            return json.loads(stored)
        except (ValueError, TypeError, RecursionError) as error:
            raise Blocked(f"A cached value cannot be read: {describe(error)}") from None


@dataclass(frozen=True, slots=True)
class Cache:
    """Where replies are kept, and for how long.

    Args:
        kept: one of LangGraph's caches, with a strict serializer.
        seconds: how long a reply counts.
        offline: whether scripted and simulated replies are kept, too.
    """

    kept: BaseCache[Any]
    seconds: float
    offline: bool = True


def wanted(given: Any, settings: Settings) -> bool:
    """Whether there is to be a cache: what was given goes before the settings."""
    return settings.cache if given is None else given is not False


def cache_of(given: Any, settings: Settings, home: BaseCache[Any] | None = None) -> Cache | None:
    """The cache that is meant by what was given: True, seconds, one of LangGraph's caches, False, or None (settings).

    Args:
        given: by the caller.
        settings: for whatever was not given.
        home: where replies are kept unless the caller gave a cache; by default the process's memory.

    Raises:
        SettingsError: it is none of these, or a cache whose serializer may run what is stored.
    """
    if isinstance(given, Cache):
        return given
    if not wanted(given, settings):
        return None
    seconds = settings.cache_ttl
    if isinstance(given, BaseCache):
        return Cache(_strict(given), seconds)
    if isinstance(given, int | float) and not isinstance(given, bool):
        seconds = float(given)
        if not (math.isfinite(seconds) and seconds > 0):
            raise SettingsError(f"cache={given!r}: give a number of seconds above 0, True, or a cache of LangGraph's.")
    elif given is not None and given is not True:
        raise SettingsError(f"cache={given!r}: give True, False, a number of seconds, or a cache of LangGraph's.")
    return Cache(home if home is not None else memory(), seconds, offline=given is not None)


@functools.cache
def memory() -> BaseCache[Any]:
    """The cache of this process, where there is no file."""
    return InMemoryCache(serde=PlainSerializer())


def in_file(path: Path, serde: Any = None) -> BaseCache[Any]:
    """The cache in a file that only its owner can read; rows that have expired are removed.

    Args:
        path: of the file.
        serde: a strict serializer, in place of plain JSON.

    Raises:
        StoreError: the file cannot be used.
    """
    from langgraph.cache.sqlite import SqliteCache

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
        cache: BaseCache[Any] = SqliteCache(path=str(path), serde=serde or PlainSerializer())
        expired(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"The cache {path} cannot be used: {describe(error)}. Remove the file, or run without it: --no-cache."
        ) from None
    return cache


def expired(path: Path, clock: float | None = None) -> int:
    """Remove the rows of a cache's file that have expired; how many there were.

    Raises:
        sqlite3.Error: the file is no cache, or is being written by somebody else.
    """
    if not path.exists():
        return 0
    connection = sqlite3.connect(path, timeout=5)
    try:
        with connection:
            at = time.time() if clock is None else clock
            return connection.execute("DELETE FROM cache WHERE expiry < ?", (at,)).rowcount
    finally:
        connection.close()


def _strict(given: BaseCache[Any]) -> BaseCache[Any]:
    """The caller's cache; LangGraph's default serializer, which imports what a row names, is replaced by ours."""
    if given.serde is BaseCache.serde:
        given.serde = PlainSerializer()
    elif type(given.serde).__module__.startswith("langgraph.") and not hasattr(given.serde, "cipher"):
        raise SettingsError(
            f"The cache's serializer, {type(given.serde).__name__}, may run what a stored row names. Make the cache "
            "without one, and it gets a strict one."
        )
    return given


class Replies:
    """A turn's use of a cache.

    A request that is made twice in a turn is made twice: each time it is another question, and gets the reply that was
    given at that place. Five agents that are asked the same thing still give five answers.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._asked: dict[str, list[str]] = {}

    def place(
        self,
        who: tuple[str, str, str],
        model: Any,
        messages: Sequence[BaseMessage],
        sent: Any,
        tools: Iterable[Any],
    ) -> str | None:
        """Where the reply to a request is kept; None if it is not to be.

        Args:
            who: asks: the request's key in the journal, the role, and the step.
            model: that is asked.
            messages: that it is sent.
            sent: what it is sent besides.
            tools: that it may call.
        """
        key, role, step = who
        known = identity(model)
        if known is None or (known.offline and not self._cache.offline):
            return None
        # What an offline model says depends on the step as well; a real one does not know of it.
        asker = [role, step] if known.offline else [role]
        parts = [_VERSION, known.text, asker, [_said(one) for one in messages], sent, [_shape(one) for one in tools]]
        text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=True)
        digest = hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
        asked = self._asked.setdefault(digest, [])
        if key not in asked:
            asked.append(key)
        return f"{digest}.{asked.index(key)}"

    async def find(self, place: str) -> AIMessage | None:
        """The reply that is kept there.

        Raises:
            Blocked: what is there is no reply; it was not loaded, and has been removed.
            StoreError: the cache cannot be read.
        """
        key = (_SPACE, place), "reply"
        try:
            found = (await self._cache.kept.aget([key])).get(key)
        except Exception as error:
            if isinstance(error, Blocked):
                await self.forget(place)
                raise
            raise StoreError(f"The cache cannot be read: {describe(error)}") from None
        if found is None:
            return None
        try:
            return _reply(found)
        except (ValidationError, TroupeError, TypeError, KeyError) as error:
            await self.forget(place)
            raise Blocked(f"A cached value is no reply of a model: {describe(error)}") from None

    async def keep(self, place: str, reply: AIMessage) -> None:
        """Keep a reply.

        Raises:
            StoreError: it cannot be written.
        """
        if str(reply.response_metadata.get("finish_reason")) in _UNFIT:
            return
        data = message_to_dict(reply.model_copy(update={"id": None}))
        key = (_SPACE, place), "reply"
        try:
            await self._cache.kept.aset({key: (data, max(1, math.ceil(self._cache.seconds)))})
        except Exception as error:  # noqa: BLE001 - the reply itself is there
            raise StoreError(f"The cache cannot be written: {describe(error)}") from None

    async def forget(self, place: str) -> None:
        """Remove a reply that was of no use."""
        try:
            await self._cache.kept.aclear([(_SPACE, place)])
        except Exception:  # noqa: BLE001 - it will be found wrong again, or expire
            _log.debug("A cached reply could not be removed.", exc_info=True)


def _said(message: BaseMessage) -> list[Any]:
    """What a model sees of a message; ids differ from run to run."""
    data: list[Any] = [message.type, message.content, message.name]
    if isinstance(message, AIMessage):
        data.append([[one["name"], one["args"]] for one in message.tool_calls])
    return data


def _shape(tool: Any) -> Any:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    return convert_to_openai_tool(tool)


def _reply(found: Any) -> AIMessage:
    """A reply from plain data: nothing in it can be anything else."""
    if not isinstance(found, dict) or found.get("type") != "ai" or not isinstance(found.get("data"), dict):
        raise TypeError("it is no message of a model")
    reply = AIMessage.model_validate({**found["data"], "id": None})
    if not reply.text.strip() and not reply.tool_calls:
        raise TypeError("it is empty")
    return reply


async def opened(path: Path, serde: Any = None) -> BaseCache[Any]:
    """`in_file`, without holding up the event loop."""
    return await asyncio.to_thread(in_file, path, serde)
