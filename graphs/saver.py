"""A saver that only works sync, where an async one is needed: a graph inside a step is run async in sync runs, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

SAVER = "__pregel_checkpointer"


def with_async_saver(config: RunnableConfig) -> RunnableConfig:
    """The config of a node of a sync run, so that graphs inside it can save."""
    inside = config["configurable"]
    saver = inside.get(SAVER)
    if not isinstance(saver, BaseCheckpointSaver) or isinstance(saver, Threaded):
        return config
    return {**config, "configurable": {**inside, SAVER: Threaded(saver)}}


class Threaded(BaseCheckpointSaver[Any]):
    """Another saver, its async half made of its sync half in threads."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        self.saver = saver
        super().__init__(serde=saver.serde)

    @property
    def config_specs(self) -> list[Any]:
        return self.saver.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self.saver.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Any) -> Threaded:
        return Threaded(self.saver.with_allowlist(extra_allowlist))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self.saver.get_tuple(config)

    def list(self, config: RunnableConfig | None, **options: Any) -> Iterator[CheckpointTuple]:
        return self.saver.list(config, **options)

    def put(self, *args: Any) -> RunnableConfig:
        return self.saver.put(*args)

    def put_writes(self, *args: Any, **options: Any) -> None:
        self.saver.put_writes(*args, **options)

    def delete_thread(self, thread_id: str) -> None:
        self.saver.delete_thread(thread_id)

    def get_delta_channel_history(self, **options: Any) -> Mapping[str, Any]:
        return self.saver.get_delta_channel_history(**options)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(self, config: RunnableConfig | None, **options: Any) -> AsyncIterator[CheckpointTuple]:
        for one in await asyncio.to_thread(lambda: [*self.list(config, **options)]):
            yield one

    async def aput(self, *args: Any) -> RunnableConfig:
        return await asyncio.to_thread(self.put, *args)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        await asyncio.to_thread(self.put_writes, *args, **options)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def aget_delta_channel_history(self, **options: Any) -> Mapping[str, Any]:
        return await asyncio.to_thread(lambda: self.get_delta_channel_history(**options))
