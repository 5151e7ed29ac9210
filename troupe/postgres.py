"""LangGraph's PostgreSQL saver with the strict serializer, for sync and async runs alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from troupe.agents.errors import StoreError, describe
from troupe.graphs.saver import AsyncInThreads
from troupe.serializer import Named, StrictSerializer


class PostgresStore(AsyncInThreads, PostgresSaver):
    """Checkpoints in PostgreSQL over a pool of connections.

    Raises:
        StoreError: nobody answers there, or will not let us in.
    """

    def __init__(self, url: str, *, types: Iterable[type | Named] = ()) -> None:
        options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        try:
            psycopg.connect(url, connect_timeout=10).close()  # a pool would only wait, and not say why
        except psycopg.Error as error:
            raise StoreError(f"PostgreSQL cannot be used: {describe(error)}. Check its URL.") from None
        self.pool: Any = ConnectionPool(url, min_size=1, max_size=8, kwargs=options, open=True)
        super().__init__(self.pool, serde=StrictSerializer(types))

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()
