"""Savers that only work sync, where an async one is needed: their async half is made of their sync half in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

T = TypeVar("T")
SAVER = "__pregel_checkpointer"


class AsyncInThreads(BaseCheckpointSaver[Any]):
    """The async half of a saver; goes before the sync saver among the bases."""

    async def threaded(self, act: Callable[..., T], *args: Any, **options: Any) -> T:
        """Do something of the sync half in a thread."""
        return await asyncio.to_thread(act, *args, **options)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See LangGraph."""
        return await self.threaded(self.get_tuple, config)

    async def alist(self, config: RunnableConfig | None, **options: Any) -> AsyncIterator[CheckpointTuple]:
        """See LangGraph."""
        for one in await self.threaded(lambda: [*self.list(config, **options)]):
            yield one

    async def aput(self, *args: Any) -> RunnableConfig:
        """See LangGraph."""
        return await self.threaded(self.put, *args)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        """See LangGraph."""
        await self.threaded(self.put_writes, *args, **options)

    async def adelete_thread(self, thread_id: str) -> None:
        """See LangGraph."""
        await self.threaded(self.delete_thread, thread_id)

    async def aget_delta_channel_history(self, **options: Any) -> Mapping[str, Any]:
        """See LangGraph."""
        return await self.threaded(lambda: self.get_delta_channel_history(**options))


class Threaded(AsyncInThreads):
    """Somebody's sync saver with an async half.

    A graph inside a step is run async, in sync runs, too.
    """

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        self.saver = saver
        super().__init__(serde=saver.serde)

    @property
    def config_specs(self) -> list[Any]:
        """See LangGraph."""
        return self.saver.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        """See LangGraph."""
        return self.saver.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Any) -> Threaded:
        """See LangGraph."""
        return Threaded(self.saver.with_allowlist(extra_allowlist))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See LangGraph."""
        return self.saver.get_tuple(config)

    def list(self, config: RunnableConfig | None, **options: Any) -> Iterator[CheckpointTuple]:
        """See LangGraph."""
        return self.saver.list(config, **options)

    def put(self, *args: Any) -> RunnableConfig:
        """See LangGraph."""
        return self.saver.put(*args)

    def put_writes(self, *args: Any, **options: Any) -> None:
        """See LangGraph."""
        self.saver.put_writes(*args, **options)

    def delete_thread(self, thread_id: str) -> None:
        """See LangGraph."""
        self.saver.delete_thread(thread_id)

    def get_delta_channel_history(self, **options: Any) -> Mapping[str, Any]:
        """See LangGraph."""
        return self.saver.get_delta_channel_history(**options)


def as_async(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """A saver whose async half works."""
    return saver if isinstance(saver, AsyncInThreads) else Threaded(saver)


def with_async_saver(config: RunnableConfig) -> RunnableConfig:
    """The config of a node of a sync run, so that graphs inside it can save."""
    inside = config.get("configurable", {})
    saver = inside.get(SAVER)
    if not isinstance(saver, BaseCheckpointSaver):
        return config
    return {**config, "configurable": {**inside, SAVER: as_async(saver)}}
