"""LangGraph's PostgreSQL saver with the strict serializer, for sync and async runs alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from troupe.serializer import Named, StrictSerializer


class PostgresStore(PostgresSaver):
    """Checkpoints in PostgreSQL over a pool of connections."""

    def __init__(self, url: str, *, types: Iterable[type | Named] = ()) -> None:
        options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        self.pool: Any = ConnectionPool(url, min_size=1, max_size=8, kwargs=options, open=True)
        super().__init__(self.pool, serde=StrictSerializer(types))

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See LangGraph."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(self, config: RunnableConfig | None, **options: Any) -> AsyncIterator[CheckpointTuple]:
        """See LangGraph."""
        for one in await asyncio.to_thread(lambda: list(self.list(config, **options))):
            yield one

    async def aput(self, *args: Any) -> RunnableConfig:
        """See LangGraph."""
        return await asyncio.to_thread(self.put, *args)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        """See LangGraph."""
        await asyncio.to_thread(self.put_writes, *args, **options)

    async def adelete_thread(self, thread_id: str) -> None:
        """See LangGraph."""
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def aget_delta_channel_history(self, **options: Any) -> Mapping[str, Any]:
        """See LangGraph."""
        return await asyncio.to_thread(lambda: self.get_delta_channel_history(**options))
