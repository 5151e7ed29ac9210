"""Savers for a team's checkpoints, each with the strict serializer.

    app = team.compile(checkpointer=checkpoints.sqlite("runs.db"))

`run()` and the command line use SQLite in the user's state directory by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from troupe.agents.errors import SettingsError
from troupe.serializer import Named, StrictSerializer
from troupe.signing import state_folder

if TYPE_CHECKING:
    from langgraph.checkpoint.memory import InMemorySaver

    from troupe.postgres import PostgresStore
    from troupe.sqlite import SqliteStore
    from troupe.store.base import Store

_SCHEMES = ("postgresql://", "postgres://")


def memory(types: Iterable[type | Named] = ()) -> InMemorySaver:
    """Checkpoints that last as long as the process."""
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver(serde=StrictSerializer(types))


def sqlite(
    path: str | Path | None = None, types: Iterable[type | Named] = (), *, key: str | bytes | None = None
) -> SqliteStore:
    """Checkpoints, journal, runs and leases in one SQLite file; by default the one of `run()`.

    Args:
        path: of the file.
        types: classes of your own state schemas that may be read back.
        key: to encrypt what is stored, of 16, 24 or 32 bytes, in hex or base64; by default `TROUPE_DB_KEY`.

    Raises:
        StoreError: the file cannot be used.
        SettingsError: the key is none, or the extra `encryption` is not installed.

    >>> sqlite(":memory:").close()
    """
    from troupe.sqlite import SqliteStore

    return SqliteStore(path or default_path(), types=types, key=key)


def postgres(url: str, types: Iterable[type | Named] = (), *, key: str | bytes | None = None) -> PostgresStore:
    """The same in PostgreSQL. Needs the extra `postgres`.

    Args:
        url: `postgresql://user@host/database`, or whatever else libpq takes.
        types: see `sqlite`.
        key: see `sqlite`.

    Raises:
        StoreError: nobody answers there, or will not let us in.
        SettingsError: the key is none, or an extra is not installed.
    """
    try:
        from troupe.postgres import PostgresStore
    except ImportError as error:
        raise SettingsError(f"PostgreSQL needs an extra: pip install 'agent-troupe[postgres]' ({error}).") from None
    return PostgresStore(url, types=types, key=key)


def store_at(place: str | Path | None = None, types: Iterable[type | Named] = ()) -> Store:
    """The store at a place: the path of an SQLite file, or the URL of a PostgreSQL database; by default `run()`'s.

    Raises:
        StoreError: it cannot be used.
    """
    place = place or default_place()
    return postgres(str(place), types) if is_url(place) else sqlite(place, types)


def is_url(place: str | Path) -> bool:
    """Whether a place is a database server's, and not a file's."""
    return str(place).startswith(_SCHEMES)


def is_missing(place: str | Path) -> bool:
    """Whether there is no database yet at a place, as far as can be told without making one."""
    return not is_url(place) and str(place) != ":memory:" and not Path(place).exists()


def shown(place: str | Path) -> str:
    """A place for people: an address without its password."""
    if not is_url(place):
        return str(place)
    from troupe.agents.text import redact

    try:
        from troupe.postgres import shown as shown_url

        return shown_url(str(place))
    except Exception:  # noqa: BLE001 - an address that cannot be read, or no driver to read it with, is still told of
        return redact(str(place))


def default_place() -> str | Path:
    """Where runs are kept unless told otherwise: `TROUPE_DB`, the project's file, or the user's state directory."""
    from troupe.agents.settings import Settings

    if (chosen := Settings.refresh().db) is not None:
        return chosen if is_url(chosen) else Path(chosen)
    return _own_file()


def default_path() -> Path:
    """The file among those places.

    Raises:
        SettingsError: the settings name a server.
    """
    place = default_place()
    if is_url(place):
        raise SettingsError(f"The settings name {shown(place)}, which is no file: give checkpoints.sqlite() a path.")
    return Path(place)


def _own_file() -> Path:
    return state_folder() / "runs.db"
