"""LangGraph's PostgreSQL saver with the strict serializer, for sync and async runs alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from troupe.graphs.saver import AsyncInThreads
from troupe.serializer import Named, StrictSerializer


class PostgresStore(AsyncInThreads, PostgresSaver):
    """Checkpoints in PostgreSQL over a pool of connections."""

    def __init__(self, url: str, *, types: Iterable[type | Named] = ()) -> None:
        options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        self.pool: Any = ConnectionPool(url, min_size=1, max_size=8, kwargs=options, open=True)
        super().__init__(self.pool, serde=StrictSerializer(types))

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()
