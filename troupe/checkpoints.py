"""Savers for a team's checkpoints, each with the strict serializer.

    app = team.compile(checkpointer=checkpoints.sqlite("runs.db"))

`run()` and the command line use SQLite in the user's state directory by themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from troupe.agents.errors import SettingsError
from troupe.serializer import Named, StrictSerializer

if TYPE_CHECKING:
    from langgraph.checkpoint.memory import InMemorySaver

    from troupe.sqlite import SqliteStore


def memory(types: Iterable[type | Named] = ()) -> InMemorySaver:
    """Checkpoints that last as long as the process."""
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver(serde=StrictSerializer(types))


def sqlite(path: str | Path | None = None, types: Iterable[type | Named] = ()) -> SqliteStore:
    """Checkpoints, journal, runs and leases in one SQLite file; by default the one of `run()`.

    Args:
        path: of the file.
        types: classes of your own state schemas that may be read back.

    Raises:
        StoreError: the file cannot be used.

    >>> sqlite(":memory:").close()
    """
    from troupe.sqlite import SqliteStore

    return SqliteStore(path or default_path(), types=types)


def postgres(url: str, types: Iterable[type | Named] = ()) -> Any:
    """Checkpoints in PostgreSQL, for sync and async runs; its `setup()` makes the tables. Needs the extra `postgres`.

    Raises:
        SettingsError: the extra is not installed.
    """
    try:
        from troupe.postgres import PostgresStore
    except ImportError as error:
        raise SettingsError(f"PostgreSQL needs an extra: pip install 'agent-troupe[postgres]' ({error}).") from None
    return PostgresStore(url, types=types)


def default_path() -> Path:
    """Where runs are kept unless told otherwise: `TROUPE_DB`, the project's file, or the user's state directory."""
    from troupe.agents.settings import Settings

    if (chosen := Settings.refresh().db) is not None:
        return chosen
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "troupe" / "runs.db"
